"""Tensor-ring decomposition: second-order fit, started from singular value decompositions around the ring."""

import math
from dataclasses import replace
from typing import Any

from tensorly_rnn._backend import new_array
from tensorly_rnn._svd import truncated_svd
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition._tensor_train import split_chain
from tensorly_rnn.decomposition.fitting.fit import fit
from tensorly_rnn.decomposition.rank_search import least_rank


def tensor_ring(problem: Problem) -> list[Any]:
    """Fit all cores of the ring together; see `tensorly_rnn.decomposition.tensor_ring`.

    Core k has the shape (rank[k-1], p_k, rank[k]); no rank is above the largest rank of a chain that holds any tensor. With
    an error the given ranks are upper bounds, and the search also splits the first rank between the two bonds of the first
    core. It starts from the chain, a ring of end rank 1.
    """
    return least_rank(problem, fitted_ring, chain) if problem.max_error else fitted_ring(problem)


def fitted_ring(problem: Problem) -> list[Any]:
    """Fit a ring of the problem's ranks."""
    most = max(problem.format.full_rank((problem.modes, (1,) * len(problem.modes))))
    return fit(replace(problem, rank=tuple(min(rank, most) for rank in problem.rank)), ring_svd)


def chain(problem: Problem) -> list[Any]:
    """Return the ring of end rank 1 that keeps the error by successive singular value decompositions."""
    bounds = (math.prod(problem.modes),) * (len(problem.modes) - 1) if problem.rank_is_free else problem.rank[1:-1]
    tensor = problem.backend.reshape(problem.tensor, (1, *problem.modes, 1))
    return split_chain(problem.backend, tensor, bounds, problem.max_error)


def ring_svd(problem: Problem) -> list[Any]:
    """Open the ring by one singular value decomposition and split the rest as a chain.

    Where a decomposition gives lower ranks than the given ones, small random entries fill the missing directions.
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
    """Split a rank between the two bonds of the first core: the largest product available, as evenly as possible."""
    pairs = [(one, min(right, available // one)) for one in range(1, min(left, available) + 1)]
    return max(pairs, key=lambda pair: (pair[0] * pair[1], min(pair)))


def _widened(problem: Problem, array: Any, axis: int, size: int) -> Any:
    """Append small random entries along an axis, up to `size`."""
    missing = size - array.shape[axis]
    if missing <= 0:
        return array
    shape = tuple(missing if k == axis else n for k, n in enumerate(array.shape))
    # A tenth of the present entries, and less where many are missing, so that they do not dominate.
    scale = 0.1 * float(problem.backend.norm(array)) * (array.shape[axis] / size / math.prod(array.shape)) ** 0.5
    noise = new_array(problem.backend, scale * problem.generator.standard_normal(shape), array)
    return problem.backend.concatenate([array, noise], axis=axis)
