"""The recurrent layers that the programs compare: the dense LSTM and compact ones, by name."""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tensorly_rnn.nn import FactorizedLSTM

DENSE = "dense LSTM"


@dataclass(frozen=True)
class System:
    """A compact LSTM: the words that ``FactorizedLSTM`` takes, and a name for the command line."""

    name: str
    title: str
    factorization: str
    rank: int | tuple[int, ...]
    decompose: str
    input_modes: tuple[int, ...]
    hidden_modes: tuple[int, ...]

    def options(self, hidden: int) -> dict[str, Any]:
        """Return the keyword arguments of the layer; it chooses the modes where those of the table do not fit."""
        fits = math.prod(self.hidden_modes) == hidden
        return {
            "factorization": self.factorization,
            "rank": self.rank,
            "decompose": self.decompose,
            "input_modes": self.input_modes if fits else None,
            "hidden_modes": self.hidden_modes if fits else None,
        }


def make_recurrent(
    system: System | None, input_size: int, hidden: int, device: torch.device | None = None
) -> nn.LSTM | FactorizedLSTM:
    """Make an untrained compact layer, or with None the dense one, for sequences of shape (batch, steps, inputs)."""
    if system is None:
        return nn.LSTM(input_size, hidden, batch_first=True, device=device)
    return FactorizedLSTM(input_size, hidden, batch_first=True, device=device, **system.options(hidden))


def rank_override(systems: Sequence[System]) -> Callable[[str], tuple[str, int | tuple[int, ...]]]:
    """Return a parser of SYSTEM=RANK, where the rank has as many numbers as the system's own."""
    ranks = {system.name: system.rank for system in systems}

    def parse(text: str) -> tuple[str, int | tuple[int, ...]]:
        name, _, numbers = text.partition("=")
        if name not in ranks:
            raise argparse.ArgumentTypeError(f"unknown system {name!r}, expected one of {', '.join(ranks)}")
        own = ranks[name]
        example = own if isinstance(own, tuple) else (own,)
        parts = numbers.split(",")
        if len(parts) != len(example) or not all(part.isdecimal() and int(part) > 0 for part in parts):
            form = ",".join(str(number) for number in example)
            raise argparse.ArgumentTypeError(f"rank of {name} must be positive integers as in {name}={form}, got {text!r}")
        rank = tuple(int(part) for part in parts)
        return name, rank if isinstance(own, tuple) else rank[0]

    return parse


def with_ranks(systems: list[System], overrides: list[tuple[str, int | tuple[int, ...]]]) -> list[System]:
    """Return the systems with other ranks where there are any."""
    ranks = dict(overrides)
    return [dataclasses.replace(system, rank=ranks.get(system.name, system.rank)) for system in systems]
