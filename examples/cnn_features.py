"""
Recognizing actions from a convolutional network's features
===========================================================

The HT paper's second experiment: a convolutional network turns each of six frames of a clip into 2048 features, and an LSTM of
2048 hidden units reads those. The dense LSTM has 33.6 million weights; HT- and TR-LSTM replace its input-hidden matrix
and keep the other half, the FDHT-LSTM replaces both by 3132 numbers (UCF11) or 8416 (HMDB51). Tables 5 and 6 of that paper,
and the counts of its table 7.

``--task ucf11`` has 11 classes, ``--task hmdb51`` has 51. ``--data`` names the folder of the real data; without it a
stand-in of moving digits is written to disk as video files in the same layout, as in ``action_recognition.py``: for
HMDB51, 51 pairs of a digit and a way to move. HMDB51's first official split is used where its files are in the folder.

The papers' front end is an Inception-V3 trained on ImageNet, of 21.77 million weights. Here it is a small network, trained for
every seed on single frames of that seed's training clips, or any of your own: ``--front-end module:factory`` imports
a factory of a torch module that maps frames of shape (n, 3, height, width), between 0 and 1, to (n, 2048) features, and uses
it as it is.

The settings of HT- and TR-LSTM are not printed in the paper. Those here are our own; TR-LSTM's published 671.2 thousand
input-hidden weights are quoted, not reproduced. The paper's 22 million in all for CNN + HT-LSTM leave no room for the dense
hidden-hidden matrix, of 16.8 million, that its HT-LSTM keeps elsewhere.

At full size (twelve minutes on two cores) the systems differ less than the seeds, with their own splits and front ends, do.
The numbers are in ``docs/experiments.md``.

::

    python examples/cnn_features.py                      # UCF11, 3 seeds
    python examples/cnn_features.py --quick              # a look in less than a minute
    python examples/cnn_features.py --task hmdb51 --data hmdb51
    PYTHONPATH=. python examples/cnn_features.py --front-end my_networks:inception_without_head

If it is killed at any moment, the same command resumes and gives the same results. The folder ``cnn_features_results``
(or ``--output``) keeps the stand-in's videos, the decoded frames and the features.

``results.csv`` and ``curves.csv`` are as those of ``action_recognition.py``; ``results.csv`` has two more columns,
``front_end_parameters`` and ``total_parameters``. ``claims.csv`` has the paper's orderings with their verdicts.
"""

# sphinx_gallery_thumbnail_path = "images/cnn_features_curves.png"

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from rich.console import Console

from learning.comparison import Split
from learning.systems import System
from learning.training import ParameterCount
from learning.trial_options import chosen_systems
from learning.trials import Outcome, Trial, run_trials
from papers.published import LAYERS
from running.options import mistakes_in_one_line, parse, positive
from running.parallel import run_jobs
from running.report import make_console, make_progress, write_csv
from tensorly_rnn import separate_modes
from video.claims import check_claims
from video.clips import Clips
from video.frames import Frames
from video.front_end import FEATURES, Features, check_front_end, obtain_features
from video.options import QUICK_RUN, make_parser, training_settings
from video.pictures import draw_clips, draw_curves, draw_sizes
from video.plan import Plan, obtain_frames, prepare
from video.recognition import Recipe, Recognition
from video.report import describe_clips, report_claims, video_curve_rows, video_rows, video_table

HIDDEN = 2048
INPUT_MODES = (8, 8, 8, 4)


def systems_at(fdht: str) -> tuple[System, ...]:
    """Return the compact systems: the FDHT-LSTM published under that name, and our own settings for the others.

    The tensor ring keeps its input modes apart from its output modes; the HT-LSTM has the FDHT-LSTM's ranks.
    """
    full = LAYERS[fdht].system
    ring_out, ring_in = separate_modes(full.hidden_modes, INPUT_MODES)
    return (
        System("tr", "TR-LSTM", "tr", 15, "input", ring_in, ring_out),
        System("ht", "HT-LSTM", "ht", full.rank, "input", INPUT_MODES, full.hidden_modes),
        full,
    )


SYSTEMS = {"ucf11": systems_at("CNN + FDHT-LSTM, UCF11"), "hmdb51": systems_at("CNN + FDHT-LSTM, HMDB51")}
PUBLISHED = {
    "ucf11": {"dense LSTM": 92.3, "TR-LSTM": 93.8, "HT-LSTM": 98.1, "FDHT-LSTM": 98.4},
    "hmdb51": {"dense LSTM": 62.9, "TR-LSTM": 63.8, "HT-LSTM": 64.2, "FDHT-LSTM": 64.2},
}
DENSE_PARAMETERS = ParameterCount(4 * HIDDEN * FEATURES, 4 * HIDDEN * (FEATURES + HIDDEN))


@dataclass(frozen=True)
class FrontEnd:
    """The network that turns frames into features: yours by name, or None for the small one, trained for `epochs`."""

    name: str | None
    epochs: int


def make_plan(arguments: list[str] | None) -> tuple[Plan, FrontEnd]:
    """Read the command line and check whatever can be wrong before anything is made or trained."""
    parser = make_parser(
        "Recognize actions from a convolutional network's features with dense and compact LSTMs.",
        SYSTEMS,
        epochs=8,
        clips_per_epoch=256,
        dropout=0.5,
        output=Path("cnn_features_results"),
    )
    add = parser.add_argument
    add("--front-end", metavar="MODULE:FACTORY", help="a network of your own, in place of a small one trained here")
    add("--front-end-epochs", type=positive(int), default=12, help="of the small one, each of one frame a training clip")
    options = parse(parser, QUICK_RUN | {"clips_per_epoch": 64, "front_end_epochs": 8}, arguments)
    front_end = FrontEnd(options.front_end, options.front_end_epochs)
    recipe = Recipe(HIDDEN, FEATURES, options.watched_clips, options.dropout)
    systems, settings = chosen_systems(options, SYSTEMS[options.task]), training_settings(options)
    with mistakes_in_one_line(parser, options.output):
        if front_end.name:
            check_front_end(front_end.name)
        of_features = {"front_end": front_end.name, "front_end_epochs": front_end.epochs}
        return prepare(options, systems, settings, recipe, of_features), front_end


def obtain_all_features(
    plan: Plan, front_end: FrontEnd, clips: Clips, frames: Frames, splits: Sequence[Split], console: Console
) -> list[tuple[Features, int]]:
    """Return the features of every split, with the size of what made them; show the progress."""
    jobs = [
        partial(
            obtain_features, frames, clips, split, front_end.name, front_end.epochs, plan.output / "features",
            plan.checkpoints,
        )
        for split in splits
    ]  # fmt: skip
    with make_progress(console) as progress:
        bar = progress.add_task("front end", total=len(splits) * front_end.epochs)

        def show(report: tuple[str, int]) -> None:
            progress.update(bar, advance=report[1], description=report[0])

        return run_jobs(jobs, show, torch.device("cpu"), fewest=2)


def run_all(plan: Plan, front_end: FrontEnd, clips: Clips, frames: Frames, console: Console) -> tuple[list[Outcome], int]:
    """Extract features and train and test every system on them, with every seed; also return the front end's size."""
    splits = plan.splits(clips)
    for split in splits:
        console.print(describe_clips(split), soft_wrap=True)
    found = obtain_all_features(plan, front_end, clips, frames, splits, console)
    trials = [
        (Trial(system, split.seed), Recognition(features, clips, split, plan.recipe, plan.settings.device))
        for system in plan.systems
        for split, (features, _) in zip(splits, found)
    ]
    return run_trials(trials, plan.settings, plan.checkpoints, console), found[0][1]


def write_results(
    plan: Plan, clips: Clips, frames: Frames, outcomes: list[Outcome], front_end_parameters: int, console: Console
) -> None:
    """Write the tables and pictures, and say what of the paper is reproduced; nothing is left to go on with."""
    published = PUBLISHED[plan.task]
    rows = [
        row
        | {
            "front_end_parameters": front_end_parameters,
            "total_parameters": front_end_parameters + outcome.parameters.recurrent,
        }
        for row, outcome in zip(video_rows(outcomes, plan.source, published, DENSE_PARAMETERS), outcomes)
    ]
    write_csv(plan.output / "results.csv", rows)
    write_csv(plan.output / "curves.csv", list(video_curve_rows(outcomes)))
    claims = list(check_claims(outcomes, published))
    draw_clips(plan.output / "clips.png", frames, clips)
    draw_curves(plan.output / "training_curves.png", outcomes)
    draw_sizes(plan.output / "accuracy_against_parameters.png", outcomes)
    epochs = f"{plan.settings.epochs} epochs of {plan.settings.samples_per_epoch} clips"
    heading = f"CNN + LSTM, {plan.task}: {epochs}, seeds: {plan.seeds}"
    console.print(video_table(outcomes, heading, published, DENSE_PARAMETERS))
    lines = [
        f"front end: {front_end_parameters:,} weights here, 21.77M in the paper (Inception-V3)",
        f"data: {plan.source}",
        f"written to {plan.output}: tables (csv) and pictures (png)",
        *report_claims(plan.output / "claims.csv", claims, plan.seeds),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    plan, front_end = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    clips, frames = obtain_frames(plan, console)
    outcomes, front_end_parameters = run_all(plan, front_end, clips, frames, console)
    write_results(plan, clips, frames, outcomes, front_end_parameters, console)


if __name__ == "__main__":
    main()
