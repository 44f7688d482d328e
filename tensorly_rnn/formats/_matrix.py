"""What all formats share: a matrix held as factors. A format adds its index names and what its ranks mean."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, Self

import numpy as np

from tensorly_rnn import gradients as _gradients
from tensorly_rnn import operations
from tensorly_rnn._backend import backend_name, backend_of, new_array, same_backend
from tensorly_rnn._checks import plain, positive_int
from tensorly_rnn.contraction import Indices
from tensorly_rnn.network import Network
from tensorly_rnn.tensorize import (
    TensorizedShape,
    crop_matrix,
    pad_axis,
    pad_matrix,
    validate_shape,
    validate_tensorized_shape,
)

Rank = Any  # each format's own canonical tuple
RandomState = None | int | np.random.Generator | np.random.RandomState


class FactorizedMatrix(ABC):
    r"""A matrix ``W`` of shape ``(rows, columns)`` held as the factors of a tensor network.

    Parameters
    ----------
    factors : sequence of arrays
        Of one backend, in the format's order; kept as they are, not copied.
    shape : (int, int), optional
        True rows and columns where the modes multiply to more: what is beyond is cropped from results and padded with
        zeros in arguments. Default: the products of the modes.

    Raises
    ------
    TypeError, ValueError
        If the factors are not arrays of one backend, their number, axes or sizes do not fit together, or `shape` is
        larger than the modes allow.
    """

    name: ClassVar[str]
    #: Where the gates of a recurrent layer may go: on the first or last output mode, or on a stack; the default first.
    gate_modes: ClassVar[tuple[str, ...]] = ("first", "last")

    def __init__(self, factors: Sequence[Any], shape: tuple[int, int] | None = None) -> None:
        self.factors = _checked_factors(type(self), factors)
        stacked = self.network.size[self.stack_index] if self.stack_index else 1
        self._shape = None if shape is None else validate_shape(type(self).__name__, shape, self.network.shape, stacked)

    # What a format says of itself.

    #: Index that stacks several matrices, rows stack-major; only where a format has one.
    stack_index: ClassVar[str | None] = None

    @staticmethod
    @abstractmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes of a matrix with that many factors, or None if there is none."""

    @staticmethod
    @abstractmethod
    def indices(order: int) -> tuple[Indices, ...]:
        """Return the index names of every factor's axes, with ``j1..jd`` for outputs and ``i1..id`` for inputs."""

    @classmethod
    @abstractmethod
    def rank_sizes(cls, rank: Rank) -> dict[str, int]:
        """Return the size of every rank index under a canonical rank."""

    @classmethod
    @abstractmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> Rank:
        """Return the canonical rank, given the size of every rank index."""

    @classmethod
    @abstractmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> Rank:
        """Return the canonical rank for one given as int or in the format's own form."""

    @classmethod
    @abstractmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> Rank:
        """Return the smallest rank that reproduces any matrix."""

    @classmethod
    @abstractmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> Rank:
        """Return the rank with all entries equal to `rank`, or to what is useful where that is less."""

    @classmethod
    def rank_share(cls, rank: Any) -> tuple[Any, dict[str, Any]]:
        """Split a rank given as a share of the dense parameters into the share and options of `uniform_rank`."""
        return rank, {}

    # What follows from it.

    @classmethod
    def validate_rank(cls, tensorized_shape: Any, rank: Any = "same", **options: Any) -> Rank:
        r"""Return a rank in the format's canonical form.

        Parameters
        ----------
        tensorized_shape : (tuple of int, tuple of int)
            ``(out_modes, in_modes)``
        rank : 'full', 'same', float, int or the format's own form
            ``'full'`` reproduces any matrix. A float is a share of the dense parameters, an upper bound: the largest
            uniform rank within it is taken. ``'same'`` is 1.0.
        **options
            The format's own (``root_rank`` of HT).

        Returns
        -------
        tuple
            Canonical rank, made of plain ints.

        Raises
        ------
        TypeError, ValueError
            If the rank is of another form or length, not positive, or a budget below the format's minimum.
        """
        tensorized_shape = validate_tensorized_shape(f"{cls.__name__}.validate_rank", tensorized_shape)
        function = f"{cls.__name__}.validate_rank"
        if isinstance(rank, str):
            if rank not in ("full", "same"):
                raise ValueError(f"{function}: rank must be known; expected 'full', 'same' or numbers, got {rank!r}.")
            if rank == "full":
                return cls.full_rank(tensorized_shape, **options)
            rank = 1.0
        share, more = cls.rank_share(rank)
        if isinstance(share, (float, np.floating)):
            return cls._budget_rank(tensorized_shape, float(share), **more, **options)
        return cls.explicit_rank(tensorized_shape, rank, **options)

    @classmethod
    def _budget_rank(cls, tensorized_shape: TensorizedShape, share: float, **options: Any) -> Rank:
        function = f"{cls.__name__}.validate_rank"
        if not (math.isfinite(share) and share > 0):
            raise ValueError(
                f"{function}: rank as a share of the dense parameters must be positive and finite; got {share}."
            )

        def n_param(rank: int) -> int:
            return cls.make_network(tensorized_shape, cls.uniform_rank(tensorized_shape, rank, **options)).n_param

        smallest = cls.make_network(tensorized_shape, cls.uniform_rank(tensorized_shape, 1, **options))
        dense = math.prod(smallest.shape)
        budget = math.floor(share * dense)
        if smallest.n_param > budget:
            raise ValueError(
                f"{function}: rank {share} must leave room for rank 1; expected a budget of at least {smallest.n_param} "
                f"parameters (a share of {smallest.n_param / dense:.3g}), got {budget}. Ask for more, or choose other modes."
            )
        low, high = 1, 2
        while n_param(high) <= budget and n_param(high) > n_param(low):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if n_param(middle) <= budget else (low, middle)
        return cls.uniform_rank(tensorized_shape, low, **options)

    @classmethod
    def make_network(cls, tensorized_shape: TensorizedShape, rank: Rank) -> Network:
        """Return the network of the format for canonical arguments; cached."""
        return _network(cls, tensorized_shape, rank)

    @property
    def network(self) -> Network:
        """The network of the factors as they are now."""
        return _network_of_factors(type(self), tuple(tuple(factor.shape) for factor in self.factors))

    @property
    def backend(self) -> Any:
        """TensorLy backend of the factors."""
        return backend_of(type(self).__name__, "factors[0]", self.factors[0])

    @property
    def rank(self) -> Rank:
        """Canonical rank."""
        return self.rank_from_sizes(self.network.size, self.order)

    @property
    def order(self) -> int:
        """Number of modes of each side."""
        return len(self.network.inputs)

    @property
    def stack(self) -> int:
        """Number of matrices stacked, rows stack-major."""
        return self.network.size[self.stack_index] if self.stack_index else 1

    @property
    def tensorized_shape(self) -> TensorizedShape:
        """``(out_modes, in_modes)``, of one matrix of the stack."""
        network = self.network
        return network.out_modes[len(network.out_modes) - self.order :], network.in_modes

    @property
    def shape(self) -> tuple[int, int]:
        """True rows and columns."""
        return self._shape or self.network.shape

    @property
    def n_param(self) -> int:
        """Number of entries of all factors."""
        return self.network.n_param

    @property
    def compression_ratio(self) -> float:
        """Entries of the dense matrix over entries of the factors."""
        return math.prod(self.shape) / self.n_param

    @property
    def dtype(self) -> Any:
        """Element type of the factors."""
        return self.factors[0].dtype

    def to_tensor(self) -> Any:
        """Return the tensor of shape ``(*out_modes, *in_modes)``, led by the stack where there is more than one.

        Padding is not cropped: the tensor has the modes' sizes.
        """
        tensor = operations.to_tensor(self.backend, self.network, self.factors)
        out_modes, in_modes = self.tensorized_shape
        stacked = (self.stack,) if self.stack > 1 else ()
        return self.backend.reshape(tensor, (*stacked, *out_modes, *in_modes))

    def to_matrix(self) -> Any:
        """Return the dense matrix of shape `shape`."""
        backend = self.backend
        matrix = operations.to_matrix(backend, self.network, self.factors)
        return crop_matrix(backend, matrix, self.shape, self.stack)

    def apply(self, x: Any) -> Any:
        r"""Return ``y = x W^T`` without forming W: ``y[..., j] = sum_i W[j, i] x[..., i]``.

        Parameters
        ----------
        x : array of the factors' backend and dtype, shape (..., columns)

        Returns
        -------
        array, shape (..., rows)

        Raises
        ------
        TypeError, ValueError
            If x is of another backend or dtype, or of another width.
        """
        backend = self._check_operand("apply", "x", x, self.shape[1])
        network, factors, _ = operations.columns(self.network, self.factors, 0, self.shape[1])
        y = operations.apply(backend, network, factors, pad_axis(backend, x, len(x.shape) - 1, network.shape[1]))
        return self._crop_rows(backend, y)

    def gradients(self, x: Any, dy: Any) -> tuple[list[Any], Any]:
        r"""Gradients of a loss L with respect to the factors and to x, for ``y = f.apply(x)`` and ``dy = dL/dy``.

        ``dL/dfactor = sum over x's leading axes of (network without the factor) x dy``

        Parameters
        ----------
        x : array, shape (..., columns)
        dy : array, shape (..., rows)

        Returns
        -------
        (list of arrays, array)
            One gradient a factor, of its shape; the gradient of x, shape (..., columns).

        Raises
        ------
        TypeError, ValueError
            If x or dy is of another backend or dtype, or of another shape.

        Notes
        -----
        Twice the arithmetic of `apply`, and the forward pass once more.
        """
        self._check_operand("gradients", "x", x, self.shape[1])
        backend = self._check_operand("gradients", "dy", dy, self.shape[0])
        leading = tuple(x.shape[:-1])
        if tuple(dy.shape[:-1]) != leading:
            raise ValueError(
                f"{type(self).__name__}.gradients: dy must have the leading shape of x; expected {leading}, "
                f"got {tuple(dy.shape[:-1])}."
            )
        rows, columns = self.network.shape
        stacked_rows = backend.reshape(dy, (*leading, self.stack, self.shape[0] // self.stack))
        padded_dy = backend.reshape(
            pad_axis(backend, stacked_rows, len(leading) + 1, rows // self.stack), (*leading, rows)
        )
        padded_x = pad_axis(backend, x, len(leading), columns)
        of_factors, of_x = _gradients.gradients(backend, self.network, self.factors, padded_x, padded_dy)
        return of_factors, of_x[..., : self.shape[1]]

    def relative_error(self, matrix: Any) -> float:
        """Return ``||W - f||_F / ||W||_F``, going through slabs of columns: no second dense copy is made.

        Parameters
        ----------
        matrix : array of the factors' backend, shape `shape`

        Returns
        -------
        float
            0 where both are zero, infinity where only W is.

        Raises
        ------
        TypeError, ValueError
            If the matrix is of another backend or shape.
        """
        function = f"{type(self).__name__}.relative_error"
        backend = same_backend(function, {"factors[0]": self.factors[0], "matrix": matrix})
        if tuple(matrix.shape) != self.shape:
            raise ValueError(f"{function}: matrix must have the shape of f; expected {self.shape}, got {tuple(matrix.shape)}.")
        width = self.network.shape[1] // self.network.in_modes[0]
        difference = norm = 0.0
        for start in range(0, self.shape[1], width):
            stop = min(start + width, self.shape[1])
            network, factors, offset = operations.columns(self.network, self.factors, start, stop)
            slab = operations.to_matrix(backend, network, factors)[:, start - offset : stop - offset]
            slab = crop_matrix(backend, slab, (self.shape[0], stop - start), self.stack)
            target = matrix[:, start:stop]
            difference += float(backend.sum(backend.abs(target - slab) ** 2))
            norm += float(backend.sum(backend.abs(target) ** 2))
        if norm == 0.0:
            return 0.0 if difference == 0.0 else math.inf
        return math.sqrt(difference / norm)

    @property
    def T(self) -> "Transposed":  # noqa: N802 - as arrays spell it
        """The transposed matrix, on the same factors."""
        return Transposed(self)

    # Arrays leave `array @ f` to us.
    __array_ufunc__ = None

    def __matmul__(self, other: Any) -> Any:
        """Return ``W @ other`` for a vector or a matrix."""
        return _columns_of(self.backend, other, self.apply)

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``other @ W`` for a vector or a matrix."""
        return self.T._apply(other)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let ``tensor @ f`` reach `__rmatmul__`; any other torch function does not take a factorized matrix."""
        return _torch_matmul(function, args)

    @classmethod
    def random(
        cls,
        tensorized_shape: Any,
        rank: Any = "same",
        std: float = 1.0,
        random_state: RandomState = None,
        like: Any = None,
        **options: Any,
    ) -> Self:
        r"""Draw a random matrix whose root mean square is exactly `std`.

        Factors are drawn from a normal distribution, then all scaled alike, so that ``||W||_F / sqrt(rows * columns)``
        is `std` on every draw.

        Parameters
        ----------
        tensorized_shape : (tuple of int, tuple of int)
            ``(out_modes, in_modes)``
        rank : 'full', 'same', float, int or the format's own form
        std : float
            Root mean square of the entries of the reconstruction.
        random_state : int, Generator, RandomState or None
            One stream for all factors; None draws a new seed from the operating system.
        like : array, optional
            Gives backend, dtype and device; default NumPy's float64.
        **options
            The format's own (``root_rank`` of HT).

        Returns
        -------
        FactorizedMatrix
            Of the class it is called on.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong form.
        """
        function = f"{cls.__name__}.random"
        tensorized_shape = validate_tensorized_shape(function, tensorized_shape)
        if not (isinstance(std, (int, float, np.floating)) and math.isfinite(std) and std >= 0):
            raise ValueError(f"{function}: std must be a finite number of at least 0; got {std!r}.")
        network = cls.make_network(tensorized_shape, cls.validate_rank(tensorized_shape, rank, **options))
        drawn = unit_factors(network, as_generator(function, random_state))
        factors = scaled_factors(backend_of(function, "factors", drawn[0]), network, drawn, float(std))
        if like is None:
            return cls(factors)
        backend = backend_of(function, "like", like)
        return cls([new_array(backend, factor, like) for factor in factors])

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(shape={self.shape}, tensorized_shape={self.tensorized_shape}, rank={self.rank}, "
            f"n_param={self.n_param}, compression_ratio={self.compression_ratio:.4g})"
        )

    def _check_operand(self, method: str, argument: str, array: Any, width: int) -> Any:
        function = f"{type(self).__name__}.{method}"
        backend = same_backend(function, {"factors[0]": self.factors[0], argument: array})
        if array.dtype != self.dtype:
            raise TypeError(
                f"{function}: {argument} must have the factors' dtype; expected {self.dtype}, got {array.dtype}. "
                "Convert one of them."
            )
        if len(array.shape) < 1 or array.shape[-1] != width:
            raise ValueError(
                f"{function}: {argument} must have {width} entries along its last axis; expected (..., {width}), "
                f"got {tuple(array.shape)}."
            )
        return backend

    def _crop_rows(self, backend: Any, y: Any) -> Any:
        if y.shape[-1] == self.shape[0]:
            return y
        leading = tuple(y.shape[:-1])
        blocks = backend.reshape(y, (*leading, self.stack, y.shape[-1] // self.stack))
        return backend.reshape(blocks[..., : self.shape[0] // self.stack], (*leading, self.shape[0]))


class Transposed:
    """The transpose of a factorized matrix, on the same factors."""

    __array_ufunc__ = None

    def __init__(self, matrix: FactorizedMatrix) -> None:
        self._matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self._matrix.shape
        return columns, rows

    @property
    def T(self) -> FactorizedMatrix:  # noqa: N802 - as arrays spell it
        """The matrix itself."""
        return self._matrix

    def to_matrix(self) -> Any:
        """Return the dense matrix of shape `shape`."""
        return self._matrix.backend.transpose(self._matrix.to_matrix(), (1, 0))

    def __matmul__(self, other: Any) -> Any:
        """Return ``W^T @ other`` for a vector or a matrix."""
        return _columns_of(self._matrix.backend, other, self._apply)

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``other @ W^T`` for a vector or a matrix."""
        return self._matrix.apply(other)

    def _apply(self, y: Any) -> Any:
        """Return ``y W``."""
        f = self._matrix
        backend = f._check_operand("__rmatmul__", "the other operand", y, f.shape[0])
        rows = f.network.shape[0]
        leading = tuple(y.shape[:-1])
        blocks = backend.reshape(y, (*leading, f.stack, f.shape[0] // f.stack))
        padded = backend.reshape(pad_axis(backend, blocks, len(leading) + 1, rows // f.stack), (*leading, rows))
        return operations.apply(backend, f.network.transposed, f.factors, padded)[..., : f.shape[1]]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let ``tensor @ f.T`` reach `__rmatmul__`."""
        return _torch_matmul(function, args)

    def __repr__(self) -> str:
        return f"{self._matrix!r}.T"


def unit_factors(network: Network, generator: np.random.Generator | np.random.RandomState) -> list[np.ndarray]:
    """Draw normal factors such that the entries of the reconstruction have variance 1 in expectation."""
    opened = {*network.outputs, *network.inputs}
    # An entry of W sums prod(rank sizes) products of one entry a factor.
    terms = math.prod(n for index, n in network.sizes if index not in opened)
    std = terms ** (-0.5 / len(network.factors))
    return [std * generator.standard_normal(shape) for shape in network.factor_shapes]


def scaled_factors(backend: Any, network: Network, factors: Sequence[Any], std: float) -> list[Any]:
    """Scale all factors alike so that ``||W||_F / sqrt(rows * columns)`` is `std`."""
    measured = math.sqrt(float(operations.squared_norm(backend, network, factors)) / math.prod(network.shape))
    scale = (std / measured) ** (1 / len(factors)) if measured else 0.0
    return [factor * scale for factor in factors]


def as_generator(function: str, random_state: RandomState) -> np.random.Generator | np.random.RandomState:
    """Return a generator of random numbers of its own: NumPy's global one is never used."""
    if isinstance(random_state, (np.random.Generator, np.random.RandomState)):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    try:
        seed = positive_int(function, "random_state", int(random_state) + 1) - 1
    except (TypeError, ValueError):
        raise TypeError(
            f"{function}: random_state must be a seed or a generator; expected a non-negative int, "
            f"numpy.random.Generator, RandomState or None, got {random_state!r}."
        ) from None
    return np.random.default_rng(seed)


@lru_cache(maxsize=1024)
def _network(cls: type[FactorizedMatrix], tensorized_shape: TensorizedShape, rank: Rank) -> Network:
    out_modes, in_modes = tensorized_shape
    sizes = dict(cls.rank_sizes(rank))
    sizes |= {f"j{k + 1}": mode for k, mode in enumerate(out_modes)}
    sizes |= {f"i{k + 1}": mode for k, mode in enumerate(in_modes)}
    return _open_network(cls, len(in_modes), sizes)


@lru_cache(maxsize=1024)
def _network_of_factors(cls: type[FactorizedMatrix], shapes: tuple[tuple[int, ...], ...]) -> Network:
    """The network that factors of these shapes form, or an error naming the first that does not fit."""
    order = cls.order_of(len(shapes))
    if order is None:
        raise ValueError(f"{cls.__name__}: factors must form a network; {len(shapes)} factors do not. Give one a core or node.")
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    expected = cls.indices(order)
    for number, (indices, shape) in enumerate(zip(expected, shapes)):
        if len(shape) != len(indices):
            raise ValueError(
                f"{cls.__name__}: factors must have one axis an index; expected {len(indices)} axes {indices}, "
                f"got shape {shape} (at factors[{number}])."
            )
        for index, size in zip(indices, shape):
            if size < 1:
                raise ValueError(f"{cls.__name__}: factors must not be empty; got shape {shape} (at factors[{number}]).")
            if sizes.setdefault(index, size) != size:
                raise ValueError(
                    f"{cls.__name__}: factors must agree on the size of index {index}; expected {sizes[index]} as in "
                    f"factors[{first[index]}], got {size} in shape {shape} (at factors[{number}])."
                )
            first.setdefault(index, number)
    network = _open_network(cls, order, sizes)
    rank = cls.rank_from_sizes(sizes, order)
    cls.explicit_rank((network.out_modes[-order:], network.in_modes), rank)
    return network


def _open_network(cls: type[FactorizedMatrix], order: int, sizes: dict[str, int]) -> Network:
    stacked = (cls.stack_index,) if cls.stack_index else ()
    return Network(
        factors=cls.indices(order),
        outputs=(*stacked, *(f"j{k + 1}" for k in range(order))),
        inputs=tuple(f"i{k + 1}" for k in range(order)),
        sizes=tuple(sorted(sizes.items())),
    )


def _checked_factors(cls: type[FactorizedMatrix], factors: Sequence[Any]) -> list[Any]:
    if isinstance(factors, (str, bytes)) or not isinstance(factors, Sequence):
        raise TypeError(
            f"{cls.__name__}: factors must be a sequence of arrays; expected a list, got {type(factors).__name__}."
        )
    listed = list(factors)
    if not listed:
        raise ValueError(f"{cls.__name__}: factors must not be empty; expected one array or more, got none.")
    same_backend(cls.__name__, {f"factors[{k}]": factor for k, factor in enumerate(listed)})
    for number, factor in enumerate(listed):
        if factor.dtype != listed[0].dtype:
            raise TypeError(
                f"{cls.__name__}: factors must have one dtype; expected {listed[0].dtype} as in factors[0], "
                f"got {factor.dtype} (at factors[{number}])."
            )
    _network_of_factors(cls, tuple(tuple(factor.shape) for factor in listed))
    return listed


def _columns_of(backend: Any, other: Any, apply: Any) -> Any:
    """Apply a map of rows to the columns of a vector or a matrix."""
    if len(other.shape) == 1:
        return apply(other)
    if len(other.shape) != 2:
        raise ValueError(f"__matmul__: the other operand must be a vector or a matrix; got shape {tuple(other.shape)}.")
    return backend.transpose(apply(backend.transpose(other, (1, 0))), (1, 0))


def _torch_matmul(function: Any, args: Any) -> Any:
    left_operand = args[0] if args else None
    name = getattr(function, "__name__", str(function))
    if name in ("matmul", "__matmul__", "__rmatmul__") and len(args) == 2 and backend_name(left_operand) == "pytorch":
        return args[1].__rmatmul__(left_operand)
    return NotImplemented


def describe_rank(rank: Any) -> str:
    """Return a rank as it would be typed."""
    return str(plain(rank))
