r"""One step of a recurrent cell and its gradient, as torch defines the cells.

A step takes ``from_x = W_ih x_t + b_ih`` and ``from_h = W_hh h_{t-1} + b_hh``, both of shape (N, n_gates * hidden), and
the state before it, ``(h,)`` or ``(h, c)``, each of shape (N, hidden). It returns the state after it and what the
gradient needs of it. The gradient of a step is linear in ``dL/dstate_t``: its slopes are taken for all steps at once, as
arrays whose rows are the rows of the steps. With them it goes from ``dL/dstate_t`` to ``dL/dfrom_x``, ``dL/dfrom_h`` and the
part of ``dL/dstate_{t-1}`` that does not pass through `from_h`; the rest of it, ``dL/dfrom_h W_hh``, is the sequence's to add.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import context

State = tuple[Any, ...]
Step = Callable[[Any, Any, Any, State], tuple[State, State]]
Slopes = Callable[[Any, State, State], State]
StepBackward = Callable[[Any, State, State], tuple[Any, Any, State]]


@dataclass(frozen=True)
class Cell:
    """Its number of gates, the names of its states, a step, the slopes of steps and the gradient of a step."""

    n_gates: int
    states: tuple[str, ...]
    step: Step
    slopes: Slopes
    step_backward: StepBackward


def lstm_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``c_t = sigma(f) c + sigma(i) tanh(g)``, ``h_t = sigma(o) tanh(c_t)``, gates in the order i f g o."""
    gates = from_x + from_h
    size = gates.shape[1] // 4
    i_f, g = _sigmoid(backend, gates[:, : 2 * size]), backend.tanh(gates[:, 2 * size : 3 * size])
    o = _sigmoid(backend, gates[:, 3 * size :])
    c = i_f[:, size:] * state[1] + i_f[:, :size] * g
    squashed = backend.tanh(c)
    return (o * squashed, c), (i_f, g, o, squashed)


def lstm_slopes(backend: Any, kept: State, before: State) -> State:
    r"""What `lstm_step_backward` multiplies.

    With ``s (1 - s)`` the slope of ``s = sigma`` and ``1 - g^2`` that of ``g = tanh``, dc goes to the gates i, f, g by
    ``g i (1 - i)``, ``c_{t-1} f (1 - f)``, ``i (1 - g^2)``, and dh to o by ``tanh(c_t) o (1 - o)``; dh goes to dc by
    ``o (1 - tanh(c_t)^2)``, and dc to that of the step before by f.
    """
    i_f, g, o, squashed = kept
    size = g.shape[1]
    i, f = i_f[:, :size], i_f[:, size:]
    gates = (g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o))
    return backend.concatenate(list(gates), axis=1), o * (1 - squashed * squashed), f


def lstm_step_backward(backend: Any, slopes: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `lstm_step`."""
    of_gates, of_c, f = slopes
    dh, dc = d_state
    dc = dc + dh * of_c
    d_gates = backend.concatenate([dc, dc, dc, dh], axis=1) * of_gates
    return d_gates, d_gates, (0.0, dc * f)


def gru_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``n = tanh(n_x + sigma(r) n_h)``, ``h_t = (1 - sigma(z)) n + sigma(z) h``, gates in the order r z n."""
    size = from_x.shape[1] // 3
    r_z, n_h = _sigmoid(backend, from_x[:, : 2 * size] + from_h[:, : 2 * size]), from_h[:, 2 * size :]
    n = backend.tanh(from_x[:, 2 * size :] + r_z[:, :size] * n_h)
    return (n + r_z[:, size:] * (state[0] - n),), (r_z, n, n_h)


def gru_slopes(backend: Any, kept: State, before: State) -> State:
    r"""What `gru_step_backward` multiplies.

    dh goes to n before its tanh by ``dn = (1 - z) (1 - n^2)``, to r by ``dn n_h r (1 - r)``, to z by
    ``(h_{t-1} - n) z (1 - z)``; to n's part from x by ``dn`` and to its part from h by ``dn r``; to h_{t-1} directly by z.
    """
    r_z, n, n_h = kept
    size = n.shape[1]
    r, z = r_z[:, :size], r_z[:, size:]
    dn = (1 - z) * (1 - n * n)
    dr, dz = dn * n_h * r * (1 - r), (before[0] - n) * z * (1 - z)
    return backend.concatenate([dr, dz, dn], axis=1), backend.concatenate([dr, dz, dn * r], axis=1), z


def gru_step_backward(backend: Any, slopes: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `gru_step`."""
    of_x, of_h, z = slopes
    (dh,) = d_state
    of_every_gate = backend.concatenate([dh, dh, dh], axis=1)
    return of_every_gate * of_x, of_every_gate * of_h, (dh * z,)


def tanh_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``h_t = tanh(from_x + from_h)``."""
    h = backend.tanh(from_x + from_h)
    return (h,), (h,)


def tanh_slopes(backend: Any, kept: State, before: State) -> State:
    r"""``1 - h_t^2``."""
    return (1 - kept[0] * kept[0],)


def relu_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``h_t = max(from_x + from_h, 0)``."""
    total = from_x + from_h
    # Unlike a maximum, this has the slope 0 at 0 for those who differentiate it, as torch's; and NaN stays NaN.
    h = backend.where(total <= 0, backend.zeros(tuple(total.shape), **context(backend, total)), total)
    return (h,), (h,)


def relu_slopes(backend: Any, kept: State, before: State) -> State:
    r"""1 where h_t is positive, else 0."""
    return (backend.sign(kept[0]),)


def plain_step_backward(backend: Any, slopes: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `tanh_step` and `relu_step`."""
    d_gates = d_state[0] * slopes[0]
    return d_gates, d_gates, (0.0,)


LSTM_CELL = Cell(4, ("h", "c"), lstm_step, lstm_slopes, lstm_step_backward)
GRU_CELL = Cell(3, ("h",), gru_step, gru_slopes, gru_step_backward)
RNN_CELLS = {
    "tanh": Cell(1, ("h",), tanh_step, tanh_slopes, plain_step_backward),
    "relu": Cell(1, ("h",), relu_step, relu_slopes, plain_step_backward),
}


def _sigmoid(backend: Any, x: Any) -> Any:
    # In this form nothing overflows, and TensorLy's backends have tanh.
    return 0.5 + 0.5 * backend.tanh(0.5 * x)
