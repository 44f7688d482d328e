"""Backends under test: conversion from and to NumPy arrays."""

import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from tensorly.backend import BackendManager

from tensorly_rnn._checks import one_of

# Names of the backends and their modules: TensorLy's, and NumPy with read-only arrays.
MODULES = {
    "numpy": "numpy",
    "numpy_read_only": "numpy",
    "pytorch": "torch",
    "jax": "jax",
    "tensorflow": "tensorflow",
    "paddle": "paddle",
    "cupy": "cupy",
}


@dataclass(frozen=True)
class Backend:
    """A backend under test."""

    #: TensorLy's name; ``'numpy_read_only'`` makes arrays that raise when they are written to.
    name: str
    #: Makes an array of the backend from a NumPy array, of the same dtype.
    array: Callable[[np.ndarray], Any]
    #: Makes a NumPy array from it.
    to_numpy: Callable[[Any], np.ndarray]
    #: Type of the backend's arrays.
    kind: type[Any]
    #: Whether every shape is compiled: laws then draw few examples from a fixed pool of shapes.
    slow: bool = False

    def __str__(self) -> str:
        return self.name


def get_backend(name: str) -> Backend:
    """Return a backend by name; its framework is imported now.

    Parameters
    ----------
    name : {'numpy', 'numpy_read_only', 'pytorch', 'jax', 'tensorflow', 'paddle', 'cupy'}

    Raises
    ------
    TypeError, ValueError
        If there is no such backend, or JAX computes in single precision.
    ImportError
        If its framework is not installed.

    Examples
    --------
    >>> get_backend("numpy_read_only").array(np.zeros(2)).flags.writeable
    False
    """
    return _loaded(one_of("name", name, tuple(MODULES)))


@cache
def _loaded(name: str) -> Backend:
    try:
        framework = importlib.import_module(MODULES[name])
        # Loading TensorLy's JAX backend would turn double precision on for the whole process.
        if name == "jax" and not framework.config.jax_enable_x64:
            raise ValueError(
                "name must be a backend that computes in double precision; expected float64, got JAX in float32. "
                "Call jax.config.update('jax_enable_x64', True) first."
            )
        backend = BackendManager.load_backend("numpy" if name == "numpy_read_only" else name)
    except ImportError as error:
        raise ImportError(f"name must be an installed backend; got {name!r} and {error}. Install it.") from error

    def array(values: np.ndarray) -> Any:
        return backend.tensor(np.array(values))

    return Backend(
        name=name,
        array=_read_only if name == "numpy_read_only" else array,
        # TensorFlow converts arrays without axes to scalars.
        to_numpy=lambda array: np.asarray(backend.to_numpy(array)),
        kind=type(array(np.zeros(1))),
        slow=name == "jax",
    )


def installed_backends() -> tuple[str, ...]:
    """Return the names of the backends whose framework is installed; none is imported.

    Examples
    --------
    >>> installed_backends()[:2]
    ('numpy', 'numpy_read_only')
    """
    return tuple(name for name, module in MODULES.items() if importlib.util.find_spec(module) is not None)


def _read_only(values: np.ndarray) -> np.ndarray:
    frozen = np.array(values)
    frozen.flags.writeable = False
    return frozen
