"""Fit a network to a tensor: compress, solve the small problem from several starts, expand, refine."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._registry import Problem
from tensorly_rnn.decomposition.alternating_least_squares import RIDGE, alternating_least_squares
from tensorly_rnn.decomposition.levenberg_marquardt import levenberg_marquardt
from tensorly_rnn.network import Network

# Up to so many unknowns and entries the second-order method is worth its cubic cost.
MOST_UNKNOWNS, MOST_ENTRIES = 1000, 1_000_000
# Below this relative error only a weak term can be missing: every second start then keeps the others.
NEARLY_FITTED = 2e-3

Start = Callable[[Problem], list[Any]]


def fit(problem: Problem, start: Start) -> list[Any]:
    r"""Fit the factors of a format without a direct decomposition.

    1. *Compress*: no mode of the result has a multilinear rank above the product of its factor's rank sizes, so the tensor
       is projected to its leading singular subspaces of that size, mode by mode.
    2. *Solve* the small problem by Levenberg-Marquardt, `problem.n_starts` times at most, or until the fit is exact: from
       `start`, then from random factors or, where little is left to fit, from the best fit with one term redrawn. Every
       second start goes without the ridge that holds cancelling terms back.
    3. *Expand* to the modes' sizes, and *refine* there if the projection lost anything.

    Where the small problem has too many unknowns, alternating least squares takes the place of step 2.

    Parameters
    ----------
    problem : Problem
    start : callable
        Makes the first start for a problem.

    Returns
    -------
    list of arrays
        Factors in the tensor form, on the problem's backend.
    """
    small, bases = compressed(problem)
    if problem.method == "als" or not _is_small(small):
        solved = alternating_least_squares(small, start(small))
    else:
        solved = _best_of_starts(small, start)
    factors = expanded(problem, solved, bases)
    if not bases or _kept_everything(problem, small):
        return factors
    return _refined(problem, factors)


def compressed(problem: Problem) -> tuple[Problem, dict[int, Any]]:
    """Project every mode whose size exceeds what its factor can span; return the small problem and the bases by mode."""
    network = problem.format.make_tensor_network(problem.modes, problem.rank)
    backend, tensor, bases = problem.backend, problem.tensor, {}
    for mode in range(len(problem.modes)):
        own = next(indices for indices in network.factors if f"j{mode + 1}" in indices)
        span = math.prod(network.size[index] for index in own if index not in network.outputs)
        if span < tensor.shape[mode + 1]:
            bases[mode], tensor = left_basis(backend, tensor, mode + 1, span)
    return replace(problem, tensor=tensor), bases


def expanded(problem: Problem, factors: Sequence[Any], bases: dict[int, Any]) -> list[Any]:
    """Bring factors of the compressed problem back to the modes' sizes."""
    backend = problem.backend
    grown = list(factors)
    indices = problem.format.tensor_indices(len(problem.modes))
    for mode, basis in bases.items():
        number = next(k for k, own in enumerate(indices) if f"j{mode + 1}" in own)
        axis = indices[number].index(f"j{mode + 1}")
        product = backend.tensordot(grown[number], basis, axes=([axis], [1]))
        order = list(range(len(indices[number]) - 1))
        order.insert(axis, len(order))
        grown[number] = backend.transpose(product, tuple(order))
    return grown


def _is_small(problem: Problem) -> bool:
    network = problem.format.make_tensor_network(problem.modes, problem.rank)
    return network.n_param <= MOST_UNKNOWNS and math.prod(network.out_modes) <= MOST_ENTRIES


def _kept_everything(problem: Problem, small: Problem) -> bool:
    whole, kept = (float(problem.backend.norm(one.tensor)) for one in (problem, small))
    return whole - kept <= 1e-14 * whole


def _best_of_starts(problem: Problem, start: Start) -> list[Any]:
    """Solve on the host in double precision: the problem is small, and a step is a dense linear solve."""
    precision = float(problem.backend.eps(problem.tensor.dtype))
    tensor = _to_host(problem, problem.tensor)
    best: list[np.ndarray] = []
    least = math.inf
    for number in range(problem.n_starts):
        first = [_to_host(problem, factor) for factor in (problem.random_start() if number else start(problem))]
        same_shapes = number and all(one.shape == other.shape for one, other in zip(first, best))
        if number % 2 and least < NEARLY_FITTED and same_shapes:
            first = _with_one_term_redrawn(problem, best, first, least)
        network = problem.network_of(first)
        found, error, _ = levenberg_marquardt(
            network,
            first,
            tensor.reshape(network.out_modes),
            problem.n_iter_max,
            100 * precision,
            ridge=0.0 if number % 2 else RIDGE,
        )
        if error < least:
            best, least = found, error
        if error <= 100 * precision:
            break
    return [new_array(problem.backend, factor, problem.tensor) for factor in best]


def _term_index(network: Network) -> str:
    """The rank index that most factors share: its positions are the blocks of BT, the components of CP, a bond of TR."""
    shared = Counter(index for own in network.factors for index in own if index not in network.outputs)
    return max(shared, key=lambda one: (shared[one], network.size[one]))


def _with_one_term_redrawn(
    problem: Problem, best: list[np.ndarray], drawn: list[np.ndarray], error: float
) -> list[np.ndarray]:
    """Replace one term of the best fit by random numbers of the size of what it leaves over.

    A local minimum is mostly a fit with all terms right but one.
    """
    network = problem.network_of(best)
    index = _term_index(network)
    position = int(problem.generator.random() * network.size[index])
    changed = [factor.copy() for factor in best]
    for own, factor, other in zip(network.factors, changed, drawn):
        if index in own:
            chosen = tuple(position if one == index else slice(None) for one in own)
            factor[chosen] = other[chosen] * error ** (1 / len(best))
    return changed


def _refined(problem: Problem, factors: list[Any]) -> list[Any]:
    if problem.method == "als" or not _is_small(problem):
        return alternating_least_squares(problem, factors)
    network = problem.network_of(factors)
    tensor = _to_host(problem, problem.tensor).reshape(network.out_modes)
    on_host = [_to_host(problem, one) for one in factors]
    refined, _, _ = levenberg_marquardt(network, on_host, tensor, problem.n_iter_max, 0.0, RIDGE)
    return [new_array(problem.backend, factor, problem.tensor) for factor in refined]


def _to_host(problem: Problem, array: Any) -> np.ndarray:
    return np.array(problem.backend.to_numpy(array), dtype=np.float64)
