r"""One step of a recurrent cell and its gradient, as torch defines the cells.

A step takes ``from_x = W_ih x_t + b_ih`` and ``from_h = W_hh h_{t-1} + b_hh``, both of shape (N, n_gates * hidden), and
the state before it, ``(h,)`` or ``(h, c)``, each of shape (N, hidden). It returns the state after it and what the
gradient needs of it. The gradient of a step goes from ``dL/dstate_t`` to ``dL/dfrom_x``, ``dL/dfrom_h`` and the part of
``dL/dstate_{t-1}`` that does not pass through `from_h`; the rest of it, ``dL/dfrom_h W_hh``, is the sequence's to add.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import context

State = tuple[Any, ...]
Step = Callable[[Any, Any, Any, State], tuple[State, State]]
StepBackward = Callable[[Any, State, State, State], tuple[Any, Any, State]]


@dataclass(frozen=True)
class Cell:
    """Its number of gates, the names of its states, a step and the gradient of a step."""

    n_gates: int
    states: tuple[str, ...]
    step: Step
    step_backward: StepBackward


def lstm_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``c_t = sigma(f) c + sigma(i) tanh(g)``, ``h_t = sigma(o) tanh(c_t)``, gates in the order i f g o."""
    i, f, g, o = _gates(from_x + from_h, 4)
    i, f, g, o = _sigmoid(backend, i), _sigmoid(backend, f), backend.tanh(g), _sigmoid(backend, o)
    c = f * state[1] + i * g
    squashed = backend.tanh(c)
    return (o * squashed, c), (i, f, g, o, squashed)


def lstm_step_backward(backend: Any, kept: State, before: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `lstm_step`.

    ``dc = dc_t + dh o (1 - tanh(c_t)^2)``; the gates get ``dc g``, ``dc c_{t-1}``, ``dc i``, ``dh tanh(c_t)``, each times
    the slope of its own function, ``s (1 - s)`` for ``s = sigma`` and ``1 - g^2`` for ``g = tanh``; ``dc_{t-1} = dc f``.
    """
    i, f, g, o, squashed = kept
    dh, dc = d_state
    dc = dc + dh * o * (1 - squashed * squashed)
    slopes = (dc * g * i * (1 - i), dc * before[1] * f * (1 - f), dc * i * (1 - g * g), dh * squashed * o * (1 - o))
    d_gates = backend.concatenate(list(slopes), axis=1)
    return d_gates, d_gates, (0.0, dc * f)


def gru_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``n = tanh(n_x + sigma(r) n_h)``, ``h_t = (1 - sigma(z)) n + sigma(z) h``, gates in the order r z n."""
    (r_x, z_x, n_x), (r_h, z_h, n_h) = _gates(from_x, 3), _gates(from_h, 3)
    r, z = _sigmoid(backend, r_x + r_h), _sigmoid(backend, z_x + z_h)
    n = backend.tanh(n_x + r * n_h)
    return (n + z * (state[0] - n),), (r, z, n, n_h)


def gru_step_backward(backend: Any, kept: State, before: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `gru_step`.

    With ``dn`` that of n before its tanh, ``dn = dh (1 - z) (1 - n^2)``: r gets ``dn n_h r (1 - r)``, z gets
    ``dh (h_{t-1} - n) z (1 - z)``; n's part from x gets ``dn`` and its part from h ``dn r``. Directly, h_{t-1} gets ``dh z``.
    """
    r, z, n, n_h = kept
    (dh,) = d_state
    dn = dh * (1 - z) * (1 - n * n)
    dr, dz = dn * n_h * r * (1 - r), dh * (before[0] - n) * z * (1 - z)
    return backend.concatenate([dr, dz, dn], axis=1), backend.concatenate([dr, dz, dn * r], axis=1), (dh * z,)


def tanh_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``h_t = tanh(from_x + from_h)``."""
    h = backend.tanh(from_x + from_h)
    return (h,), (h,)


def tanh_step_backward(backend: Any, kept: State, before: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `tanh_step`: ``dh (1 - h_t^2)``."""
    d_gates = d_state[0] * (1 - kept[0] * kept[0])
    return d_gates, d_gates, (0.0,)


def relu_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""``h_t = max(from_x + from_h, 0)``."""
    total = from_x + from_h
    h = backend.maximum(total, backend.zeros(tuple(total.shape), **context(backend, total)))
    return (h,), (h,)


def relu_step_backward(backend: Any, kept: State, before: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Gradient of `relu_step`: ``dh`` where h_t is positive, else 0."""
    d_gates = d_state[0] * backend.sign(kept[0])
    return d_gates, d_gates, (0.0,)


LSTM_CELL = Cell(4, ("h", "c"), lstm_step, lstm_step_backward)
GRU_CELL = Cell(3, ("h",), gru_step, gru_step_backward)
RNN_CELLS = {
    "tanh": Cell(1, ("h",), tanh_step, tanh_step_backward),
    "relu": Cell(1, ("h",), relu_step, relu_step_backward),
}


def _gates(stacked: Any, n_gates: int) -> tuple[Any, ...]:
    size = stacked.shape[1] // n_gates
    return tuple(stacked[:, gate * size : (gate + 1) * size] for gate in range(n_gates))


def _sigmoid(backend: Any, x: Any) -> Any:
    # In this form nothing overflows, and TensorLy's backends have tanh.
    return 0.5 + 0.5 * backend.tanh(0.5 * x)
