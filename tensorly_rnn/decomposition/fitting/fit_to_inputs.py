"""Fit factors to the products of a matrix with given inputs, instead of to its entries."""

import math
import numbers
from typing import Any

import numpy as np
from scipy.optimize import minimize

from tensorly_rnn._backend import at_least_single, detached, is_real_float, new_array, same_backend_and_device
from tensorly_rnn._checks import positive_int
from tensorly_rnn.contraction.execute import plan_vjp
from tensorly_rnn.decomposition._decompose import Settings, decompose
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.network import trees
from tensorly_rnn.network.network import tensor_plan
from tensorly_rnn.tensorize import crop_matrix, pad_axes, pad_matrix

# Least energy of a direction of the inputs, as a share of the strongest one's, where no ridge is above it.
FLOOR = 1e-12


def calibrate(
    f: FactorizedMatrix, matrix: Any, inputs: Any, *, ridge: float = 1e-2, n_iter_max: int = 500
) -> FactorizedMatrix:
    r"""Refit factors to the products of the dense matrix with given inputs.

    Minimizes ``sum_b ||(W - f) x_b||^2 + ridge * c * ||W - f||_F^2`` over all factors together, from those given, with
    ``c = sum_b ||x_b||^2 / columns``, the mean eigenvalue of ``X^T X``.

    Parameters
    ----------
    f : FactorizedMatrix
        Start, for example `factorize(matrix, ...)`. Not changed.
    matrix : array of f's backend and device, shape `f.shape`
        The dense matrix W.
    inputs : array of f's backend and device, shape (..., columns), floating point
        Typical inputs: rows x_b, all leading axes merged.
    ridge : float
        Weight of the entries relative to the outputs. It determines the directions that the inputs do not contain, and
        limits overfitting to few inputs.
    n_iter_max : int
        Most steps.

    Returns
    -------
    FactorizedMatrix
        Of f's class, rank, shape, backend, dtype and device; the objective is at most that of f.

    Raises
    ------
    TypeError, ValueError
        If an array is of another backend, device or shape or not finite, or an argument is of the wrong form.

    Notes
    -----
    Where one mode has all inputs and the format has no loops, as with rows and columns in modes apart, ``W C`` is decomposed
    first, with ``C C^T = X^T X + ridge c`` [1]_. With one mode each for rows and columns this is the minimum at that rank.
    Otherwise L-BFGS follows, on the host in double precision. Every step takes a reconstruction,
    ``4 rows columns min(columns, batch)`` operations, and the gradient of the reconstruction. More inputs than columns are
    replaced by the triangle R of their QR decomposition, ``R^T R = X^T X``.

    References
    ----------
    .. [1] Wang et al., SVD-LLM: truncation-aware singular value decomposition for large language model compression, ICLR
       2025: the same for a product of two factors, solved in the basis of a Cholesky factor of ``X^T X``.

    Examples
    --------
    >>> import numpy as np
    >>> from tensorly_rnn import factorize
    >>> rng = np.random.default_rng(0)
    >>> weight, inputs = rng.normal(size=(12, 16)), rng.normal(size=(200, 16)) * 0.7 ** np.arange(16)
    >>> f = factorize(weight, "tt", ((4, 3), (4, 4)), rank=4)
    >>> refitted = calibrate(f, weight, inputs)
    >>> [round(float(np.linalg.norm(inputs @ weight.T - one.apply(inputs)) / np.linalg.norm(inputs @ weight.T)), 2)
    ...  for one in (f, refitted)]
    [0.62, 0.2]
    """
    if not isinstance(f, FactorizedMatrix):
        raise TypeError(f"f must be a factorized matrix; got {type(f).__name__}. Start with factorize.")
    arrays = {"f.factors[0]": f.factors[0], "matrix": matrix, "inputs": inputs}
    backend = same_backend_and_device(arrays)
    if tuple(matrix.shape) != f.shape:
        raise ValueError(f"matrix must have the shape of f; expected {f.shape}, got {tuple(matrix.shape)}.")
    if len(inputs.shape) < 1 or inputs.shape[-1] != f.shape[1] or 0 in tuple(inputs.shape):
        raise ValueError(
            f"inputs must be rows of the matrix's columns, one or more; expected (..., {f.shape[1]}), "
            f"got {tuple(inputs.shape)}."
        )
    for argument, array in arrays.items():
        if not is_real_float(array):
            raise TypeError(f"{argument} must be real floating point; got {array.dtype}. Convert it.")
    n_iter_max = positive_int("n_iter_max", n_iter_max)
    if isinstance(ridge, bool) or not isinstance(ridge, numbers.Real) or not 0 <= ridge < math.inf:
        raise ValueError(f"ridge must be a finite number of at least 0; got {ridge!r}.")
    factors, dense, rows = ([_on_host(backend, one) for one in some] for some in (f.factors, [matrix], [inputs]))
    for argument, one in (("matrix", dense[0]), ("inputs", rows[0])):
        if not np.isfinite(one).all():
            raise ValueError(f"{argument} must be finite; expected numbers, got NaN or infinity.")
    on_host = f.in_format(f.format, factors, f.shape)
    found = _fitted(on_host, dense[0], merged_rows(None, rows[0]), float(ridge), n_iter_max)
    return f.in_format(f.format, [new_array(backend, one, f.factors[0]) for one in found], f.shape)


def merged_rows(rows: np.ndarray | None, more: np.ndarray) -> np.ndarray:
    """Add inputs, shape (..., columns), to rows with the same products ``X^T X``, at most twice as many as columns."""
    flat = np.asarray(more, dtype=np.float64).reshape(-1, more.shape[-1])
    stacked = flat if rows is None else np.concatenate([rows, flat])
    if stacked.shape[0] <= 2 * stacked.shape[1]:
        return stacked
    triangle: Any = np.linalg.qr(stacked, mode="r")
    return triangle


def _fitted(f: FactorizedMatrix, matrix: np.ndarray, rows: np.ndarray, ridge: float, n_iter_max: int) -> list[np.ndarray]:
    network, factors = f.network, f.factors
    # The mean eigenvalue of X^T X becomes 1, and the objective of zero factors 1/2.
    mean = float(np.sum(rows * rows)) / rows.shape[1]
    rows = rows / math.sqrt(mean) if mean else rows

    def weighted(difference: np.ndarray) -> np.ndarray:
        return (difference @ rows.T) @ rows + ridge * difference

    norm = math.sqrt(float(np.sum(matrix * weighted(matrix))))
    if norm == 0.0:
        return list(factors)
    target, share = matrix / norm, norm ** (1 / len(factors))
    ends = np.cumsum([one.size for one in factors])[:-1]

    def parts(point: np.ndarray) -> list[np.ndarray]:
        return [one.reshape(shape) for one, shape in zip(np.split(point, ends), network.factor_shapes)]

    def flat(arrays: list[np.ndarray]) -> np.ndarray:
        return np.concatenate([one.reshape(-1) for one in arrays])

    def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
        padded, pull_back = plan_vjp(NUMPY, tensor_plan(network), parts(point), network.shape)
        difference = crop_matrix(NUMPY, padded, f.shape, f.stack) - target
        of_dense = weighted(difference)
        loss = 0.5 * float(np.sum(difference * of_dense))
        return loss, flat(pull_back(pad_matrix(NUMPY, of_dense, network.shape, f.stack)))

    starts = [factors]
    if sum(size > 1 for size in network.in_modes) <= 1 and trees.is_tree(network):
        starts.append(_decomposed_in_even_basis(f, matrix, rows, ridge))
    start = min((flat([one / share for one in some]) for some in starts), key=lambda point: loss_and_gradient(point)[0])
    if len(starts) > 1 and sum(size > 1 for size in (f.stack, *(m * n for m, n in zip(*f.tensorized_shape)))) <= 2:
        return [one * share for one in parts(start)]  # the singular value decomposition, which is the best
    found = minimize(
        loss_and_gradient, start, jac=True, method="L-BFGS-B", options={"maxiter": n_iter_max, "gtol": 1e-8, "maxcor": 20}
    )
    # A failed line search may end above its start.
    best = found.x if found.fun <= loss_and_gradient(start)[0] else start
    return [one * share for one in parts(best)]


def _decomposed_in_even_basis(f: FactorizedMatrix, matrix: np.ndarray, rows: np.ndarray, ridge: float) -> list[np.ndarray]:
    r"""Decompose ``W C`` at the rank of f, with ``C C^T = X^T X + ridge``, and multiply by the inverse of C.

    The objective is ``||(W - f) C||_F^2``: in the basis C all directions of the inputs have the same energy. One factor has
    all inputs, so that it takes the inverse.
    """
    values, vectors = np.linalg.eigh(rows.T @ rows)
    scales = np.sqrt(np.maximum(values + ridge, FLOOR * values[-1]))
    options = f.format.fields | ({"root_rank": f.stack} if f.format.stack_index else {})
    # With an error the rank is an upper bound, and no warning is given where less suffices.
    settings = Settings(eps=np.finfo(float).eps)
    weighted = matrix @ (vectors * scales)
    even = decompose(NUMPY, "matrix", weighted, f.format.name, f.tensorized_shape, f.rank, settings, options)
    network, factors = f.network, list(even.factors)
    index = max(network.inputs, key=network.size.__getitem__)
    number = next(k for k, indices in enumerate(network.factors) if index in indices)
    axis = network.factors[number].index(index)
    inverse = np.eye(network.size[index])
    inverse[: len(values), : len(values)] = (vectors / scales).T
    factors[number] = np.moveaxis(np.tensordot(factors[number], inverse, axes=([axis], [0])), -1, axis)
    return [pad_axes(NUMPY, one, shape) for one, shape in zip(factors, network.factor_shapes)]


def _on_host(backend: Any, array: Any) -> np.ndarray:
    return np.array(backend.to_numpy(at_least_single(backend, detached(array))), dtype=np.float64)
