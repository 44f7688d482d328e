"""Draw a comparison: accuracy against parameters, training curves, classified maps."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from learning.comparison import COMPRESSED, SCRATCH, Run
from running.report import unique
from running.style import STYLE, SYSTEM_COLORS, SYSTEM_MARKERS

# Krzywinski's fifteen for colour-blind readers, and grey.
CLASS_COLORS = (
    "#000000", "#004949", "#009292", "#ff6db6", "#ffb6db", "#490092", "#006ddb", "#b66dff",
    "#6db6ff", "#b6dbff", "#920000", "#924900", "#db6d00", "#24ff24", "#ffff6d", "#999999",
)  # fmt: skip
UNLABELLED_COLOR = "#f4f4f4"
SPLIT_TITLES = {
    "random": "Random split\n(test windows overlap training windows)",
    "blocked": "Spatially blocked split\n(no test window overlaps a training window)",
}


@dataclass(frozen=True)
class Map:
    """Classes of the pixels of an image, 0 where there is none to show."""

    title: str
    classes: np.ndarray


def panels(runs: list[Run]) -> tuple[Figure, dict[str, Axes]]:
    """Make a figure with one panel for each split, on a common accuracy axis."""
    splits = unique(run.split.name for run in runs)
    figure, axes = plt.subplots(
        1, len(splits), figsize=(1 + 4.5 * len(splits), 4.6), sharey=True, squeeze=False, layout="constrained"
    )
    by_split = dict(zip(splits, axes[0], strict=True))
    for split, axis in by_split.items():
        axis.set_title(SPLIT_TITLES[split], fontsize=10)
        chance = statistics.mean(run.split.chance for run in runs if run.split.name == split)
        axis.axhline(100 * chance, color="#777777", linestyle=":", linewidth=1.2)
        axis.annotate("chance", (1, 100 * chance), (-2, 3), ("axes fraction", "data"), "offset points", ha="right",
                      color="#777777", fontsize=9)  # fmt: skip
    axes[0, 0].set_ylabel("test accuracy (%)")
    return figure, by_split


def save(figure: Figure, path: Path, handles: list[Line2D] | list[Patch], columns: int) -> None:
    """Put a legend below the panels and write the picture."""
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, fontsize=9)
    figure.savefig(path)
    plt.close(figure)


def system_handles(titles: list[str]) -> list[Line2D]:
    """Return a legend entry for each system."""
    styles = zip(titles, SYSTEM_COLORS, SYSTEM_MARKERS, strict=False)
    return [Line2D([], [], color=color, marker=marker, linestyle="", label=name) for name, color, marker in styles]


def draw_accuracy_against_parameters(path: Path, runs: list[Run]) -> None:
    """Draw the accuracy of each system, mean and deviation over the seeds, over its size on a logarithmic axis."""
    with plt.style.context(STYLE):
        figure, by_split = panels(runs)
        titles = unique(run.title for run in runs)
        for split, axis in by_split.items():
            for index, name in enumerate(titles):
                for how in (SCRATCH, COMPRESSED):
                    chosen = [r for r in runs if (r.split.name, r.title, r.how) == (split, name, how)]
                    if chosen:
                        draw_point(axis, chosen, index)
            axis.set_xscale("log")
            axis.set_xlabel("parameters in place of the input-hidden matrix")
        hows = [
            Line2D([], [], color="#555555", marker="o", linestyle="", label="from scratch"),
            Line2D([], [], color="#555555", marker="o", linestyle="", fillstyle="none", label="compressed, fine-tuned"),
        ]
        save(figure, path, system_handles(titles) + hows, columns=4)


def draw_point(axis: Axes, runs: list[Run], index: int) -> None:
    """Draw the mean of some runs with its deviation, hollow if they were compressed."""
    accuracies = [100 * run.scores.accuracy for run in runs]
    count = runs[0].parameters
    axis.errorbar(
        count.input_hidden or count.recurrent,
        statistics.mean(accuracies),
        statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        color=SYSTEM_COLORS[index],
        marker=SYSTEM_MARKERS[index],
        markersize=8,
        markerfacecolor="white" if runs[0].how == COMPRESSED else SYSTEM_COLORS[index],
        markeredgewidth=1.6,
        capsize=3,
        elinewidth=1,
    )


def draw_training_curves(path: Path, runs: list[Run]) -> None:
    """Draw the accuracy on the watched pixels after each epoch, mean over the seeds."""
    with plt.style.context(STYLE):
        figure, by_split = panels(runs)
        titles = unique(run.title for run in runs)
        for split, axis in by_split.items():
            for name, color in zip(titles, SYSTEM_COLORS, strict=False):
                for how, line in ((SCRATCH, "-"), (COMPRESSED, "--")):
                    histories = [r.history for r in runs if (r.split.name, r.title, r.how) == (split, name, how)]
                    if histories:
                        mean = np.mean([[epoch.watched for epoch in history] for history in histories], axis=0)
                        axis.plot([epoch.epoch for epoch in histories[0]], 100 * mean, line, color=color, linewidth=1.6)
            axis.set_xlabel("epoch")
        lines = [Line2D([], [], color=color, label=name) for name, color in zip(titles, SYSTEM_COLORS, strict=False)]
        hows = [
            Line2D([], [], color="#555555", label="from scratch"),
            Line2D([], [], color="#555555", linestyle="--", label="compressed, fine-tuned"),
        ]
        save(figure, path, lines + hows, columns=4)


def draw_class_maps(path: Path, rows: dict[str, list[Map]], class_names: tuple[str, ...]) -> None:
    """Draw rows of maps with one legend of the classes."""
    with plt.style.context(STYLE | {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        colors = [CLASS_COLORS[index % len(CLASS_COLORS)] for index in range(len(class_names))]
        colormap = ListedColormap([UNLABELLED_COLOR, *colors])
        columns = max(len(maps) for maps in rows.values())
        figure, axes = plt.subplots(
            len(rows), columns, figsize=(2.9 * columns, 3.1 * len(rows) + 1), squeeze=False, layout="constrained"
        )
        for (heading, maps), line in zip(rows.items(), axes, strict=True):
            line[0].set_ylabel(heading)
            for panel, axis in zip(maps, line, strict=True):
                axis.imshow(panel.classes, cmap=colormap, vmin=0, vmax=len(class_names), interpolation="nearest")
                axis.set_title(panel.title, fontsize=10)
                axis.set(xticks=[], yticks=[])
        handles = [Patch(facecolor=color, label=name) for color, name in zip(colors, class_names, strict=True)]
        handles.append(Patch(facecolor=UNLABELLED_COLOR, edgecolor="#999999", label="no label"))
        save(figure, path, handles, columns=6)
