r"""One step of a recurrent cell and its gradient, as torch defines the cells.

A step takes ``from_x = W_ih x_t + b_ih`` and ``from_h = W_hh h_{t-1} + b_hh``, both of shape (N, n_gates * hidden), and
the previous state, ``(h,)`` or ``(h, c)``, each of shape (N, hidden). It returns the next state and the arrays saved for the
gradient.

The gradient of a step is linear in ``dL/dstate_t``. Its local derivatives are computed for all steps at once, as arrays whose
rows are the rows of the steps. The backward step maps ``dL/dstate_t`` to ``dL/dfrom_x``, ``dL/dfrom_h`` and the part of
``dL/dstate_{t-1}`` that does not pass through `from_h`. The rest, ``dL/dfrom_h W_hh``, is added by
`tensorly_rnn.recurrent.unroll`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import context

State = tuple[Any, ...]
#: (backend, from_x, from_h, state) -> (next state, saved arrays)
StepForward = Callable[[Any, Any, Any, State], tuple[State, State]]
#: (backend, saved arrays, previous state) -> local derivatives
LocalDerivatives = Callable[[Any, State, State], State]
#: (backend, local derivatives, dL/dstate_t) -> (dL/dfrom_x, dL/dfrom_h, direct part of dL/dstate_{t-1})
StepBackward = Callable[[Any, State, State], tuple[Any, Any, State]]


@dataclass(frozen=True)
class Cell:
    """Name, number of gates, names of the states, and the functions of one step."""

    name: str
    n_gates: int
    states: tuple[str, ...]
    step: StepForward
    local_derivatives: LocalDerivatives
    step_backward: StepBackward


def lstm_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""Compute ``c_t = sigma(f) c + sigma(i) tanh(g)``, ``h_t = sigma(o) tanh(c_t)``; order of the gates: i f g o."""
    gates = from_x + from_h
    size = gates.shape[1] // 4
    i_f, g = _sigmoid(backend, gates[:, : 2 * size]), backend.tanh(gates[:, 2 * size : 3 * size])
    o = _sigmoid(backend, gates[:, 3 * size :])
    c = i_f[:, size:] * state[1] + i_f[:, :size] * g
    squashed = backend.tanh(c)
    return (o * squashed, c), (i_f, g, o, squashed)


def lstm_local_derivatives(backend: Any, saved: State, before: State) -> State:
    r"""Return the local derivatives of `lstm_step`.

    ``dc`` is multiplied by ``g i (1 - i)``, ``c_{t-1} f (1 - f)`` and ``i (1 - g^2)`` for the gates i, f and g, and by f for
    the previous c. ``dh`` is multiplied by ``tanh(c_t) o (1 - o)`` for o, and by ``o (1 - tanh(c_t)^2)`` for c.
    """
    i_f, g, o, squashed = saved
    size = g.shape[1]
    i, f = i_f[:, :size], i_f[:, size:]
    gates = (g * i * (1 - i), before[1] * f * (1 - f), i * (1 - g * g), squashed * o * (1 - o))
    return backend.concatenate(list(gates), axis=1), o * (1 - squashed * squashed), f


def lstm_step_backward(backend: Any, local_derivatives: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Return the gradients of `lstm_step`."""
    by_gates, by_c, f = local_derivatives
    dh, dc = d_state
    dc = dc + dh * by_c
    d_gates = backend.concatenate([dc, dc, dc, dh], axis=1) * by_gates
    return d_gates, d_gates, (0.0, dc * f)


def gru_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""Compute ``n = tanh(n_x + sigma(r) n_h)``, ``h_t = (1 - sigma(z)) n + sigma(z) h``; order of the gates: r z n."""
    size = from_x.shape[1] // 3
    r_z, n_h = _sigmoid(backend, from_x[:, : 2 * size] + from_h[:, : 2 * size]), from_h[:, 2 * size :]
    n = backend.tanh(from_x[:, 2 * size :] + r_z[:, :size] * n_h)
    return (n + r_z[:, size:] * (state[0] - n),), (r_z, n, n_h)


def gru_local_derivatives(backend: Any, saved: State, before: State) -> State:
    r"""Return the local derivatives of `gru_step`.

    ``dh`` is multiplied by ``dn = (1 - z) (1 - n^2)`` for n before its tanh, ``dn n_h r (1 - r)`` for r,
    ``(h_{t-1} - n) z (1 - z)`` for z, and z for the previous h. The part of n from x has ``dn``, that from h ``dn r``.
    """
    r_z, n, n_h = saved
    size = n.shape[1]
    r, z = r_z[:, :size], r_z[:, size:]
    dn = (1 - z) * (1 - n * n)
    dr, dz = dn * n_h * r * (1 - r), (before[0] - n) * z * (1 - z)
    return backend.concatenate([dr, dz, dn], axis=1), backend.concatenate([dr, dz, dn * r], axis=1), z


def gru_step_backward(backend: Any, local_derivatives: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Return the gradients of `gru_step`."""
    by_x, by_h, z = local_derivatives
    (dh,) = d_state
    per_gate = backend.concatenate([dh, dh, dh], axis=1)
    return per_gate * by_x, per_gate * by_h, (dh * z,)


def tanh_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""Compute ``h_t = tanh(from_x + from_h)``."""
    h = backend.tanh(from_x + from_h)
    return (h,), (h,)


def tanh_local_derivatives(backend: Any, saved: State, before: State) -> State:
    r"""Return ``1 - h_t^2``."""
    return (1 - saved[0] * saved[0],)


def relu_step(backend: Any, from_x: Any, from_h: Any, state: State) -> tuple[State, State]:
    r"""Compute ``h_t = max(from_x + from_h, 0)``."""
    total = from_x + from_h
    # Unlike a maximum, this form has derivative 0 at 0 under automatic differentiation, as in torch, and propagates NaN.
    h = backend.where(total <= 0, backend.zeros(tuple(total.shape), **context(backend, total)), total)
    return (h,), (h,)


def relu_local_derivatives(backend: Any, saved: State, before: State) -> State:
    r"""Return 1 where h_t is positive, else 0."""
    return (backend.sign(saved[0]),)


def plain_step_backward(backend: Any, local_derivatives: State, d_state: State) -> tuple[Any, Any, State]:
    r"""Return the gradients of `tanh_step` or `relu_step`."""
    d_gates = d_state[0] * local_derivatives[0]
    return d_gates, d_gates, (0.0,)


LSTM_CELL = Cell("lstm", 4, ("h", "c"), lstm_step, lstm_local_derivatives, lstm_step_backward)
GRU_CELL = Cell("gru", 3, ("h",), gru_step, gru_local_derivatives, gru_step_backward)
RNN_CELLS = {
    "tanh": Cell("rnn_tanh", 1, ("h",), tanh_step, tanh_local_derivatives, plain_step_backward),
    "relu": Cell("rnn_relu", 1, ("h",), relu_step, relu_local_derivatives, plain_step_backward),
}

#: All cells by name.
CELLS = {cell.name: cell for cell in (LSTM_CELL, GRU_CELL, *RNN_CELLS.values())}


def _sigmoid(backend: Any, x: Any) -> Any:
    # This form does not overflow, and every TensorLy backend has tanh.
    return 0.5 + 0.5 * backend.tanh(0.5 * x)
