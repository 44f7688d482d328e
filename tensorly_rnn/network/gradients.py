"""Gradients of a network by one backward sweep over its contraction plan."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorly_rnn.contraction.execute import plan_vjp, run_steps, sweep_back, undo_view
from tensorly_rnn.network.network import Network, apply_plan
from tensorly_rnn.network.row_blocks import RowBlocks

PullBack = Callable[[Any], tuple[list[Any], Any]]


def vjp(backend: Any, network: Network, factors: Sequence[Any], x: Any) -> tuple[Any, PullBack]:
    r"""Return ``y = x W^T`` for x of shape (..., columns), and the function from ``dL/dy`` to the gradients of factors and x.

    Every format is multilinear: ``dL/dfactor_p`` is the network without factor p, contracted with x and dy, summed over the
    leading axes. The gradients share partial results, which the function keeps: for each product ``c = a b`` of the forward
    plan ``dL/da = dL/dc b^T`` and ``dL/db = a^T dL/dc``, twice the arithmetic of the forward pass.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       eq. 13 and 14.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, eq. 9 to 11.
    """
    leading = tuple(x.shape[:-1])
    plan, shape = apply_plan(network, math.prod(leading)), (*leading, network.shape[0])
    y, pull_back_y = plan_vjp(backend, plan, [x, *factors], shape)

    def pull_back_dy(dy: Any) -> tuple[list[Any], Any]:
        dx, *d_factors = pull_back_y(dy)
        return d_factors, dx

    return y, pull_back_dy


def pull_back_blocks(
    backend: Any,
    network: Network,
    blocks: RowBlocks,
    factors: Sequence[Any],
    x: Any,
    shared: Mapping[int, Any],
    kept: Sequence[Mapping[int, Any]],
    dy: Any,
    x_wanted: bool,
) -> tuple[list[Any], Any]:
    """Return the gradients of the factors and, if `x_wanted`, of x, by blocks of rows; results not kept are recomputed.

    `shared` and `kept` are the other results of `tensorly_rnn.network.operations.apply_blocks`; dy has shape (..., rows).
    """
    batch = sum(blocks.rows)
    x, dy = backend.reshape(x, (batch, network.shape[1])), backend.reshape(dy, (batch, network.shape[0]))
    first = blocks.plans[0]
    n_results = first.n_operands + len(first.steps)
    # Gradients of the factors and of results that depend on factors only, summed over the blocks.
    d_shared: list[Any] = [None] * n_results
    d_blocks_of_x: list[Any] = []
    own = [number for number in range(first.n_operands, n_results) if number not in blocks.shared]
    wanted = range(0 if x_wanted else 1, n_results)
    start = 0
    for plan, n, known in zip(blocks.plans, blocks.rows, kept):
        arrays = [x if len(blocks.rows) == 1 else x[start : start + n], *factors]
        results = run_steps(plan, backend, arrays, {**shared, **known}, last=False)
        d_results: list[Any] = [None] * n_results
        d_block = dy if len(blocks.rows) == 1 else dy[start : start + n]
        last_shape = plan.steps[-1].shape if plan.steps else tuple(arrays[-1].shape)
        d_results[-1] = undo_view(backend, d_block, plan.last_view, last_shape)
        sweep_back(backend, plan, results, d_results, own, wanted)
        d_blocks_of_x.append(d_results[0])
        for number in (*range(1, plan.n_operands), *blocks.shared):
            gradient = d_results[number]
            if gradient is not None:
                d_shared[number] = gradient if d_shared[number] is None else d_shared[number] + gradient
        start += n
    shared_results = [x, *factors, *(shared.get(number) for number in range(first.n_operands, n_results))]
    sweep_back(backend, first, shared_results, d_shared, blocks.shared, wanted)
    dx = None
    if x_wanted:
        dx = d_blocks_of_x[0] if len(d_blocks_of_x) == 1 else backend.concatenate(d_blocks_of_x, axis=0)
    return d_shared[1 : first.n_operands], dx
