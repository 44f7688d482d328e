"""Products in torch with gradients of their own (`torch.autograd.Function`).

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

BACKEND = backend_of("torch", torch.empty(0))
#: Estimated seconds of a forward pass, without calls, from which on `FactorizedProduct` is used.
LEAST_SECONDS = 0.2e-3


def apply(backend: Any, network: Network, factors: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return ``y = x W^T`` as `tensorly_rnn.network.operations.apply`, by `FactorizedProduct` for large products."""
    tensors = (x, *factors)
    if not is_recorded(tensors) or needs_operations(x) or not _is_large(network.data, x.numel() // x.shape[-1]):
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

            return None, *differentiable_gradients(product, tensors, grad_outputs)
        shared = {number: next(saved) for number in blocks.shared}
        stored = [{number: next(saved) for number in blocks.kept} for _ in blocks.rows]
        x, *factors = (tensor.detach() for tensor in tensors)
        # The gradient of a sum is an expanded scalar, which batched products copy matrix by matrix.
        dy = grad_outputs[0].contiguous()
        of_factors, dx = gradients.pull_back_blocks(
            BACKEND, network, blocks, factors, x, shared, stored, dy, ctx.needs_input_grad[1]
        )
        return None, None if dx is None else dx.view_as(x), *of_factors


def differentiable_gradients(
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


def is_recorded(tensors: Sequence[Tensor | None]) -> bool:
    """Return whether autograd records operations on the tensors."""
    return torch.is_grad_enabled() and any(tensor is not None and tensor.requires_grad for tensor in tensors)


def needs_operations(tensor: Tensor) -> bool:
    """Return whether single operations must run: the gradients here are for real numbers, one precision and no tracing."""
    return tensor.is_complex() or is_traced() or is_autocast(tensor)


@memoize
def _is_large(data: NetworkData, batch: int) -> bool:
    """Return whether a gradient in Python takes no longer than that of autograd."""
    plan = apply_plan(Network(*data), batch)
    return plan.flops * OPERATION + plan.moved * READ > LEAST_SECONDS
