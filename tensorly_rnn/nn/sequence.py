"""A cell over the steps of a sequence in torch, its gradient by hand, or by autograd where something else traces the steps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tensorly_rnn._backend import backend_of
from tensorly_rnn.nn._arguments import autocasts
from tensorly_rnn.nn.weight_cache import is_traced
from tensorly_rnn.recurrent import unroll as sequence
from tensorly_rnn.recurrent.cells import Cell, State

#: Sequences that reach each step; None if that is all of them.
Sizes = list[int] | None

BACKEND = backend_of("torch", torch.empty(0))


def run(
    cell: Cell,
    from_x: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    recurrent: Tensor,
    bias_hh: Tensor | None,
    projection: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, State]:
    """Return h of all steps, in the order of the steps, and for every sequence its last state.

    Parameters
    ----------
    cell : Cell
    from_x : Tensor, shape (L, N, gates), or (sum(batch_sizes), gates) packed
        The projected input of all steps.
    batch_sizes : Tensor, shape (L,), or None
        Of a packed sequence: how many of the N sequences, longest first, reach each step.
    state, recurrent, bias_hh, projection, reverse
        As for `tensorly_rnn.recurrent.unroll.run`.
    """
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    tensors = (from_x, recurrent, bias_hh, projection, *state)
    if _is_traced(from_x) or not _is_recorded(tensors):
        return _by_steps(cell, sizes, reverse, *tensors)
    output, *last = BackThroughTime.apply(cell, sizes, reverse, *tensors)  # type: ignore[no-untyped-call]
    return output, tuple(last)


class BackThroughTime(torch.autograd.Function):
    """`run` with `tensorly_rnn.recurrent.unroll.run_backward` for its gradient: few products, and few arrays kept."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> Any:
        """Keep the arguments, for a second derivative, and the trace of the steps."""
        steps, last = _run(cell, sizes, reverse, *tensors)
        trace = sequence.trace_of(BACKEND, steps)
        ctx.settings, ctx.n_tensors, ctx.n_states = (cell, sizes, reverse), len(tensors), len(last)
        ctx.save_for_backward(*tensors, trace.hidden, *trace.before, *trace.kept)
        return _output(sizes, steps), *last

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Gradients of the tensors, after three None."""
        # Read once: under gradient checkpointing this runs the forward pass again.
        saved = ctx.saved_tensors
        tensors, (hidden, *rest) = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
        if torch.is_grad_enabled():
            return None, None, None, *_differentiable(ctx, tensors, grad_outputs)
        cell, sizes, reverse = ctx.settings
        from_x, recurrent, bias_hh, projection, *_ = tensors
        trace = sequence.Trace(tuple(rest[: ctx.n_states]), hidden, tuple(rest[ctx.n_states :]))
        d_output, d_state = _of_steps(sizes, grad_outputs[0]), grad_outputs[1:]
        sizes = [from_x.shape[1]] * from_x.shape[0] if sizes is None else sizes
        found = sequence.run_backward(BACKEND, cell, trace, sizes, d_output, tuple(d_state), recurrent, projection, reverse)
        of_bias = None if bias_hh is None else found.from_h.sum(0)
        return None, None, None, found.from_x.view_as(from_x), found.recurrent, of_bias, found.projection, *found.state


def _differentiable(ctx: Any, tensors: Sequence[Tensor | None], grad_outputs: Sequence[Tensor]) -> list[Tensor | None]:
    """The gradients as functions of all they depend on: the steps once more, by autograd."""
    with torch.enable_grad():
        # Views, for a state may come from the very weights that it meets here, and they would count twice.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        output, last = _by_steps(*ctx.settings, *views)
    wanted = {k: view for k, view in enumerate(views) if view is not None and view.requires_grad}
    found = torch.autograd.grad((output, *last), list(wanted.values()), grad_outputs, create_graph=True, allow_unused=True)
    of = dict(zip(wanted, found))
    return [of.get(k) for k in range(len(views))]


def _by_steps(cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> tuple[Tensor, State]:
    steps, last = _run(cell, sizes, reverse, *tensors)
    return _output(sizes, steps), last


def _run(cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> tuple[list[sequence.Passed], State]:
    from_x, recurrent, bias_hh, projection, *state = tensors
    if bias_hh is not None:
        # Autocast multiplies in lower precision, and would add in the higher.
        bias_hh = bias_hh.to(from_x.dtype)
    return sequence.run(BACKEND, cell, _of_steps(sizes, from_x), tuple(state), recurrent, bias_hh, projection, reverse)


def _of_steps(sizes: Sizes, rows: Tensor) -> Sequence[Tensor]:
    return rows.unbind(0) if sizes is None else rows.split(sizes)


def _output(sizes: Sizes, steps: Sequence[sequence.Passed]) -> Tensor:
    outputs = [step.output for step in steps]
    return torch.stack(outputs) if sizes is None else torch.cat(outputs)


def _is_recorded(tensors: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _is_traced(tensor: Tensor) -> bool:
    """Whether a compiler, a transform of `torch.func`, forward-mode differentiation or autocast wants the single steps."""
    # The gradient by hand is that of real numbers.
    return tensor.is_complex() or is_traced() or autocasts(tensor)
