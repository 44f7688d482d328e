"""Tensor train of a large matrix, side by side with TensorLy, torchTT and tntorch: time, error, peak memory.

    python -m tests.benchmarks.large_matrix [--quick] [--repeats 3] [--output DIR]

A 57600 x 1024 float32 matrix (236 MB), rows (16, 15, 15, 16) times columns (4, 8, 8, 4), rank 8. It is synthetic: a random
tensor train of rank 32 whose bonds decay by 0.7 from one to the next, and white noise of a twentieth of its norm. Everyone is
given the same matrix and does the pairing of its modes within the time measured.

Every run is a process of its own that loads the matrix, decomposes a small one to warm up, and takes the time and the
peak of its resident memory; rounds over all methods are repeated. The error is computed from the cores in the same way for
all. The peers come with the `bench` extra; one that is missing is listed as not installed.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import tensorly
import torch
from tensorly.decomposition import tensor_train_matrix

import tensorly_rnn as tlr
from tests.benchmarks.speed.memory import peak_bytes
from tests.benchmarks.tables import table, version

FULL = ((16, 15, 15, 16), (4, 8, 8, 4))
QUICK = ((8, 5, 5, 8), (4, 4, 4, 4))
WARM_UP = ((4, 4, 4, 4), (4, 4, 4, 4))
RANK = 8
TARGETS = {"speed": 12.0, "error": 1e-3, "memory": 3.0}


def ours_numpy(matrix, modes):
    return lambda: tlr.factorize(matrix, "tt", modes, RANK).factors


def tensorly_numpy(matrix, modes):
    ranks, tensor = (1, *(RANK,) * (len(modes[0]) - 1), 1), matrix.reshape(*modes[0], *modes[1])
    return lambda: list(tensor_train_matrix(tensor, ranks, svd="truncated_svd").factors)


def tensorly_torch(matrix, modes):
    tensorly.set_backend("pytorch")
    return tensorly_numpy(torch.from_numpy(matrix), modes)


def torchtt_torch(matrix, modes):
    import torchtt

    tensor = torch.from_numpy(matrix).reshape(*modes[0], *modes[1])
    return lambda: torchtt.TT(tensor, shape=list(zip(*modes)), rmax=RANK).cores


def tntorch_torch(matrix, modes):
    import tntorch

    tensor = torch.from_numpy(matrix).reshape(*modes[0], *modes[1])
    pairs = [axis for k in range(len(modes[0])) for axis in (k, len(modes[0]) + k)]
    return lambda: tntorch.Tensor(tensor.permute(pairs).reshape([m * n for m, n in zip(*modes)]), ranks_tt=RANK).cores


# Name in the table -> what makes the run, the package it measures, whose time it is compared with.
METHODS = {
    "tensorly_rnn, NumPy": (ours_numpy, "tensorly", None),
    "tensorly_rnn, PyTorch": (lambda matrix, modes: ours_numpy(torch.from_numpy(matrix), modes), "torch", None),
    "TensorLy truncated_svd, NumPy": (tensorly_numpy, "tensorly", "tensorly_rnn, NumPy"),
    "TensorLy truncated_svd, PyTorch": (tensorly_torch, "tensorly", "tensorly_rnn, PyTorch"),
    "torchTT": (torchtt_torch, "torchTT", "tensorly_rnn, PyTorch"),
    "tntorch": (tntorch_torch, "tntorch", "tensorly_rnn, PyTorch"),
}


def to_matrix(cores, modes):
    """Multiply out cores of shape (r, m * n, r') or (r, m, n, r')."""
    order = len(modes[0])
    dense = np.ones((1, 1), dtype=np.float32)
    for core in cores:
        core = np.asarray(core, dtype=np.float32)
        dense = (dense @ core.reshape(core.shape[0], -1)).reshape(-1, core.shape[-1])
    paired = dense.reshape([size for pair in zip(*modes) for size in pair])
    return paired.transpose(*range(0, 2 * order, 2), *range(1, 2 * order, 2)).reshape(math.prod(modes[0]), -1)


def synthetic(modes, seed=0):
    rng = np.random.default_rng(seed)
    ranks = (1, *(32,) * (len(modes[0]) - 1), 1)
    shapes = zip(ranks, *modes, ranks[1:])
    matrix = to_matrix([rng.normal(size=(r, m * n, s)) * 0.7 ** np.arange(s) for r, m, n, s in shapes], modes)
    matrix /= np.linalg.norm(matrix) / math.sqrt(matrix.size)
    for rows in np.array_split(matrix, 16):
        rows += np.float32(0.05) * rng.standard_normal(rows.shape, dtype=np.float32)
    return matrix


def relative_error(cores, matrix, modes):
    found = to_matrix([core.detach() if hasattr(core, "detach") else core for core in cores], modes)
    pairs = list(zip(np.array_split(matrix, 64), np.array_split(found, 64)))
    missed = sum(float(np.sum((given.astype(float) - one) ** 2)) for given, one in pairs)
    return math.sqrt(missed / sum(float(np.sum(given.astype(float) ** 2)) for given, _ in pairs))


def measure(name, path, modes):
    """Run one method once, in this process."""
    warnings.simplefilter("ignore")
    make = METHODS[name][0]
    make(synthetic(WARM_UP), WARM_UP)()
    matrix = np.load(path)
    run = make(matrix, modes)
    before = peak_bytes("cpu")
    start, cpu_start = time.perf_counter(), time.process_time()
    cores = run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    memory = 1 + (peak_bytes("cpu") - before) / matrix.nbytes
    return {"seconds": seconds, "cpu": cpu, "memory": memory, "error": relative_error(cores, matrix, modes)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a small matrix, to see that it runs")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, help="folder for large_matrix.json")
    parser.add_argument("--child", nargs=2, metavar=("METHOD", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    modes = QUICK if options.quick else FULL
    if options.child:
        name, path = options.child
        if name == "matrix":
            np.save(path, synthetic(modes))
        else:
            print(json.dumps(measure(name, path, modes)))
        return
    runs = {name: [] for name, (_, package, _) in METHODS.items() if version(package)}
    with tempfile.TemporaryDirectory() as folder:

        def child(name):
            command = [sys.executable, "-m", "tests.benchmarks.large_matrix", "--child", name, f"{folder}/matrix.npy"]
            return subprocess.run(command + ["--quick"] * options.quick, stdout=subprocess.PIPE, text=True, check=True).stdout

        # Not made in this process: a child's peak starts from what its parent holds.
        child("matrix")
        for _ in range(options.repeats):
            for name, found in runs.items():
                found.append(json.loads(child(name).splitlines()[-1]))
                print(f"{name}: {found[-1]}", file=sys.stderr)
    rows = [summary(name, runs) for name in runs]
    shape = tuple(math.prod(one) for one in modes)
    megabytes = 4 * math.prod(shape) / 1e6
    print(f"{shape[0]} x {shape[1]} float32, {megabytes:.0f} MB, synthetic; modes {modes[0]} x {modes[1]}, TT rank {RANK}")
    print(f"{options.repeats} rounds, a process a run; {platform.platform()}, {os.cpu_count()} CPUs\n")
    heads = ("", "version", "median s", "min", "max", "CPU s", "times ours", "(from - to)", "error", "memory")
    print(table(heads, map(line, rows)))
    print(*(f"{name}: not installed" for name in METHODS if name not in runs), sep="\n")
    verdicts = ["A small matrix says nothing about the targets."] if options.quick else judged(rows)
    print("\n" + "\n".join(verdicts))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        machine = {"platform": platform.platform(), "cpus": os.cpu_count(), "threads": os.environ.get("OMP_NUM_THREADS")}
        record = {**machine, "shape": shape, "modes": modes, "rank": RANK, "rows": rows, "runs": runs, "verdicts": verdicts}
        (options.output / "large_matrix.json").write_text(json.dumps(record, indent=1) + "\n")


def summary(name, runs):
    """Return the medians of a method, and its time over that of the one it is compared with, round by round."""
    _, package, against = METHODS[name]
    of = {key: [run[key] for run in runs[name]] for key in runs[name][0]}
    times = of["seconds"]
    row = {
        "name": name,
        "seconds": statistics.median(times),
        "least": min(times),
        "most": max(times),
        "memory": max(of["memory"]),
    }
    row |= {"version": version(package) if against else version("tensorly-rnn") or "working tree"}
    row |= {key: statistics.median(of[key]) for key in ("cpu", "error")}
    if against in runs:
        ratios = [run["seconds"] / ours["seconds"] for run, ours in zip(runs[name], runs[against])]
        row |= {"against": against, "ratio": statistics.median(ratios), "ratio_from": min(ratios), "ratio_to": max(ratios)}
    return row


def line(row):
    ratio = [f"{row['ratio']:.1f}", f"{row['ratio_from']:.1f} - {row['ratio_to']:.1f}"] if "ratio" in row else ["", ""]
    times = [f"{row[key]:.2f}" for key in ("seconds", "least", "most", "cpu")]
    return [row["name"], row["version"][:12], *times, *ratio, f"{row['error']:.6f}", f"{row['memory']:.2f}"]


def judged(rows):
    """Compare with the targets; what is missed is said."""
    found = {row["name"]: row for row in rows}
    checks = []
    for row in rows:
        if "ratio" in row:
            excess = found[row["against"]]["error"] / row["error"] - 1
            if row["name"] != "tntorch":
                faster = f"at least {TARGETS['speed']:g} times faster than {row['name']}"
                checks.append((faster, row["ratio"] >= TARGETS["speed"], f"{row['ratio']:.1f}"))
            checks.append(
                (f"error within {TARGETS['error']:.1%} of {row['name']}", excess <= TARGETS["error"], f"{excess:+.4%}")
            )
        else:
            most = f"peak memory of {row['name']} at most {TARGETS['memory']:g} times the matrix"
            checks.append((most, row["memory"] <= TARGETS["memory"], f"{row['memory']:.2f}"))
    return [f"{what}: {'met' if met else 'MISSED'} ({value})" for what, met, value in checks]


if __name__ == "__main__":
    main()
