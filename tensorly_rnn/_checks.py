"""Shared checks of arguments, which return the value in plain form or raise an error that describes the rule."""

import difflib
import numbers
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

T = TypeVar("T")

#: Maximum number of modes; sequences are read up to this length, since an iterator may be infinite.
MOST_MODES = 4096
#: Maximum number of entries of an array, beyond the memory of any machine.
MOST_ENTRIES = 2**48
#: Maximum rank.
MOST_RANK = 2**31


class BudgetError(ValueError):
    """Error for a budget of parameters that is too small for rank 1.

    Attributes
    ----------
    minimum : int
        Number of parameters at rank 1.
    """

    def __init__(self, message: str, minimum: int) -> None:
        # Pickle restores the error from `args`.
        super().__init__(message, minimum)
        self.minimum = minimum

    def __str__(self) -> str:
        return str(self.args[0])


def within_budgets(makers: Iterable[Callable[[], T]]) -> list[T]:
    """Return what is made without a `BudgetError`; where nothing is, raise that of the least minimum."""
    made, reasons = [], []
    for make in makers:
        try:
            made.append(make())
        except BudgetError as reason:
            reasons.append(reason)
    if not made:
        raise min(reasons, key=lambda reason: reason.minimum)
    return made


class ClippedRankWarning(UserWarning):
    """Warning that a rank was larger than the sizes allow and was clipped."""


def positive_int(argument: str, value: object, cure: str = "", most: int | None = None) -> int:
    """Return a positive int or NumPy integer as a plain int; booleans and floats are refused."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(
            f"{argument} must be a positive integer; expected int, got {value!r} of type {type(value).__name__}.{_then(cure)}"
        )
    if value < 1:
        raise ValueError(f"{argument} must be a positive integer; expected at least 1, got {value}.{_then(cure)}")
    if most is not None and int(value) > most:
        raise ValueError(f"{argument} must be smaller; expected at most {most}, got {value}.{_then(cure)}")
    return int(value)


def positive_ints(
    argument: str, values: object, length: int | None = None, cure: str = "", most: int | None = None
) -> tuple[int, ...]:
    """Return a sequence of positive integers as a tuple of plain ints, of the given length."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable) or getattr(values, "ndim", 1) == 0:
        expected = "positive integers" if length is None else f"{length} positive integers"
        raise TypeError(
            f"{argument} must be a sequence of positive integers; expected {expected}, "
            f"got {values!r} of type {type(values).__name__}.{_then(cure)}"
        )
    listed = list(islice(values, MOST_MODES + 1)) if length is None else list(values)
    if len(listed) > MOST_MODES and length is None:
        raise ValueError(f"{argument} must have fewer entries; expected at most {MOST_MODES}, got more.")
    if length is not None and len(listed) != length:
        raise ValueError(
            f"{argument} must have {length} entries; expected {length}, got {len(listed)}: {plain(listed)}.{_then(cure)}"
        )
    if not listed:
        raise ValueError(f"{argument} must not be empty; expected one entry per mode, got none.{_then(cure)}")
    return tuple(positive_int(f"{argument}[{k}]", value, cure, most) for k, value in enumerate(listed))


def checked_eps(eps: object) -> float:
    """Return a relative error as a float, greater than 0 and less than 1."""
    message = f"eps must be a relative error; expected a number between 0 and 1, got {eps!r}"
    if isinstance(eps, bool) or not isinstance(eps, numbers.Real):
        raise TypeError(f"{message} of type {type(eps).__name__}.")
    if not 0 < float(eps) < 1:
        raise ValueError(f"{message}.")
    return float(eps)


def checked_flag(argument: str, value: object) -> bool:
    """Return a bool of Python or NumPy as a plain bool; other values are refused, as 'False' counts as true."""
    flag = plain(value)
    if not isinstance(flag, bool):
        raise TypeError(f"{argument} must be a bool; expected True or False, got {value!r} of type {type(value).__name__}.")
    return flag


def one_of(argument: str, value: object, choices: Sequence[str]) -> str:
    """Return `value` if it is one of the `choices`."""
    if not isinstance(value, str):
        raise TypeError(
            f"{argument} must be a name; expected one of {tuple(choices)}, got {value!r} of type {type(value).__name__}."
        )
    if value not in choices:
        raise ValueError(f"{argument} must be known; expected one of {tuple(choices)}, got {value!r}.")
    return value


def meant(name: str, known: Iterable[str]) -> str:
    """Return the end of a message with the known name that is most like a mistyped one; empty if none is."""
    like = difflib.get_close_matches(name, list(known), 1)
    return f" Did you mean {like[0]}?" if like else ""


def instance_of(argument: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Raise a TypeError unless `value` is of a type, which `expected` describes with its article."""
    if not isinstance(value, kind):
        raise TypeError(f"{argument} must be {expected}; got {plain(value)!r} of type {type(value).__name__}.")


def check_memory(argument: str, entries: int) -> None:
    """Raise a ValueError for more entries than any memory can hold."""
    if entries > MOST_ENTRIES:
        raise ValueError(f"{argument} must leave arrays that memory can hold; expected at most 2^48 entries, got {entries}.")


def plain(values: Any) -> Any:
    """Return nested sequences as tuples and NumPy scalars as Python scalars, for messages."""
    if isinstance(values, (list, tuple)):
        return tuple(plain(value) for value in values)
    return values.item() if hasattr(values, "item") and getattr(values, "ndim", None) == 0 else values


def _then(cure: str) -> str:
    return f" {cure}" if cure else ""
