"""Where labels find room: beside lines, circles and one another."""

from collections.abc import Iterable
from typing import Any

import numpy as np

#: Height of a label, in the picture's unit of length; a character takes about half as much.
HEIGHT = 0.2


class Ink:
    """What has been drawn so far, as a cloud of points."""

    def __init__(self) -> None:
        self._points = np.empty((0, 2))

    def add(self, points: Any) -> None:
        """Keep labels away from these points, shape (n, 2)."""
        self._points = np.concatenate([self._points, points])

    def place(self, width: float, spots: Iterable[Any], own: Any = None) -> Any:
        """Return the first of the spots with the least ink, the label's own line apart, and keep it free."""
        half = half_of(width)
        listed = list(spots)
        covered = [inside(self._points, spot, half).sum() for spot in listed]
        if own is not None:
            covered = [count - inside(own, spot, half).sum() for count, spot in zip(covered, listed)]
        best = listed[int(np.argmin(covered))]
        grid = np.stack(np.meshgrid(*(np.linspace(-one, one, 9) for one in half)), -1).reshape(-1, 2)
        self.add(best + grid)
        return best

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The lower left and the upper right corner of all."""
        return self._points.min(axis=0), self._points.max(axis=0)


def half_of(width: float) -> Any:
    """Return half the width and height of a label, with a margin."""
    return np.array([width, HEIGHT]) / 2 + 0.03


def inside(points: Any, spot: Any, half: Any) -> Any:
    """Return which of the points, shape (n, 2), a box around a spot holds."""
    return (np.abs(points - spot) <= half).all(axis=1)


def width_of(text: str) -> float:
    """Estimate the width of a label, mathematical signs apart; an equals sign has room on both sides."""
    return 0.6 * HEIGHT * (sum(character not in "$_{}" for character in text) + text.count("="))
