"""Tensor-train decomposition by successive singular value decompositions."""

import math
from typing import Any

from tensorly_rnn._svd import truncated_svd
from tensorly_rnn.decomposition._problem import Problem


def tensor_train_svd(problem: Problem) -> list[Any]:
    """Split off one mode after the other (TT-SVD); see `tensorly_rnn.decomposition.tensor_train`.

    Core k has the shape (rank[k-1], p_k, rank[k]); ranks are less than given where the tensor has no more.
    """
    tensor = problem.backend.reshape(problem.tensor, (1, *problem.modes, 1))
    return split_chain(problem.backend, tensor, problem.rank[1:-1], problem.max_error)


def split_chain(backend: Any, tensor: Any, inner_ranks: tuple[int, ...], max_error: float = 0.0) -> list[Any]:
    """Split a tensor of shape (r_0, p_1, ..., p_d, r_d) into d cores of these ranks, or of less within `max_error`."""
    *modes, end = tensor.shape[1:]
    left = tensor.shape[0]
    rest = tensor
    cores = []
    # The squares of the errors of the d - 1 truncations add up: each gets the same share.
    share = max_error / math.sqrt(max(1, len(inner_ranks)))
    for mode, rank in zip(modes, inner_ranks):
        basis, rest = truncated_svd(backend, backend.reshape(rest, (left * mode, -1)), rank, share)
        cores.append(backend.reshape(basis, (left, mode, basis.shape[1])))
        left = basis.shape[1]
    return [*cores, backend.reshape(rest, (left, modes[-1], end))]
