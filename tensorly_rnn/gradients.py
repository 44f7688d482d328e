"""Gradients of any network by one sweep back over its contraction plan."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tensorly_rnn.contraction import Plan, Step, run_steps, see, unsee
from tensorly_rnn.network import Network, RowBlocks, apply_plan

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


def plan_vjp(
    backend: Any, plan: Plan, operands: Sequence[Any], shape: tuple[int, ...]
) -> tuple[Any, Callable[[Any], list[Any]]]:
    """Return a plan's output as `shape`, and the function that takes the gradient of it to those of the operands."""
    results = run_steps(plan, backend, operands)
    return see(backend, results[-1], plan.last_view, shape), partial(pull_back, backend, plan, results)


def pull_back(backend: Any, plan: Plan, results: Sequence[Any], d_output: Any) -> list[Any]:
    """Gradients of the operands of a plan, given its `run_steps` and the gradient of its output: ``J^T d_output``."""
    of: list[Any] = [None] * len(results)
    of[-1] = unsee(backend, d_output, plan.last_view, tuple(results[-1].shape))
    _sweep(backend, plan, results, of, range(plan.n_operands, len(results)), range(len(results)))
    return of[: plan.n_operands]


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
        As for `tensorly_rnn.operations.apply_blocks`.
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
        of[-1] = unsee(backend, d_block, plan.last_view, plan.steps[-1].shape if plan.steps else tuple(arrays[-1].shape))
        _sweep(backend, plan, results, of, own, wanted)
        of_x.append(of[0])
        for number in (*range(1, plan.n_operands), *blocks.shared):
            if of[number] is not None:
                of_all[number] = of[number] if of_all[number] is None else of_all[number] + of[number]
        start += n
    of_factors_alone = [x, *factors, *(shared.get(number) for number in range(first.n_operands, n_results))]
    _sweep(backend, first, of_factors_alone, of_all, blocks.shared, wanted)
    dx = None
    if x_wanted:
        dx = of_x[0] if len(of_x) == 1 else backend.concatenate(of_x, axis=0)
    return of_all[1 : first.n_operands], dx


def _sweep(
    backend: Any, plan: Plan, results: Sequence[Any], of: list[Any], numbers: Sequence[int], wanted: Sequence[int]
) -> None:
    """Fill in the gradients of the operands of some results, last first, from those of the results; for those wanted."""
    for number in reversed(numbers):
        step = plan.steps[number - plan.n_operands]
        d_result = backend.reshape(of[number], step.shape)
        left = see(backend, results[step.left], step.left_view)
        right = see(backend, results[step.right], step.right_view)
        if step.left in wanted:
            d_left = _of_left(backend, step, d_result, right)
            of[step.left] = unsee(backend, d_left, step.left_view, tuple(results[step.left].shape))
        if step.right in wanted:
            d_right = backend.matmul(_transposed(backend, left), d_result)
            of[step.right] = unsee(backend, d_right, step.right_view, tuple(results[step.right].shape))


def _of_left(backend: Any, step: Step, d_result: Any, right: Any) -> Any:
    if not step.is_stacked:
        return backend.matmul(d_result, _transposed(backend, right))
    if not step.is_unstacked_backward:
        return backend.sum(backend.matmul(d_result, _transposed(backend, right)), axis=0)
    rows, summed = d_result.shape[1], right.shape[1]
    rows_of_all = backend.reshape(backend.transpose(d_result, (1, 0, 2)), (rows, -1))
    return backend.matmul(rows_of_all, backend.reshape(backend.transpose(right, (0, 2, 1)), (-1, summed)))


def push_forward(backend: Any, plan: Plan, results: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Change of a plan's output for changes of all its operands, to first order, given its `run_steps`: ``J tangents``."""
    moved = list(tangents)
    for step in plan.steps:
        left, d_left = (see(backend, one[step.left], step.left_view) for one in (results, moved))
        right, d_right = (see(backend, one[step.right], step.right_view) for one in (results, moved))
        moved.append(backend.matmul(d_left, right) + backend.matmul(left, d_right))
    return see(backend, moved[-1], plan.last_view)


def _transposed(backend: Any, array: Any) -> Any:
    return backend.transpose(array, (0, 2, 1) if len(array.shape) == 3 else (1, 0))
