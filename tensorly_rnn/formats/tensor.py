"""Base class of tensors in a format, in TensorLy's style: mode k is one axis of a factor instead of a pair."""

import numbers
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tensorly_rnn._backend import check_real, same_backend_and_device
from tensorly_rnn._checks import instance_of, positive_ints
from tensorly_rnn.formats._random import RandomState
from tensorly_rnn.formats._registry import get_format
from tensorly_rnn.formats.factorized import Factorized
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.network import operations


class DenseForms:
    """Dense forms of a tensor of shape `shape`, by its `to_tensor`."""

    backend: Any
    shape: Any
    # TensorLy's classes are mappings, whose comparison does not work for them.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def to_tensor(self) -> Any:
        """Return the dense tensor of shape `shape`."""
        raise NotImplementedError

    def to_unfolded(self, mode: int) -> Any:
        """Return the unfolding of shape ``(shape[mode], product of the others)``, with columns as in TensorLy's ``unfold``."""
        backend, order = self.backend, len(self.shape)
        number = _checked_mode(mode, order)
        axes = (number, *(k for k in range(order) if k != number))
        return backend.reshape(backend.transpose(self.to_tensor(), axes), (self.shape[number], -1))

    def to_vec(self) -> Any:
        """Return the dense tensor as a vector, row-major."""
        return self.backend.reshape(self.to_tensor(), (-1,))


class FactorizedTensor(DenseForms, Factorized):
    """Tensor of shape ``(p_1, ..., p_d)`` held as the factors of a format.

    Parameters
    ----------
    factors : sequence of arrays
        Of one backend, in the format's order; kept as they are, not copied.

    Raises
    ------
    TypeError, ValueError
        If the factors are not arrays of one backend or do not fit together.
    """

    _kind, _is_tensor = "factorized tensor", True

    def __init__(self, factors: Sequence[Any]) -> None:
        self._hold(getattr(factors, "factors", factors))

    def _with(self, factors: Sequence[Any]) -> Self:
        return type(self)(factors, **self.format.fields)

    def _space(self) -> dict[str, Any]:
        return {"shape": self.shape}

    def _bounds(self, rank: Any) -> dict[str, int]:
        return self.format.rank_sizes(self.format.validate_rank(_column(self.shape), rank))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the modes."""
        network = self.network
        return network.out_modes[1:] if self.format.stack_index else network.out_modes

    @property
    def order(self) -> int:
        """Number of modes."""
        return len(self.shape)

    def to_tensor(self) -> Any:
        """Return the dense tensor of shape `shape`."""
        return self._cropped(operations.to_matrix(self.backend, self.network, self.factors))

    def relative_error(self, tensor: Any) -> float:
        """Return ``||T - f||_F / ||T||_F`` for an array T of shape `shape`: 0 where both are zero, infinity where only T is.

        Parameters
        ----------
        tensor : array of the factors' backend
        """
        same_backend_and_device({"factors[0]": self.factors[0], "tensor": tensor})
        if tuple(tensor.shape) != self.shape:
            raise ValueError(f"tensor must have the shape of f; expected {self.shape}, got {tuple(tensor.shape)}.")
        check_real("tensor", tensor)
        return self.as_matrix().relative_error(self.backend.reshape(tensor, (-1, 1)))

    def as_matrix(self) -> FactorizedMatrix:
        """Return the factors as those of a matrix of one column, ``tensorized_shape = (shape, (1, ..., 1))``."""
        shapes = self.format.make_network(_column(self.shape), self.rank).factor_shapes
        factors = [self.backend.reshape(factor, shape) for factor, shape in zip(self.factors, shapes)]
        return get_format(self.format.name).in_format(self.format, factors)

    @classmethod
    def random(
        cls,
        shape: Sequence[int],
        rank: Any = "same",
        std: float = 1.0,
        random_state: RandomState = None,
        like: Any = None,
        **options: Any,
    ) -> Self:
        """Draw a random tensor whose root mean square is exactly `std`.

        Parameters
        ----------
        shape : sequence of int
        rank : 'full', 'same', float, int or the format's own form
        std, random_state, like
            As in `FactorizedMatrix.random`.
        **options
            Options of the format (``tree`` of HT).
        """
        modes = positive_ints("shape", shape)
        return cls.of_matrix(get_format(cls.format.name).random(_column(modes), rank, std, random_state, like, **options))

    @classmethod
    def of_matrix(cls, matrix: FactorizedMatrix) -> Self:
        """Return the factors of a matrix as those of a tensor, each pair of modes ``(m_k, n_k)`` merged into one mode."""
        matrix_class = get_format(cls.format.name)
        instance_of("matrix", matrix, matrix_class, f"a {matrix_class.__name__}")
        modes = tuple(m * n for m, n in zip(*matrix.tensorized_shape))
        shapes = matrix.format.make_tensor_network(modes, matrix.rank).factor_shapes
        factors = [matrix.backend.reshape(one, shape) for one, shape in zip(matrix.factors, shapes)]
        return cls(factors, **matrix.format.fields)

    def __getitem__(self, index: int) -> Any:
        return self.factors[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.factors)

    def __len__(self) -> int:
        return len(self.factors)


def _column(shape: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the modes of a matrix of one column whose rows are the entries of a tensor."""
    return shape, (1,) * len(shape)


def _checked_mode(mode: Any, order: int) -> int:
    if isinstance(mode, bool) or not isinstance(mode, numbers.Integral):
        raise TypeError(f"mode must be an integer; expected 0 to {order - 1}, got {mode!r}.")
    number = int(mode)
    if not -order <= number < order:
        raise ValueError(f"mode must be one of the tensor's; expected 0 to {order - 1}, got {mode}.")
    return number % order
