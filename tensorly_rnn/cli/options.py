"""Argument types for argparse, with messages that state the allowed values."""

import argparse
import math
from collections.abc import Callable
from typing import Any

from tensorly_rnn.formats import available_formats

#: Larger sizes make the search for modes and orders of contraction slow.
LARGEST, MOST_MODES = 10**9, 16
RANKS = "an integer, a share of the parameters such as 0.01, 'full', or the format's own ranks such as 1,4,4,1"


def whole_number(most: int | None = None, least: int = 1) -> Callable[[str], int]:
    """Return a parser of integers within bounds."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most:,}"

    def parse(text: str) -> int:
        # Python has its own error for numbers of many digits.
        number = int(text) if text.isascii() and text.isdecimal() and len(text) < 100 else -1
        if number < least or (most is not None and number > most):
            raise argparse.ArgumentTypeError(f"expected an integer {bounds}, got {text!r}")
        return number

    return parse


def number_between(least: float, most: float, rule: str) -> Callable[[str], float]:
    """Return a parser of numbers strictly between two bounds."""

    def parse(text: str) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least < number < most:
            raise argparse.ArgumentTypeError(f"expected {rule}, got {text!r}")
        return number

    return parse


ratio = number_between(0.0, math.inf, "a positive number")
relative_error = number_between(0.0, 1.0, "a relative error between 0 and 1")


def rank(text: str) -> Any:
    """Parse a rank: an integer, a share of the parameters, ``full``, ``same``, or the format's own with commas."""
    if text in ("full", "same"):
        return text
    try:
        numbers = tuple(int(one) if one.strip().isdecimal() else float(one) for one in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(0 < one < math.inf for one in numbers):
        raise argparse.ArgumentTypeError(f"expected {RANKS}; got {text!r}")
    return numbers[0] if len(numbers) == 1 else numbers


def format_names(text: str) -> tuple[str, ...]:
    """Parse names of formats between commas."""
    return tuple(map(format_name, text.split(",")))


def format_name(text: str) -> str:
    """Parse the name of a format."""
    if text not in available_formats():
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(available_formats())}, got {text!r}")
    return text
