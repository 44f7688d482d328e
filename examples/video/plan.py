"""The checked plan and the frames, shared by the programs that recognize actions or faces in videos."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from rich.console import Console

from learning.comparison import Split
from learning.systems import System, make_recurrent
from learning.trial_options import fingerprint_of
from learning.trials import Settings
from running.checkpoint import Checkpoints, open_checkpoints
from running.report import make_progress
from video.clips import Clips, find_clips
from video.frames import Frames, decode_clips, fingerprint
from video.recognition import Recipe, make_split
from video.stand_in import CLIPS, write_stand_in

FRAMES = 6
TEST_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line.

    Attributes
    ----------
    task : str
    real : Clips or None
        None for the stand-in, which is yet to be written.
    stand_in_clips, seeds : int
        Clips of the stand-in; repetitions.
    systems : list of System or None
        None for the dense LSTM.
    settings : Settings
    recipe : Recipe
    checkpoints : Checkpoints
    checkpoint_lines : list of str
    output : Path
    source : str
        What to say about where the data come from.
    """

    task: str
    real: Clips | None
    stand_in_clips: int
    seeds: int
    systems: list[System | None]
    settings: Settings
    recipe: Recipe
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path
    source: str

    def splits(self, clips: Clips) -> list[Split]:
        """Return the split of every seed."""
        return [make_split(clips, TEST_SHARE, seed) for seed in range(self.seeds)]


def prepare(
    options: argparse.Namespace,
    systems: list[System | None],
    settings: Settings,
    recipe: Recipe,
    more: Mapping[str, Any] | None = None,
) -> Plan:
    """Check what was asked for.

    Parameters
    ----------
    options : argparse.Namespace
        With task, data, clips, seeds, output and fresh.
    systems : list of System or None
    settings : Settings
    recipe : Recipe
    more : mapping, optional
        What else the results depend on.

    Raises
    ------
    ValueError, TypeError, RuntimeError, OSError
        If something is wrong.
    """
    for system in systems:
        if system:  # the dense LSTM always fits
            make_recurrent(system, recipe.input_size, recipe.hidden, options.device)
    count = options.clips or CLIPS[options.task]
    if options.data:
        real = find_clips(options.task, options.data)
        data = fingerprint(real.clips, FRAMES)
        source = f"real ({options.task}, {len(real.clips):,} clips of {options.data})"
    else:
        real = None
        data = f"stand-in {options.task} {count} {av.__version__}"
        source = f"stand-in ({count:,} MPEG files of moving digits, in the layout of {options.task})"
    of_run = fingerprint_of(options, settings, systems) | dataclasses.asdict(recipe) | {"data": data} | dict(more or {})
    checkpoints, lines = open_checkpoints(options.output / "checkpoints", of_run, fresh=options.fresh)
    if options.fresh:
        for folder in ("stand_in", "frames"):
            shutil.rmtree(options.output / folder, ignore_errors=True)
    plan = Plan(
        options.task, real, count, options.seeds, systems, settings, recipe, checkpoints, lines, options.output, source
    )
    if real:
        plan.splits(real)
    return plan


def obtain_frames(plan: Plan, console: Console) -> tuple[Clips, Frames]:
    """Write the stand-in's videos unless there are real ones, decode the videos, and show the progress.

    What an earlier run has written or decoded is taken up. A video that cannot be read ends the program with one line.
    """
    clips = plan.real
    with make_progress(console) as progress:
        if clips is None:
            folder = plan.output / "stand_in" / f"{plan.task}-{plan.stand_in_clips}"
            bar = progress.add_task("writing videos", total=plan.stand_in_clips)
            write_stand_in(plan.task, plan.stand_in_clips, folder, lambda count: progress.advance(bar, count))
            progress.remove_task(bar)
            clips = find_clips(plan.task, folder)
        bar = progress.add_task("decoding videos", total=len(clips.clips))
        try:
            return clips, decode_clips(clips.clips, FRAMES, plan.output / "frames", lambda count: progress.advance(bar, count))
        except ValueError as error:
            failure = str(error)
    argparse.ArgumentParser(usage=argparse.SUPPRESS).error(failure)
