"""Draw the README's picture: one weight matrix and what each format stores of it, from the formats' own index lists."""

import itertools
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyBboxPatch

import tensorly_rnn as tlr

OUT_MODES, IN_MODES = (16, 4, 4, 4), (8, 20, 20, 18)
DENSE = 1024 * 57600
FACTOR, CORE, OPEN_OUT, OPEN_IN, BOND = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#444444"

# Where the factors of each format stand, in the order of its factor list.
PLACES = {
    "tt": [(0, 0), (1, 0), (2, 0), (3, 0)],
    "tr": [(0.1, 0.55), (2.9, 0.55), (2.9, -0.75), (0.1, -0.75)],
    "bt": [(1.5, 0.95), (0, -0.1), (1, -0.1), (2, -0.1), (3, -0.1)],
    "ht": [(1.5, 1.35), (0.5, 0.55), (2.5, 0.55), (0, -0.35), (1, -0.35), (2, -0.35), (3, -0.35)],
}
TITLES = {"tt": "Tensor train", "tr": "Tensor ring", "bt": "Block term (sum of 2)", "ht": "Hierarchical Tucker"}
RANKS = {"tt": 4, "tr": 4, "bt": (2, 4), "ht": (4, 4)}


def draw_format(axes: Axes, name: str) -> None:
    """Draw a format's network: circles are factors, lines their shared indices, short lines rows and columns."""
    network = tlr.get_format(name).random((OUT_MODES, IN_MODES), RANKS[name], random_state=0).network
    places = PLACES[name]
    # Lines end on a circle's rim, so that arrows of rows and columns stay apart from them.
    for index in network.size:
        ends = [places[k] for k, indices in enumerate(network.factors) if index in indices]
        if network.size[index] > 1 and index != "n":
            for (x, y), (u, v) in itertools.pairwise(ends):
                axes.plot([x, u], [y, v], color=BOND, linewidth=1.8, zorder=1)
    for place, indices in zip(places, network.factors):
        opened = [index for index in indices if index[0] in "ji" and index[1:].isdigit()]
        for index in opened:
            side = -0.17 if index.startswith("j") else 0.17
            x, y = place
            up = 1 if name == "tr" and y > 0 else -1
            axes.plot(
                [x + side / 2, x + side],
                [y, y + up * 0.52],
                color=OPEN_OUT if index.startswith("j") else OPEN_IN,
                linewidth=2.2,
                zorder=1,
            )
        copies = (0.07, 0.0) if network.size.get("n", 1) > 1 else (0.0,)
        for shift in copies:
            center = (place[0] + shift, place[1] + shift)
            color = FACTOR if opened else CORE
            axes.add_patch(Circle(center, 0.2, facecolor=color, edgecolor="white", linewidth=1.5, zorder=2))
    axes.set_title(f"{TITLES[name]}\n{network.n_param:,} numbers, {DENSE / network.n_param:,.0f} times fewer", fontsize=10.5)
    axes.set_xlim(-0.6, 3.6)
    axes.set_ylim(-1.35, 1.75)
    axes.set_aspect("equal")
    axes.axis("off")


def draw_dense(axes: Axes) -> None:
    """Draw the dense matrix and the layer that it stands in."""
    box = FancyBboxPatch((0.9, -0.75), 1.2, 1.5, boxstyle="round,pad=0.05", facecolor="#BBBBBB", edgecolor=BOND)
    axes.add_patch(box)
    axes.text(1.5, 0, "W", ha="center", va="center", fontsize=20)
    axes.annotate("", (2.9, 0), (2.2, 0), arrowprops={"arrowstyle": "->", "color": OPEN_OUT, "linewidth": 2.2})
    axes.annotate("", (0.8, 0), (0.1, 0), arrowprops={"arrowstyle": "->", "color": OPEN_IN, "linewidth": 2.2})
    axes.text(2.95, 0.12, "4 x 256\ngates", color=OPEN_OUT, fontsize=10, va="bottom", ha="center")
    axes.text(0.05, 0.12, "57600\ninputs", color=OPEN_IN, fontsize=10, va="bottom", ha="center")
    axes.set_title(f"Dense LSTM weight\n{DENSE:,} numbers", fontsize=11)
    axes.set_xlim(-0.6, 3.6)
    axes.set_ylim(-1.35, 1.75)
    axes.set_aspect("equal")
    axes.axis("off")


def draw(path: Path, shape: tuple[int, int], size: tuple[float, float], rect: tuple[float, ...], **legend: Any) -> None:
    """Write the panels in rows and columns, with the legend in the space that they leave."""
    figure, axes = plt.subplots(*shape, figsize=size)
    draw_dense(axes.flat[0])
    for axis, name in zip(axes.flat[1:], PLACES):
        draw_format(axis, name)
    for axis in axes.flat[1 + len(PLACES) :]:
        axis.axis("off")
    handles = [
        plt.Line2D([], [], marker="o", linestyle="", markersize=11, color=FACTOR, label="factor of one mode"),
        plt.Line2D([], [], marker="o", linestyle="", markersize=11, color=CORE, label="core or node"),
        plt.Line2D([], [], color=BOND, linewidth=2, label="summed rank index"),
        plt.Line2D([], [], color=OPEN_OUT, linewidth=2.5, label="row index"),
        plt.Line2D([], [], color=OPEN_IN, linewidth=2.5, label="column index"),
    ]
    figure.legend(handles=handles, frameon=False, **legend)
    figure.tight_layout(rect=rect)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(path: Path) -> None:
    """Write the picture to `path`, and one for narrow screens beside it."""
    draw(path, (1, 5), (16, 4.1), (0, 0.08, 1, 1), loc="lower center", ncols=5, fontsize=11)
    phone = path.with_stem(f"{path.stem}_phone")
    draw(phone, (3, 2), (6.0, 8.2), (0, 0, 1, 1), loc="lower right", bbox_to_anchor=(0.98, 0.09), fontsize=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "overview.png")
