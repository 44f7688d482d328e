"""Write tables, CSV files, numbers and the progress of a program."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

MISSING = "-"


def make_console(quiet: bool) -> Console:
    """Make the console; where it is no terminal, it is wide enough for the tables."""
    console = Console(highlight=False, quiet=quiet)
    if not console.is_terminal:
        console.width = max(console.width, 128)
    return console


def make_progress(console: Console) -> Progress:
    """Make a progress bar that vanishes when done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)


def make_table(title: str, caption: str) -> Table:
    """Make an empty table for the terminal."""
    return Table(title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False)


def write_csv(path: Path, rows: list[dict[str, object]]) -> None:
    """Write rows with the same keys; None becomes an empty field."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def ratio(dense: int | None, own: int | None) -> float | None:
    """Return how many times fewer the own parameters are, None where one of the counts is missing."""
    return dense / own if dense and own else None


def count_and_ratio(own: int | None, dense: int | None) -> str:
    """Write a count with how many times fewer that is than the dense LSTM's."""
    fewer = ratio(dense, own)
    return f"{own:,} {f'({fewer:.0f}x)':>6}" if fewer else MISSING


def mean_and_deviation(values: Iterable[float | None], digits: int = 1) -> str:
    """Write the mean of what values there are, with their sample standard deviation if there are several."""
    found = [value for value in values if value is not None]
    if not found:
        return MISSING
    mean = f"{statistics.mean(found):.{digits}f}"
    return f"{mean} ± {statistics.stdev(found):.{digits}f}" if len(found) > 1 else mean


def percent(shares: Iterable[float | None]) -> list[float]:
    """Return what shares there are in per cent."""
    return [100 * share for share in shares if share is not None]


def unique(names: Iterable[str]) -> list[str]:
    """Return the names in the order of their first appearance."""
    return list(dict.fromkeys(names))
