"""The axes to draw on, and how they look; matplotlib is imported when something is drawn."""

from typing import Any

from tensorly_rnn._checks import instance_of

#: Okabe and Ito's colours, which stay apart for colour-blind readers.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
# The library's own formats look the same whatever else is drawn.
OWN = ("tt", "tr", "bt", "ht")


def axes_of(ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return the axes given, or new ones on a figure of that size in inches."""
    try:
        if ax is None:
            from matplotlib import pyplot

            return pyplot.subplots(figsize=size, layout="constrained")[1]
        from matplotlib.axes import Axes
    except ImportError as reason:
        raise ImportError('tensorly_rnn.plot needs matplotlib: install it with pip install "tensorly-rnn[plot]".') from reason
    instance_of("ax", ax, Axes, "matplotlib axes or None; expected what plt.subplots() returns second")
    return ax


def styles_of(names: Any) -> dict[str, dict[str, str]]:
    """Return colour and marker by name: of a format its own, of any other one that is left."""
    known = [*OWN, *dict.fromkeys(name for name in names if name not in OWN)]
    return {name: style(known.index(name)) for name in names}


def style(number: int) -> dict[str, str]:
    """Return colour and marker of a curve; the markers go on where the colours begin again."""
    turn, color = divmod(number, len(COLORS))
    return {"color": COLORS[color], "marker": MARKERS[(color + turn) % len(MARKERS)]}


def dress(ax: Any, grid: str) -> None:
    """Take away what says nothing, and draw a faint grid along ``'x'``, ``'y'`` or ``'both'``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=grid, color="#E5E5E5", linewidth=0.8)
    ax.set_axisbelow(True)


def count_along(axis: Any, low: float, high: float) -> None:
    """Let a logarithmic axis say 200, 5 k, 1 M rather than powers, at as many places as there is room for."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(EngFormatter())
    axis.set_minor_formatter(NullFormatter())
