"""From a dense matrix to factors, in any format."""

import math
import numbers
import warnings
from typing import Any

from tensorly_rnn._backend import at_least_single, backend_of, context, detached, is_real_float, largest_magnitude
from tensorly_rnn._checks import one_of, plain, positive_int
from tensorly_rnn.decomposition._registry import ALGORITHMS, WITH_ERROR, Problem
from tensorly_rnn.decomposition.alternating_least_squares import alternating_least_squares
from tensorly_rnn.decomposition.progress import Callback, Progress
from tensorly_rnn.formats import FactorizedMatrix, get_format
from tensorly_rnn.formats._random import RandomState, as_generator
from tensorly_rnn.tensorize import pad_matrix, validate_shape, validate_tensorized_shape


def factorize(
    matrix: Any,
    format: str,
    tensorized_shape: Any,
    rank: Any = None,
    *,
    eps: float | None = None,
    method: str = "auto",
    n_starts: int = 1,
    n_iter_max: int = 300,
    tol: float = 1e-6,
    random_state: RandomState = 0,
    init: Any = "svd",
    callback: Callback | None = None,
    verbose: bool = False,
    **options: Any,
) -> FactorizedMatrix:
    r"""Decompose a dense matrix into the factors of a format.

    The matrix is padded with zeros to the product of its modes and seen as a tensor with one axis of size ``m_k n_k`` a
    mode; the format's algorithm decomposes that: TT by successive SVDs, HT by SVDs from the leaves to the root, TR and BT by
    a second-order fit (Levenberg-Marquardt) of the compressed tensor, or by alternating least squares where that has too
    many unknowns, started from SVDs around the ring and from Tucker decompositions of the residual.

    Parameters
    ----------
    matrix : array of NumPy, PyTorch, JAX, ..., shape (rows, columns), floating point
        Not changed. Half precision is worked on in single precision.
    format : str
        One of `available_formats()`.
    tensorized_shape : (tuple of int, tuple of int)
        ``(out_modes, in_modes)``; their products are at least rows and columns.
    rank : 'full', 'same', float, int or the format's own form
        ``'full'`` reproduces any matrix. A rank above what the sizes allow is clipped, with a warning. Default: ``'same'``,
        or as high as `eps` needs.
    eps : float, optional
        Relative error ``||W - f||_F / ||W||_F`` that is kept by the least ranks the algorithm finds; TT and HT. A rank given
        besides is an upper bound, at the error's expense.
    method : {'auto', 'als'}
        How TR and BT are fitted; ``'als'`` takes alternating least squares whatever the size.
    n_starts : int
        Most starts of the second-order fit, the first as above; fewer are made once the fit is exact.
    n_iter_max : int
        Most steps of a fit, or sweeps of alternating least squares.
    tol : float
        Alternating least squares stops when the relative error changes by less.
    random_state : int, Generator, RandomState or None
        For the algorithms that draw something.
    **options
        The format's own (``root_rank`` of HT: rows are then a stack of that many matrices).

    Returns
    -------
    FactorizedMatrix
        Of the format's class, its factors of the matrix's kind, dtype and device, not attached to its autograd graph.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not a finite floating-point array with two axes, the modes multiply to less than its size, or the
        format or rank is of the wrong form.

    Warns
    -----
    UserWarning
        If the rank was clipped; the message gives both ranks.

    Notes
    -----
    The cost is dominated by the first SVD: ``O(rows * columns * p)`` with p the size of the first mode.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.random.default_rng(0).normal(size=(12, 35))
    >>> f = factorize(weight, "ht", ((4, 3), (5, 7)), rank="full")
    >>> bool(f.relative_error(weight) < 1e-13)
    True
    """
    backend, largest = _check_matrix(matrix)
    cls = get_format(format, "factorize")
    modes = validate_tensorized_shape("factorize", tensorized_shape)
    default = "same" if eps is None else "full"
    asked = cls.validate_rank(modes, default if rank is None else rank, **options)
    share_of_error = _check_eps(eps, format)
    n_iter_max = positive_int("factorize", "n_iter_max", n_iter_max)
    n_starts = positive_int("factorize", "n_starts", n_starts)
    one_of("factorize", "method", method, ("auto", "als"))
    if isinstance(tol, bool) or not isinstance(tol, numbers.Real) or not tol >= 0:
        raise ValueError(f"factorize: tol must be a number of at least 0; got {tol!r}.")
    network = cls.make_network(modes, asked)
    stack = network.size[cls.stack_index] if cls.stack_index else 1
    shape = validate_shape("factorize", tuple(int(n) for n in matrix.shape), network.shape, stack)
    working = at_least_single(backend, detached(matrix))
    # Far from 1 the squares of the entries would leave the range of the numbers.
    scale = largest if largest and not 1e-6 < largest < 1e6 else 1.0
    tensor = _as_tensor(backend, working if scale == 1.0 else working / scale, network.shape, modes, stack)
    problem = Problem(
        backend=backend,
        tensor=tensor,
        format=cls,
        rank=asked,
        generator=as_generator("factorize", random_state),
        n_iter_max=n_iter_max,
        tol=float(tol),
        n_starts=n_starts,
        method=method,
        error=share_of_error * float(backend.norm(tensor)) if share_of_error else 0.0,
        rank_is_free=rank is None,
        init=init if isinstance(init, str) else _merged(backend, cls, modes, asked, init),
        progress=Progress(callback, verbose),
    )
    found = ALGORITHMS.get(format, alternating_least_squares)(problem)
    rank_found = problem.rank_of(found)
    if rank_found != asked and eps is None:
        warnings.warn(
            f"factorize: rank was clipped to what the sizes {modes} allow; asked for {plain(asked)}, got {plain(rank_found)}.",
            UserWarning,
            stacklevel=2,
        )
    shapes = cls.make_network(modes, rank_found).factor_shapes
    share = scale ** (1 / len(found))
    factors = [backend.reshape(factor * share, one) for factor, one in zip(found, shapes)]
    if factors[0].dtype != matrix.dtype:
        factors = [backend.tensor(factor, **{**context(backend, factor), "dtype": matrix.dtype}) for factor in factors]
    return cls(factors, shape=shape)


def _check_matrix(matrix: Any) -> tuple[Any, float]:
    """Return the backend of a matrix and its largest magnitude."""
    backend = backend_of("factorize", "matrix", matrix)
    shape = tuple(matrix.shape)
    if len(shape) != 2:
        raise ValueError(f"factorize: matrix must have two axes; expected (rows, columns), got shape {shape}.")
    if 0 in shape:
        raise ValueError(f"factorize: matrix must not be empty; expected at least one row and column, got shape {shape}.")
    if not is_real_float(matrix):
        raise TypeError(
            f"factorize: matrix must be real floating point; expected a float dtype, got {matrix.dtype}. "
            "Convert it first, for example with matrix.astype(float)."
        )
    # NaN or infinite as soon as one entry is.
    largest = largest_magnitude(backend, detached(matrix))
    if not math.isfinite(largest):
        raise ValueError(
            "factorize: matrix must be finite; expected numbers, got NaN or infinity. Look for where the weights diverged."
        )
    return backend, largest


def _check_eps(eps: Any, format: str) -> float:
    """Return the relative error allowed, 0 for none."""
    if eps is None:
        return 0.0
    if isinstance(eps, bool) or not isinstance(eps, numbers.Real) or not 0 < float(eps) < 1:
        raise ValueError(f"factorize: eps must be a relative error; expected a number between 0 and 1, got {eps!r}.")
    if format not in WITH_ERROR:
        raise ValueError(
            "factorize: eps must be asked of a format with a direct decomposition; "
            f"expected one of {tuple(sorted(WITH_ERROR))}, got {format!r}. Give a rank instead."
        )
    return float(eps)


def _merged(backend: Any, cls: type[FactorizedMatrix], modes: Any, rank: Any, factors: Any) -> list[Any]:
    """Bring factors of the matrix form, with axes ``(j_k, i_k)``, to the tensor form."""
    shapes = cls.make_tensor_network(tuple(m * n for m, n in zip(*modes)), rank).factor_shapes
    return [backend.reshape(factor, shape) for factor, shape in zip(factors, shapes)]


def _as_tensor(
    backend: Any, matrix: Any, padded: tuple[int, int], modes: tuple[tuple[int, ...], tuple[int, ...]], stack: int
) -> Any:
    """See a matrix as a tensor with axes (stack, m_1 n_1, ..., m_d n_d)."""
    out_modes, in_modes = modes
    order = len(out_modes)
    tensor = backend.reshape(pad_matrix(backend, matrix, padded, stack), (stack, *out_modes, *in_modes))
    pairs = (axis for k in range(order) for axis in (1 + k, 1 + order + k))
    paired = backend.transpose(tensor, (0, *pairs))
    return backend.reshape(paired, (stack, *(m * n for m, n in zip(out_modes, in_modes))))
