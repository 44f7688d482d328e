"""What every test shares: 64-bit JAX, repeatable hypothesis, and a check that no test leaves global state changed."""

import os

# One thread each: the tests' arrays are small, and spinning threads on a shared machine cost more than they give.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# TensorFlow reports its own optimizations as it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import hypothesis
import jax
import numpy as np
import pytest
import tensorly
import torch

collect_ignore = ["mutation.py"]  # a program, which needs the extra `mutation`
jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("default", deadline=None, max_examples=25)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=25, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def global_state_stays() -> None:
    before = _global_state()
    yield
    assert _global_state() == before


def _global_state() -> tuple:
    numpy_state = np.random.get_state()
    return (
        tensorly.get_backend(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        jax.config.jax_enable_x64,
        numpy_state[1].tobytes(),
        numpy_state[2],
    )
