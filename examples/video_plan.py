"""What the programs that recognize something in videos have in common before they train: the checked plan and the frames."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import av
from checkpoint import Checkpoints, versions
from comparison import System
from recognition import Recipe, make_split
from report import make_progress
from rich.console import Console
from torch import nn
from video import Clips, find_clips
from video_frames import Frames, decode_clips, fingerprint
from video_stand_in import CLIPS, write_stand_in

TEST_SHARE = 0.2


@dataclass(frozen=True)
class Plan:
    """What the command line asks for, checked.

    Attributes
    ----------
    task : str
    real : Clips or None
        None for the stand-in, which is yet to be written.
    stand_in_clips, frames, seeds : int
        Clips of the stand-in; frames of each clip; repetitions.
    systems : list of System or None
        None for the dense LSTM.
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
    frames: int
    seeds: int
    systems: list[System | None]
    recipe: Recipe
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path
    source: str


def prepare(
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    systems: list[System | None],
    recipe: Recipe,
    make_layer: Callable[[System], nn.Module],
    frames: int,
    more: dict[str, object] | None = None,
) -> Plan:
    """Check what was asked for; end the program with one line if something is wrong.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    options : argparse.Namespace
        With task, data, clips, seeds, output and fresh.
    systems : list of System
    recipe : Recipe
    make_layer : callable
        Makes the layer of a system, to see whether that can be done.
    frames : int
        Of each clip.
    more : dict, optional
        What else the results depend on.
    """
    count = options.clips or CLIPS[options.task]
    try:
        for system in filter(None, systems):
            make_layer(system)
        if options.data:
            real = find_clips(options.task, options.data)
            for seed in range(options.seeds):
                make_split(real, TEST_SHARE, seed)
            data, source = (
                fingerprint(real.clips, frames),
                f"real ({options.task}, {len(real.clips):,} clips of {options.data})",
            )
        else:
            real, data = None, f"stand-in {options.task} {count} {av.__version__}"
            source = f"stand-in ({count:,} MPEG files of moving digits, in the layout of {options.task})"
        settings = dataclasses.asdict(recipe.settings) | {"device": recipe.settings.device.type}
        asked = {
            **dataclasses.asdict(recipe),
            "settings": settings,
            "systems": [system and dataclasses.asdict(system) for system in systems],
            "seeds": options.seeds,
            "data": data,
            **(more or {}),
        }
        options.output.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(options.output / "checkpoints", asked | versions())
        if options.fresh:
            checkpoints.discard()
            for folder in ("stand_in", "frames"):
                shutil.rmtree(options.output / folder, ignore_errors=True)
        lines = checkpoints.check()
    except OSError as error:
        parser.error(f"cannot write to the folder {options.output}: {error.strerror}")
    except (TypeError, ValueError, RuntimeError) as error:  # a RuntimeError where a rank asks for too much memory
        parser.error(str(error).splitlines()[0])
    return Plan(options.task, real, count, frames, options.seeds, systems, recipe, checkpoints, lines, options.output, source)


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
            frames = decode_clips(clips.clips, plan.frames, plan.output / "frames", lambda count: progress.advance(bar, count))
        except ValueError as error:
            failure = error
        else:
            return clips, frames
    Console(stderr=True).print(f"error: {failure}", soft_wrap=True, markup=False, highlight=False)
    raise SystemExit(2)
