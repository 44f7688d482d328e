"""
Captions from a compact decoder
===============================

The block-term paper's image captioning: a decoder in the manner of Show and Tell (Vinyals et al., 2015) tells word by word
what is in an image, with a dense, a tensor-train or a block-term LSTM. The paper shows captions and no scores, and prints
neither sizes, modes nor ranks of this task. It says that an input is the embedding of the image's features beside that of
a word: here 256 + 256 = 512 inputs at hidden size 256, a dense input-hidden matrix of 524,288 entries. (Show and Tell has
512 for both and gives the image once, before the words.) The block-term LSTM has two blocks of rank 4, as in the paper's
action recognition, and the tensor train about as many parameters. Everything else, the recurrent matrix too, is dense in
all systems.

The images' features come from a network that is trained beforehand and is the same for all systems. Any torch module can
be given (``--front-end``), such as an Inception-v3 with trained weights, as in the paper. Without, a network of four
convolutions is trained here to tell which words occur in an image's captions; its 2048 features are its last maps,
averaged in 4 x 4 fields. They are kept in the folder ``features`` of the output.

Data in MSCOCO's layout are read when given; without, scenes are rendered, written to the folder ``scenes`` of the output
in that layout, and read from there: two coloured shapes, how they lie and the background, told by five templates.

At full size (a quarter of an hour on two cores) all systems say what is in nearly every stand-in scene; it does not tell
them apart. The numbers are in ``docs/experiments.md``.

::

    python examples/captioning.py                    # all systems, 3 seeds, some minutes on 2 cores
    python examples/captioning.py --quick            # a look in less than a minute
    python examples/captioning.py --data coco --train-images 5000 --test-images 500 --image-size 128
    python examples/captioning.py --data coco --front-end my_network:make --image-size 224

MSCOCO is a folder with ``annotations/captions_train2014.json``, ``annotations/captions_val2014.json`` and the images in
``train2014`` and ``val2014`` (or those of 2017, and either below ``images``). ``my_network:make`` is a function of a module
that Python finds; it returns a torch module, which takes images of shape (batch, 3, side, side), scaled by ImageNet's means
and deviations, and gives a tensor with a row for each.

If the program is interrupted at any moment, even by SIGKILL, the same command resumes with the same results. The state that it
needs for that is in the folder ``checkpoints`` of the output until the run is complete; options, data or versions other
than those of the interrupted run are refused, and ``--fresh`` discards it, the features too.

The folder ``captioning_results`` (or ``--output``) receives ``captions.png``, test images with a caption by each system,
``training_curves.png`` and three tables. ``results.csv`` has one line for each seed and system:

===================================================  ===================================================================
data, seed, system                                   what was trained on what
factorization, rank, decompose, epochs               how
input_hidden_parameters, input_hidden_ratio          count, and the dense LSTM's count over it
recurrent_parameters, recurrent_ratio                the same for the whole LSTM; neither counts biases
model_parameters                                     of the whole model without the front end, biases included
test_loss                                            nats a word of the test captions
bleu1, bleu2, bleu3, bleu4                           BLEU in per cent of the captions found, against all of an image's
exact                                                per cent of them that are one of the image's own word for word
shuffled_bleu4                                       BLEU-4 against the captions of another image
seconds_per_epoch                                    median, training alone
===================================================  ===================================================================

``curves.csv`` has seed, system, epoch, training_loss (mean over the epoch, while it learns), test_loss and seconds;
``captions.csv`` has every caption: seed, system, image, caption and reference, the first of the image's own.
"""

# sphinx_gallery_thumbnail_path = "images/captions.png"

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console
from torch import nn

from captions.coco import TEST, TRAIN, CaptionedImage, load_captions
from captions.image_features import WordDetection, compute_features, read_images, train_small_network, trained_small_network
from captions.pictures import draw_captions
from captions.scenes import write_scenes
from captions.task import HIDDEN, INPUTS, Captioning, make_captions
from captions.vocabulary import SPECIAL, Vocabulary, words_of
from learning.own_network import make_own_network
from learning.systems import System, make_recurrent
from learning.training import ParameterCount
from learning.trial_curves import draw_curves
from learning.trial_options import chosen_systems, fingerprint_of, make_parser, training_settings
from learning.trial_report import curve_rows, result_rows, results_table, score_of
from learning.trials import Outcome, Settings, Trial, run_trials
from running.checkpoint import Checkpoints, digest, open_checkpoints, versions
from running.options import mistakes_in_one_line, parse, positive
from running.parallel import run_jobs
from running.report import make_console, make_progress, write_csv

IN_MODES, OUT_MODES = (4, 4, 4, 8), (4, 4, 4, 4)
SYSTEMS = (
    System("tt", "TT-LSTM", "tt", 6, "input", IN_MODES, OUT_MODES),
    System("bt", "BT-LSTM", "bt", (2, 4), "input", IN_MODES, OUT_MODES),
)
DENSE_PARAMETERS = ParameterCount(4 * HIDDEN * INPUTS, 4 * HIDDEN * (INPUTS + HIDDEN))
TRAINING_SCENES, TEST_SCENES = 2000, 200  # rendered where no numbers of images are given

QUICK_RUN = {"seeds": 1, "epochs": 4, "front_end_epochs": 10, "train_images": 600, "test_images": 60}


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line; ``front_end`` is None for the network that is trained here."""

    training: list[CaptionedImage]
    test: list[CaptionedImage]
    source: str
    vocabulary: Vocabulary
    systems: list[System | None]
    seeds: int
    settings: Settings
    beam: int
    front_end: nn.Module | None
    front_end_epochs: int
    image_size: int
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    features: Checkpoints
    output: Path


def make_program_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = make_parser(
        "Caption images with a dense and with compact decoders.",
        SYSTEMS,
        seeds=3,
        epochs=8,
        batch_size=64,
        learning_rate=1e-3,
        output=Path("captioning_results"),
    )
    add = parser.add_argument
    add("--beam", type=positive(int), default=3, help="width of the search for captions, 1 is greedy")
    add("--least", type=positive(int), default=4, help="how often a word must occur in the training captions")
    add("--front-end", metavar="MODULE:FUNCTION", help="returns the network for the features; trained here if not given")
    add("--front-end-epochs", type=positive(int), default=10, help="of the network that is trained here")
    add("--image-size", type=positive(int), default=64, help="side to which images are scaled")
    add("--train-images", type=positive(int), help=f"number of training images, all or {TRAINING_SCENES} if not given")
    add("--test-images", type=positive(int), help=f"number of test images, all or {TEST_SCENES} if not given")
    add("--data", type=Path, help="folder in MSCOCO's layout, in place of rendered scenes")
    return parser


def load_data(options: argparse.Namespace) -> tuple[list[CaptionedImage], list[CaptionedImage], str]:
    """Return the training and test images, and what to say about where they come from; scenes are rendered first."""
    folder, source = options.data, f"real (MSCOCO's layout in {options.data})"
    train, test = options.train_images, options.test_images
    if folder is None:
        folder, source = options.output / "scenes", "stand-in (rendered scenes with captions from templates)"
        train, test = train or TRAINING_SCENES, test or TEST_SCENES
        write_scenes(folder, train, test)
    return load_captions(folder, TRAIN, train), load_captions(folder, TEST, test), source


def describe(images: Sequence[CaptionedImage]) -> np.ndarray:
    """Return names, sizes and captions of images in one array, for a fingerprint."""
    content = json.dumps([(one.path.name, one.path.stat().st_size, one.captions) for one in images])
    return np.frombuffer(content.encode(), np.uint8)


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line, load the data and check whatever can be wrong before anything is trained."""
    parser = make_program_parser()
    options = parse(parser, QUICK_RUN, arguments)
    settings, systems = training_settings(options), chosen_systems(options, SYSTEMS)
    with mistakes_in_one_line(parser, options.output):
        for system in systems:  # so that a rank that does not fit is found before anything is trained
            make_recurrent(system, INPUTS, HIDDEN)
        front_end = make_own_network(options.front_end) if options.front_end else None
        training, test, source = load_data(options)
        vocabulary = Vocabulary((caption for one in training for caption in one.captions), options.least)
        of_features = versions() | {
            "data": digest(describe(training), describe(test)),
            "front_end": options.front_end,
            "image_size": options.image_size,
        }
        if front_end is None:
            of_features |= {"front_end_epochs": options.front_end_epochs, "words": vocabulary.words}
        of_run = {"beam": options.beam, "words": vocabulary.words} | fingerprint_of(options, settings, systems)
        features = Checkpoints(options.output / "features", of_features)
        if options.fresh:
            features.discard()
        folder = options.output / "checkpoints"
        checkpoints, lines = open_checkpoints(folder, of_features | of_run, fresh=options.fresh)
    return Plan(
        training, test, source, vocabulary, systems, options.seeds, settings, options.beam, front_end,
        options.front_end_epochs, options.image_size, checkpoints, lines, features, options.output,
    )  # fmt: skip


def make_task(plan: Plan, console: Console) -> Captioning:
    """Compute the images' features, unless they are kept from before, and put the task together."""
    device = plan.settings.device
    network = plan.front_end or make_front_end(plan, console)
    both = []
    for part, images in ((TRAIN, plan.training), (TEST, plan.test)):
        paths = [one.path for one in images]
        features = compute_features(network, paths, plan.image_size, device, plan.features, part)
        both.append(make_captions(images, features, plan.vocabulary))
    return Captioning(*both, [one.captions for one in plan.test], plan.vocabulary, plan.beam, device)


def make_front_end(plan: Plan, console: Console) -> nn.Module:
    """Train the network for the features on the training images, unless that was done before."""
    device = plan.settings.device
    known = plan.vocabulary.words[len(SPECIAL) :]
    said = [{word for caption in one.captions for word in words_of(caption)} for one in plan.training]
    words = np.array([[word in found for word in known] for found in said])
    task = WordDetection(read_images([one.path for one in plan.training], plan.image_size), words, device)
    with make_progress(console) as progress:
        bar = progress.add_task("image features", total=plan.front_end_epochs)
        job = partial(train_small_network, task, plan.front_end_epochs, plan.checkpoints)
        run_jobs([job], lambda report: progress.update(bar, advance=report[1]), device)
    return trained_small_network(plan.checkpoints)


def caption_rows(plan: Plan, outcomes: Sequence[Outcome]) -> Iterator[dict[str, object]]:
    """Yield one line for each caption."""
    for outcome in outcomes:
        for one, caption in zip(plan.test, outcome.shown, strict=True):
            names = {"seed": outcome.trial.seed, "system": outcome.trial.title, "image": one.path.name}
            yield names | {"caption": caption, "reference": one.captions[0]}


def write_results(plan: Plan, outcomes: list[Outcome], console: Console) -> None:
    """Write the tables and pictures and show the table; nothing is left to go on with but the features."""
    output = plan.output
    write_csv(output / "results.csv", list(result_rows(outcomes, plan.source, DENSE_PARAMETERS)))
    write_csv(output / "curves.csv", list(curve_rows(outcomes, "training_loss", "test_loss")))
    write_csv(output / "captions.csv", list(caption_rows(plan, outcomes)))
    draw_curves(output / "training_curves.png", outcomes, "training loss (nats a word)", "test loss (nats a word)")
    draw_captions(output / "captions.png", plan.test, outcomes)
    title = f"Captions from dense and compact decoders; epochs: {plan.settings.epochs}, seeds: {plan.seeds}"
    caption = (
        "Parameters in place of the decoder's input-hidden matrix, and how many times fewer than the dense LSTM's. Loss in "
        "nats a word of the test captions. BLEU in per cent of the captions found; shuffled: against another image's. Exact: "
        "per cent that are one of the image's captions word for word. Mean ± standard deviation over the seeds."
    )
    headings = {"BLEU-1": "bleu1", "BLEU-4": "bleu4", "shuffled": "shuffled_bleu4", "exact": "exact"}
    columns = {"loss": score_of("test_loss", 3)} | {heading: score_of(name) for heading, name in headings.items()}
    console.print(results_table(outcomes, title, caption, DENSE_PARAMETERS, columns))
    console.print(f"data: {plan.source}\nwritten to {output}: tables (csv) and pictures (png)", soft_wrap=True)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Train all systems from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    console.print(
        f"{len(plan.training):,} training and {len(plan.test):,} test images, {len(plan.vocabulary)} words, {plan.source}",
        soft_wrap=True,
    )
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    try:
        task = make_task(plan, console)
    except (TypeError, ValueError) as error:
        argparse.ArgumentParser(usage=argparse.SUPPRESS).error(str(error).splitlines()[0])
    trials = [(Trial(system, seed), task) for seed in range(plan.seeds) for system in plan.systems]
    outcomes = run_trials(trials, plan.settings, plan.checkpoints, console)
    write_results(plan, outcomes, console)


if __name__ == "__main__":
    main()
