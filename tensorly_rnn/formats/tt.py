"""Tensor-train format: a chain of cores."""

from dataclasses import dataclass

from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._registry import register
from tensorly_rnn.formats.format import Format, RankNames, smaller_sides
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.tensorize import Modes


@dataclass(frozen=True)
class TT(Format):
    """Tensor-train format; a rank is a tuple of ``order + 1`` entries with ends 1, or an int for all between."""

    name = "tt"

    def indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names of the axes of every core."""
        return tuple((f"r{k}", f"j{k + 1}", f"i{k + 1}", f"r{k + 1}") for k in range(order))

    def rank_names(self, order: int) -> RankNames:
        """Return the names of the ranks along the chain."""
        return tuple(f"r{k}" for k in range(order + 1))

    def full(self, sizes: Modes, stack: int = 1) -> tuple[int, ...]:
        """Return the smaller side of every cut."""
        return smaller_sides(sizes)


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

    format = TT()
