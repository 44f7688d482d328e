"""Choose ranks for a number of parameters or an error: a bond keeps the more, the more it would lose for a parameter."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tensorly_rnn._backend import frobenius_norm
from tensorly_rnn._svd import singular_values
from tensorly_rnn.decomposition._algorithms import algorithm_of
from tensorly_rnn.decomposition._problem import Problem, Solve
from tensorly_rnn.decomposition.fitting.subspaces import relative_error
from tensorly_rnn.formats import Format
from tensorly_rnn.network import trees
from tensorly_rnn.network.network import Network

# A truncation removes one singular value or this part of those at a bond.
STEPS = 100
# Least relative error for which uneven ranks are tried, and number of tries.
RESOLVED, ATTEMPTS = 1e-6, 2

Values = Mapping[str, np.ndarray]


def within_budget(problem: Problem, budget: int, options: dict[str, Any]) -> list[Any]:
    r"""Decompose into at most a number of parameters, several ways, and return the best.

    Direct algorithms distribute the budget by `truncated_sizes`. Fits start from there, and at even ranks of every family
    of the format (the numbers of blocks of BT). The rank of the problem is even and within the budget; `options` are those
    of the format's ranks.
    """
    kind = problem.format
    solve, direct, _ = algorithm_of(kind.name)
    found = []
    if direct is not None:
        network, values = tree_of(kind, problem.tensor), bond_values(problem.backend, kind, problem.tensor)
        sizes, _ = truncated_sizes(network, values, n_param=budget)
        found.append(direct(replace(problem, rank=_rank_of(problem, sizes))))
    if direct is solve or (direct is not None and sum(size > 1 for size in (problem.stack, *problem.modes)) <= 2):
        # Of a matrix the direct algorithm gives the best approximation.
        return found[0]
    for family in kind.families:
        rank = kind.rank_at_most(_column(problem), budget, **{**options, **family})
        if rank is not None and not problem.progress.stopped:
            found.append(solve(replace(problem, rank=rank)))
    if direct is not None and not problem.progress.stopped:
        found.append(solve(replace(problem, rank=problem.rank_of(found[0]), init=found[0])))
    return min(found, key=lambda factors: relative_error(problem, factors))


def within_error(problem: Problem, direct: Solve) -> list[Any]:
    r"""Decompose by a direct algorithm into few parameters within the allowed error.

    An error that is divided evenly over the cuts is not used up, because ranks are whole numbers, and cuts differ in the
    parameters that an error saves. So ranks are chosen by `truncated_sizes`, whose error is an estimate: that of the result
    is measured, and ranks are chosen for less where it is too large.
    """
    whole = frobenius_norm(problem.backend, problem.tensor)
    if problem.max_error <= RESOLVED * whole:
        return direct(problem)
    network = tree_of(problem.format, problem.tensor)
    values = bond_values(problem.backend, problem.format, problem.tensor)
    bounds = {} if problem.rank_is_free else problem.format.rank_sizes(problem.rank)
    allowed = (problem.max_error / whole) ** 2
    rounding = 1000 * float(problem.backend.eps(problem.tensor.dtype))
    share = allowed
    for _ in range(ATTEMPTS):
        sizes, _ = truncated_sizes(network, values, error=math.sqrt(share), bounds=bounds)
        found = direct(replace(problem, rank=_rank_of(problem, sizes), max_error=0.0))
        over = relative_error(problem, found) ** 2 - (1 - rounding) * allowed
        if over <= 0.0:
            return found
        share -= 2 * over
        if share <= 0.0:
            break
    return direct(problem)


def tree_of(format: Format, tensor: Any) -> Network:
    """Return the network of a direct algorithm, a tree, whose bonds hold any tensor of that shape, (stack, p_1, ..., p_d)."""
    stack, *modes = (int(size) for size in tensor.shape)
    root_rank = {"root_rank": stack} if format.stack_index else {}
    column = tuple(modes), (1,) * len(modes)
    return format.make_tensor_network(column[0], format.full_rank(column, **root_rank))


def bond_values(
    backend: Any, format: Format, tensor: Any, known: Mapping[frozenset[str], np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """Return the singular values of a tensor's matricization at every cut of its tree, on the host.

    `known` are those of some cuts, by the open indices on either side.
    """
    network, found = tree_of(format, tensor), {}
    axes = network.outputs if format.stack_index else ("stack", *network.outputs)
    cuts = set(trees.cuts(network, network.factor_shapes).values())
    for bond, beyond in trees.far_sides(network).items():
        if bond not in cuts:
            continue
        if known and frozenset(beyond) in known:
            found[bond] = known[frozenset(beyond)]
            continue
        order = sorted(range(len(axes)), key=lambda axis: axes[axis] in beyond)
        rows = math.prod(int(tensor.shape[axis]) for axis in order if axes[axis] not in beyond)
        matrix = backend.reshape(backend.transpose(tensor, tuple(order)), (rows, -1))
        found[bond] = np.asarray(backend.to_numpy(singular_values(backend, matrix)), dtype=float)
    return found


def truncated_sizes(
    network: Network, values: Values, n_param: int = 0, error: float = 1.0, bounds: Mapping[str, int] | None = None
) -> tuple[dict[str, int], float]:
    r"""Return sizes of the bonds of a tree with at most `n_param` parameters, or at most a relative error; and the error.

    From the largest sizes, within `bounds`, the cut is truncated next that loses least for a parameter. The estimated squared
    error of sizes r is ``1 - prod_c (1 - t_c(r_c))`` with the relative squared error ``t_c`` of truncating only the cut c: as
    if every truncation kept the same share of any part of the tensor. Parameters that the last truncation saved in excess
    are spent.
    """
    cuts = trees.cuts(network, network.factor_shapes)
    members = [[cuts[index] for index in indices if index in cuts] for indices in network.factors]
    fixed = [math.prod(network.size[index] for index in indices if index not in cuts) for indices in network.factors]
    # -log(1 - t_c(r)) for r = 0, 1, ..., with the least number for log(0).
    loss = {}
    for cut in sorted(set(cuts.values())):
        squares = (values[cut] / (values[cut][0] or 1.0)) ** 2
        kept = np.append(0.0, np.cumsum(squares)) / (squares.sum() or 1.0)
        loss[cut] = -np.log(np.maximum(np.minimum(kept, 1.0), np.finfo(float).tiny))
    sizes = {cut: len(one) - 1 for cut, one in loss.items()}
    for bond, cut in cuts.items():
        sizes[cut] = min(sizes[cut], (bounds or {}).get(bond, sizes[cut]))

    def count(changed: Mapping[str, int]) -> int:
        ranks = {**sizes, **changed}
        return sum(size * math.prod(ranks[cut] for cut in own) for size, own in zip(fixed, members))

    def change(cut: str, size: int) -> tuple[float, float, str, int]:
        """Return the change of the loss for a parameter, the change of the loss, the cut and its new size."""
        lost = float(loss[cut][size] - loss[cut][sizes[cut]])
        return lost / max(abs(count({cut: size}) - count({})), 1), lost, cut, size

    most = -math.log(max(1 - error**2, np.finfo(float).tiny))
    spent = sum(float(loss[cut][size]) for cut, size in sizes.items())
    while count({}) > n_param:
        smaller = [(cut, size - step) for cut, size in sizes.items() if size > 1 for step in {1, max(1, size // STEPS)}]
        steps = [one for one in (change(*one) for one in smaller) if spent + one[1] <= most]
        if not steps:
            break
        _, lost, cut, sizes[cut] = min(steps)
        spent += lost
    while n_param:
        larger = [(cut, size + 1) for cut, size in sizes.items() if size + 1 < len(loss[cut])]
        steps = [change(*one) for one in larger if count(dict([one])) <= n_param]
        if not steps:
            break
        _, _, cut, sizes[cut] = min(steps)
    lost = sum(float(loss[cut][size]) for cut, size in sizes.items())
    return {bond: sizes[cut] for bond, cut in cuts.items()}, math.sqrt(-math.expm1(-lost))


def _rank_of(problem: Problem, sizes: Mapping[str, int]) -> Any:
    return problem.format.rank_from_sizes(tree_of(problem.format, problem.tensor).size | dict(sizes), len(problem.modes))


def _column(problem: Problem) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return problem.modes, (1,) * len(problem.modes)
