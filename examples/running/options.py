"""Parsers of command-line values, with messages that give the rule."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

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


def end_with_one_line(message: str) -> NoReturn:
    """End the program with a message on the error stream and exit status 2."""
    sys.stderr.write(f"{Path(sys.argv[0]).name}: error: {message.splitlines()[0]}\n")
    raise SystemExit(2)


def positive(number: type[int] | type[float]) -> Callable[[str], float]:
    """Return a parser of positive numbers."""
    kind = "integer" if number is int else "number"
    return _parser(number, lambda value: 0 < value < math.inf, f"a positive {kind}")


def number_from_zero(below: float = math.inf) -> Callable[[str], float]:
    """Return a parser of numbers from zero up, below a limit."""
    limit = f" and below {below:g}" if math.isfinite(below) else ""
    return _parser(float, lambda value: 0 <= value < below, f"a number from 0 up{limit}")


def _parser(number: Callable[[str], float], allowed: Callable[[float], bool], rule: str) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = number(text)
        except ValueError:
            value = math.nan
        if not allowed(value):
            raise argparse.ArgumentTypeError(f"expected {rule}, got {text!r}")
        return value

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
        wanted = text.split(",")
        for name in wanted:
            if name not in names:
                raise argparse.ArgumentTypeError(f"unknown name {name!r}, expected some of {', '.join(names)}")
        return [name for name in names if name in wanted]

    return parse
