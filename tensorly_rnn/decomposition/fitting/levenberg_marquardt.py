"""Levenberg-Marquardt on any network: all factors at once, of second order near a solution."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from tensorly_rnn.contraction.execute import execute
from tensorly_rnn.decomposition.fitting.curvature import NUMPY, Curvature, dense, gradient
from tensorly_rnn.network.network import Network, tensor_plan

#: Pairs (number of steps, share): the fit stops where the error falls by less than the share over that many steps.
Patience = tuple[tuple[int, float], ...]
# A minimum is reached when this many successive steps each lower the penalized error by no more than this share. The error
# alone may rise meanwhile, as the penalty shrinks the factors.
STILL_STEPS, STILL = 5, 1e-8


def levenberg_marquardt(
    network: Network,
    factors: Sequence[np.ndarray],
    tensor: np.ndarray,
    n_iter_max: int,
    tol: float,
    ridge: float = 0.0,
    tell: Callable[[list[np.ndarray], float], bool] | None = None,
    curvature: Curvature = dense,
    patience: Patience = ((50, 0.05),),
) -> tuple[list[np.ndarray], float, int]:
    r"""Minimize ``||T - f(factors)||_F`` over all factors of a network.

    With J the Jacobian of the reconstruction f in all entries of all factors, a step solves

    ``(J^T J + damping * diag(J^T J)) step = J^T (T - f)``

    and the damping depends on the ratio of the actual to the predicted gain [1]_. J is never formed. Scaling each unknown by
    its diagonal entry makes the steps independent of the scales of blocks and factors.

    Returns the factors, their relative error, and the number of steps.

    Parameters
    ----------
    network, factors, tensor
        The network has no inputs; the tensor has its output modes.
    n_iter_max, tol
        Most steps, and the relative error that is good enough.
    ridge : float
        Weight of a penalty on the factors' size, relative to the mean of ``diag(J^T J)`` and to the fourth power of the
        relative error: it limits terms that grow while they cancel one another, and does not disturb an exact fit.
    tell : callable, optional
        Called with the factors and their relative error after every step; returns whether to stop.
    curvature : callable
        `curvature.dense` or `curvature.matrix_free`.
    patience : tuple of (int, float)
        Numbers of steps, and the share by which the error must fall within them for the steps to go on.

    References
    ----------
    .. [1] Nielsen, Damping parameter in Marquardt's method, IMM-REP-1999-05, 1999.
    .. [2] Sorber, Van Barel, De Lathauwer, Optimization-based algorithms for tensor decompositions, SIAM J. Optim. 23(2),
       2013.
    """
    norm = float(np.linalg.norm(tensor))
    if norm == 0.0:
        return [np.zeros_like(factor) for factor in factors], 0.0, 0
    target = tensor / norm
    current = _rescaled(factors, 1 / norm)
    residual = target - execute(tensor_plan(network), NUMPY, current)
    history = [float(np.linalg.norm(residual))]
    if history[0] <= tol:
        return list(factors), history[0], 0
    # With the penalty the error may rise.
    best = current
    damping, growth = 1e-1, 2.0
    still = 0
    ends = np.cumsum([factor.size for factor in current])
    while history[-1] > tol and len(history) <= n_iter_max and damping < 1e12 and still < STILL_STEPS:
        if any(len(history) > steps and history[-1] > (1 - gain) * history[-1 - steps] for steps, gain in patience):
            break
        diagonal, solve = curvature(network, current)
        point = np.concatenate([one.reshape(-1) for one in current])
        # The penalty, times ||factors||^2, fades with the fourth power of the error.
        penalty = ridge * history[-1] ** 4 * float(np.mean(diagonal))
        downhill = gradient(network, current, residual) - penalty * point
        objective = history[-1] ** 2 + penalty * float(point @ point)
        scale = np.maximum(diagonal + penalty, 1e-12 * diagonal.max())
        while damping < 1e12:
            step = solve(penalty + damping * scale, downhill)
            moved = [one + part.reshape(one.shape) for one, part in zip(current, np.split(step, ends[:-1]))]
            moved_residual = target - execute(tensor_plan(network), NUMPY, moved)
            error = float(np.linalg.norm(moved_residual))
            predicted = float(step @ (downhill + damping * scale * step))
            moved_objective = error**2 + penalty * float((point + step) @ (point + step))
            ratio = (objective - moved_objective) / predicted if predicted > 0 else 0.0
            if math.isfinite(error) and moved_objective < objective:
                damping = max(damping * max(1 / 10, 1 - (2 * ratio - 1) ** 3), 1e-14)
                growth = 2.0
                still = still + 1 if objective - moved_objective <= STILL * objective else 0
                current, residual = moved, moved_residual
                best = moved if error < min(history) else best
                history.append(error)
                break
            damping *= growth
            growth *= 2.0
        else:
            break
        if tell is not None and tell(_rescaled(current, norm), history[-1]):
            break
    return _rescaled(best, norm), min(history), len(history) - 1


def _rescaled(factors: Sequence[np.ndarray], factor: float) -> list[np.ndarray]:
    """Scale the reconstruction by `factor`, every factor alike."""
    share = factor ** (1 / len(factors))
    return [share * one for one in factors]
