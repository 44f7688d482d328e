"""Ranks for a number of parameters: the bonds share it by what they lose, not evenly."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tensorly_rnn._backend import frobenius_norm
from tensorly_rnn.decomposition._registry import ALGORITHMS, DIRECT, Algorithm, Problem
from tensorly_rnn.decomposition.alternating_least_squares import alternating_least_squares
from tensorly_rnn.decomposition.compression import relative_error
from tensorly_rnn.network import arithmetic, trees

# Halvings of the interval of errors; what is rounded down to the budget had so many times the parameters.
HALVINGS, HEADROOM = 30, 4
# Least relative error worth the measuring, and how often it is tried.
RESOLVED, ATTEMPTS = 1e-6, 3


def within_budget(problem: Problem, budget: int, options: dict[str, Any]) -> list[Any]:
    r"""Decompose into at most a number of parameters, several ways, and return the best.

    Direct algorithms spread the budget by `truncated_within`. Formats that are fitted are fitted from there, and at even
    ranks of every family that the format has (the numbers of blocks of BT).

    Parameters
    ----------
    problem : Problem
        Of even ranks within the budget.
    budget : int
    options : dict
        The format's own, for its ranks.

    Returns
    -------
    list of arrays
        Of at most `budget` parameters.
    """
    kind = problem.format
    algorithm = ALGORITHMS.get(kind.name, alternating_least_squares)
    direct = DIRECT.get(kind.name)
    found = [] if direct is None else [truncated_within(problem, direct, budget, options)]
    if direct is algorithm:
        return found[0]
    for family in kind.families:
        rank = kind.rank_at_most(_column(problem), budget, **{**options, **family})
        if rank is not None and not problem.progress.stopped:
            found.append(algorithm(replace(problem, rank=rank)))
    if direct is not None and not problem.progress.stopped:
        found.append(algorithm(replace(problem, rank=problem.rank_of(found[0]), init=found[0])))
    return min(found, key=lambda factors: relative_error(problem, factors))


def truncated_within(problem: Problem, direct: Algorithm, budget: int, options: dict[str, Any]) -> list[Any]:
    r"""Decompose by a direct algorithm into at most a number of parameters.

    Of two ways the one that keeps more: even ranks, or the ranks that one error leaves of an ample decomposition, the error
    bisected until they fit.

    Notes
    -----
    Three decompositions.
    """
    ample = problem.format.rank_at_most(_column(problem), HEADROOM * budget, **options)
    rounded = _rounded(problem, direct(replace(problem, rank=ample)), budget)
    uneven = direct(replace(problem, rank=problem.rank_of(rounded)))
    even = direct(problem)
    return min((even, uneven, rounded), key=lambda factors: relative_error(problem, factors))


def _rounded(problem: Problem, factors: Sequence[Any], budget: int) -> list[Any]:
    """Round by the least error that leaves no more parameters than the budget."""
    backend, network = problem.backend, problem.network_of(factors)
    if network.n_param <= budget:
        return list(factors)
    low, high = 0.0, _norm(problem, factors)
    best = trees.rounded(backend, network, factors, dict.fromkeys(network.size, 1))
    for _ in range(HALVINGS):
        error = (low + high) / 2
        found = trees.rounded(backend, network, factors, error=error)
        if problem.network_of(found).n_param > budget:
            low = error
        else:
            best, high = found, error
    return best


def spend_error(problem: Problem, factors: Sequence[Any]) -> list[Any]:
    r"""Round factors that a direct algorithm made within an error by what that error leaves over.

    An error divided evenly over the cuts is not used up: ranks are whole numbers. The largest even share of what is left
    is bisected.

    Parameters
    ----------
    problem : Problem
        With an error.
    factors : sequence of arrays
        Of a tree.

    Returns
    -------
    list of arrays
        Within the error if the given ones are, and of no more parameters.

    Notes
    -----
    The squared errors of the decomposition and of the rounding nearly add up, for neither sees the other's directions. The
    error of the result is measured, and less is left to it where that is too much.
    """
    whole = frobenius_norm(problem.backend, problem.tensor)
    if problem.error <= RESOLVED * whole:
        return list(factors)
    missed = relative_error(problem, factors) * whole
    left = problem.error**2 - missed**2
    rounding = 1000 * float(problem.backend.eps(problem.tensor.dtype))
    for _ in range(ATTEMPTS):
        if left <= 0.0:
            break
        found = _rounded_by(problem, factors, left)
        over = (relative_error(problem, found) * whole) ** 2 - (1 - rounding) * problem.error**2
        if over <= 0.0:
            return found
        left -= 2 * over
    return list(factors)


def _rounded_by(problem: Problem, factors: Sequence[Any], left: float) -> list[Any]:
    """Round by the largest even share of an error that leaves no more than a squared difference."""
    backend, network = problem.backend, problem.network_of(factors)
    kept = _norm(problem, factors)
    best = list(factors)
    low, high = 0.0, math.sqrt(left * len(network.factors))
    for _ in range(HALVINGS // 2):
        error = (low + high) / 2
        found = trees.rounded(backend, network, factors, error=error)
        # Rounding projects: what it discards is what the norm loses.
        if kept**2 - _norm(problem, found) ** 2 <= left:
            best, low = found, error
        else:
            high = error
    return best


def _norm(problem: Problem, factors: Sequence[Any]) -> float:
    return float(arithmetic.norm(problem.backend, [(problem.network_of(factors), factors)]))


def _column(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return problem.modes, (1,) * len(problem.modes)
