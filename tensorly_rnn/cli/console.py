"""Write tables and lines to standard output, errors and a progress bar to standard error."""

import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tensorly_rnn.cli.errors import TROUBLE, CommandError

#: Width at which lines do not wrap.
UNLIMITED = 10_000


def say(*lines: Any) -> None:
    """Write lines or tables to standard output."""
    console = _console()
    # Captured, because rich pads lines with blanks and raises its own error for a closed pipe.
    with console.capture() as captured:
        for line in lines:
            console.print(line)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def complain(message: str) -> None:
    """Write an error to standard error, in one line."""
    print(f"tensorly-rnn: error: {printable(' '.join(message.split()))}", file=sys.stderr)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str, text: Sequence[str] = (), breaks: Sequence[int] = ()
) -> Any:
    """Make a table; the columns of `text` are words, the others numbers, and a group ends after each row of `breaks`."""
    _check_rich()
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    made = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        words = name in text
        made.add_column(name, justify="left" if words else "right", no_wrap=not words, overflow="fold")
    for number, row in enumerate(rows):
        made.add_row(*row, end_section=number in breaks)
    return made


@contextmanager
def progress(names: Sequence[str]) -> Iterator[Iterable[str]]:
    """Yield names with a progress bar, if standard error is a terminal; the bar disappears at the end."""
    _check_rich()
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    console = _console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=len(names))

        def each() -> Iterator[str]:
            for name in names:
                bar.update(task, description=printable(name))
                yield name
                bar.advance(task)

        yield each()


def printable(text: str) -> str:
    """Return a name from a file with control characters escaped."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _console(stderr: bool = False) -> Any:
    _check_rich()
    from rich.console import Console

    # Names may contain brackets, which are markup otherwise.
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = UNLIMITED
    return console


def _check_rich() -> None:
    if importlib.util.find_spec("rich") is None:
        raise CommandError("rich must be installed; run pip install 'tensorly-rnn[cli]'.", TROUBLE)
