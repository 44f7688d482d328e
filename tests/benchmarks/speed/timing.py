"""Times: interleaved rounds in one process, in an order shuffled anew for every round."""

import contextlib
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tests.benchmarks.speed.cases import DENSE, Case, compression, n_weights, saved_arithmetic

PRECISIONS = ("float32", "tf32", "bfloat16")
#: A sample is the mean of as many calls as fill so many seconds.
LEAST_SECONDS = 0.005
Call = Callable[[], object]
Row = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """How to measure; a system that has taken `patience` seconds of one measure is not called for it again."""

    device: str
    precision: str
    rounds: int
    patience: float
    seed: int = 0

    def synchronise(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Allow TF32 or not, and put it back after."""
        backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
        before = [one.allow_tf32 for one in backends]
        for one in backends:
            one.allow_tf32 = self.precision == "tf32"
        try:
            yield
        finally:
            for one, value in zip(backends, before):
                one.allow_tf32 = value

    def cast(self) -> Any:
        return torch.autocast(self.device, torch.bfloat16) if self.precision == "bfloat16" else contextlib.nullcontext()


def seconds(call: Call, setting: Setting, number: int = 1) -> float:
    """Return the mean over some calls in a row."""
    setting.synchronise()
    start = time.perf_counter()
    for _ in range(number):
        call()
    setting.synchronise()
    return (time.perf_counter() - start) / number


def sampled(calls: dict[str, Call], setting: Setting) -> dict[str, list[float]]:
    """Return the seconds of every call in every round; one round warms up, and is all of a call that is too slow."""
    shuffled = random.Random(setting.seed)
    # The first call makes plans and fills caches; the second is one of those to come.
    firsts = {name: seconds(call, setting) for name, call in calls.items()}
    slow = {name for name, first in firsts.items() if first > setting.patience}
    number = {}
    for name in (name for name in calls if name not in slow):
        again = firsts[name] if firsts[name] > 1 else seconds(calls[name], setting)
        number[name] = max(1, round(LEAST_SECONDS / again))
    samples: dict[str, list[float]] = {name: [firsts[name]] if name in slow else [] for name in calls}
    spent = dict.fromkeys(number, 0.0)
    for _ in range(setting.rounds):
        names = [name for name in calls if name in number and spent[name] < setting.patience]
        for name in shuffled.sample(names, len(names)):
            found = seconds(calls[name], setting, number[name])
            spent[name] += found * number[name]
            samples[name].append(found)
    return samples


def quartiles(values: list[float]) -> list[float]:
    """Return the first, second and third."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def compared(samples: dict[str, list[float]], against: str) -> dict[str, Row]:
    """Return of every system its times, and how many times as long the one it is compared with takes."""
    base = samples[against]
    rows = {}
    for name, found in samples.items():
        low, median, high = quartiles(found)
        ratios = quartiles([other / own for other, own in zip(base, found)])
        ratio = statistics.median(base) / median
        rows[name] = {
            "ms": 1e3 * median,
            "ms_quartiles": [1e3 * low, 1e3 * high],
            "ratio": ratio,
            "ratio_quartiles": [ratios[0], ratios[2]],
            "samples": found,
        }
    return rows


def infer(module: nn.Module, x: Tensor, setting: Setting) -> object:
    with torch.no_grad(), setting.cast():
        return module(x)


def step(module: nn.Module, x: Tensor, setting: Setting) -> None:
    """Run a training step: no gradient of the input, no optimizer."""
    module.zero_grad()
    with setting.cast():
        y = module(x)
    (y[0] if isinstance(y, tuple) else y).sum().backward()


def timed(case: Case, modules: dict[str, nn.Module], x: Tensor, setting: Setting) -> list[Row]:
    """Measure a case in three ways."""
    # The mode is set once for all rounds: as a user infers, who may find weights kept from the call before.
    measures = {"forward": (False, infer), "forward, train mode": (True, infer), "training": (True, step)}
    packages = {system.name: system for system in case.systems}
    rows = []
    for measure, (training, run) in measures.items():
        for module in modules.values():
            module.train(training)
        calls = {name: partial(run, module, x, setting) for name, module in modules.items()}
        for name, found in compared(sampled(calls, setting), DENSE).items():
            about = {"system": name, "package": packages[name].package, "alike": packages[name].alike, "measure": measure}
            arithmetic = saved_arithmetic(modules[name], math.prod(case.shape[:-1]))
            sizes = {
                "flops_ratio": arithmetic,
                "n_param": n_weights(modules[name]),
                "compression": compression(modules[packages[name].alike or name]),
            }
            rows.append({"case": case.key, "title": case.title, "precision": setting.precision, **about, **sizes, **found})
        for module in modules.values():
            module.zero_grad()
    return rows


def projected(case: Case, modules: dict[str, nn.Module], x: Tensor, setting: Setting) -> list[Row]:
    """Measure input projections against the larger of one read of x at copy bandwidth and their FLOPs at the rate of a GEMM."""
    weights = {name: modules[name].weight_ih_l0 for name in case.projections if name in modules}
    if not weights:
        return []
    x = x.flatten(0, -2)
    size = 4096 if setting.device == "cuda" else 1024
    into, (left, right) = torch.empty_like(x), torch.randn(2, size, size, device=x.device)
    calls: dict[str, Call] = {name: partial(infer, weight.train(), x, setting) for name, weight in weights.items()}
    calls |= {"copy of x": lambda: into.copy_(x), "GEMM": lambda: infer(lambda a: a @ right, left, setting)}
    median = {name: statistics.median(found) for name, found in sampled(calls, setting).items()}
    # A copy reads and writes.
    read, rate = median["copy of x"] / 2, 2 * size**3 / median["GEMM"]
    rows = []
    for name, weight in weights.items():
        flops = weight.network.cost(len(x)).forward.flops
        roofline = max(read, flops / rate)
        about = {
            "case": case.key,
            "title": case.title,
            "precision": setting.precision,
            "system": name,
            "package": "tensorly-rnn",
        }
        found = {"measure": "projection", "ms": 1e3 * median[name], "ratio": roofline / median[name]}
        bound = {"roofline_ms": 1e3 * roofline, "read_ms": 1e3 * read, "flops": flops, "gemm_gflops": rate / 1e9}
        rows.append({**about, **found, **bound})
    return rows
