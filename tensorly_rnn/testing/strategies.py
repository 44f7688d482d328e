"""Hypothesis strategies of modes, ranks, factorized matrices and tensors, all small and without symmetry."""

from collections import Counter
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from tensorly_rnn._checks import MOST_RANK, positive_int
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats import FactorizedMatrix, FactorizedTensor, get_format
from tensorly_rnn.tensorize import TensorizedShape, validate_tensorized_shape
from tensorly_rnn.testing.backends import Backend, get_backend

Matrix = TypeVar("Matrix", bound=FactorizedMatrix)
Tensor = TypeVar("Tensor", bound=FactorizedTensor)
#: Returns a strategy of ranks for a tensorized shape.
Ranks = Callable[[TensorizedShape], st.SearchStrategy[Any]]

# For backends that compile every shape.
POOL_SHAPES: tuple[TensorizedShape, ...] = (((2,), (3,)), ((2, 3), (3, 2)), ((2, 3, 1), (3, 1, 2)))

PRIMES = (2, 3, 5, 7)


def tensor_shapes(min_order: int = 1, max_order: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Return a strategy of tensor shapes whose modes are distinct primes and ones, of at most 210 entries.

    Parameters
    ----------
    min_order, max_order : int

    Examples
    --------
    >>> from hypothesis import given
    >>> @given(tensor_shapes(max_order=3))
    ... def law(shape):
    ...     assert 1 <= len(shape) <= 3 and set(shape) <= {1, 2, 3, 5, 7}
    >>> law()
    """
    return _orders(min_order, max_order).flatmap(_modes)


def tensorized_shapes(min_order: int = 1, max_order: int = 4) -> st.SearchStrategy[TensorizedShape]:
    """Return a strategy of ``(out_modes, in_modes)``, which together are as in `tensor_shapes`.

    Parameters
    ----------
    min_order, max_order : int
    """
    halves = _orders(min_order, max_order).flatmap(lambda order: _modes(2 * order))
    return halves.map(lambda modes: (modes[: len(modes) // 2], modes[len(modes) // 2 :]))


def _orders(min_order: int, max_order: int) -> st.SearchStrategy[int]:
    least, most = positive_int("min_order", min_order), positive_int("max_order", max_order, most=16)
    if least > most:
        raise ValueError(f"min_order must not be above max_order; expected at most {most}, got {least}.")
    return st.integers(least, most)


def _modes(length: int) -> st.SearchStrategy[tuple[int, ...]]:
    ones = (1,) * max(1, length + 1 - len(PRIMES))
    return st.permutations((*PRIMES, *ones)).map(lambda modes: tuple(modes[:length]))


def rank_indices(cls: type[FactorizedMatrix], order: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the rank indices of a format whose sizes are free, and those that must have size 1.

    A summed index of one factor only has size 1: on one axis it would only be a sum (the ends of a train), on two a trace
    (a ring of a single core).
    """
    factors = cls.format.indices(order)
    modes = {f"{side}{k + 1}" for side in "ji" for k in range(order)}
    occurrences = Counter(index for indices in factors for index in dict.fromkeys(indices))
    names = [index for index in dict.fromkeys(index for indices in factors for index in indices) if index not in modes]
    free = tuple(index for index in names if occurrences[index] > 1 or index == cls.format.stack_index)
    return free, tuple(index for index in names if index not in free)


def canonical_ranks(
    cls: type[FactorizedMatrix], tensorized_shape: TensorizedShape, max_size: int = 3
) -> st.SearchStrategy[Any]:
    """Return a strategy of a format's canonical ranks, with an independent size for each rank index.

    Parameters
    ----------
    cls : class of a matrix format
    tensorized_shape : (tuple of int, tuple of int)
    max_size : int
        Largest size of a rank index.

    Examples
    --------
    >>> from hypothesis import given
    >>> from tensorly_rnn import TRMatrix
    >>> @given(canonical_ranks(TRMatrix, ((2, 3), (3, 2))))
    ... def law(rank):
    ...     assert rank[0] == rank[2]
    >>> law()
    """
    if not (isinstance(cls, type) and issubclass(cls, FactorizedMatrix)):
        raise TypeError(f"cls must be a class of a matrix format; expected a FactorizedMatrix, got {cls!r}.")
    tensorized_shape = validate_tensorized_shape(tensorized_shape)
    max_size = positive_int("max_size", max_size, most=MOST_RANK)
    order = len(tensorized_shape[0])
    free, single = rank_indices(cls, order)
    sizes = st.fixed_dictionaries({index: st.integers(1, max_size) for index in free})
    return sizes.map(lambda drawn: _canonical(cls, tensorized_shape, {**drawn, **dict.fromkeys(single, 1)}))


def pool(cls: type[FactorizedMatrix]) -> dict[TensorizedShape, Any]:
    """Return a few shapes, each with one canonical rank of uneven sizes, for backends that compile every shape."""
    found = {}
    for shape in POOL_SHAPES:
        free, single = rank_indices(cls, len(shape[0]))
        # The smaller ones have a stack.
        stack = {cls.format.stack_index: 2 if len(shape[0]) < 3 else 1} if cls.format.stack_index else {}
        sizes = {index: 1 + (k + 1) % 3 for k, index in enumerate(free)}
        found[shape] = _canonical(cls, shape, {**sizes, **stack, **dict.fromkeys(single, 1)})
    return found


def _canonical(cls: type[FactorizedMatrix], shape: TensorizedShape, sizes: dict[str, int]) -> Any:
    return cls.format.explicit_rank(shape, cls.format.rank_from_sizes(sizes, len(shape[0])))


@st.composite
def factorized_matrices(
    draw: st.DrawFn,
    cls: type[Matrix],
    backend: str | Backend = "numpy",
    tensorized_shape: st.SearchStrategy[TensorizedShape] | None = None,
    ranks: Ranks | None = None,
    padded: bool = False,
) -> Matrix:
    """Return a strategy of matrices of a format on a backend, with normally distributed factors in double precision.

    Parameters
    ----------
    cls : class of a matrix format
    backend : str or Backend
        See `get_backend`.
    tensorized_shape : strategy of (tuple of int, tuple of int), optional
        Default: `tensorized_shapes`; for backends that compile every shape, those of `pool`.
    ranks : callable, optional
        Returns a strategy of ranks for a tensorized shape; default `canonical_ranks`.
    padded : bool
        Whether some matrices are smaller than their modes.

    Examples
    --------
    >>> from hypothesis import given
    >>> from tensorly_rnn import HTMatrix
    >>> @given(factorized_matrices(HTMatrix))
    ... def law(f):
    ...     assert f.n_param == sum(factor.size for factor in f.factors)
    >>> law()
    """
    on = get_backend(backend) if isinstance(backend, str) else backend
    fixed = pool(cls) if on.slow and tensorized_shape is None else {}
    if tensorized_shape is None:
        tensorized_shape = st.sampled_from(list(fixed)) if fixed else tensorized_shapes()
    shape = draw(tensorized_shape)
    rank = fixed[shape] if fixed and ranks is None else _draw_rank(draw, cls, shape, ranks)
    f = _draw_matrix(draw, cls, on, shape, cls.format.rank_sizes(rank))
    if not padded or on.slow:
        return f
    rows, columns = (draw(st.integers(1, n)) for n in (f.shape[0] // f.stack, f.shape[1]))
    return cls(f.factors, shape=(f.stack * rows, columns))


@st.composite
def factorized_pairs(
    draw: st.DrawFn,
    cls: type[Matrix],
    backend: str | Backend = "numpy",
    tensorized_shape: st.SearchStrategy[TensorizedShape] | None = None,
    ranks: Ranks | None = None,
    padded: bool = False,
) -> tuple[Matrix, Matrix]:
    """Return a strategy of two matrices of a format, of one shape and modes, with independent ranks.

    Parameters
    ----------
    cls, backend, tensorized_shape, ranks, padded
        See `factorized_matrices`.
    """
    on = get_backend(backend) if isinstance(backend, str) else backend
    f = draw(factorized_matrices(cls, on, tensorized_shape, ranks, padded))
    rank = f.rank if on.slow else _draw_rank(draw, cls, f.tensorized_shape, ranks)
    # Both have the same stack, which is part of the shape.
    sizes = {**cls.format.rank_sizes(rank), **({cls.format.stack_index: f.stack} if cls.format.stack_index else {})}
    g = _draw_matrix(draw, cls, on, f.tensorized_shape, sizes)
    return f, cls(g.factors, shape=f.shape)


@st.composite
def factorized_tensors(
    draw: st.DrawFn,
    cls: type[Tensor],
    backend: str | Backend = "numpy",
    shape: st.SearchStrategy[tuple[int, ...]] | None = None,
) -> Tensor:
    """Return a strategy of factorized tensors (`BTTensor`, `HTTensor`) with normally distributed factors.

    Parameters
    ----------
    cls : class of a factorized tensor
    backend : str or Backend
        See `get_backend`.
    shape : strategy of tuple of int, optional
        Default: `tensor_shapes`; for backends that compile every shape, those of `pool`.
    """
    on = get_backend(backend) if isinstance(backend, str) else backend
    format = cls.format
    kind = get_format(format.name)
    fixed = pool(kind) if on.slow and shape is None else {}
    if fixed:
        pairs = draw(st.sampled_from(list(fixed)))
        modes, rank = tuple(m * n for m, n in zip(*pairs)), fixed[pairs]
    else:
        modes = draw(tensor_shapes() if shape is None else shape)
        rank = draw(canonical_ranks(kind, (modes, (1,) * len(modes))))
    # A tensor has no stack.
    stacked = {format.stack_index: 1} if format.stack_index else {}
    sizes = {**format.rank_sizes(rank), **stacked, **{f"j{k + 1}": mode for k, mode in enumerate(modes)}}
    return cls([on.array(one) for one in _draw_factors(draw, format.tensor_indices(len(modes)), sizes)])


def _draw_rank(draw: st.DrawFn, cls: type[FactorizedMatrix], shape: TensorizedShape, ranks: Ranks | None) -> Any:
    return draw(canonical_ranks(cls, shape)) if ranks is None else cls.format.validate_rank(shape, draw(ranks(shape)))


def _draw_matrix(
    draw: st.DrawFn, cls: type[Matrix], on: Backend, shape: TensorizedShape, rank_sizes: dict[str, int]
) -> Matrix:
    sizes = {**rank_sizes, **{f"{side}{k + 1}": mode for side, modes in zip("ji", shape) for k, mode in enumerate(modes)}}
    return cls([on.array(one) for one in _draw_factors(draw, cls.format.indices(len(shape[0])), sizes)])


def _draw_factors(draw: st.DrawFn, indices: tuple[Indices, ...], sizes: dict[str, int]) -> list[np.ndarray]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return [generator.normal(size=tuple(sizes[index] for index in names)) for names in indices]
