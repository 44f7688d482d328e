r"""One step of a recurrent cell as torch defines the cells, in torch's own operations, so that autograd has little to keep.

A step takes ``from_x = W_ih x_t + b_ih`` and ``from_h = W_hh h_{t-1} + b_hh``, both of shape (N, n_gates * hidden_size), and
the state before it, ``(h,)`` or ``(h, c)``, each of shape (N, hidden_size); it returns the state after it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

State = tuple[Tensor, ...]
Step = Callable[[Tensor, Tensor, State], State]


@dataclass(frozen=True)
class Cell:
    """Number of gates, names of states, a step, and the name of torch's kernels: ``torch.lstm`` and ``lstm_cell``."""

    n_gates: int
    states: tuple[str, ...]
    step: Step
    kernel: str


def lstm_step(from_x: Tensor, from_h: Tensor, state: State) -> State:
    r"""``c_t = sigma(f) c + sigma(i) tanh(g)``, ``h_t = sigma(o) tanh(c_t)``, gates in the order i f g o."""
    i, f, g, o = (from_x + from_h).chunk(4, dim=-1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def gru_step(from_x: Tensor, from_h: Tensor, state: State) -> State:
    r"""``n = tanh(n_x + sigma(r) n_h)``, ``h_t = (1 - sigma(z)) n + sigma(z) h``, gates in the order r z n."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = from_x.chunk(3, dim=-1), from_h.chunk(3, dim=-1)
    n = torch.tanh(n_x + torch.sigmoid(r_x + r_h) * n_h)
    return (n + torch.sigmoid(z_x + z_h) * (state[0] - n),)


def tanh_step(from_x: Tensor, from_h: Tensor, state: State) -> State:
    r"""``h_t = tanh(from_x + from_h)``."""
    return (torch.tanh(from_x + from_h),)


def relu_step(from_x: Tensor, from_h: Tensor, state: State) -> State:
    r"""``h_t = max(from_x + from_h, 0)``."""
    return (torch.relu(from_x + from_h),)


LSTM_CELL = Cell(4, ("h", "c"), lstm_step, "lstm")
GRU_CELL = Cell(3, ("h",), gru_step, "gru")
RNN_CELLS = {"tanh": Cell(1, ("h",), tanh_step, "rnn_tanh"), "relu": Cell(1, ("h",), relu_step, "rnn_relu")}
