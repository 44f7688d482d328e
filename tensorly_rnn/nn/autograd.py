"""The product of x with factors in torch, its gradient by the sweep over the plan, or by autograd where that is traced."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tensorly_rnn._backend import backend_of
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.cost_model import OPERATION, READ
from tensorly_rnn.network import gradients, operations
from tensorly_rnn.network.network import Network, NetworkData, apply_plan
from tensorly_rnn.nn._arguments import autocasts
from tensorly_rnn.nn.weight_cache import is_traced

#: Estimate of a forward pass, calls left out, from which on the gradient is taken by hand.
LEAST_SECONDS = 0.2e-3
BACKEND = backend_of("torch", torch.empty(0))


def apply(backend: Any, network: Network, factors: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return ``y = x W^T``, as `tensorly_rnn.network.operations.apply` does."""
    tensors = (x, *factors)
    recorded = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
    # The gradient by hand is that of real numbers, and in the precision of the forward pass.
    if not recorded or x.is_complex() or is_traced() or autocasts(x) or not _is_large(network.data, x.numel() // x.shape[-1]):
        return operations.apply(backend, network, factors, x)
    return SweptProduct.apply(network, *tensors)  # type: ignore[no-untyped-call]


class SweptProduct(torch.autograd.Function):
    """`tensorly_rnn.network.operations.apply` with `tensorly_rnn.gradients.pull_back_blocks` for its gradient.

    It takes no gradient of x where none is wanted, keeps no results of blocks that take longer to write than to compute again,
    and gives the whole chain of products one place in autograd's graph.
    """

    @staticmethod
    def forward(ctx: Any, network: Network, *tensors: Tensor) -> Tensor:
        """Keep the arguments and the results that the blocks keep."""
        x, *factors = (tensor.detach() for tensor in tensors)  # torch copies stacks for the gradient of what multiplies them
        blocks = operations.blocks_of(network, x)
        y, shared, kept = operations.apply_blocks(BACKEND, network, blocks, factors, x, blocks.kept)
        ctx.network, ctx.blocks = network, blocks
        ctx.save_for_backward(*tensors, *(result for results in (shared, *kept) for result in results.values()))
        return y.reshape(*x.shape[:-1], network.shape[0])

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Gradients of x and the factors, after None."""
        network, blocks = ctx.network, ctx.blocks
        saved = iter(ctx.saved_tensors)
        tensors = [next(saved) for _ in range(1 + len(network.factors))]
        if torch.is_grad_enabled():
            return None, *_differentiable(network, tensors, grad_outputs[0])
        shared = {number: next(saved) for number in blocks.shared}
        kept = [{number: next(saved) for number in blocks.kept} for _ in blocks.rows]
        x, *factors = (tensor.detach() for tensor in tensors)
        # That of a sum is one number seen many times, which torch's products of stacks copy matrix by matrix.
        dy = grad_outputs[0].contiguous()
        of_factors, dx = gradients.pull_back_blocks(
            BACKEND, network, blocks, factors, x, shared, kept, dy, ctx.needs_input_grad[1]
        )
        return None, None if dx is None else dx.view_as(x), *of_factors


@memoize
def _is_large(data: NetworkData, batch: int) -> bool:
    """Whether the products take so long that a sweep in Python takes no longer than autograd's own."""
    plan = apply_plan(Network(*data), batch)
    return plan.flops * OPERATION + plan.moved * READ > LEAST_SECONDS


def _differentiable(network: Network, tensors: Sequence[Tensor], dy: Tensor) -> list[Tensor | None]:
    """The gradients as functions of all they depend on: the product once more, by autograd."""
    with torch.enable_grad():
        # Views, for one factor may come from another, and would count twice.
        views = [tensor.view_as(tensor) for tensor in tensors]
        x, *factors = views
        y = operations.apply(BACKEND, network, factors, x)
    wanted = {k: view for k, view in enumerate(views) if view.requires_grad}
    of = dict(zip(wanted, torch.autograd.grad(y, list(wanted.values()), dy, create_graph=True, allow_unused=True)))
    return [of.get(k) for k in range(len(views))]
