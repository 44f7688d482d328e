"""Gradients of a network by one sweep back over its contraction plan."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorly_rnn.contraction.execute import plan_vjp, run_steps, sweep_back, undo_view
from tensorly_rnn.network.network import Network, apply_plan
from tensorly_rnn.network.row_blocks import RowBlocks

PullBack = Callable[[Any], tuple[list[Any], Any]]


def gradients(backend: Any, network: Network, factors: Sequence[Any], x: Any, dy: Any) -> tuple[list[Any], Any]:
    r"""Gradients of a loss L with respect to every factor and to x, for ``y = x W^T`` and given ``dy = dL/dy``.

    Every format is multilinear: ``dL/dfactor_p`` is the network with factor p left out, contracted with x and dy. All of
    them share their partial results: each product ``c = a b`` of the forward plan gives ``dL/da = dL/dc b^T`` and
    ``dL/db = a^T dL/dc``.

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
    Twice the arithmetic of the forward pass, whose results are computed once more here; `vjp` keeps them.

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
    The pull-back takes twice the arithmetic of the forward pass, with nothing computed again.
    """
    leading = tuple(x.shape[:-1])
    plan, shape = apply_plan(network, math.prod(leading)), (*leading, network.shape[0])
    y, pull_back_y = plan_vjp(backend, plan, [x, *factors], shape)

    def pull_back_dy(dy: Any) -> tuple[list[Any], Any]:
        dx, *of_factors = pull_back_y(dy)
        return of_factors, dx

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
    """Gradients of the factors and, if wanted, of x, block by block; what was not kept of a block is computed again.

    Parameters
    ----------
    backend, network, blocks, factors, x
        As for `tensorly_rnn.network.operations.apply_blocks`.
    shared, kept : mapping of int to array, and a sequence of such
        What that returned besides y.
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
    # Of the factors and what is made of them alone, summed over the blocks.
    of_all: list[Any] = [None] * n_results
    of_x: list[Any] = []
    own = [number for number in range(first.n_operands, n_results) if number not in blocks.shared]
    wanted = range(0 if x_wanted else 1, n_results)
    start = 0
    for plan, n, known in zip(blocks.plans, blocks.rows, kept):
        arrays = [x if len(blocks.rows) == 1 else x[start : start + n], *factors]
        results = run_steps(plan, backend, arrays, {**shared, **known}, last=False)
        of: list[Any] = [None] * n_results
        d_block = dy if len(blocks.rows) == 1 else dy[start : start + n]
        of[-1] = undo_view(backend, d_block, plan.last_view, plan.steps[-1].shape if plan.steps else tuple(arrays[-1].shape))
        sweep_back(backend, plan, results, of, own, wanted)
        of_x.append(of[0])
        for number in (*range(1, plan.n_operands), *blocks.shared):
            if of[number] is not None:
                of_all[number] = of[number] if of_all[number] is None else of_all[number] + of[number]
        start += n
    of_factors_alone = [x, *factors, *(shared.get(number) for number in range(first.n_operands, n_results))]
    sweep_back(backend, first, of_factors_alone, of_all, blocks.shared, wanted)
    dx = None
    if x_wanted:
        dx = of_x[0] if len(of_x) == 1 else backend.concatenate(of_x, axis=0)
    return of_all[1 : first.n_operands], dx
