"""The lines and labels of a network's picture, before anything is drawn."""

import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tensorly_rnn.network.network import Network
from tensorly_rnn.plot._labels import HEIGHT, Ink, half_of, inside, width_of
from tensorly_rnn.plot._layout import RADIUS, Graph, Layout, Vertex

#: Radius of the dot of an index that other than two factors share.
DOT = 0.07
# Of a leg, from the rim of its circle.
LEG = 0.62
# Where along a line its label may stand, the best first.
SHARES = (0.5, 0.45, 0.55, 0.4, 0.6, 0.35, 0.65, 0.3, 0.7, 0.25, 0.75)


@dataclass(frozen=True)
class Line:
    """An index as a curve, shape (n, 2), from the middle of a circle or dot to another or, for a leg, outwards."""

    index: str
    points: Any


@dataclass(frozen=True)
class Sketch:
    """All that is drawn: curves of summed indices and of open ones, labels with the middles of their places, and bounds."""

    joints: list[Line]
    legs: list[Line]
    labels: list[tuple[str, str, Any]]
    low: Any
    high: Any


def sketch(network: Network, graph: Graph, layout: Layout) -> Sketch:
    """Return the lines of a network laid out, with a place for the label of each index."""
    joints = list(_joints(graph, layout))
    legs = list(_legs(network, graph, layout, joints))
    ink = Ink()
    for line in (*joints, *legs):
        ink.add(line.points)
    rim = np.linspace(0, 2 * math.pi, 48)
    circle = np.stack([np.cos(rim), np.sin(rim)], axis=-1)
    for vertex, place in layout.at.items():
        for share in (0.5, 1.0):
            ink.add(place + share * (RADIUS if isinstance(vertex, int) else DOT) * circle)
    labels = []
    for leg in legs:
        text = label_of(network, leg.index)
        labels.append((leg.index, text, ink.place(width_of(text), _beyond(leg.points, width_of(text)))))
    for number, line in enumerate(joints):
        if line.index in graph.dots:
            continue
        text = label_of(network, line.index)
        width = width_of(text)
        on_line = _on(line.points, width)
        if on_line:
            place = ink.place(width, on_line, own=line.points)
            joints[number] = Line(
                line.index, np.where(inside(line.points, place, half_of(width))[:, None], np.nan, line.points)
            )
        else:
            place = ink.place(width, _beside(line.points, width))
        labels.append((line.index, text, place))
    for index in graph.dots:
        if index not in graph.legs:
            text = label_of(network, index)
            labels.append((index, text, ink.place(width_of(text), _around(layout.at[index], width_of(text)))))
    return Sketch(joints, legs, labels, *ink.bounds)


def _joints(graph: Graph, layout: Layout) -> Iterator[Line]:
    """The lines of summed indices; several between the same two are arcs."""
    ends: list[tuple[str, Vertex, Vertex]] = [(index, min(pair), max(pair)) for index, pair in graph.pairs.items()]
    ends += [(index, index, number) for index, found in graph.dots.items() for number in found]
    total = Counter((left, right) for _, left, right in ends)
    seen: Counter[tuple[Vertex, Vertex]] = Counter()
    for index, left, right in ends:
        bend = 0.7 * (seen[left, right] - (total[left, right] - 1) / 2)
        seen[left, right] += 1
        yield Line(index, _arc(layout.at[left], layout.at[right], bend))


def _arc(start: Any, end: Any, bend: float) -> Any:
    share = np.linspace(0, 1, 60)[:, None]
    along = end - start
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    return start + share * along + 4 * bend * share * (1 - share) * across


def _legs(network: Network, graph: Graph, layout: Layout, joints: list[Line]) -> Iterator[Line]:
    """The lines of open indices: up and down from a line, down from a leaf, else into the widest gap between other lines."""
    for vertex in dict.fromkeys(graph.legs.values()):
        outputs = [index for index in network.outputs if graph.legs.get(index) == vertex]
        inputs = [index for index in network.inputs if graph.legs.get(index) == vertex]
        if layout.shape == "line":
            fans = [(outputs, math.pi / 2), (inputs[::-1], -math.pi / 2)]
        else:
            # Where they point down, outputs come first from the left.
            middle = _gap(layout.at[vertex], joints, layout.shape == "tree")
            together = [*outputs, *inputs]
            fans = [(together if math.sin(middle) < 0 else together[::-1], middle)]
        rim = RADIUS if isinstance(vertex, int) else DOT
        for indices, middle in fans:
            for k, index in enumerate(indices):
                angle = middle + math.radians(58) * (k - (len(indices) - 1) / 2)
                reach = np.linspace(0 if rim == DOT else rim, rim + LEG, 30)[:, None]
                yield Line(index, layout.at[vertex] + reach * np.array([math.cos(angle), math.sin(angle)]))


def _gap(place: Any, joints: list[Line], down: bool) -> float:
    """Return the angle in the middle of the widest gap between the lines that meet at a place; down if that is free."""
    angles = []
    for line in joints:
        for points in (line.points, line.points[::-1]):
            if np.allclose(points[0], place):
                ahead = points[10] - place
                angles.append(math.atan2(ahead[1], ahead[0]))
    if not angles or (down and min(angles) > 0):
        return -math.pi / 2
    angles.sort()
    gaps = np.diff([*angles, angles[0] + 2 * math.pi])
    # Of gaps that are equal up to rounding, the first.
    widest = int(np.argmax(gaps > gaps.max() - 1e-6))
    return float(angles[widest] + gaps[widest] / 2)


def _beyond(points: Any, width: float) -> Iterator[Any]:
    """Places of a label after the end of a line."""
    ahead = points[-1] - points[-2]
    ahead = ahead / np.linalg.norm(ahead)
    size = np.array([width, HEIGHT]) / 2
    for further in (0.06, 0.16, 0.3):
        yield points[-1] + ahead * further + np.sign(ahead.round(6)) * size * np.abs(ahead)


def _on(points: Any, width: float) -> list[Any]:
    """Places of a label in a gap of its line; none where that would leave too little of it."""
    visible = (np.linalg.norm(points - points[0], axis=1) > RADIUS) & (np.linalg.norm(points - points[-1], axis=1) > RADIUS)
    spots = [points[round(share * (len(points) - 1))] for share in SHARES]
    return spots if inside(points, spots[0], half_of(width)).sum() <= 0.55 * visible.sum() else []


def _beside(points: Any, width: float) -> Iterator[Any]:
    """Places of a label along a line, on both sides, the middle first."""
    for share in SHARES:
        at = round(share * (len(points) - 1))
        along = points[at + 1] - points[at - 1]
        across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
        # Above a line before below it.
        across = across if across[1] > 1e-9 or (abs(across[1]) <= 1e-9 and across[0] > 0) else -across
        room = np.abs(across) @ np.array([width, HEIGHT]) / 2 + 0.06
        for side in (1, -1):
            yield points[at] + side * room * across


def _around(place: Any, width: float) -> Iterator[Any]:
    """Places of a label around a dot."""
    for radius in (DOT + 0.08, DOT + 0.16):
        for angle in np.arange(16) * math.pi / 8:
            ahead = np.array([math.cos(angle), math.sin(angle)])
            yield place + ahead * radius + ahead * np.array([width, HEIGHT]) / 2


def label_of(network: Network, index: str) -> str:
    """The label of an index and its size: ``m_k`` and ``n_k`` for rows and columns named as usual, else its own name."""
    size = network.size[index]
    mode, usual = re.fullmatch(r"[ij](\d+)", index), re.fullmatch(r"([A-Za-z])(\d*)", index)
    if mode and index in (*network.outputs, *network.inputs):
        letter = "m" if network.inputs and index in network.outputs else "n"
        return f"${letter}_{{{mode[1]}}}={size}$"
    if usual:
        return f"${usual[1]}{f'_{{{usual[2]}}}' if usual[2] else ''}={size}$"
    return f"{index} = {size}"
