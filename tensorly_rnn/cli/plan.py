"""Compare formats and ranks for a matrix: parameters, operations, estimated time."""

import argparse
import math
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import plain
from tensorly_rnn.cli.console import say, table
from tensorly_rnn.cli.errors import CommandError
from tensorly_rnn.cli.inspection import by_modes
from tensorly_rnn.cli.options import LARGEST, MOST_MODES, format_names, ratio, whole_number
from tensorly_rnn.contraction.cost_model import OPERATION
from tensorly_rnn.formats import available_formats, get_format
from tensorly_rnn.network.network import Network
from tensorly_rnn.recurrent.cost import Use, factorized_seconds, rebuilt_seconds
from tensorly_rnn.tensorize import TensorizedShape, default_order, factorize_size

DEFAULT_RATIO = 10.0
#: Groups of the table; each has half the budget of the previous one.
GROUPS = 4
FORWARD = Use(backward=False, x_gradient=False, cached=True)
COLUMNS = ("format", "rank", "parameters", "ratio", "FLOPs", "time (ms)", "dense time / time")


@dataclass(frozen=True)
class Candidate:
    """A format at a rank: its parameters and the cost of a product."""

    format: str
    rank: Any
    n_param: int
    flops: int
    seconds: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `run`."""
    add = parser.add_argument
    add("rows", metavar="ROWS", type=whole_number(LARGEST), help="rows of the matrix: outputs")
    add("columns", metavar="COLS", type=whole_number(LARGEST), help="columns of the matrix: inputs")
    most = parser.add_mutually_exclusive_group().add_argument
    most("--budget", metavar="N", type=whole_number(), help="most parameters")
    ratios = f"entries of the matrix for one parameter, at least (default {DEFAULT_RATIO:g})"
    most("--ratio", metavar="X", type=ratio, help=ratios)
    add("--order", metavar="D", type=whole_number(MOST_MODES), help="number of modes (default: modes of about 8)")
    known = available_formats()
    add("--formats", metavar="F,F", type=format_names, default=known, help=f"some of {','.join(known)} (default: all)")
    add("--batch", metavar="B", type=whole_number(LARGEST), default=64, help="rows of x in y = x W^T (default 64)")


def run(given: argparse.Namespace) -> None:
    """Print formats and ranks, the largest within the budget first, and among them the fastest."""
    rows, columns, batch = given.rows, given.columns, given.batch
    budget = given.budget or math.floor(rows * columns / (given.ratio or DEFAULT_RATIO))
    order = given.order or default_order(rows, columns)
    modes = factorize_size(rows, order), factorize_size(columns, order)
    groups = [candidates(modes, budget >> halvings, batch, given.formats) for halvings in range(GROUPS)]
    if not groups[0]:
        known = [get_format(name).format for name in given.formats]
        least = min(one.make_network(modes, one.uniform_rank(modes, 1)).n_param for one in known)
        raise CommandError(
            f"the budget must leave room for rank 1; expected at least {least:,} parameters, got {budget:,}. Ask for more, or "
            "choose another --order."
        )
    matrix = Network((("j1", "i1"),), ("j1",), ("i1",), (("i1", columns), ("j1", rows)))
    time = rebuilt_seconds(matrix, batch, FORWARD)
    dense = Candidate("dense", None, matrix.n_param, matrix.cost(batch).forward.flops, time)
    shown, breaks = [dense], [0]
    for group in groups:
        # A format that has no lower rank at half the budget is shown once.
        shown += [one for one in group if one not in shown]
        breaks.append(len(shown) - 1)
    sizes = f"{rows:,} x {columns:,} as {by_modes(modes, ' x ')}"
    title = f"{sizes}: at most {budget:,} parameters; {batch:,} rows of x"
    say(
        table(COLUMNS, [_row(one, dense) for one in shown], title=title, text=("format", "rank"), breaks=breaks),
        "Largest even ranks within the budget, a half, a quarter and an eighth of it; in each group the fastest first.",
        "Times are estimates, forward only, in single precision on the planner's reference CPU of "
        f"{1 / OPERATION / 1e9:.0f} Gflop/s: only their ratios apply to other machines.",
    )


def candidates(modes: TensorizedShape, budget: int, batch: int, formats: tuple[str, ...]) -> list[Candidate]:
    """Return every format at its largest even rank within a budget, the fastest first; formats without one are left out."""
    found = []
    for name in dict.fromkeys(formats):
        cls = get_format(name).format
        for family in cls.families:
            rank = cls.rank_at_most(modes, budget, **family)
            if rank is not None:
                network = cls.make_network(modes, rank)
                time = factorized_seconds(network, batch, FORWARD)
                found.append(Candidate(name, rank, network.n_param, network.cost(batch).forward.flops, time))
    return sorted(found, key=lambda one: one.seconds)


def _row(one: Candidate, dense: Candidate) -> tuple[str, ...]:
    rank = "" if one.rank is None else str(plain(one.rank))
    ratio, speed = dense.n_param / one.n_param, dense.seconds / one.seconds
    numbers = (f"{one.n_param:,}", f"{ratio:,.1f}", f"{one.flops:,}", f"{1000 * one.seconds:,.3f}", f"{speed:,.2f}")
    return (one.format, rank, *numbers)
