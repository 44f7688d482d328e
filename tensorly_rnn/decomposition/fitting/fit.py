"""Fit a network to a tensor: compress, solve the small problem from several starts, expand, refine."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn.decomposition._problem import Problem, Start
from tensorly_rnn.decomposition.fitting.alternating_least_squares import (
    MOST_TERMS,
    RIDGE,
    alternating_least_squares,
    best_of_restarts,
    n_terms,
    sweeps,
)
from tensorly_rnn.decomposition.fitting.curvature import NUMPY, matrix_free
from tensorly_rnn.decomposition.fitting.levenberg_marquardt import levenberg_marquardt
from tensorly_rnn.decomposition.fitting.subspaces import (
    compressed,
    expanded,
    kept_everything,
    on_host,
    relative_error,
    whitened,
)
from tensorly_rnn.network.network import Network, tensor_plan

# Most unknowns for dense solves, of cubic cost, and most entries for work on the host.
MOST_UNKNOWNS, MOST_ENTRIES = 1000, 1_000_000
# Most unknowns, and operations a reconstruction, for conjugate gradients after alternating least squares.
MOST_ITERATIVE, MOST_FLOPS = 30_000, 50_000_000
# A fit is exact at this multiple of the rounding unit.
EXACT = 100


def fit(problem: Problem, svd_start: Start) -> list[Any]:
    r"""Fit the factors of a format without a direct decomposition.

    1. *Compress*: no mode of the result has a multilinear rank above the product of its factor's rank sizes, so the tensor
       is projected to its leading singular subspaces of that size, mode by mode.
    2. *Solve* the small problem by Levenberg-Marquardt, `problem.n_starts` times at most, or until the fit is exact: from
       `problem.init`, where "svd" is the result of `svd_start`, then from random factors. A random start first solves the
       *whitened* problem, in bases in which all directions of a mode have the same energy, and continues from there in the
       given ones. Every second start has no ridge against cancelling terms.
    3. *Expand* to the modes' sizes, and *refine* there if the projection lost anything.

    Where the small problem has too many unknowns for dense solves, a start uses alternating least squares first, then
    Levenberg-Marquardt with matrix-free products; where it has too many entries, only the former, on the tensor's device.
    """
    found = _fitted(problem, svd_start)
    if isinstance(problem.init, str):
        return found
    # The penalty and the compression may make the user's own start slightly worse.
    return min((found, list(problem.init)), key=lambda factors: relative_error(problem, factors))


def _fitted(problem: Problem, svd_start: Start) -> list[Any]:
    small, bases = compressed(problem)
    if problem.method == "als" or math.prod(small.tensor.shape) > MOST_ENTRIES:
        solved = alternating_least_squares(small, svd_start)
    else:
        solved = _second_order(small, svd_start)
    factors = expanded(problem, solved, bases)
    if not bases or kept_everything(problem, small) or problem.progress.stopped:
        return factors
    return _refined(problem, factors)


def _second_order(problem: Problem, svd_start: Start) -> list[Any]:
    """Solve on the host in double precision."""
    good_enough = problem.good_enough(EXACT * float(problem.backend.eps(problem.tensor.dtype)))
    host = on_host(problem, NUMPY)
    whiten = cache(lambda: whitened(host))

    def attempt(number: int) -> tuple[list[Any], float]:
        ridge = 0.0 if number % 2 else RIDGE
        if number == 0 and host.init != "random":
            return _solved(host, host.first_start(svd_start), host.n_iter_max, good_enough, ridge)[:2]
        white, back = whiten()
        first, _, steps = _solved(white, white.random_start(), host.n_iter_max // 2, EXACT * np.finfo(float).eps, ridge)
        returned = expanded(host, first, back)
        if host.progress.stopped:
            return returned, relative_error(host, returned)
        return _solved(host, returned, host.n_iter_max - steps, good_enough, ridge)[:2]

    return _to_backend(problem, best_of_restarts(host, attempt, good_enough))


def _solved(
    problem: Problem, factors: Sequence[Any], n_iter_max: int, good_enough: float, ridge: float
) -> tuple[list[Any], float, int]:
    """Return factors, relative error and number of iterations of one start, on the host."""
    network = problem.network_of(factors)
    tensor = problem.tensor.reshape(network.out_modes)
    tell = problem.tell if problem.progress.watched else None
    if network.n_param <= MOST_UNKNOWNS:
        return levenberg_marquardt(network, factors, tensor, n_iter_max, good_enough, ridge, tell)
    swept, error, n_iter = sweeps(replace(problem, n_iter_max=(n_iter_max + 1) // 2), factors)
    if error <= good_enough or problem.progress.stopped or not _is_iterative(network):
        return swept, error, n_iter
    found, error, more = levenberg_marquardt(
        network, swept, tensor, n_iter_max - n_iter, good_enough, ridge, tell, matrix_free, patience=((10, 1e-3),)
    )
    return found, error, n_iter + more


def _is_iterative(network: Network) -> bool:
    return (
        network.n_param <= MOST_ITERATIVE
        and tensor_plan(network).flops <= MOST_FLOPS
        and max(n_terms(network, own) for own in network.factors) <= MOST_TERMS
    )


def _refined(problem: Problem, factors: list[Any]) -> list[Any]:
    problem.progress.begin("refinement of the uncompressed fit")
    if problem.method == "als" or math.prod(problem.tensor.shape) > MOST_ENTRIES:
        return sweeps(problem, factors)[0]
    host = on_host(replace(problem, init=factors), NUMPY)
    refined, _, _ = _solved(host, host.init, host.n_iter_max, host.good_enough(0.0), RIDGE)
    return _to_backend(problem, refined)


def _to_backend(problem: Problem, factors: Sequence[Any]) -> list[Any]:
    return [new_array(problem.backend, factor, problem.tensor) for factor in factors]
