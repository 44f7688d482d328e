"""The command line: parsers of values, whose messages give the rule, and mistakes in one line."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def parse(parser: argparse.ArgumentParser, quick: dict[str, Any], arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line; ``--quick`` replaces the defaults."""
    options = parser.parse_args(arguments)
    if options.quick:
        parser.set_defaults(**quick)
        options = parser.parse_args(arguments)
    return options


@contextmanager
def mistakes_in_one_line(parser: argparse.ArgumentParser, output: Path) -> Iterator[None]:
    """End the program with one line and exit status 2 if an option is wrong, or ``output`` cannot be written to."""
    try:
        yield
    except OSError as error:
        parser.error(f"cannot write to the folder {output}: {error.strerror}")
    except (TypeError, ValueError, RuntimeError) as error:  # a RuntimeError if a rank needs too much memory
        parser.error(str(error).splitlines()[0])


def positive(kind: type[int] | type[float]) -> Callable[[str], float]:
    """Return a parser of positive numbers."""
    return number(kind, lambda value: 0 < value < math.inf, f"a positive {'integer' if kind is int else 'number'}")


def number(kind: type[int] | type[float], allowed: Callable[[float], bool], rule: str) -> Callable[[str], float]:
    """Return a parser of the numbers that are allowed; the rule says which."""

    def parse(text: str) -> float:
        with suppress(ValueError):
            if allowed(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"expected {rule}, got {text!r}")

    return parse


def parse_device(text: str) -> torch.device:
    """Parse the name of an available device."""
    import torch  # here, for the examples that do without

    try:
        device = torch.device(text)
        torch.ones(1, device=device).sum().item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise argparse.ArgumentTypeError(f"device {text!r} is unknown or not available here") from None
    return device


def some_of(names: Sequence[str]) -> Callable[[str], list[str]]:
    """Return a parser of names between commas; they come back in the order of ``names``."""

    def parse(text: str) -> list[str]:
        for name in (wanted := text.split(",")):
            if name not in names:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}, expected some of {', '.join(names)}")
        return [name for name in names if name in wanted]

    return parse
