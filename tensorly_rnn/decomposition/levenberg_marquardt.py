"""Levenberg-Marquardt on any network: all factors at once, second order near a solution."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from tensorly.backend import BackendManager

from tensorly_rnn.contraction import Indices, execute, plan
from tensorly_rnn.network import Network

NUMPY = BackendManager.load_backend("numpy")

# Sweeps over which a fit must gain at least PROGRESS, relative, to be worth going on.
PATIENCE, PROGRESS = 50, 0.05


def levenberg_marquardt(
    network: Network,
    factors: Sequence[np.ndarray],
    tensor: np.ndarray,
    n_iter_max: int,
    tol: float,
    ridge: float = 0.0,
    tell: Callable[[list[np.ndarray], float], bool] | None = None,
) -> tuple[list[np.ndarray], float, int]:
    r"""Minimize ``||T - f(factors)||_F`` over all factors of a network.

    With J the Jacobian of the reconstruction f in all entries of all factors, a step solves

    ``(J^T J + damping * diag(J^T J)) step = J^T (T - f)``

    and the damping follows the ratio of the gain found to the gain predicted [1]_. J is never formed: block (p, q) of
    ``J^T J`` is the network contracted with itself, factor p left out of the one copy and factor q out of the other.

    Parameters
    ----------
    network : Network
        In the tensor form: no inputs.
    factors : sequence of arrays, shapes ``network.factor_shapes``
        Where to start.
    tensor : array, shape ``network.out_modes``
    n_iter_max : int
        Most steps.
    tol : float
        Relative error that is good enough.
    ridge : float
        Weight of a penalty on the factors' size, relative to the mean of ``diag(J^T J)`` and to the fourth power of the
        relative error: terms that grow while they cancel one another are held back, and an exact fit is not disturbed.
    tell : callable, optional
        Called with the factors and their relative error after every step; returns whether to stop.

    Returns
    -------
    (list of arrays, float, int)
        The factors, their relative error, and the number of steps.

    Notes
    -----
    A step costs ``O(n_param^3)`` and the contractions; the tensor itself is met only in the residual. Scaling each unknown
    by its own diagonal entry makes the steps independent of how the blocks and factors are scaled. Stops early when
    `PATIENCE` steps have gained less than `PROGRESS`.

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
    residual = target - execute(network.tensor_plan(), NUMPY, current)
    history = [float(np.linalg.norm(residual))]
    if history[0] <= tol:
        return list(factors), history[0], 0
    damping, growth = 1e-1, 2.0
    ends = np.cumsum([factor.size for factor in current])
    while history[-1] > tol and len(history) <= n_iter_max and damping < 1e12:
        if len(history) > PATIENCE and history[-1] > (1 - PROGRESS) * history[-1 - PATIENCE]:
            break
        gram = gram_matrix(network, current)
        point = np.concatenate([one.reshape(-1) for one in current])
        # The penalty, times ||factors||^2, fades with the fourth power of the error.
        penalty = ridge * history[-1] ** 4 * float(np.mean(np.diag(gram)))
        gram += penalty * np.eye(len(gram))
        gradient = _gradient(network, current, residual) - penalty * point
        objective = history[-1] ** 2 + penalty * float(point @ point)
        scale = np.diag(gram).copy()
        scale[scale < 1e-12 * scale.max()] = 1e-12 * scale.max()
        while damping < 1e12:
            step = _solve(gram, damping * scale, gradient)
            moved = [one + part.reshape(one.shape) for one, part in zip(current, np.split(step, ends[:-1]))]
            moved_residual = target - execute(network.tensor_plan(), NUMPY, moved)
            error = float(np.linalg.norm(moved_residual))
            predicted = float(step @ (gradient + damping * scale * step))
            moved_objective = error**2 + penalty * float((point + step) @ (point + step))
            gain = (objective - moved_objective) / predicted if predicted > 0 else 0.0
            if math.isfinite(error) and moved_objective < objective:
                damping = max(damping * max(1 / 10, 1 - (2 * gain - 1) ** 3), 1e-14)
                growth = 2.0
                current, residual = moved, moved_residual
                history.append(error)
                break
            damping *= growth
            growth *= 2.0
        else:
            break
        if tell is not None and tell(_rescaled(current, norm), history[-1]):
            break
    return _rescaled(current, norm), history[-1], len(history) - 1


def _solve(gram: np.ndarray, shift: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with the shifted Gram matrix; where rounding leaves it indefinite, no step is taken."""
    try:
        return cho_solve(cho_factor(gram + np.diag(shift)), right)
    except LinAlgError:
        return np.zeros_like(right)


def gram_matrix(network: Network, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``J^T J`` for the Jacobian J of the reconstruction in all entries of all factors, in the factors' order."""
    count = len(factors)
    rows: list[list[np.ndarray]] = [[np.empty(0)] * count for _ in range(count)]
    for p in range(count):
        for q in range(p, count):
            block = _diagonal_block(network, factors, p) if p == q else _block(network, factors, p, q)
            rows[p][q], rows[q][p] = block, block.T
    return np.block(rows)


def _block(network: Network, factors: Sequence[np.ndarray], p: int, q: int) -> np.ndarray:
    """One copy lacks factor p, whose open indices the other copy still holds, and the other way round."""
    open_indices = set(network.outputs)
    first = [k for k in range(len(factors)) if k != p]
    second = [k for k in range(len(factors)) if k != q]
    operands = (
        *(network.factors[k] for k in first),
        *(_primed(network.factors[k], open_indices) for k in second),
    )
    output = (*network.factors[p], *_primed(network.factors[q], open_indices))
    arrays = [factors[k] for k in (*first, *second)]
    found = execute(plan(operands, output, _doubled_sizes(network, open_indices)), NUMPY, arrays)
    return found.reshape(factors[p].size, factors[q].size)


def _diagonal_block(network: Network, factors: Sequence[np.ndarray], p: int) -> np.ndarray:
    """Both copies lack factor p: its open indices meet only themselves, its rank indices the rest of the network."""
    own, open_indices = network.factors[p], set(network.outputs)
    # By position: in a ring of one core an index stands twice in it.
    bond_axes = [axis for axis, index in enumerate(own) if index not in open_indices]
    free_axes = [axis for axis, index in enumerate(own) if index in open_indices]
    bonds, free = (tuple(own[axis] for axis in axes) for axes in (bond_axes, free_axes))
    others = [k for k in range(len(factors)) if k != p]
    arrays = [factors[k] for k in others]
    operands = (
        *(network.factors[k] for k in others),
        *(_primed(network.factors[k], open_indices) for k in others),
    )
    sizes = [network.size[index] for index in (*bonds, *free)]
    terms, rows = (math.prod(network.size[index] for index in part) for part in (bonds, free))
    if others:
        output = (*bonds, *_primed(bonds, open_indices))
        inner = execute(plan(operands, output, _doubled_sizes(network, open_indices)), NUMPY, [*arrays, *arrays])
    else:
        inner = np.ones(1)
    block = np.kron(inner.reshape(terms, terms), np.eye(rows)).reshape(*sizes, *sizes)
    order = [(*bond_axes, *free_axes).index(axis) for axis in range(len(own))]
    block = block.transpose(*order, *(len(own) + axis for axis in order))
    return block.reshape(factors[p].size, factors[p].size)


def _gradient(network: Network, factors: Sequence[np.ndarray], residual: np.ndarray) -> np.ndarray:
    """``J^T residual``: for each factor the residual contracted with the network without it."""
    parts = []
    for p, own in enumerate(network.factors):
        others = [k for k in range(len(factors)) if k != p]
        operands = (network.outputs, *(network.factors[k] for k in others))
        arrays = [residual, *(factors[k] for k in others)]
        parts.append(execute(plan(operands, own, network.sizes), NUMPY, arrays).reshape(-1))
    return np.concatenate(parts)


def _primed(indices: Indices, shared: set[str]) -> Indices:
    return tuple(index if index in shared else f"{index}'" for index in indices)


def _doubled_sizes(network: Network, shared: set[str]) -> tuple[tuple[str, int], ...]:
    return (*network.sizes, *((f"{index}'", size) for index, size in network.sizes if index not in shared))


def _rescaled(factors: Sequence[np.ndarray], factor: float) -> list[np.ndarray]:
    """Scale the reconstruction by `factor`, every factor alike."""
    share = factor ** (1 / len(factors))
    return [share * one for one in factors]
