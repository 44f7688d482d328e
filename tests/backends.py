"""The backends under test: those named in the environment variable TEST_BACKENDS, separated by commas.

TensorFlow and Paddle cannot share a process, so neither is among the defaults. NumPy is tested with read-only arrays: a function
that works on those works on all NumPy arrays. CuPy is skipped where it is not installed.
"""

import os
import warnings

import numpy as np
import pytest

from tensorly_rnn._backend import backend_name
from tensorly_rnn.testing import Backend, get_backend

CHOSEN = tuple(os.environ.get("TEST_BACKENDS", "numpy_read_only,pytorch,jax,cupy").split(","))


def _found(name: str) -> Backend | None:
    with warnings.catch_warnings():
        # Frameworks warn about their own dependencies while they are imported.
        warnings.simplefilter("ignore")
        try:
            return get_backend(name)
        except Exception:  # no CuPy, or no GPU
            if name == "cupy":
                return None
            raise


BACKENDS = tuple(filter(None, map(_found, CHOSEN)))

# Where every shape is compiled, a case is slow; the laws have some in the default tier.
every_backend = pytest.mark.parametrize(
    "backend", [pytest.param(one, marks=pytest.mark.slow if one.slow else ()) for one in BACKENDS], ids=str
)


def to_numpy(array):
    name = backend_name(array)
    return np.asarray(array) if name is None else get_backend(name).to_numpy(array)
