"""The problem that every decomposition algorithm solves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn.decomposition.progress import Progress
from tensorly_rnn.formats import Format
from tensorly_rnn.formats._random import unit_factors
from tensorly_rnn.network.network import Network

View = Callable[[list[Any], float], tuple[list[Any], float]]


def _unchanged(factors: list[Any], error: float) -> tuple[list[Any], float]:
    return factors, error


@dataclass(frozen=True)
class Problem:
    """A tensor to decompose, with the axes (stack, p_1, ..., p_d); mode k merges the matrix's modes ``(j_k, i_k)``.

    An algorithm returns one array a factor, in the tensor form: its axes are named by the format's `tensor_indices`.
    """

    backend: Any
    tensor: Any
    format: Format
    rank: Any
    generator: np.random.Generator | np.random.RandomState
    n_iter_max: int
    tol: float
    n_starts: int = 1
    method: str = "auto"
    #: Largest Frobenius norm of the error; 0 where only the rank counts.
    max_error: float = 0.0
    #: Whether the rank is no upper bound, because only an error was given.
    rank_is_free: bool = False
    #: Mode sizes for counting parameters, where they differ from those of the tensor.
    counted_modes: tuple[int, ...] | None = None
    #: First start: "svd" for the algorithm's own, "random", or factors in the tensor form.
    init: str | Sequence[Any] = "svd"
    progress: Progress = field(default_factory=Progress)
    #: Converts factors and relative error to those of the original problem; see `composed_view`.
    view: View = _unchanged

    @property
    def stack(self) -> int:
        """Size of the leading axis."""
        return int(self.tensor.shape[0])

    @cached_property
    def modes(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return tuple(int(size) for size in self.tensor.shape[1:])

    def network_of(self, factors: Sequence[Any]) -> Network:
        """Return the network of factors in the tensor form."""
        return self.format.make_tensor_network(self.modes, self.rank_of(factors))

    def counted_network_of(self, factors: Sequence[Any]) -> Network:
        """Return the network of factors in the tensor form with the mode sizes for counting parameters."""
        return self.format.make_tensor_network(self.counted_modes or self.modes, self.rank_of(factors))

    def rank_of(self, factors: Sequence[Any]) -> Any:
        """Return the canonical rank of factors in the tensor form, which may be less than the given rank."""
        size: dict[str, int] = {}
        for indices, factor in zip(self.format.tensor_indices(len(self.modes)), factors):
            size.update(zip(indices, (int(n) for n in factor.shape)))
        return self.format.rank_from_sizes(size, len(self.modes))

    def good_enough(self, exact: float) -> float:
        """Return the relative error at which a fit may stop: the one allowed, or `exact` where that is more."""
        norm = float(self.backend.norm(self.tensor))
        return max(exact, self.max_error / norm) if norm else exact

    def tell(self, factors: Sequence[Any], error: float) -> bool:
        """Report one iteration in terms of the original problem; return whether to stop."""
        return self.progress.watched and self.progress.tell(*self.view(list(factors), error))

    def composed_view(self, view: View) -> View:
        """Return the view of a problem derived from this one; `view` converts from that one to this one."""
        return lambda factors, error: self.view(*view(factors, error))

    def first_start(self, svd_start: "Start") -> list[Any]:
        """Return the factors to start from: those of `svd_start`, random ones, or the user's own."""
        if isinstance(self.init, str):
            return self.random_start() if self.init == "random" else svd_start(self)
        return list(self.init)

    def random_start(self) -> list[Any]:
        """Draw factors of the given rank whose reconstruction has about the norm of the tensor."""
        network = self.format.make_tensor_network(self.modes, self.rank)
        norm = float(self.backend.norm(self.tensor)) / math.prod(network.out_modes) ** 0.5
        scale = norm ** (1 / len(network.factors))
        return [new_array(self.backend, scale * one, self.tensor) for one in unit_factors(network, self.generator)]


#: Makes the factors of a problem: an algorithm, or a start of one.
Solve = Callable[[Problem], list[Any]]
Start = Solve
