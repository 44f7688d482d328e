"""Tensor-ring decomposition: singular value decompositions around the ring, refined by alternating least squares."""

from typing import Any

from tensorly_rnn._backend import new_array
from tensorly_rnn.decomposition._registry import Problem, decomposes
from tensorly_rnn.decomposition._svd import truncated_svd
from tensorly_rnn.decomposition.alternating_least_squares import alternating_least_squares
from tensorly_rnn.decomposition.tensor_train import split_chain


@decomposes("tr")
def tensor_ring(problem: Problem) -> list[Any]:
    r"""Open the ring by one singular value decomposition, split the rest as a chain, then refine.

    ``T[i1..id] ~ sum_{r0..r(d-1)} core_1[r0, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, r0]``

    Parameters
    ----------
    problem : Problem
        Tensor of shape (p_1, ..., p_d) and ranks around the ring, first and last the same.

    Returns
    -------
    list of arrays, core k of shape (rank[k-1], p_k, rank[k])
        Of the ranks asked for: where a decomposition gives fewer, small random entries open the directions that the
        refinement then uses.

    References
    ----------
    .. [1] Zhao et al., Tensor ring decomposition, arXiv:1606.05535, 2016, algorithms 1 and 2.
    """
    backend, ranks = problem.backend, problem.rank
    if ranks[0] == 1:
        return alternating_least_squares(
            problem, split_chain(backend, backend.reshape(problem.tensor, (1, *problem.modes, 1)), ranks[1:-1])
        )
    first, *others = problem.modes
    unfolded = backend.reshape(problem.tensor, (first, -1))
    basis, rest = truncated_svd(backend, unfolded, ranks[0] * ranks[1])
    basis = _widened(problem, basis, 1, ranks[0] * ranks[1])
    rest = _widened(problem, rest, 0, ranks[0] * ranks[1])
    core = backend.transpose(backend.reshape(basis, (first, ranks[0], ranks[1])), (1, 0, 2))
    opened = backend.reshape(rest, (ranks[0], ranks[1], -1))
    opened = backend.reshape(backend.transpose(opened, (1, 2, 0)), (ranks[1], *others, ranks[0]))
    cores = [core, *split_chain(backend, opened, ranks[2:-1])]
    for number in range(1, len(cores) - 1):
        cores[number] = _widened(problem, cores[number], 2, ranks[number + 1])
        cores[number + 1] = _widened(problem, cores[number + 1], 0, ranks[number + 1])
    return alternating_least_squares(problem, cores)


def _widened(problem: Problem, array: Any, axis: int, size: int) -> Any:
    """Append small random entries along an axis, up to `size`."""
    missing = size - array.shape[axis]
    if missing <= 0:
        return array
    shape = tuple(missing if k == axis else n for k, n in enumerate(array.shape))
    scale = 0.1 * float(problem.backend.norm(array)) / max(1, array.shape[0] * array.shape[-1]) ** 0.5
    noise = new_array(problem.backend, scale * problem.generator.standard_normal(shape), array)
    return problem.backend.concatenate([array, noise], axis=axis)
