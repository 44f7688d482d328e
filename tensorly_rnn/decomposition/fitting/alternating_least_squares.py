"""Alternating least squares on any network; the algorithm of formats without one of their own."""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn.contraction.execute import execute
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.decomposition._problem import Problem, Start
from tensorly_rnn.decomposition.fitting.curvature import inner_gram
from tensorly_rnn.network import operations
from tensorly_rnn.network.network import Network, tensor_plan

# A ridge in proportion to the squared error limits terms that grow while they cancel one another, and fades where the fit
# succeeds (De Lathauwer and Nion 2008 describe the degeneracy).
RIDGE = 1e-3
# A fit is exact at this multiple of the rounding unit: the squares of the residual lose half the digits.
EXACT = 1000
# Most unknowns of one row of a factor, because their Gram matrix is decomposed.
MOST_TERMS = 2000

#: A network without inputs, and its factors.
Target = tuple[Network, Sequence[Any]]
#: Returns the factors and relative error of a start, given its number from 0.
Attempt = Callable[[int], tuple[list[Any], float]]


def best_of_restarts(problem: Problem, attempt: Attempt, good_enough: float) -> list[Any]:
    """Return the best factors of `problem.n_starts` attempts, or of fewer once one is good enough or the user stops."""
    best: list[Any] = []
    least = math.inf
    for number in range(problem.n_starts):
        problem.progress.begin(f"start {number + 1} of {problem.n_starts}")
        found, error = attempt(number)
        if error < least or not best or math.isnan(least):
            best, least = found, error
        if least <= good_enough or problem.progress.stopped:
            break
    return best


def alternating_least_squares(problem: Problem, svd_start: Start = Problem.random_start) -> list[Any]:
    r"""Solve for one factor after the other with the others fixed, repeatedly.

    Every factor occurs once, so the fit is linear in each: with ``E`` the network without the factor, ``O`` the factor's
    open indices and ``B`` its rank indices, the best factor solves

    ``sum_B factor[O, B] (sum_rest E[B, rest] E[B', rest]) = sum_rest T[O, rest] E[B', rest]``

    The first start is `problem.init`, where "svd" is the result of `svd_start`; all others are random.
    """
    precision = float(problem.backend.eps(problem.tensor.dtype))

    def attempt(number: int) -> tuple[list[Any], float]:
        return sweeps(problem, problem.random_start() if number else problem.first_start(svd_start))[:2]

    return best_of_restarts(problem, attempt, problem.good_enough(EXACT * precision))


def sweeps(problem: Problem, start: Sequence[Any]) -> tuple[list[Any], float, int]:
    """Refine factors by alternating least squares.

    Returns factors of at most the error of the start, their relative error, and the number of sweeps.

    A sweep contracts the tensor once a factor. The normal equations are solved by a truncated eigendecomposition, so a
    deficient rank does no harm. A factor with more than `MOST_TERMS` rank entries (the core of a block term of high rank)
    does not change: its equations would not fit in memory. Stops after `problem.n_iter_max` sweeps, when the relative error
    changes by less than `problem.tol`, when the fit is good enough, or when the user stops it.
    """
    factors = list(start)
    network = problem.network_of(factors)
    opened = network.outputs
    tensor = problem.backend.reshape(problem.tensor, network.out_modes)
    dense = Network((opened,), opened, (), tuple((index, n) for index, n in network.sizes if index in opened))
    good_enough = problem.good_enough(EXACT * float(problem.backend.eps(tensor.dtype)))
    limits = Limits(problem.n_iter_max, problem.tol, good_enough)
    return sweeps_towards(problem.backend, (dense, [tensor]), network, factors, limits, problem.tell)


class Limits(NamedTuple):
    """Limits of sweeps: their number, the least gain of one, and the error that is good enough; errors are relative."""

    n_iter_max: int
    tol: float
    good_enough: float


def sweeps_towards(
    backend: Any,
    target: Target,
    network: Network,
    start: Sequence[Any],
    limits: Limits,
    tell: Callable[[list[Any], float], bool] = lambda factors, error: False,
) -> tuple[list[Any], float, int]:
    """Refine the factors of a network towards another network of the same open indices, as `sweeps` does.

    A dense tensor is a network of one factor. Where the target has more factors, no dense tensor is formed, and errors below
    the root of machine precision cannot be distinguished from 0.
    """
    factors = list(start)
    squared = float(operations.squared_norm(backend, *target))
    error = best = _squared_error(backend, network, factors, target, squared)
    best_factors = list(factors)
    n_iter = 0
    while n_iter < limits.n_iter_max:
        if error <= limits.good_enough**2 * squared:
            break
        previous = error
        n_iter += 1
        for number in (k for k, own in enumerate(network.factors) if n_terms(network, own) <= MOST_TERMS):
            factors[number] = _best_factor(backend, network, factors, number, target, RIDGE * error / squared)
        error = _squared_error(backend, network, factors, target, squared)
        if error < best:
            best, best_factors = error, list(factors)
        if tell(factors, _relative(error, squared)):
            break
        if not math.isfinite(error) or math.sqrt(previous) - math.sqrt(error) <= limits.tol * math.sqrt(squared):
            break
    return best_factors, _relative(best, squared), n_iter


def _relative(error: float, squared: float) -> float:
    return math.sqrt(error / squared) if squared else 0.0


def n_terms(network: Network, own: Indices) -> int:
    """Return the number of rank entries of a factor: the unknowns of one of its rows."""
    return math.prod(network.size[index] for index in own if index not in network.outputs)


def _squared_error(backend: Any, network: Network, factors: Sequence[Any], target: Target, squared: float) -> float:
    goal, goal_factors = target
    if len(goal_factors) == 1:
        difference = execute(tensor_plan(network), backend, factors) - goal_factors[0]
        return float(backend.sum(difference**2))
    across = float(operations.inner(backend, network, factors, goal, goal_factors))
    return max(0.0, squared - 2 * across + float(operations.squared_norm(backend, network, factors)))


def _best_factor(backend: Any, network: Network, factors: Sequence[Any], number: int, target: Target, ridge: float) -> Any:
    own, opened = network.factors[number], network.outputs
    free = tuple(index for index in own if index in opened)
    bonds = tuple(index for index in own if index not in opened)
    others = [k for k in range(len(factors)) if k != number]
    arrays = [factors[k] for k in others]
    indices = tuple(network.factors[k] for k in others)
    goal, goal_factors = target
    # The rank indices of the target get other names.
    renamed = {index: index if index in opened else f"{index}~" for index in goal.size}
    goal_indices = tuple(tuple(renamed[index] for index in one) for one in goal.factors)
    goal_sizes = {renamed[index]: n for index, n in goal.sizes}
    joined = plan((*goal_indices, *indices), (*free, *bonds), tuple({**goal_sizes, **network.size}.items()))
    right = execute(joined, backend, [*goal_factors, *arrays])
    rows, terms = math.prod(network.size[i] for i in free), math.prod(network.size[i] for i in bonds)
    right = backend.reshape(right, (rows, terms))
    if not others:
        return backend.reshape(right, network.factor_shapes[number])
    solved = _solve(backend, inner_gram(backend, network, factors, number), right, ridge)
    shape = tuple(network.size[index] for index in (*free, *bonds))
    order = tuple((*free, *bonds).index(index) for index in own)
    return backend.transpose(backend.reshape(solved, shape), order)


def _solve(backend: Any, gram: Any, right: Any, ridge: float) -> Any:
    """Return X with ``X (gram + ridge * mean eigenvalue) = right``, of least norm where that is singular."""
    values, vectors = backend.eigh(gram)
    found = np.asarray(backend.to_numpy(values), dtype=float)
    found = found + ridge * float(np.mean(np.maximum(found, 0.0)))
    cut = max(found[-1], 0.0) * len(found) * float(backend.eps(gram.dtype))
    inverse = np.divide(1.0, found, out=np.zeros_like(found), where=found > cut)
    scaled = backend.matmul(right, vectors) * new_array(backend, inverse, gram)
    return backend.matmul(scaled, backend.transpose(vectors, (1, 0)))
