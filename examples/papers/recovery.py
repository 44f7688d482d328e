"""Learn a matrix that is a picture from what it makes of random vectors, dense and in factors."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import tensorly_rnn as tlr
from learning.systems import System
from learning.training import Training
from papers.published import LAYERS, Layer, matrix

SIZE = 64
DENSE = "dense"
FORMATS = ("bt", "tt", "tr", "ht")
# The paper's block terms by the letters of its fig. 9, and in the other formats the rank whose count is next to theirs.
RANKS: dict[str, dict[str, Any]] = {
    "c": {"tt": 1, "tr": 1, "ht": (1, 1)},
    "d": {"tt": 4, "tr": (2, 2, 2), "ht": (4, 1)},
    "e": {"tt": 2, "tr": (2, 1, 2), "ht": (2, 1)},
    "f": {"tt": (1, 4, 5, 4, 1), "tr": (3, 4, 3, 4, 3), "ht": (5, 4)},
}
VARIANCE = 0.5
DIRECT_STARTS = 5


@dataclass(frozen=True)
class Case:
    """One panel of the figure: a letter of the paper's fig. 9, a format, and the layer to be trained."""

    panel: str
    format: str
    layer: Layer

    @property
    def name(self) -> str:
        """Its name."""
        return f"{self.panel}-{self.format}"


@dataclass(frozen=True)
class Recovery:
    """The task of learning a matrix from what it makes of random vectors, as `trials.Task`.

    Attributes
    ----------
    wanted : ndarray of shape (64, 64)
    layer : Layer
        What holds the matrix that is learnt.
    n_samples : int
    noise : float
        Standard deviation of what is added to x.
    seed : int
        Of the samples.
    """

    wanted: np.ndarray
    layer: Layer
    n_samples: int
    noise: float
    seed: int

    @cached_property
    def samples(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The noisy x and y, each of shape (samples, 64)."""
        return make_samples(self.wanted, self.n_samples, self.noise, self.seed)

    def make_model(self, system: System | None) -> nn.Module:
        """Make the untrained layer."""
        return self.layer.make()

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the layer."""
        return model

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean square error of some samples."""
        noisy, y = self.samples
        return nn.functional.mse_loss(model(noisy[share]), y[share])

    def watch(self, model: nn.Module) -> float:
        """Return the relative Frobenius error of the matrix."""
        return relative_error(dense_weight(model), self.wanted)

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return the error and the matrix."""
        return {"error": training.history[-1].watched}, dense_weight(training.model).tolist()


def cases() -> list[Case]:
    """Return all that is trained: the dense matrix, then every format at each of the paper's settings."""
    found = [Case("b", DENSE, LAYERS["matrix of fig. 9"])]
    for panel, ranks in RANKS.items():
        block_term = LAYERS[f"fig. 9 ({panel})"]
        modes = block_term.system.input_modes, block_term.system.hidden_modes
        found.append(Case(panel, "bt", block_term))
        found += [Case(panel, name, matrix(name, rank, *modes)) for name, rank in ranks.items()]
    return found


def make_picture() -> np.ndarray:
    """Draw W0, shape (64, 64): a ring and a cross on a ground that grows brighter along the diagonal."""
    row, column = np.mgrid[-1 : 1 : SIZE * 1j, -1 : 1 : SIZE * 1j]
    picture = (row + column) / 8
    radius = np.hypot(row + 0.35, column + 0.35)
    picture[(radius > 0.3) & (radius < 0.5)] = 1
    across, along = abs(row - 0.4), abs(column - 0.4)
    picture[(np.minimum(across, along) < 0.08) & (np.maximum(across, along) < 0.45)] = -1
    return picture.astype(np.float32)


def load_picture(path: Path | None) -> tuple[np.ndarray, str]:
    """Return W0 and where it is from.

    Raises
    ------
    ValueError
        If the file does not hold a finite 64 x 64 matrix.
    """
    if path is None:
        return make_picture(), "stand-in (ring and cross made here; the paper does not give its picture)"
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as reason:
        raise ValueError(f"--data must be a readable .npy file: {reason}") from None
    if found.shape != (SIZE, SIZE) or found.dtype.kind not in "fiu" or not np.isfinite(found).all() or not found.any():
        raise ValueError(
            f"--data must hold a {SIZE} x {SIZE} matrix of finite numbers, not all zero; got {found.dtype} {found.shape}"
        )
    return found.astype(np.float32), f"real ({path})"


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Return the relative Frobenius error."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def direct_error(case: Case, wanted: np.ndarray) -> float:
    """Return the relative error of decomposing the matrix itself, at the rank that is trained; 0 for the dense one."""
    system = case.layer.system
    if system is None:
        return 0.0
    modes = system.hidden_modes, system.input_modes
    found = tlr.factorize(wanted.astype(np.float64), case.format, modes, rank=system.rank, n_starts=DIRECT_STARTS)
    return float(found.relative_error(wanted.astype(np.float64)))


def make_samples(wanted: np.ndarray, samples: int, noise: float, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw x from N(0, 0.5), return it with noise of that standard deviation, and y = W0 x of x without."""
    rng = np.random.default_rng(seed)
    x = rng.normal(scale=VARIANCE**0.5, size=(samples, SIZE))
    noisy = x + rng.normal(scale=noise, size=x.shape)
    return torch.from_numpy(noisy.astype(np.float32)), torch.from_numpy((x @ wanted.T).astype(np.float32))


def dense_weight(model: nn.Module) -> np.ndarray:
    """Return the matrix of a linear layer, dense or in factors."""
    with torch.no_grad():
        linear = model if isinstance(model, nn.Linear) else model.to_linear()
        return linear.weight.numpy().copy()
