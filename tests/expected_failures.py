"""Laws that a backend cannot keep, and why: strict, so that a row goes as soon as its limit does."""

from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class ExpectedFailure:
    backend: str
    law: str
    formats: tuple[str, ...]
    reason: str
    # At most five lines without our code, which raise as long as the limit upstream stands.
    reproduction: str

    def __str__(self) -> str:
        return f"{self.law}-{self.backend}"


EVERY_FORMAT = ("bt", "ht", "tr", "tt")

EXPECTED_FAILURES: tuple[ExpectedFailure, ...] = (
    ExpectedFailure(
        "paddle",
        "half_precision",
        EVERY_FORMAT,
        "Paddle has no product of float16 arrays on a CPU",
        """
import paddle
half = paddle.ones([2, 2], dtype="float16")
paddle.matmul(half, half)
""",
    ),
)


def marks(law, name, backend, rows=EXPECTED_FAILURES):
    """Marks of a law's test for a format on a backend."""
    return [
        pytest.mark.xfail(strict=True, raises=AssertionError, reason=row.reason)
        for row in rows
        if (row.law, row.backend) == (law, backend) and name in row.formats
    ]


def check_reproduction(row):
    """Assert that a row's limit still stands, shown by five lines without our code."""
    lines = row.reproduction.strip().splitlines()
    assert 0 < len(lines) <= 5, f"{row}: {len(lines)} lines"
    assert "tensorly_rnn" not in row.reproduction, f"{row}: our code"
    with pytest.raises(Exception):  # noqa: B017 - whatever the backend raises, or an assertion about what it returns
        exec(compile(row.reproduction, str(row), "exec"), {})
