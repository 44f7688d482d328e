"""Tensor-ring format: a chain of cores closed into a ring."""

from dataclasses import dataclass

from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._registry import register
from tensorly_rnn.formats.format import Format, RankNames, smaller_sides
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.tensorize import Modes


@dataclass(frozen=True)
class TR(Format):
    """Tensor-ring format; a rank is a tuple of ``order + 1`` entries, the first equal to the last, or an int for all."""

    name = "tr"
    gate_modes = ("last", "first")

    def indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names of the axes of every core."""
        return tuple((f"r{k}", f"j{k + 1}", f"i{k + 1}", f"r{(k + 1) % order}") for k in range(order))

    def rank_names(self, order: int) -> RankNames:
        """Return the names of the ranks around the ring, the first repeated at the end."""
        return tuple(f"r{k % order}" for k in range(order + 1))

    def full(self, sizes: Modes, stack: int = 1) -> tuple[int, ...]:
        """Return the ranks of a chain, which is a ring whose ends are 1; no ring that holds any tensor is smaller."""
        return smaller_sides(sizes)

    def useful(self, sizes: Modes, stack: int = 1) -> tuple[int, ...]:
        """Return equal ranks around the ring, so large that any two neighbours hold every tensor."""
        return (1 if len(sizes) == 1 else max(sizes) * min(sizes),) * (len(sizes) + 1)


@register
class TRMatrix(FactorizedMatrix):
    r"""Tensor-ring matrix.

    ``W[j1..jd, i1..id] = sum_{r0..r(d-1)} prod_k core_k[r_{k-1}, j_k, i_k, r_k]`` with ``r_d`` and ``r_0`` the same index.

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
    first equal to the last, or an int for all. A single core must have rank 1: closed on itself, it is
    only summed over its diagonal.

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

    format = TR()
