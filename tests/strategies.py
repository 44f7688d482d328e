"""Strategies by the rows of `tests/cases.py`, fixed shapes, rows of parametrizations, refusals; more are in `tensorly_rnn.testing`."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st

import tensorly_rnn as tlr
from tensorly_rnn.testing import factorized_matrices

# Distinct primes and ones, orders 1 to 3.
SHAPES = (
    ((2,), (3,)),
    ((5,), (1,)),
    ((2, 3), (3, 2)),
    ((3, 1), (1, 5)),
    ((1, 2), (5, 3)),
    ((2, 3, 1), (3, 1, 2)),
    ((1, 2, 3), (5, 1, 2)),
    ((2, 1, 3), (1, 3, 2)),
    ((1, 1, 2, 3), (3, 2, 1, 1)),
)


def examples(of_ten: int, slow: bool = False) -> settings:
    """Return Hypothesis settings with a share of the profile's number of examples; at most 2 where `slow`."""
    scaled = max(1, settings().max_examples * of_ten // 10)
    return settings(max_examples=min(scaled, 2) if slow else scaled)


def pairwise(*axes: Iterable[Any]) -> list[tuple[Any, ...]]:
    """Return few rows, one value from each axis, in which any two values of two axes occur together at least once."""
    values = [tuple(axis) for axis in axes]
    pairs = {
        row: set(itertools.combinations(enumerate(row), 2))
        for row in itertools.product(*(range(len(axis)) for axis in values))
    }
    missing = set().union(*pairs.values())
    chosen = []
    while missing:
        chosen.append(max(pairs, key=lambda row: len(missing & pairs[row])))
        missing -= pairs[chosen[-1]]
    return [tuple(axis[k] for axis, k in zip(values, row)) for row in sorted(chosen)]


def in_pairs(*, slow: Callable[..., bool] = lambda *row: False, **axes: Iterable[Any]) -> pytest.MarkDecorator:
    """Return the parametrization of the arguments by `pairwise` rows; those for which `slow` is true are marked so."""
    rows = slow_where(slow, pairwise(*axes.values()))
    return pytest.mark.parametrize(tuple(axes), rows, ids=lambda value: getattr(value, "__name__", str(value)))


def slow_where(slow: Callable[..., bool], values: Iterable[Any]) -> list[Any]:
    """Return the values of a parametrization, where tuples are rows; those for which `slow` is true are marked so."""
    rows = [value if isinstance(value, tuple) else (value,) for value in values]
    return [pytest.param(*row, marks=pytest.mark.slow if slow(*row) else ()) for row in rows]


def slow_but_one(values: Iterable[Any], kept: int = 0) -> list[Any]:
    """Return the values of a parametrization, where tuples are rows, all but one of them marked slow."""
    values = list(values)
    return slow_where(lambda *row: row != (values[kept] if isinstance(values[kept], tuple) else (values[kept],)), values)


def refused(*rows: tuple[type[Exception], str, Callable[[], object]]) -> None:
    """Assert that each call, the last of a row, raises the row's error with a message that the row's pattern matches."""
    for error, message, call in rows:
        with pytest.raises(error, match=message):
            call()


@st.composite
def factorized(draw, case, slow=False):
    """A NumPy factorized matrix of one format with any uneven rank; for a slow backend, of the few kinds in the pool."""
    kind = tlr.get_format(case.name)
    if not slow:
        return draw(factorized_matrices(kind))
    modes, rank = draw(st.sampled_from(list(case.pool.items())))
    return draw(factorized_matrices(kind, tensorized_shape=st.just(modes), ranks=lambda _: st.just(rank)))
