"""Measure both papers' complexity tables: write the tables of docs/complexity.md and its picture.

    python docs/complexity.py [--output DIR]

A sweep varies one size and fixes the others; the exponent is the slope of log(count) over log(size) by least squares. Counts
are those of `tlr.cost` and `tlr.n_param` at one row of x; nothing is timed. DIR is docs/ unless given.
"""

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

import tensorly_rnn as tlr
from tensorly_rnn.network.network import CONTRACTION_ORDERS

DOCS = Path(__file__).parent
BEGIN, END = "<!-- written by docs/complexity.py -->\n", "<!-- up to here -->\n"
# Exponents that differ by less than this are called equal; a fit with a larger standard error than the other is no power.
EQUAL, NO_POWER = 0.1, 0.3


@dataclass(frozen=True)
class Sizes:
    """One setting: d modes of `in_mode` columns and `out_mode` rows, all ranks `rank`, `n_blocks` blocks."""

    d: int = 4
    in_mode: int = 64
    out_mode: int = 64
    rank: int = 4
    n_blocks: int = 1

    @property
    def columns(self) -> int:
        """I, the size of x."""
        return self.in_mode**self.d

    @property
    def rows(self) -> int:
        """J, the size of y."""
        return self.out_mode**self.d


@dataclass(frozen=True)
class Sweep:
    """Settings along which one size grows, and that size in each."""

    name: str
    says: str
    settings: tuple[Sizes, ...]
    of: Callable[[Sizes], float]


ORDERS = (8, 12, 16, 24, 32, 48, 64)
THE_SAME = "the same sweep, slope of log(count) over d: the factor by which one more mode multiplies"
ALONG_D = tuple(Sizes(d, 4, 4, 2) for d in ORDERS)
SWEEPS = {
    sweep.name: sweep
    for sweep in (
        Sweep(
            "I",
            "I_k = 128 .. 2048, J_k = 4, R = 2, d = 4",
            tuple(Sizes(4, n, 4, 2) for n in (128, 256, 512, 1024, 2048)),
            lambda s: s.columns,
        ),
        Sweep(
            "J",
            "J_k = 4 .. 32, I_k = 4096, R = 2, d = 4",
            tuple(Sizes(4, 4096, m, 2) for m in (4, 8, 16, 32)),
            lambda s: s.rows,
        ),
        Sweep(
            "J, J_k > I_k",
            "J_k = 64 .. 1024, I_k = 4, R = 2, d = 4",
            tuple(Sizes(4, 4, m, 2) for m in (64, 128, 256, 512, 1024)),
            lambda s: s.rows,
        ),
        Sweep("R", "R = 8 .. 64, I_k = J_k = 64, d = 4", tuple(Sizes(rank=r) for r in (8, 16, 32, 64)), lambda s: s.rank),
        Sweep(
            "N",
            "N = 1 .. 16, I_k = J_k = 64, R = 4, d = 4",
            tuple(Sizes(n_blocks=n) for n in (1, 2, 4, 8, 16)),
            lambda s: s.n_blocks,
        ),
        Sweep("d", "d = 8 .. 64, I_k = J_k = 4, R = 2; the bound without its power of d divided out", ALONG_D, lambda s: s.d),
        # The base of a geometric growth is the exponent over log(e^d).
        Sweep("growth a mode", THE_SAME, ALONG_D, lambda s: s.d),
    )
}


@dataclass(frozen=True)
class Bound:
    """The exponents that a paper states: ``d**power_of_d * rest``."""

    method: str
    quantity: str
    formula: str
    power_of_d: int
    rest: Callable[[Sizes], int]

    def __call__(self, sizes: Sizes) -> int:
        """Return the bound's value."""
        return sizes.d**self.power_of_d * self.rest(sizes)


# BT paper, table 1, and for its eq. 11 section 3.3.2.
BOUNDS = (
    Bound("RNN", "forward flops", "IJ", 0, lambda s: s.columns * s.rows),
    Bound("RNN", "backward flops", "IJ", 0, lambda s: s.columns * s.rows),
    Bound("RNN", "forward peak", "IJ", 0, lambda s: s.columns * s.rows),
    Bound("RNN", "backward peak", "IJ", 0, lambda s: s.columns * s.rows),
    Bound("TT-RNN", "forward flops", "d I R^2 J_max", 1, lambda s: s.columns * s.rank**2 * s.out_mode),
    Bound("TT-RNN", "backward flops", "d^2 I R^4 J_max", 2, lambda s: s.columns * s.rank**4 * s.out_mode),
    Bound("TT-RNN", "forward peak", "R I", 0, lambda s: s.rank * s.columns),
    Bound("TT-RNN", "backward peak", "R^3 I", 0, lambda s: s.rank**3 * s.columns),
    Bound("BT-RNN", "forward flops", "N d I R^d J_max", 1, lambda s: s.n_blocks * s.columns * s.rank**s.d * s.out_mode),
    Bound("BT-RNN", "backward flops", "N d^2 I R^d J_max", 2, lambda s: s.n_blocks * s.columns * s.rank**s.d * s.out_mode),
    Bound("BT-RNN", "forward peak", "R^d I", 0, lambda s: s.rank**s.d * s.columns),
    Bound("BT-RNN", "backward peak", "R^d I", 0, lambda s: s.rank**s.d * s.columns),
    Bound("BT-RNN, eq. 11", "forward flops", "N d I J R", 1, lambda s: s.n_blocks * s.columns * s.rows * s.rank),
)
FORMATS = {"TT-RNN": "tt", "BT-RNN": "bt", "BT-RNN, eq. 11": "bt"}
VARIABLES = {
    "RNN": ("I", "J"),
    "TT-RNN": ("I", "J", "J, J_k > I_k", "R", "d", "growth a mode"),
    "BT-RNN": ("I", "J", "J, J_k > I_k", "R", "N", "d", "growth a mode"),
    "BT-RNN, eq. 11": ("I", "J", "R", "N", "d", "growth a mode"),
}


@dataclass(frozen=True)
class Fit:
    """Slope of a line through points, and its standard error."""

    slope: float
    error: float

    def __str__(self) -> str:
        return "no power" if self.error > NO_POWER else f"{self.slope:.2f} ± {self.error:.2f}".replace("-0.00", "0.00")


@dataclass(frozen=True)
class Row:
    """One exponent of one bound: the paper's, ours in every order, and the planned count over the bound at most."""

    bound: Bound
    variable: str
    paper: float
    fits: dict[str, Fit]
    share: float

    def verdict(self, contraction_order: str) -> str:
        """Return `<`, `=` or `>`: our exponent against the paper's."""
        fit = self.fits[contraction_order]
        if abs(fit.slope - self.paper) < EQUAL:
            return "="
        return "<" if fit.slope < self.paper else ">"


def fitted(x: list[float], y: list[float]) -> Fit:
    """Fit a line by least squares."""
    (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
    return Fit(float(slope), math.sqrt(max(float(covariance[0, 0]), 0.0)))


@lru_cache(maxsize=4096)
def counted(method: str, sizes: Sizes, contraction_order: str) -> tlr.Cost:
    """Return the cost of one row of x."""
    if method == "RNN":
        open_sizes = (("i1", sizes.columns), ("j1", sizes.rows))
        return tlr.Network((("j1", "i1"),), ("j1",), ("i1",), open_sizes).cost(1, contraction_order)
    rank = (sizes.n_blocks, sizes.rank) if FORMATS[method] == "bt" else sizes.rank
    modes = ((sizes.out_mode,) * sizes.d, (sizes.in_mode,) * sizes.d)
    return tlr.cost(FORMATS[method], modes, rank, batch=1, contraction_order=contraction_order)


def count(bound: Bound, sizes: Sizes, contraction_order: str) -> int:
    """Return the count that a bound is about."""
    name, field = bound.quantity.split()
    return getattr(getattr(counted(bound.method, sizes, contraction_order), name), field)


def exponent(bound: Bound, sweep: Sweep, of: Callable[[Sizes], int]) -> Fit:
    """Return the exponent of a count, or of the bound itself, along a sweep; the growth a mode as a factor."""
    values = [math.log(of(sizes)) for sizes in sweep.settings]
    if sweep.name == "growth a mode":
        log_growth = fitted([sizes.d for sizes in sweep.settings], values)
        return Fit(math.exp(log_growth.slope), math.exp(log_growth.slope) * log_growth.error)
    if sweep.name == "d":
        values = [value - math.log(bound.rest(sizes)) for value, sizes in zip(values, sweep.settings)]
    return fitted([math.log(sweep.of(sizes)) for sizes in sweep.settings], values)


def measured() -> list[Row]:
    """Return every exponent of the BT paper's table 1."""
    rows = []
    for bound in BOUNDS:
        for variable in VARIABLES[bound.method]:
            sweep = SWEEPS[variable]
            fits = {
                order: exponent(bound, sweep, lambda sizes, bound=bound, order=order: count(bound, sizes, order))
                for order in CONTRACTION_ORDERS
            }
            share = max(count(bound, sizes, "planned") / bound(sizes) for sizes in sweep.settings)
            rows.append(Row(bound, variable, exponent(bound, sweep, bound).slope, fits, share))
    return rows


# HT paper, table 1: (what varies, the sweep, its values, settings (d, m, n, r), the paper's exponents).
SPACES = {"uncompressed": "N M", "tt": "d m n r^2", "tr": "d m n r^2", "bt": "d m n r + r^d", "ht": "d m n r + d r^3"}
SPACE_SWEEPS = (
    ("m", "m = 16 .. 256, n = 64, r = 4, d = 4", tuple((4, m, 64, 4) for m in (16, 32, 64, 128, 256)), (4, 1, 1, 1, 1)),
    ("n", "n = 16 .. 256, m = 64, r = 4, d = 4", tuple((4, 64, n, 4) for n in (16, 32, 64, 128, 256)), (4, 1, 1, 1, 1)),
    ("r", "r = 4 .. 32, m = n = 1024, d = 4", tuple((4, 1024, 1024, r) for r in (4, 8, 16, 32)), (0, 2, 2, 1, 1)),
    ("r, large ranks", "r = 64 .. 512, m = n = 4, d = 4", tuple((4, 4, 4, r) for r in (64, 128, 256, 512)), (0, 2, 2, 4, 3)),
    ("d", "d = 8 .. 64, m = n = 8, r = 1", tuple((d, 8, 8, 1) for d in ORDERS), (None, 1, 1, 1, 1)),
    ("d, r = 4", "d = 8 .. 64, m = n = 8, r = 4", tuple((d, 8, 8, 4) for d in ORDERS), (None, 1, 1, None, 1)),
    ("growth a mode", "the same, slope of log over d", tuple((d, 8, 8, 4) for d in ORDERS), (64, None, None, 4, None)),
)  # fmt: skip


def space(format: str, d: int, m: int, n: int, r: int) -> int:
    """Return the parameters of a linear layer."""
    return (m * n) ** d if format == "uncompressed" else tlr.n_param(format, ((m,) * d, (n,) * d), r)


def space_fit(format: str, name: str, settings: tuple[tuple[int, ...], ...]) -> Fit:
    """Return the exponent of the parameters along a sweep of the HT paper's table 1."""
    place = {"d": 0, "g": 0, "m": 1, "n": 2, "r": 3}[name[0]]
    sizes = [setting[place] for setting in settings]
    values = [math.log(space(format, *setting)) for setting in settings]
    if name == "growth a mode":
        log_growth = fitted([float(size) for size in sizes], values)
        return Fit(math.exp(log_growth.slope), math.exp(log_growth.slope) * log_growth.error)
    return fitted([math.log(size) for size in sizes], values)


# The BT paper's systems: LSTM input-hidden weights of 57600 to 4 x 256, 96 rows of x.
PAPER_MODES, PAPER_BATCH = ((16, 4, 4, 4), (8, 20, 20, 18)), 96
PAPER_RANKS = {"tt": 4, "tr": 4, "bt": (2, 4), "ht": (4, 4)}


def why(row: Row) -> str:
    """Return the letters under which docs/complexity.md says why a row differs from the paper."""
    method, quantity, variable = row.bound.method, row.bound.quantity, row.variable
    backward, peak = quantity.startswith("backward"), quantity.endswith("peak")
    if variable.startswith("J,"):
        return "b"
    if quantity == "forward peak" and variable in ("I", "J"):
        return ("a" if variable == "I" else "") if method == "RNN" else "a"
    letters = ""
    if variable == "N" and peak:
        letters += "f"
    along_d = variable in ("d", "growth a mode")
    if backward and ((along_d and not peak) or (method == "TT-RNN" and variable == "R")):
        letters += "c"
    if method.startswith("BT") and along_d and not peak:
        letters += "d"
    if method == "BT-RNN" and (along_d or variable == "R"):
        letters += "e"
    return letters


def compared(row: Row) -> tuple[str, ...]:
    """Return the orders that a bound speaks of: eq. 11 is the one in which the factors become W first."""
    return ("factors_first",) if "11" in row.bound.method else ("planned", "input_first")


def time_and_memory_table(rows: list[Row]) -> list[str]:
    """Return the BT paper's table 1."""
    lines = [
        "| method, count | the paper's bound | in | paper | `planned` | `factors_first` | `input_first` | why | at most |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = [
            f"{row.verdict(order)} {row.fits[order]}" if order in compared(row) else str(row.fits[order])
            for order in CONTRACTION_ORDERS
        ]
        name = f"{row.bound.method} {row.bound.quantity}"
        paper = f"{row.paper:.2f}".replace("-0.00", "0.00")
        numbers = (*cells, why(row), f"{row.share:.2g}")
        lines.append(f"| {name} | {row.bound.formula} | {row.variable} | {paper} | {' | '.join(numbers)} |")
    return lines


def space_table() -> list[str]:
    """Return the HT paper's table 1."""
    lines = [
        "| in | sweep | " + " | ".join(f"{name}<br>{formula}" for name, formula in SPACES.items()) + " |",
        "|---|---|" + "---|" * len(SPACES),
    ]
    for name, says, settings, papers in SPACE_SWEEPS:
        cells = []
        for format, paper in zip(SPACES, papers):
            fit = space_fit(format, name, settings)
            cells.append("" if paper is None else f"{paper}: {fit}")
        lines.append(f"| {name} | {says} | {' | '.join(cells)} |")
    return lines


def papers_sizes_table() -> list[str]:
    """Return what the three orders take at the BT paper's sizes."""
    lines = [
        "| format | rank | order | flops forward | backward | moved forward | backward | peak forward | backward |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for format, rank in PAPER_RANKS.items():
        for order in CONTRACTION_ORDERS:
            cost = tlr.cost(format, PAPER_MODES, rank, batch=PAPER_BATCH, contraction_order=order)
            numbers = [getattr(one, field) for field in ("flops", "moved", "peak") for one in (cost.forward, cost.backward)]
            lines.append(f"| {format} | {rank} | `{order}` | " + " | ".join(f"{number:,}" for number in numbers) + " |")
    return lines


def page() -> str:
    """Return the generated part of docs/complexity.md."""
    sweeps = [f"- {sweep.name}: {sweep.says}." for sweep in SWEEPS.values()]
    parts = [
        "### The sweeps",
        "\n".join(sweeps),
        "### BT paper, table 1: time and memory",
        "\n".join(time_and_memory_table(measured())),
        "### HT paper, table 1: space",
        "\n".join(space_table()),
        "### At the BT paper's sizes",
        "\n".join(papers_sizes_table()),
    ]
    return "\n\n".join(parts) + "\n"


def filled(text: str) -> str:
    """Return a page with its generated part written anew."""
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{page()}\n{END}{after}"


COLORS = {
    "RNN": "#444444",
    "uncompressed": "#444444",
    "TT-RNN": "#0072B2",
    "tt": "#0072B2",
    "BT-RNN": "#D55E00",
    "bt": "#D55E00",
}
COLORS |= {"tr": "#009E73", "ht": "#CC79A7"}
STYLES = {"planned": "-", "input_first": "--", "factors_first": ":"}


def label_ends(axes: Axes, ends: list[tuple[float, str, str, str]]) -> None:
    """Write the slopes to the right of the lines' ends, with a piece of the line, moved apart where they would touch."""
    low, high = (math.log10(limit) for limit in axes.get_ylim())
    places = sorted((min((math.log10(y) - low) / (high - low), 1.0), *look) for y, *look in ends)
    heights, gap = [place[0] for place in places], 0.08
    # Up from the lowest, then down from the top, so that all stay inside.
    for k in range(1, len(heights)):
        heights[k] = max(heights[k], heights[k - 1] + gap)
    heights[-1] = min(heights[-1], 1.0)
    for k in reversed(range(len(heights) - 1)):
        heights[k] = min(heights[k], heights[k + 1] - gap)
    beside = {"transform": axes.transAxes, "clip_on": False}
    for height, (_, text, color, style) in zip(heights, places):
        axes.plot([1.02, 1.11], [height, height], linestyle=style, color=color, linewidth=1.8, **beside)
        axes.text(1.13, height, text, color=color, fontsize=9.5, va="center", **beside)


def draw_lines(axes: Axes, x: list[float], lines: list[tuple[list[int], str, str]], top: float | None = None) -> None:
    """Draw counts (values, color, style) on logarithmic axes; where lines coincide the first ones show as wider bands."""
    ends = []
    for number, (y, color, style) in enumerate(lines):
        width = 1.6 + 3.2 * (1 - (number + 1) / len(lines))
        axes.loglog(x, y, linestyle=style, color=color, linewidth=width, solid_capstyle="butt", dash_capstyle="butt")
        fit = fitted([math.log(value) for value in x], [math.log(value) for value in y])
        ends.append((y[-1], str(fit).split(" ±")[0], color, style))
    axes.set_ylim(top=top)
    if max(x) < 10_000:
        axes.set_xticks(x, [str(value) for value in x])
        axes.minorticks_off()
    label_ends(axes, ends)


def draw_sweep(axes: Axes, quantity: str, variable: str) -> None:
    """Draw one count of the BT paper's table along one sweep."""
    sweep, lines = SWEEPS[variable], []
    for bound in (bound for bound in BOUNDS if bound.quantity == quantity and "11" not in bound.method):
        # One product has one order.
        for order in STYLES if bound.method in FORMATS else ("planned",):
            lines.append(([count(bound, sizes, order) for sizes in sweep.settings], COLORS[bound.method], STYLES[order]))
    draw_lines(axes, [sweep.of(sizes) for sizes in sweep.settings], lines)
    axes.set_title(f"{quantity} against {variable}\n{sweep.says}", fontsize=10.5)
    axes.set_xlabel(variable)


def draw_space(axes: Axes, name: str, says: str, settings: tuple[tuple[int, ...], ...]) -> None:
    """Draw the parameters of the formats along one sweep of the HT paper's table."""
    place = {"d": 0, "m": 1, "n": 2, "r": 3}[name[0]]
    lines = [([space(format, *setting) for setting in settings], COLORS[format], "-") for format in ("tt", "tr", "bt", "ht")]
    # The core of BT leaves the picture: it would flatten the others.
    draw_lines(axes, [setting[place] for setting in settings], lines, top=1e7 if name.startswith("d") else None)
    axes.set_title(f"parameters against {name[0]}\n{says}", fontsize=10.5)
    axes.set_xlabel(name[0])


def draw(path: Path) -> None:
    """Write the picture to `path`."""
    figure, axes = plt.subplots(2, 4, figsize=(18, 9))
    panels = (("forward flops", "I"), ("forward flops", "J"), ("forward flops", "R"), ("backward peak", "R"))
    for one, (quantity, variable) in zip(axes[0], panels):
        draw_sweep(one, quantity, variable)
    spaces = [sweep for sweep in SPACE_SWEEPS if sweep[0] in ("m", "r", "r, large ranks", "d, r = 4")]
    for one, (name, says, settings, _) in zip(axes[1], spaces):
        draw_space(one, name, says, settings)
    for one in axes.flat:
        one.grid(True, which="major", color="#DDDDDD", linewidth=0.7)
        one.tick_params(labelsize=9)
        one.spines[["top", "right"]].set_visible(False)
    names = {
        "RNN": "dense",
        "TT-RNN": "tensor train",
        "tr": "tensor ring",
        "BT-RNN": "block term",
        "ht": "hierarchical Tucker",
    }
    legend = [plt.Line2D([], [], color=COLORS[key], linewidth=2.5, label=label) for key, label in names.items()]
    legend += [
        plt.Line2D([], [], color="black", linestyle=style, linewidth=1.8, label=order) for order, style in STYLES.items()
    ]
    figure.legend(handles=legend, loc="lower center", ncols=8, frameon=False, fontsize=11)
    figure.text(0.5, 0.055, "numbers at the lines' ends: fitted slopes", ha="center", fontsize=10, color="#444444")
    figure.tight_layout(rect=(0, 0.075, 1, 1), w_pad=2.5, h_pad=2.5)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main() -> None:
    """Write the page and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=DOCS, help="folder of complexity.md and images/ (default: docs)")
    output = parser.parse_args().output
    output.mkdir(parents=True, exist_ok=True)
    text = filled((DOCS / "complexity.md").read_text(encoding="utf-8"))
    (output / "complexity.md").write_text(text, encoding="utf-8")
    draw(output / "images" / "complexity.png")


if __name__ == "__main__":
    main()
