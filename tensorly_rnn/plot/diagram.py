"""The tensor network diagram of any format."""

import math
import re
from typing import Any

import numpy as np

from tensorly_rnn.network import Network
from tensorly_rnn.plot._axes import BLUE, VERMILION, axes_of
from tensorly_rnn.plot._labels import HEIGHT
from tensorly_rnn.plot._layout import RADIUS, Graph, Layout, graph_of, layout_of
from tensorly_rnn.plot._sketch import DOT, Sketch, sketch

OUTPUT, INPUT, LINE, TRIVIAL = VERMILION, BLUE, "#333333", "#AAAAAA"
# Circles with and without open indices.
OPEN, CLOSED = "#EAF1F7", "#FBE9B5"
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
        If there is no network.
    ImportError
        If matplotlib is not installed.

    Notes
    -----
    Summed indices carry their ranks; one that more than two factors share (the block index of a block-term matrix) is
    a dot joined to all of them. Arrows are rows, ``m_k``, which leave, and columns, ``n_k``, which enter; the modes of a tensor
    are ``n_k`` without heads. Indices of size 1 are left out, but for pale lines between two factors.

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
    ['core\n1', 'core\n2', '$m_{1}=2$', '$m_{2}=3$', '$n_{1}=4$', '$n_{2}=5$', '$r_{1}=6$']
    """
    drawn = factorized if isinstance(factorized, Network) else getattr(factorized, "network", None)
    if not isinstance(drawn, Network):
        raise TypeError(
            "network: factorized must be a factorized matrix or tensor, or a Network; expected an attribute network, got "
            f"{type(factorized).__name__}. Factorize it first."
        )
    graph = graph_of(drawn)
    layout = layout_of(drawn, graph)
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
        trivial = drawn.size[line.index] == 1
        ax.plot(
            *line.points.T,
            color=TRIVIAL if trivial else LINE,
            linewidth=0.03 * point * (0.6 if trivial or line.index in graph.dots else 1),
            linestyle=(0, (4, 2)) if line.index in graph.dots else "-",
            zorder=1,
            gid=line.index,
        )
    for leg in plan.legs:
        color = _color(drawn, leg.index)
        ax.plot(*leg.points.T, color=color, linewidth=0.035 * point, solid_capstyle="butt", zorder=1, gid=leg.index)
        if drawn.inputs:
            # An arrow enters at its circle and leaves at its end.
            tail, head = (-2, -1) if leg.index in drawn.outputs else (1, 0)
            _arrow(ax, leg.points[tail], leg.points[head], color, point)
    for vertex, place in layout.at.items():
        if isinstance(vertex, int):
            closed = vertex not in graph.legs.values()
            ax.add_patch(
                Circle(place, RADIUS, facecolor=CLOSED if closed else OPEN, edgecolor=LINE, linewidth=0.022 * point, zorder=2)
            )
            ax.text(*place, _name(vertex, drawn, graph, layout), fontsize=0.155 * point, zorder=3, **MIDDLE, linespacing=0.95)
        else:
            ax.add_patch(Circle(place, DOT, facecolor=LINE, edgecolor="none", zorder=2))
    for index, text, place in plan.labels:
        color = _color(drawn, index) if index in graph.legs else LINE
        if drawn.size[index] == 1:
            color = TRIVIAL
        ax.text(*place, text, fontsize=HEIGHT * point, color=color, zorder=3, **MIDDLE)


def _arrow(ax: Any, start: Any, end: Any, color: str, point: float) -> None:
    from matplotlib.patches import Polygon

    ahead = (end - start) / math.dist(start, end)
    across = np.array([-ahead[1], ahead[0]])
    ax.add_patch(
        Polygon([end, end - 0.17 * ahead + 0.075 * across, end - 0.17 * ahead - 0.075 * across], color=color, linewidth=0, zorder=2)
    )


def _color(drawn: Network, index: str) -> str:
    """Of an open index: rows are told from columns, and nothing is said of a tensor's modes."""
    if not drawn.inputs:
        return LINE
    return OUTPUT if index in drawn.outputs else INPUT


def _name(number: int, drawn: Network, graph: Graph, layout: Layout) -> str:
    """What a factor is called by its place: core, factor, root, node or leaf, with the number of its mode."""
    modes = [index for index in drawn.factors[number] if graph.legs.get(index) == number]
    joined = [pair for pair in graph.pairs.values() if number in pair]
    closed = [one for one in range(len(drawn.factors)) if one not in graph.legs.values()]
    if not modes:
        if layout.shape == "tree" and len(drawn.factors) > 3:
            return "node" if number else "root"
        return "core"
    kind = "factor"
    if layout.shape in ("line", "circle") and not closed:
        kind = "core"
    elif layout.shape == "tree" and len(drawn.factors) > 3 and len(joined) == 1:
        kind = "leaf"
    found = re.search(r"\d+$", modes[0])
    return f"{kind}\n{found[0] if found else number + 1}"
