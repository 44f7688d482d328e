"""Tensor train: a chain of cores."""

from typing import Any

from tensorly_rnn._checks import plain
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._chain import ChainMatrix, ChainRank
from tensorly_rnn.formats._registry import register
from tensorly_rnn.tensorize import TensorizedShape


@register
class TTMatrix(ChainMatrix):
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

    @classmethod
    def indices(cls, order: int) -> tuple[Indices, ...]:
        """Return the index names of every core's axes."""
        return tuple((f"r{k}", f"j{k + 1}", f"i{k + 1}", f"r{k + 1}") for k in range(order))

    @classmethod
    def rank_sizes(cls, rank: ChainRank) -> dict[str, int]:
        """Return the size of every rank index."""
        return {f"r{k}": r for k, r in enumerate(rank)}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> ChainRank:
        """Return the ranks along the chain."""
        return tuple(size[f"r{k}"] for k in range(order + 1))

    @classmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> ChainRank:
        """Return the ranks along the chain, from an int for all inner ones or the tuple itself."""
        ranks = cls.listed_ranks(tensorized_shape, rank, cure="Give order + 1 ranks with ends 1, or an int.")
        if not isinstance(rank, (tuple, list)):
            return (1, *ranks[1:-1], 1)
        if ranks[0] != 1 or ranks[-1] != 1:
            raise ValueError(
                f"rank must begin and end with 1; expected (1, ..., 1), got {plain(rank)}. "
                "Use the tensor ring ('tr') for free ends."
            )
        return ranks

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> ChainRank:
        """Return equal inner ranks, less where the cut allows no more."""
        return tuple(min(rank, full) for full in cls.full_rank(tensorized_shape))
