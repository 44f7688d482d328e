"""The command line of the programs that recognize something in videos, beyond what all programs with trials ask for."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from learning import trial_options
from learning.systems import System
from learning.trials import Settings
from running.options import number, positive
from video.stand_in import CLIPS

QUICK_RUN = {"seeds": 1, "epochs": 2, "clips": 132, "clips_per_epoch": 80, "watched_clips": 22}


def make_parser(description: str, systems: Mapping[str, Sequence[System]], **defaults: Any) -> argparse.ArgumentParser:
    """Describe the common part of the command line.

    Parameters
    ----------
    description : str
    systems : mapping of str to sequence of System
        All that can be chosen, by task; those of all tasks have the same names.
    **defaults
        Of epochs, clips_per_epoch, dropout and output.
    """
    parser = trial_options.make_parser(description, next(iter(systems.values())), seeds=3, batch_size=16, learning_rate=3e-3)
    add = parser.add_argument
    add("--task", choices=tuple(systems), default=next(iter(systems)), help="what is recognized")
    add("--data", type=Path, help="folder of the real data set, in place of a stand-in")
    counts = " or ".join(str(CLIPS[task]) for task in systems)
    add("--clips", type=positive(int), help=f"clips of the stand-in, {counts} if not given")
    add("--clips-per-epoch", type=positive(int), help="drawn of the training clips for every epoch")
    add("--watched-clips", type=positive(int), default=160, help="test clips on which the curves are taken")
    add("--dense-learning-rate", type=positive(float), default=3e-4, help="of Adam, for the dense LSTM")
    add(
        "--dropout",
        type=number(float, lambda share: 0 <= share < 1, "a number from 0 up and below 1"),
        help="of the LSTM's last output",
    )
    add(
        "--weight-decay",
        type=number(float, lambda value: 0 <= value < math.inf, "a number from 0 up"),
        default=0.0,
        help="L2 coefficient of Adam",
    )
    parser.set_defaults(**defaults)
    return parser


def training_settings(options: argparse.Namespace) -> Settings:
    """Return how to train."""
    return trial_options.training_settings(
        options,
        dense_learning_rate=options.dense_learning_rate,
        weight_decay=options.weight_decay,
        samples_per_epoch=options.clips_per_epoch,
        fused=True,
    )
