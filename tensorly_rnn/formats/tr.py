"""Tensor ring: a chain of cores closed into a ring."""

from typing import Any

from tensorly_rnn._checks import plain
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._chain import ChainMatrix, ChainRank
from tensorly_rnn.formats._registry import register
from tensorly_rnn.tensorize import TensorizedShape


@register
class TRMatrix(ChainMatrix):
    r"""Tensor-ring matrix.

    ``W[j1..jd, i1..id] = sum_{r0..r(d-1)} prod_k core_k[r_{k-1}, j_k, i_k, r_k]`` with ``r_d = r_0`` the same index.

    Parameters
    ----------
    factors : sequence of arrays, core k of shape (rank[k-1], out_modes[k], in_modes[k], rank[k])
    shape : (int, int), optional
        True rows and columns where the modes multiply to more.

    Raises
    ------
    TypeError, ValueError
        If the cores do not fit together, or a ring of a single core has a rank other than 1.

    Notes
    -----
    ``n_param = sum_k rank[k-1] * out_modes[k] * in_modes[k] * rank[k]``. A rank is a tuple of ``order + 1`` entries, the
    first equal to the last, or an int for all. A single core closed on itself is only a sum of its diagonal: its rank
    must be 1.

    References
    ----------
    .. [1] Zhao et al., Tensor ring decomposition, arXiv:1606.05535, 2016.
    .. [2] Pan et al., Compressing recurrent neural networks with tensor ring for action recognition, AAAI 2019.

    Examples
    --------
    >>> from tensorly_rnn import separate_modes
    >>> modes = separate_modes((4, 4, 2, 4, 8), (4, 2, 5, 8, 6, 5, 3, 2))
    >>> TRMatrix.random(modes, rank=(10, *(5,) * 12, 10), random_state=0).n_param
    1725
    """

    name = "tr"
    gate_modes = ("last", "first")

    @classmethod
    def indices(cls, order: int) -> tuple[Indices, ...]:
        """Return the index names of every core's axes."""
        return tuple((f"r{k}", f"j{k + 1}", f"i{k + 1}", f"r{(k + 1) % order}") for k in range(order))

    @classmethod
    def rank_sizes(cls, rank: ChainRank) -> dict[str, int]:
        """Return the size of every rank index."""
        return {f"r{k}": r for k, r in enumerate(rank[:-1])}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> ChainRank:
        """Return the ranks around the ring, the first once more at the end."""
        return tuple(size[f"r{k % order}"] for k in range(order + 1))

    @classmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> ChainRank:
        """Return the ranks around the ring, from an int for all or the tuple itself."""
        cure = "Give order + 1 ranks, the first equal to the last, or an int."
        ranks = cls.listed_ranks(tensorized_shape, rank, cure=cure)
        if ranks[0] != ranks[-1]:
            raise ValueError(f"rank must close the ring; expected the last entry to equal the first, got {plain(rank)}.")
        if len(ranks) == 2 and ranks[0] != 1:
            raise ValueError(
                f"rank must be 1 for a single core closed on itself; expected 1, got {ranks[0]}. Use two modes or more."
            )
        return ranks

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> ChainRank:
        """Return equal ranks around the ring, at most what all other modes together can tell apart."""
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        most = 1 if len(sizes) == 1 else max(sizes) * min(sizes)
        return (min(rank, most),) * (len(sizes) + 1)
