"""The command line of a program that runs trials: what all such programs ask for, and what their checkpoints go by."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from learning.systems import System, rank_override, with_ranks
from learning.trials import Settings
from running.options import parse_device, positive, some_of

DENSE_NAME = "dense"


def make_parser(description: str, systems: Sequence[System], **defaults: Any) -> argparse.ArgumentParser:
    """Describe the common part of the command line.

    Parameters
    ----------
    description : str
    systems : sequence of System
        All that can be chosen beside the dense LSTM.
    **defaults
        Of seeds, epochs, batch_size, learning_rate and output, and of what the program adds.
    """
    names = [DENSE_NAME, *(system.name for system in systems)]
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--quick", action="store_true", help="small and short, for a look in less than a minute")
    add("--device", type=parse_device, default="cpu", help="where to train the systems")
    add("--seeds", type=positive(int), help="number of repetitions")
    add("--epochs", type=positive(int), help="of every system")
    add("--batch-size", type=positive(int), help="samples a step")
    add("--learning-rate", type=positive(float), help="of Adam")
    add("--systems", type=some_of(names), default=",".join(names), help=f"of {','.join(names)}")
    example = f"as in {names[-1]}={example_rank(systems[-1])}"
    add("--rank", type=rank_override(systems), action="append", default=[], metavar="SYSTEM=RANK", help=example)
    add("--output", type=Path, help="folder for tables and pictures")
    add("--fresh", action="store_true", help="discard what an interrupted run left there and start anew")
    parser.set_defaults(**defaults)
    return parser


def example_rank(system: System) -> str:
    """Write a system's rank as the command line takes it."""
    return ",".join(map(str, system.rank)) if isinstance(system.rank, tuple) else str(system.rank)


def chosen_systems(options: argparse.Namespace, systems: Sequence[System]) -> list[System | None]:
    """Return the systems asked for, None for the dense LSTM, with the ranks asked for."""
    dense = [None] * (DENSE_NAME in options.systems)
    return [*dense, *with_ranks([system for system in systems if system.name in options.systems], options.rank)]


def training_settings(options: argparse.Namespace, **more: Any) -> Settings:
    """Return how to train."""
    return Settings(options.epochs, options.batch_size, options.learning_rate, options.device, **more)


def fingerprint_of(options: argparse.Namespace, settings: Settings, systems: Sequence[System | None]) -> dict[str, Any]:
    """Return what of the common options decides the results."""
    return settings.fingerprint() | {
        "systems": [system and dataclasses.asdict(system) for system in systems],
        "seeds": options.seeds,
    }
