"""Tracing and transformations of the arithmetic: torch.compile, torch.func, jax.jit, jax.grad, jax.vmap, tf.function, tapes."""

import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tests.backends import CHOSEN
from tests.strategies import slow_but_one

SHAPE, PADDED = ((2, 3, 5), (5, 2, 3)), (29, 28)

every_format = pytest.mark.parametrize("name", tlr.available_formats())
one_format = pytest.mark.parametrize("name", slow_but_one(tlr.available_formats()))


def drawn(name, like):
    return tlr.get_format(name).random(SHAPE, 2, random_state=0, like=like)


def with_factors(f):
    return lambda factors, x: type(f)(factors, shape=PADDED).apply(x)


@one_format
def test_torch_compile_in_one_graph_forward_and_backward(name):
    f = drawn(name, torch.zeros(1, dtype=torch.float64))
    torch._dynamo.reset()
    compiled = torch.compile(with_factors(f), fullgraph=True, backend="aot_eager")
    # From the second size on, the number of rows is a symbol to the tracer.
    for rows in (2, 3, 5, 1, 0):
        x = torch.tensor(np.random.default_rng(rows).normal(size=(rows, 28)))
        results = []
        for run in (compiled, with_factors(f)):
            leaves = [factor.clone().requires_grad_() for factor in f.factors]
            y = run(leaves, x)
            (y**2).sum().backward()
            results.append([y.detach(), *(leaf.grad for leaf in leaves)])
        for found, wanted in zip(*results):
            assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.slow
@one_format
def test_torch_compile_of_an_object_and_its_other_methods(name):
    f = drawn(name, torch.zeros(1, dtype=torch.float64))
    x, dy, target = (torch.tensor(np.random.default_rng(1).normal(size=(rows, 30))) for rows in (4, 4, 30))
    torch._dynamo.reset()

    def everything(x, dy):
        of_factors, dx = f.gradients(x, dy)
        gradient, loss = f.lstsq_grad(target, return_loss=True, mask=target > 0)
        return [f.apply(x), f.to_matrix(), f.to_tensor(), dx, *of_factors, f.vjp(x)[1](dy)[1], *gradient.factors, loss]

    for found, wanted in zip(torch.compile(everything, fullgraph=True, backend="eager")(x, dy), everything(x, dy)):
        assert_allclose(found, wanted, atol=1e-13)


@pytest.mark.slow
def test_torch_compile_may_be_the_first_use_of_torch():
    code = """
        import torch
        import tensorly_rnn as tlr

        run = torch.compile(lambda factors, x: tlr.TTMatrix(factors).apply(x), fullgraph=True, backend="eager")
        print(run([torch.ones(1, 2, 3, 1)], torch.ones(3)).tolist())
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.strip() == "[3.0, 3.0]", done.stderr


@every_format
def test_torch_func(name):
    f = drawn(name, torch.zeros(1, dtype=torch.float64))
    x = torch.tensor(np.random.default_rng(2).normal(size=(4, 28)))
    run = with_factors(f)
    assert_allclose(torch.func.vmap(run, in_dims=(None, 0))(f.factors, x), run(f.factors, x), atol=1e-13)
    stacked = [torch.stack([factor, 2.0 * factor]) for factor in f.factors]
    both = torch.func.vmap(run, in_dims=(0, None))(stacked, x)
    assert_allclose(both[1], 2.0 ** len(f.factors) * both[0], atol=1e-11)
    found = torch.func.grad(lambda factors: run(factors, x).sum())(f.factors)
    wanted = type(f)(f.factors, shape=PADDED).gradients(x, torch.ones(4, 29, dtype=torch.float64))[0]
    for one, other in zip(found, wanted):
        assert_allclose(one, other, atol=1e-12)


@one_format
def test_jax_jit_grad_and_vmap(name):
    f = drawn(name, jax.numpy.zeros(1))
    x = jax.numpy.asarray(np.random.default_rng(3).normal(size=(4, 28)))
    run = with_factors(f)
    y = run(f.factors, x)
    assert_allclose(jax.jit(run)(f.factors, x), y, atol=1e-13)
    assert_allclose(jax.vmap(run, in_axes=(None, 0))(f.factors, x), y, atol=1e-13)
    found = jax.jit(jax.grad(lambda factors, x: (run(factors, x) ** 2).sum(), argnums=(0, 1)))(f.factors, x)
    wanted = type(f)(f.factors, shape=PADDED).gradients(x, 2.0 * y)
    for one, other in zip((*found[0], found[1]), (*wanted[0], wanted[1])):
        assert_allclose(one, other, atol=1e-11)


@pytest.mark.skipif("tensorflow" not in CHOSEN, reason="TensorFlow takes a process of its own")
@every_format
def test_tensorflow_function_and_tape(name):
    import tensorflow as tf

    f = drawn(name, tf.zeros((1,), tf.float64))
    x = tf.constant(np.random.default_rng(4).normal(size=(4, 28)))
    run, variables = with_factors(f), [tf.Variable(factor) for factor in f.factors]
    y = run(f.factors, x)
    assert_allclose(tf.function(run)(f.factors, x), y, atol=1e-13)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(run(variables, x) ** 2)
    wanted = type(f)(f.factors, shape=PADDED).gradients(x, 2.0 * y)[0]
    for found, other in zip(tape.gradient(loss, variables), wanted):
        assert_allclose(found, other, atol=1e-11)


@pytest.mark.skipif("paddle" not in CHOSEN, reason="Paddle takes a process of its own")
@every_format
def test_paddle_backward(name):
    import paddle

    f = drawn(name, paddle.zeros([1], dtype="float64"))
    x = paddle.to_tensor(np.random.default_rng(5).normal(size=(4, 28)))
    run, leaves = with_factors(f), [paddle.to_tensor(factor.numpy(), stop_gradient=False) for factor in f.factors]
    (run(leaves, x) ** 2).sum().backward()
    wanted = type(f)(f.factors, shape=PADDED).gradients(x, 2.0 * run(f.factors, x))[0]
    for leaf, other in zip(leaves, wanted):
        assert_allclose(leaf.grad.numpy(), other.numpy(), atol=1e-11)
