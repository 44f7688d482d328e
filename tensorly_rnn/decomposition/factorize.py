"""Decompose a dense matrix into factors of any format."""

from typing import Any

from tensorly_rnn._backend import backend_of
from tensorly_rnn.decomposition._decompose import Callback, Settings, decompose
from tensorly_rnn.decomposition.shape_search import decompose_in_best_shape
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.formats._random import RandomState


def factorize(
    matrix: Any,
    format: str,
    tensorized_shape: Any = None,
    rank: Any = None,
    *,
    eps: float | None = None,
    n_param: int | None = None,
    compression_ratio: float | None = None,
    method: str = "auto",
    init: Any = "svd",
    n_starts: int = 1,
    n_iter_max: int = 300,
    tol: float = 1e-6,
    random_state: RandomState = 0,
    verbose: bool = False,
    callback: Callback | None = None,
    **options: Any,
) -> FactorizedMatrix:
    r"""Decompose a dense matrix into the factors of a format.

    The matrix is padded with zeros to the product of its modes and reshaped to a tensor with one axis of size ``m_k n_k`` a
    mode, which the format's algorithm decomposes: TT and HT by singular value decompositions, TR and BT by a second-order fit
    (Levenberg-Marquardt) of the compressed tensor, or by alternating least squares.

    Parameters
    ----------
    matrix : array of NumPy, PyTorch, JAX, ..., shape (rows, columns), floating point
        Not changed. Half precision is computed in single precision.
    format : str
        One of `available_formats()`.
    tensorized_shape : (tuple of int, tuple of int), optional
        ``(out_modes, in_modes)``; their products are at least rows and columns. By default it is chosen for the budget or
        error, among balanced modes that pair rows and columns and modes of rows and columns apart, such as
        ``((1, rows), (columns, 1))``, in which a train is the truncated singular value decomposition. With a rank that is not
        a share of the parameters: balanced modes of about 8.
    rank : 'full', 'same', float, int or the format's own form
        ``'full'`` reproduces any matrix. A rank above what the sizes allow is clipped, with a warning. Default: ``'same'``,
        or as high as `eps` needs.
    eps : float, optional
        Largest relative error ``||W - f||_F / ||W||_F``; the algorithm looks for the least ranks. A rank given as well is an
        upper bound that takes precedence; in a ring it limits how the first rank is split between its two bonds.
    n_param : int, optional
        Most parameters of the result, in place of a rank.
    compression_ratio : float, optional
        Least number of the matrix's entries for one parameter of the result, in place of a rank.
    method : str
        ``'auto'``; HT takes ``'leaves_to_root'`` (the default) and ``'root_to_leaves'``, TR and BT ``'als'``: alternating
        least squares whatever the size.
    init : {'svd', 'random'}, factorized matrix or sequence of arrays
        Start of the fits of TR and BT: singular value decompositions, random numbers, or factors of the given rank.
    n_starts : int
        Most starts of the second-order fit, the first from `init`; fewer are made once the fit is exact.
    n_iter_max : int
        Most steps of a fit, or sweeps of alternating least squares.
    tol : float
        Alternating least squares stops when the relative error changes by less.
    random_state : int, Generator, RandomState or None
        For random starts.
    verbose : bool
        Whether to write a line for each iteration to standard error.
    callback : callable, optional
        Called as ``callback(f, error)`` after every iteration of a fit, and once by the direct algorithms, with the current
        result and its relative error. If it returns True, the iteration stops and the best result so far is returned.
    **options
        Those of the format: ``root_rank`` of HT (the rows are then a stack of that many matrices) and its ``tree``.

    Returns
    -------
    FactorizedMatrix
        Of the format's class; its factors have the backend, dtype and device of the matrix, and no autograd graph. No gradient
        passes from them to the matrix: a torch parameter is taken as it is, the result of a computation that requires a
        gradient and tracers of JAX are refused.

    Raises
    ------
    TypeError, ValueError
        If the matrix is not a finite floating-point array with two axes, the modes multiply to less than its size, more
        than one budget is given, or an argument is of the wrong form.

    Warns
    -----
    UserWarning
        If the rank was clipped; the message contains both ranks.

    Notes
    -----
    The cost of TT and HT is dominated by the singular value decompositions of the tensor's unfoldings,
    ``O(rows * columns * p)`` with p the smaller side of one; a budget or error computes their singular values before.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.random.default_rng(0).normal(size=(12, 35))
    >>> f = factorize(weight, "ht", ((4, 3), (5, 7)), rank="full")
    >>> bool(f.relative_error(weight) < 1e-13)
    True
    >>> factorize(weight, "tt", ((4, 3), (5, 7)), n_param=200).n_param
    164
    """
    settings = Settings(
        eps=eps,
        n_param=n_param,
        compression_ratio=compression_ratio,
        method=method,
        init=init,
        n_starts=n_starts,
        n_iter_max=n_iter_max,
        tol=tol,
        random_state=random_state,
        verbose=verbose,
        callback=callback,
    )
    backend = backend_of("matrix", matrix)
    if tensorized_shape is None:
        return decompose_in_best_shape(backend, matrix, format, rank, settings, options)
    return decompose(backend, "matrix", matrix, format, tensorized_shape, rank, settings, options)
