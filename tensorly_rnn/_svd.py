"""Truncated singular value decomposition on the backend it is given."""

from typing import Any

import numpy as np


def truncated_svd(backend: Any, matrix: Any, rank: int, tail: float = 0.0) -> tuple[Any, Any]:
    """Return ``(U, S Vh)`` of the best approximation of at most that rank; their product is the approximation.

    With a `tail`, of the least rank whose error ``||matrix - approximation||_F`` is at most that.

    A wide or tall matrix goes through a QR decomposition first, so that only a small square one meets the SVD.

    Parameters
    ----------
    backend : TensorLy backend of the matrix
    matrix : array, shape (m, n)
    rank : int
    tail : float

    Returns
    -------
    (array, array), shapes (m, r) and (r, n), with ``r <= min(rank, m, n)``
        The first has orthonormal columns.
    """
    rows, columns = matrix.shape
    rank = min(rank, rows, columns)
    if columns > 2 * rows:
        q, r = backend.qr(backend.transpose(matrix, (1, 0)))
        u, s, vh = backend.svd(backend.transpose(r, (1, 0)), full_matrices=False)
        rank = _needed_rank(backend, s, rank, tail)
        rest = backend.matmul(vh[:rank], backend.transpose(q, (1, 0)))
    elif rows > 2 * columns:
        q, r = backend.qr(matrix)
        u, s, vh = backend.svd(r, full_matrices=False)
        rank = _needed_rank(backend, s, rank, tail)
        u, rest = backend.matmul(q, u[:, :rank]), vh[:rank]
    else:
        u, s, vh = backend.svd(matrix, full_matrices=False)
        rank = _needed_rank(backend, s, rank, tail)
        rest = vh[:rank]
    return u[:, :rank], backend.reshape(s[:rank], (rank, 1)) * rest


def _needed_rank(backend: Any, values: Any, rank: int, tail: float) -> int:
    """Least rank, 1 or more, that leaves singular values of root sum of squares at most `tail`; `rank` if that is less."""
    if tail == 0.0:
        return rank
    found = np.asarray(backend.to_numpy(values), dtype=float)
    left_over = np.sqrt(np.cumsum(found[::-1] ** 2))
    return max(1, min(rank, int(np.count_nonzero(left_over > tail))))


def left_basis(backend: Any, tensor: Any, axis: int, rank: int, tail: float = 0.0) -> tuple[Any, Any]:
    """Return an orthonormal basis of the leading part of one axis, and the tensor projected onto it.

    Parameters
    ----------
    backend : TensorLy backend of the tensor
    tensor : array
    axis : int
        The axis to compress.
    rank : int
    tail : float
        As in `truncated_svd`.

    Returns
    -------
    (array, array)
        Basis of shape ``(tensor.shape[axis], r)``, ``r <= rank``; the tensor with that axis of size r.
    """
    shape = tuple(tensor.shape)
    order = len(shape)
    to_front = (axis, *(k for k in range(order) if k != axis))
    unfolded = backend.reshape(backend.transpose(tensor, to_front), (shape[axis], -1))
    basis, rest = truncated_svd(backend, unfolded, rank, tail)
    core = backend.reshape(rest, (rest.shape[0], *(shape[k] for k in to_front[1:])))
    back = tuple(sorted(range(order), key=to_front.__getitem__))
    return basis, backend.transpose(core, back)
