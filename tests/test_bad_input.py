"""Arrays that do not fit together are refused with an error that names both sides."""

import os
import re
import subprocess
import sys
import textwrap

import jax
import numpy as np
import pytest
import torch
from tensorly.tr_tensor import TRTensor
from tensorly.tt_tensor import TTTensor

import tensorly_rnn as tlr
from tensorly_rnn import recurrent
from tensorly_rnn._backend import device_of, same_device
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTMCell
from tests.cases import CASES, every_format
from tests.strategies import refused, slow_but_one

SHAPE = ((2, 3), (3, 5))


def made(case, like=None):
    return tlr.get_format(case.name).random(SHAPE, 2, random_state=0, like=like)


def calls(f, x, dy, target):
    """Return the calls that take an array of rows or of the dense shape, with the argument's name."""
    fitting_x, fitting_dy, fitting_target = (
        f.backend.zeros(s, **f.backend.context(f.factors[0])) for s in ((2, 15), (2, 6), (6, 15))
    )
    return (
        ("x", lambda: f.apply(x)),
        ("x", lambda: f.vjp(x)),
        ("x", lambda: f.gradients(x, fitting_dy)),
        ("dy", lambda: f.gradients(fitting_x, dy)),
        ("dy", lambda: f.vjp(fitting_x)[1](dy)),
        ("target", lambda: f.lstsq_grad(target)),
        ("mask", lambda: f.lstsq_grad(fitting_target, mask=target)),
    )


@every_format
def test_another_width_or_leading_shape(case):
    f = made(case)
    for argument, call in calls(f, np.ones((2, 14)), np.ones((2, 5)), np.ones((6, 14))):
        width, got = (15, 14) if argument == "x" else (6, 5)
        of_shape = {"target": "the shape of f", "mask": "a shape that broadcasts to that of f"}.get(argument)
        wanted = rf"{width} entries along its last axis; expected \(..., {width}\), got \(2, {got}\)"
        wanted = rf"{of_shape}; expected \(6, 15\), got \(6, 14\)" if of_shape else wanted
        refused((ValueError, f"^{argument} must have {wanted}", call))
    for call in (lambda dy: f.gradients(np.ones((2, 15)), dy), f.vjp(np.ones((2, 15)))[1]):
        with pytest.raises(ValueError, match=r"^dy must have the leading shape of x; expected \(2,\), got \(1, 2\)"):
            call(np.ones((1, 2, 6)))
    with pytest.raises(ValueError, match="expected "):
        f.lstsq_grad(np.ones((6, 15)), mask=np.ones((1, 6, 15)))


@every_format
def test_another_backend(case):
    f = made(case)
    arrays = [torch.ones(2, 15, dtype=torch.float64), torch.ones(2, 6, dtype=torch.float64), torch.ones(6, 15)]
    message = r"^{} must be of the same backend as factors\[0\]; expected numpy, got pytorch"
    refused(*((TypeError, message.format(argument), call) for argument, call in calls(f, *arrays)))
    refused(*((TypeError, "expected numpy, got list", call) for _, call in calls(f, [1.0], [1.0], [[1.0]])))


@every_format
def test_another_dtype(case):
    f = made(case)
    for argument, call in calls(f, *(np.ones(shape, "float32") for shape in ((2, 15), (2, 6), (6, 15)))):
        rule = "be of booleans, integers or the factors' dtype" if argument == "mask" else "have the factors' dtype"
        with pytest.raises(TypeError, match=rf"^{argument} must {rule}; expected float64, got float32"):
            call()
    for dtype in (complex, object, "m8[s]", "U1"):
        with pytest.raises(TypeError, match="mask must be of booleans, .* got (complex128|object|timedelta64|<U1)"):
            f.lstsq_grad(np.ones((6, 15)), mask=np.ones((6, 15)).astype(dtype))


@every_format
def test_another_device(case):
    f = made(case, like=torch.zeros(1, dtype=torch.float64))
    arrays = [torch.ones(shape, dtype=torch.float64, device="meta") for shape in ((2, 15), (2, 6), (6, 15))]
    elsewhere = type(f)([factor.to("meta") for factor in f.factors])
    message = r"^{} must be on the device of factors\[0\]; expected cpu, got meta. Move one"
    refused(
        *((ValueError, message.format(argument), call) for argument, call in calls(f, *arrays)),
        (ValueError, r"factors\[1\] must be on the device of factors\[0\]; expected cpu, got meta", lambda: type(f)([f.factors[0], f.factors[1].to("meta"), *f.factors[2:]])),
        (ValueError, r"^matrix must be on the device of .*; expected cpu, got meta", lambda: f.relative_error(arrays[2])),
        (ValueError, r"^other must be on the device of .*; expected cpu, got meta", lambda: f.inner(elsewhere)),
    )  # fmt: skip
    # All on one device, whichever, is fine.
    of_factors, of_x = elsewhere.gradients(arrays[0], arrays[1])
    assert {one.device.type for one in (*of_factors, of_x, elsewhere.apply(arrays[0]))} == {"meta"}


@pytest.mark.parametrize("name", ["bt", "ht", "tt", "tr"])
def test_lstsq_grad_names_the_argument(name):
    function = getattr(tlr, f"{name}_lstsq_grad")
    factors = {
        "bt": [np.ones((2, 1, 1)), np.ones((2, 3, 1)), np.ones((2, 4, 1))],
        "ht": [np.ones((1, 2, 2)), np.ones((2, 3)), np.ones((2, 4))],
        "tt": [np.ones((1, 3, 2)), np.ones((2, 4, 1))],
        "tr": [np.ones((2, 3, 2)), np.ones((2, 4, 2))],
    }[name]
    assert function(factors, np.ones((3, 4))).factors[0].shape == factors[0].shape
    refused(
        (ValueError, r"^target must have the shape of f; expected \(3, 4\), got \(4, 3\)", lambda: function(factors, np.ones((4, 3)))),
        (TypeError, r"^target must be of the same backend .* expected numpy, got pytorch", lambda: function(factors, torch.ones(3, 4))),
        (ValueError, r"^factors must agree on the size of index", lambda: function([*factors[:-1], factors[-1].repeat(2, axis=0)], np.ones((3, 4)))),
        (TypeError, r"^factors must be a sequence of arrays", lambda: function(3.0, np.ones((3, 4)))),
    )  # fmt: skip


def test_tensorlys_trains_and_rings_are_theirs():
    train, ring = TTTensor([np.ones((1, 3, 2)), np.ones((2, 4, 1))]), TRTensor([np.ones((2, 3, 2)), np.ones((2, 4, 2))])
    assert isinstance(tlr.tt_lstsq_grad(train, np.ones((3, 4))), TTTensor)
    assert isinstance(tlr.tr_lstsq_grad(ring, np.ones((3, 4))), TRTensor)
    with pytest.raises(ValueError, match="^rank must be 1 at the ends"):
        tlr.tt_lstsq_grad(ring, np.ones((3, 4)))


class Somewhere:
    """An array as far as its place is asked for."""

    def __init__(self, **attributes):
        self.__dict__.update(attributes)


def test_where_arrays_lie_in_their_frameworks_words():
    assert device_of(torch.zeros(1)) == torch.device("cpu")
    assert device_of(torch.zeros(1, device="meta")) == torch.device("meta")
    # TensorFlow names no device while it traces; older releases of Paddle and of NumPy have no such attribute.
    assert device_of(Somewhere(device="")) is None
    assert device_of(Somewhere()) is None
    assert device_of(Somewhere(place="Place(gpu:1)")) == "Place(gpu:1)"
    same_device({"a": Somewhere(), "b": Somewhere(device="gpu:0"), "c": Somewhere(device="")})
    with pytest.raises(ValueError, match="^c must be on the device of b; expected gpu:0, got gpu:1. Move one of them."):
        same_device({"a": Somewhere(), "b": Somewhere(device="gpu:0"), "c": Somewhere(device="gpu:1")})


def test_jax_arrays_that_were_put_on_two_devices():
    code = """
        import jax, jax.numpy as jnp, numpy as np, tensorly_rnn as tlr
        one, two = jax.devices()
        f = tlr.TTMatrix.random(((2, 3), (3, 5)), 2, random_state=0, like=jnp.zeros(1))
        there = type(f)([jax.device_put(factor, two) for factor in f.factors])
        x = jax.device_put(jnp.ones((2, 15)), one)
        assert there.apply(jnp.ones((2, 15))).devices() == {two}  # put nowhere: it follows
        assert f.apply(x).devices() == {one}
        try:
            there.apply(x)
        except ValueError as error:
            print(error)
    """
    environment = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert re.match(r"x must be on the device of factors\[0\]; expected \S*1, got \S*0. Move one", done.stdout)


@pytest.mark.parametrize("case", slow_but_one(CASES), ids=str)
def test_the_checks_are_traced_by_jax_and_torch(case):
    f = made(case)
    kind = type(f)
    rng = np.random.default_rng(0)
    x, dy, target = rng.normal(size=(2, 15)), rng.normal(size=(2, 6)), rng.normal(size=(6, 15))
    mask = target > 0
    expected = f.gradients(x, dy)
    of_distance, loss = f.lstsq_grad(target, return_loss=True, mask=mask)

    def everything(factors, x, dy, target, mask):
        g = kind(factors)
        of_factors, of_x = g.gradients(x, dy)
        gradient, loss = g.lstsq_grad(target, return_loss=True, mask=mask)
        return [*of_factors, of_x, *gradient.factors, loss]

    wanted = [*expected[0], expected[1], *of_distance.factors, loss]
    arrays = [jax.numpy.asarray(one) for one in (x, dy, target, mask)]
    for found, other in zip(jax.jit(everything)([jax.numpy.asarray(one) for one in f.factors], *arrays), wanted):
        np.testing.assert_allclose(found, other, atol=1e-11)
    tensors = [torch.tensor(one) for one in (x, dy)]
    factors = [torch.tensor(one) for one in f.factors]
    each = torch.func.vmap(lambda x, dy: kind(factors).gradients(x, dy)[0])(*tensors)
    for found, other in zip(each, expected[0]):
        np.testing.assert_allclose(found.sum(0), other, atol=1e-11)


def test_every_index_has_a_size():
    with pytest.raises(
        ValueError, match=r"^factors\[0\] must have indices with sizes; expected some of \('j1',\), got \['r'\]"
    ):
        tlr.Network((("j1", "r"),), ("j1",), (), (("j1", 2),))


def test_the_index_of_the_rows_of_x_is_taken():
    # A rank index of that name would be merged with the rows silently where the sizes agree.
    with pytest.raises(ValueError, match=r"^sizes must leave 'b' to the rows of x; .* got \('b', 'i1', 'j1'\)"):
        tlr.Network((("b", "j1"), ("b", "i1")), ("j1",), ("i1",), (("b", 2), ("i1", 4), ("j1", 5)))


@pytest.mark.parametrize("value", ["False", 1, None, np.ones(2, bool)], ids=str)
def test_flags_are_bools(value):
    f = tlr.TTMatrix.random(SHAPE, 2, random_state=0)
    for argument, call in (
        ("tune", lambda: f.plan(2, tune=value)),
        ("full", lambda: tlr.random_bt((2, 3), (1, 2), full=value)),
        ("full", lambda: tlr.random_ht((2, 3), 2, full=value)),
        ("bias", lambda: recurrent.GRU.random(5, 3, bias=value)),
        ("bias", lambda: FactorizedLinear(15, 6, value)),
        ("bias", lambda: FactorizedLSTMCell(15, 6, value)),
        ("bias", lambda: FactorizedGRU(15, 6, bias=value)),
        ("batch_first", lambda: FactorizedGRU(15, 6, batch_first=value)),
        ("bidirectional", lambda: FactorizedGRU(15, 6, bidirectional=value)),
    ):
        with pytest.raises(TypeError, match=f"^{argument} must be a bool; expected True or False, got .* of type"):
            call()
    assert FactorizedGRU(15, 6, batch_first=np.True_, rank=1).batch_first is True


def test_errors_name_the_argument_or_stay_those_of_the_framework():
    for call in (
        lambda: tlr.cost("tt", SHAPE, "some"),
        lambda: tlr.n_param("tt", SHAPE, "some"),
        lambda: tlr.TTMatrix.random(SHAPE, "some"),
        lambda: FactorizedLinear(15, 6, factorization="tt", rank="some"),
    ):
        with pytest.raises(ValueError, match="^rank must be known; expected 'full', 'same' or numbers, got 'some'"):
            call()
    layer = recurrent.GRU(jax.numpy.ones((9, 5)), jax.numpy.ones((9, 3)))
    with pytest.raises(TypeError, match=r"^matrix must have numbers; expected an array, got a tracer of jax\.jit or vmap"):
        jax.jit(lambda vector: layer.with_vec(vector).factorized("tt", 2).to_vec())(layer.to_vec())


class Unsized(np.ndarray):
    """As TensorFlow traces arrays of any batch size."""

    shape = property(lambda self: (None, 15))


@every_format
def test_sizes_that_are_not_known(case):
    unsized = np.ones((2, 15)).view(Unsized)
    for method in ("apply", "vjp"):
        with pytest.raises(ValueError, match=r"^x must have sizes that are known, .* got \(None, 15\). Trace for one"):
            getattr(made(case), method)(unsized)
    with pytest.raises(ValueError, match="^x must have sizes that are known"):
        recurrent.GRU.random(15, 3, random_state=0).forward(unsized)
