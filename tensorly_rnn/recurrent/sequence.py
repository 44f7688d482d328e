"""A cell over the steps of a sequence, and back through time: one loop each way, for every cell and every linear map."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn.recurrent.cells import Cell, State
from tensorly_rnn.recurrent.weight import GatedWeight


@dataclass(frozen=True, eq=False)
class Maps:
    """What a layer computes with: its cell and its linear maps; absent biases and projection are None.

    `recurrent` is the matrix of `recurrent_part` of the columns of its weight, which may be the very one of `input`.
    """

    cell: Cell
    input: GatedWeight
    recurrent: GatedWeight
    recurrent_part: int
    bias_ih: Any
    bias_hh: Any
    projection: Any


@dataclass(frozen=True, eq=False)
class Tape:
    """What the way back needs of the way forward; `states` are those before each step, `hidden` h before its projection."""

    pull_back_input: Callable[[Any], tuple[list[Any], Any]]
    pull_back_recurrent: Callable[[Any], list[Any]]
    recurrent: Any
    states: list[State]
    hidden: list[Any]
    kept: list[State]
    batched: bool = True


@dataclass(frozen=True, eq=False)
class Pulled:
    """Gradients of everything that goes into a sequence; `input` and `recurrent` are lists, one gradient a factor."""

    x: Any
    state: State
    input: list[Any]
    recurrent: list[Any]
    bias_ih: Any
    bias_hh: Any
    projection: Any


def run(backend: Any, maps: Maps, x: Any, state: State) -> tuple[Any, State, Tape]:
    """Return the outputs of all steps, shape (L, N, size of h), the last state, and the tape.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    maps : Maps
    x : array, shape (L, N, width)
    state : tuple of arrays, shape (N, size)
    """
    steps, batch, width = tuple(x.shape)
    # The input of all steps is projected in one product: (L N, width) -> (L N, gates).
    y, pull_back_input = maps.input.vjp(backend.reshape(x, (steps * batch, width)))
    y = y if maps.bias_ih is None else y + maps.bias_ih
    from_x = backend.reshape(y, (steps, batch, y.shape[1]))
    recurrent, pull_back_recurrent = maps.recurrent.matrix_vjp(maps.recurrent_part)
    to_gates = backend.transpose(recurrent, (1, 0))
    states, hidden, kept = [state], [], []
    for step in range(steps):
        from_h = backend.matmul(state[0], to_gates)
        from_h = from_h if maps.bias_hh is None else from_h + maps.bias_hh
        state, needed = maps.cell.step(backend, from_x[step], from_h, state)
        hidden.append(state[0])
        if maps.projection is not None:
            state = (backend.matmul(state[0], backend.transpose(maps.projection, (1, 0))), *state[1:])
        states.append(state)
        kept.append(needed)
    output = backend.stack([one[0] for one in states[1:]])
    return output, state, Tape(pull_back_input, pull_back_recurrent, recurrent, states[:-1], hidden, kept)


def run_backward(backend: Any, maps: Maps, tape: Tape, d_output: Any, d_state: State) -> Pulled:
    """Return the gradients of a loss with respect to all that `run` was given.

    Parameters
    ----------
    backend : TensorLy backend of all arrays
    maps : Maps
        Those of `run`.
    tape : Tape
        Of `run`.
    d_output : array, shape (L, N, size of h), or None
        ``dL/doutput``; None stands for zeros.
    d_state : tuple of arrays, shape (N, size)
        ``dL/dstate`` for the last state.
    """
    of_x, of_h, of_projected = [], [], []
    for step in reversed(range(len(tape.kept))):
        dh = d_state[0] if d_output is None else d_state[0] + d_output[step]
        if maps.projection is not None:
            of_projected.append(dh)
            dh = backend.matmul(dh, maps.projection)
        d_from_x, d_from_h, direct = maps.cell.step_backward(
            backend, tape.kept[step], tape.states[step], (dh, *d_state[1:])
        )
        d_state = (direct[0] + backend.matmul(d_from_h, tape.recurrent), *direct[1:])
        of_x.append(d_from_x)
        of_h.append(d_from_h)
    rows_x = _rows(backend, of_x[::-1])
    # Where a cell adds its two parts, their gradients are one array.
    rows_h = rows_x if of_h[0] is of_x[0] else _rows(backend, of_h[::-1])
    of_input, dx = tape.pull_back_input(rows_x)
    before = _rows(backend, [state[0] for state in tape.states])
    return Pulled(
        x=backend.reshape(dx, (len(of_x), -1, dx.shape[1])) if dx.shape[0] else backend.reshape(dx, (len(of_x), 0, dx.shape[1])),
        state=d_state,
        input=of_input,
        recurrent=tape.pull_back_recurrent(_product(backend, rows_h, before)),
        bias_ih=None if maps.bias_ih is None else backend.sum(rows_x, axis=0),
        bias_hh=None if maps.bias_hh is None else backend.sum(rows_h, axis=0),
        projection=None
        if maps.projection is None
        else _product(backend, _rows(backend, of_projected[::-1]), _rows(backend, tape.hidden)),
    )


def _rows(backend: Any, steps: list[Any]) -> Any:
    """All steps' rows one below the other: L arrays (N, size) -> (L N, size)."""
    return backend.concatenate(steps, axis=0)


def _product(backend: Any, d_rows: Any, rows: Any) -> Any:
    """Gradient of a matrix that took `rows` to what has the gradient `d_rows`: all steps in one product."""
    return backend.matmul(backend.transpose(d_rows, (1, 0)), rows)
