"""
A compact LSTM without a deep-learning framework
================================================

Trains LSTMs with NumPy and SciPy alone: `tensorly_rnn.recurrent` gives the loss's gradient in every factor, and SciPy's
L-BFGS-B takes it from there. No autograd, no torch.

The task is cued recall. Five frames of 16 x 16 pixels pass by, in each a handwritten digit (scikit-learn's, real data) and
noise; one frame has a bright border. After the last frame the network has to say which digit was in the bordered one.
Frames and the LSTM's state enter through one weight over ``[x; h]``, dense or in factors. Training and test sequences show
different images.

What to expect with the default settings: the dense LSTM fits its 600 training sequences perfectly, and the compact ones, with
27 to 42 times fewer parameters, do about as well on new sequences. The 100 training sequences of ``--quick`` are too few for
any of them: the dense LSTM is right on a third of the new sequences, and the compact ones on 7 to 24 %.

::

    python examples/numpy_training.py                # half a minute on one core
    python examples/numpy_training.py --quick        # a few seconds
    python examples/numpy_training.py --seeds 5 --decay 3e-3

The folder ``numpy_training_results`` (or ``--output``) receives ``results.csv`` and ``cued_recall.png``: two sequences, the
losses, and the accuracies over the numbers of parameters.
"""

# sphinx_gallery_thumbnail_path = "images/cued_recall.png"

from __future__ import annotations

import argparse
import csv
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Rectangle
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from scipy.optimize import minimize
from sklearn.datasets import load_digits

from running import style
from running.options import positive
from tensorly_rnn import recurrent

SIDE, STEPS, HIDDEN, CLASSES = 16, 5, 16, 10
TRAINING_IMAGES = 1200  # of 1797; the test sequences show the others
NOISE, MEAN = 0.1, 0.2  # of the pixels; the mean is taken off, roughly
# 256 pixels and 16 entries of h in 5 x 4 x 4 x 4 = 320 columns, 16 rows a gate in 2 x 2 x 2 x 2.
MODES = {"decompose": "full", "input_modes": (5, 4, 4, 4), "hidden_modes": (2, 2, 2, 2)}
SYSTEMS: dict[str, dict[str, Any]] = {
    "dense LSTM": {},
    "TT-LSTM": {"factorization": "tt", "rank": 4, **MODES},
    "TR-LSTM": {"factorization": "tr", "rank": 3, **MODES},
    "BT-LSTM": {"factorization": "bt", "rank": (2, 2), **MODES},
    "HT-LSTM": {"factorization": "ht", "rank": (4, 4), **MODES},
}


@dataclass(frozen=True)
class Samples:
    """Sequences of shape (steps, samples, pixels), the digits to recall, and the steps that show them."""

    sequences: np.ndarray
    digits: np.ndarray
    cued: np.ndarray


@dataclass(frozen=True)
class Run:
    """A trained system; `losses` has one entry for each evaluation of the loss and its gradient."""

    system: str
    seed: int
    parameters: int
    losses: list[float]
    seconds: float
    training_accuracy: float
    accuracy: float
    predicted: np.ndarray


def main(arguments: list[str] | None = None) -> None:
    """Train all systems from the command line."""
    options = parse(arguments)
    console = Console(highlight=False)
    console.width = max(console.width, 100)
    runs, shown = [], None
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("training", total=len(SYSTEMS) * options.seeds)
        for seed in range(options.seeds):
            training, test = make_task(options.sequences, seed)
            shown = shown or test
            for system, settings in SYSTEMS.items():
                progress.update(task, description=f"{system}, seed {seed}")
                layer = recurrent.LSTM.random(SIDE * SIDE, HIDDEN, random_state=seed, **settings)
                runs.append(train(system, layer, training, test, options.iterations, options.decay, seed))
                progress.advance(task)
    options.output.mkdir(parents=True, exist_ok=True)
    console.print(f"data: real digits (scikit-learn) in made-up sequences; {options.sequences} for training, as many for test")
    console.print(results_table(runs))
    write_csv(options.output / "results.csv", runs)
    draw(options.output / "cued_recall.png", runs, shown)
    console.print(f"table and picture are in {options.output}")


def make_task(count: int, seed: int) -> tuple[Samples, Samples]:
    """Make training and test sequences of different images."""
    images, digits = load_digits(return_X_y=True)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(images))
    parts = np.split(order, [TRAINING_IMAGES])
    training, test = (make_samples(images[part].reshape(-1, 8, 8) / 16, digits[part], count, generator) for part in parts)
    return training, test


def make_samples(images: np.ndarray, digits: np.ndarray, count: int, generator: np.random.Generator) -> Samples:
    """Show random images in the middle of noisy frames, one of them in a bright border."""
    which = generator.integers(len(images), size=(STEPS, count))
    cued = generator.integers(STEPS, size=count)
    frames = NOISE * generator.normal(size=(STEPS, count, SIDE, SIDE))
    frames[..., 4:12, 4:12] += images[which]
    border = np.ones((SIDE, SIDE))
    border[2:-2, 2:-2] = 0
    frames[cued, np.arange(count)] += border
    return Samples(frames.reshape(STEPS, count, -1) - MEAN, digits[which[cued, np.arange(count)]], cued)


def train(
    system: str, layer: recurrent.LSTM, training: Samples, test: Samples, iterations: int, decay: float, seed: int
) -> Run:
    """Minimize the cross-entropy of a linear head on the last h, with weight decay, over all parameters at once."""
    head = np.random.default_rng(seed).normal(size=(CLASSES, HIDDEN)) / np.sqrt(HIDDEN)
    losses = []

    def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        loss, gradient = cross_entropy(layer, vector, training)
        losses.append(loss)
        return loss + decay * vector @ vector, gradient + 2 * decay * vector

    began = time.perf_counter()
    start = np.concatenate([layer.to_vec(), head.ravel(), np.zeros(CLASSES)])
    settings = {"maxiter": iterations, "maxcor": 20}
    found = minimize(loss_and_gradient, start, jac=True, method="L-BFGS-B", options=settings).x
    seconds = time.perf_counter() - began
    predicted = scores(layer, found, test)[0].argmax(axis=1)
    training_accuracy = float((scores(layer, found, training)[0].argmax(axis=1) == training.digits).mean())
    accuracy = float((predicted == test.digits).mean())
    return Run(system, seed, layer.n_param, losses, seconds, training_accuracy, accuracy, predicted)


def scores(layer: recurrent.LSTM, vector: np.ndarray, samples: Samples) -> tuple[np.ndarray, np.ndarray, Any, Any]:
    """Return the scores of all classes, the last h, the layer of these parameters and its tape."""
    moved = layer.with_vec(vector[: layer.n_param])
    head, bias = np.split(vector[layer.n_param :], [CLASSES * HIDDEN])
    _, (h, _), tape = moved.forward(samples.sequences)
    return h @ head.reshape(CLASSES, HIDDEN).T + bias, h, moved, tape


def cross_entropy(layer: recurrent.LSTM, vector: np.ndarray, samples: Samples) -> tuple[float, np.ndarray]:
    """Return the mean cross-entropy and its gradient in all parameters: layer, head, bias."""
    found, h, moved, tape = scores(layer, vector, samples)
    found = found - found.max(axis=1, keepdims=True)
    log_share = found - np.log(np.exp(found).sum(axis=1, keepdims=True))
    wanted = np.eye(CLASSES)[samples.digits]
    d_scores = (np.exp(log_share) - wanted) / len(wanted)
    head = vector[layer.n_param :][: CLASSES * HIDDEN].reshape(CLASSES, HIDDEN)
    gradients = moved.backward(tape, d_state=(d_scores @ head, None))
    gradient = np.concatenate([gradients.to_vec(), (d_scores.T @ h).ravel(), d_scores.sum(axis=0)])
    return -(wanted * log_share).sum() / len(wanted), gradient


def of_system(runs: list[Run], system: str) -> list[Run]:
    """Return the runs of one system."""
    return [run for run in runs if run.system == system]


def deviation(values: list[float]) -> float:
    """Return the sample standard deviation, 0 for a single value."""
    return statistics.stdev(values) if len(values) > 1 else 0.0


def results_table(runs: list[Run]) -> Table:
    """Lay the systems out, averaged over the seeds."""
    table = Table(title="Cued recall, trained by NumPy and SciPy alone", box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    table.add_column("system", no_wrap=True)
    for heading in ("LSTM parameters", "fewer", "loss", "training %", "test %", "seconds"):
        table.add_column(heading, justify="right")
    dense = runs[0].parameters
    for system in SYSTEMS:
        chosen = of_system(runs, system)
        accuracies = [100 * run.accuracy for run in chosen]
        table.add_row(
            system,
            f"{chosen[0].parameters:,}",
            f"{dense / chosen[0].parameters:.0f}x",
            f"{statistics.mean(min(run.losses) for run in chosen):.3f}",
            f"{statistics.mean(100 * run.training_accuracy for run in chosen):.1f}",
            f"{statistics.mean(accuracies):.1f} ± {deviation(accuracies):.1f}",
            f"{statistics.mean(run.seconds for run in chosen):.1f}",
        )
    return table


def write_csv(path: Path, runs: list[Run]) -> None:
    """Write one line for each run."""
    header = ("system", "seed", "parameters", "loss", "training accuracy", "test accuracy", "evaluations", "seconds")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for run in runs:
            accuracies = (f"{run.training_accuracy:.4f}", f"{run.accuracy:.4f}")
            evaluations = (len(run.losses), f"{run.seconds:.2f}")
            writer.writerow((run.system, run.seed, run.parameters, f"{min(run.losses):.4f}", *accuracies, *evaluations))


def draw(path: Path, runs: list[Run], samples: Samples) -> None:
    """Draw sequences with what was said of them, the losses, and the accuracies over the numbers of parameters."""
    with plt.style.context(style.STYLE):
        figure = plt.figure(figsize=(10, 7.2), layout="constrained")
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.25))
        draw_sequences(above, runs, samples)
        draw_results(below, runs)
        figure.savefig(path)
        plt.close(figure)


def draw_sequences(figure: SubFigure, runs: list[Run], samples: Samples) -> None:
    """Draw two test sequences and what the systems of the first seed say to them."""
    axes = figure.subplots(2, STEPS + 1)
    said = [(system, of_system(runs, system)[0].predicted) for system in SYSTEMS]
    for row, line in enumerate(axes):
        for step, axis in enumerate(line[:-1]):
            axis.imshow(samples.sequences[step, row].reshape(SIDE, SIDE), cmap="magma")
            axis.set(xticks=[], yticks=[])
            axis.grid(False)
            if row == 0:
                axis.set_title(f"step {step + 1}", fontsize=9)
            if step == samples.cued[row]:
                axis.add_patch(Rectangle((-0.5, -0.5), SIDE, SIDE, fill=False, edgecolor="#009E73", linewidth=4))
        answers = "\n".join(f"{system}: {predicted[row]}" for system, predicted in said)
        line[-1].text(0, 0.5, f"wanted: {samples.digits[row]}\n{answers}", va="center", fontsize=10)
        line[-1].axis("off")


def draw_results(figure: SubFigure | Figure, runs: list[Run]) -> None:
    """Draw the losses of the first seed, and mean and deviation of the accuracies over the seeds."""
    left, right = figure.subplots(1, 2)
    for system, color, marker in zip(SYSTEMS, style.SYSTEM_COLORS, style.SYSTEM_MARKERS, strict=False):
        chosen = of_system(runs, system)
        left.plot(np.minimum.accumulate(chosen[0].losses), color=color, linewidth=1.6)
        accuracies = [100 * run.accuracy for run in chosen]
        count, mean = chosen[0].parameters, statistics.mean(accuracies)
        right.errorbar(count, mean, deviation(accuracies), color=color, marker=marker, markersize=8, capsize=3, label=system,
                       linestyle="")  # fmt: skip
    left.set(xlabel="evaluations of loss and gradient", ylabel="training cross-entropy", yscale="log")
    right.set(xlabel="parameters of the LSTM", ylabel="test accuracy (%)", xscale="log")
    figure.legend(loc="outside lower center", ncols=len(SYSTEMS))


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train compact LSTMs with NumPy and SciPy alone.")
    parser.add_argument("--quick", action="store_true", help="fewer sequences, iterations and seeds")
    parser.add_argument("--seeds", type=positive(int), help="starts and draws of the data (default 3, quick 1)")
    parser.add_argument("--iterations", type=positive(int), help="steps of L-BFGS-B (default 150, quick 40)")
    parser.add_argument("--sequences", type=positive(int), help="for training, and as many for test (default 600, quick 100)")
    parser.add_argument("--decay", type=positive(float), default=1e-3, help="weight decay, one for all (default 1e-3)")
    parser.add_argument("--output", type=Path, default=Path("numpy_training_results"), help="folder for what is written")
    options = parser.parse_args(arguments)
    options.seeds = options.seeds or (1 if options.quick else 3)
    options.iterations = options.iterations or (40 if options.quick else 150)
    options.sequences = options.sequences or (100 if options.quick else 600)
    return options


if __name__ == "__main__":
    main()
