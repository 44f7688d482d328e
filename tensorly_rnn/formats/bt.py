"""Block-term format: a sum of Tucker blocks."""

import math
from dataclasses import dataclass

from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._registry import register
from tensorly_rnn.formats.format import Format, RankNames
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.tensorize import Modes

BTRank = tuple[int, tuple[int, ...]]


@dataclass(frozen=True)
class BT(Format):
    """Block-term format; a rank is ``(n_blocks, (rank_1, ..., rank_d))``, ``(n_blocks, R)``, or an int R for one block."""

    name = "bt"
    block_index = "n"

    def indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names of the axes of the core and the factors; all share the block index ``n``."""
        core = ("n", *(f"r{k + 1}" for k in range(order)))
        return (core, *(("n", f"j{k + 1}", f"i{k + 1}", f"r{k + 1}") for k in range(order)))

    def rank_names(self, order: int) -> RankNames:
        """Return the names of the number of blocks and of the core's ranks."""
        return "n", tuple(f"r{k + 1}" for k in range(order))

    def full(self, sizes: Modes, stack: int = 1) -> BTRank:
        """Return the rank of one block: the smaller side of each mode's unfolding."""
        return 1, tuple(min(size, math.prod(sizes) // size) for size in sizes)


@register
class BTMatrix(FactorizedMatrix):
    r"""Block-term matrix: the sum of `n_blocks` Tucker decompositions.

    ``W[j1..jd, i1..id] = sum_n sum_{r1..rd} core[n, r1..rd] prod_k factor_k[n, j_k, i_k, r_k]``

    Parameters
    ----------
    factors : sequence of arrays
        First the cores, shape ``(n_blocks, *rank[1])``; then for each mode k the factors of all blocks, shape
        (n_blocks, out_modes[k], in_modes[k], rank[1][k]).
    shape : (int, int), optional
        True rows and columns where the modes multiply to more.

    Raises
    ------
    TypeError, ValueError
        If the factors do not fit together.

    Notes
    -----
    ``n_param = n_blocks * (sum_k out_modes[k] * in_modes[k] * rank_k + prod_k rank_k)``. A rank is
    ``(n_blocks, (rank_1, ..., rank_d))``; ``(n_blocks, R)`` uses R for every mode, an int R is ``(1, R)``, and
    ``(n_blocks, float)`` is the largest R within that fraction of the dense parameters. R = 1 is the CP decomposition, one
    block the Tucker decomposition.

    References
    ----------
    .. [1] De Lathauwer, Decompositions of a higher-order tensor in block terms, Part II, SIAM J. Matrix Anal. Appl.
       30(3), 2008.
    .. [2] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018, eq. 10.

    Examples
    --------
    >>> f = BTMatrix.random(((16, 4, 4, 4), (8, 20, 20, 18)), rank=(2, 4), random_state=0)
    >>> f.rank, f.n_param
    ((2, (4, 4, 4, 4)), 3392)
    """

    format = BT()
