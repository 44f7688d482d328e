"""Tensor train: a chain of cores."""

import math
from typing import Any

from tensorly_rnn._checks import plain, positive_int, positive_ints
from tensorly_rnn.contraction import Indices
from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.formats._registry import register
from tensorly_rnn.tensorize import TensorizedShape

TTRank = tuple[int, ...]


@register
class TTMatrix(FactorizedMatrix):
    r"""Tensor-train matrix.

    ``W[j1..jd, i1..id] = sum_{r0..rd} prod_k core_k[r_{k-1}, j_k, i_k, r_k]`` with ``r_0 = r_d = 1``.

    Parameters
    ----------
    factors : sequence of arrays, core k of shape (rank[k-1], out_modes[k], in_modes[k], rank[k])
    shape : (int, int), optional
        True rows and columns where the modes multiply to more.

    Raises
    ------
    TypeError, ValueError
        If the cores do not fit together, or an end rank is not 1.

    Notes
    -----
    ``n_param = sum_k rank[k-1] * out_modes[k] * in_modes[k] * rank[k]``. A rank is a tuple of ``order + 1`` entries with
    ends 1, or an int for all between.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011.
    .. [2] Yang, Krompass, Tresp, Tensor-train recurrent neural networks for video classification, ICML 2017.

    Examples
    --------
    >>> f = TTMatrix.random(((16, 4, 4, 4), (8, 20, 20, 18)), rank=4, random_state=0)
    >>> f.rank, f.shape, f.n_param, round(f.compression_ratio)
    ((1, 4, 4, 4, 1), (1024, 57600), 3360, 17554)
    """

    name = "tt"

    @staticmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes: one a core."""
        return n_factors

    @staticmethod
    def indices(order: int) -> tuple[Indices, ...]:
        """Return the index names of every core's axes."""
        return tuple((f"r{k}", f"j{k + 1}", f"i{k + 1}", f"r{k + 1}") for k in range(order))

    @classmethod
    def rank_sizes(cls, rank: TTRank) -> dict[str, int]:
        """Return the size of every rank index."""
        return {f"r{k}": r for k, r in enumerate(rank)}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> TTRank:
        """Return the ranks along the chain."""
        return tuple(size[f"r{k}"] for k in range(order + 1))

    @classmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> TTRank:
        """Return the ranks along the chain, from an int for all inner ones or the tuple itself."""
        order = len(tensorized_shape[0])
        function = f"{cls.__name__}.validate_rank"
        if isinstance(rank, (tuple, list)):
            cure = "Give order + 1 ranks with ends 1, or an int."
            ranks = positive_ints(function, "rank", rank, length=order + 1, cure=cure)
            if ranks[0] != 1 or ranks[-1] != 1:
                raise ValueError(
                    f"{function}: rank must begin and end with 1; expected (1, ..., 1), got {plain(rank)}. "
                    "Use the tensor ring ('tr') for free ends."
                )
            return ranks
        r = positive_int(function, "rank", rank, cure="Give an int, a float, 'same', 'full' or a tuple of ranks.")
        return (1, *(r,) * (order - 1), 1)

    @classmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> TTRank:
        """Return the ranks of a chain that holds any matrix: the smaller side of every cut."""
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        return tuple(min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(len(sizes) + 1))

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> TTRank:
        """Return equal inner ranks, less where the cut allows no more."""
        return tuple(min(rank, full) for full in cls.full_rank(tensorized_shape))
