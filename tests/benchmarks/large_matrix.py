"""Tensor train of a large matrix, side by side with TensorLy, torchTT and tntorch: time, error, peak memory.

    python tests/benchmarks/large_matrix.py [--quick] [--repeats 3] [--output DIR]

A 57600 x 1024 float32 matrix (236 MB), rows (16, 15, 15, 16) times columns (4, 8, 8, 4), rank 8. It is synthetic: a random
tensor train of rank 32 whose bonds decay by 0.7 from one to the next, and white noise of a twentieth of its norm. Everyone is
given the same matrix and does the pairing of its modes within the time measured.

Every run is a process of its own that loads the matrix, decomposes a small one to warm up, and takes the time and the
peak of its resident memory; rounds over all methods are repeated. The error is computed from the cores in the same way for
all. The peers come with the `bench` extra; one that is missing is listed as not installed.
"""

import argparse
import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

FULL = ((16, 15, 15, 16), (4, 8, 8, 4))
QUICK = ((8, 5, 5, 8), (4, 4, 4, 4))
WARM_UP = ((4, 4, 4, 4), (4, 4, 4, 4))
RANK = 8
TARGETS = {"speed": 12.0, "error": 1e-3, "memory": 3.0}


def ours_numpy(matrix, modes):
    import tensorly_rnn as tlr

    return lambda: tlr.factorize(matrix, "tt", modes, RANK).factors


def ours_torch(matrix, modes):
    import torch

    import tensorly_rnn as tlr

    weight = torch.from_numpy(matrix)
    return lambda: tlr.factorize(weight, "tt", modes, RANK).factors


def tensorly_numpy(matrix, modes):
    from tensorly.decomposition import tensor_train_matrix

    ranks = (1, *(RANK,) * (len(modes[0]) - 1), 1)
    tensor = matrix.reshape(*modes[0], *modes[1])
    return lambda: list(tensor_train_matrix(tensor, ranks, svd="truncated_svd").factors)


def tensorly_torch(matrix, modes):
    import tensorly
    import torch

    tensorly.set_backend("pytorch")
    return tensorly_numpy(torch.from_numpy(matrix), modes)


def torchtt_torch(matrix, modes):
    import torch
    import torchtt

    tensor = torch.from_numpy(matrix).reshape(*modes[0], *modes[1])
    return lambda: torchtt.TT(tensor, shape=list(zip(*modes)), rmax=RANK).cores


def tntorch_torch(matrix, modes):
    import tntorch
    import torch

    weight = torch.from_numpy(matrix)
    order = len(modes[0])
    pairs = [axis for k in range(order) for axis in (k, order + k)]

    def run():
        tensor = weight.reshape(*modes[0], *modes[1]).permute(pairs).reshape([m * n for m, n in zip(*modes)])
        return tntorch.Tensor(tensor, ranks_tt=RANK).cores

    return run


# Name in the table -> what makes the run, the package it measures, whose time it is compared with.
METHODS = {
    "tensorly_rnn, NumPy": (ours_numpy, "tensorly", None),
    "tensorly_rnn, PyTorch": (ours_torch, "torch", None),
    "TensorLy truncated_svd, NumPy": (tensorly_numpy, "tensorly", "tensorly_rnn, NumPy"),
    "TensorLy truncated_svd, PyTorch": (tensorly_torch, "tensorly", "tensorly_rnn, PyTorch"),
    "torchTT": (torchtt_torch, "torchTT", "tensorly_rnn, PyTorch"),
    "tntorch": (tntorch_torch, "tntorch", "tensorly_rnn, PyTorch"),
}


def installed(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


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
    cores = [
        rng.normal(size=(left, m * n, right)) * 0.7 ** np.arange(right) for left, m, n, right in zip(ranks, *modes, ranks[1:])
    ]
    matrix = to_matrix(cores, modes)
    matrix /= np.linalg.norm(matrix) / math.sqrt(matrix.size)
    for rows in np.array_split(matrix, 16):
        rows += np.float32(0.05) * rng.standard_normal(rows.shape, dtype=np.float32)
    return matrix


def relative_error(cores, matrix, modes):
    found = to_matrix([core.detach() if hasattr(core, "detach") else core for core in cores], modes)
    pairs = list(zip(np.array_split(matrix, 64), np.array_split(found, 64)))
    missed = sum(float(np.sum((given.astype(float) - one) ** 2)) for given, one in pairs)
    return math.sqrt(missed / sum(float(np.sum(given.astype(float) ** 2)) for given, _ in pairs))


def peak_bytes():
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measure(name, path, modes):
    """Run one method once, in this process."""
    warnings.simplefilter("ignore")
    make = METHODS[name][0]
    make(synthetic(WARM_UP), WARM_UP)()
    matrix = np.load(path)
    run = make(matrix, modes)
    before = peak_bytes()
    start, cpu_start = time.perf_counter(), time.process_time()
    cores = run()
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu_start
    memory = 1 + (peak_bytes() - before) / matrix.nbytes
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
    runs = {name: [] for name, (_, package, _) in METHODS.items() if installed(package)}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "matrix.npy")

        def child(name):
            command = [sys.executable, __file__, "--child", name, path, *(["--quick"] if options.quick else [])]
            return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)

        # Not made in this process: a child's peak starts from what its parent holds.
        child("matrix")
        for _ in range(options.repeats):
            for name, found in runs.items():
                done = child(name)
                found.append(json.loads(done.stdout.splitlines()[-1]))
                print(f"{name}: {found[-1]}", file=sys.stderr)
    rows = [summary(name, runs) for name in METHODS]
    shape = tuple(math.prod(one) for one in modes)
    megabytes = 4 * math.prod(shape) / 1e6
    print(f"{shape[0]} x {shape[1]} float32, {megabytes:.0f} MB, synthetic; modes {modes[0]} x {modes[1]}, TT rank {RANK}")
    print(f"{options.repeats} rounds, a process a run; {platform.platform()}, {os.cpu_count()} CPUs\n")
    print(
        f"{'':32}{'version':>12}{'median s':>10}{'min':>8}{'max':>8}{'CPU s':>8}{'times ours':>12}{'(from - to)':>16}{'error':>11}{'memory':>8}"
    )
    for row in rows:
        print(line(row))
    verdicts = ["A small matrix says nothing about the targets."] if options.quick else judged(rows)
    print("\n" + "\n".join(verdicts))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        record = {
            "shape": shape,
            "modes": modes,
            "rank": RANK,
            "repeats": options.repeats,
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": os.environ.get("OMP_NUM_THREADS"),
            "rows": rows,
            "runs": runs,
            "verdicts": verdicts,
        }
        (options.output / "large_matrix.json").write_text(json.dumps(record, indent=1) + "\n")


def summary(name, runs):
    _, package, against = METHODS[name]
    if name not in runs:
        return {"name": name, "version": None}
    seconds = [run["seconds"] for run in runs[name]]
    row = {
        "name": name,
        "version": installed("tensorly-rnn") or "working tree" if against is None else installed(package),
        "seconds": statistics.median(seconds),
        "least": min(seconds),
        "most": max(seconds),
        "cpu": statistics.median(run["cpu"] for run in runs[name]),
        "error": statistics.median(run["error"] for run in runs[name]),
        "memory": max(run["memory"] for run in runs[name]),
    }
    if against in runs:
        # Runs of the same round stand side by side.
        ratios = [run["seconds"] / ours["seconds"] for run, ours in zip(runs[name], runs[against])]
        row |= {"against": against, "ratio": statistics.median(ratios), "ratio_from": min(ratios), "ratio_to": max(ratios)}
    return row


def line(row):
    if row["version"] is None:
        return f"{row['name']:32}not installed"
    ratio = f"{row['ratio']:12.1f}{row['ratio_from']:8.1f} -{row['ratio_to']:6.1f}" if "ratio" in row else " " * 28
    times = f"{row['seconds']:10.2f}{row['least']:8.2f}{row['most']:8.2f}{row['cpu']:8.2f}"
    return f"{row['name']:32}{row['version'][:12]:>12}{times}{ratio}{row['error']:11.6f}{row['memory']:8.2f}"


def judged(rows):
    """Compare with the targets; what is missed is said."""
    found = {row["name"]: row for row in rows if row["version"]}
    lines = []
    for row in found.values():
        if row["name"] not in ("tntorch",) and "ratio" in row:
            met = "met" if row["ratio"] >= TARGETS["speed"] else "MISSED"
            lines.append(f"at least {TARGETS['speed']:g} times faster than {row['name']}: {met} ({row['ratio']:.1f})")
        if "ratio" in row:
            excess = found[row["against"]]["error"] / row["error"] - 1
            met = "met" if excess <= TARGETS["error"] else "MISSED"
            lines.append(f"error within {TARGETS['error']:.1%} of {row['name']}: {met} ({excess:+.4%})")
        if "ratio" not in row:
            met = "met" if row["memory"] <= TARGETS["memory"] else "MISSED"
            lines.append(
                f"peak memory of {row['name']} at most {TARGETS['memory']:g} times the matrix: {met} ({row['memory']:.2f})"
            )
    return lines


if __name__ == "__main__":
    main()
