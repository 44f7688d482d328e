"""What an algorithm is given, and which algorithm a format has."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorly_rnn._backend import new_array
from tensorly_rnn.decomposition.progress import Progress
from tensorly_rnn.formats import Format
from tensorly_rnn.formats._random import unit_factors
from tensorly_rnn.network.network import Network

View = Callable[[list[Any], float], tuple[list[Any], float]]


def _as_it_is(factors: list[Any], error: float) -> tuple[list[Any], float]:
    return factors, error


@dataclass(frozen=True)
class Problem:
    """A tensor to decompose: its axes are the stack (size 1 mostly), then the modes, each the pair ``(j_k, i_k)`` merged.

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
    #: Error allowed, as a Frobenius norm; 0 where only the rank counts.
    error: float = 0.0
    #: Whether no rank was given besides the error: it bounds nothing then.
    rank_is_free: bool = False
    #: Sizes of the modes that the parameters are counted with, where not those of the tensor.
    counted_modes: tuple[int, ...] | None = None
    #: First start: "svd" for the algorithm's own, "random", or factors in the tensor form.
    init: str | Sequence[Any] = "svd"
    progress: Progress = field(default_factory=Progress)
    #: Factors and relative error of this problem in terms of the one the user knows; see `seen_through`.
    view: View = _as_it_is

    @property
    def stack(self) -> int:
        """Size of the leading axis."""
        return int(self.tensor.shape[0])

    @property
    def modes(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        return tuple(int(size) for size in self.tensor.shape[1:])

    def network_of(self, factors: Sequence[Any]) -> Network:
        """Network of factors in the tensor form."""
        return self.format.make_tensor_network(self.modes, self.rank_of(factors))

    def rank_of(self, factors: Sequence[Any]) -> Any:
        """Canonical rank of factors in the tensor form, which may be less than the rank asked for."""
        size: dict[str, int] = {}
        for indices, factor in zip(self.format.tensor_indices(len(self.modes)), factors):
            size.update(zip(indices, (int(n) for n in factor.shape)))
        return self.format.rank_from_sizes(size, len(self.modes))

    def n_param(self, factors: Sequence[Any]) -> int:
        """Parameters of factors in the tensor form, with modes of the sizes that count."""
        return self.format.make_tensor_network(self.counted_modes or self.modes, self.rank_of(factors)).n_param

    def good_enough(self, exact: float) -> float:
        """Relative error below which a fit need not go on: the one allowed, or `exact` where that is more."""
        norm = float(self.backend.norm(self.tensor))
        return max(exact, self.error / norm) if norm else exact

    def tell(self, factors: Sequence[Any], error: float) -> bool:
        """Tell the user of one iteration, in the terms of the problem that was given; return whether to stop."""
        return self.progress.watched and self.progress.tell(*self.view(list(factors), error))

    def seen_through(self, view: View) -> View:
        """View of a problem derived from this one, `view` leading from its factors and error to this one's."""
        return lambda factors, error: self.view(*view(factors, error))

    def first_start(self, start: "Start") -> list[Any]:
        """Factors to start from first: `start`'s, random ones, or the user's own."""
        if isinstance(self.init, str):
            return self.random_start() if self.init == "random" else start(self)
        return list(self.init)

    def random_start(self) -> list[Any]:
        """Factors of the rank asked for, drawn at random, whose reconstruction has about the norm of the tensor."""
        network = self.format.make_tensor_network(self.modes, self.rank)
        norm = float(self.backend.norm(self.tensor)) / math.prod(network.out_modes) ** 0.5
        scale = norm ** (1 / len(network.factors))
        return [new_array(self.backend, scale * one, self.tensor) for one in unit_factors(network, self.generator)]


Algorithm = Callable[[Problem], list[Any]]
Start = Callable[[Problem], list[Any]]
ALGORITHMS: dict[str, Algorithm] = {}
#: Names of the methods that an algorithm offers besides ``'auto'``.
METHODS: dict[str, tuple[str, ...]] = {}
#: Formats whose algorithm keeps an error asked for.
WITH_ERROR: list[str] = []
#: For some formats, an algorithm that truncates once instead of iterating; its factors form a tree.
DIRECT: dict[str, Algorithm] = {}


def decomposes(name: str, keeps_error: bool = False, methods: tuple[str, ...] = ()) -> Callable[[Algorithm], Algorithm]:
    """Make a function the algorithm of the format of that name, and say what it can do."""

    def register(algorithm: Algorithm) -> Algorithm:
        ALGORITHMS[name] = algorithm
        METHODS[name] = methods
        if keeps_error:
            WITH_ERROR.append(name)
        return algorithm

    return register


def truncates(name: str) -> Callable[[Algorithm], Algorithm]:
    """Make a function the direct algorithm of the format of that name."""

    def register(algorithm: Algorithm) -> Algorithm:
        DIRECT[name] = algorithm
        return algorithm

    return register
