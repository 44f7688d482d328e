r"""Search the least ranks within an error, for formats that are fitted: from a lower bound upwards.

Any approximation within ``eps ||T||`` has, in every unfolding of the modes S against the others, at least the rank rho_S at
which the remaining singular values are that small. In a network that rank is at most the product of the indices cut between
the modes S and the others, for the cheapest cut: for a ring ``r_k r_l >= rho`` for the segment between the bonds k and l,
for N blocks ``N min(prod_S R, prod_rest R) >= rho``. Ranks that satisfy all of these are tried in order of their parameters.

References
----------
.. [1] Mickelin, Karaman, On algorithms for and computing with the tensor ring decomposition, Numer. Linear Algebra Appl.
   27(3), 2020: ranks of a ring by its error, and the choice of the split of its first rank.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._problem import Problem, Solve
from tensorly_rnn.decomposition.fitting.alternating_least_squares import n_terms
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tensorly_rnn.decomposition.fitting.fit import MOST_ENTRIES
from tensorly_rnn.decomposition.fitting.subspaces import on_host, relative_error
from tensorly_rnn.network.network import Network

# Number of ranks tried from below, starts of each in successive rounds, and iterations of a start: in hard problems one start
# in ten finds the fit, mostly within these iterations. Steps of the bisection that follows if none does.
TRIES, ROUNDS, MOST_ITERATIONS, HALVINGS = 20, (3, 5, 5, 10, 10), 60, 5
# The same where the singular values of no unfolding drop, so that a fit of few parameters is unlikely, or where fits have more
# unknowns than this.
FEW_TRIES, ONE_ROUND, FEW_HALVINGS, MANY_UNKNOWNS = 2, (1,), 3, 500
# Such a try is alternating least squares with this number of sweeps, and skipped where a row of a factor has more unknowns.
FEW_SWEEPS, TERMS_OF_A_TRY = 20, 400
# Fits must save at least a tenth of the parameters.
WORTH = 1 / 1.1
# Most combinations of ranks to check, and largest side of an unfolding for computing its singular values.
MOST_RANKS, MOST_SIDE = 200_000, 1500

Sizes = dict[str, int]


def least_rank(problem: Problem, solve: Solve, direct: Solve) -> list[Any]:
    """Return factors of the least ranks found whose error is at most `problem.max_error`.

    `solve` fits a problem of given rank; `direct` makes factors within the error by construction, as far as the rank allows.
    The result has at most the parameters of those. The rank of the problem is an upper bound, unless `problem.rank_is_free`;
    if it allows no fit within the error, the result is the best fit at that bound.
    """
    if problem.backend is not NUMPY and math.prod(problem.tensor.shape) <= MOST_ENTRIES:
        host = on_host(problem, NUMPY)
        return [new_array(problem.backend, one, problem.tensor) for one in least_rank(host, solve, direct)]
    fallback = direct(problem)
    # The factor leaves room for rounding.
    eps = (1 - 1e-12) * problem.max_error / float(problem.backend.norm(problem.tensor))
    most = None if problem.rank_is_free else problem.format.rank_sizes(problem.rank)
    if relative_error(problem, fallback) > eps and most is not None:
        fallback = solve(replace(problem, max_error=0.0))
    shape = problem.counted_network_of(fallback)
    found: list[list[Any]] = []

    def n_param(sizes: Sizes) -> int:
        return shape.resized(sizes).n_param

    def fits(sizes: Sizes, n_starts: int, init: str = "svd") -> bool:
        rank = problem.format.rank_from_sizes({**shape.size, **sizes}, len(problem.modes))
        problem.progress.begin(f"rank {rank}")
        network = shape.resized(sizes)
        method = problem.method if likely else "als"
        if method == "als" and max(n_terms(network, own) for own in network.factors) > TERMS_OF_A_TRY:
            return False
        n_iter_max = min(problem.n_iter_max, MOST_ITERATIONS if likely else FEW_SWEEPS)
        factors = solve(replace(problem, rank=rank, n_starts=n_starts, n_iter_max=n_iter_max, init=init, method=method))
        if relative_error(problem, factors) > eps:
            return False
        found.append(factors)
        return True

    ranks, drop = unfolding_ranks(problem)
    tries = possible_sizes(shape, ranks, most, int(WORTH * shape.n_param))
    likely = drop and bool(tries) and n_param(tries[0]) <= MANY_UNKNOWNS
    low, left = tries[:1], tries if likely else tries[:FEW_TRIES]
    for number, n_starts in enumerate(ROUNDS if likely else ONE_ROUND):
        for sizes in left:
            if problem.progress.stopped:
                break
            if fits(sizes, n_starts, "random" if number else "svd"):
                # A smaller rank may fit too, from another start.
                left = [one for one in left if n_param(one) <= WORTH * n_param(sizes)]
                break
    if low and not found and not problem.progress.stopped:
        high = {index: shape.size[index] for index in low[0]}
        _bisect(lambda sizes: fits(sizes, 1), low[0], high, HALVINGS if likely else FEW_HALVINGS)
    best = min((*found, fallback), key=lambda factors: problem.counted_network_of(factors).n_param)
    if best is fallback or problem.progress.stopped or not likely:
        return best
    last = replace(problem, rank=problem.rank_of(best), init=best, n_starts=1, max_error=0.0)
    return min((best, solve(last)), key=lambda factors: relative_error(problem, factors))


def _bisect(fits: Callable[[Sizes], bool], low: Sizes, high: Sizes, halvings: int) -> None:
    """Try ranks between `low`, which is too low, and `high`, which is enough, on the geometric path between them."""
    least, most = 0.0, 1.0
    for _ in range(halvings):
        middle = (least + most) / 2
        sizes = {index: round(low[index] ** (1 - middle) * high[index] ** middle) for index in low}
        least, most = (least, middle) if fits(sizes) else (middle, most)


def unfolding_ranks(problem: Problem) -> tuple[dict[tuple[int, ...], int], bool]:
    """Return the least rank within `problem.max_error` for the unfolding of every group of modes against the others.

    Return also whether the singular values drop there: in every unfolding not of full rank the last one needed is larger than
    the error.
    """
    host = on_host(problem, NUMPY)
    order = len(problem.modes)
    tensor = host.tensor
    for mode in range(order):
        # This adds a thousandth of the error, which the ranks below take into account.
        _, tensor = left_basis(NUMPY, tensor, mode + 1, tensor.shape[mode + 1], 1e-3 * problem.max_error / math.sqrt(order))
    tensor = tensor.reshape(tensor.shape[1:])
    ranks = {}
    drops = []
    for size in range(1, order // 2 + 1):
        for group in combinations(range(order), size):
            rest = tuple(mode for mode in range(order) if mode not in group)
            rows = math.prod(tensor.shape[mode] for mode in group)
            if min(rows, tensor.size // rows) <= MOST_SIDE:
                values = np.linalg.svd(tensor.transpose(*group, *rest).reshape(rows, -1), compute_uv=False)
                errors = np.sqrt(np.cumsum(values[::-1] ** 2))
                rank = max(1, int(np.count_nonzero(errors > (1 + 1e-3) * problem.max_error)))
                ranks[group] = rank
                if rank < min(math.prod(problem.modes[mode] for mode in side) for side in (group, rest)):
                    drops.append(bool(values[rank - 1] > problem.max_error))
    return ranks, bool(drops) and all(drops)


def possible_sizes(network: Network, ranks: dict[tuple[int, ...], int], most: Sizes | None, n_param: int) -> list[Sizes]:
    """Return sizes of a network's rank indices within the bounds of `unfolding_ranks` and `n_param`, by their parameters.

    Of more than `MOST_RANKS` combinations only some of the large sizes are checked.
    """
    bonds = sorted(index for index in network.size if index not in network.outputs)
    caps = {index: _largest(network, index, bonds, n_param, (most or {}).get(index)) for index in bonds}
    # All sizes up to a common bound, or else some sizes over the whole range.
    bound = 1
    while bound < max(caps.values()) and math.prod(min(cap, bound + 1) for cap in caps.values()) <= MOST_RANKS:
        bound += 1
    near = [np.arange(1, min(cap, bound) + 1) for cap in caps.values()]
    thin = [np.unique(np.geomspace(1, cap, min(cap, bound)).round()).astype(int) for cap in caps.values()]
    return _possible(network, ranks, n_param, bonds, near) or _possible(network, ranks, n_param, bonds, thin)


def _possible(
    network: Network, ranks: dict[tuple[int, ...], int], n_param: int, bonds: Sequence[str], axes: Sequence[np.ndarray]
) -> list[Sizes]:
    grid = dict(zip(bonds, (axis.reshape(-1) for axis in np.meshgrid(*axes, indexing="ij"))))
    counts = sum(_product(own, grid, network) for own in network.factors)
    possible = counts <= n_param
    for group, rank in ranks.items():
        possible &= np.minimum.reduce([_product(cut, grid, network) for cut in cuts(network, group)]) >= rank
    chosen = np.flatnonzero(possible)
    chosen = chosen[np.argsort(counts[chosen], kind="stable")]
    return [{index: int(grid[index][one]) for index in bonds} for one in chosen[:TRIES]]


def cuts(network: Network, group: Sequence[int]) -> list[tuple[str, ...]]:
    """Return the rank indices cut between the modes of `group` and the others, for every such partition of the factors."""
    inside = {f"j{mode + 1}" for mode in group}
    sides: list[tuple[bool, ...]] = [()]
    for own in network.factors:
        modes = [index for index in own if index in network.outputs]
        choices = (modes[0] in inside,) if modes else (False, True)
        sides = [(*side, choice) for side in sides for choice in choices]
    bonds = [index for index in network.size if index not in network.outputs]
    return [
        tuple(index for index in bonds if len({here for here, own in zip(side, network.factors) if index in own}) == 2)
        for side in sides
    ]


def _product(indices: Sequence[str], grid: dict[str, np.ndarray], network: Network) -> Any:
    total: Any = 1
    for index in indices:
        total = total * (grid[index] if index in grid else network.size[index])
    return total


def _largest(network: Network, index: str, bonds: Sequence[str], n_param: int, most: int | None) -> int:
    """Return the largest size of one index, all others 1, for which the network has at most `n_param` parameters."""
    one, two = (network.resized({**dict.fromkeys(bonds, 1), index: size}).n_param for size in (1, 2))
    largest = max(1, 1 + (n_param - one) // max(1, two - one))
    return min(largest, most) if most is not None else largest
