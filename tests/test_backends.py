"""The backend comes from the arrays; nothing global is read or changed."""

import subprocess
import sys
import textwrap
import threading
import time

import jax
import numpy as np
import pytest
import tensorly
import torch

import tensorly_rnn as tlr
from tensorly_rnn import _backend


def run(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_importing_imports_no_framework():
    found = run("""
        import sys, tensorly_rnn
        print([name for name in ("torch", "jax", "tensorflow", "paddle", "matplotlib") if name in sys.modules])
    """)
    assert found == "[]"


def test_importing_the_layers_leaves_the_backend_and_torch_as_they_were():
    found = run("""
        import torch, tensorly
        before = (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed())
        import tensorly_rnn.nn
        print(tensorly.get_backend(), before == (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed()))
    """)
    assert found == "numpy True"


def test_jax_keeps_its_own_choice_of_precision():
    found = run("""
        import jax, jax.numpy as jnp, numpy as np, tensorly_rnn as tlr
        f = tlr.factorize(jnp.asarray(np.random.default_rng(0).normal(size=(6, 6))), "ht", ((2, 3), (3, 2)), "full")
        print(jax.config.jax_enable_x64, f.factors[0].dtype, bool(f.relative_error(jnp.asarray(f.to_matrix())) < 1e-6))
    """)
    assert found == "False float32 True"


def test_two_threads_use_two_backends():
    dense = np.random.default_rng(0).normal(size=(6, 15))
    kinds = {}

    def work(name, array):
        for _ in range(20):
            f = tlr.factorize(array, "tt", ((2, 3), (3, 5)), "full")
            kinds.setdefault(name, set()).add(type(f.apply(array)))

    threads = [threading.Thread(target=work, args=arguments) for arguments in (("a", dense), ("b", torch.tensor(dense)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kinds == {"a": {np.ndarray}, "b": {torch.Tensor}}
    assert tensorly.get_backend() == "numpy"


def test_two_threads_that_load_jax_at_once_leave_its_precision(monkeypatch):
    def load(name):
        jax.config.update("jax_enable_x64", True)
        time.sleep(0.1)

    monkeypatch.setattr(_backend, "_LOADED", {})
    monkeypatch.setattr(_backend.BackendManager, "load_backend", load)
    threads = [threading.Thread(target=_backend._load.__wrapped__, args=("jax",)) for _ in range(2)]
    jax.config.update("jax_enable_x64", False)
    try:
        for thread in threads:
            thread.start()
            time.sleep(0.03)
        for thread in threads:
            thread.join()
        assert not jax.config.jax_enable_x64
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("array", [[[1.0]], 1.0, np.float64(1.0), None, "matrix"], ids=repr)
def test_what_is_no_array_is_named(array):
    with pytest.raises(TypeError, match="^matrix must be an array of a TensorLy backend; expected one of"):
        tlr.factorize(array, "tt", ((1,), (1,)), 1)


def test_subclasses_belong_to_their_backend():
    class Mine(np.ndarray):
        pass

    dense = np.random.default_rng(0).normal(size=(6, 15)).view(Mine)
    assert tlr.factorize(dense, "tt", ((2, 3), (3, 5)), "full").relative_error(dense) < 1e-13
    parameter = torch.nn.Parameter(torch.tensor(np.array(dense)))
    f = tlr.factorize(parameter, "tt", ((2, 3), (3, 5)), "full")
    assert f.apply(parameter).requires_grad
