"""A cell unrolled over the steps of sequences, padded or packed, forward or reversed, and back-propagation through time.

Each step has one array with a row for each sequence; the steps are in the order of time. In packed sequences the number of
rows decreases with time, the longest sequences first.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensorly_rnn.recurrent.cells import Cell, State


@dataclass(frozen=True, eq=False)
class StepRecord:
    """Arrays of one step: the previous state, h before its projection (None without one), those saved by the cell, and h.

    The backward pass takes the rows of all steps, in the order of time, and does not need h.
    """

    before: State
    hidden: Any
    saved: State
    output: Any = None


@dataclass(frozen=True, eq=False)
class UnrolledGradients:
    """Gradients of the arguments of `unroll`; `from_x` and `from_h` have the rows of all steps."""

    from_x: Any
    from_h: Any
    recurrent: Any
    projection: Any
    state: State


def unroll(
    backend: Any,
    cell: Cell,
    from_x: Sequence[Any],
    state: State,
    recurrent: Any,
    bias_hh: Any = None,
    projection: Any = None,
    reverse: bool = False,
) -> tuple[list[StepRecord], State]:
    """Run a cell over all steps; return the records of the steps, in the order of time, and the last state of every sequence.

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
        Run from the last step to the first.
    """
    to_gates = backend.transpose(recurrent, (1, 0))
    first, ended, records = state, [], []
    ordered = from_x[::-1] if reverse else from_x
    state = _head(first, ordered[0].shape[0])
    for projected in ordered:
        previous, now = state[0].shape[0], projected.shape[0]
        if now < previous:  # sequences have ended
            ended.append(tuple(part[now:] for part in state))
            state = _head(state, now)
        elif now > previous:  # in reverse, shorter sequences begin later
            state = tuple(_concatenate(backend, [part, start[previous:now]]) for part, start in zip(state, first))
        from_h = backend.matmul(state[0], to_gates)  # (now, gates)
        from_h = from_h if bias_hh is None else from_h + bias_hh
        after, saved = cell.step(backend, projected, from_h, state)
        hidden = None
        if projection is not None:
            hidden = after[0]
            after = (backend.matmul(hidden, backend.transpose(projection, (1, 0))), *after[1:])
        records.append(StepRecord(state, hidden, saved, after[0]))
        state = after
    last = _concatenate_states(backend, [state, *reversed(ended)])
    return records[::-1] if reverse else records, last


def make_trace(backend: Any, records: Sequence[StepRecord]) -> StepRecord:
    """Concatenate the arrays of all steps."""
    hidden = None if records[0].hidden is None else _concatenate(backend, [step.hidden for step in records])
    before = _concatenate_states(backend, [step.before for step in records])
    return StepRecord(before, hidden, _concatenate_states(backend, [step.saved for step in records]))


def unroll_backward(
    backend: Any,
    cell: Cell,
    trace: StepRecord,
    sizes: Sequence[int],
    d_output: Sequence[Any] | None,
    d_state: State,
    recurrent: Any,
    projection: Any = None,
    reverse: bool = False,
) -> UnrolledGradients:
    """Back-propagate through time; return the gradients of a loss with respect to the arguments of `unroll`.

    Step t adds ``dL/doutput_t`` to the gradient from the next step and passes ``dL/dfrom_h W_hh`` to the previous one. The
    gradients of the gates are collected, so that ``dL/dW_hh = sum_t (dL/dfrom_h_t)^T h_{t-1}`` is one product.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    cell : Cell
    trace : StepRecord
        Result of `make_trace`.
    sizes : sequence of int
        Rows n_t of each step.
    d_output : sequence of arrays, shape (n_t, size of h), or None
        ``dL/doutput``; None for zeros.
    d_state : tuple of arrays, shape (n_0, size)
        ``dL/dstate`` of the last states.
    recurrent, projection, reverse
        As for `unroll`.
    """
    local_derivatives = cell.local_derivatives(backend, trace.saved, trace.before)
    steps = list(zip(itertools.count(), sizes, itertools.accumulate(sizes)))
    steps = steps if reverse else steps[::-1]
    last, begun, d_xs, d_hs, d_projecteds = d_state, [], [], [], []
    d_state = _head(last, steps[0][1])
    for step, now, end in steps:
        previous = d_state[0].shape[0]
        if now < previous:  # `unroll` began some sequences after this step
            begun.append(tuple(part[now:] for part in d_state))
            d_state = _head(d_state, now)
        elif now > previous:  # `unroll` ended some sequences with this step
            d_state = tuple(_concatenate(backend, [part, rest[previous:now]]) for part, rest in zip(d_state, last))
        dh = d_state[0] if d_output is None else d_state[0] + d_output[step]
        if projection is not None:
            d_projecteds.append(dh)
            dh = backend.matmul(dh, projection)  # (now, hidden)
        at_step = tuple(one[end - now : end] for one in local_derivatives)
        d_from_x, d_from_h, direct = cell.step_backward(backend, at_step, (dh, *d_state[1:]))
        d_state = (direct[0] + backend.matmul(d_from_h, recurrent), *direct[1:])
        d_xs.append(d_from_x)
        d_hs.append(d_from_h)
    first = _concatenate_states(backend, [d_state, *reversed(begun)])
    in_time = slice(None) if reverse else slice(None, None, -1)
    rows_x = _concatenate(backend, d_xs[in_time])
    # A cell that adds from_x and from_h returns the same array for both.
    rows_h = rows_x if d_hs[0] is d_xs[0] else _concatenate(backend, d_hs[in_time])
    d_projection = None
    if projection is not None:
        d_projection = _outer_sum(backend, _concatenate(backend, d_projecteds[in_time]), trace.hidden)
    return UnrolledGradients(rows_x, rows_h, _outer_sum(backend, rows_h, trace.before[0]), d_projection, first)


def _head(state: State, size: int) -> State:
    """Return the first rows of a state."""
    return state if state[0].shape[0] == size else tuple(part[:size] for part in state)


def _concatenate(backend: Any, pieces: list[Any]) -> Any:
    return pieces[0] if len(pieces) == 1 else backend.concatenate(pieces, axis=0)


def _concatenate_states(backend: Any, states: Sequence[State]) -> State:
    return tuple(_concatenate(backend, list(parts)) for parts in zip(*states))


def _outer_sum(backend: Any, d_rows: Any, rows: Any) -> Any:
    """Return the gradient of a matrix that maps `rows` to rows with the gradient `d_rows`."""
    return backend.matmul(backend.transpose(d_rows, (1, 0)), rows)
