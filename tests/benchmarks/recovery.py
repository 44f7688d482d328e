"""How often planted tensors are found again, in how many iterations and how much time: rings, block terms, ranks by error.

    python -m tests.benchmarks.recovery --seeds 100 --processes 2

Every family draws a planted format from a seed and hands over its dense matrix, never its factors; the starts come from
another seed. A start is one set of factors that an iteration begins with. Fits of given ranks stop after 10 seconds.

ring                orders 4 to 6, modes 4 to 8, ranks 2 to 4, all drawn evenly; Gaussian cores. 5 starts of 200 iterations.
blocks-N            10 x 11 x 12, two blocks of core 2 x 2 x 2 or three of 2 x 3 x 2, Gaussian cores and factors.
correlated-N        the same, but all columns of a mode's factors are unit vectors of cosine 0.9 with one another.
scaled-N            as blocks-N, the cores times 1 and 1000, or 1, 31.6 and 1000.
                    20 starts of 200 iterations. Recovered: relative error below 1e-8.
noise-N             blocks-N with Gaussian noise of 1/100 of its norm (40 dB). Recovered: the distance to the clean tensor is
                    at most 1.05 sqrt(p / n) ||noise||, p the parameters less the changes of basis, n the entries. The method
                    "oracle" starts at the truth; no fit has less noise left in it on average, and `ratio` is the median of
                    distance / (sqrt(p / n) ||noise||). `near` counts distances of at most 1.01 times the oracle's.
eps-ring            ring, asked for by eps = 1e-6 alone. Recovered: at most 1.1 times the planted parameters, eps kept.
eps-noisy-ring      the same with noise of 1e-3 of the norm, asked for by 1.05e-3.
eps-blocks, eps-noisy-blocks
                    likewise for matrices of modes (4, 3, 5) x (3, 5, 3), two or three blocks, core ranks 2 or 3.

The method "als" is alternating least squares with the same starts, sweeps and seconds.
"""

import argparse
import json
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Before NumPy is imported: one thread a process.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
from tqdm import tqdm

import tensorly_rnn as tlr
from tests.benchmarks.tables import table

SECONDS = 10.0
MODES = (10, 11, 12)
CORES = {2: (2, 2, 2), 3: (2, 3, 2)}


def ring(rng: np.random.Generator) -> Any:
    order = int(rng.integers(4, 7))
    modes, ranks = rng.integers(4, 9, size=order), rng.integers(2, 5, size=order)
    return tlr.TRMatrix([rng.standard_normal((ranks[k], modes[k], 1, ranks[(k + 1) % order])) for k in range(order)])


def blocks(rng: np.random.Generator, n_blocks: int, scales: tuple[float, ...] | None = None) -> Any:
    core = rng.standard_normal((n_blocks, *CORES[n_blocks]))
    factors = [rng.standard_normal((n_blocks, size, rank)) for size, rank in zip(MODES, CORES[n_blocks])]
    if scales is not None:
        core *= np.array(scales).reshape(-1, 1, 1, 1)
    return tlr.BTMatrix([core, *(factor[:, :, None] for factor in factors)])


def correlated(rng: np.random.Generator, n_blocks: int) -> Any:
    core = rng.standard_normal((n_blocks, *CORES[n_blocks]))
    factors = []
    for size, rank in zip(MODES, CORES[n_blocks]):
        columns = n_blocks * rank
        orthogonal = np.linalg.qr(rng.standard_normal((size, columns)))[0]
        together = orthogonal @ np.linalg.cholesky(0.9 + 0.1 * np.eye(columns)).T
        factors.append(np.moveaxis(together.reshape(size, 1, n_blocks, rank), 2, 0))
    return tlr.BTMatrix([core, *factors])


def block_matrix(rng: np.random.Generator) -> Any:
    n_blocks, ranks = int(rng.integers(2, 4)), rng.integers(2, 4, size=3)
    shape = ((4, 3, 5), (3, 5, 3))
    core = rng.standard_normal((n_blocks, *ranks))
    return tlr.BTMatrix([core, *(rng.standard_normal((n_blocks, m, n, r)) for m, n, r in zip(*shape, ranks))])


@dataclass(frozen=True)
class Family:
    """The planted factors, and the request: ranks with some restarts, or an error."""

    plant: Callable[[np.random.Generator], Any]
    n_starts: int = 20
    noise: float = 0.0
    eps: float | None = None

    @property
    def methods(self) -> tuple[str, ...]:
        if self.eps is not None:
            return ("eps",)
        return ("auto", "als", "oracle") if self.noise else ("auto", "als")


FAMILIES = {"ring": Family(ring, n_starts=5)}
for n in (2, 3):
    FAMILIES[f"blocks-{n}"] = Family(lambda rng, n=n: blocks(rng, n))
    FAMILIES[f"correlated-{n}"] = Family(lambda rng, n=n: correlated(rng, n))
    FAMILIES[f"scaled-{n}"] = Family(lambda rng, n=n: blocks(rng, n, tuple(np.logspace(0, 3, n))))
for n in (2, 3):
    FAMILIES[f"noise-{n}"] = Family(lambda rng, n=n: blocks(rng, n), noise=1e-2)
FAMILIES["eps-ring"] = Family(ring, eps=1e-6)
FAMILIES["eps-noisy-ring"] = Family(ring, noise=1e-3, eps=1.05e-3)
FAMILIES["eps-blocks"] = Family(block_matrix, eps=1e-6)
FAMILIES["eps-noisy-blocks"] = Family(block_matrix, noise=1e-3, eps=1.05e-3)


def measured(unit: tuple[str, str, int]) -> dict[str, Any]:
    """Run one problem with one method."""
    name, method, seed = unit
    family = FAMILIES[name]
    rng = np.random.default_rng(seed)
    planted = family.plant(rng)
    clean = planted.to_matrix()
    noise = rng.standard_normal(clean.shape)
    noise *= family.noise * np.linalg.norm(clean) / np.linalg.norm(noise)
    iterations = 0
    begun = time.perf_counter()

    def counted(factors: list[Any], error: float) -> bool:
        nonlocal iterations
        iterations += 1
        return family.eps is None and time.perf_counter() - begun > SECONDS

    asked: dict[str, Any] = {"rank": planted.rank, "n_starts": family.n_starts, "n_iter_max": 200}
    if method == "als":
        asked |= {"method": "als", "tol": 0.0}
    elif method == "oracle":
        asked |= {"init": planted.factors, "n_starts": 1}
    elif method == "eps":
        asked = {"eps": family.eps}
    found = tlr.factorize(
        clean + noise, planted.name, planted.tensorized_shape, random_state=seed + 10**6, callback=counted, **asked
    )
    seconds = time.perf_counter() - begun
    error = found.relative_error(clean + noise)
    row = {"family": name, "method": method, "seed": seed, "seconds": seconds, "iterations": iterations, "error": error}
    if family.eps is not None:
        share = found.n_param / planted.n_param
        return row | {"ratio": share, "recovered": bool(share <= 1.1 and error <= family.eps), "rank": str(found.rank)}
    if family.noise:
        n_blocks, ranks = planted.rank
        freedom = planted.n_param - n_blocks * sum(rank**2 for rank in ranks)
        ratio = float(np.linalg.norm(found.to_matrix() - clean) / np.linalg.norm(noise) / np.sqrt(freedom / clean.size))
        return row | {"ratio": ratio, "recovered": ratio <= 1.05}
    return row | {"recovered": error < 1e-8}


def results(rows: list[dict[str, Any]]) -> str:
    """One line a family and method."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["method"]), []).append(row)
    lines = []
    for (family, method), group in groups.items():
        iterations, seconds = (float(np.median([row[key] for row in group])) for key in ("iterations", "seconds"))
        cells = [family, method, f"{sum(row['recovered'] for row in group)} of {len(group)}", f"{iterations:.0f}"]
        cells += [f"{seconds:.2f}", f"{max(row['seconds'] for row in group):.2f}"]
        oracle = {row["seed"]: row["ratio"] for row in groups.get((family, "oracle"), [])}
        near = sum(row["ratio"] <= 1.01 * oracle[row["seed"]] for row in group) if oracle else ""
        lines.append([*cells, f"{np.median([row['ratio'] for row in group]):.3f}" if "ratio" in group[0] else "", near])
    return table(("family", "method", "recovered", "iterations", "median s", "max s", "ratio", "near"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100, help="problems a family")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", action="append", choices=tuple(FAMILIES), metavar="FAMILY", help="may be repeated")
    parser.add_argument("--method", action="append", choices=("auto", "als", "oracle", "eps"), help="may be repeated")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--output", type=Path, help="every run, as JSON")
    options = parser.parse_args()
    units = [
        (name, method, seed)
        for name in options.only or FAMILIES
        for method in FAMILIES[name].methods
        if method in (options.method or FAMILIES[name].methods)
        for seed in range(options.first, options.first + options.seeds)
    ]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=spawn) as pool:
        rows = list(tqdm(pool.map(measured, units), total=len(units), unit="fit"))
    tqdm.write(results(rows))
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
