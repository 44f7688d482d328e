"""One row a format: its reference, its count as the papers write it, and ranks that must fail."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

import tensorly_rnn as tlr
from tensorly_rnn.testing import Subject, canonical_ranks
from tensorly_rnn.testing.strategies import pool
from tests import reference
from tests.strategies import slow_where


@dataclass(frozen=True)
class Case:
    name: str
    reference: Callable[[list], Any]
    # Parameters from the sizes p_k = m_k n_k and the canonical rank, written as in the papers.
    count: Callable[[list[int], Any], int]
    # Ranks for three modes that must be refused: the rank, the error, part of its message.
    wrong_ranks: tuple[tuple[Any, type[Exception], str], ...]
    # Factor by which truncation may miss the best error, for d modes; None where none is known.
    bound: Callable[[int], float] | None = None
    options: tuple[dict[str, Any], ...] = field(default=({},))

    def __str__(self) -> str:
        return self.name

    @property
    def pool(self) -> dict[Any, Any]:
        return pool(tlr.get_format(self.name))

    def ranks(self, order: int) -> Any:
        """Strategy of canonical ranks for a number of modes."""
        return canonical_ranks(tlr.get_format(self.name), ((1,) * order, (1,) * order))

    def subject(self, backend: Any) -> Subject:
        return Subject(tlr.get_format(self.name), backend, self.reference, self.count, recovery=1e-12)


def _chain_count(sizes, rank):
    return sum(rank[k] * size * rank[k + 1] for k, size in enumerate(sizes))


def _block_term_count(sizes, rank):
    n_blocks, ranks = rank
    return n_blocks * (sum(size * r for size, r in zip(sizes, ranks)) + math.prod(ranks))


def _tree_count(sizes, rank):
    queue, total, numbers = [sizes], 0, iter(range(1, len(rank)))
    for node, span in enumerate(queue):
        if len(span) == 1:
            total += rank[node] * span[0]
        else:
            left, right = next(numbers), next(numbers)
            total += rank[node] * rank[left] * rank[right]
            queue += [span[: len(span) // 2], span[len(span) // 2 :]]
    return total


_COMMON_WRONG = (
    (0, ValueError, "rank must be a positive integer; expected at least 1, got 0"),
    (-2, ValueError, "expected at least 1, got -2"),
    (True, TypeError, "got True of type bool"),
    (None, TypeError, "got None of type NoneType"),
    ("half", ValueError, "expected 'full', 'same' or numbers, got 'half'"),
    (float("nan"), ValueError, "must be positive and finite; got nan"),
    (-0.5, ValueError, "must be positive and finite; got -0.5"),
    (1e-9, ValueError, "expected a budget of at least"),
)

CASES = (
    Case(
        "tt",
        reference.chain,
        _chain_count,
        (
            *_COMMON_WRONG,
            ((1, 2, 1), ValueError, "rank must have 4 entries; expected the form .*, got 3 entries"),
            ((2, 2, 2, 2), ValueError, "must be 1 at the ends.* expected r0 = 1, got 2"),
            ((1, 2, 0, 1), ValueError, r"rank\[2\] must be a positive integer; expected at least 1, got 0"),
            ((1, 2, 1.5, 1), TypeError, r"rank\[2\] must be a positive integer; expected int, got 1.5 of type float"),
        ),
        bound=lambda order: math.sqrt(order - 1),
    ),
    Case(
        "tr",
        reference.chain,
        _chain_count,
        (
            *_COMMON_WRONG,
            ((2, 2, 2), ValueError, "rank must have 4 entries; expected the form .*, got 3 entries"),
            ((2, 3, 2, 3), ValueError, "must have equal entries for one index; expected r0 = 2 again, got 3"),
            ((2, -3, 2, 2), ValueError, r"rank\[1\] must be a positive integer; expected at least 1, got -3"),
        ),
    ),
    Case(
        "bt",
        reference.block_term,
        _block_term_count,
        (
            *_COMMON_WRONG,
            ((1, 2, 3), ValueError, r"must have 2 entries; expected the form \(n, \(r1, r2, r3\)\), got 3 entries"),
            ((0, 2), ValueError, r"rank\[0\] must be a positive integer; expected at least 1, got 0"),
            ((2, (1, 2)), ValueError, r"rank\[1\] must have 3 entries; expected the form .*, got 2 entries"),
            ((2, 1e-9), ValueError, "expected a budget of at least"),
        ),
    ),
    Case(
        "ht",
        reference.hierarchical_tucker,
        _tree_count,
        (
            *_COMMON_WRONG,
            ((1, 2, 3), ValueError, r"must be \(leaf, node\) or have one entry per node .*expected 2 or 5 entries, got 3"),
            ((2, 0), ValueError, r"rank\[1\] must be a positive integer; expected at least 1, got 0"),
        ),
        bound=lambda order: math.sqrt(max(2 * order - 2, 1)),
        options=({}, {"root_rank": 3}),
    ),
)

every_format = pytest.mark.parametrize("case", CASES, ids=str)


def slow_formats(*names: str) -> pytest.MarkDecorator:
    """Return the parametrization by `CASES`; some formats are marked slow."""
    return pytest.mark.parametrize("case", slow_where(lambda case: case.name in names, CASES), ids=str)


#: Formats with loops are fitted by many iterations.
slow_with_loops = slow_formats("tr", "bt")
