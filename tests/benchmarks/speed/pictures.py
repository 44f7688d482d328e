"""Pictures of a record: bars of the ratios of every case, and how time and arithmetic grow."""

import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from tests.benchmarks.speed.growth import MEASURES, SWEEPS, slope
from tests.benchmarks.speed.timing import Row

COLORS = {"forward": "#4C72B0", "training": "#DD8452"}
FORMATS = {"tt": "#4C72B0", "tr": "#55A868", "bt": "#DD8452", "ht": "#C44E52"}
LABELS = {"forward": "forward, s", "training": "training step, s", "flops": "operations forward"}


def draw(record: dict[str, Any], folder: Path) -> list[Path]:
    """Write the pictures and return where they are."""
    folder.mkdir(parents=True, exist_ok=True)
    timed = [row for row in record["rows"] if row["measure"] in COLORS and row["system"] != "dense"]
    paths = []
    for key in dict.fromkeys((row["case"], row["precision"]) for row in timed):
        path = folder / f"speed_{key[0]}_{key[1]}.png"
        bars([row for row in timed if (row["case"], row["precision"]) == key], path)
        paths.append(path)
    if record["growth"]:
        paths.append(folder / "speed_growth.png")
        lines(record["growth"], paths[-1])
    return paths


def bars(rows: list[Row], path: Path) -> None:
    """Draw how many times faster than dense, on a logarithmic axis around 1."""
    titles = list(dict.fromkeys(row["title"] for row in rows))
    most = max(len({row["system"] for row in rows if row["title"] == title}) for title in titles)
    across = min(len(titles), 2)
    down = math.ceil(len(titles) / across)
    figure, axes = plt.subplots(down, across, figsize=(8 * across, down * (1.6 + 0.36 * most)), squeeze=False)
    for one, title in zip(axes.flat, titles):
        own = [row for row in rows if row["title"] == title]
        names = list(dict.fromkeys(row["system"] for row in own))
        for shift, measure in ((-0.2, "forward"), (0.2, "training")):
            found = [row for row in own if row["measure"] == measure]
            heights = [names.index(row["system"]) + shift for row in found]
            ratios = [row["ratio"] for row in found]
            spread = [[max(abs(row["ratio_quartiles"][k] - row["ratio"]), 0.0) for row in found] for k in (0, 1)]
            one.barh(
                heights,
                [ratio - 1 for ratio in ratios],
                0.38,
                left=1,
                xerr=spread,
                color=COLORS[measure],
                label=measure,
                ecolor="#444444",
            )
            for height, ratio, row in zip(heights, ratios, found):
                # Beyond the whisker.
                end, side = (max, "left") if ratio >= 1 else (min, "right")
                place = (end(ratio, *row["ratio_quartiles"]), height)
                one.annotate(f" {ratio:.3g} ", place, va="center", ha=side, fontsize=7.5)
        one.set_xscale("log")
        one.axvline(1, color="black", linewidth=1)
        one.margins(x=0.15)
        one.set_yticks(range(len(names)), names, fontsize=9)
        one.invert_yaxis()
        one.set_title(f"{title}, {own[0]['precision']}", fontsize=11)
        one.set_xlabel("times as fast as torch's dense layer")
        one.spines[["top", "right"]].set_visible(False)
    axes[0][0].legend(frameon=False, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)


def lines(rows: list[Row], path: Path) -> None:
    """Draw one row of panels a measure and one column a sweep, with the fitted slopes."""
    figure, axes = plt.subplots(len(MEASURES), len(SWEEPS), figsize=(15, 11), squeeze=False)
    for across, measure in zip(axes, MEASURES):
        for one, sweep in zip(across, SWEEPS):
            for format, color in FORMATS.items():
                own = [row for row in rows if (row["sweep"], row["format"]) == (sweep.name, format)]
                if own:
                    x, y = ([row[key] for row in own] for key in ("value", measure))
                    one.loglog(x, y, "o-", color=color, label=f"{format}: {slope(own, measure):.2f}", markersize=4)
            one.set_title(f"{LABELS[measure]} against {sweep.name}\n{sweep.says}", fontsize=10.5)
            if max(sweep.values) < 1000:
                one.set_xticks(sweep.values, [str(value) for value in sweep.values])
                one.minorticks_off()
            one.legend(frameon=False, fontsize=9, title="slope", title_fontsize=9)
            one.grid(True, which="major", color="#DDDDDD", linewidth=0.7)
            one.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)
    plt.close(figure)
