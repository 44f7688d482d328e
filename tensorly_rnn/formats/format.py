"""Base class of formats: the index names of factors and ranks, from which networks, counts and budgets are derived."""

import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self

import numpy as np

from tensorly_rnn._checks import MOST_RANK, BudgetError, plain, positive_int
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._networks import matrix_network, network_of_shapes, tensor_network
from tensorly_rnn.network.network import Network
from tensorly_rnn.tensorize import Modes, TensorizedShape, validate_tensorized_shape

#: A rank in canonical form, made of plain ints; each format's own.
Rank = Any
#: A rank with the names of indices in place of their sizes: a name, or a tuple of names and tuples.
RankNames = str | tuple[Any, ...]


@dataclass(frozen=True)
class Format(ABC):
    """Names of the indices and ranks of a format, as a frozen, hashable value.

    A format defines `indices`, `rank_names` and `full`; it may define `useful` and `expand`. The number of modes, the sizes
    of the rank indices, ranks given as an int or a fraction, and networks are derived from these.

    An index that is in one factor only, and is neither a mode nor the stack, has size 1, as at the ends of a train. A name
    that occurs twice in `rank_names` is one index, whose two entries must be equal, as in a ring.

    Fields of a subclass, such as the tree of `HT`, are options wherever a format is given by name.
    """

    name: ClassVar[str]
    #: Where the gates of a recurrent layer may be: on the first or last output mode, or on the stack; the first by default.
    gate_modes: ClassVar[tuple[str, ...]] = ("first", "last")
    #: Index that stacks several matrices, rows stack-major; the option ``root_rank`` is its size.
    stack_index: ClassVar[str | None] = None
    #: Index of the blocks of a sum; its size is 1 unless a rank gives it, and 1, 2 or 3 in a search within a budget.
    block_index: ClassVar[str | None] = None

    @abstractmethod
    def indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names of the axes of every factor: ``j1..jd`` for outputs, ``i1..id`` for inputs, and ranks."""

    @abstractmethod
    def rank_names(self, order: int) -> RankNames:
        """Return the form of a rank, with the names of the rank indices in place of their sizes."""

    @abstractmethod
    def full(self, sizes: Modes, stack: int = 1) -> Rank:
        """Return the smallest rank that represents any tensor of these mode sizes, or any stack of that many tensors."""

    def useful(self, sizes: Modes, stack: int = 1) -> Rank:
        """Return the rank that bounds the entries of `uniform_rank`; by default `full`."""
        return self.full(sizes, stack)

    def expand(self, order: int, rank: Any, root_rank: int | None = None) -> Any:
        """Return a rank given in a short form of the format in the form of `rank_names`; others as they are."""
        return rank

    @property
    def fields(self) -> dict[str, Any]:
        """Fields of the value by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def options(self) -> tuple[str, ...]:
        """Keywords that are options of the format or of its rank."""
        return (*(("root_rank",) if self.stack_index else ()), *self.fields)

    @property
    def families(self) -> tuple[dict[str, int], ...]:
        """Options of `uniform_rank` that are tried in a search within a budget."""
        return tuple({"n_blocks": n} for n in (1, 2, 3)) if self.block_index else ({},)

    def with_options(self, options: Mapping[str, Any], order: int) -> tuple[Self, dict[str, Any]]:
        """Return the format with the given fields replaced, for that number of modes, and the other options.

        Options unknown to the format, and fields that are invalid or do not fit the number of modes, are refused.
        """
        for option, value in options.items():
            if option not in self.options:
                raise TypeError(
                    f"{option} must be an option of the format {self.name!r}; expected {self.options or 'none'}, "
                    f"got {option}={value!r}."
                )
        given = {name: options[name] for name in self.fields if options.get(name) is not None}
        format = (replace(self, **given) if given else self).for_order(order)
        return format, {name: value for name, value in options.items() if name not in self.fields}

    def for_order(self, order: int) -> Self:
        """Return the format for that many modes, which its fields must fit; equal formats of that order compare equal."""
        return self

    def order_of(self, n_factors: int) -> int | None:
        """Return the number of modes of a matrix with that many factors; None if no matrix has as many."""
        return _order_of(self, n_factors)

    def tensor_indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names in the tensor form, where mode k is one axis ``j_k`` instead of a pair."""
        return tuple(tuple(index for index in indices if not index.startswith("i")) for indices in self.indices(order))

    def rank_sizes(self, rank: Rank) -> dict[str, int]:
        """Return the size of every rank index under a canonical rank."""
        entries = _flat(rank)
        return dict(zip(_names_of_length(self, len(entries)), entries))

    def rank_from_sizes(self, size: Mapping[str, int], order: int) -> Rank:
        """Return the canonical rank, given the size of every rank index."""
        return _filled(self.rank_names(order), size)

    def full_rank(self, tensorized_shape: TensorizedShape, root_rank: int | None = None) -> Rank:
        """Return the smallest rank that represents any matrix, or any stack of `root_rank` matrices."""
        return self.full(_mode_sizes(tensorized_shape), _checked_stack(root_rank))

    def uniform_rank(
        self, tensorized_shape: TensorizedShape, rank: int, root_rank: int | None = None, n_blocks: int = 1
    ) -> Rank:
        """Return the rank with all entries equal to `rank`, or to those of `useful` where these are smaller."""
        stack = _checked_stack(root_rank)
        bounds = self.rank_sizes(self.useful(_mode_sizes(tensorized_shape), stack))
        sizes = {index: min(rank, bound) for index, bound in bounds.items()}
        if self.stack_index:
            sizes[self.stack_index] = stack
        if self.block_index:
            sizes[self.block_index] = n_blocks
        return self.rank_from_sizes(sizes, len(tensorized_shape[0]))

    def explicit_rank(self, tensorized_shape: TensorizedShape, rank: Any, root_rank: int | None = None) -> Rank:
        """Return the canonical rank for one given as an int or in the format's own form.

        It must have that form and length, and positive entries that are 1 or equal to others where they must be.
        """
        order = len(tensorized_shape[0])
        stack = None if root_rank is None else positive_int("root_rank", root_rank, most=MOST_RANK)
        names, fixed = self.rank_names(order), _ends(self, order)
        rank = self.expand(order, rank, stack)
        sizes: dict[str, int] = {}
        if isinstance(rank, (tuple, list)):
            for index, size in _entries("rank", names, rank, names):
                if index in fixed and size != 1:
                    raise ValueError(
                        f"rank must be 1 at the ends, for indices in one factor only; expected {index} = 1, got {size} in "
                        f"{plain(rank)}. Give 1 there."
                    )
                if sizes.setdefault(index, size) != size:
                    raise ValueError(
                        f"rank must have equal entries for one index; expected {index} = {sizes[index]} again, got {size} in "
                        f"{plain(rank)}."
                    )
            if stack is not None and self.stack_index and sizes[self.stack_index] != stack:
                raise ValueError(
                    f"root_rank must agree with the root's entry of rank; expected {sizes[self.stack_index]}, got {stack}. "
                    "Leave root_rank out."
                )
        else:
            cure = f"Give an int, a float, 'same', 'full' or {_written(names)}."
            uniform = positive_int("rank", rank, cure, MOST_RANK)
            sizes = {index: 1 if index in fixed else uniform for index in _flat(names)}
            sizes |= {index: 1 for index in (self.stack_index, self.block_index) if index}
            if self.stack_index and stack:
                sizes[self.stack_index] = stack
        return _filled(names, sizes)

    def validate_rank(self, tensorized_shape: Any, rank: Any = "same", **options: Any) -> Rank:
        r"""Return a rank in the format's canonical form, made of plain ints.

        Parameters
        ----------
        tensorized_shape : (tuple of int, tuple of int)
            ``(out_modes, in_modes)``
        rank : 'full', 'same', float, int or the format's own form
            ``'full'`` represents any matrix. A float is an upper bound of the parameters as a fraction of those of the dense
            matrix; the largest uniform rank within it is taken. ``'same'`` is 1.0.
        **options
            ``root_rank`` if the format has a stack, and the format's fields.

        Raises
        ------
        TypeError, ValueError
            If the form or length of the rank is wrong, it is not positive, or a fraction is below the format's minimum.

        Examples
        --------
        >>> from tensorly_rnn.formats import TTMatrix
        >>> TTMatrix.format.validate_rank(((4, 4, 4), (8, 8, 8)), 5)
        (1, 5, 5, 1)
        """
        modes = validate_tensorized_shape(tensorized_shape)
        format, options = self.with_options(options, len(modes[0]))
        return format.canonical_rank(modes, rank, **options)

    def canonical_rank(self, modes: TensorizedShape, rank: Any, n_dense: int | None = None, **options: Any) -> Rank:
        """Return `validate_rank` for checked modes and options; a share is of `n_dense`, by default of the padded matrix."""
        if isinstance(rank, str) and rank == "full":
            return self.full_rank(modes, **options)
        if isinstance(rank, str) and rank != "same":
            raise ValueError(f"rank must be known; expected 'full', 'same' or numbers, got {rank!r}.")
        share, blocks = self.rank_share(rank)
        if not isinstance(share, (float, np.floating)):
            return self.explicit_rank(modes, rank, **options)
        if not (math.isfinite(share) and share > 0):
            raise ValueError(f"rank as a share of the dense parameters must be positive and finite; got {float(share)}.")
        options |= blocks
        if n_dense is None:
            n_dense = math.prod(self.make_network(modes, self.uniform_rank(modes, 1, **options)).shape)
        return self.rank_within(modes, math.floor(float(share) * n_dense), f"rank={plain(rank)!r}", **options)

    def rank_share(self, rank: Any) -> tuple[Any, dict[str, int]]:
        """Split ``(n_blocks, float)`` into the float and options of `uniform_rank`; ``'same'`` is 1.0, others as they are."""
        if (
            self.block_index
            and isinstance(rank, (tuple, list))
            and len(rank) == 2
            and isinstance(rank[1], (float, np.floating))
        ):
            return rank[1], {"n_blocks": positive_int("rank[0]", rank[0], most=MOST_RANK)}
        return (1.0 if isinstance(rank, str) and rank == "same" else rank), {}

    def rank_within(self, tensorized_shape: TensorizedShape, budget: int, typed: str, **options: Any) -> Rank:
        """Return `rank_at_most`; raise a `BudgetError`, which names the budget as `typed`, where rank 1 exceeds it."""
        found = self.rank_at_most(tensorized_shape, budget, **options)
        if found is None:
            smallest = self.make_network(tensorized_shape, self.uniform_rank(tensorized_shape, 1, **options))
            share = smallest.n_param / math.prod(smallest.shape)
            raise BudgetError(
                f"{typed} must leave room for rank 1; expected a budget of at least {smallest.n_param} parameters "
                f"(a share of {share:.3g}), got {budget}. Ask for more, or choose other modes.",
                smallest.n_param,
            )
        return found

    def rank_at_most(self, tensorized_shape: TensorizedShape, budget: int, **options: Any) -> Rank | None:
        """Return the largest uniform rank of at most `budget` parameters; None where rank 1 has more."""

        def n_param(rank: int) -> int:
            return self.make_network(tensorized_shape, self.uniform_rank(tensorized_shape, rank, **options)).n_param

        if n_param(1) > budget:
            return None
        low, high = 1, 2
        while n_param(high) <= budget and n_param(high) > n_param(low):
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if n_param(middle) <= budget else (low, middle)
        return self.uniform_rank(tensorized_shape, low, **options)

    def make_network(self, tensorized_shape: TensorizedShape, rank: Rank) -> Network:
        """Return the network of a matrix for canonical arguments; cached."""
        return matrix_network(self, tensorized_shape, rank)

    def make_tensor_network(self, shape: Modes, rank: Rank) -> Network:
        """Return the network of a tensor of that shape; cached."""
        return tensor_network(self, shape, rank)

    def network_of_shapes(self, shapes: tuple[tuple[int, ...], ...]) -> Network:
        """Return the network of a matrix with factors of these shapes; an error names the first misfit; cached."""
        return network_of_shapes(self, shapes, False)

    def tensor_network_of_shapes(self, shapes: tuple[tuple[int, ...], ...]) -> Network:
        """Return the network of a tensor with factors of these shapes, as `network_of_shapes` for a matrix; cached."""
        return network_of_shapes(self, shapes, True)


def smaller_sides(sizes: Modes) -> tuple[int, ...]:
    """Return the smaller side of every cut of a chain of modes, ends included: the ranks that represent any tensor.

    Examples
    --------
    >>> smaller_sides((2, 3, 5))
    (1, 2, 5, 1)
    """
    return tuple(min(math.prod(sizes[:k]), math.prod(sizes[k:])) for k in range(len(sizes) + 1))


def _mode_sizes(tensorized_shape: TensorizedShape) -> Modes:
    return tuple(m * n for m, n in zip(*tensorized_shape))


def _checked_stack(root_rank: Any) -> int:
    return 1 if root_rank is None else positive_int("root_rank", root_rank, most=MOST_RANK)


def _flat(rank: Any) -> tuple[Any, ...]:
    """Return the entries of a canonical rank, or of its form, in their order."""
    return tuple(entry for one in rank for entry in _flat(one)) if isinstance(rank, tuple) else (rank,)


def _filled(names: RankNames, size: Mapping[str, int]) -> Rank:
    return size[names] if isinstance(names, str) else tuple(_filled(one, size) for one in names)


def _entries(argument: str, names: RankNames, rank: Any, form: RankNames) -> Iterator[tuple[str, int]]:
    """Yield every index with its size; one int may be given for a tuple of indices."""
    if isinstance(names, str):
        yield names, positive_int(argument, rank, most=MOST_RANK)
    elif isinstance(rank, (tuple, list)):
        if len(rank) != len(names):
            raise ValueError(
                f"{argument} must have {len(names)} entries; expected the form {_written(form)}, got {len(rank)} entries: "
                f"{plain(rank)}."
            )
        for k, (one, entry) in enumerate(zip(names, rank)):
            yield from _entries(f"{argument}[{k}]", one, entry, form)
    else:
        size = positive_int(argument, rank, f"Give an int, or one entry for each of {_written(names)}.", MOST_RANK)
        yield from ((index, size) for index in _flat(names))


def _written(names: RankNames) -> str:
    return names if isinstance(names, str) else f"({', '.join(map(_written, names))})"


@memoize
def _order_of(format: Format, n_factors: int) -> int | None:
    # The number of factors grows with the number of modes, so at most one order fits.
    return next((order for order in range(1, n_factors + 1) if len(format.indices(order)) == n_factors), None)


@memoize
def _ends(format: Format, order: int) -> frozenset[str]:
    """Return the rank indices that are in one factor only, without the stack."""
    count = Counter(index for indices in format.indices(order) for index in set(indices))
    names = _flat(format.rank_names(order))
    return frozenset(index for index in names if count[index] == 1 and index != format.stack_index)


@memoize
def _names_of_length(format: Format, length: int) -> tuple[str, ...]:
    """Return the names in the canonical ranks with that many entries."""
    for order in range(1, length + 2):
        names = _flat(format.rank_names(order))
        if len(names) == length:
            return names
    raise ValueError(f"rank must have the form of {format.name!r}; expected {format.rank_names(2)} for two modes.")
