"""Checks that several rooms share: each returns the value in its plain form or says what was wrong with it."""

import numbers
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

#: More modes than this are a mistake, or a sequence that does not end: the product of as many twos is beyond any memory.
MOST_MODES = 4096
#: More entries than this are beyond what any machine's memory addresses.
MOST_ENTRIES = 2**48

#: Larger ranks than this are a mistake: no array has as many rows.
MOST_RANK = 2**31


class BudgetError(ValueError):
    """A budget of parameters that leaves no room for rank 1.

    Attributes
    ----------
    minimum : int
        Number of parameters at rank 1.
    """

    def __init__(self, message: str, minimum: int) -> None:
        # Both are `args`, from which pickle makes the error anew in another process.
        super().__init__(message, minimum)
        self.minimum = minimum

    def __str__(self) -> str:
        return str(self.args[0])


class ClippedRankWarning(UserWarning):
    """A rank above what the sizes allow was clipped."""


def positive_int(argument: str, value: object, cure: str = "", most: int | None = None) -> int:
    """Return `value` as a plain positive int; NumPy integers are accepted, booleans and floats are not."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{argument} must be a positive integer; expected int, got {value!r} of type {type(value).__name__}.{_then(cure)}"
        )
    if value < 1:
        raise ValueError(f"{argument} must be a positive integer; expected at least 1, got {value}.{_then(cure)}")
    if most is not None and int(value) > most:
        raise ValueError(f"{argument} must not be so large; expected at most {most}, got {value}.{_then(cure)}")
    return int(value)


def positive_ints(
    argument: str, values: object, length: int | None = None, cure: str = "", most: int | None = None
) -> tuple[int, ...]:
    """Return `values` as a tuple of plain positive ints of the given length; the caller's sequence is not changed."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        expected = "positive integers" if length is None else f"{length} positive integers"
        raise TypeError(
            f"{argument} must be a sequence of positive integers; expected {expected}, "
            f"got {values!r} of type {type(values).__name__}.{_then(cure)}"
        )
    listed = list(islice(values, MOST_MODES + 1)) if length is None else list(values)
    if len(listed) > MOST_MODES and length is None:
        raise ValueError(f"{argument} must not have so many entries; expected at most {MOST_MODES}, got more.")
    if length is not None and len(listed) != length:
        raise ValueError(
            f"{argument} must have {length} entries; expected {length}, got {len(listed)}: {plain(listed)}.{_then(cure)}"
        )
    if not listed:
        raise ValueError(f"{argument} must not be empty; expected one entry a mode, got none.{_then(cure)}")
    return tuple(positive_int(f"{argument}[{k}]", value, cure, most) for k, value in enumerate(listed))


def checked_eps(eps: object) -> float:
    """Return the relative error allowed as a float between 0 and 1, neither of them."""
    message = f"eps must be a relative error; expected a number between 0 and 1, got {eps!r}"
    if isinstance(eps, bool) or not isinstance(eps, numbers.Real):
        raise TypeError(f"{message} of type {type(eps).__name__}.")
    if not 0 < float(eps) < 1:
        raise ValueError(f"{message}.")
    return float(eps)


def one_of(argument: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of the `choices`."""
    if not isinstance(value, str):
        raise TypeError(
            f"{argument} must be a name; expected one of {tuple(choices)}, got {value!r} of type {type(value).__name__}."
        )
    if value not in choices:
        raise ValueError(f"{argument} must be known; expected one of {tuple(choices)}, got {value!r}.")
    return value


def instance_of(argument: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Refuse what is not of a kind, which `expected` describes with its article."""
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be {expected}; got {plain(value)!r} of type {type(value).__name__}.")


def check_memory(argument: str, entries: int) -> None:
    """Refuse to make what no memory holds; what only this machine's cannot is for its allocator to tell."""
    if entries > MOST_ENTRIES:
        raise ValueError(f"{argument} must leave arrays that memory can hold; expected at most 2^48 entries, got {entries}.")


def plain(values: Any) -> Any:
    """Return nested sequences as tuples and NumPy scalars as Python's, so that messages read as they were typed."""
    if isinstance(values, (list, tuple)):
        return tuple(plain(value) for value in values)
    return values.item() if hasattr(values, "item") and getattr(values, "ndim", None) == 0 else values


def _then(cure: str) -> str:
    return f" {cure}" if cure else ""
