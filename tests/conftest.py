"""Shared by all tests: the tiers, one thread a process, 64-bit JAX, Hypothesis profiles, and a check of global state."""

import os

# The tests' arrays are small, and two test processes share the cores. Set before the libraries read it.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# TensorFlow reports its own optimizations as it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
import tensorly
import torch

collect_ignore = ["mutation.py"]  # a program, which needs the extra `mutation`
jax.config.update("jax_enable_x64", True)

hypothesis.settings.register_profile("default", deadline=None, max_examples=10)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=10, derandomize=True)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests as well")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.all and config.option.markexpr == "not slow":
        config.option.markexpr = ""


#: Of more than five seconds; other slow tests are marked where they are, which doctests cannot be.
SLOW_DOCTESTS = ("tensorly_rnn/decomposition/best_format.py", "tensorly_rnn/testing/laws.py")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SLOW_DOCTESTS):
            item.add_marker("slow")


@pytest.fixture(autouse=True)
def global_state_is_unchanged() -> Iterator[None]:
    before = _global_state()
    yield
    assert _global_state() == before


@pytest.fixture
def examples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the example programs and their modules importable."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "examples"))


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
