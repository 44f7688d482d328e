"""
Compact recurrent networks on hyperspectral images
==================================================

Classifies the land cover of Indian Pines from the spectrum of every pixel's 9 x 9 neighbourhood: a sequence of 10 steps
of 20 bands, 1620 inputs a step. A dense ``torch.nn.LSTM`` is compared with tensor-train, tensor-ring, block-term and
hierarchical Tucker LSTMs, which replace its input-hidden matrix, and with the FDHT-LSTM, which replaces both matrices
by one decomposition. Every compact system is obtained in two ways of equal total length:

* trained from scratch;
* ``from_lstm``: the dense LSTM is trained, compressed, and fine-tuned for the remaining epochs.

All of it is repeated for two ways to choose the 10 % of the labelled pixels to train on: at random, as is usual, where
windows of test pixels overlap windows of training pixels and the score flatters; and in compact regions, where no
test window overlaps a training window. A class in one small place can lose all its test pixels to the second; it stays
in training and is left out of the score.

What to expect with the default settings: on the random split the TT-, TR-, BT- and HT-LSTM trained from scratch
classify better than the dense LSTM with several hundred times fewer input-hidden parameters; the FDHT-LSTM does not.
Compressed that far, a dense LSTM loses most of what it had learned; fine-tuning brings back a part at most. On the
blocked split everything is far worse, and the systems differ by no more than the seeds do.

::

    python examples/indian_pines.py                          # all systems, 3 seeds, a few minutes on 2 cores
    python examples/indian_pines.py --quick                  # a look in less than a minute
    python examples/indian_pines.py --systems tt,ht --rank tt=8 --rank ht=6,6
    python examples/indian_pines.py --data scene.npz         # arrays cube (rows, columns, bands) and labels
    torchrun --nproc-per-node 2 examples/indian_pines.py     # every batch divided among 2 processes, same results

If the program is interrupted at any moment, even by SIGKILL, the same command resumes with the same results. The state that it
needs for that is in the folder ``checkpoints`` of the output until the run is complete; options, data or versions other
than those of the interrupted run are refused, and ``--fresh`` discards it.

The folder ``indian_pines_results`` (or ``--output``) receives three pictures and two tables. ``results.csv`` has one
line for each split, seed, system and way to obtain it; shares are between 0 and 1, parameters exclude the biases:

===================================================  ===================================================================
data, split, seed                                    what was trained on
system, factorization, rank, decompose               what was trained
how                                                  ``scratch`` or ``compressed``
epochs                                               in total, the dense LSTM's before compression included
train_pixels, test_pixels                            sizes of the two sets
left_out                                             classes without a test pixel
chance                                               share of the largest class among the test pixels
input_hidden_parameters, input_hidden_ratio          count, and the dense LSTM's count over it; empty where one
                                                     decomposition holds both matrices
recurrent_parameters, recurrent_ratio                the same for the whole recurrent layer
accuracy_before_fine_tuning                          right after compression; for the dense LSTM: at that same epoch
accuracy, average_accuracy, kappa                    after all epochs, on the test pixels: share classified rightly,
                                                     mean of that over the classes, Cohen's kappa
seconds_per_epoch                                    median, training alone
===================================================  ===================================================================

``curves.csv`` has split, seed, system, how, epoch, loss (training), accuracy (on a fixed sample of the test pixels) and
seconds.
"""

# sphinx_gallery_thumbnail_path = "images/accuracy_against_parameters.png"

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from hyperspectral import (
    INPUTS_PER_STEP,
    OVERLAP_RADIUS,
    TRAINING_SHARE,
    Scene,
    Windows,
    blocked_split,
    load_scene,
    random_split,
)
from learning.comparison import SCRATCH, Comparison, Run, Settings, Split, Task
from learning.comparison_report import curve_rows, describe_split, result_rows, results_table
from learning.pictures import Map, draw_accuracy_against_parameters, draw_class_maps, draw_training_curves
from learning.systems import System, make_recurrent, rank_override, with_ranks
from learning.training import Samples
from running import processes
from running.checkpoint import Checkpoints, digest, open_checkpoints
from running.options import mistakes_in_one_line, parse, parse_device, positive, some_of
from running.parallel import run_jobs
from running.report import make_console, make_progress, unique, write_csv

# One mode for 4 x 5 bands, one for the rows, one for the columns of a window. The tensor ring keeps its hidden modes
# apart from its input modes. Under "full" a fifth slice of the first mode holds the hidden state.
SYSTEMS = (
    System("tt", "TT-LSTM", "tt", 4, "input", (4, 5, 9, 9), (4, 4, 2, 2)),
    System("tr", "TR-LSTM", "tr", 5, "input", (4, 5, 9, 9, 1, 1, 1), (1, 1, 1, 1, 4, 4, 4)),
    System("bt", "BT-LSTM", "bt", (2, 4), "input", (4, 5, 9, 9), (4, 4, 2, 2)),
    System("ht", "HT-LSTM", "ht", (4, 5), "input", (4, 5, 9, 9), (4, 4, 2, 2)),
    System("fdht", "FDHT-LSTM", "ht", (10, 10), "full", (5, 5, 9, 9), (4, 4, 2, 2)),
    System("layerwise", "layer-wise HT-LSTM", "ht", (4, 5), "layerwise", (4, 5, 9, 9), (4, 4, 2, 2)),
)
DEFAULT_SYSTEMS = ("tt", "tr", "bt", "ht", "fdht")
SPLITS = ("random", "blocked")
WATCHED_PIXELS = 500

QUICK_RUN = {"seeds": 1, "epochs": 5, "fine_tune": 3, "test_pixels": 2000}


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line."""

    scene: Scene
    splits: list[Split]
    systems: list[System]
    settings: Settings
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path


def make_split(scene: Scene, name: str, seed: int, test_pixels: int | None) -> Split:
    """Choose the training pixels of a scene and all its test pixels or a sample of so many.

    Raises
    ------
    ValueError
        If no test pixel is left.
    """
    rng = np.random.default_rng(seed)
    if name == "random":
        train_index, test_index = random_split(scene.labels, TRAINING_SHARE, rng)
    else:
        train_index, test_index = blocked_split(scene.labels, TRAINING_SHARE, OVERLAP_RADIUS, rng)
    if not test_index.size:
        raise ValueError(f"the {name} split with seed {seed} leaves no test pixel in {scene.source}")
    if test_pixels and test_pixels < test_index.size:
        test_index = np.sort(rng.choice(test_index, test_pixels, replace=False))
    test_targets = scene.targets[test_index]
    left_out = np.setdiff1d(scene.targets[train_index], test_targets)
    names = tuple(scene.class_names[target] for target in left_out)
    return Split(name, seed, train_index, test_index, test_targets, names)


def make_task(scene: Scene, split: Split, device: torch.device) -> Task:
    """Cut the training windows, and the test windows that are watched, out of a scene."""
    windows = Windows(scene.cube, split.train_index, device)
    watched_count = min(WATCHED_PIXELS, split.test_index.size)
    watched_index = np.random.default_rng(split.seed).choice(split.test_index, watched_count, replace=False)

    def samples(index: np.ndarray) -> Samples:
        return Samples(windows(torch.from_numpy(index)), torch.from_numpy(scene.targets[index]).to(device))

    return Task(
        split=split,
        input_size=INPUTS_PER_STEP,
        n_classes=len(scene.class_names),
        training=samples(split.train_index),
        watched=samples(watched_index),
        sequences_at=windows,
        shown_index=scene.labelled if split.seed == 0 else split.test_index,  # the maps are those of the first seed
    )


def run_split(plan: Plan, split: Split, settings: Settings, report: Callable[[tuple[str, int]], None]) -> list[Run]:
    """Train every system on one split."""
    where = f"{split.name} split, seed {split.seed}"
    task = make_task(plan.scene, split, settings.device)
    comparison = Comparison(task, settings, plan.checkpoints, lambda what, epochs: report((f"{where}: {what}", epochs)))
    return comparison.run(plan.systems)


def run_all(plan: Plan, console: Console) -> list[Run]:
    """Train every system on every split and show the progress."""
    settings = dataclasses.replace(plan.settings, device=processes.own_device(plan.settings.device))
    jobs = [partial(run_split, plan, split, settings) for split in plan.splits]
    systems = len(plan.systems)
    epochs_per_job = (1 + systems) * settings.total_epochs + systems * settings.fine_tune
    with make_progress(console) as progress:
        bar = progress.add_task("starting", total=len(jobs) * epochs_per_job)

        def show(report: tuple[str, int]) -> None:
            what, epochs = report
            progress.update(bar, advance=epochs, description=what)

        results = run_jobs(jobs, show, settings.device)
    return [run for runs in results for run in runs]


def class_maps(scene: Scene, runs: list[Run]) -> dict[str, list[Map]]:
    """Draw up the true classes beside those from the dense and the best compact LSTM from scratch, first seed."""

    def as_map(title: str, index: np.ndarray, targets: np.ndarray) -> Map:
        image = np.zeros(scene.labels.size, dtype=int)
        image[index] = targets + 1
        return Map(title, image.reshape(scene.labels.shape))

    def classified(run: Run) -> Map:
        return as_map(f"{run.title}: {run.scores.accuracy:.0%} of test pixels", scene.labelled, run.predicted)

    rows = {}
    for name in unique(run.split.name for run in runs):
        first = (name, 0, SCRATCH)
        dense, *compact = [run for run in runs if (run.split.name, run.split.seed, run.how) == first]
        rows[f"{name} split"] = [
            as_map("training pixels", dense.split.train_index, scene.targets[dense.split.train_index]),
            Map("true classes", scene.labels),
            classified(dense),
            classified(max(compact, key=lambda run: run.scores.accuracy)),
        ]
    return rows


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    names = [system.name for system in SYSTEMS]
    parser = argparse.ArgumentParser(
        description="Compare dense and compact LSTMs on a hyperspectral image.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed and few epochs, for a look in less than a minute")
    add("--device", type=parse_device, default="cpu", help="where to train")
    add("--seeds", type=positive(int), default=3, help="number of repetitions")
    add("--hidden", type=positive(int), default=64, help="hidden size")
    add("--epochs", type=positive(int), default=20, help="epochs of the dense LSTM before it is compressed")
    add("--fine-tune", type=positive(int), default=15, help="epochs after that; from scratch it is the sum")
    add("--batch-size", type=positive(int), default=64, help="training pixels a step, divided among the processes of torchrun")
    add("--learning-rate", type=positive(float), default=3e-3, help="of Adam")
    add("--formats", "--systems", dest="systems", type=some_of(names), default=",".join(DEFAULT_SYSTEMS),
        help=f"of {','.join(names)}")  # fmt: skip
    add("--rank", type=rank_override(SYSTEMS), action="append", default=[], metavar="SYSTEM=RANK", help="as in bt=2,4")
    add("--splits", type=some_of(SPLITS), default=",".join(SPLITS), help=f"of {','.join(SPLITS)}")
    add("--test-pixels", type=positive(int), help="number of test pixels to score on, all if not given")
    add("--output", type=Path, default=Path("indian_pines_results"), help="folder for tables and pictures")
    add("--fresh", action="store_true", help="discard what an interrupted run left there and start anew")
    add("--data", type=Path, help=".npz file with arrays cube and labels, in place of Indian Pines")
    return parser


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line, load the data and check whatever can be wrong before anything is trained."""
    parser = make_parser()
    options = parse(parser, QUICK_RUN, arguments)
    settings = Settings(
        options.hidden, options.epochs, options.fine_tune, options.batch_size, options.learning_rate, options.device
    )
    systems = with_ranks([system for system in SYSTEMS if system.name in options.systems], options.rank)
    with mistakes_in_one_line(parser, options.output):
        scene = load_scene(options.data)
        splits = [
            make_split(scene, name, seed, options.test_pixels) for name in options.splits for seed in range(options.seeds)
        ]
        for system in systems:  # so that a rank or size that does not fit is found before anything is trained
            make_recurrent(system, INPUTS_PER_STEP, options.hidden, options.device)
        fingerprint = dataclasses.asdict(settings) | {
            "device": options.device.type,
            "processes": processes.count(),
            "systems": [dataclasses.asdict(system) for system in systems],
            "splits": options.splits,
            "seeds": options.seeds,
            "test_pixels": options.test_pixels,
            "data": digest(scene.cube, scene.labels),
        }
        checkpoints, lines = open_checkpoints(options.output / "checkpoints", fingerprint, fresh=options.fresh)
    return Plan(scene, splits, systems, settings, checkpoints, lines, options.output)


def write_results(plan: Plan, runs: list[Run], console: Console) -> None:
    """Write the tables and pictures and show the table; nothing is left to go on with."""
    write_csv(plan.output / "results.csv", list(result_rows(runs, plan.scene.source)))
    write_csv(plan.output / "curves.csv", list(curve_rows(runs)))
    draw_accuracy_against_parameters(plan.output / "accuracy_against_parameters.png", runs)
    draw_training_curves(plan.output / "training_curves.png", runs)
    draw_class_maps(plan.output / "classified_map.png", class_maps(plan.scene, runs), plan.scene.class_names)
    seeds = len(unique(run.split.seed for run in runs))
    title = f"Dense and compact LSTMs; epochs: {plan.settings.total_epochs}, seeds: {seeds}"
    console.print(results_table(runs, title))
    source, output = plan.scene.source, plan.output
    console.print(f"data: {source}\nwritten to {output}: tables (csv) and pictures (png)", soft_wrap=True)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    with processes.joined_processes():
        plan = processes.from_first(lambda: make_plan(arguments))
        console = make_console(quiet=processes.rank() > 0)
        for line in [*plan.checkpoint_lines, *map(describe_split, plan.splits)]:
            console.print(line, soft_wrap=True)
        runs = run_all(plan, console)
        processes.from_first(lambda: write_results(plan, runs, console))


if __name__ == "__main__":
    main()
