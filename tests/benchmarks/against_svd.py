"""How near every format comes to the truncated singular value decomposition, on a matrix with the spectrum of trained weights.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.against_svd --size 2048 --ratios 4 20

The matrix has singular values ``k^-0.7`` and random singular vectors, in single precision. `error` is the relative error at
equal parameters: `paired` in balanced modes that pair rows and columns, `chosen` in those that `factorize` chooses. `time` is
that of `factorize` with chosen modes as a multiple of NumPy's singular value decomposition of the matrix: the median of the
rounds, in which both alternate, and the least and largest.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tensorly_rnn as tlr
from tensorly_rnn.decomposition.shape_search import paired_shape
from tests.benchmarks.tables import table

HEADS = ("format", "ratio", "svd", "paired", "chosen", "parameters", "time", "spread", "modes")


def decaying(size: int, power: float = 0.7) -> np.ndarray:
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(size, size)))[0] for _ in range(2))
    return (left * np.arange(1, size + 1) ** -power @ right).astype(np.float32)


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    found = call()
    return time.perf_counter() - start, found


def rows(size: int, ratio: float, formats: tuple[str, ...], rounds: int, paired: tuple[str, ...]) -> list[tuple[object, ...]]:
    matrix = decaying(size)
    lines: list[tuple[object, ...]] = []
    for name in formats:
        multiples = []
        for _ in range(rounds):
            baseline, (_, values, _) = seconds(lambda: np.linalg.svd(matrix, full_matrices=False))
            ours, f = seconds(partial(tlr.factorize, matrix, name, compression_ratio=ratio))
            multiples.append(ours / baseline)
        rank = int(size * size / ratio) // (2 * size)
        error = np.linalg.norm(values[rank:]) / np.linalg.norm(values)
        other = "-"
        if name in paired:
            other = (
                f"{tlr.factorize(matrix, name, paired_shape(size, size), compression_ratio=ratio).relative_error(matrix):.4f}"
            )
        spread = f"{min(multiples):.2f} to {max(multiples):.2f}"
        numbers = (f"{f.relative_error(matrix):.4f}", f"{f.n_param:,}", f"{statistics.median(multiples):.2f}", spread)
        lines.append((name, f"{ratio:g}", f"{error:.4f}", other, *numbers, f.tensorized_shape))
    return lines


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--ratios", type=float, nargs="+", default=[4.0, 20.0])
    parser.add_argument("--formats", nargs="+", default=["tt", "ht", "tr", "bt"])
    parser.add_argument("--paired", nargs="*", default=["tt", "ht"], help="formats also decomposed in paired modes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found = [
        row
        for ratio in given.ratios
        for row in rows(given.size, ratio, tuple(given.formats), given.rounds, tuple(given.paired))
    ]
    print(table(HEADS, found))
