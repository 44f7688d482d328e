"""Ranks for a number of parameters: bonds of a tree share it by what they lose, not evenly."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tensorly_rnn import arithmetic, tree_network
from tensorly_rnn.decomposition._registry import Algorithm, Problem

# Halvings of the interval of errors; what is rounded down to the budget had so many times the parameters.
HALVINGS, HEADROOM = 30, 4


def within_budget(problem: Problem, algorithm: Algorithm, budget: int, ample: Any) -> list[Any]:
    r"""Decompose by a direct algorithm into at most a number of parameters.

    Of two ways the one that keeps more: even ranks, or the ranks that one error leaves of an ample decomposition, the error
    bisected until they fit.

    Parameters
    ----------
    problem : Problem
        Of even ranks within the budget.
    algorithm : callable
        Truncates once; its factors form a tree.
    budget : int
    ample : rank
        Even ranks of more parameters.

    Returns
    -------
    list of arrays
        Of at most `budget` parameters.

    Notes
    -----
    Three decompositions. Truncations are orthogonal projections, so that ``||T - f||^2 = ||T||^2 - ||f||^2``: the larger norm
    is the better fit.
    """
    rounded = _rounded(problem, algorithm(replace(problem, rank=ample)), budget)
    uneven = algorithm(replace(problem, rank=problem.rank_of(rounded)))
    return max((algorithm(problem), uneven, rounded), key=lambda factors: _norm(problem, factors))


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
