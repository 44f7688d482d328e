"""What an algorithm is given, and which algorithm a format has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorly_rnn.contraction import Indices
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.network import Network


@dataclass(frozen=True)
class Problem:
    """A tensor to decompose: its axes are the stack (size 1 mostly), then the modes, each the pair ``(j_k, i_k)`` merged.

    An algorithm returns one array a factor, its axes named by `merged_indices`.
    """

    backend: Any
    tensor: Any
    format: type[FactorizedMatrix]
    rank: Any
    generator: np.random.Generator | np.random.RandomState
    n_iter_max: int
    tol: float

    @property
    def stack(self) -> int:
        """Size of the leading axis."""
        return int(self.tensor.shape[0])

    @property
    def modes(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return tuple(int(size) for size in self.tensor.shape[1:])

    def network_of(self, rank: Any) -> Network:
        """Network of the format for this tensor, every mode an output."""
        return self.format.make_network((self.modes, (1,) * len(self.modes)), rank)

    def rank_of(self, factors: Sequence[Any]) -> Any:
        """Canonical rank of factors, which may be less than the rank asked for."""
        size: dict[str, int] = {}
        for indices, factor in zip(self.merged_indices, factors):
            size.update(zip(indices, (int(n) for n in factor.shape)))
        return self.format.rank_from_sizes(size, len(self.modes))

    @property
    def merged_indices(self) -> tuple[Indices, ...]:
        """Index names of every factor's axes, the pair ``(j_k, i_k)`` being one axis called ``j_k``."""
        return tuple(
            tuple(index for index in indices if not index.startswith("i")) for indices in self.format.indices(len(self.modes))
        )


Algorithm = Callable[[Problem], list[Any]]
ALGORITHMS: dict[str, Algorithm] = {}


def decomposes(name: str) -> Callable[[Algorithm], Algorithm]:
    """Make a function the algorithm of the format of that name."""

    def register(algorithm: Algorithm) -> Algorithm:
        ALGORITHMS[name] = algorithm
        return algorithm

    return register
