"""Draw what every system's training came to, epoch by epoch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from learning.pictures import save
from learning.trial_report import by_system
from learning.trials import Outcome
from running.style import STYLE, SYSTEM_COLORS


def draw_curves(
    path: Path, outcomes: Sequence[Outcome], loss: str, watched: str, reference: tuple[str, float] | None = None
) -> None:
    """Draw the loss beside what was watched: the mean over the seeds as a line, their range as a band.

    Parameters
    ----------
    path : Path
    outcomes : sequence of Outcome
    loss, watched : str
        Labels of the vertical axes, of the same unit.
    reference : (str, float), optional
        A value to compare with, and what it is.
    """
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(10, 4.4), sharey=True, layout="constrained")
        handles = []
        for (name, same), color in zip(by_system(outcomes).items(), SYSTEM_COLORS, strict=False):
            epochs = [epoch.epoch for epoch in same[0].history]
            for axis, what in zip(axes, ("loss", "watched"), strict=True):
                values = np.array([[getattr(epoch, what) for epoch in outcome.history] for outcome in same])
                draw_band(axis, epochs, values, color)
            handles.append(Line2D([], [], color=color, label=name))
        for axis, label in zip(axes, (loss, watched), strict=True):
            axis.set(xlabel="epoch", ylabel=label)
            axis.xaxis.get_major_locator().set_params(integer=True)
            axis.tick_params(labelleft=True)
            if reference:
                draw_reference(axis, *reference)
        save(figure, path, handles, columns=len(handles))


def draw_band(axis: Axes, x: Sequence[float], values: np.ndarray, color: str, **options: Any) -> None:
    """Draw the mean of values of shape (seeds, len(x)), and a band from the lowest to the highest."""
    axis.plot(x, values.mean(axis=0), color=color, linewidth=1.6, **options)
    axis.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)


def draw_reference(axis: Axes, label: str, value: float) -> None:
    """Draw a dotted line at a value, with its name on it."""
    axis.axhline(value, color="#777777", linestyle=":", linewidth=1.2)
    axis.annotate(
        label, (1, value), (-2, 3), ("axes fraction", "data"), "offset points", ha="right", color="#555555", fontsize=9
    )
