"""Recurrences in torch: with a gradient of their own, and as one operator for compilers.

`UnrolledCell` is a node of the graph of autograd. The operator ``tensorly_rnn::unroll`` is a node of compiled graphs, and of
exported ones of any number of steps; without it such a graph would hold every step. Both have the gradient of
`tensorly_rnn.recurrent.unroll.unroll_backward`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tensorly_rnn.contraction.plan import ANY, size_of_plan
from tensorly_rnn.nn._torch_context import is_transformed
from tensorly_rnn.nn.autograd import BACKEND, differentiable_gradients, is_recorded, needs_operations
from tensorly_rnn.recurrent import unroll as recurrence
from tensorly_rnn.recurrent.cells import CELLS, Cell, State

#: Number of sequences in each step; None if all sequences have all steps.
Sizes = list[int] | None


def unroll(
    cell: Cell,
    from_x: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    recurrent: Tensor,
    bias_hh: Tensor | None,
    projection: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, State]:
    """Return h of all steps, in the order of time, and the last state of every sequence.

    Parameters
    ----------
    cell : Cell
    from_x : Tensor, shape (L, N, gates), or (sum(batch_sizes), gates) packed
        The projected input of all steps.
    batch_sizes : Tensor, shape (L,), or None
        For packed sequences: the number of sequences, longest first, in each step.
    state, recurrent, bias_hh, projection, reverse
        As for `tensorly_rnn.recurrent.unroll.unroll`.
    """
    tensors = (from_x, recurrent, bias_hh, projection, *state)
    if _is_one_operator(from_x):
        return _unroll_operator(cell, batch_sizes, reverse, *tensors)
    sizes = _sizes(batch_sizes)
    if needs_operations(from_x) or not is_recorded(tensors):
        return _unroll_steps(cell, sizes, reverse, *tensors)
    output, *last = UnrolledCell.apply(cell, sizes, reverse, *tensors)  # type: ignore[no-untyped-call]
    return output, tuple(last)


class UnrolledCell(torch.autograd.Function):
    """`unroll` with the gradient of `tensorly_rnn.recurrent.unroll.unroll_backward`: few products, few saved arrays."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> Any:
        """Run the steps; save their trace, and the arguments for second derivatives."""
        records, last = _run_steps(cell, sizes, reverse, *tensors)
        ctx.settings, ctx.n_tensors = (cell, sizes, reverse), len(tensors)
        ctx.save_for_backward(*tensors, *_arrays_of_trace(records))
        return _join_outputs(sizes, records), *last

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return three None, and the gradients of the tensors."""
        # One access: under gradient checkpointing each runs the forward pass again.
        saved = ctx.saved_tensors
        tensors, trace = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
        cell, sizes, reverse = ctx.settings
        if torch.is_grad_enabled():

            def steps(*tensors: Tensor | None) -> tuple[Tensor, ...]:
                output, last = _unroll_steps(cell, sizes, reverse, *tensors)
                return output, *last

            return None, None, None, *differentiable_gradients(steps, tensors, grad_outputs)
        _, recurrent, bias_hh, projection, *_ = tensors
        found = _pull_back(cell, sizes, reverse, trace, grad_outputs, recurrent, projection)
        from_x, d_bias = found.from_x.view_as(tensors[0]), None if bias_hh is None else found.from_h.sum(0)
        return None, None, None, from_x, found.recurrent, d_bias, found.projection, *found.state


@torch.library.custom_op("tensorly_rnn::unroll", mutates_args=())
def _unroll(
    cell: str,
    batch_sizes: Tensor | None,
    reverse: bool,
    traced: bool,
    from_x: Tensor,
    recurrent: Tensor,
    bias_hh: Tensor | None,
    projection: Tensor | None,
    state: list[Tensor],
) -> list[Tensor]:
    """Return h of all steps, the last state and, if `traced`, the arrays of the trace that the gradient needs."""
    sizes = _sizes(batch_sizes)
    records, last = _run_steps(CELLS[cell], sizes, reverse, from_x, recurrent, bias_hh, projection, *state)
    results = [_join_outputs(sizes, records), *last, *(_arrays_of_trace(records) if traced else ())]
    # The trace of one step is not a copy, but results of an operator must not share memory.
    return [one.clone() if len(records) == 1 else one.contiguous() for one in results if one is not None]


@_unroll.register_fake
def _(cell: str, batch_sizes: Tensor | None, reverse: bool, traced: bool, from_x: Tensor, *others: Any) -> list[Tensor]:
    *weights, state = others
    # The arrays of one step of all rows have the shapes of those of all steps.
    rows = from_x.reshape(1, -1, from_x.shape[-1])
    wide = [part.new_empty(rows.shape[1], part.shape[1]) for part in state]
    records, _ = _run_steps(CELLS[cell], None, reverse, rows, *weights, *wide)
    output = records[0].output
    results = [output.new_empty(*from_x.shape[:-1], output.shape[-1]), *state, *(_arrays_of_trace(records) if traced else ())]
    return [one.new_empty(one.shape) for one in results if one is not None]


@torch.library.custom_op("tensorly_rnn::unroll_backward", mutates_args=())
def _unroll_backward(
    cell: str,
    batch_sizes: Tensor | None,
    reverse: bool,
    trace: list[Tensor],
    grad_outputs: list[Tensor],
    recurrent: Tensor,
    projection: Tensor | None,
) -> list[Tensor]:
    """Return the gradients of from_x, recurrent, bias_hh, the state and, if there is one, the projection."""
    arrays = trace if projection is not None else [None, *trace]
    found = _pull_back(CELLS[cell], _sizes(batch_sizes), reverse, arrays, grad_outputs, recurrent, projection)
    from_x = found.from_x.view(*grad_outputs[0].shape[:-1], -1)
    results = [from_x, found.recurrent, found.from_h.sum(0), *found.state, found.projection]
    return [one.contiguous() for one in results if one is not None]


@_unroll_backward.register_fake
def _(*arguments: Any) -> list[Tensor]:
    *_, (output, *last), recurrent, projection = arguments
    shapes = [(*output.shape[:-1], recurrent.shape[0]), recurrent.shape, recurrent.shape[:1], *(one.shape for one in last)]
    return [output.new_empty(shape) for shape in (*shapes, *(() if projection is None else (projection.shape,)))]


def _save(ctx: Any, inputs: Any, output: list[Tensor]) -> None:
    ctx.cell, batch_sizes, ctx.reverse, _, _, recurrent, bias_hh, projection, state = inputs
    ctx.n_states, ctx.has_bias = len(state), bias_hh is not None
    ctx.save_for_backward(batch_sizes, recurrent, projection, *output[1 + len(state) :])


def _backward(ctx: Any, grad_outputs: list[Tensor]) -> Any:
    batch_sizes, recurrent, projection, *trace = ctx.saved_tensors
    n = ctx.n_states
    found = _unroll_backward(ctx.cell, batch_sizes, ctx.reverse, trace, grad_outputs[: 1 + n], recurrent, projection)
    d_from_x, d_recurrent, d_bias, *d_state = found[: 3 + n]
    d_projection = None if projection is None else found[-1]
    return None, None, None, None, d_from_x, d_recurrent, d_bias if ctx.has_bias else None, d_projection, d_state


_unroll.register_autograd(_backward, setup_context=_save)


def _is_one_operator(tensor: Tensor) -> bool:
    """Return whether a compiler or an export of any number of steps is active; other exports run without this library."""
    if not torch.compiler.is_compiling() or is_transformed() or tensor.is_complex():
        return False
    return not torch.compiler.is_exporting() or size_of_plan(tensor.shape[0]) == ANY


def _unroll_operator(cell: Cell, batch_sizes: Tensor | None, reverse: bool, *tensors: Any) -> tuple[Tensor, State]:
    """Run the steps as one operator, under autocast in the dtype of the weights."""
    from_x, recurrent, bias_hh, projection, *state = tensors
    dtype = recurrent.dtype
    traced = is_recorded(tensors)
    arguments = (from_x.to(dtype), recurrent, bias_hh, projection, [part.to(dtype) for part in state])
    output, *rest = _unroll(cell.name, batch_sizes, reverse, traced, *arguments)
    # The dtype of the single steps under autocast.
    wanted = torch.promote_types(from_x.dtype, state[0].dtype)
    return output.to(wanted), tuple(part.to(wanted) for part in rest[: len(state)])


def _unroll_steps(cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> tuple[Tensor, State]:
    records, last = _run_steps(cell, sizes, reverse, *tensors)
    return _join_outputs(sizes, records), last


def _run_steps(cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> tuple[list[recurrence.StepRecord], State]:
    from_x, recurrent, bias_hh, projection, *state = tensors
    if bias_hh is not None:
        # Autocast multiplies in lower precision, but would add the bias in the higher.
        bias_hh = bias_hh.to(from_x.dtype)
    steps = _split_steps(sizes, from_x)
    return recurrence.unroll(BACKEND, cell, steps, tuple(state), recurrent, bias_hh, projection, reverse)


def _pull_back(
    cell: Cell,
    sizes: Sizes,
    reverse: bool,
    trace: Sequence[Any],
    grad_outputs: Sequence[Tensor],
    recurrent: Tensor,
    projection: Tensor | None,
) -> recurrence.UnrolledGradients:
    """Return the gradients from the arrays of `_arrays_of_trace`."""
    hidden, *rest = trace
    n = len(cell.states)
    d_output, *d_state = grad_outputs
    d_steps = _split_steps(sizes, d_output)
    each = [len(step) for step in d_steps] if sizes is None else sizes
    of_steps = recurrence.StepRecord(tuple(rest[:n]), hidden, tuple(rest[n:]))
    return recurrence.unroll_backward(BACKEND, cell, of_steps, each, d_steps, tuple(d_state), recurrent, projection, reverse)


def _arrays_of_trace(records: Sequence[recurrence.StepRecord]) -> list[Any]:
    trace = recurrence.make_trace(BACKEND, records)
    return [trace.hidden, *trace.before, *trace.saved]


def _sizes(batch_sizes: Tensor | None) -> Sizes:
    return None if batch_sizes is None else batch_sizes.tolist()


def _split_steps(sizes: Sizes, rows: Tensor) -> Sequence[Tensor]:
    return rows.unbind(0) if sizes is None else rows.split(sizes)


def _join_outputs(sizes: Sizes, records: Sequence[recurrence.StepRecord]) -> Tensor:
    outputs = [record.output for record in records]
    return torch.stack(outputs) if sizes is None else torch.cat(outputs)
