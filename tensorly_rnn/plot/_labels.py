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

    def place(self, width: float, spots: Iterable[Any]) -> Any:
        """Return the first of the spots with the least ink below a label of that width, and keep it free."""
        half = np.array([width, HEIGHT]) / 2 + 0.03
        listed = list(spots)
        covered = [(np.abs(self._points - spot) <= half).all(axis=1).sum() for spot in listed]
        best = listed[int(np.argmin(covered))]
        grid = np.stack(np.meshgrid(*(np.linspace(-one, one, 9) for one in half)), -1).reshape(-1, 2)
        self.add(best + grid)
        return best

    @property
    def bounds(self) -> tuple[Any, Any]:
        """The lower left and the upper right corner of all."""
        return self._points.min(axis=0), self._points.max(axis=0)


def width_of(text: str) -> float:
    """Estimate the width of a label, mathematical signs apart."""
    return 0.6 * HEIGHT * sum(character not in "$_{}\\" for character in text)
