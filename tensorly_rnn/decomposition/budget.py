"""Choose ranks for a number of parameters or an error: a bond gets the higher rank, the more it would lose."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tensorly_rnn._backend import frobenius_norm
from tensorly_rnn.decomposition._algorithms import algorithm_of
from tensorly_rnn.decomposition._problem import Problem, Solve
from tensorly_rnn.decomposition.fitting.subspaces import relative_error
from tensorly_rnn.network import arithmetic, trees

# Halvings of the interval of errors; parameters, in budgets, before rounding down to the budget.
HALVINGS, HEADROOM = 30, 4
# Least relative error for which rounding is tried, and number of tries.
RESOLVED, ATTEMPTS = 1e-6, 3


def within_budget(problem: Problem, budget: int, options: dict[str, Any]) -> list[Any]:
    r"""Decompose into at most a number of parameters, several ways, and return the best.

    Direct algorithms distribute the budget by `truncated_within`. Fits start from there, and at even ranks of every family
    of the format (the numbers of blocks of BT). The rank of the problem is even and within the budget; `options` are those
    of the format's ranks.
    """
    kind = problem.format
    solve, direct, _ = algorithm_of(kind.name)
    found = [] if direct is None else [truncated_within(problem, direct, budget, options)]
    if direct is solve:
        return found[0]
    for family in kind.families:
        rank = kind.rank_at_most(_column(problem), budget, **{**options, **family})
        if rank is not None and not problem.progress.stopped:
            found.append(solve(replace(problem, rank=rank)))
    if direct is not None and not problem.progress.stopped:
        found.append(solve(replace(problem, rank=problem.rank_of(found[0]), init=found[0])))
    return min(found, key=lambda factors: relative_error(problem, factors))


def truncated_within(problem: Problem, direct: Solve, budget: int, options: dict[str, Any]) -> list[Any]:
    r"""Decompose by a direct algorithm into at most a number of parameters.

    Takes the better of even ranks and of the ranks that remain when a larger decomposition is rounded by a single error,
    bisected until they fit. Three decompositions in all.
    """
    ample = problem.format.rank_at_most(_column(problem), HEADROOM * budget, **options)
    rounded = _rounded(problem, direct(replace(problem, rank=ample)), budget)
    uneven = direct(replace(problem, rank=problem.rank_of(rounded)))
    even = direct(problem)
    return min((even, uneven, rounded), key=lambda factors: relative_error(problem, factors))


def _rounded(problem: Problem, factors: Sequence[Any], budget: int) -> list[Any]:
    """Round by the least error for which the parameters are within the budget."""
    backend, network = problem.backend, problem.network_of(factors)
    if network.n_param <= budget:
        return list(factors)
    low, high = 0.0, _norm(problem, factors)
    best = trees.rounded(backend, network, factors, dict.fromkeys(network.size, 1))
    for _ in range(HALVINGS):
        max_error = (low + high) / 2
        found = trees.rounded(backend, network, factors, error=max_error)
        if problem.network_of(found).n_param > budget:
            low = max_error
        else:
            best, high = found, max_error
    return best


def spend_error(problem: Problem, factors: Sequence[Any]) -> list[Any]:
    r"""Round the factors of a direct algorithm, which form a tree, by the unused part of the allowed error.

    Ranks are whole numbers, so that an error divided evenly over the cuts is not used up. The largest even share of the rest
    is found by bisection. The squared errors of the decomposition and of the rounding nearly add up, because their directions
    are nearly orthogonal; the error of the result is measured, and the rounding repeated with less where it is too large.
    """
    whole = frobenius_norm(problem.backend, problem.tensor)
    if problem.max_error <= RESOLVED * whole:
        return list(factors)
    left = problem.max_error**2 - (relative_error(problem, factors) * whole) ** 2
    rounding = 1000 * float(problem.backend.eps(problem.tensor.dtype))
    for _ in range(ATTEMPTS):
        if left <= 0.0:
            break
        found = _rounded_by(problem, factors, left)
        over = (relative_error(problem, found) * whole) ** 2 - (1 - rounding) * problem.max_error**2
        if over <= 0.0:
            return found
        left -= 2 * over
    return list(factors)


def _rounded_by(problem: Problem, factors: Sequence[Any], left: float) -> list[Any]:
    """Round by the largest error a cut for which the squared error is at most `left`."""
    backend, network = problem.backend, problem.network_of(factors)
    kept = _norm(problem, factors)
    best = list(factors)
    low, high = 0.0, math.sqrt(left * len(network.factors))
    for _ in range(HALVINGS // 2):
        max_error = (low + high) / 2
        found = trees.rounded(backend, network, factors, error=max_error)
        # Rounding is a projection: its squared error is the decrease of the squared norm.
        if kept**2 - _norm(problem, found) ** 2 <= left:
            best, low = found, max_error
        else:
            high = max_error
    return best


def _norm(problem: Problem, factors: Sequence[Any]) -> float:
    return float(arithmetic.norm(problem.backend, [(problem.network_of(factors), factors)]))


def _column(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return problem.modes, (1,) * len(problem.modes)
