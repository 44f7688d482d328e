"""Axes and styles that the plots share. matplotlib is imported only when something is drawn."""

from typing import Any

from tensorly_rnn._checks import instance_of

#: The colours of Okabe and Ito, which colour-blind readers can tell apart.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"
COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X")
# The library's own formats have the same colours in all pictures.
OWN = ("tt", "tr", "bt", "ht")


def axes_of(ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return the given axes, or new ones on a figure of that size in inches."""
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
    """Return colour and marker by name: fixed ones for the library's formats, the next free ones for other names."""
    known = [*OWN, *dict.fromkeys(name for name in names if name not in OWN)]
    return {name: style(known.index(name)) for name in names}


def style(number: int) -> dict[str, str]:
    """Return colour and marker of a curve; when the colours repeat, the markers differ."""
    turn, color = divmod(number, len(COLORS))
    return {"color": COLORS[color], "marker": MARKERS[(color + turn) % len(MARKERS)]}


def dress(ax: Any, grid: str) -> None:
    """Hide the top and right spines, and draw a faint grid along ``'x'``, ``'y'`` or ``'both'``."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(True, axis=grid, color="#E5E5E5", linewidth=0.8)
    ax.set_axisbelow(True)


def count_along(axis: Any, low: float, high: float) -> None:
    """Label a logarithmic axis with 200, 5 k, 1 M rather than powers of ten."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 100 * low else (1,)))
    axis.set_major_formatter(EngFormatter())
    axis.set_minor_formatter(NullFormatter())
