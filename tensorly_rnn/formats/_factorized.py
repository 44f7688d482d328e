"""What factorized matrices and tensors have in common: factors of one backend and dtype that form a network."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tensorly_rnn._backend import backend_of, is_real_float, same_backend
from tensorly_rnn.formats._arithmetic import Arithmetic
from tensorly_rnn.network import Network

NetworkOfShapes = Callable[[tuple[tuple[int, ...], ...]], Network]


class Factorized(Arithmetic):
    """Something dense of shape `shape`, held as `factors` of a `network`."""

    shape: Any

    @property
    def backend(self) -> Any:
        """TensorLy backend of the factors."""
        return backend_of(type(self).__name__, "factors[0]", self.factors[0])

    @property
    def dtype(self) -> Any:
        """Element type of the factors."""
        return self.factors[0].dtype

    @property
    def n_param(self) -> int:
        """Number of entries of all factors."""
        return self.network.n_param

    @property
    def compression_ratio(self) -> float:
        """Entries of the dense form over entries of the factors."""
        return math.prod(self.shape) / self.n_param

    def _description(self) -> str:
        return f"shape={self.shape}"

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self._description()}, rank={self.rank}, n_param={self.n_param}, "
            f"compression_ratio={self.compression_ratio:.4g})"
        )


def checked_factors(name: str, factors: Sequence[Any], network_of_shapes: NetworkOfShapes) -> list[Any]:
    """Return the factors as a list if they are arrays of one backend and dtype that form a network."""
    if isinstance(factors, (str, bytes)) or not isinstance(factors, Sequence):
        raise TypeError(f"{name}: factors must be a sequence of arrays; expected a list, got {type(factors).__name__}.")
    listed = list(factors)
    if not listed:
        raise ValueError(f"{name}: factors must not be empty; expected one array or more, got none.")
    same_backend(name, {f"factors[{k}]": factor for k, factor in enumerate(listed)})
    if not is_real_float(listed[0]):
        raise TypeError(f"{name}: factors must hold real floating-point numbers; got {listed[0].dtype} (at factors[0]).")
    for number, factor in enumerate(listed):
        if factor.dtype != listed[0].dtype:
            raise TypeError(
                f"{name}: factors must have one dtype; expected {listed[0].dtype} as in factors[0], "
                f"got {factor.dtype} (at factors[{number}])."
            )
    network_of_shapes(tuple(tuple(factor.shape) for factor in listed))
    return listed
