"""Parse the command line, run the subcommand, and convert its errors to exit statuses."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from tensorly_rnn._version import __version__
from tensorly_rnn.cli import compress, inspection, plan
from tensorly_rnn.cli.console import complain
from tensorly_rnn.cli.errors import MISTAKE, TROUBLE, CommandError

#: Exit statuses of a shell for these signals.
INTERRUPTED, PIPE_CLOSED = 128 + 2, 128 + 13

DESCRIPTION = (
    "Hold weight matrices as factors: block term (bt), hierarchical Tucker (ht), tensor ring (tr), tensor train (tt)."
)
STATUSES = "Exit status: 0 success; 1 files or machine failed; 2 invalid request."


class Parser(argparse.ArgumentParser):
    """A parser that raises a CommandError."""

    def error(self, message: str) -> NoReturn:
        """Raise a CommandError."""
        raise CommandError(f"{message} (see {self.prog} --help)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, with the arguments of the process by default, and return its exit status."""
    if hasattr(sys.stdout, "reconfigure"):
        # Escape names that the terminal cannot show.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            given = parser().parse_args(arguments)
            given.run(given)
        finally:
            _flush()
    except SystemExit as end:  # argparse's own, after --help and --version
        return end.code if isinstance(end.code, int) else 0
    except CommandError as failure:
        complain(str(failure))
        return failure.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _give_up_output()
        return PIPE_CLOSED
    except OSError as error:
        _give_up_output()
        complain(_reason(error))
        return MISTAKE if isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError)) else TROUBLE
    except (ImportError, MemoryError) as error:
        complain(str(error) or "there is not enough memory.")
        return TROUBLE
    return 0


def parser() -> Parser:
    """Make the parser of all subcommands."""
    made = Parser("tensorly-rnn", description=DESCRIPTION, epilog=STATUSES, allow_abbrev=False)
    made.add_argument("--version", action="version", version=f"tensorly-rnn {__version__}")
    subcommands = made.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, room in (("plan", plan), ("compress", compress), ("inspect", inspection)):
        summary = (room.__doc__ or "").partition("\n")[0]
        one = subcommands.add_parser(name, help=summary, description=summary, epilog=STATUSES, allow_abbrev=False)
        room.add_arguments(one)
        one.set_defaults(run=room.run)
    return made


def _reason(error: OSError) -> str:
    """Return the system's message and the file's name, without the error number."""
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"


def _flush() -> None:
    # None where the process was started without standard output.
    if sys.stdout is not None:
        sys.stdout.flush()


def _give_up_output() -> None:
    """Discard the rest of the output, which Python would write at exit and fail again."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
