"""The backends under test: how a NumPy array becomes one of theirs and comes back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch


def _read_only(array: np.ndarray) -> np.ndarray:
    frozen = np.array(array)
    frozen.flags.writeable = False
    return frozen


@dataclass(frozen=True)
class Backend:
    name: str
    array: Callable[[np.ndarray], Any]
    kind: type
    # JAX compiles anew for every shape: it gets a small fixed pool of them and few examples.
    slow: bool = False

    def __str__(self) -> str:
        return self.name


BACKENDS = (
    Backend("numpy", np.array, np.ndarray),
    Backend("numpy_read_only", _read_only, np.ndarray),
    Backend("pytorch", lambda array: torch.tensor(np.array(array)), torch.Tensor),
    Backend("jax", jnp.asarray, jnp.ndarray, slow=True),
)


def to_numpy(array: Any) -> np.ndarray:
    return array.detach().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)
