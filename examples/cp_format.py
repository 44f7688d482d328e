"""A format of your own in one file: the canonical polyadic (CP) matrix. docs/fifth_format.md explains it line by line."""

import math
from dataclasses import dataclass

from tensorly_rnn.formats import FactorizedMatrix, Format, register


@dataclass(frozen=True)
class CP(Format):
    """The canonical polyadic format; a rank is an int R."""

    name = "cp"

    def indices(self, order: int) -> tuple[tuple[str, ...], ...]:
        """Return the index names of every factor's axes; all share ``r``."""
        return tuple((f"j{k + 1}", f"i{k + 1}", "r") for k in range(order))

    def rank_names(self, order: int) -> str:
        """Return the name of the only rank index: a rank is one int."""
        return "r"

    def full(self, sizes: tuple[int, ...], stack: int = 1) -> int:
        """Return a rank that holds any tensor: the product of all modes but the largest."""
        return math.prod(sizes) // max(sizes)


@register
class CPMatrix(FactorizedMatrix):
    """Canonical polyadic matrix: ``W[j1..jd, i1..id] = sum_r prod_k factor_k[j_k, i_k, r]``."""

    format = CP()
