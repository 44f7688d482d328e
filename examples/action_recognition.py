"""
Recognizing actions and faces in videos, end to end
===================================================

Both papers' main experiment: an LSTM reads six frames of a clip, 160 x 120 x 3 = 57600 numbers each, and says what the clip
shows. A dense ``torch.nn.LSTM`` of 256 hidden units is compared with the TT-, TR-, BT- and HT-LSTM, which replace its
input-hidden matrix, with a layer-wise HT-LSTM, which replaces both matrices one by one, and with the FDHT-LSTM, which
replaces both by one decomposition, all at the papers' sizes and ranks.

The data are UCF11 (``--task ucf11``: 11 actions, 1600 clips) or Youtube Celebrities (``--task youtube``: 47 subjects, 1910
clips). ``--data`` names the folder of the real ones; without it a stand-in is written to disk as MPEG files in the same layout
and read back by the same loader. In UCF11's, sprites made of scikit-learn's digits move over textured backgrounds in 11
ways; in Youtube Celebrities', 47 sprites of their own colour and form are to be told apart. The six frames are drawn
at random once for each clip. Clips of one group (the same source video) are never both trained and tested on.

What a run shows: a table of accuracies and parameters beside the papers'; training curves (fig. 6 of the BT paper), epochs
to 60 % accuracy among them; accuracy against parameters (fig. 6 of the HT paper); how noise on the test clips, and one random
order of the pixels, change the accuracy (section 2 of the BT paper). The last lines say of every ordering that the papers
claim whether the data reproduces it: *reproduced* if all seeds agree with it, *not reproduced* if all contradict it,
*undecided* otherwise. On a stand-in that says something about the systems and the stand-in, not about the real videos.

::

    python examples/action_recognition.py                             # UCF11, 3 seeds
    python examples/action_recognition.py --quick                     # a look in less than a minute
    python examples/action_recognition.py --task youtube
    python examples/action_recognition.py --data UCF11_updated_mpg    # CLASS/v_GROUP_01/v_GROUP_01_01.mpg
    python examples/action_recognition.py --task youtube --data ytcelebrity    # 0001_01_001_first_last.avi

An epoch is ``--clips-per-epoch`` of the training clips, drawn anew each time, the same for all systems: the dense LSTM's
are what takes the time. Training is as in the HT paper, Adam in batches of 16 with dropout 0.25; its L2 term is off
(``--weight-decay``), as so short a training needs none. The dense LSTM has a learning rate of its own, for which it was tried
with 1e-4, 3e-4 and 1e-3 on the stand-in, and learned most in the same number of steps with the second; the TT-LSTM was
tried with 1e-3 and 3e-3, and the other compact systems take over its rate.

Killed at any moment, the same command goes on where it was and ends with the same results; options or data that
differ are refused, and ``--fresh`` discards what there is. The folder ``action_recognition_results`` (or ``--output``) keeps
the stand-in's videos and the decoded frames, so that later runs need not make them again.

``results.csv`` has one line for each seed and system; shares are between 0 and 1, parameters exclude the biases:

===================================================  ===================================================================
data, seed, system, factorization, rank, decompose   what was trained on what
pixels                                               ``in order`` or ``permuted``
epochs, train_clips, test_clips, chance              length and sizes; share of the largest class of test clips
input_hidden_parameters, input_hidden_ratio          count, and the dense LSTM's count over it; empty where one
                                                     decomposition holds both matrices
recurrent_parameters, recurrent_ratio                the same for the whole recurrent layer
accuracy, average_accuracy, kappa                    on all test clips: share recognized, mean of that over the classes,
                                                     Cohen's kappa
published_accuracy                                   the papers', on the real data
epochs_to_60_percent                                 first epoch with that accuracy on the watched test clips
``accuracy_at_noise_...``                            on the test clips under normal noise of that deviation, white being 1
seconds_per_epoch                                    median, training alone
===================================================  ===================================================================

``curves.csv`` has seed, system, pixels, epoch, loss (training), accuracy (on a fixed sample of the test clips) and
seconds; ``claims.csv`` the orderings with their verdicts and numbers.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from claims import check_claims
from comparison import Settings, System, make_compact
from options import number_from_zero, parse, parse_device, positive, rank_override, some_of, with_ranks
from parallel import run_jobs
from recognition import Data, Recipe, Result, make_split, recognize
from report import make_console, make_progress, write_csv
from rich.console import Console
from training import ParameterCount
from video_frames import INPUTS
from video_pictures import draw_clips, draw_curves, draw_sensitivity, draw_sizes
from video_plan import TEST_SHARE, Plan, obtain_frames, prepare
from video_report import curve_rows, describe_clips, noise_lines, report_claims, result_rows, results_table

FRAMES = 6
OUT, TREE_OUT = (4, 4, 4, 4), (4, 4, 2, 4, 2)
RING_IN, RING_OUT = (4, 2, 5, 8, 6, 5, 3, 2, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1, 1, 4, 4, 2, 4, 2)
RING_RANK = (10, *(5,) * 12, 10)
TREE_IN, FULL_IN = (8, 10, 10, 9, 8), (16, 16, 16, 15)
SYSTEMS = {
    "ucf11": (
        System("tt", "TT-LSTM", "tt", 4, "input", (8, 20, 20, 18), OUT),
        System("tr", "TR-LSTM", "tr", RING_RANK, "input", RING_IN, RING_OUT),
        System("bt", "BT-LSTM", "bt", (2, 4), "input", (8, 20, 20, 18), OUT),
        System("ht", "HT-LSTM", "ht", (4, 5), "input", TREE_IN, TREE_OUT),
        System("fdht", "FDHT-LSTM", "ht", (14, 12), "full", FULL_IN, OUT),
        System("layerwise", "layer-wise HT-LSTM", "ht", (4, 5), "layerwise", TREE_IN, TREE_OUT),
    ),
    "youtube": (
        System("tt", "TT-LSTM", "tt", 4, "input", (4, 20, 20, 36), OUT),
        System("tr", "TR-LSTM", "tr", RING_RANK, "input", RING_IN, RING_OUT),
        System("bt", "BT-LSTM", "bt", (2, 4), "input", (8, 20, 20, 18), OUT),
        System("ht", "HT-LSTM", "ht", (3, 3), "input", TREE_IN, TREE_OUT),
        System("fdht", "FDHT-LSTM", "ht", (14, 11), "full", FULL_IN, OUT),
        System("layerwise", "layer-wise HT-LSTM", "ht", (3, 3), "layerwise", TREE_IN, TREE_OUT),
    ),
}
PUBLISHED = {
    "ucf11": {"dense LSTM": 69.7, "TT-LSTM": 79.6, "BT-LSTM": 85.3, "TR-LSTM": 86.9, "HT-LSTM": 87.2, "FDHT-LSTM": 87.5},
    "youtube": {"dense LSTM": 33.2, "TT-LSTM": 75.5, "HT-LSTM": 88.1, "FDHT-LSTM": 88.2},
}
PERMUTED = ("tt", "bt")
NOISE_LEVELS = (0.25, 0.5, 1.0, 2.0)
HIDDEN = 256
NAMES = ["dense", *(system.name for system in SYSTEMS["ucf11"])]
QUICK_RUN = {"seeds": 1, "epochs": 2, "clips": 132, "clips_per_epoch": 80, "watched_clips": 22}


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Recognize actions or faces in videos with dense and compact LSTMs.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed, few clips and epochs, for a look in less than a minute")
    add("--task", choices=tuple(SYSTEMS), default="ucf11", help="actions or faces")
    add("--data", type=Path, help="folder of the real data set, in place of a stand-in")
    add("--clips", type=positive(int), help="clips of the stand-in, 1600 or 564 if not given")
    add("--device", type=parse_device, default="cpu", help="where to train")
    add("--seeds", type=positive(int), default=3, help="number of repetitions")
    add("--epochs", type=positive(int), default=16, help="of every system")
    add("--clips-per-epoch", type=positive(int), default=320, help="drawn of the training clips for every epoch")
    add("--watched-clips", type=positive(int), default=160, help="test clips on which the curves are taken")
    add("--batch-size", type=positive(int), default=16, help="clips a step")
    add("--learning-rate", type=positive(float), default=3e-3, help="of Adam, for compact systems")
    add("--dense-learning-rate", type=positive(float), default=3e-4, help="of Adam, for the dense LSTM")
    add("--dropout", type=number_from_zero(below=1), default=0.25, help="of the LSTM's last output")
    add("--weight-decay", type=number_from_zero(), default=0.0, help="L2 coefficient of Adam")
    add("--systems", type=some_of(NAMES), default=",".join(NAMES), help=f"of {','.join(NAMES)}")
    add(
        "--rank", type=rank_override(SYSTEMS["ucf11"]), action="append", default=[], metavar="SYSTEM=RANK", help="as in bt=2,2"
    )
    add("--output", type=Path, default=Path("action_recognition_results"), help="folder for videos, tables and pictures")
    add("--fresh", action="store_true", help="discard what an earlier run left there and start anew")
    return parser


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line and check whatever can be wrong before anything is made or trained."""
    parser = make_parser()
    options = parse(parser, QUICK_RUN, arguments)
    chosen = [system for system in SYSTEMS[options.task] if system.name in options.systems]
    settings = Settings(HIDDEN, options.epochs, 0, options.batch_size, options.learning_rate, options.device)
    recipe = Recipe(
        settings,
        options.dense_learning_rate,
        options.clips_per_epoch,
        options.watched_clips,
        options.dropout,
        options.weight_decay,
        NOISE_LEVELS,
        pixels=True,
    )
    systems = [*[None] * ("dense" in options.systems), *with_ranks(chosen, options.rank)]
    return prepare(parser, options, systems, recipe, lambda system: make_compact(system, INPUTS, settings), FRAMES)


def run_all(plan: Plan, data: Data, console: Console) -> list[Result]:
    """Train and test every system with every seed and show the progress."""
    splits = [make_split(data.clips, TEST_SHARE, seed) for seed in range(plan.seeds)]
    for split in splits:
        console.print(describe_clips(split), soft_wrap=True)
    # The dense LSTM first: it takes longest.
    trained = [(system, False) for system in plan.systems]
    trained += [(system, True) for system in plan.systems if system and system.name in PERMUTED]
    jobs = [
        partial(recognize, data, split, system, plan.recipe, plan.checkpoints, permuted=permuted)
        for system, permuted in trained
        for split in splits
    ]
    with make_progress(console) as progress:
        bar = progress.add_task("starting", total=len(jobs) * plan.recipe.settings.epochs)
        return run_jobs(
            jobs,
            lambda report: progress.update(bar, advance=report[1], description=report[0]),
            plan.recipe.settings.device,
        )


def write_results(plan: Plan, data: Data, results: list[Result], console: Console) -> None:
    """Write the tables and pictures, and say what of the papers is reproduced; nothing is left to go on with."""
    published = PUBLISHED[plan.task]
    dense = ParameterCount(4 * HIDDEN * INPUTS, 4 * HIDDEN * (INPUTS + HIDDEN))
    rows = result_rows(results, plan.source, NOISE_LEVELS, published, dense)
    write_csv(plan.output / "results.csv", list(rows))
    write_csv(plan.output / "curves.csv", list(curve_rows(results)))
    claims = list(check_claims(results, published))
    draw_clips(plan.output / "clips.png", data.sequences, data.clips)
    draw_curves(plan.output / "training_curves.png", results)
    draw_sizes(plan.output / "accuracy_against_parameters.png", results)
    draw_sensitivity(plan.output / "sensitivity.png", results, NOISE_LEVELS)
    heading = f"{plan.task}: {plan.recipe.settings.epochs} epochs of {plan.recipe.clips_per_epoch} clips, seeds: {plan.seeds}"
    console.print(results_table(results, heading, published, dense))
    lines = [
        *noise_lines(results, NOISE_LEVELS),
        f"data: {plan.source}",
        f"written to {plan.output}: tables (csv) and pictures (png)",
        *report_claims(plan.output / "claims.csv", claims, plan.seeds),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    clips, frames = obtain_frames(plan, console)
    results = run_all(plan, Data(frames, clips, INPUTS), console)
    write_results(plan, Data(frames, clips, INPUTS), results, console)


if __name__ == "__main__":
    main()
