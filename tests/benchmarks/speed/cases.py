"""The measured cases, and the systems that each compares."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn.formats._random import unit_std
from tensorly_rnn.nn import FactorizedLinear, FactorizedLSTM, FactorizedWeight
from tests.benchmarks.speed import peers

DENSE = "dense"
#: Least compression of the weights in cases (b) to (e).
COMPRESSION = 10
#: Of every format in these cases: the largest even rank that compresses as much, and a small one.
RANKS = {"largest": 1 / COMPRESSION, "small": 2}


@dataclass(frozen=True)
class System:
    """One module: dense, ours, or a peer's; `alike` is the one of ours that a peer's corresponds to."""

    name: str
    make: Callable[[], nn.Module]
    package: str = "tensorly-rnn"
    alike: str | None = None


Systems = tuple[System, ...]
Settings = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Case:
    """Systems that are given x of one shape; `projections` names those whose input projection is measured on its own."""

    key: str
    title: str
    shape: tuple[int, ...]
    systems: Systems
    projections: tuple[str, ...] = ()


def compression(module: nn.Module) -> float:
    """Entries of the weights that are held in factors, over those of their factors; 1 where there are none."""
    weights = [one for one in module.modules() if isinstance(one, FactorizedWeight)]
    return sum(math.prod(one.shape) for one in weights) / sum(one.n_param for one in weights) if weights else 1.0


def n_weights(module: nn.Module) -> int:
    """Number of parameters without biases."""
    return sum(parameter.numel() for name, parameter in module.named_parameters() if "bias" not in name)


def saved_arithmetic(module: nn.Module, rows: int) -> float | None:
    """Operations of that many rows of x times the dense weight over those of the planned product with its factors.

    Below 1 the factors save memory, not arithmetic.
    """
    first = next((one for one in module.modules() if isinstance(one, FactorizedWeight)), None)
    return 2 * rows * math.prod(first.shape) / first.network.cost(rows).forward.flops if first else None


def started(cls: type[nn.Module], *sizes: int, **settings: Any) -> nn.Module:
    """Make a layer of ours whose start has its variance in expectation only: the exact norm of a large ring takes a minute."""
    layer = cls(*sizes, device="meta", **settings).to_empty(device="cpu")
    bound = 1 / math.sqrt(sizes[-1])
    for parameter in layer.parameters():
        nn.init.uniform_(parameter, -bound, bound)
    for weight in (one for one in layer.modules() if isinstance(one, FactorizedWeight)):
        std = unit_std(weight.network) * (bound / math.sqrt(3)) ** (1 / len(weight.factors))
        for factor in weight.factors:
            nn.init.normal_(factor, std=std)
    return layer


def against(dense: Callable[[], nn.Module], make: Callable[..., nn.Module], settings: Settings, *others: System) -> Systems:
    """Return the dense system, ours by their settings, and those of peers."""
    ours = (System(name, lambda one=one: make(**one)) for name, one in settings.items())
    return System(DENSE, dense, "torch"), *ours, *others


def papers() -> Case:
    """Case (a): the HT paper's LSTM on raw frames, every format at the setting of its paper."""
    sizes, modes, hidden = (57600, 256), (8, 20, 20, 18), (4, 4, 4, 4)
    ring, hidden_ring = (4, 2, 5, 8, 6, 5, 3, 2), (4, 4, 2, 4, 2)
    alone = {"input_modes": modes, "hidden_modes": hidden}
    settings: Settings = {
        "tt": {"factorization": "tt", "rank": 4, **alone},
        "tr": {"factorization": "tr", "rank": (10, *(5,) * 12, 10), "input_modes": ring + (1,) * 5, "hidden_modes": (1,) * 8 + hidden_ring},
        "bt": {"factorization": "bt", "rank": (2, 4), **alone},
        "ht": {"factorization": "ht", "rank": (4, 5), "input_modes": (8, 10, 10, 9, 8), "hidden_modes": hidden_ring},
        "fdht": {"factorization": "ht", "rank": (14, 12), "decompose": "full", **alone, "input_modes": (16, 16, 16, 15)},
    }  # fmt: skip
    others = [
        System("TedNet TT", lambda: peers.tednet("tt", modes, hidden, [4] * 3), "tednet", "tt"),
        System("TedNet TR", lambda: peers.tednet("tr", ring, hidden_ring, [10] + [5] * 12), "tednet", "tr"),
        System("TedNet BT", lambda: peers.tednet("bt", modes, hidden, [4] * 4, 2), "tednet", "bt"),
    ]
    for how in peers.IMPLEMENTATIONS:
        make = lambda how=how: peers.ProjectedLSTM(peers.tltorch(modes, (16, 4, 4, 4), "BlockTT", 4, how), sizes[1])  # noqa: E731
        others.append(System(f"TensorLy-Torch BlockTT, {how}", make, "tensorly-torch", "tt"))
    systems = against(lambda: nn.LSTM(*sizes), partial(FactorizedLSTM, *sizes), settings, *others)
    return Case("a", "LSTM 57600 -> 256, T = 6, B = 16", (6, 16, 57600), systems, ("tt", "tr", "ht"))


def lstm(key: str, sizes: tuple[int, int], steps: int, batch: int, fully: Settings, ranks: dict[str, Any]) -> Case:
    """Cases (b) to (d): every format with W_ih or all of W in factors; `fully` are settings of FDHT."""
    settings = {
        f"{format}, {decompose}, {word}": {"factorization": format, "decompose": decompose, "rank": rank}
        for format in tlr.available_formats()
        for decompose in ("input", "full")
        for word, rank in ranks.items()
    }
    settings |= {name: {"factorization": "ht", "decompose": "full", **one} for name, one in fully.items()}
    title = f"LSTM {sizes[0]} -> {sizes[1]}, T = {steps}, B = {batch}"
    systems = against(lambda: nn.LSTM(*sizes), partial(started, FactorizedLSTM, *sizes), settings)
    return Case(key, title, (steps, batch, sizes[0]), systems)


def linear(size: int, batch: int, ranks: dict[str, Any]) -> Case:
    """Case (e): a linear layer; CP and Tucker of the peer are block terms in separate modes."""
    modes = tlr.factorize_size(size, {4096: 4, 1024: 3}[size])
    ones = (1,) * len(modes)
    apart = {"factorization": "bt", "in_modes": (*modes, *ones), "out_modes": (*ones, *modes)}
    settings: Settings = {
        f"{format}, {word}": {"factorization": format, "rank": rank, "in_modes": modes, "out_modes": modes}
        for format in tlr.available_formats()
        for word, rank in ranks.items()
    }
    settings |= {"bt as CP, 16": {"rank": (16, 1), **apart}, "bt as Tucker, 2": {"rank": (1, 2), **apart}}
    forms = [("BlockTT", rank, f"tt, {word}") for word, rank in ranks.items()]
    forms += [("CP", 16, "bt as CP, 16"), ("Tucker", (2,) * 2 * len(modes), "bt as Tucker, 2")]
    others = [
        System(f"TensorLy-Torch {form}, {alike.split(', ')[1]}, {how}", partial(peers.tltorch, modes, modes, form, rank, how), "tensorly-torch", alike)
        for form, rank, alike in forms
        for how in peers.IMPLEMENTATIONS
    ]  # fmt: skip
    systems = against(lambda: nn.Linear(size, size), partial(started, FactorizedLinear, size, size), settings, *others)
    return Case("e", f"Linear {size} -> {size}, B = {batch}", (batch, size), systems)


def cases(keys: str, quick: bool) -> list[Case]:
    """Return the cases of some keys; the quick ones leave out the large ones of (b), (c) and (e), and the largest ranks."""
    ranks = {"small": RANKS["small"]} if quick else RANKS
    behind_cnn = {"input_modes": (8, 8, 8, 8), "hidden_modes": (4, 8, 8, 8)}
    found = {
        "a": lambda: [papers()],
        "b": lambda: [lstm("b", (2048, 2048), 6, 16, {f"fdht {rank}": {"rank": rank, **behind_cnn} for rank in ((9, 6), (14, 12))}, ranks)],
        "c": lambda: [lstm("c", (512, 512), 10 if quick else 100, 64, {"fdht (14, 12)": {"rank": (14, 12)}}, ranks)],
        "d": lambda: [lstm("d", (64, 64), 35, 20, {"fdht (5, 5)": {"rank": (5, 5)}}, ranks)],
        "e": lambda: [linear(size, batch, ranks) for size in ((1024,) if quick else (4096, 1024)) for batch in (1, 256)],
    }  # fmt: skip
    return [case for key in keys for case in found[key]()]
