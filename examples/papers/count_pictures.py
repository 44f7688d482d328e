"""Draw the papers' pictures of parameter counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from running.style import STYLE, SYSTEM_COLORS, SYSTEM_MARKERS

INPUT_HIDDEN_COLOR, HIDDEN_HIDDEN_COLOR, WHOLE_COLOR = SYSTEM_COLORS[1], SYSTEM_COLORS[2], SYSTEM_COLORS[3]
FORMAT_STYLES = dict(zip(("tt", "tr", "bt", "ht"), zip(SYSTEM_COLORS[1:], SYSTEM_MARKERS[1:], strict=True), strict=False))


def new_axes(width: float = 6.4) -> tuple[Figure, Axes]:
    """Make a figure of one panel with a logarithmic count of parameters."""
    figure, axis = plt.subplots(figsize=(width, 4.4), layout="constrained")
    axis.set_yscale("log")
    axis.set_ylabel("parameters")
    return figure, axis


def write(figure: Figure, path: Path) -> None:
    """Write a figure and close it."""
    figure.savefig(path)
    plt.close(figure)


def draw_bottleneck(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the two parts of each layer side by side, one bar where one matrix holds both."""
    with plt.style.context(STYLE | {"axes.grid.axis": "y", "axes.axisbelow": True}):
        figure, axis = new_axes(7.2)
        parts = (
            ("input_hidden", "input-hidden", INPUT_HIDDEN_COLOR, -0.2),
            ("hidden_hidden", "hidden-hidden", HIDDEN_HIDDEN_COLOR, 0.2),
            ("whole", "one matrix for both", WHOLE_COLOR, 0.0),
        )
        for key, label, color, shift in parts:
            shown = [
                (place + shift, row[key])
                for place, row in enumerate(rows)
                if row[key] is not None and (key == "whole") == (row["input_hidden"] is None)
            ]
            bars = axis.bar(*zip(*shown, strict=True), width=0.38, color=color, label=label)
            axis.bar_label(bars, labels=[f"{count:,}" for _, count in shown], fontsize=7, padding=2)
        axis.set_xticks(range(len(rows)), [row["layer"].replace(", ", "\n") for row in rows])
        axis.set_ylim(300, 4e8)
        axis.set_title("Hidden-hidden weights once the input-hidden ones are in factors", fontsize=10)
        axis.legend(loc="upper right", fontsize=9)
        write(figure, path)


def draw_against_order(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw one block's parameters against the number of modes, a line for each rank, the fewest hollow."""
    with plt.style.context(STYLE):
        figure, axis = new_axes()
        ranks = sorted({row["rank"] for row in rows})
        for rank, color, marker in zip(ranks, SYSTEM_COLORS[1:], SYSTEM_MARKERS[1:], strict=False):
            points = [(row["order"], row["parameters"]) for row in rows if row["rank"] == rank]
            axis.plot(*zip(*points, strict=True), color=color, marker=marker, label=f"R = {rank}")
            fewest = min(points, key=lambda point: point[1])
            axis.plot(*fewest, color=color, marker=marker, markersize=7, markerfacecolor="white", markeredgewidth=2)
        dense = 4096 * 256
        axis.axhline(dense, color="#777777", linestyle=":", linewidth=1.2)
        axis.annotate(
            f"dense: {dense:,}", (5, dense), (0, 4), textcoords="offset points", ha="center", color="#555555", fontsize=9
        )
        axis.set_xticks(sorted({row["order"] for row in rows}))
        axis.set_xlabel("number of modes d")
        axis.set_title("One block term of a 4096 x 256 matrix (hollow: fewest of a rank)", fontsize=10)
        axis.legend(fontsize=9)
        write(figure, path)


def draw_against_rank(path: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the parameters of each format against the rank and mark the ranks at which HT has not the fewest."""
    with plt.style.context(STYLE):
        figure, axis = new_axes()
        shown = [row for row in rows if row["rank"].bit_count() == 1]
        for name, (color, marker) in FORMAT_STYLES.items():
            axis.plot([row["rank"] for row in rows], [row[name] for row in rows], color=color, linewidth=1.6)
            axis.plot(
                [row["rank"] for row in shown], [row[name] for row in shown], color=color, marker=marker, linestyle="",
                label=name.upper(),
            )  # fmt: skip
        failing = [row["rank"] for row in rows if "ht" not in row["fewest"].split()]
        first, beyond = failing[0], next(rank for rank in failing if rank - 1 not in failing and rank > failing[0])
        left, right = first / 1.15, rows[-1]["rank"] * 1.15
        axis.axvspan(beyond, right, color="#eeeeee", zorder=0)
        axis.axvspan(left, first / left, color="#eeeeee", zorder=0)
        by_rank = {row["rank"]: row for row in rows}
        for rank, place in ((first, (1.3, 40)), (32, (24, 3000))):
            row = by_rank[rank]
            text = f"r = {rank}: TT {row['tt']:,}\nHT {row['ht']:,}"
            axis.annotate(text, (rank, row["ht"]), place, fontsize=9,
                          arrowprops={"arrowstyle": "->", "color": "#555555"})  # fmt: skip
        axis.set_xscale("log", base=2)
        axis.set_xlim(left, right)
        axis.set_ylim(20, None)
        axis.set_xticks([row["rank"] for row in shown], [str(row["rank"]) for row in shown])
        axis.set_xlabel("rank r")
        axis.set_title(
            f"57600 x 256 matrix in 5 modes (grey, r = {first} and r ≥ {beyond}: TT has fewer than HT)", fontsize=10
        )
        axis.legend(fontsize=9)
        write(figure, path)
