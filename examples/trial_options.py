"""The command line of a program that trains systems with seeds: what all such programs ask for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from comparison import System
from options import parse_device, positive, rank_override, some_of, with_ranks
from trials import Settings


def make_parser(description: str, systems: Sequence[System], **defaults: Any) -> argparse.ArgumentParser:
    """Describe the common part of the command line.

    Parameters
    ----------
    description : str
    systems : sequence of System
        All that can be chosen; the dense LSTM is always there.
    **defaults
        Of seeds, epochs, batch_size, learning_rate and output.
    """
    names = [system.name for system in systems]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="small and short, for a look in less than a minute")
    add("--device", type=parse_device, default="cpu", help="where to train")
    add("--seeds", type=positive(int), help="number of repetitions")
    add("--epochs", type=positive(int), help="of every system")
    add("--batch-size", type=positive(int), help="samples a step")
    add("--learning-rate", type=positive(float), help="of Adam")
    add("--systems", type=some_of(names), default=",".join(names), help=f"beside the dense LSTM, of {','.join(names)}")
    add("--rank", type=rank_override(systems), action="append", default=[], metavar="SYSTEM=RANK", help="as in bt=1,4")
    add("--output", type=Path, help="folder for tables and pictures")
    add("--fresh", action="store_true", help="discard what an interrupted run left there and start anew")
    parser.set_defaults(**defaults)
    return parser


def chosen_systems(options: argparse.Namespace, systems: Sequence[System]) -> list[System | None]:
    """Return the dense LSTM and the systems asked for, with the ranks asked for."""
    return [None, *with_ranks([system for system in systems if system.name in options.systems], options.rank)]


def training_settings(options: argparse.Namespace) -> Settings:
    """Return how to train."""
    return Settings(options.epochs, options.batch_size, options.learning_rate, options.device)
