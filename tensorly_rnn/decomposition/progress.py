"""Report the iterations of a fit, and stop it at the user's request."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Callback = Callable[[list[Any], float], Any]


@dataclass
class Progress:
    """Report every iteration, and record whether the callback stopped the fit."""

    #: Called as ``callback(factors, error)``, with the relative error; True stops the iterations of all starts.
    callback: Callback | None = None
    #: Whether to write one line for each iteration and each start to standard error.
    verbose: bool = False
    stopped: bool = field(default=False, init=False)
    #: Whether there has been an iteration.
    told: bool = field(default=False, init=False)
    _iteration: int = field(default=0, init=False)

    @property
    def watched(self) -> bool:
        """Whether iterations are reported at all."""
        return self.verbose or self.callback is not None

    def begin(self, what: str) -> None:
        """Begin a start, or another part of the work, and count its iterations from 1."""
        self._iteration = 0
        if self.verbose:
            _write(what)

    def tell(self, factors: list[Any], error: float) -> bool:
        """Report one iteration; return whether to stop."""
        self._iteration += 1
        self.told = True
        if self.verbose:
            _write(f"  iteration {self._iteration}: relative error {error:.6e}")
        if self.callback is not None and self.callback(factors, error) is True:
            self.stopped = True
        return self.stopped


def _write(line: str) -> None:
    sys.stderr.write(f"{line}\n")
