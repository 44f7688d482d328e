"""Several threads at once, each with a backend of its own, come to what one thread comes to."""

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import tensorly
import torch

import tensorly_rnn as tlr
from tensorly_rnn import nn, recurrent
from tensorly_rnn._memoize import clear_caches, memoize
from tensorly_rnn.network.network import apply_plan
from tensorly_rnn.testing import get_backend
from tests.cases import CASES

SHAPE = ((2, 3), (3, 5))
W = np.random.default_rng(0).normal(size=(6, 15))
X = np.random.default_rng(1).normal(size=(7, 15))


@pytest.fixture(autouse=True)
def often():
    """Let threads take turns a hundred times as often as they do by default."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def everything(name: str, format: str) -> list[np.ndarray]:
    """Return the results of typical use of one format on one backend, as NumPy arrays."""
    backend = get_backend(name)
    weight, x = backend.array(W), backend.array(X)
    f = tlr.factorize(weight, format, SHAPE, 2, n_iter_max=3)
    y, pull_back = f.vjp(x)
    of_factors, of_x = pull_back(y)
    drawn = type(f).random(SHAPE, 2, random_state=0, like=weight)
    layer = recurrent.GRU.random(15, 4, factorization=format, rank=2, random_state=0, like=weight)
    output, _, _ = layer.forward(x)
    found = [*f.factors, y, *of_factors, of_x, f.to_matrix(), (drawn + drawn).to_matrix(), drawn.norm(), f.apply(x), output]
    assert f.plan(7) == apply_plan(f.network, 7)
    return [backend.to_numpy(one) for one in found]


def at_once(*jobs: Callable[[], Any]) -> list[Any]:
    """Results of functions that begin at the same moment, each in a thread of its own."""
    barrier = Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result(timeout=120) for future in [pool.submit(run, job) for job in jobs]]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for one, two in zip(found, expected):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    "jobs",
    [
        *([("numpy", case.name), ("pytorch", case.name)] for case in CASES),
        pytest.param([(name, "ht") for name in ("numpy", "pytorch", "jax", "numpy_read_only")], marks=pytest.mark.slow),
        [("numpy", case.name) for case in CASES],
    ],
    ids=str,
)
def test_backends_and_formats_at_once(jobs):
    expected = [everything(*job) for job in jobs]
    for _ in range(3):
        clear_caches()
        for found, alone in zip(at_once(*(lambda job=job: everything(*job) for job in jobs)), expected):
            assert_equal(found, alone)


def test_the_backend_that_a_thread_has_chosen_is_left_alone():
    expected = everything("numpy", "tt")

    def inside(chosen: str) -> tuple[str, list[np.ndarray]]:
        tensorly.set_backend(chosen, local_threadsafe=True)
        found = everything("numpy", "tt")
        return tensorly.get_backend(), found

    for (chosen, found), name in zip(at_once(lambda: inside("pytorch"), lambda: inside("jax")), ("pytorch", "jax")):
        assert chosen == name
        assert_equal(found, expected)
    assert tensorly.get_backend() == "numpy"


def test_measuring_orders_while_others_plan():
    f = tlr.HTMatrix.random(((2, 3, 2), (3, 5, 2)), 3, random_state=0)
    x = np.random.default_rng(0).normal(size=(64, 30))
    expected = f.apply(x)

    def applied() -> list[np.ndarray]:
        return [f.apply(x) for _ in range(50)]

    _, *found = at_once(lambda: f.plan(64, tune=True), applied, applied, applied)
    for one in chain(*found):
        np.testing.assert_allclose(one, expected, rtol=1e-12)
    assert f.plan(64) == f.plan(64)
    clear_caches()


def test_modules_train_at_once():
    def trained(seed: int) -> list[np.ndarray]:
        module = nn.FactorizedLinear(15, 6, factorization="bt", rank=2, dtype=torch.float64)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
        optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
        for _ in range(5):
            optimizer.zero_grad()
            module(torch.tensor(X)).square().sum().backward()
            optimizer.step()
        return [parameter.detach().numpy() for parameter in module.parameters()]

    expected = [trained(seed) for seed in range(4)]
    clear_caches()
    for found, alone in zip(at_once(*(lambda seed=seed: trained(seed) for seed in range(4))), expected):
        assert_equal(found, alone)


@pytest.mark.slow
def test_backends_loaded_for_the_first_time_at_once():
    code = """
        import sys
        from concurrent.futures import ThreadPoolExecutor
        from threading import Barrier
        import jax, numpy as np, torch
        import tensorly_rnn as tlr
        sys.setswitchinterval(1e-5)
        barrier = Barrier(6)

        def first(array):
            barrier.wait()
            f = tlr.factorize(array, "tt", ((2, 3), (3, 5)), 2)
            return type(f.factors[0]).__module__.partition(".")[0], f.relative_error(array)

        W = np.random.default_rng(0).normal(size=(6, 15)).astype("float32")
        arrays = [jax.numpy.asarray(W), torch.tensor(W), W] * 2
        with ThreadPoolExecutor(6) as pool:
            found = list(pool.map(first, arrays))
        assert [name for name, _ in found] == ["jaxlib", "torch", "numpy"] * 2, found
        assert np.ptp([error for _, error in found]) < 1e-5, found
        assert not jax.config.jax_enable_x64
        import tensorly
        assert tensorly.get_backend() == "numpy"
        print("the same")
    """
    environment = {key: value for key, value in os.environ.items() if key != "JAX_ENABLE_X64"}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "the same\n"


def test_what_was_planned_before_an_order_was_preferred_is_not_seen_after():
    answers = iter(("before", "after"))

    @memoize
    def slow(key: str) -> str:
        answer = next(answers)
        if answer == "before":
            clear_caches()  # as a thread that measures does meanwhile
        return answer

    assert slow("key") == "before"
    assert slow("key") == "after"
