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
# In units of the picture: radius of a factor, least distance of two factors, length of an open index in a row, distance of two
# open indices of a tree, margin. The last is the inches of a unit on a new figure.
RADIUS, STEP, REACH, LEAF, MARGIN, UNIT = 0.3, 1.6, 1.2, 0.95, 0.5, 0.62


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
    joined to all of them by dashed lines. Row indices ``m_k`` are arrows that leave their factor, column indices ``n_k``
    arrows that enter it; the modes ``n_k`` of a tensor have no heads. Indices of size 1 are left out, except for a pale line
    where nothing else joins two factors.

    The layout depends on the graph alone: a path is a row, any other tree has its levels below factor 0 or a shared index,
    and all else is left to `networkx.kamada_kawai_layout`, which makes a cycle round.

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
        import networkx
    except ImportError as reason:
        raise ImportError('tensorly_rnn.plot needs networkx: install it with pip install "tensorly-rnn[plot]".') from reason
    graph = _graph(drawn)
    at = _layout(graph)
    low, high = np.min([*at.values()], axis=0) - MARGIN, np.max([*at.values()], axis=0) + MARGIN
    ax = axes_of(ax, tuple(UNIT * (high - low)))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
    ax.set_axis_off()
    unit = 72 / ax.figure.dpi * min(ax.bbox.size / (high - low))  # points in a unit of length
    factors, circle = list(range(len(drawn.factors))), (2 * RADIUS * unit) ** 2
    fills = [OPEN if drawn.open_sizes.keys() & indices else INNER for indices in drawn.factors]
    networkx.draw_networkx_nodes(graph, at, factors, circle, fills, ax=ax, edgecolors=LINE, linewidths=0.022 * unit)
    font = {"ax": ax, "font_size": 0.2 * unit, "clip_on": False}
    for node, color in graph.nodes(data="color", default=LINE):
        label = _label(drawn, node) if isinstance(node, str) else node
        networkx.draw_networkx_labels(graph, at, {node: label}, font_color=color, **font)
    # A label is wider than a circle.
    sizes = {"nodelist": list(graph), "node_size": [circle * (1.6 if isinstance(node, str) else 1) for node in graph]}
    arrows = {"ax": ax, "width": 0.03 * unit, "arrows": True, "arrowsize": 0.2 * unit, **sizes}
    for *line, look in graph.edges(data="look"):
        networkx.draw_networkx_edges(graph, at, [line], **arrows, **look)
    networkx.draw_networkx_edge_labels(graph, at, networkx.get_edge_attributes(graph, "label"), rotate=False, **font)
    return ax


def _graph(drawn: Network) -> Any:
    """Return the graph of the factors, which are numbers, and of the indices that do not join two of them, which are names."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(range(len(drawn.factors)))
    names = dict.fromkeys((*drawn.outputs, *drawn.inputs, *drawn.size))
    where = {index: [k for k, indices in enumerate(drawn.factors) if index in indices] for index in names}
    # Sizes of 1 come last, so that they add a line only where there is none.
    for index in sorted(where, key=lambda index: (drawn.size[index] == 1, where[index])):
        factors, is_trivial, is_input = where[index], drawn.size[index] == 1, index in drawn.inputs
        if len(factors) == 2 and not is_input and index not in drawn.outputs:
            if not graph.has_edge(*factors):
                look = {"edge_color": TRIVIAL if is_trivial else LINE, "arrowstyle": "-"}
                graph.add_edge(*factors, label=_label(drawn, index), look=look, weight=1.0)
            elif not is_trivial:
                graph.edges[factors]["label"] += f"\n{_label(drawn, index)}"
        elif not is_trivial:
            is_leg = len(factors) == 1 and index in (*drawn.outputs, *drawn.inputs)
            color = SHARED if not is_leg else LINE if not drawn.inputs else INPUT if is_input else OUTPUT
            arrow = {"style": "-" if is_leg else "--", "arrowstyle": "-|>" if is_leg and drawn.inputs else "-"}
            graph.add_node(index, color=color, is_leg=is_leg)
            lines = [(index, k) if is_input else (k, index) for k in factors]
            graph.add_edges_from(lines, look={"edge_color": color, **arrow}, weight=0.8 if is_leg else 2.0)
    return graph


def _layout(graph: Any) -> dict[Any, Any]:
    """Return the place of every node."""
    import networkx

    lines = graph.to_undirected()
    lines.add_edges_from(networkx.k_edge_augmentation(lines, 1), weight=1.0)  # parts that nothing joins are side by side
    body = lines.subgraph(node for node, is_leg in graph.nodes(data="is_leg") if not is_leg)
    ends = [node for node in body if body.degree[node] < 2]
    at: dict[Any, Any] = {}
    if not networkx.is_tree(body):
        start = networkx.planar_layout(lines) if networkx.is_planar(lines) else None
        at = networkx.kamada_kawai_layout(lines, pos=start)
        nearest = min(np.linalg.norm(at[one] - at[other]) for one, other in combinations(body, 2))
        return {node: place * STEP / nearest for node, place in at.items()}
    if len(ends) <= 2:
        for k, node in enumerate(networkx.dfs_preorder_nodes(body, ends[0])):
            at[node] = np.array([STEP * k, 0.0])
            for legs, up in ((graph.succ[node], REACH), (graph.pred[node], -REACH)):
                own = [leg for leg in legs if leg not in body]
                at |= {leg: at[node] + (LEAF * (n - (len(own) - 1) / 2), up) for n, leg in enumerate(own)}
        return at
    root, right = next((node for node in body if isinstance(node, str)), 0), 0.0
    depth = networkx.single_source_shortest_path_length(lines, root)
    for node in networkx.dfs_postorder_nodes(lines, root):
        below = [at[child][0] for child in lines[node] if child in at]
        at[node] = np.array([np.mean(below or right), -STEP * depth[node]])
        right += 0.0 if below else LEAF
    return at


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
