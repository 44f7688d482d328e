"""Draw images with the captions that systems found for them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image

from captions.coco import CaptionedImage
from learning.trial_report import by_system
from learning.trials import Outcome
from running.style import STYLE, SYSTEM_COLORS

SHOWN, COLUMNS = 8, 4
WIDTH, HEIGHT, TEXT = 3.2, 3.2, 1.9  # of an image and of the text below it, in inches
LINE = 42  # characters
LINE_HEIGHT = 0.165  # in inches


def draw_captions(path: Path, images: Sequence[CaptionedImage], outcomes: Sequence[Outcome]) -> None:
    """Draw the first images, below each one of its own captions and that by every system, first seed."""
    shown = images[:SHOWN]
    rows = -(-len(shown) // COLUMNS)
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(
            2 * rows, COLUMNS, figsize=(WIDTH * COLUMNS, (HEIGHT + TEXT) * rows), squeeze=False, layout="constrained",
            height_ratios=[HEIGHT, TEXT] * rows,
        )  # fmt: skip
        for axis in axes.flat:
            axis.set_axis_off()
        pairs = zip(axes[::2].flat, axes[1::2].flat, shown, strict=False)
        for number, (above, below, one) in enumerate(pairs):
            with Image.open(one.path) as file:
                above.imshow(file.convert("RGB"), interpolation="nearest")
            line = 0.0
            texts = [(f"reference: {one.captions[0]}", "#777777")]
            for (name, same), color in zip(by_system(outcomes).items(), SYSTEM_COLORS, strict=False):
                texts.append((f"{name}: {same[0].shown[number]}", color))
            for text, color in texts:
                text = textwrap.fill(text, LINE)
                place = 1 - line * LINE_HEIGHT / TEXT
                written = below.text(0, place, text, color=color, fontsize=9, va="top", transform=below.transAxes)
                written.set_in_layout(False)
                line += text.count("\n") + 1.5
        figure.savefig(path)
        plt.close(figure)
