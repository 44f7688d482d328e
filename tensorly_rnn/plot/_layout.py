"""Where the factors of a network stand in a picture: found from its graph alone."""

import math
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from tensorly_rnn.network.network import Network

#: Radius of a factor's circle, the unit of length being that of the picture.
RADIUS = 0.32
#: Least distance of two factors.
STEP = 1.5

# A factor's number or the name of an index that is drawn as a dot.
Vertex = int | str
Shape = Literal["line", "circle", "star", "tree", "other"]


@dataclass(frozen=True)
class Graph:
    """The indices of a network by what they look like.

    Attributes
    ----------
    pairs : dict of str to (int, int)
        Summed indices that join two factors.
    dots : dict of str to tuple of int
        Indices with any other number of factors; an open one that several share is among them.
    legs : dict of str to int or str
        Open indices by the factor or the dot that they leave.

    Notes
    -----
    An index of size 1 says nothing; it is there only where nothing else joins two factors.
    """

    pairs: dict[str, tuple[int, int]]
    dots: dict[str, tuple[int, ...]]
    legs: dict[str, Vertex]


@dataclass(frozen=True)
class Layout:
    """Positions of the factors and dots of a graph, and the shape that was recognized."""

    shape: Shape
    at: dict[Vertex, Any]


def graph_of(network: Network) -> Graph:
    """Return which indices of a network are edges, dots and legs."""
    opened = (*network.outputs, *network.inputs)
    places: dict[str, list[int]] = {}
    for number, indices in enumerate(network.factors):
        for index in indices:
            places.setdefault(index, []).append(number)
    pairs: dict[str, tuple[int, int]] = {}
    dots: dict[str, tuple[int, ...]] = {}
    for index, found in places.items():
        if index not in opened and len(found) == 2 and found[0] != found[1]:
            pairs[index] = (found[0], found[1])
        elif network.size[index] > 1 and (index not in opened or len(found) > 1):
            dots[index] = tuple(found)
    wide = {frozenset(pair) for index, pair in pairs.items() if network.size[index] > 1}
    pairs = {index: pair for index, pair in pairs.items() if network.size[index] > 1 or frozenset(pair) not in wide}
    legs = {index: index if index in dots else places[index][0] for index in opened if network.size[index] > 1}
    return Graph(pairs, dots, legs)


def layout_of(network: Network, graph: Graph, label: float) -> Layout:
    """Return positions by the shape of the graph.

    A path that begins at factor 0 is a line; a loop through all factors a circle; factors around one in the middle a star;
    any other tree stands in levels below factor 0; all else is laid out by Kamada and Kawai's algorithm.
    """
    import networkx

    links = networkx.Graph()
    links.add_nodes_from(range(len(network.factors)))
    # Sorted, so that walks follow the factors' order.
    links.add_edges_from(sorted(graph.pairs.values()))
    if not networkx.is_connected(links):
        links.add_edges_from((number, index) for index, found in graph.dots.items() for number in found)
    # What is apart stands side by side.
    firsts = sorted(min(one for one in part if isinstance(one, int)) for part in networkx.connected_components(links))
    links.add_edges_from(pairwise(firsts))
    # What joins all has its place beside the middle of a star.
    hubs = [index for index, found in graph.dots.items() if index not in links and set(found) == set(links)]
    shape, at = _arranged(networkx, links, hubs, label, max(Counter(graph.legs.values()).values(), default=0))
    edges = [(at[left], at[right]) for left, right in graph.pairs.values()]
    # The arrows above and below a line.
    taken = [at[vertex] + [0, way] for vertex in links for way in (-0.7, 0.7)] if shape == "line" else []
    for index, found in graph.dots.items():
        if index not in at:
            at[index] = _dot(at, edges, taken, found)
    return Layout(shape, at)


def _arranged(networkx: Any, links: Any, hubs: list[str], label: float, n_legs: int) -> tuple[Shape, dict[Vertex, Any]]:
    count = len(links)
    degrees = dict(links.degree)
    tree = networkx.is_tree(links)
    walk = list(networkx.dfs_preorder_nodes(links, 0))
    if tree and max(degrees.values()) <= 2 and degrees[0] <= 1:
        return "line", {vertex: np.array([max(STEP, label + 0.15) * k, 0.0]) for k, vertex in enumerate(walk)}
    if set(degrees.values()) == {2}:
        return "circle", _circle(walk)
    if tree and count > 3 and max(degrees.values()) == count - 1:
        middle = max(degrees, key=lambda vertex: degrees[vertex])
        around = [vertex for vertex in links if vertex != middle]
        placed = _circle(around, least=(1.7 if hubs else 1.35) * STEP)
        reach = 0.4 * float(np.linalg.norm(placed[around[0]])) if hubs else 0.0
        across = np.linspace(-reach, reach, 1 + len(hubs)) if hubs else [0.0]
        return "star", {vertex: np.array([x, 0.0]) for vertex, x in zip((middle, *hubs), across)} | placed
    if tree:
        # Legs stand apart, and their labels further: see `_legs` and `_beyond` of the sketch.
        return "tree", _levels(networkx, links, max(STEP, 1.15 + 1.5 * label if n_legs > 1 else label + 0.15))
    flat = networkx.check_planarity(links)[0]
    at = networkx.kamada_kawai_layout(links, pos=networkx.planar_layout(links) if flat else None)
    points = np.array(list(at.values()))
    distances = np.linalg.norm(points[:, None] - points, axis=-1)[np.triu_indices(count, 1)]
    # The first edge lies flat.
    x, y = (at[walk[1]] - at[walk[0]]) / math.dist(at[walk[1]], at[walk[0]])
    turn = np.array([[x, y], [-y, x]]) * STEP / distances.min()
    return "other", {vertex: turn @ point for vertex, point in at.items()}


def _circle(walk: list[Vertex], least: float = 0.0) -> dict[Vertex, Any]:
    """Clockwise; a gap between two on top, so that the first comes right of it."""
    count = len(walk)
    radius = max(STEP / (2 * math.sin(math.pi / count)), least)
    angles = math.pi / 2 + math.pi / count - 2 * math.pi * np.arange(count) / count
    return {vertex: radius * np.array([math.cos(angle), math.sin(angle)]) for vertex, angle in zip(walk, angles)}


def _levels(networkx: Any, links: Any, step: float) -> dict[Vertex, Any]:
    """One level a distance from factor 0; leaves beside one another, every other one above the middle of those below."""
    depths = networkx.single_source_shortest_path_length(links, 0)
    below = dict(networkx.bfs_successors(links, 0))
    across: dict[Vertex, float] = {}
    n_leaves = 0
    for vertex in networkx.dfs_postorder_nodes(links, 0):
        if vertex in below:
            across[vertex] = sum(across[one] for one in below[vertex]) / len(below[vertex])
        else:
            across[vertex] = step * n_leaves
            n_leaves += 1
    return {vertex: np.array([across[vertex], -STEP * depths[vertex]]) for vertex in across}


def _dot(at: dict[Vertex, Any], edges: list[tuple[Any, Any]], taken: list[Any], joined: tuple[int, ...]) -> Any:
    """Return where the lines to all that are joined keep clear of other factors, near to them."""
    points = np.array(list(at.values()))
    low, high = points.min(axis=0) - STEP / 2, points.max(axis=0) + STEP / 2
    spots = np.stack(np.meshgrid(*(np.linspace(a, b, 1 + round((b - a) / 0.1)) for a, b in zip(low, high))), -1).reshape(-1, 2)
    ends = np.array([at[number] for number in joined])
    numbers = list(at)
    clear = np.full(len(spots), np.inf)
    for number, end in zip(joined, ends):
        others = points[[other != number for other in numbers]]
        if len(others):
            # (spots, others)
            clear = np.minimum(clear, _to_segment(others, spots[:, None], end).min(axis=1))
    clear = np.minimum(clear, np.linalg.norm(spots[:, None] - [*points, *taken], axis=-1).min(axis=1) - RADIUS / 2)
    for left, right in edges:
        clear = np.minimum(clear, 0.2 + _to_segment(spots, left, right))
    lengths = np.linalg.norm(spots[:, None] - ends, axis=-1).mean(axis=1)
    return spots[np.argmin(10 * np.maximum(1.7 * RADIUS - clear, 0) + lengths)]


def _to_segment(points: Any, start: Any, end: Any) -> Any:
    """Return the distances of points from segments, all of shape (..., 2)."""
    along = end - start
    share = ((points - start) * along).sum(-1) / np.maximum((along * along).sum(-1), 1e-12)
    return np.linalg.norm(points - start - np.clip(share, 0, 1)[..., None] * along, axis=-1)
