"""Several starts of an iteration, the best of which is kept."""

import math
from collections.abc import Callable
from typing import Any

from tensorly_rnn.decomposition._registry import Problem

#: Factors and relative error reached by the start of that number, from 0.
Attempt = Callable[[int], tuple[list[Any], float]]


def best_of_starts(problem: Problem, attempt: Attempt, good_enough: float) -> list[Any]:
    """Return the best factors of `problem.n_starts` attempts, or fewer: until good enough, or until the user stops."""
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
