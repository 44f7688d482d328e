"""A cell over the steps of a sequence, padded or packed, forward or back in time, and its gradient: one loop each way.

What a step has of its own comes as one array a step, a row for each sequence, in the order of time. In a packed sequence the
rows become fewer with time, the longest sequences first.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensorly_rnn.recurrent.cells import Cell, State


@dataclass(frozen=True, eq=False)
class Passed:
    """Arrays of one step: the state before it, h before its projection, if it has one, and after, and what the cell keeps."""

    before: State
    hidden: Any
    output: Any
    kept: State


@dataclass(frozen=True, eq=False)
class Trace:
    """What the way back needs of the way forward: the rows of all steps, in the order of time."""

    before: State
    hidden: Any
    kept: State


@dataclass(frozen=True, eq=False)
class SequenceGradients:
    """Gradients of what goes into `run`; `from_h` is that of the rows of all steps, as `from_x`."""

    from_x: Any
    from_h: Any
    recurrent: Any
    projection: Any
    state: State


def run(
    backend: Any,
    cell: Cell,
    from_x: Sequence[Any],
    state: State,
    recurrent: Any,
    bias_hh: Any = None,
    projection: Any = None,
    reverse: bool = False,
) -> tuple[list[Passed], State]:
    """Return the steps, in the order of time, and for every sequence its last state.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    cell : Cell
    from_x : sequence of arrays, shape (n_t, gates)
        The projected input of each step.
    state : tuple of arrays, shape (n_0, size)
    recurrent : array, shape (gates, size of h)
    bias_hh : array, shape (gates,), optional
    projection : array, shape (size of h, hidden), optional
    reverse : bool
        From the last step to the first.
    """
    to_gates = backend.transpose(recurrent, (1, 0))
    first, ended, steps = state, [], []
    ordered = from_x[::-1] if reverse else from_x
    state = _head(first, ordered[0].shape[0])
    for projected in ordered:
        ahead, now = state[0].shape[0], projected.shape[0]
        if now < ahead:  # sequences have ended
            ended.append(tuple(part[now:] for part in state))
            state = _head(state, now)
        elif now > ahead:  # going back, sequences begin at their own ends
            state = tuple(_below(backend, [part, start[ahead:now]]) for part, start in zip(state, first))
        from_h = backend.matmul(state[0], to_gates)  # (now, gates)
        from_h = from_h if bias_hh is None else from_h + bias_hh
        after, kept = cell.step(backend, projected, from_h, state)
        hidden = None
        if projection is not None:
            hidden = after[0]
            after = (backend.matmul(hidden, backend.transpose(projection, (1, 0))), *after[1:])
        steps.append(Passed(state, hidden, after[0], kept))
        state = after
    last = tuple(_below(backend, list(parts)) for parts in zip(state, *reversed(ended)))
    return steps[::-1] if reverse else steps, last


def trace_of(backend: Any, steps: Sequence[Passed]) -> Trace:
    """Bring together what the way back needs."""
    hidden = None if steps[0].hidden is None else _below(backend, [step.hidden for step in steps])
    return Trace(_all(backend, [step.before for step in steps]), hidden, _all(backend, [step.kept for step in steps]))


def run_backward(
    backend: Any,
    cell: Cell,
    trace: Trace,
    sizes: Sequence[int],
    d_output: Sequence[Any] | None,
    d_state: State,
    recurrent: Any,
    projection: Any = None,
    reverse: bool = False,
) -> SequenceGradients:
    """Back-propagate through time: the gradients of a loss with respect to all that `run` was given.

    Step t adds ``dL/doutput_t`` to what comes from the step after it, and hands ``dL/dfrom_h W_hh`` to the step before. The
    gradients of the gates are collected, so that ``dL/dW_hh = sum_t (dL/dfrom_h_t)^T h_{t-1}`` is one product.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    cell : Cell
    trace : Trace
    sizes : sequence of int
        Rows n_t of each step.
    d_output : sequence of arrays, shape (n_t, size of h), or None
        ``dL/doutput``; None stands for zeros.
    d_state : tuple of arrays, shape (n_0, size)
        ``dL/dstate`` of the last states.
    recurrent, projection, reverse
        As for `run`.
    """
    slopes = cell.slopes(backend, trace.kept, trace.before)
    walk = list(zip(itertools.count(), sizes, itertools.accumulate(sizes)))
    walk = walk if reverse else walk[::-1]
    last, begun, of_x, of_h, of_projected = d_state, [], [], [], []
    d_state = _head(last, walk[0][1])
    for step, now, end in walk:
        ahead = d_state[0].shape[0]
        if now < ahead:  # `run` began some sequences after this step
            begun.append(tuple(part[now:] for part in d_state))
            d_state = _head(d_state, now)
        elif now > ahead:  # `run` ended some with this step
            d_state = tuple(_below(backend, [part, whole[ahead:now]]) for part, whole in zip(d_state, last))
        dh = d_state[0] if d_output is None else d_state[0] + d_output[step]
        if projection is not None:
            of_projected.append(dh)
            dh = backend.matmul(dh, projection)  # (now, hidden)
        of_step = tuple(one[end - now : end] for one in slopes)
        d_from_x, d_from_h, direct = cell.step_backward(backend, of_step, (dh, *d_state[1:]))
        d_state = (direct[0] + backend.matmul(d_from_h, recurrent), *direct[1:])
        of_x.append(d_from_x)
        of_h.append(d_from_h)
    first = tuple(_below(backend, list(parts)) for parts in zip(d_state, *reversed(begun)))
    in_time = slice(None) if reverse else slice(None, None, -1)
    rows_x = _below(backend, of_x[in_time])
    # Where a cell only adds its two parts, their gradients are the same arrays.
    rows_h = rows_x if of_h[0] is of_x[0] else _below(backend, of_h[in_time])
    of_projection = None
    if projection is not None:
        of_projection = _product(backend, _below(backend, of_projected[in_time]), trace.hidden)
    return SequenceGradients(rows_x, rows_h, _product(backend, rows_h, trace.before[0]), of_projection, first)


def _head(state: State, size: int) -> State:
    """The first rows of a state."""
    return state if state[0].shape[0] == size else tuple(part[:size] for part in state)


def _below(backend: Any, pieces: list[Any]) -> Any:
    """Rows one below the other."""
    return pieces[0] if len(pieces) == 1 else backend.concatenate(pieces, axis=0)


def _all(backend: Any, steps: Sequence[State]) -> State:
    return tuple(_below(backend, list(parts)) for parts in zip(*steps))


def _product(backend: Any, d_rows: Any, rows: Any) -> Any:
    """Gradient of a matrix that took every step's `rows` to what has the gradient `d_rows`."""
    return backend.matmul(backend.transpose(d_rows, (1, 0)), rows)
