"""What the user hears of an iteration, and whether it shall go on."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Callback = Callable[[list[Any], float], Any]


@dataclass
class Progress:
    """Tell of every iteration, and remember if the user asked to stop.

    Parameters
    ----------
    callback : callable, optional
        Called as ``callback(factors, error)``, with the relative error, after every iteration, in every start; stops all of
        them by returning True, as in TensorLy.
    verbose : bool
        Whether to write one line an iteration, and one a start, to standard error.
    """

    callback: Callback | None = None
    verbose: bool = False
    stopped: bool = field(default=False, init=False)
    #: Whether there has been an iteration.
    told: bool = field(default=False, init=False)
    _iteration: int = field(default=0, init=False)

    @property
    def watched(self) -> bool:
        """Whether anybody listens."""
        return self.verbose or self.callback is not None

    def begin(self, what: str) -> None:
        """Announce a start, or another part of the work, and count its iterations from 1."""
        self._iteration = 0
        if self.verbose:
            _write(what)

    def tell(self, factors: list[Any], error: float) -> bool:
        """Tell of one iteration; return whether to stop."""
        self._iteration += 1
        self.told = True
        if self.verbose:
            _write(f"  iteration {self._iteration}: relative error {error:.6e}")
        if self.callback is not None and self.callback(factors, error) is True:
            self.stopped = True
        return self.stopped


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
