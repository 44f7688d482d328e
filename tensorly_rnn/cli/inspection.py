"""Show the content of a safetensors file: tensors, factorized matrices, totals."""

import argparse
import math
from pathlib import Path

from tensorly_rnn.cli.console import printable, say, table
from tensorly_rnn.cli.errors import TROUBLE, CommandError
from tensorly_rnn.cli.inputs import open_file
from tensorly_rnn.files.factorized import Description
from tensorly_rnn.tensorize import TensorizedShape

COLUMNS = ("tensor", "dtype", "shape", "parameters", "ratio", "format", "rank", "modes")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    parser.add_argument("file", metavar="FILE", type=Path, help="a safetensors file")


def run(given: argparse.Namespace) -> None:
    """Print one row for each tensor or factorized matrix, and totals."""
    tensors, _, described = open_file(given.file)
    owner = {factor: name for name, one in described.items() for factor in one.factor_names(name)}
    missing = sorted(set(owner) - set(tensors))
    if missing:
        raise CommandError(
            f"{given.file}: its metadata describes factors that are not there: {', '.join(missing[:3])}.", TROUBLE
        )
    rows, before, after = [], 0, 0
    for name in sorted({owner.get(tensor, tensor) for tensor in tensors}):
        if name in described:
            one = described[name]
            parts = [tensors[factor] for factor in one.factor_names(name)]
            dense, own = math.prod(one.shape), sum(part.n_param for part in parts)
            row = factorized_row(name, one, parts[0].dtype, own)
        else:
            dense = own = tensors[name].n_param
            row = (printable(name), tensors[name].dtype, by_sizes(tensors[name].shape), f"{own:,}", "", "", "", "")
        rows.append(row)
        before, after = before + dense, after + own
    say(
        table(COLUMNS, rows, title=printable(str(given.file)), text=("tensor", "dtype", "shape", "format", "rank", "modes")),
        f"{len(tensors):,} tensors in {given.file.stat().st_size:,} bytes; {len(described):,} factorized matrices.",
        f"{after:,} parameters" + (f" in place of {before:,}: {before / after:,.4g} times fewer." if described else "."),
    )


def factorized_row(name: str, one: Description, dtype: str, n_param: int) -> tuple[str, ...]:
    """Return the row of a factorized matrix."""
    ratio = math.prod(one.shape) / n_param
    sizes = (by_sizes(one.shape), f"{n_param:,}", f"{ratio:,.4g}")
    return (printable(name), dtype, *sizes, one.format, str(one.rank), by_modes(one.tensorized_shape))


def by_modes(modes: TensorizedShape, between: str = " ") -> str:
    """Return the modes of both sides as in ``(2 x 3) (4 x 5)``."""
    return between.join(f"({by_sizes(side)})" for side in modes)


def by_sizes(shape: tuple[int, ...]) -> str:
    """Return a shape as in ``2 x 3``."""
    return " x ".join(map(str, shape)) or "scalar"
