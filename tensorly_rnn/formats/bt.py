"""Block term: a sum of Tucker blocks."""

import math
from typing import Any

import numpy as np

from tensorly_rnn._checks import MOST_RANK, plain, positive_int, positive_ints
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.formats._registry import register
from tensorly_rnn.tensorize import TensorizedShape

BTRank = tuple[int, tuple[int, ...]]


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
    ``(n_blocks, (rank_1, ..., rank_d))``; ``(n_blocks, R)`` takes R for every mode, an int R is ``(1, R)``, and
    ``(n_blocks, share)`` the largest R within a share of the dense parameters. R = 1 is the CP decomposition, one block
    the Tucker decomposition.

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

    name = "bt"
    families = tuple({"n_blocks": n} for n in (1, 2, 3))

    @staticmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes: one a factor, the core apart."""
        return n_factors - 1 if n_factors > 1 else None

    @classmethod
    def indices(cls, order: int) -> tuple[Indices, ...]:
        """Return the index names of the core's and the factors' axes; all share the block index ``n``."""
        core = ("n", *(f"r{k + 1}" for k in range(order)))
        return (core, *(("n", f"j{k + 1}", f"i{k + 1}", f"r{k + 1}") for k in range(order)))

    @classmethod
    def rank_sizes(cls, rank: BTRank) -> dict[str, int]:
        """Return the size of the block index and of every rank index."""
        n_blocks, ranks = rank
        return {"n": n_blocks, **{f"r{k + 1}": r for k, r in enumerate(ranks)}}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> BTRank:
        """Return ``(n_blocks, (rank_1, ..., rank_d))``."""
        return size["n"], tuple(size[f"r{k + 1}"] for k in range(order))

    @classmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> BTRank:
        """Return ``(n_blocks, (rank_1, ..., rank_d))`` from itself, ``(n_blocks, R)`` or an int R."""
        order = len(tensorized_shape[0])
        if not isinstance(rank, (tuple, list)):
            r = positive_int("rank", rank, "Give an int, a float, 'same', 'full' or (n_blocks, rank).", MOST_RANK)
            return 1, (r,) * order
        if len(rank) != 2:
            raise ValueError(
                f"rank must be (n_blocks, core rank); expected 2 entries, got {len(rank)}: {plain(rank)}. "
                f"Write (n_blocks, {plain(tuple(rank))}) for one rank a mode."
            )
        n_blocks = positive_int("rank[0]", rank[0], most=MOST_RANK)
        if isinstance(rank[1], (tuple, list)):
            cure = "Give one rank a mode, or an int."
            return n_blocks, positive_ints("rank[1]", rank[1], length=order, cure=cure, most=MOST_RANK)
        return n_blocks, (positive_int("rank[1]", rank[1], most=MOST_RANK),) * order

    @classmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> BTRank:
        """Return the rank of one block that holds any matrix: the smaller side of each mode's unfolding."""
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        return 1, tuple(min(size, math.prod(sizes) // size) for size in sizes)

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> BTRank:
        """Return equal core ranks, less where a mode allows no more."""
        return options.get("n_blocks", 1), tuple(min(rank, full) for full in cls.full_rank(tensorized_shape)[1])

    @classmethod
    def rank_share(cls, rank: Any) -> tuple[Any, dict[str, Any]]:
        """Split ``(n_blocks, share)`` into the share and the number of blocks."""
        if isinstance(rank, (tuple, list)) and len(rank) == 2 and isinstance(rank[1], (float, np.floating)):
            return rank[1], {"n_blocks": positive_int("rank[0]", rank[0], most=MOST_RANK)}
        return rank, {}
