"""Truncated singular value decomposition on any backend."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.linalg

from tensorly_rnn._backend import as_dtype, at_least_single, context, frobenius_norm, largest_magnitude, new_array, wider_float

# Entries of the matrix processed at a time.
_PIECE = 2**20
# Rounding of products and bases adds an error of at most this many machine epsilons of the norm.
_ROUNDING = 4
# Smallest ratio of both sides to the size of the sketch for which the sketch is faster.
_SKETCH_PAYS = 12
# A sketch is accepted if further steps would reduce the squared error by at most this fraction.
_NEGLIGIBLE = 4e-4


def truncated_svd(backend: Any, matrix: Any, rank: int, max_error: float = 0.0) -> tuple[Any, Any]:
    """Return ``(U, S Vh)``, shapes (m, r) and (r, n), of the best approximation of an (m, n) matrix of rank at most `rank`.

    With `max_error`, the rank is the smallest with ``||matrix - U (S Vh)||_F <= max_error``, if `rank` allows it. U has
    orthonormal columns. Half precision is computed in single precision. If no LAPACK driver converges, an error is raised.

    Singular vectors are computed for the smaller side only, so that no array as large as the matrix is formed. In single
    precision they are the eigenvectors of ``A A^T`` accumulated in double precision, which resolves singular values to 1e-8 of
    the largest. In double precision (or single, if the backend has no wider type) they come from a QR decomposition without
    Q. The cost is ``O(m n min(m, n))``.

    If the rank is far below both sides and no `max_error` is given, randomized subspace iteration [1]_, algorithm 4.4, takes
    ``O(m n rank)``. It is used if its error is within 0.1 % of the best.

    References
    ----------
    .. [1] Halko, Martinsson, Tropp, Finding structure with randomness, SIAM Review 53(2), 2011.
    """
    rows, columns = matrix.shape
    basis, rest = left_basis(backend, backend.reshape(matrix, (1, rows, columns)), 1, rank, max_error)
    return basis, rest[0]


def left_basis(backend: Any, tensor: Any, axis: int, rank: int, max_error: float = 0.0) -> tuple[Any, Any]:
    """Return an orthonormal basis, shape ``(tensor.shape[axis], r)``, of the leading part of one axis, and the tensor in it.

    `rank` and `max_error` are those of `truncated_svd`; the axis has size r in the result.
    """
    shape = tuple(tensor.shape)
    before, size, after = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    slabs = at_least_single(backend, backend.reshape(tensor, (before, size, after)))
    rank = min(rank, size, before * after)
    small_side = min(size, before * after)
    right = None
    if max_error == 0.0 and _SKETCH_PAYS * _sketch_size(rank) <= small_side:
        right = _leading_right_vectors(backend, _unfolded(backend, slabs), rank)
    if right is None and size > small_side:
        unfolded = _unfolded(backend, slabs)
        values, vectors = _spectrum(backend, backend.reshape(unfolded, (size, small_side, 1)))
        right = new_array(backend, vectors[:, : _needed_rank(backend, slabs, values, rank, max_error)], slabs)
    if right is not None:
        basis, _ = backend.qr(backend.matmul(_unfolded(backend, slabs), right))  # (p, r)
    else:
        values, vectors = _spectrum(backend, slabs)
        basis = new_array(backend, vectors[:, : _needed_rank(backend, slabs, values, rank, max_error)], slabs)
    rest = backend.reshape(_projected(backend, slabs, basis), (*shape[:axis], basis.shape[1], *shape[axis + 1 :]))
    return as_dtype(backend, basis, tensor.dtype), as_dtype(backend, rest, tensor.dtype)


def singular_values(backend: Any, matrix: Any) -> Any:
    """Return all ``min(m, n)`` singular values of a matrix of shape (m, n), in descending order, with its dtype."""
    rows, columns = matrix.shape
    slabs = backend.reshape(at_least_single(backend, matrix), (rows, columns, 1) if rows > columns else (1, rows, columns))
    double = wider_float(backend, slabs)
    if double is None:
        values, _ = _decomposed(backend, slabs, _triangle(backend, slabs).T, _values_by_svd)
    else:
        squares, _ = _decomposed(backend, slabs, _gram(backend, slabs, double), _values_by_eigh)
        values = np.sqrt(np.maximum(squares, 0.0))
    return new_array(backend, values, matrix)


def _needed_rank(backend: Any, array: Any, values: np.ndarray, rank: int, max_error: float) -> int:
    """Return the smallest rank, from 1 to `rank`, for which the norm of the other singular values is at most `max_error`.

    The rounding error of the array's dtype is subtracted first.
    """
    if max_error == 0.0 or values[0] == 0.0:
        return rank if max_error == 0.0 else min(rank, 1)
    scaled = values / values[0]
    rounding = _ROUNDING * float(backend.eps(array.dtype)) * np.linalg.norm(scaled)
    if max_error / values[0] <= rounding:
        return rank
    truncation = math.sqrt((max_error / values[0]) ** 2 - rounding**2)
    errors = np.sqrt(np.cumsum(scaled[::-1] ** 2))
    return max(1, min(rank, int(np.count_nonzero(errors > truncation))))


def _spectrum(backend: Any, slabs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return singular values, descending, and left singular vectors, on the host in double precision.

    The matrix is the unfolding (p, before * after) of an array of shape (before, p, after), with p at most the other side.
    """
    double = wider_float(backend, slabs)
    if double is None:
        # A^T = Q R, so A = R^T Q^T has the singular values and left vectors of R^T.
        return _decomposed(backend, slabs, _triangle(backend, slabs).T, _by_svd)
    values, vectors = _decomposed(backend, slabs, _gram(backend, slabs, double), _by_eigh)
    return np.sqrt(np.maximum(values, 0.0)), vectors


def _gram(backend: Any, slabs: Any, dtype: Any) -> np.ndarray:
    """Return ``A A^T`` in a wider dtype, in which the products of the entries are exact."""
    total = 0.0
    for piece in _pieces(backend, slabs):
        wide = backend.tensor(piece, **{**context(backend, piece), "dtype": dtype})
        total = total + backend.matmul(wide, backend.transpose(wide, (1, 0)))
    return np.asarray(backend.to_numpy(total))


def _triangle(backend: Any, slabs: Any) -> np.ndarray:
    """Return R of ``A^T = Q R``, by pieces: R of stacked pieces is R of their stacked Rs."""
    triangle = None
    for piece in _pieces(backend, slabs):
        columns = backend.transpose(piece, (1, 0))
        stacked = columns if triangle is None else backend.concatenate([triangle, columns], axis=0)
        _, triangle = backend.qr(stacked)
    return np.asarray(backend.to_numpy(triangle), dtype=float)


def _pieces(backend: Any, slabs: Any) -> Iterator[Any]:
    """Yield blocks of columns (p, c) of the unfolding (p, before * after) of an array of shape (before, p, after)."""
    before, size, after = slabs.shape
    most = max(2 * size, _PIECE // size)
    step = min(after, most)
    batch = max(1, most // step)
    for start in range(0, before, batch):
        for column in range(0, after, step):
            piece = slabs[start : start + batch, :, column : column + step]
            yield backend.reshape(backend.transpose(piece, (1, 0, 2)), (size, -1))


def _by_eigh(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, vectors = np.linalg.eigh(gram)
    return values[::-1].copy(), vectors[:, ::-1].copy()


def _by_svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    vectors, values, _ = np.linalg.svd(matrix, full_matrices=False)
    return values, vectors


def _values_by_eigh(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.linalg.eigvalsh(gram)[::-1].copy()
    return values, values


def _values_by_svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = np.linalg.svd(matrix, compute_uv=False)
    return values, values


def _by_other_driver(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # The singular values of A A^T are its eigenvalues.
    vectors, values, _ = scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")
    return values, vectors


def _decomposed(backend: Any, array: Any, small: np.ndarray, first: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the decomposition of a small matrix, derived from `array`, by the first LAPACK driver that converges."""
    for driver in (first, _by_other_driver):
        try:
            values, vectors = driver(small)
        except (np.linalg.LinAlgError, ValueError):
            continue
        if np.isfinite(values).all() and np.isfinite(vectors).all():
            return values, vectors
    largest = largest_magnitude(backend, array)
    before, size, after = array.shape
    if math.isfinite(largest):
        found = f"finite entries of magnitude up to {largest:.3g}. Scale it to magnitudes near 1 or use double precision."
    else:
        found = "NaN or infinite entries. Look for where they come from."
    raise ValueError(
        "matrix must have singular values that LAPACK can compute; expected one of two drivers to converge, "
        f"got neither for shape {(size, before * after)} with {found}"
    )


def _sketch_size(rank: int) -> int:
    return 2 * rank + 10


def _leading_right_vectors(backend: Any, matrix: Any, rank: int) -> Any:
    """Return V, shape (n, rank), such that the range of A V is nearly optimal; None if the iteration converges slowly.

    With orthonormal Q, ``Q^T A = u diag(s) V^T``, and U = Q u, the columns of V capture more of A than those of U by
    ``||A V||^2 - ||s||^2 = ||A V - U diag(s)||^2``, free of cancellation: the gain of half a step.
    """
    across = backend.transpose(matrix, (1, 0))
    # With a fixed seed the result depends on the matrix only.
    start = np.random.default_rng(0).normal(size=(matrix.shape[0], _sketch_size(rank)))
    q, _ = backend.qr(new_array(backend, start, matrix))
    whole = frobenius_norm(backend, matrix) ** 2
    rounding = 2 * _ROUNDING * float(backend.eps(matrix.dtype))
    # With more steps the Gram matrix would be as cheap.
    for step in range(min(matrix.shape) // (3 * start.shape[1])):
        y, triangle = backend.qr(backend.matmul(across, q))  # (n, l), (l, l)
        small = np.asarray(backend.to_numpy(triangle), dtype=float).T
        try:
            u, s, vh = np.linalg.svd(small)
        except np.linalg.LinAlgError:
            return None
        v = new_array(backend, vh[:rank].T, matrix)
        image = backend.matmul(matrix, y)  # (m, l)
        found = backend.matmul(q, new_array(backend, u[:, :rank] * s[:rank], matrix))
        gain = frobenius_norm(backend, backend.matmul(image, v) - found) ** 2
        captured = float(np.sum(s[:rank] ** 2))
        # Two lower bounds of the smallest squared error: the values beyond the rank, and the part that is not captured, which
        # single precision resolves to 1e-4 of the total.
        error = max(float(np.sum(s[rank:] ** 2)), whole - captured - 1e-4 * whole)
        # Slow convergence gains little in each step, but over more steps; a component that is nearly orthogonal to the random
        # start gains little at first.
        if step >= 2 and gain <= _NEGLIGIBLE * error / (2 * step + 2) + rounding**2 * captured:
            return backend.matmul(y, v)
        q, _ = backend.qr(image)
    return None


def _unfolded(backend: Any, slabs: Any) -> Any:
    """Return the unfolding (p, before * after) of an array of shape (before, p, after)."""
    before, size, after = slabs.shape
    return backend.reshape(backend.transpose(slabs, (1, 0, 2)), (size, before * after))


def _projected(backend: Any, slabs: Any, basis: Any) -> Any:
    """Return the array with its middle axis multiplied by the transposed basis, shape (before, r, after)."""
    before, size, after = slabs.shape
    rank = basis.shape[1]
    # One product without a copy if the axis is the first or the last.
    if after == 1:
        return backend.reshape(backend.matmul(backend.reshape(slabs, (before, size)), basis), (before, rank, 1))
    across = backend.transpose(basis, (1, 0))
    if before == 1:
        return backend.reshape(backend.matmul(across, slabs[0]), (1, rank, after))
    return backend.matmul(across, slabs)
