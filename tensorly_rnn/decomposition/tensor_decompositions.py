"""Decompose tensors in TensorLy's style: a function and a class for each format."""

from typing import Any, ClassVar

from tensorly_rnn._backend import backend_of
from tensorly_rnn.decomposition._decompose import Settings, decompose
from tensorly_rnn.formats import BTTensor, FactorizedTensor, HTTensor, Tree, TRTensor, TTTensor


def block_term(tensor: Any, rank: Any = None, **settings: Any) -> BTTensor:
    r"""Decompose a tensor into a sum of Tucker blocks.

    ``T[i1..id] ~ sum_n sum_{r1..rd} core[n, r1..rd] prod_k factor_k[n, i_k, r_k]``

    Parameters
    ----------
    tensor : array of NumPy, PyTorch, JAX, ..., shape (p_1, ..., p_d), floating point
    rank : 'full', 'same', float, int, (n_blocks, int), (n_blocks, sequence of int) or (n_blocks, float)
    **settings
        ``eps``, ``n_param``, ``compression_ratio``, ``method`` ('auto' or 'als'), ``init``, ``n_starts``, ``n_iter_max``,
        ``tol``, ``random_state``, ``verbose``, ``callback``: see `factorize`.

    Returns
    -------
    BTTensor

    Notes
    -----
    The tensor is projected to its leading singular subspaces of ``n_blocks * rank_k`` dimensions a mode; there all factors
    are fitted together by Levenberg-Marquardt, ``O(n_param^3)`` a step, or by alternating least squares where there are many.
    A best approximation need not exist: a ridge that fades with the error limits blocks that cancel. Local minima do exist:
    raise ``n_starts`` where the error is too large.

    References
    ----------
    .. [1] De Lathauwer, Nion, Decompositions of a higher-order tensor in block terms, Part III, SIAM J. Matrix Anal.
       Appl. 30(3), 2008.

    Examples
    --------
    >>> planted = BTTensor.random((5, 6, 7), (2, 2), random_state=0).to_tensor()
    >>> found = block_term(planted, (2, 2), n_starts=5)
    >>> found.rank, bool(found.relative_error(planted) < 1e-8)
    ((2, (2, 2, 2)), True)
    """
    return _decomposed("bt", tensor, rank, settings, BTTensor.of_matrix)


def hierarchical_tucker(tensor: Any, rank: Any = None, tree: Tree | None = None, **settings: Any) -> HTTensor:
    r"""Decompose a tensor into a binary tree of transfer tensors with the modes at its leaves.

    ``U_s[r_s, ...] = sum_{r_s1, r_s2} G_s[r_s, r_s1, r_s2] U_s1[r_s1, ...] U_s2[r_s2, ...]``, ``T ~ U_root``

    Parameters
    ----------
    tensor : array of NumPy, PyTorch, JAX, ..., shape (p_1, ..., p_d), floating point
    rank : 'full', 'same', float, int, (leaf, node) or one int a node, breadth first, root first
    tree : nested pairs of mode numbers, optional
        Default: the balanced tree. `linear_tree` gives that of the tensor train.
    **settings
        ``eps``, ``n_param``, ``compression_ratio``, ``method`` ('leaves_to_root', the default, or 'root_to_leaves'),
        ``verbose``, ``callback``: see `factorize`.

    Returns
    -------
    HTTensor

    Notes
    -----
    The error is at most ``sqrt(2 d - 3)`` times that of the best approximation of these ranks [1]_. From the leaves to the
    root the tensor shrinks with every truncation, ``O(p prod_k p_k)`` for the first; from the root to the leaves every
    node decomposes the whole tensor.

    References
    ----------
    .. [1] Grasedyck, Hierarchical singular value decomposition of tensors, SIAM J. Matrix Anal. Appl. 31(4), 2010.

    Examples
    --------
    >>> import numpy as np
    >>> tensor = 1 / (1.0 + np.indices((6, 7, 8, 9)).sum(0))
    >>> found = hierarchical_tucker(tensor, eps=1e-3)
    >>> found.rank, bool(found.relative_error(tensor) <= 1e-3)
    ((1, 4, 4, 4, 4, 4, 4), True)
    """
    return _decomposed("ht", tensor, rank, settings, HTTensor.of_matrix, tree=tree)


def tensor_train(tensor: Any, rank: Any = None, **settings: Any) -> TTTensor:
    r"""Decompose a tensor into a train of cores by successive singular value decompositions (TT-SVD).

    ``T[i1..id] ~ sum_{r1..r(d-1)} core_1[1, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, 1]``

    Parameters
    ----------
    tensor : array of NumPy, PyTorch, JAX, ..., shape (p_1, ..., p_d), floating point
    rank : 'full', 'same', float, int or d + 1 ranks
    **settings
        ``eps``, ``n_param``, ``compression_ratio``, ``verbose``, ``callback``: see `factorize`.

    Returns
    -------
    TTTensor
        An instance of TensorLy's class, core k of shape (rank[k], p_k, rank[k + 1]).

    Notes
    -----
    The error is at most ``sqrt(d - 1)`` times that of the best approximation of these ranks [1]_, Corollary 2.4. The cost
    is that of the first decomposition, ``O(p_1 prod_k p_k)``.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011, algorithm 1.

    Examples
    --------
    >>> import numpy as np
    >>> tensor_train(1 / (1.0 + np.indices((6, 7, 8, 9)).sum(0)), eps=1e-3).rank
    (1, 4, 4, 4, 1)
    """
    return _decomposed("tt", tensor, rank, settings, TTTensor.of_matrix)


def tensor_ring(tensor: Any, rank: Any = None, **settings: Any) -> TRTensor:
    r"""Decompose a tensor into a ring of cores.

    ``T[i1..id] ~ sum_{r0..r(d-1)} core_1[r0, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, r0]``

    Parameters
    ----------
    tensor : array of NumPy, PyTorch, JAX, ..., shape (p_1, ..., p_d), floating point
        Of two modes or more.
    rank : 'full', 'same', float, int or d + 1 ranks, the first equal to the last
    **settings
        ``eps``, ``n_param``, ``compression_ratio``, ``method`` ('auto' or 'als'), ``init``, ``n_starts``, ``n_iter_max``,
        ``tol``, ``random_state``, ``verbose``, ``callback``: see `factorize`.

    Returns
    -------
    TRTensor
        An instance of TensorLy's class, core k of shape (rank[k], p_k, rank[k + 1]).

    Notes
    -----
    All cores are fitted together by Levenberg-Marquardt, ``O(n_param^3)`` a step, or by alternating least squares where there
    are many, from singular value decompositions around the ring [1]_. A ring has no bound on its error and may need
    several starts; in return its ranks may be smaller than a train's.

    References
    ----------
    .. [1] Zhao et al., Tensor ring decomposition, arXiv:1606.05535, 2016, algorithms 1 and 2.

    Examples
    --------
    >>> from tensorly_rnn import TRMatrix
    >>> planted = TRMatrix.random(((4, 5, 6), (1, 1, 1)), (2, 2, 3, 2), random_state=0).to_matrix().reshape(4, 5, 6)
    >>> tensor_ring(planted, (2, 2, 3, 2)).rank
    (2, 2, 3, 2)
    """
    if len(getattr(tensor, "shape", ())) == 1:
        raise ValueError(f"tensor must have two modes or more; got shape {tuple(tensor.shape)}.")
    return _decomposed("tr", tensor, rank, settings, TRTensor.of_matrix)


def _decomposed(format: str, tensor: Any, rank: Any, settings: dict[str, Any], wrap: Any, **options: Any) -> Any:
    _check_names(settings, ())
    backend = backend_of("tensor", tensor)
    shape = tuple(int(n) for n in tensor.shape)
    if not shape or 0 in shape:
        raise ValueError(f"tensor must have a mode and no empty one; expected sizes of at least 1, got shape {shape}.")
    column = backend.reshape(tensor, (-1, 1))
    modes = (shape, (1,) * len(shape))
    return decompose(backend, "tensor", column, format, modes, rank, Settings(**settings), options, wrap)


def _check_names(settings: dict[str, Any], options: tuple[str, ...]) -> None:
    known = (*Settings.__dataclass_fields__, *options)
    for name, value in settings.items():
        if name not in known:
            raise TypeError(f"{name} must be a setting; expected one of {known}, got {name}={value!r}.")


class Decomposition:
    """A decomposition with its settings, in TensorLy's style.

    Parameters
    ----------
    rank
    **settings
        As in the function of the same name.

    Attributes
    ----------
    decomposition_
        Last result of `fit_transform`.
    """

    _function: ClassVar[Any]
    _options: ClassVar[tuple[str, ...]] = ()

    def __init__(self, rank: Any = None, **settings: Any) -> None:
        _check_names(settings, self._options)
        self.rank = rank
        self.settings = settings

    def fit_transform(self, tensor: Any) -> Any:
        """Decompose a tensor and return the result, also kept as `decomposition_`."""
        self.decomposition_: FactorizedTensor = type(self)._function(tensor, self.rank, **self.settings)
        return self.decomposition_

    def __repr__(self) -> str:
        given = "".join(f", {name}={value!r}" for name, value in self.settings.items())
        return f"{type(self).__name__}(rank={self.rank!r}{given})"


class BlockTerm(Decomposition):
    """Sum of Tucker blocks; see `block_term`."""

    _function = staticmethod(block_term)


class HierarchicalTucker(Decomposition):
    """Binary tree of transfer tensors; see `hierarchical_tucker`."""

    _function = staticmethod(hierarchical_tucker)
    _options = ("tree",)


class TensorTrain(Decomposition):
    """Train of cores; see `tensor_train`.

    Examples
    --------
    >>> import numpy as np
    >>> TensorTrain(rank=2).fit_transform(np.random.default_rng(0).normal(size=(3, 4, 5))).rank
    (1, 2, 2, 1)
    """

    _function = staticmethod(tensor_train)


class TensorRing(Decomposition):
    """Ring of cores; see `tensor_ring`."""

    _function = staticmethod(tensor_ring)
