"""The tensor network diagram of any format."""

import math
import re
from typing import Any

import numpy as np

from tensorly_rnn.network.network import Network
from tensorly_rnn.plot._axes import BLUE, GREEN, VERMILION, axes_of
from tensorly_rnn.plot._labels import HEIGHT, width_of
from tensorly_rnn.plot._layout import RADIUS, Graph, Layout, graph_of, layout_of
from tensorly_rnn.plot._sketch import DOT, Sketch, label_of, sketch

OUTPUT, INPUT, SHARED, LINE, TRIVIAL = VERMILION, BLUE, GREEN, "#333333", "#AAAAAA"
# Circles of factors with a mode, and of those that join them.
OPEN, INNER = "#EAF1F7", "#FBE9B5"
MIDDLE = {"ha": "center", "va": "center"}
# Inches a unit where the figure is ours, and its widest.
UNIT, WIDEST = 0.62, 13.0


def network(factorized: Any, ax: Any = None) -> Any:
    r"""Draw the tensor network of any format: circles are factors, lines the indices that they share.

    Parameters
    ----------
    factorized : factorized matrix or tensor of any format, or Network
        Whatever has an attribute `network` or is one; nothing but the names and sizes of its indices is looked at.
    ax : matplotlib axes, optional
        Where to draw; new ones on a figure of fitting size by default.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    TypeError
        If there is no network, or `ax` are no axes.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Summed indices carry their ranks; one that more than two factors share (the block index of a block-term matrix)
    is a dot joined to all of them. Arrows are rows, ``m_k``, which leave, and columns, ``n_k``, which enter; the modes of a
    tensor are ``n_k`` without heads. Indices of size 1 are left out, but for pale lines where nothing else joins two factors.

    A path is drawn as a line, a loop as a circle, a factor with all others around it as a star, a tree in levels
    below factor 0, and any other graph by the algorithm of Kamada and Kawai [1]_.

    References
    ----------
    .. [1] Kamada, Kawai, An algorithm for drawing general undirected graphs, Information Processing Letters 31(1), 1989.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from tensorly_rnn import TTMatrix
    >>> f = TTMatrix.random(((2, 3), (4, 5)), rank=6, random_state=0)
    >>> ax = network(f, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['core\n1', 'core\n2', '$m_{1}=2$', '$n_{1}=4$', '$m_{2}=3$', '$n_{2}=5$', '$r_{1}=6$']
    """
    drawn = factorized if isinstance(factorized, Network) else getattr(factorized, "network", None)
    if not isinstance(drawn, Network):
        raise TypeError(
            "network: factorized must be a factorized matrix or tensor, or a Network; expected an attribute network, got "
            f"{type(factorized).__name__}. Factorize it first; of TensorLy's own tensors give the Network of their factors."
        )
    graph = graph_of(drawn)
    layout = layout_of(drawn, graph, max((width_of(label_of(drawn, index)) for index in graph.legs), default=0.0))
    plan = sketch(drawn, graph, layout)
    low, high = plan.low - 0.15, plan.high + 0.15
    width, height = high - low
    unit = min(UNIT, WIDEST / width)
    ax = axes_of(ax, (unit * width, unit * height))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set_axis_off()
    _draw(ax, drawn, graph, layout, plan)
    return ax


def _draw(ax: Any, drawn: Network, graph: Graph, layout: Layout, plan: Sketch) -> None:
    from matplotlib.patches import Circle

    # Points of a unit of length, as large as the axes are now.
    size = ax.figure.get_size_inches() * ax.get_position().size
    point = 72 * float(min(size / (plan.high - plan.low + 0.3)))
    for line in plan.joints:
        style = (0, (4, 2)) if line.index in graph.dots else "-"
        color = _color(drawn, graph, line.index)
        ax.plot(*line.points.T, color=color, linestyle=style, linewidth=0.027 * point, zorder=1, gid=line.index)
    for leg in plan.legs:
        color = _color(drawn, graph, leg.index)
        ax.plot(*leg.points.T, color=color, linewidth=0.035 * point, solid_capstyle="butt", zorder=1, gid=leg.index)
        if drawn.inputs:
            # An arrow enters at its circle and leaves at its end.
            tail, head = (-2, -1) if leg.index in drawn.outputs else (1, 0)
            _arrow(ax, leg.points[tail], leg.points[head], color, point)
    for k, (kind, number) in enumerate(_names(drawn, graph, layout)):
        color = OPEN if number else INNER
        ax.add_patch(Circle(layout.at[k], RADIUS, facecolor=color, edgecolor=LINE, linewidth=0.022 * point, zorder=2))
        text = f"{kind}\n{number}".strip()
        ax.text(*layout.at[k], text, fontsize=0.165 * point, linespacing=0.95, zorder=3, **MIDDLE)
    for index in graph.dots:
        ax.add_patch(Circle(layout.at[index], DOT, facecolor=SHARED, edgecolor="none", zorder=2))
    for index, text, place in plan.labels:
        ax.text(*place, text, fontsize=HEIGHT * point, color=_color(drawn, graph, index), zorder=3, **MIDDLE)


def _arrow(ax: Any, start: Any, end: Any, color: str, point: float) -> None:
    from matplotlib.patches import Polygon

    ahead = (end - start) / math.dist(start, end)
    across = np.array([-ahead[1], ahead[0]])
    ax.add_patch(
        Polygon(
            [end, end - 0.17 * ahead + 0.075 * across, end - 0.17 * ahead - 0.075 * across], color=color, linewidth=0, zorder=2
        )
    )


def _color(drawn: Network, graph: Graph, index: str) -> str:
    """Rows are told from columns, and nothing is said of a tensor's modes."""
    if index in graph.legs and drawn.inputs:
        return OUTPUT if index in drawn.outputs else INPUT
    if index in graph.dots:
        return SHARED
    return TRIVIAL if drawn.size[index] == 1 else LINE


def _names(drawn: Network, graph: Graph, layout: Layout) -> list[tuple[str, str]]:
    """What each factor is called by its place, and the number of its mode, or its own where modes do not tell them apart."""
    factors = range(len(drawn.factors))
    modes = [[index for index in drawn.factors[k] if graph.legs.get(index) == k] for k in factors]
    ends = [re.search(r"\d+$", own[-1]) if own else None for own in modes]
    numbers = [end[0] if end else "" for end in ends]
    carriers = [k for k in factors if modes[k]]
    if len({numbers[k] for k in carriers} - {""}) < len(carriers):
        numbers = [str(k + 1) for k in factors]
    joined = [len({pair for pair in graph.pairs.values() if k in pair}) for k in factors]
    names = []
    for k in factors:
        if layout.shape == "tree" and len(factors) > 3:
            kind = "root" if k == 0 else "node" if joined[k] > 1 else "leaf"
        elif layout.shape in ("line", "circle") and len(carriers) == len(factors):
            kind = "core"
        else:
            inner = layout.shape in ("star", "tree") and joined[k] == len(factors) - 1
            kind = "core" if inner or not modes[k] else "factor"
        numbered = kind in ("factor", "leaf") or len(carriers) == len(factors)
        names.append((kind, numbers[k] if numbered else ""))
    return names
