"""What the tensor train and the tensor ring share: one core a mode, ranks between neighbours."""

import math
from typing import Any

from tensorly_rnn._checks import MOST_RANK, positive_int, positive_ints
from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.tensorize import TensorizedShape

ChainRank = tuple[int, ...]


class ChainMatrix(FactorizedMatrix):
    """A matrix held as a chain of cores, core k of shape (rank[k-1], out_modes[k], in_modes[k], rank[k])."""

    @staticmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes: one a core."""
        return n_factors

    @classmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> ChainRank:
        """Return the ranks of a chain that holds any matrix, the smaller side of every cut: its ends are 1.

        A ring is a chain where its ends are 1, and no ring that holds any matrix is smaller.
        """
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        return tuple(min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(len(sizes) + 1))

    @classmethod
    def listed_ranks(cls, tensorized_shape: TensorizedShape, rank: Any, cure: str) -> ChainRank:
        """Return ``order + 1`` ranks, given as such or as one int for all of them."""
        length = len(tensorized_shape[0]) + 1
        if isinstance(rank, (tuple, list)):
            return positive_ints("rank", rank, length=length, cure=cure, most=MOST_RANK)
        return (positive_int("rank", rank, "Give an int, a float, 'same', 'full' or a tuple of ranks.", MOST_RANK),) * length
