"""Draw what was recognized in videos: clips, training curves, accuracy against parameters, sensitivity."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from learning.pictures import save
from learning.trial_curves import draw_band, draw_reference
from learning.trials import Outcome, of
from running.report import unique
from running.style import STYLE, SYSTEM_COLORS, SYSTEM_MARKERS
from video.claims import GOAL
from video.clips import Clips
from video.recognition import PERMUTED, Sequences, noise_score

ROWS_OF_CLIPS = 6


def legend_of(titles: Sequence[str]) -> list[Line2D]:
    """Return a legend entry for each system."""
    styles = zip(titles, SYSTEM_COLORS, SYSTEM_MARKERS)
    return [Line2D([], [], color=color, marker=marker, markersize=5, label=name) for name, color, marker in styles]


def mark_chance(axis: Axes, outcomes: Sequence[Outcome]) -> None:
    """Draw the accuracy of guessing."""
    draw_reference(axis, "chance", 100 * statistics.mean(outcome.scores["chance"] for outcome in outcomes))


def draw_curves(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Draw training loss and test accuracy after every epoch, as fig. 6 of the BT paper does."""
    titles = unique(outcome.trial.title for outcome in outcomes)
    with plt.style.context(STYLE):
        figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(10.5, 4.8), layout="constrained")
        for name, color, marker in zip(titles, SYSTEM_COLORS, SYSTEM_MARKERS):
            chosen = of(outcomes, name)
            epochs = [epoch.epoch for epoch in chosen[0].history]
            every = max(1, len(epochs) // 8)
            for axis, rows in (
                (losses, [[epoch.loss for epoch in outcome.history] for outcome in chosen]),
                (accuracies, [[100 * epoch.watched for epoch in outcome.history] for outcome in chosen]),
            ):
                draw_band(axis, epochs, np.array(rows), color, marker=marker, markersize=5, markevery=every)
        accuracies.axhline(100 * GOAL, color="#777777", linewidth=1, linestyle="--")
        mark_chance(accuracies, outcomes)
        for axis in (losses, accuracies):
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        losses.set(xlabel="epoch", ylabel="training loss (cross-entropy)", ylim=(0, None))
        accuracies.set(xlabel="epoch", ylabel="accuracy on a sample of test clips (%)", ylim=(0, 100))
        save(figure, path, legend_of(titles), columns=4)


def draw_sizes(path: Path, outcomes: Sequence[Outcome]) -> None:
    """Draw test accuracy over the parameters of the whole recurrent layer, as fig. 6 of the HT paper compares them."""
    titles = unique(outcome.trial.title for outcome in outcomes)
    with plt.style.context(STYLE):
        figure, axis = plt.subplots(figsize=(6.5, 5), layout="constrained")
        for name, color, marker in zip(titles, SYSTEM_COLORS, SYSTEM_MARKERS):
            accuracies = [100 * outcome.scores["accuracy"] for outcome in of(outcomes, name)]
            deviation = statistics.stdev(accuracies) if len(accuracies) > 1 else None
            axis.errorbar(of(outcomes, name)[0].parameters.recurrent, statistics.mean(accuracies), deviation, color=color,
                          marker=marker, markersize=8, capsize=3, elinewidth=1)  # fmt: skip
        mark_chance(axis, outcomes)
        axis.set_xscale("log")
        axis.set(xlabel="parameters of the recurrent layer", ylabel="test accuracy (%)", ylim=(0, 100))
        save(figure, path, legend_of(titles), columns=3)


def draw_sensitivity(path: Path, outcomes: Sequence[Outcome], levels: Sequence[float]) -> None:
    """Draw test accuracy over the level of noise, and with pixels in order beside pixels permuted."""
    titles = unique(outcome.trial.title for outcome in outcomes)
    permuted = unique(outcome.trial.title for outcome in outcomes if outcome.trial.variant == PERMUTED)
    with plt.style.context(STYLE):
        figure, (noisy, ordered) = plt.subplots(
            1, 2, figsize=(10.5, 4.8), width_ratios=(3, 2), sharey=True, layout="constrained"
        )
        for name, color, marker in zip(titles, SYSTEM_COLORS, SYSTEM_MARKERS):
            rows = 100 * np.array(
                [
                    [outcome.scores["accuracy"], *(outcome.scores[noise_score(level)] for level in levels)]
                    for outcome in of(outcomes, name)
                ]
            )
            draw_band(noisy, [0, *levels], rows, color, marker=marker, markersize=5)
            if name in permuted:
                for place, variant in enumerate(("", PERMUTED)):
                    accuracies = [100 * outcome.scores["accuracy"] for outcome in of(outcomes, name, variant)]
                    left = permuted.index(name) + 0.4 * place - 0.2
                    ordered.bar(left, statistics.mean(accuracies), 0.36, color="white" if variant else color, edgecolor=color,
                                hatch="///" if variant else None)  # fmt: skip
                    ordered.plot([left] * len(accuracies), accuracies, "o", color="#555555", markersize=4)
        mark_chance(noisy, outcomes)
        noisy.set(xlabel="standard deviation of the noise (white is 1)", ylabel="test accuracy (%)", ylim=(0, 100))
        ordered.set(xticks=range(len(permuted)), xticklabels=permuted)
        ordered.set_title("pixels in order (filled) and permuted (hatched)", fontsize=10)
        ordered.grid(visible=False, axis="x")
        ordered.set_axisbelow(True)
        save(figure, path, legend_of(titles), columns=4)


def draw_clips(path: Path, sequences: Sequences, clips: Clips) -> None:
    """Draw the frames of a clip of some classes, as the systems see them."""
    shown = np.linspace(0, len(clips.class_names) - 1, min(ROWS_OF_CLIPS, len(clips.class_names))).round().astype(int)
    index = torch.tensor([np.flatnonzero(clips.targets == target)[0] for target in shown])
    frames = sequences[index].numpy().transpose(0, 1, 3, 2, 4)
    with plt.style.context(STYLE | {"axes.grid": False}):
        rows, columns = frames.shape[:2]
        figure, axes = plt.subplots(rows, columns, figsize=(1.7 * columns, 1.35 * rows), squeeze=False, layout="constrained")
        for target, line, images in zip(shown, axes, frames):
            line[0].set_ylabel(clips.class_names[target].replace("_", " "), rotation=0, ha="right", va="center")
            for axis, image in zip(line, images):
                axis.imshow(image)
                axis.set(xticks=[], yticks=[])
                axis.spines[:].set_visible(False)
        save(figure, path, [], columns=1)
