"""Replace the matrices of a safetensors file by factors."""

import argparse
import os
import stat
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from tensorly_rnn._checks import BudgetError, ClippedRankWarning, plain
from tensorly_rnn.cli.console import printable, progress, say, table
from tensorly_rnn.cli.errors import CommandError
from tensorly_rnn.cli.inputs import open_file
from tensorly_rnn.cli.inspection import by_sizes
from tensorly_rnn.cli.options import MOST_MODES, RANKS, format_name, rank, ratio, relative_error, whole_number
from tensorly_rnn.decomposition import factorize
from tensorly_rnn.files._container import Stored, write
from tensorly_rnn.files._numbers import FLOATS, to_array
from tensorly_rnn.files._replacing import replacing
from tensorly_rnn.files.factorized import KEY, Description, factor_tensors, to_text
from tensorly_rnn.formats import FactorizedMatrix, get_format
from tensorly_rnn.tensorize import factorize_size

COLUMNS = ("tensor", "shape", "rank", "before", "after", "ratio", "error", "note")
#: Most names listed in an error; relative rounding error that --eps allows.
LISTED, ROUNDING = 5, 1e-6


@dataclass(frozen=True)
class Result:
    """The factors of one matrix as they are saved, or the reason why it is kept."""

    stored: Stored
    matrix: FactorizedMatrix | None = None
    error: float = 0.0
    note: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add = parser.add_argument
    add("input", metavar="IN.safetensors", type=Path, help="file to compress; not changed")
    add("output", metavar="OUT.safetensors", type=Path, help="file to write, whole or not at all")
    matching = "compress the matrices whose names match, as in a shell: 'encoder.*'; may be repeated (default: all)"
    add("--layer", metavar="PATTERN", action="append", help=matching)
    add("--format", metavar="F", type=format_name, required=True, help="bt, ht, tr or tt")
    asked = parser.add_mutually_exclusive_group(required=True).add_argument
    asked("--eps", metavar="E", type=relative_error, help="relative error of each matrix, at most")
    asked("--rank", metavar="R", type=rank, help=RANKS)
    asked("--ratio", metavar="X", type=ratio, help="entries of each matrix for one parameter, at least")
    asked("--budget", metavar="N", type=whole_number(), help="parameters of each matrix, at most")
    add(
        "--order",
        metavar="D",
        type=whole_number(MOST_MODES),
        help="number of modes, in pairs (default: the best modes)",
    )
    add("--min-size", metavar="N", type=whole_number(least=0), default=0, help="leave matrices with fewer entries alone")
    add("--force", action="store_true", help="replace OUT.safetensors if it exists")


def run(given: argparse.Namespace) -> None:
    """Write the compressed file and print a table of the matrices."""
    tensors, metadata, described = open_file(given.input)
    chosen = selected(tensors, described, given.layer, given.min_size)
    _check_output(given.output, given.force)
    options = {"rank": given.rank, "eps": given.eps, "compression_ratio": given.ratio, "n_param": given.budget}
    try:
        # Opened before the work, so that a folder that cannot be written to fails at once.
        with replacing(given.output) as file:
            with progress(list(chosen)) as names:
                results = {name: compressed(name, chosen[name], given.format, given.order, options) for name in names}
            content = replaced(tensors, results)
            new = {name: Description.of(one.matrix) for name, one in results.items() if one.matrix is not None}
            write(file, content, {**metadata, KEY: to_text({**described, **new})})
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(given.output)) from None
    say(report(results, given.format))
    before, after = (sum(one.n_param for one in whole.values()) for whole in (tensors, content))
    size = f"{given.output.stat().st_size:,} bytes"
    say(f"{printable(str(given.output))}: {after:,} numbers in {size}, {before / after:,.4g} times fewer than {before:,}.")


def selected(
    tensors: Mapping[str, Stored], described: Mapping[str, Description], patterns: list[str] | None, min_size: int
) -> dict[str, Stored]:
    """Return the matrices to compress, without those that are factors already."""
    factors = {factor for name, one in described.items() for factor in one.factor_names(name)}
    matrices = {
        name: one
        for name, one in tensors.items()
        if len(one.shape) == 2 and one.dtype in FLOATS and one.n_param and name not in factors
    }
    if not matrices:
        raise CommandError(f"the file has no matrix to compress; expected a tensor of two axes, of {', '.join(FLOATS)}.")
    for pattern in patterns or ():
        if not any(fnmatchcase(name, pattern) for name in matrices):
            few = ", ".join([*list(matrices)[:LISTED], *(["..."] if len(matrices) > LISTED else [])])
            raise CommandError(f"--layer must match a matrix; expected some of {few}, got {pattern!r}.")
    matching = {
        name: one for name, one in matrices.items() if patterns is None or any(fnmatchcase(name, own) for own in patterns)
    }
    large = {name: one for name, one in matching.items() if one.n_param >= min_size}
    if not large:
        most = max(one.n_param for one in matching.values())
        raise CommandError(f"--min-size must leave a matrix; expected at most {most:,}, got {min_size:,}.")
    return large


def compressed(name: str, stored: Stored, format: str, order: int | None, options: Mapping[str, Any]) -> Result:
    """Decompose one matrix, and measure the error with factors rounded to its dtype."""
    matrix = to_array(stored)
    modes = None if order is None else tuple(factorize_size(size, order) for size in matrix.shape)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = factorize(matrix, format, modes, **options)
        except BudgetError as reason:
            return Result(stored, note=f"expected a budget of at least {reason.minimum:,} parameters")
        except (TypeError, ValueError) as reason:
            raise CommandError(f"{name}: {reason}") from None
    if found.n_param >= stored.n_param:
        return Result(stored, note=f"its factors are no smaller: {found.n_param:,} parameters")
    # NumPy has no bfloat16: the matrix was read in single precision, and its factors are rounded here.
    rounded = [to_array(one) for one in factor_tensors(name, found, stored.dtype).values()]
    saved = get_format(format)(rounded, shape=found.shape)
    error = saved.relative_error(matrix)
    notes = ["rank clipped"] if any(issubclass(one.category, ClippedRankWarning) for one in caught) else []
    if options["eps"] is not None and error > options["eps"] * (1 + ROUNDING):
        notes.append(f"more than --eps as {stored.dtype}")
    return Result(stored, saved, error, ", ".join(notes))


def replaced(tensors: Mapping[str, Stored], results: Mapping[str, Result]) -> dict[str, Stored]:
    """Return the tensors with factors in place of the matrices that became smaller; all others as they are."""
    smaller = {name: one.matrix for name, one in results.items() if one.matrix is not None}
    if not smaller:
        name, one = next(iter(results.items()))
        raise CommandError(f"none of {len(results)} matrices became smaller, and nothing was written; {name}: {one.note}")
    content = {name: one for name, one in tensors.items() if name not in smaller}
    for name, matrix in smaller.items():
        factors = factor_tensors(name, matrix, tensors[name].dtype)
        for taken in factors.keys() & content.keys():
            raise CommandError(f"{name}: the name of a factor is taken: {taken}.")
        content |= factors
    return content


def report(results: Mapping[str, Result], format: str) -> Any:
    """Make the table of the matrices."""
    rows = []
    for name, one in results.items():
        before, after = one.stored.n_param, (one.matrix or one.stored).n_param
        rank, error = ("kept", "") if one.matrix is None else (str(plain(one.matrix.rank)), f"{one.error:.4g}")
        numbers = (f"{before:,}", f"{after:,}", f"{before / after:,.4g}", error)
        rows.append((printable(name), by_sizes(one.stored.shape), rank, *numbers, one.note))
    return table(COLUMNS, rows, title=f"Matrices in the format {format}", text=("tensor", "shape", "rank", "note"))


def _check_output(path: Path, force: bool) -> None:
    """Refuse a path that cannot or should not be written."""
    if not path.parent.is_dir():
        raise CommandError(f"{path}: its folder does not exist.")
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISREG(mode):
        raise CommandError(f"{path} is not a regular file.")
    if not force:
        raise CommandError(f"{path} exists already; replace it with --force.")
