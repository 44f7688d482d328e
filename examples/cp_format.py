"""A format of one's own in one file: the canonical polyadic (CP) matrix; docs/fifth_format.md walks through it."""

import math
from typing import Any

from tensorly_rnn.formats import FactorizedMatrix, register


@register
class CPMatrix(FactorizedMatrix):
    """Canonical polyadic matrix: ``W[j1..jd, i1..id] = sum_r prod_k factor_k[j_k, i_k, r]``."""

    name = "cp"

    @staticmethod
    def order_of(n_factors: int) -> int:
        """Return the number of modes: one a factor."""
        return n_factors

    @classmethod
    def indices(cls, order: int) -> tuple[tuple[str, ...], ...]:
        """Return the index names of every factor's axes; all share ``r``."""
        return tuple((f"j{k + 1}", f"i{k + 1}", "r") for k in range(order))

    @classmethod
    def rank_sizes(cls, rank: int) -> dict[str, int]:
        """Return the size of every rank index."""
        return {"r": rank}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> int:
        """Return the rank, given the size of every index."""
        return size["r"]

    @classmethod
    def explicit_rank(cls, tensorized_shape: Any, rank: Any, **options: Any) -> int:
        """Return the rank as a plain int, or say what is wrong with it."""
        if isinstance(rank, bool) or not hasattr(rank, "__index__"):
            raise TypeError(f"CPMatrix.validate_rank: rank must be a positive integer; got {rank!r}.")
        if rank < 1:
            raise ValueError(f"CPMatrix.validate_rank: rank must be a positive integer; got {rank}.")
        return int(rank)

    @classmethod
    def full_rank(cls, tensorized_shape: Any, **options: Any) -> int:
        """Return a rank that reproduces any matrix: all modes but the largest together."""
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        return math.prod(sizes) // max(sizes)

    @classmethod
    def uniform_rank(cls, tensorized_shape: Any, rank: int, **options: Any) -> int:
        """Return the rank, or what is useful where that is less."""
        return min(rank, cls.full_rank(tensorized_shape))
