"""Gradients of a network by one backward sweep over its contraction plan."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorly_rnn.contraction.execute import plan_vjp, run_steps, sweep_back, undo_view
from tensorly_rnn.network.network import Network, apply_plan
from tensorly_rnn.network.row_blocks import RowBlocks

PullBack = Callable[[Any], tuple[list[Any], Any]]


def gradients(backend: Any, network: Network, factors: Sequence[Any], x: Any, dy: Any) -> tuple[list[Any], Any]:
    r"""Return the gradients of a loss L with respect to every factor and x, for ``y = x W^T`` and given ``dy = dL/dy``.

    Every format is multilinear: ``dL/dfactor_p`` is the network without factor p, contracted with x and dy. The gradients
    share partial results: for each product ``c = a b`` of the forward plan ``dL/da = dL/dc b^T`` and ``dL/db = a^T dL/dc``.

    Parameters
    ----------
    backend : TensorLy backend of the arrays
    network : Network
    factors : sequence of arrays, shapes ``network.factor_shapes``
    x : array, shape (..., network.shape[1])
    dy : array, shape (..., network.shape[0])

    Returns
    -------
    (list of arrays, array)
        Gradients of the factors, each of its factor's shape, summed over the leading axes; gradient of x.

    Notes
    -----
    The cost is that of the forward pass, which is repeated here, and twice as much for the gradients; `vjp` keeps its results.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       eq. 13 and 14.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, eq. 9 to 11.
    """
    return vjp(backend, network, factors, x)[1](dy)


def vjp(backend: Any, network: Network, factors: Sequence[Any], x: Any) -> tuple[Any, PullBack]:
    r"""Return ``y = x W^T`` and the function that takes ``dL/dy`` to the gradients of the factors and of x.

    Parameters
    ----------
    backend : TensorLy backend of the arrays
    network : Network
    factors : sequence of arrays, shapes ``network.factor_shapes``
    x : array, shape (..., network.shape[1])

    Returns
    -------
    (array, callable)
        y, shape (..., network.shape[0]), and ``pull_back(dy) -> (gradients of the factors, gradient of x)``, which keeps
        the partial results of y and may be called more than once.

    Notes
    -----
    The pull-back takes twice the arithmetic of the forward pass.
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
    """Return the gradients of the factors and, optionally, of x, by blocks of rows; results not kept are recomputed.

    Parameters
    ----------
    backend, network, blocks, factors, x
        As for `tensorly_rnn.network.operations.apply_blocks`.
    shared, kept : mapping of int to array, and a sequence of such mappings
        The other results of `apply_blocks`.
    dy : array, shape (..., network.shape[0])
    x_wanted : bool

    Returns
    -------
    (list of arrays, array or None)
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
