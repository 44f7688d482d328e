"""The axes to draw on; matplotlib is imported here and in no other room."""

from typing import Any

#: Okabe and Ito's colours, which stay apart for colour-blind readers.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"


def axes_of(ax: Any, size: tuple[float, float] | None = None) -> Any:
    """Return the axes given, or new ones on a figure of that size in inches."""
    if ax is not None:
        return ax
    try:
        from matplotlib import pyplot
    except ImportError as reason:
        raise ImportError("tensorly_rnn.plot needs matplotlib: install it with pip install matplotlib.") from reason
    return pyplot.subplots(figsize=size, layout="constrained")[1]
