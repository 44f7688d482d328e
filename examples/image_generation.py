"""
Drawing digits with a compact encoder
=====================================

The block-term paper's image generation: DRAW without attention (Gregor et al., 2015) learns to draw handwritten digits of
28 x 28 black and white pixels in several glimpses. Its encoder, an LSTM, reads at every glimpse the image, what the canvas
lacks of it and the decoder's state, 2 x 784 + 256 = 1824 inputs at hidden size 256, so that a dense input-hidden matrix has
1,867,776 entries. A block-term LSTM has 1184 in its place, as in the paper; tensor-train, tensor-ring and hierarchical
Tucker LSTMs of about that size stand beside it. The decoder is a dense LSTM in all systems, as in the paper, which does
not print the number of glimpses, the size of the latent vectors or how long it trained; nor the modes, which are those that
give its count.

The loss is the variational bound in nats: an image costs no more than that to tell, by the latent vectors and by what is
then wrong on the canvas. Lower is better. The dotted line of the curves is what an image costs if every pixel is told on
its own, by how often it is white in the training images.

MNIST's own files are read when given; without, scikit-learn's 1797 real digits of 8 x 8 pixels are scaled up to MNIST's
size and margin, and a fifth of them are test images. So few images show whether a compact encoder learns to draw, not how
good DRAW becomes.

At full size (eleven minutes on two cores) the BT-, TT- and HT-LSTM end with a lower bound than the dense LSTM on all seeds,
and below 100 nats three epochs sooner; the ring is behind. The numbers are in ``docs/experiments.md``.

::

    python examples/image_generation.py                   # all systems, 3 seeds, some minutes on 2 cores
    python examples/image_generation.py --quick           # a look in less than a minute
    python examples/image_generation.py --data MNIST --train-images 10000 --test-images 2000
    python examples/image_generation.py --systems bt --rank bt=2,4 --glimpses 16

MNIST is a folder with ``train-images-idx3-ubyte`` and ``t10k-images-idx3-ubyte``, or either with ``.gz``; all of it takes
about forty times as long as the stand-in.

If the program is interrupted at any moment, even by SIGKILL, the same command resumes with the same results. The state that it
needs for that is in the folder ``checkpoints`` of the output until the run is complete; options, data or versions other
than those of the interrupted run are refused, and ``--fresh`` discards it.

The folder ``image_generation_results`` (or ``--output``) receives ``samples.png``, images that the systems drew from the
same latent vectors beside test images, ``bound_curves.png`` and two tables. ``results.csv`` has one line for each seed and
system:

===================================================  ===================================================================
data, seed, system                                   what was trained on what
factorization, rank, decompose, epochs               how
input_hidden_parameters, input_hidden_ratio          of the encoder: count, and the dense LSTM's count over it
recurrent_parameters, recurrent_ratio                the same for the whole encoder; neither counts biases
model_parameters                                     of the whole model, biases included
test_bound                                           nats an image after all epochs: the sum of the next two
test_reconstruction, test_divergence                 nats for the pixels given the canvas, and for the latent vectors
lowest_test_bound                                    the lowest of all epochs
independent_pixels                                   nats an image if every pixel is told on its own
seconds_per_epoch                                    median, training alone
===================================================  ===================================================================

``curves.csv`` has seed, system, epoch, training_bound (mean over the epoch, while it learns), test_bound and seconds.
"""

# sphinx_gallery_thumbnail_path = "images/drawn_digits.png"

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from torch import nn

from digits.draw import Draw, encoder_inputs
from digits.images import PIXELS, SIDE, Digits, load_images
from learning.systems import System
from learning.training import ParameterCount, Training
from learning.trial_curves import draw_curves
from learning.trial_options import chosen_systems, fingerprint_of, make_parser, training_settings
from learning.trial_report import by_system, curve_rows, result_rows, results_table, score_of
from learning.trials import Outcome, Settings, Trial, run_trials
from papers.published import LAYERS
from running.checkpoint import Checkpoints, digest, open_checkpoints
from running.options import mistakes_in_one_line, parse, positive
from running.report import make_console, write_csv
from running.style import STYLE
from tensorly_rnn import separate_modes
from tensorly_rnn.nn import FactorizedLSTMCell

HIDDEN = 256
INPUTS = encoder_inputs(PIXELS, HIDDEN)
BLOCK_TERM = LAYERS["BT-LSTM of DRAW"].system
IN_MODES, OUT_MODES = BLOCK_TERM.input_modes, BLOCK_TERM.hidden_modes
# The tensor ring keeps its hidden modes apart from its input modes.
RING_OUT, RING_IN = separate_modes(OUT_MODES, IN_MODES)
SYSTEMS = (
    BLOCK_TERM,
    System("tt", "TT-LSTM", "tt", 4, "input", IN_MODES, OUT_MODES),
    System("tr", "TR-LSTM", "tr", 4, "input", RING_IN, RING_OUT),
    System("ht", "HT-LSTM", "ht", (4, 5), "input", IN_MODES, OUT_MODES),
)
DENSE_PARAMETERS = ParameterCount(4 * HIDDEN * INPUTS, 4 * HIDDEN * (INPUTS + HIDDEN))
SHOWN = 36
EVALUATION_BATCH = 512

QUICK_RUN = {"seeds": 1, "epochs": 8, "batch_size": 32, "glimpses": 4, "train_images": 800, "test_images": 100}


@dataclass(frozen=True)
class Drawing:
    """The task of drawing digits, as `trials.Task` wants it."""

    digits: Digits
    glimpses: int
    latent: int
    device: torch.device

    @property
    def n_samples(self) -> int:
        """Number of training images."""
        return len(self.digits.train)

    def make_model(self, system: System | None) -> Draw:
        """Make an untrained DRAW with a compact encoder or the dense one."""
        if system is None:
            encoder: nn.Module = nn.LSTMCell(INPUTS, HIDDEN)
        else:
            encoder = FactorizedLSTMCell(INPUTS, HIDDEN, **system.options(HIDDEN))
        return Draw(encoder, PIXELS, HIDDEN, self.latent)

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the encoder."""
        return cast(Draw, model).encoder

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean bound of some training images, in nats."""
        images = self.images(self.digits.train[share.cpu().numpy()])
        reconstruction, divergence = model(images, self.noise(len(images), generator))
        return (reconstruction + divergence).mean()

    def watch(self, model: nn.Module) -> float:
        """Return the mean bound of the test images, in nats."""
        return sum(self.test_bound(model))

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return the parts of the bound on the test images, and images drawn from latent vectors that are always the same."""
        model = cast(Draw, training.model)
        reconstruction, divergence = self.test_bound(model)
        scores = {
            "test_bound": reconstruction + divergence,
            "test_reconstruction": reconstruction,
            "test_divergence": divergence,
            "lowest_test_bound": min(epoch.watched for epoch in training.history),
            "independent_pixels": independent_pixels(self.digits),
        }
        drawn = model.generate(self.noise(SHOWN, torch.Generator().manual_seed(0)))[-1]
        return scores, drawn.cpu().tolist()

    def test_bound(self, model: nn.Module) -> tuple[float, float]:
        """Return the means of the two parts of the bound over the test images, with noise that is always the same."""
        generator = torch.Generator().manual_seed(0)
        total = torch.zeros(2)
        for start in range(0, len(self.digits.test), EVALUATION_BATCH):
            images = self.images(self.digits.test[start : start + EVALUATION_BATCH])
            parts = model(images, self.noise(len(images), generator))
            total += torch.stack([part.sum() for part in parts]).cpu()
        reconstruction, divergence = (total / len(self.digits.test)).tolist()
        return reconstruction, divergence

    def images(self, rows: np.ndarray) -> torch.Tensor:
        """Return rows of pixels as the model takes them."""
        return torch.from_numpy(rows).to(self.device, torch.float32)

    def noise(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Draw the noise of all glimpses for so many images."""
        return torch.randn(self.glimpses, count, self.latent, generator=generator).to(self.device)


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line."""

    task: Drawing
    systems: list[System | None]
    seeds: int
    settings: Settings
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path


def independent_pixels(digits: Digits) -> float:
    """Return the mean nats of a test image whose pixels are told one by one, by how often they are white in training."""
    white = (digits.train.sum(axis=0) + 1) / (len(digits.train) + 2)  # no pixel is certain
    return float(-np.where(digits.test, np.log(white), np.log1p(-white)).sum(axis=1).mean())


def make_program_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = make_parser(
        "Draw digits with a dense and with compact encoders.",
        SYSTEMS,
        seeds=3,
        epochs=24,
        batch_size=64,
        learning_rate=3e-3,
        output=Path("image_generation_results"),
    )
    add = parser.add_argument
    add("--glimpses", type=positive(int), default=8, help="steps in which an image is drawn")
    add("--latent", type=positive(int), default=32, help="size of the latent vector of a glimpse")
    add("--train-images", type=positive(int), help="number of training images, all if not given")
    add("--test-images", type=positive(int), help="number of test images, all if not given")
    add("--data", type=Path, help="folder with MNIST's files, in place of scikit-learn's digits")
    return parser


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line, load the data and check whatever can be wrong before anything is trained."""
    parser = make_program_parser()
    options = parse(parser, QUICK_RUN, arguments)
    settings, systems = training_settings(options), chosen_systems(options, SYSTEMS)
    with mistakes_in_one_line(parser, options.output):
        digits = load_images(options.data, options.train_images, options.test_images)
        task = Drawing(digits, options.glimpses, options.latent, options.device)
        for system in systems:  # so that a rank that does not fit is found before anything is trained
            task.make_model(system)
        of_task = {"glimpses": options.glimpses, "latent": options.latent, "data": digest(digits.train, digits.test)}
        fingerprint = of_task | fingerprint_of(options, settings, systems)
        checkpoints, lines = open_checkpoints(options.output / "checkpoints", fingerprint, fresh=options.fresh)
    return Plan(task, systems, options.seeds, settings, checkpoints, lines, options.output)


def draw_samples(path: Path, outcomes: list[Outcome], digits: Digits) -> None:
    """Draw test images and what every system drew, first seed, side by side."""
    panels = [("test images", digits.test[:SHOWN])]
    for name, same in by_system(outcomes).items():
        panels.append((f"{name}, {same[0].parameters.input_hidden:,} parameters", np.array(same[0].shown)))
    columns = 3
    with plt.style.context(STYLE | {"axes.grid": False}):
        shape = (-(-len(panels) // columns), columns)
        figure, axes = plt.subplots(*shape, figsize=(9.6, 3.4 * shape[0]), squeeze=False, layout="constrained")
        for axis in axes.flat:
            axis.set_axis_off()
        for axis, (title, rows) in zip(axes.flat, panels, strict=False):
            axis.imshow(tiled(rows), cmap="gray_r", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=11)
        figure.savefig(path)
        plt.close(figure)


def tiled(rows: np.ndarray) -> np.ndarray:
    """Lay images out in a square."""
    across = round(SHOWN**0.5)
    images = np.zeros((SHOWN, SIDE, SIDE))
    images[: len(rows)] = rows.reshape(-1, SIDE, SIDE)
    return images.reshape(across, across, SIDE, SIDE).swapaxes(1, 2).reshape(across * SIDE, across * SIDE)


def write_results(plan: Plan, outcomes: list[Outcome], console: Console) -> None:
    """Write the tables and pictures and show the table; nothing is left to go on with."""
    digits, output = plan.task.digits, plan.output
    reference = independent_pixels(digits)
    write_csv(output / "results.csv", list(result_rows(outcomes, digits.source, DENSE_PARAMETERS)))
    write_csv(output / "curves.csv", list(curve_rows(outcomes, "training_bound", "test_bound")))
    draw_curves(
        output / "bound_curves.png",
        outcomes,
        "variational bound, training (nats an image)",
        "variational bound, test (nats an image)",
        ("every pixel on its own", reference),
    )
    draw_samples(output / "samples.png", outcomes, digits)
    title = f"DRAW with dense and compact encoders; epochs: {plan.settings.epochs}, seeds: {plan.seeds}"
    caption = (
        "Parameters in place of the encoder's input-hidden matrix, and how many times fewer than the dense LSTM's; the paper "
        "has 1184 for the BT-LSTM, 1577 times fewer. Bounds in nats a test image, the lower the better: mean ± standard "
        f"deviation over the seeds; every pixel on its own costs {reference:.1f}."
    )
    columns = {
        "test bound": score_of("test_bound"),
        "pixels": score_of("test_reconstruction"),
        "latent": score_of("test_divergence"),
        "lowest bound": score_of("lowest_test_bound"),
    }
    console.print(results_table(outcomes, title, caption, DENSE_PARAMETERS, columns))
    console.print(f"data: {digits.source}\nwritten to {output}: tables (csv) and pictures (png)", soft_wrap=True)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Train all systems from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    digits = plan.task.digits
    console.print(f"{len(digits.train):,} training and {len(digits.test):,} test images, {digits.source}", soft_wrap=True)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    trials = [(Trial(system, seed), plan.task) for seed in range(plan.seeds) for system in plan.systems]
    outcomes = run_trials(trials, plan.settings, plan.checkpoints, console)
    write_results(plan, outcomes, console)


if __name__ == "__main__":
    main()
