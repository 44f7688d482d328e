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

::

    python examples/cnn_features.py                      # UCF11, 3 seeds
    python examples/cnn_features.py --quick              # a look in less than a minute
    python examples/cnn_features.py --task hmdb51 --data hmdb51
    PYTHONPATH=. python examples/cnn_features.py --front-end my_networks:inception_without_head

Killed at any moment, the same command goes on where it was and ends with the same results. The folder ``cnn_features_results``
(or ``--output``) keeps the stand-in's videos, the decoded frames and the features.

``results.csv`` and ``curves.csv`` are as those of ``action_recognition.py``; ``results.csv`` has two more columns,
``front_end_parameters`` and ``total_parameters``. ``claims.csv`` has the paper's orderings with their verdicts.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import torch
from claims import check_claims
from comparison import Settings, System, make_compact
from front_end import FEATURES, Features, load_front_end, obtain_features
from options import number_from_zero, parse, parse_device, positive, rank_override, some_of, with_ranks
from parallel import run_jobs
from recognition import Data, Recipe, Result, make_split, recognize
from report import make_console, make_progress, write_csv
from rich.console import Console
from training import ParameterCount
from video import Clips
from video_frames import Frames
from video_pictures import draw_clips, draw_curves, draw_sizes
from video_plan import TEST_SHARE, Plan, obtain_frames, prepare
from video_report import curve_rows, describe_clips, report_claims, result_rows, results_table

FRAMES = 6
HIDDEN = 2048
OUT = (4, 8, 8, 8)
RING_IN, RING_OUT = (8, 8, 8, 4, 1, 1, 1, 1), (1, 1, 1, 1, 4, 8, 8, 8)


def systems_of(leaf: int, node: int) -> tuple[System, ...]:
    """Return the compact systems; HT- and FDHT-LSTM have the paper's ranks for the data set."""
    return (
        System("tr", "TR-LSTM", "tr", 15, "input", RING_IN, RING_OUT),
        System("ht", "HT-LSTM", "ht", (leaf, node), "input", (8, 8, 8, 4), OUT),
        System("fdht", "FDHT-LSTM", "ht", (leaf, node), "full", (8, 8, 8, 8), OUT),
    )


SYSTEMS = {"ucf11": systems_of(9, 6), "hmdb51": systems_of(14, 12)}
PUBLISHED = {
    "ucf11": {"dense LSTM": 92.3, "TR-LSTM": 93.8, "HT-LSTM": 98.1, "FDHT-LSTM": 98.4},
    "hmdb51": {"dense LSTM": 62.9, "TR-LSTM": 63.8, "HT-LSTM": 64.2, "FDHT-LSTM": 64.2},
}
NAMES = ["dense", *(system.name for system in SYSTEMS["ucf11"])]
QUICK_RUN = {"seeds": 1, "epochs": 2, "clips": 132, "clips_per_epoch": 64, "watched_clips": 22, "front_end_epochs": 8}


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Recognize actions from a convolutional network's features with dense and compact LSTMs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed, few clips and epochs, for a look in less than a minute")
    add("--task", choices=tuple(SYSTEMS), default="ucf11", help="11 or 51 classes")
    add("--data", type=Path, help="folder of the real data set, in place of a stand-in")
    add("--clips", type=positive(int), help="clips of the stand-in, 1600 or 1020 if not given")
    add("--front-end", metavar="MODULE:FACTORY", help="a network of your own, in place of a small one trained here")
    add("--front-end-epochs", type=positive(int), default=12, help="of the small one, each of one frame a training clip")
    add("--device", type=parse_device, default="cpu", help="where to train the LSTMs")
    add("--seeds", type=positive(int), default=3, help="number of repetitions")
    add("--epochs", type=positive(int), default=8, help="of every system")
    add("--clips-per-epoch", type=positive(int), default=256, help="drawn of the training clips for every epoch")
    add("--watched-clips", type=positive(int), default=160, help="test clips on which the curves are taken")
    add("--batch-size", type=positive(int), default=16, help="clips a step")
    add("--learning-rate", type=positive(float), default=3e-3, help="of Adam, for compact systems")
    add("--dense-learning-rate", type=positive(float), default=3e-4, help="of Adam, for the dense LSTM")
    add("--dropout", type=number_from_zero(below=1), default=0.5, help="of the LSTM's last output")
    add("--weight-decay", type=number_from_zero(), default=0.0, help="L2 coefficient of Adam")
    add("--systems", type=some_of(NAMES), default=",".join(NAMES), help=f"of {','.join(NAMES)}")
    add(
        "--rank", type=rank_override(SYSTEMS["ucf11"]), action="append", default=[], metavar="SYSTEM=RANK", help="as in ht=4,5"
    )
    add("--output", type=Path, default=Path("cnn_features_results"), help="folder for videos, features, tables and pictures")
    add("--fresh", action="store_true", help="discard what an earlier run left there and start anew")
    return parser


def make_plan(arguments: list[str] | None) -> tuple[Plan, argparse.Namespace]:
    """Read the command line and check whatever can be wrong before anything is made or trained."""
    parser = make_parser()
    options = parse(parser, QUICK_RUN, arguments)
    if options.front_end:
        try:
            load_front_end(options.front_end)
        except ValueError as error:
            parser.error(str(error).splitlines()[0])
    settings = Settings(HIDDEN, options.epochs, 0, options.batch_size, options.learning_rate, options.device)
    recipe = Recipe(
        settings,
        options.dense_learning_rate,
        options.clips_per_epoch,
        options.watched_clips,
        options.dropout,
        options.weight_decay,
    )
    chosen = [system for system in SYSTEMS[options.task] if system.name in options.systems]
    systems = [*[None] * ("dense" in options.systems), *with_ranks(chosen, options.rank)]
    more = {"front_end": options.front_end, "front_end_epochs": options.front_end_epochs}
    plan = prepare(parser, options, systems, recipe, lambda system: make_compact(system, FEATURES, settings), FRAMES, more)
    return plan, options


def run_all(
    plan: Plan, options: argparse.Namespace, clips: Clips, frames: Frames, console: Console
) -> tuple[list[Result], int]:
    """Extract features and train and test every system on them, with every seed, and show the progress."""
    splits = [make_split(clips, TEST_SHARE, seed) for seed in range(plan.seeds)]
    for split in splits:
        console.print(describe_clips(split), soft_wrap=True)
    settings = plan.recipe.settings
    feature_jobs = [
        partial(
            obtain_features, frames, clips, split, options.front_end, options.front_end_epochs, plan.output / "features",
            plan.checkpoints,
        )
        for split in splits
    ]  # fmt: skip
    with make_progress(console) as progress:
        runs = len(plan.systems) * len(splits)
        bar = progress.add_task("starting", total=len(splits) * options.front_end_epochs + runs * settings.epochs)

        def show(report: tuple[str, int]) -> None:
            progress.update(bar, advance=report[1], description=report[0])

        found: list[tuple[Features, int]] = run_jobs(feature_jobs, show, torch.device("cpu"), fewest=2)
        jobs = [
            partial(recognize, Data(features, clips, FEATURES), split, system, plan.recipe, plan.checkpoints)
            for system in plan.systems
            for split, (features, _) in zip(splits, found)
        ]
        return run_jobs(jobs, show, settings.device), found[0][1]


def write_results(plan: Plan, clips: Clips, frames: Frames, results: list[Result], front_end: int, console: Console) -> None:
    """Write the tables and pictures, and say what of the paper is reproduced; nothing is left to go on with."""
    published = PUBLISHED[plan.task]
    dense = ParameterCount(4 * HIDDEN * FEATURES, 4 * HIDDEN * (FEATURES + HIDDEN))
    rows = [
        row | {"front_end_parameters": front_end, "total_parameters": front_end + result.parameters.recurrent}
        for row, result in zip(result_rows(results, plan.source, (), published, dense), results)
    ]
    write_csv(plan.output / "results.csv", rows)
    write_csv(plan.output / "curves.csv", list(curve_rows(results)))
    claims = list(check_claims(results, published))
    draw_clips(plan.output / "clips.png", frames, clips)
    draw_curves(plan.output / "training_curves.png", results)
    draw_sizes(plan.output / "accuracy_against_parameters.png", results)
    epochs = f"{plan.recipe.settings.epochs} epochs of {plan.recipe.clips_per_epoch} clips"
    console.print(results_table(results, f"CNN + LSTM, {plan.task}: {epochs}, seeds: {plan.seeds}", published, dense))
    lines = [
        f"front end: {front_end:,} weights here, 21.77M in the paper (Inception-V3)",
        f"data: {plan.source}",
        f"written to {plan.output}: tables (csv) and pictures (png)",
        *report_claims(plan.output / "claims.csv", claims, plan.seeds),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    plan, options = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    clips, frames = obtain_frames(plan, console)
    results, front_end = run_all(plan, options, clips, frames, console)
    write_results(plan, clips, frames, results, front_end, console)


if __name__ == "__main__":
    main()
