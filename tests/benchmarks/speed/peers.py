"""Layers of other packages at our settings. They come with the `bench` extra and are imported when they are made.

TedNet 0.1.3: its LSTMs take the initial state along, drop 0.25 to 0.35 of the gates and of h unless told otherwise (turned off
here), and put the gates on the first mode of the outputs, where our ring has them on the last: 1725 parameters either way.
TensorLy-Torch 0.5.0 has linear layers only: in an LSTM, one projects the input of all steps at once and a loop over torch's
functions does the rest.
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

MODULES = {"tednet": "tednet.tnn", "tensorly-torch": "tltorch"}
IMPLEMENTATIONS = ("factorized", "reconstructed")


class FromZero(nn.Module):
    """TedNet's LSTM as torch's: from zeros, if no state is given."""

    def __init__(self, layer: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.layer, self.hidden_size = layer, hidden_size

    def forward(self, x: Tensor) -> Any:
        zeros = x.new_zeros(x.shape[1], self.hidden_size)
        return self.layer(x, (zeros, zeros))


def tednet(format: str, in_modes: Sequence[int], hidden_modes: Sequence[int], ranks: list[int], *blocks: int) -> nn.Module:
    """Make TedNet's LSTM of a format, without dropout."""
    from tednet.tnn.bt_tucker import BTTLSTM
    from tednet.tnn.tensor_ring import TRLSTM
    from tednet.tnn.tensor_train import TTLSTM

    cls = {"tt": TTLSTM, "tr": TRLSTM, "bt": BTTLSTM}[format]
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its compression ratio
        layer = cls(list(in_modes), list(hidden_modes), ranks, *blocks, drop_ih=0.0, drop_hh=0.0)
    return FromZero(layer, int(layer.hidden_size))


def tltorch(in_modes: Sequence[int], out_modes: Sequence[int], form: str, rank: Any, implementation: str) -> nn.Module:
    """Make TensorLy-Torch's linear layer."""
    from tltorch import FactorizedLinear

    return FactorizedLinear(tuple(in_modes), tuple(out_modes), factorization=form, rank=rank, implementation=implementation)


class ProjectedLSTM(nn.Module):
    """An LSTM whose input goes through a given linear layer."""

    def __init__(self, projection: nn.Module, hidden_size: int) -> None:
        super().__init__()
        self.projection, self.hidden_size = projection, hidden_size
        self.recurrent = nn.Linear(hidden_size, 4 * hidden_size)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        steps = self.projection(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        h = c = steps.new_zeros(x.shape[1], self.hidden_size)
        outputs = []
        for step in steps:
            i, f, g, o = (step + self.recurrent(h)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs), c
