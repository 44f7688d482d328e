"""
Which format for this matrix?
=============================

Decomposes one existing matrix in all formats at one budget and compares them: the Indian Pines scene as a matrix of
pixels by bands (144 x 144 pixels, 200 bands, float32; real data, shipped with TensorLy), or the matrix in a file.

What to expect with the default settings: at a thousandth of the entries, where not even rank 1 of a singular value
decomposition can be afforded, all formats leave less than a quarter of the norm; the tree least, because the budget goes
to the cuts that need it. The block-term and ring fits iterate and take longer than the train and the tree, which are
direct.

::

    python examples/decompose_matrix.py                       # a minute or two on 2 cores
    python examples/decompose_matrix.py --quick               # a smaller part of the scene
    python examples/decompose_matrix.py --ratio 100 --starts 3
    python examples/decompose_matrix.py --data weight.npy

The folder ``decompose_matrix_results`` (or ``--output``) receives ``results.csv`` (format, rank, parameters, ratio, relative
error, seconds) and two pictures: ``formats.png``, error against parameters, and ``cuts.png``, the singular values of every
cut of the tree, from which its ranks can be read.
"""

# sphinx_gallery_thumbnail_path = "images/plot_errors.png"

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import tensorly_rnn as tlr
from hyperspectral import load_scene
from running.options import positive
from tensorly_rnn import plot

SIDE, QUICK_SIDE, QUICK_BANDS = 144, 24, 20
STEPS, QUICK_STEPS = 50, 5  # of each iterative fit


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    options = parse(arguments)
    matrix, modes, source = load(options.data, options.quick)
    print(f"data: {source}; {matrix.shape[0]} x {matrix.shape[1]}, modes {modes}")
    steps = QUICK_STEPS if options.quick else STEPS
    results = []
    for name in tlr.available_formats():
        found, seconds = decompose(matrix, name, modes, options.ratio, options.starts, steps)
        results.append((name, found, found.relative_error(matrix), seconds))
    results.sort(key=lambda row: row[2])
    options.output.mkdir(parents=True, exist_ok=True)
    report(results, options.output / "results.csv")
    comparison = tlr.best_format(matrix, modes, compression_ratio=options.ratio, n_iter_max=steps)
    save(comparison.plot(), options.output / "formats.png", f"{source}\nmarked: at a ratio of {options.ratio:g}")
    tree = tlr.factorize(matrix, "ht", modes, eps=1e-3)
    save(plot.singular_values(tree), options.output / "cuts.png", "Hierarchical Tucker: singular values of every cut")
    print(f"pictures and table are in {options.output}")


def decompose(
    matrix: np.ndarray, name: str, modes: tuple, ratio: float, starts: int, steps: int
) -> tuple[tlr.formats.FactorizedMatrix, float]:
    """Decompose at a compression ratio, a progress bar counting the iterations."""
    with tqdm(desc=name, unit=" iterations", leave=False, file=sys.stderr) as bar:

        def advance(_: object, error: float) -> None:
            bar.set_postfix(error=f"{error:.4f}", refresh=False)
            bar.update()

        found = tlr.factorize(
            matrix, name, modes, compression_ratio=ratio, n_starts=starts, n_iter_max=steps, callback=advance
        )
        return found, bar.format_dict["elapsed"]


def report(results: list[tuple], path: Path) -> None:
    """Print the table and write it."""
    header = ("format", "rank", "parameters", "ratio", "relative error", "seconds")
    rows = [
        (name, found.rank, found.n_param, f"{found.compression_ratio:.1f}", f"{error:.4f}", f"{seconds:.2f}")
        for name, found, error, seconds in results
    ]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    for name, rank, parameters, shown, error, seconds in (header, *rows):
        print(f"{name:<8}{parameters:>12}{shown:>10}{error:>16}{seconds:>10}  {rank}")


def save(axes: plt.Axes, path: Path, title: str) -> None:
    """Write a picture."""
    axes.set_title(title, fontsize="medium")
    axes.figure.savefig(path, dpi=150)
    plt.close(axes.figure)


def load(path: Path | None, quick: bool) -> tuple[np.ndarray, tuple, str]:
    """Return the matrix, its modes and where it is from."""
    if path is not None:
        try:
            matrix = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as reason:
            raise SystemExit(f"decompose_matrix.py: --data must be a readable .npy file: {reason}") from None
        if matrix.ndim != 2 or matrix.dtype.kind != "f":
            raise SystemExit(f"decompose_matrix.py: --data must hold a matrix of floats, got {matrix.dtype} {matrix.shape}")
        order = 4
        return matrix, tuple(tlr.factorize_size(size, order) for size in matrix.shape), str(path)
    scene = load_scene()
    side, bands = (QUICK_SIDE, QUICK_BANDS) if quick else (SIDE, scene.cube.shape[2])
    part = scene.cube[:side, :side, :bands]
    matrix = (part - part.mean()).reshape(side * side, bands)
    rows = tlr.factorize_size(side, 2)
    # Pixel rows and columns in two modes each; the bands are paired with the pixels' coarse and fine place.
    return matrix, (rows + rows, tlr.factorize_size(bands, 4)), scene.source


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Compare the formats on one matrix.")
    parser.add_argument("--data", type=Path, help="a matrix in an .npy file instead of the scene")
    parser.add_argument("--quick", action="store_true", help="a smaller part of the scene")
    parser.add_argument("--ratio", type=positive(float), default=1000.0, help="entries for one parameter (default 1000)")
    parser.add_argument("--starts", type=positive(int), default=1, help="starts of the iterative fits (default 1)")
    parser.add_argument("--output", type=Path, default=Path("decompose_matrix_results"), help="folder for what is written")
    options = parser.parse_args(arguments)
    if options.quick and options.ratio == 1000.0:
        options.ratio = 40.0
    return options


if __name__ == "__main__":
    main()
