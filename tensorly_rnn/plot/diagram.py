"""The tensor network diagram of any format."""

import re
from itertools import combinations
from typing import Any

import numpy as np

from tensorly_rnn.network import Network
from tensorly_rnn.plot._axes import BLUE, GREEN, VERMILION, axes_of

OUTPUT, INPUT, SHARED, LINE, TRIVIAL = VERMILION, BLUE, GREEN, "#333333", "#AAAAAA"
# Circles of factors with an open index, and of all others.
OPEN, INNER = "#EAF1F7", "#FBE9B5"
# In units of the picture: radius of a factor, least distance of two nodes, length of an open index, room for its label.
RADIUS, STEP, REACH, MARGIN = 0.3, 1.6, 0.95, 0.4
# Angle between two open indices of a factor.
FAN = np.radians(46)
# Inches a unit on a new figure.
UNIT = 0.62


def network(factorized: Any, ax: Any = None) -> Any:
    r"""Draw the tensor network of any format: circles are factors, lines the indices that they share.

    Parameters
    ----------
    factorized : factorized matrix or tensor of any format, or Network
        Only the names and sizes of the network's indices are used.
    ax : matplotlib axes, optional
        Where to draw. By default, new axes on a figure of fitting size.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    TypeError
        If `factorized` has no network, or `ax` is not matplotlib axes.
    ImportError
        If matplotlib or networkx is not installed.

    Notes
    -----
    Circles have the numbers of the factors, from 0. A summed index is a line with its name and size; indices between the
    same two factors share one line. An index of more than two factors, such as the block index of a block-term matrix, is
    a dot joined to all of them. Row indices ``m_k`` are arrows that leave their factor, column indices ``n_k`` arrows that
    enter it; the modes ``n_k`` of a tensor have no heads. Indices of size 1 are left out, except for a pale line where
    nothing else joins two factors.

    The layout depends on the graph alone: a path is a row, a cycle a circle, a graph whose centre is joined to all others a
    star, and any other tree has its levels below factor 0. All else is left to `networkx.kamada_kawai_layout`.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from tensorly_rnn import TTMatrix
    >>> f = TTMatrix.random(((2, 3), (4, 5)), rank=6, random_state=0)
    >>> ax = network(f, ax=Figure().subplots())
    >>> [text.get_text() for text in ax.texts]
    ['0', '1', '$m_{1}=2$', '$n_{1}=4$', '$m_{2}=3$', '$n_{2}=5$', '$r_{1}=6$']
    """
    drawn = factorized if isinstance(factorized, Network) else getattr(factorized, "network", None)
    if not isinstance(drawn, Network):
        raise TypeError(
            "factorized must be a factorized matrix or tensor, or a Network; expected an attribute network, got "
            f"{type(factorized).__name__}. Factorize it first; for TensorLy's own tensors, pass the Network of their factors."
        )
    try:
        graph = _graph(drawn)
    except ImportError as reason:
        raise ImportError('tensorly_rnn.plot needs networkx: install it with pip install "tensorly-rnn[plot]".') from reason
    at, beside = _layout(drawn, graph)
    points = np.array([*at.values(), *beside.values()])
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    ax = axes_of(ax, tuple(UNIT * (high - low)))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set_axis_off()
    _draw(drawn, graph, at, beside, ax, point=72 / ax.figure.dpi * min(ax.bbox.size / (high - low)))
    return ax


def _graph(drawn: Network) -> Any:
    """Return the graph of the factors, which are numbers, and of those indices, which are names, that are not its edges."""
    import networkx

    graph = networkx.Graph()
    graph.add_nodes_from(range(len(drawn.factors)), kind="factor")
    where = {index: [k for k, indices in enumerate(drawn.factors) if index in indices] for index in drawn.size}
    # Sizes of 1 come last, so that they add a line only where there is none.
    for index in sorted(where, key=lambda index: (drawn.size[index] == 1, where[index])):
        factors, size, is_open = where[index], drawn.size[index], index in (*drawn.outputs, *drawn.inputs)
        if len(factors) == 2 and not is_open:
            if not graph.has_edge(*factors):
                graph.add_edge(*factors, label=_label(drawn, index), color=LINE if size > 1 else TRIVIAL)
            elif size > 1:
                graph.edges[factors]["label"] += f"\n{_label(drawn, index)}"
        elif size > 1:
            graph.add_node(index, kind="leg" if is_open and len(factors) == 1 else "hub")
            graph.add_edges_from((factor, index) for factor in factors)
    return graph


def _layout(drawn: Network, graph: Any) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the place of every node, and of the label of every index that is a node."""
    import networkx

    body = graph.copy()
    body.remove_nodes_from([node for node in graph if graph.nodes[node]["kind"] == "leg"])
    degree = dict(body.degree)
    is_tree, is_ring = networkx.is_tree(body), set(degree.values()) == {2} and networkx.is_connected(body)
    is_row = is_tree and max(degree.values()) <= 2
    inner = [] if is_ring else [node for node in body if degree[node] == len(body) - 1]
    outer = [node for node in networkx.dfs_preorder_nodes(body, 0) if node not in inner]
    is_round = is_ring or (inner and all(degree[node] == len(inner) for node in outer))
    if is_row:
        end = min(degree, key=lambda node: degree[node])
        at = {node: np.array([k, 0.0]) for k, node in enumerate(networkx.dfs_preorder_nodes(body, end))}
    elif is_round:
        # No outer node is in line with two inner ones, which are on the horizontal axis.
        turn = np.pi * (1 + 1 / (len(outer) * (1 + len(outer) % 2)))
        at = networkx.shell_layout(outer, [outer[::-1]], rotate=turn) | networkx.circular_layout(inner, scale=0.4)
    elif is_tree:
        at = _levels(body)
    elif networkx.is_connected(body):
        at = networkx.kamada_kawai_layout(body, pos=networkx.planar_layout(body) if networkx.is_planar(body) else None)
    else:
        at = networkx.circular_layout(body)
    distances = [np.linalg.norm(at[one] - at[other]) for one, other in combinations(at, 2)]
    at = {node: at[node] * STEP / min(distances, default=1.0) for node in at}
    beside = {}
    for node in body:
        legs = [[leg for leg in side if leg in graph[node] and leg not in body] for side in (drawn.outputs, drawn.inputs)]
        gap = _gap([at[other] - at[node] for other in body[node]], is_upright=is_tree and not is_round)
        for own, middle in zip(legs, (np.pi / 2, -np.pi / 2)) if is_row else [([*legs[0], *legs[1]], gap)]:
            for k, leg in enumerate(own):
                angle = middle + FAN * (k - (len(own) - 1) / 2)
                ahead = np.array([np.cos(angle), np.sin(angle)])
                at[leg] = at[node] + REACH * ahead
                beside[leg] = at[leg] + ahead * (0.42, 0.15)
        if isinstance(node, str):
            beside[node] = at[node] + (0.45 * np.cos(gap), 0.25 * np.sin(gap))
    return at, beside


def _levels(tree: Any) -> dict[Any, Any]:
    """Return places with the leaves side by side, every other node above the middle of its children."""
    import networkx

    across: dict[Any, float] = {}
    n_leaves = 0
    for node in networkx.dfs_postorder_nodes(tree, 0):
        children = [across[child] for child in tree[node] if child in across]
        # A leaf is wider than a level is high, for the labels below it.
        across[node] = sum(children) / len(children) if children else 1.6 * n_leaves
        n_leaves += not children
    depth = networkx.single_source_shortest_path_length(tree, 0)
    return {node: np.array([across[node], -depth[node]]) for node in across}


def _gap(lines: list[Any], is_upright: bool) -> float:
    """Return the angle in the middle of the widest gap between lines; of an upright graph, straight down or up if free."""
    bearings = np.array([np.arctan2(y, x) for x, y in lines] or [0.0])
    if is_upright and abs(np.sign(bearings).sum()) == len(bearings):
        return float(-np.pi / 2 * np.sign(bearings[0]))
    turns = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    return float(turns[np.argmin(np.cos(turns[:, None] - bearings).max(axis=1).round(6))])


def _draw(drawn: Network, graph: Any, at: dict[Any, Any], beside: dict[str, Any], ax: Any, point: float) -> None:
    """Draw nodes and lines; `point` is the number of points in a unit of length."""
    import networkx

    circle = (2 * RADIUS * point) ** 2
    size = {"factor": circle, "hub": circle / 16, "leg": 0.0}
    sizes = {"nodelist": list(graph), "node_size": [size[kind] for _, kind in graph.nodes(data="kind")]}
    font: dict[str, Any] = {"ax": ax, "font_size": 0.2 * point, "clip_on": False}
    factors = list(range(len(drawn.factors)))
    fills = [OPEN if any(graph.nodes[node]["kind"] == "leg" for node in graph[factor]) else INNER for factor in factors]
    networkx.draw_networkx_nodes(graph, at, factors, circle, fills, ax=ax, edgecolors=LINE, linewidths=0.022 * point)
    networkx.draw_networkx_labels(graph, at, {factor: factor for factor in factors}, **font)
    for index in beside:
        is_hub, is_input = graph.nodes[index]["kind"] == "hub", index in drawn.inputs
        color = SHARED if is_hub else LINE if not drawn.inputs else INPUT if is_input else OUTPUT
        ends = [(index, factor) if is_input else (factor, index) for factor in graph[index]]
        style = {"style": "--" if is_hub else "-", "arrowstyle": "-" if is_hub or not drawn.inputs else "-|>"}
        if is_hub:
            networkx.draw_networkx_nodes(graph, at, [index], circle / 16, SHARED, ax=ax)
        networkx.draw_networkx_edges(
            graph, at, ends, 0.03 * point, color, arrows=True, arrowsize=0.2 * point, ax=ax, **style, **sizes
        )
        networkx.draw_networkx_labels(graph, beside, {index: _label(drawn, index)}, font_color=color, **font)
    lines = networkx.get_edge_attributes(graph, "label")
    colors = [graph.edges[line]["color"] for line in lines]
    networkx.draw_networkx_edges(graph, at, list(lines), 0.03 * point, colors, ax=ax)
    networkx.draw_networkx_edge_labels(graph, at, lines, rotate=False, **font)


def _label(drawn: Network, index: str) -> str:
    """Return an index and its size: ``m_k`` for rows and ``n_k`` for columns with the usual names, else its own name."""
    size = drawn.size[index]
    mode, usual = re.fullmatch(r"[ij](\d+)", index), re.fullmatch(r"([A-Za-z])(\d*)", index)
    if mode and index in (*drawn.outputs, *drawn.inputs):
        letter = "m" if drawn.inputs and index in drawn.outputs else "n"
        return f"${letter}_{{{mode[1]}}}={size}$"
    if usual:
        return f"${usual[1]}{f'_{{{usual[2]}}}' if usual[2] else ''}={size}$"
    return f"{index} = {size}"
