"""A cell over the steps of a sequence, and back through time: one loop each way, for every cell."""

from dataclasses import dataclass
from typing import Any

from tensorly_rnn.recurrent.cells import Cell, State


@dataclass(frozen=True, eq=False)
class Trace:
    """What the way back needs of the way forward."""

    recurrent: Any
    projection: Any
    states: list[State]  # before each step
    hidden: list[Any]  # h after each step, before its projection
    kept: list[State]  # of the cell


@dataclass(frozen=True, eq=False)
class SequenceGradients:
    """Gradients of what goes into `run`; `from_x` and `from_h` are those of all steps, shape (L N, gates)."""

    from_x: Any
    from_h: Any
    recurrent: Any
    projection: Any
    state: State


def run(
    backend: Any, cell: Cell, from_x: Any, state: State, recurrent: Any, bias_hh: Any = None, projection: Any = None
) -> tuple[Any, State, Trace]:
    """Return the outputs of all steps, shape (L, N, size of h), the last state, and the trace for the way back.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    cell : Cell
    from_x : array, shape (L, N, gates)
        The projected input of all steps.
    state : tuple of arrays, shape (N, size)
    recurrent : array, shape (gates, size of h)
    bias_hh : array, shape (gates,), optional
    projection : array, shape (size of h, hidden), optional
    """
    to_gates = backend.transpose(recurrent, (1, 0))
    states, hidden, kept = [state], [], []
    for step in range(from_x.shape[0]):
        from_h = backend.matmul(state[0], to_gates)  # (N, gates)
        from_h = from_h if bias_hh is None else from_h + bias_hh
        state, needed = cell.step(backend, from_x[step], from_h, state)
        hidden.append(state[0])
        kept.append(needed)
        if projection is not None:
            state = (backend.matmul(state[0], backend.transpose(projection, (1, 0))), *state[1:])
        states.append(state)
    output = backend.stack([after[0] for after in states[1:]])
    return output, state, Trace(recurrent, projection, states[:-1], hidden, kept)


def run_backward(backend: Any, cell: Cell, trace: Trace, d_output: Any, d_state: State) -> SequenceGradients:
    """Back-propagate through time: the gradients of a loss with respect to all that `run` was given.

    Step t adds ``dL/doutput_t`` to what comes from step t + 1, and hands ``dL/dfrom_h W_hh`` to step t - 1. The gradients
    of the gates are collected, so that ``dL/dW_hh = sum_t (dL/dfrom_h_t)^T h_{t-1}`` is one product.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    cell : Cell
    trace : Trace
    d_output : array, shape (L, N, size of h), or None
        ``dL/doutput``; None stands for zeros.
    d_state : tuple of arrays, shape (N, size)
        ``dL/dstate`` of the last state.
    """
    of_x, of_h, of_projected = [], [], []
    for step in reversed(range(len(trace.kept))):
        dh = d_state[0] if d_output is None else d_state[0] + d_output[step]
        if trace.projection is not None:
            of_projected.append(dh)
            dh = backend.matmul(dh, trace.projection)  # (N, hidden)
        d_from_x, d_from_h, direct = cell.step_backward(backend, trace.kept[step], trace.states[step], (dh, *d_state[1:]))
        d_state = (direct[0] + backend.matmul(d_from_h, trace.recurrent), *direct[1:])
        of_x.append(d_from_x)
        of_h.append(d_from_h)
    rows_x = _rows(backend, of_x[::-1])
    # Where a cell only adds its two parts, their gradients are the same arrays.
    rows_h = rows_x if of_h[0] is of_x[0] else _rows(backend, of_h[::-1])
    before = _rows(backend, [state[0] for state in trace.states])
    projection = None
    if trace.projection is not None:
        projection = _product(backend, _rows(backend, of_projected[::-1]), _rows(backend, trace.hidden))
    return SequenceGradients(rows_x, rows_h, _product(backend, rows_h, before), projection, d_state)


def _rows(backend: Any, steps: list[Any]) -> Any:
    """The rows of all steps one below the other: L arrays (N, size) -> (L N, size)."""
    return backend.concatenate(steps, axis=0)


def _product(backend: Any, d_rows: Any, rows: Any) -> Any:
    """Gradient of a matrix that took every step's `rows` to what has the gradient `d_rows`."""
    return backend.matmul(backend.transpose(d_rows, (1, 0)), rows)
