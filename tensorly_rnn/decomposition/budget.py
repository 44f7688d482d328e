"""Ranks for a number of parameters: the bonds share it by what they lose, not evenly."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tensorly_rnn import arithmetic, tree_network
from tensorly_rnn.decomposition._registry import ALGORITHMS, DIRECT, Algorithm, Problem
from tensorly_rnn.decomposition.alternating_least_squares import alternating_least_squares
from tensorly_rnn.decomposition.compression import relative_error

# Halvings of the interval of errors; what is rounded down to the budget had so many times the parameters.
HALVINGS, HEADROOM = 30, 4


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
    Three decompositions. Truncations are orthogonal projections, so that ``||T - f||^2 = ||T||^2 - ||f||^2``: the larger norm
    is the better fit.
    """
    ample = problem.format.rank_at_most(_column(problem), HEADROOM * budget, **options)
    rounded = _rounded(problem, direct(replace(problem, rank=ample)), budget)
    uneven = direct(replace(problem, rank=problem.rank_of(rounded)))
    even = direct(problem)
    return max((even, uneven, rounded), key=lambda factors: _norm(problem, factors))


def _rounded(problem: Problem, factors: Sequence[Any], budget: int) -> list[Any]:
    """Round by the least error that leaves no more parameters than the budget."""
    backend, network = problem.backend, problem.network_of(factors)
    if network.n_param <= budget:
        return list(factors)
    low, high = 0.0, _norm(problem, factors)
    best = tree_network.rounded(backend, network, factors, dict.fromkeys(network.size, 1))
    for _ in range(HALVINGS):
        error = (low + high) / 2
        found = tree_network.rounded(backend, network, factors, error=error)
        if problem.network_of(found).n_param > budget:
            low = error
        else:
            best, high = found, error
    return best


def _norm(problem: Problem, factors: Sequence[Any]) -> float:
    return float(arithmetic.norm(problem.backend, [(problem.network_of(factors), factors)]))


def _column(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return problem.modes, (1,) * len(problem.modes)
