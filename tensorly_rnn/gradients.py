"""Gradients of any network by one sweep back over its contraction plan."""

import math
from collections.abc import Sequence
from typing import Any

from tensorly_rnn.contraction import run_steps
from tensorly_rnn.network import Network


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
    Twice the arithmetic of the forward pass, whose results are computed once more here.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       eq. 13 and 14.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, eq. 9 to 11.
    """
    plan = network.apply_plan(math.prod(x.shape[:-1]))
    results = run_steps(plan, backend, [x, *factors])
    of: list[Any] = [None] * len(results)
    of[-1] = plan.last_view.undo(backend, dy, tuple(results[-1].shape))
    for number, step in reversed(list(enumerate(plan.steps))):
        d_result = backend.reshape(of[plan.n_operands + number], step.shape)
        left = step.left_view.apply(backend, results[step.left])
        right = step.right_view.apply(backend, results[step.right])
        d_left = backend.matmul(d_result, _transposed(backend, right))
        d_right = backend.matmul(_transposed(backend, left), d_result)
        of[step.left] = step.left_view.undo(backend, d_left, tuple(results[step.left].shape))
        of[step.right] = step.right_view.undo(backend, d_right, tuple(results[step.right].shape))
    return of[1 : plan.n_operands], of[0]


def _transposed(backend: Any, array: Any) -> Any:
    return backend.transpose(array, (0, 2, 1) if len(array.shape) == 3 else (1, 0))
