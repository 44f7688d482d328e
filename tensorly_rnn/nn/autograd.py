"""Products and recurrences in torch with gradients of their own (`torch.autograd.Function`).

Compilers, tracers, transforms of `torch.func` and autocast differentiate the single operations instead.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from tensorly_rnn._backend import backend_of
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.cost_model import OPERATION, READ
from tensorly_rnn.network import gradients, operations
from tensorly_rnn.network.network import Network, NetworkData, apply_plan
from tensorly_rnn.nn._torch_context import is_autocast, is_traced
from tensorly_rnn.recurrent import unroll as recurrence
from tensorly_rnn.recurrent.cells import Cell, State

BACKEND = backend_of("torch", torch.empty(0))
#: Estimated seconds of a forward pass, without calls, from which on `FactorizedProduct` is used.
LEAST_SECONDS = 0.2e-3

#: Number of sequences in each step; None if all sequences have all steps.
Sizes = list[int] | None


def apply(backend: Any, network: Network, factors: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return ``y = x W^T`` as `tensorly_rnn.network.operations.apply`, by `FactorizedProduct` for large products."""
    tensors = (x, *factors)
    if not _is_recorded(tensors) or _needs_operations(x) or not _is_large(network.data, x.numel() // x.shape[-1]):
        return operations.apply(backend, network, factors, x)
    return FactorizedProduct.apply(network, *tensors)  # type: ignore[no-untyped-call]


class FactorizedProduct(torch.autograd.Function):
    """`tensorly_rnn.network.operations.apply` with the gradient of `tensorly_rnn.network.gradients.pull_back_blocks`.

    The gradient of x is computed only if needed. Results of blocks that are cheaper to compute again than to store are not
    saved. All products are one node of the graph of autograd.
    """

    @staticmethod
    def forward(ctx: Any, network: Network, *tensors: Tensor) -> Tensor:
        """Compute the product; save the arguments and the stored results of the blocks."""
        x, *factors = (tensor.detach() for tensor in tensors)  # torch copies stacks that require a gradient
        blocks = operations.blocks_of(network, x)
        y, shared, stored = operations.apply_blocks(BACKEND, network, blocks, factors, x, blocks.kept)
        ctx.network, ctx.blocks = network, blocks
        ctx.save_for_backward(*tensors, *(result for results in (shared, *stored) for result in results.values()))
        return y.reshape(*x.shape[:-1], network.shape[0])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return None, and the gradients of x and the factors."""
        network, blocks = ctx.network, ctx.blocks
        saved = iter(ctx.saved_tensors)
        tensors = [next(saved) for _ in range(1 + len(network.factors))]
        if torch.is_grad_enabled():

            def product(x: Tensor, *factors: Tensor) -> tuple[Tensor]:
                return (operations.apply(BACKEND, network, factors, x),)

            return None, *_differentiable_gradients(product, tensors, grad_outputs)
        shared = {number: next(saved) for number in blocks.shared}
        stored = [{number: next(saved) for number in blocks.kept} for _ in blocks.rows]
        x, *factors = (tensor.detach() for tensor in tensors)
        # The gradient of a sum is an expanded scalar, which batched products copy matrix by matrix.
        dy = grad_outputs[0].contiguous()
        of_factors, dx = gradients.pull_back_blocks(
            BACKEND, network, blocks, factors, x, shared, stored, dy, ctx.needs_input_grad[1]
        )
        return None, None if dx is None else dx.view_as(x), *of_factors


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
    sizes = None if batch_sizes is None else batch_sizes.tolist()
    tensors = (from_x, recurrent, bias_hh, projection, *state)
    if _needs_operations(from_x) or not _is_recorded(tensors):
        return _unroll_steps(cell, sizes, reverse, *tensors)
    output, *last = UnrolledCell.apply(cell, sizes, reverse, *tensors)  # type: ignore[no-untyped-call]
    return output, tuple(last)


class UnrolledCell(torch.autograd.Function):
    """`unroll` with the gradient of `tensorly_rnn.recurrent.unroll.unroll_backward`: few products, few saved arrays."""

    @staticmethod
    def forward(ctx: Any, cell: Cell, sizes: Sizes, reverse: bool, *tensors: Any) -> Any:
        """Run the steps; save their trace, and the arguments for second derivatives."""
        records, last = _run_steps(cell, sizes, reverse, *tensors)
        trace = recurrence.make_trace(BACKEND, records)
        ctx.settings, ctx.n_tensors, ctx.n_states = (cell, sizes, reverse), len(tensors), len(last)
        ctx.save_for_backward(*tensors, trace.hidden, *trace.before, *trace.saved)
        return _join_outputs(sizes, records), *last

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Return three None, and the gradients of the tensors."""
        # One access: under gradient checkpointing each runs the forward pass again.
        saved = ctx.saved_tensors
        tensors, (hidden, *rest) = saved[: ctx.n_tensors], saved[ctx.n_tensors :]
        cell, sizes, reverse = ctx.settings
        if torch.is_grad_enabled():

            def steps(*tensors: Tensor | None) -> tuple[Tensor, ...]:
                output, last = _unroll_steps(cell, sizes, reverse, *tensors)
                return output, *last

            return None, None, None, *_differentiable_gradients(steps, tensors, grad_outputs)
        from_x, recurrent, bias_hh, projection, *_ = tensors
        trace = recurrence.StepRecord(tuple(rest[: ctx.n_states]), hidden, tuple(rest[ctx.n_states :]))
        d_output, d_state = _split_steps(sizes, grad_outputs[0]), tuple(grad_outputs[1:])
        sizes = [from_x.shape[1]] * from_x.shape[0] if sizes is None else sizes
        found = recurrence.unroll_backward(BACKEND, cell, trace, sizes, d_output, d_state, recurrent, projection, reverse)
        d_bias = None if bias_hh is None else found.from_h.sum(0)
        return None, None, None, found.from_x.view_as(from_x), found.recurrent, d_bias, found.projection, *found.state


def _differentiable_gradients(
    function: Callable[..., Sequence[Tensor]], tensors: Sequence[Tensor | None], grad_outputs: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return gradients that can be differentiated again, by autograd through the single operations of a function."""
    with torch.enable_grad():
        # Views separate an argument from others that are computed from it; without them it would count twice.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in tensors]
        outputs = function(*views)
    needed = {k: view for k, view in enumerate(views) if view is not None and view.requires_grad}
    found = torch.autograd.grad(outputs, list(needed.values()), grad_outputs, create_graph=True, allow_unused=True)
    by_number = dict(zip(needed, found))
    return [by_number.get(k) for k in range(len(views))]


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


def _split_steps(sizes: Sizes, rows: Tensor) -> Sequence[Tensor]:
    return rows.unbind(0) if sizes is None else rows.split(sizes)


def _join_outputs(sizes: Sizes, records: Sequence[recurrence.StepRecord]) -> Tensor:
    outputs = [record.output for record in records]
    return torch.stack(outputs) if sizes is None else torch.cat(outputs)


def _is_recorded(tensors: Sequence[Tensor | None]) -> bool:
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _needs_operations(tensor: Tensor) -> bool:
    """Return whether single operations must run: the gradients here are for real numbers, one precision and no tracing."""
    return tensor.is_complex() or is_traced() or is_autocast(tensor)


@memoize
def _is_large(data: NetworkData, batch: int) -> bool:
    """Return whether a gradient in Python takes no longer than that of autograd."""
    plan = apply_plan(Network(*data), batch)
    return plan.flops * OPERATION + plan.moved * READ > LEAST_SECONDS
