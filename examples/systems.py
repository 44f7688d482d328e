"""The recurrent layers that the programs compare: the dense LSTM and compact ones, by name."""

from __future__ import annotations

import math
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
