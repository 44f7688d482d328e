"""Tensor-ring decomposition: second-order fit, started from singular value decompositions around the ring."""

import math
from dataclasses import replace
from typing import Any

from tensorly_rnn._backend import new_array
from tensorly_rnn._svd import truncated_svd
from tensorly_rnn.decomposition._registry import Problem, decomposes, truncates
from tensorly_rnn.decomposition._tensor_train import split_chain
from tensorly_rnn.decomposition.fit import fit
from tensorly_rnn.decomposition.rank_search import least_rank


@decomposes("tr", keeps_error=True, methods=("als",))
def tensor_ring(problem: Problem) -> list[Any]:
    r"""Fit all cores of the ring together.

    ``T[i1..id] ~ sum_{r0..r(d-1)} core_1[r0, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, r0]``

    Parameters
    ----------
    problem : Problem
        Tensor of shape (p_1, ..., p_d) and ranks around the ring, first and last the same; with an error, upper bounds.

    Returns
    -------
    list of arrays, core k of shape (rank[k-1], p_k, rank[k])
        Of the ranks asked for, but none above the largest rank of a chain that holds any tensor; in a ring of end rank 1,
        which is a chain, none above what its cut allows.

    Notes
    -----
    With an error the search chooses the ranks, the split of the first rank between the two bonds of the first core
    included. The chain, a ring of end rank 1, is its upper end: a bound of 1 on the ends asks for one.

    References
    ----------
    .. [1] Zhao et al., Tensor ring decomposition, arXiv:1606.05535, 2016, algorithms 1 and 2.
    """
    return least_rank(problem, fitted_ring, chain) if problem.error else fitted_ring(problem)


def fitted_ring(problem: Problem) -> list[Any]:
    """Fit a ring of the problem's ranks."""
    most = max(problem.format.full_rank((problem.modes, (1,) * len(problem.modes))))
    return fit(replace(problem, rank=tuple(min(rank, most) for rank in problem.rank)), ring_svd)


@truncates("tr")
def chain(problem: Problem) -> list[Any]:
    """Return the ring of end rank 1 that keeps the error by successive singular value decompositions."""
    bounds = (math.prod(problem.modes),) * (len(problem.modes) - 1) if problem.rank_is_free else problem.rank[1:-1]
    tail = problem.error / math.sqrt(max(1, len(problem.modes) - 1))
    return split_chain(problem.backend, problem.backend.reshape(problem.tensor, (1, *problem.modes, 1)), bounds, tail)


def ring_svd(problem: Problem) -> list[Any]:
    """Open the ring by one singular value decomposition and split the rest as a chain.

    Where a decomposition gives fewer ranks than asked for, small random entries open the directions that are missing.
    """
    backend, ranks = problem.backend, problem.rank
    if ranks[0] == 1:
        return split_chain(backend, backend.reshape(problem.tensor, (1, *problem.modes, 1)), ranks[1:-1])
    first, *others = problem.modes
    basis, rest = truncated_svd(backend, backend.reshape(problem.tensor, (first, -1)), ranks[0] * ranks[1])
    left, right = _split(basis.shape[1], ranks[0], ranks[1])
    core = backend.transpose(backend.reshape(basis[:, : left * right], (first, left, right)), (1, 0, 2))
    opened = backend.transpose(backend.reshape(rest[: left * right], (left, right, -1)), (1, 2, 0))
    cores = [core, *split_chain(backend, backend.reshape(opened, (right, *others, left)), ranks[2:-1])]
    for number, rank in enumerate(ranks[1:]):
        after = (number + 1) % len(cores)
        cores[number] = _widened(problem, cores[number], 2, rank)
        cores[after] = _widened(problem, cores[after], 0, rank)
    return cores


def _split(available: int, left: int, right: int) -> tuple[int, int]:
    """Split a rank between the two bonds of the first core: the largest product that is available, the most even of them."""
    pairs = [(one, min(right, available // one)) for one in range(1, min(left, available) + 1)]
    return max(pairs, key=lambda pair: (pair[0] * pair[1], min(pair)))


def _widened(problem: Problem, array: Any, axis: int, size: int) -> Any:
    """Append small random entries along an axis, up to `size`."""
    missing = size - array.shape[axis]
    if missing <= 0:
        return array
    shape = tuple(missing if k == axis else n for k, n in enumerate(array.shape))
    # A tenth of the entries there are, and less for many, so that together they do not outweigh these.
    scale = 0.1 * float(problem.backend.norm(array)) * (array.shape[axis] / size / math.prod(array.shape)) ** 0.5
    noise = new_array(problem.backend, scale * problem.generator.standard_normal(shape), array)
    return problem.backend.concatenate([array, noise], axis=axis)
