"""Tensor-train decomposition by successive singular value decompositions."""

import math
from typing import Any

from tensorly_rnn._svd import truncated_svd
from tensorly_rnn.decomposition._registry import Problem, decomposes, truncates


@truncates("tt")
@decomposes("tt", keeps_error=True)
def tensor_train_svd(problem: Problem) -> list[Any]:
    r"""Split off one mode after the other (TT-SVD).

    ``T[i1..id] ~ sum_{r1..r(d-1)} core_1[1, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, 1]``

    Parameters
    ----------
    problem : Problem
        Tensor of shape (p_1, ..., p_d) and ranks along the chain.

    Returns
    -------
    list of arrays, core k of shape (rank[k-1], p_k, rank[k])
        Ranks are less than asked where the tensor has no more.

    Notes
    -----
    The error is at most ``sqrt(d - 1)`` times that of the best approximation of these ranks [1]_, Corollary 2.4.
    An error asked for is divided evenly over the truncations.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011, algorithm 1.
    """
    chain = problem.backend.reshape(problem.tensor, (1, *problem.modes, 1))
    # The squares of the errors of the d - 1 truncations add up.
    tail = problem.error / math.sqrt(max(1, len(problem.modes) - 1))
    return split_chain(problem.backend, chain, problem.rank[1:-1], tail)


def split_chain(backend: Any, tensor: Any, inner_ranks: tuple[int, ...], tail: float = 0.0) -> list[Any]:
    """Split a tensor of shape (r_0, p_1, ..., p_d, r_d) into d cores with these ranks between them, or less by `tail`."""
    *modes, end = tensor.shape[1:]
    left = tensor.shape[0]
    rest = tensor
    cores = []
    for mode, rank in zip(modes, inner_ranks):
        basis, rest = truncated_svd(backend, backend.reshape(rest, (left * mode, -1)), rank, tail)
        cores.append(backend.reshape(basis, (left, mode, basis.shape[1])))
        left = basis.shape[1]
    return [*cores, backend.reshape(rest, (left, modes[-1], end))]
