"""What a format says of itself: how its factors are indexed and what its ranks mean. The rest follows."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import numpy as np

from tensorly_rnn._checks import BudgetError, plain
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.network.network import Network
from tensorly_rnn.tensorize import TensorizedShape, validate_tensorized_shape

Rank = Any  # each format's own canonical tuple


class Format(ABC):
    """Index names and ranks of a format, and the networks they make."""

    name: ClassVar[str]
    #: Where the gates of a recurrent layer may go: on the first or last output mode, or on a stack; the default first.
    gate_modes: ClassVar[tuple[str, ...]] = ("first", "last")
    #: Index that stacks several matrices, rows stack-major; only where a format has one.
    stack_index: ClassVar[str | None] = None
    #: Options of `uniform_rank` that make different kinds of even ranks, for budgets to choose from.
    families: ClassVar[tuple[dict[str, Any], ...]] = ({},)
    #: Keywords that a rank takes besides; ``root_rank`` is the size of the stack where there is one.
    options: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    @abstractmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes of a matrix with that many factors, or None if there is none."""

    @classmethod
    @abstractmethod
    def indices(cls, order: int) -> tuple[Indices, ...]:
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
    def check_options(cls, options: dict[str, Any]) -> None:
        """Raise a TypeError for an option that the format does not have."""
        for option, value in options.items():
            if option not in cls.options:
                raise TypeError(
                    f"{option} must be an option of the format {cls.name!r}; "
                    f"expected {cls.options or 'none'}, got {option}={value!r}."
                )

    @classmethod
    def variant(cls, options: dict[str, Any], order: int) -> tuple[type[Self], dict[str, Any]]:
        """Return the class that some of the options choose for that many modes (the tree of HT), and the other options."""
        return cls, options

    @classmethod
    def rank_share(cls, rank: Any) -> tuple[Any, dict[str, Any]]:
        """Split a rank given as a share of the dense parameters into the share and options of `uniform_rank`."""
        return rank, {}

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
            The format's own (``root_rank`` and ``tree`` of HT).

        Returns
        -------
        tuple
            Canonical rank, made of plain ints.

        Raises
        ------
        TypeError, ValueError
            If the rank is of another form or length, not positive, or a budget below the format's minimum.
        """
        tensorized_shape = validate_tensorized_shape(tensorized_shape)
        cls.check_options(options)
        chosen, options = cls.variant(options, len(tensorized_shape[0]))
        if chosen is not cls:
            return chosen.validate_rank(tensorized_shape, rank, **options)
        if isinstance(rank, str):
            if rank not in ("full", "same"):
                raise ValueError(f"rank must be known; expected 'full', 'same' or numbers, got {rank!r}.")
            if rank == "full":
                return cls.full_rank(tensorized_shape, **options)
            return cls._share_rank(tensorized_shape, 1.0, "rank='same'", **options)
        share, more = cls.rank_share(rank)
        if isinstance(share, (float, np.floating)):
            return cls._share_rank(tensorized_shape, float(share), f"rank={plain(rank)}", **more, **options)
        return cls.explicit_rank(tensorized_shape, rank, **options)

    @classmethod
    def _share_rank(cls, tensorized_shape: TensorizedShape, share: float, typed: str, **options: Any) -> Rank:
        if not (math.isfinite(share) and share > 0):
            raise ValueError(f"rank as a share of the dense parameters must be positive and finite; got {share}.")
        dense = math.prod(cls.make_network(tensorized_shape, cls.uniform_rank(tensorized_shape, 1, **options)).shape)
        return cls.rank_within(tensorized_shape, math.floor(share * dense), typed, **options)

    @classmethod
    def rank_within(cls, tensorized_shape: TensorizedShape, budget: int, typed: str, **options: Any) -> Rank:
        """Return `rank_at_most`; `function` and `typed`, the budget as it was asked for, are for the error.

        Raises
        ------
        BudgetError
            A `ValueError`: if rank 1 takes more.
        """
        found = cls.rank_at_most(tensorized_shape, budget, **options)
        if found is None:
            smallest = cls.make_network(tensorized_shape, cls.uniform_rank(tensorized_shape, 1, **options))
            share = smallest.n_param / math.prod(smallest.shape)
            raise BudgetError(
                f"{typed} must leave room for rank 1; expected a budget of at least {smallest.n_param} "
                f"parameters (a share of {share:.3g}), got {budget}. Ask for more, or choose other modes.",
                smallest.n_param,
            )
        return found

    @classmethod
    def rank_at_most(cls, tensorized_shape: TensorizedShape, budget: int, **options: Any) -> Rank | None:
        """Return the largest uniform rank of at most `budget` parameters; None where rank 1 takes more."""

        def n_param(rank: int) -> int:
            return cls.make_network(tensorized_shape, cls.uniform_rank(tensorized_shape, rank, **options)).n_param

        if n_param(1) > budget:
            return None
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

    @classmethod
    def tensor_indices(cls, order: int) -> tuple[Indices, ...]:
        """Return the index names of the factors' axes in the tensor form: mode k is one axis ``j_k`` instead of a pair."""
        return tuple(tuple(index for index in indices if not index.startswith("i")) for indices in cls.indices(order))

    @classmethod
    def make_tensor_network(cls, shape: tuple[int, ...], rank: Rank) -> Network:
        """Return the network of a tensor of that shape in the format; cached."""
        return _tensor_network(cls, shape, rank)

    @classmethod
    def network_of_shapes(cls, shapes: tuple[tuple[int, ...], ...]) -> Network:
        """Return the network that factors of these shapes form; cached.

        Raises
        ------
        ValueError
            Naming the first factor that does not fit.
        """
        return _network_of_shapes(cls, shapes)

    @classmethod
    def tensor_network_of_shapes(cls, shapes: tuple[tuple[int, ...], ...], name: str) -> Network:
        """Return the network that factors of these shapes form in the tensor form, for a class of that name; cached.

        Raises
        ------
        ValueError
            Naming the first factor that does not fit.
        """
        return _tensor_network_of_shapes(cls, shapes, name)


@memoize
def _network(cls: type[Format], tensorized_shape: TensorizedShape, rank: Rank) -> Network:
    out_modes, in_modes = tensorized_shape
    sizes = dict(cls.rank_sizes(rank))
    sizes |= {f"j{k + 1}": mode for k, mode in enumerate(out_modes)}
    sizes |= {f"i{k + 1}": mode for k, mode in enumerate(in_modes)}
    return _open_network(cls, len(in_modes), sizes)


@memoize
def _tensor_network(cls: type[Format], shape: tuple[int, ...], rank: Rank) -> Network:
    sizes = {**cls.rank_sizes(rank), **{f"j{k + 1}": mode for k, mode in enumerate(shape)}}
    return _open_tensor_network(cls, len(shape), sizes)


@memoize
def _network_of_shapes(cls: type[Format], shapes: tuple[tuple[int, ...], ...]) -> Network:
    order = _order_of(cls, len(shapes), cls.__name__)
    sizes = _sizes(cls.__name__, cls.indices(order), shapes)
    network = _open_network(cls, order, sizes)
    cls.explicit_rank((network.out_modes[-order:], network.in_modes), cls.rank_from_sizes(sizes, order))
    return network


@memoize
def _tensor_network_of_shapes(cls: type[Format], shapes: tuple[tuple[int, ...], ...], name: str) -> Network:
    order = _order_of(cls, len(shapes), name)
    sizes = _sizes(name, cls.tensor_indices(order), shapes)
    network = _open_tensor_network(cls, order, sizes)
    modes = network.out_modes[-order:]
    cls.explicit_rank((modes, (1,) * order), cls.rank_from_sizes(sizes, order))
    return network


def _order_of(cls: type[Format], n_factors: int, name: str) -> int:
    order = cls.order_of(n_factors)
    if order is None:
        raise ValueError(f"factors must form a network; {n_factors} factors do not. Give one a core or node.")
    return order


def _sizes(name: str, expected: tuple[Indices, ...], shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """The size of every index, or an error naming the first factor that does not fit."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    for number, (indices, shape) in enumerate(zip(expected, shapes)):
        if len(shape) != len(indices):
            raise ValueError(
                f"factors must have one axis an index; expected {len(indices)} axes {indices}, "
                f"got shape {shape} (at factors[{number}])."
            )
        for index, size in zip(indices, shape):
            if size < 1:
                raise ValueError(f"factors must not be empty; got shape {shape} (at factors[{number}]).")
            if sizes.setdefault(index, size) != size:
                raise ValueError(
                    f"factors must agree on the size of index {index}; expected {sizes[index]} as in "
                    f"factors[{first[index]}], got {size} in shape {shape} (at factors[{number}])."
                )
            first.setdefault(index, number)
    return sizes


def _open_network(cls: type[Format], order: int, sizes: dict[str, int]) -> Network:
    return Network(
        factors=cls.indices(order),
        outputs=(*_stacked(cls), *(f"j{k + 1}" for k in range(order))),
        inputs=tuple(f"i{k + 1}" for k in range(order)),
        sizes=tuple(sorted(sizes.items())),
    )


def _open_tensor_network(cls: type[Format], order: int, sizes: dict[str, int]) -> Network:
    return Network(
        factors=cls.tensor_indices(order),
        outputs=(*_stacked(cls), *(f"j{k + 1}" for k in range(order))),
        inputs=(),
        sizes=tuple(sorted(sizes.items())),
    )


def _stacked(cls: type[Format]) -> Indices:
    return (cls.stack_index,) if cls.stack_index else ()
