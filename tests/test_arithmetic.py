"""Sums, multiples, inner products, norms and transposes are those of the dense matrices, in every format."""

import math
import time
from dataclasses import dataclass
from fractions import Fraction

import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.formats import FactorizedMatrix, Format
from tensorly_rnn.network import arithmetic, operations
from tensorly_rnn.network.network import Network
from tests.cases import CASES, every_format
from tests.strategies import SHAPES, factorized, pairwise, refused

SMALL = ((2, 3), (3, 5))
SCALARS = (2, np.float64(3.0), np.float32(0.5), np.int64(-2), Fraction(1, 4), 0, np.array(1.5))


def dense_of(case, f):
    """The true entries by the loops of the reference, cropped by hand."""
    stacked = case.reference(f.factors).reshape(f.stack, -1, f.network.shape[1])
    return stacked[:, : f.shape[0] // f.stack, : f.shape[1]].reshape(f.shape)


@every_format
@given(data=st.data(), scalar=st.sampled_from(SCALARS))
def test_scalars_of_any_type(case, data, scalar):
    f = data.draw(factorized(case))
    a = dense_of(case, f)
    for found in (f * scalar, scalar * f):
        assert found.dtype == f.dtype and found.rank == f.rank
        assert_allclose(found.to_matrix(), a * float(scalar), atol=1e-12)
    if float(scalar):
        assert_allclose((f / scalar).to_matrix(), a / float(scalar), atol=1e-11)


@every_format
def test_transposes_keep_ranks_and_add(case):
    f, g = (tlr.get_format(case.name).random(SMALL, 2, random_state=seed) for seed in range(2))
    assert type(f.T) is type(f) and f.T.rank == f.rank
    assert all((one == two).all() for one, two in zip(f.T.T.factors, f.factors))
    assert_allclose((f.T + g.T).to_matrix(), dense_of(case, f + g).T, atol=1e-11)


@every_format
def test_norms_of_every_part(case):
    # Padding makes of the tensor none, one or several boxes that count.
    kind = tlr.get_format(case.name)
    whole = kind.random(SMALL, 2, random_state=0)
    for rows in range(1, 7):
        for columns in range(1, 16):
            f = kind(whole.factors, shape=(rows, columns))
            assert float(f.norm()) == pytest.approx(np.linalg.norm(whole.to_matrix()[:rows, :columns]), abs=1e-12)


def test_inner_products_across_formats():
    for first, second, modes in pairwise(CASES, CASES, SHAPES[2:6]):
        rank = 1 if len(modes[0]) == 1 else 3
        f, g = (tlr.get_format(case.name).random(modes, rank, random_state=k) for k, case in enumerate((first, second)))
        shape = (max(1, math.prod(modes[0]) - 1), max(1, math.prod(modes[1]) - 2))
        f, g = type(f)(f.factors, shape=shape), type(g)(g.factors, shape=shape)
        expected = np.sum(dense_of(first, f) * dense_of(second, g))
        assert float(f.inner(g)) == pytest.approx(expected, abs=1e-11)


def test_ranks_of_sums():
    modes = ((2, 3, 2, 2), (3, 5, 2, 3))
    for name, one, two, both in (
        ("tt", (1, 2, 3, 2, 1), (1, 3, 1, 2, 1), (1, 5, 4, 4, 1)),
        ("tr", (2, 3, 2, 2, 2), (1, 2, 3, 1, 1), (3, 5, 5, 3, 3)),
        ("bt", (2, (2, 3, 1, 2)), (3, (1, 1, 2, 2)), (5, (2, 3, 2, 2))),
        ("ht", (3, 2, 3, 1, 2, 3, 2), (3, 1, 1, 2, 2, 1, 4), (3, 3, 4, 3, 4, 4, 6)),
    ):
        f, g = (tlr.get_format(name).random(modes, rank, random_state=0) for rank in (one, two))
        assert (f + g).rank == both
        assert (f - g).rank == both
    # Both bonds of a ring of two cores stand in both: one of them holds the terms apart.
    f, g = (tlr.TRMatrix.random(SMALL, rank, random_state=0) for rank in ((2, 3, 2), (3, 2, 3)))
    assert (f + g).rank == (5, 3, 5)


@every_format
def test_sums_of_one_mode_add_the_matrix(case):
    f, g = (tlr.get_format(case.name).random(((3,), (5,)), 1, random_state=seed) for seed in range(2))
    assert_allclose((f + g).to_matrix(), f.to_matrix() + g.to_matrix(), atol=1e-13)
    if case.name != "ht":
        assert (f + g).n_param == (36 - 4 if case.name == "bt" else 15)


@every_format
def test_norms_of_what_cancels(case):
    kind, modes = tlr.get_format(case.name), ((2, 3, 5, 2), (3, 5, 2, 7))
    rank = (1, 3) if case.name == "bt" else (1, 3, 3, 3, 1) if case.name == "tr" else 3
    f, h = (kind.random(modes, rank, random_state=seed) for seed in (0, 1))
    small = 1e-11 * h
    assert float((f - f).norm()) < 1e-13 * float(f.norm()) or case.name in ("bt", "tr")
    if case.name in ("tt", "ht"):
        found = float((f + small - f).norm())
        assert found == pytest.approx(1e-11 * float(h.norm()), rel=1e-3)
        padded = kind((f + small - f).factors, shape=(59, 200))
        expected = 1e-11 * np.linalg.norm(h.to_matrix()[:59, :200])
        assert float(padded.norm()) == pytest.approx(expected, rel=1e-3)
    else:  # with loops: the root of the machine precision
        assert float((f - f).norm()) < 1e-6 * float(f.norm())


@every_format
def test_results_share_no_memory(case):
    f, g = (tlr.get_format(case.name).random(SMALL, 2, random_state=seed) for seed in range(2))
    for result in (f + g, f - g, -f, 2 * f, f * 1.0, f / 1.0):
        for one in result.factors:
            assert not any(np.shares_memory(one, two) for two in (*f.factors, *g.factors))
    one = tlr.get_format(case.name).random(((3,), (5,)), 1, random_state=0)
    for result in (one + one, one * 1.0):
        assert not any(np.shares_memory(a, b) for a, b in zip(result.factors, one.factors))


def test_transposes_are_live():
    f = tlr.TTMatrix.random(SMALL, 2, random_state=0)
    t = f.T
    f.factors[0][...] *= 2.0
    assert_allclose(t.to_matrix(), f.to_matrix().T)


@every_format
@pytest.mark.parametrize("padded", [False, True])
def test_gradients_flow_in_torch(case, padded):
    f, g = (tlr.get_format(case.name).random(SMALL, 3, random_state=seed) for seed in range(2))
    shape = (5, 13) if padded else None
    for number, function in enumerate(
        (lambda f, g: f.norm(), lambda f, g: f.inner(g), lambda f, g: (2.0 * f - g / 3.0).norm(), lambda f, g: (f + f).norm())
    ):
        leaves = [[torch.tensor(one, requires_grad=True) for one in m.factors] for m in (f, g)]
        function(*(type(f)(one, shape=shape) for one in leaves)).backward()
        again = [[torch.tensor(one, requires_grad=True) for one in m.factors] for m in (f, g)]
        a, b = (type(f)(one, shape=shape).to_matrix() for one in again)
        (a.norm(), (a * b).sum(), (2.0 * a - b / 3.0).norm(), (a + a).norm())[number].backward()
        for one, two in zip((*leaves[0], *leaves[1]), (*again[0], *again[1])):
            assert two.grad is None or one.grad is not None
            if one.grad is not None:
                assert_allclose(one.grad, 0.0 if two.grad is None else two.grad, atol=1e-11)


@every_format
def test_the_gradient_of_a_zero_norm_is_zero(case):
    f = tlr.get_format(case.name).random(SMALL, 2, random_state=0)
    leaves = [torch.tensor(one, requires_grad=True) for one in f.factors]
    with torch.no_grad():
        leaves[0].zero_()
    for shape in (None, (5, 13)):
        norm = type(f)(leaves, shape=shape).norm()
        norm.backward()
        assert float(norm.detach()) == 0.0
        assert all((leaf.grad == 0).all() for leaf in leaves)


@every_format
@pytest.mark.slow
def test_gradients_flow_in_jax(case):
    modes, rank = ((2, 3), (3, 2)), case.pool[((2, 3), (3, 2))]
    f, g = (tlr.get_format(case.name).random(modes, rank, random_state=seed) for seed in range(2))

    def ours(factors):
        h = type(f)(factors)
        return (h + h - type(f)([jax.numpy.asarray(one) for one in g.factors])).norm()

    def dense(factors):
        h = type(f)(factors).to_matrix()
        return jax.numpy.sqrt(jax.numpy.sum((2 * h - jax.numpy.asarray(g.to_matrix())) ** 2))

    factors = [jax.numpy.asarray(one) for one in f.factors]
    assert float(jax.jit(ours)(factors)) == pytest.approx(float(dense(factors)))
    for found, expected in zip(jax.grad(ours)(factors), jax.grad(dense)(factors)):
        assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-10)


@every_format
def test_half_precision_is_summed_in_single(case):
    f = tlr.get_format(case.name).random(((16, 16), (16, 16)), 3, random_state=0)
    for dtype in (torch.float16, torch.bfloat16):
        half = type(f)([torch.tensor(one).to(dtype).requires_grad_() for one in f.factors])
        exact = type(f)([one.detach().double() for one in half.factors])
        assert half.norm().dtype == half.inner(half).dtype == dtype
        assert float(half.norm().detach()) == pytest.approx(float(exact.norm()), rel=1e-2)
        half.norm().backward()
        assert all(torch.isfinite(one.grad).all() and one.grad.dtype == dtype for one in half.factors)


@pytest.mark.parametrize("name", ["tt", "ht", "tr"])
def test_no_dense_detour(name):
    start = time.perf_counter()
    f, g = (tlr.get_format(name).random(((2,) * 20, (2,) * 20), 3, random_state=seed) for seed in range(2))
    total = f + 2.0 * g
    expected = math.sqrt(float(f.inner(f) + 4 * f.inner(g) + 4 * g.inner(g)))
    assert float(total.norm()) == pytest.approx(expected, rel=1e-9)
    if name != "tr":
        assert float((total.round(eps=1e-9) - total).norm()) < 1e-9 * expected
    assert time.perf_counter() - start < 30


@every_format
def test_wrong_terms_are_refused(case):
    kind = tlr.get_format(case.name)
    f = kind.random(SMALL, 2, random_state=0)
    for argument, call in (("the other operand", lambda f, g: f + g), ("other", lambda f, g: f.inner(g))):
        start = f"^{argument}"
        with pytest.raises(ValueError, match=rf"{start} must have the shape of f; expected \(6, 15\), got \(6, 10\)"):
            call(f, kind.random(((2, 3), (2, 5)), 2))
        with pytest.raises(ValueError, match=rf"{start} must have the tensorized_shape of f; expected \(\(2, 3\), \(3, 5\)\)"):
            call(f, kind.random(((3, 2), (3, 5)), 2))
        with pytest.raises(TypeError, match=rf"{start} must be of the same backend as factors\[0\]; expected numpy"):
            call(f, kind.random(SMALL, 2, like=torch.zeros(1, dtype=torch.float64)))
        with pytest.raises(TypeError, match=f"{start} must have the factors' dtype; expected float64, got float32. Convert"):
            call(f, kind.random(SMALL, 2, like=np.zeros(1, dtype="float32")))
    for other in (1, 1.0, None, "f", np.ones((6, 15)), f.to_matrix()):
        with pytest.raises(TypeError, match="^other must be a factorized matrix; got .* Factorize it first"):
            f.inner(other)
        for operation in (lambda f, g: f + g, lambda f, g: g + f, lambda f, g: f - g, lambda f, g: g - f):
            with pytest.raises(
                TypeError,
                match="unsupported operand|can only concatenate|the other operand must be a factorized matrix; got ndarray. Factorize it",
            ):
                operation(f, other)
    strange = next(one for one in CASES if one.name != case.name)
    with pytest.raises(TypeError, match=f"must be of the same format; expected {kind.__name__}, got .* Factorize one of them"):
        f + tlr.get_format(strange.name).random(SMALL, 2)


def test_stacks_must_agree():
    f = tlr.HTMatrix.random(((2,), (3,)), (2,), random_state=0)
    g = tlr.HTMatrix(tlr.HTMatrix.random(((2,), (3,)), (1,)).factors, shape=(2, 3))
    for call in (lambda: f + g, lambda: f.inner(g)):
        with pytest.raises(ValueError, match=r"must have the shape of f; expected \(4, 3\), got \(2, 3\)"):
            call()
    f = tlr.HTMatrix(f.factors, shape=(2, 3))
    with pytest.raises(ValueError, match="must have the stack of f; expected 2, got 1"):
        f + g


@every_format
def test_wrong_scalars_are_refused(case):
    f = tlr.get_format(case.name).random(SMALL, 2, random_state=0)
    for scalar in (True, "2", None, 1j, np.ones(2), [2.0], f, np.ones((1, 1))):
        for operation in (lambda f, c: f * c, lambda f, c: c * f, lambda f, c: f / c):
            with pytest.raises(
                TypeError,
                match="unsupported operand|can't multiply|the scalar must be a number or an array without dimensions; got shape",
            ):
                operation(f, scalar)
    for scalar in (math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match="^the scalar must be finite; got"):
            scalar * f
    refused(
        (ZeroDivisionError, "^the scalar must not be 0", lambda: f / 0),
        (TypeError, r"the scalar must be of the same backend as factors\[0\]; expected numpy, got pytorch", lambda: f * torch.tensor(2.0)),
        (TypeError, "the scalar must have the factors' dtype; expected float64, got float32", lambda: f * np.array(2.0, dtype="float32")),
    )  # fmt: skip
    with pytest.raises(TypeError):
        1.0 / f
    for operation in (torch.add, torch.sub, torch.div):
        with pytest.raises(TypeError):
            operation(torch.ones(6, 15), f)


@dataclass(frozen=True)
class SideBySide(Format):
    """Outputs in one factor and inputs in the other: the transpose is another format."""

    name = "pair"

    def indices(self, order):
        return ("j1", "r"), ("r", "i1")

    def rank_names(self, order):
        return "r"

    def full(self, sizes, stack=1):
        return sizes[0]


class Pair(FactorizedMatrix):
    format = SideBySide()


def test_a_format_of_ones_own():
    f, g = (Pair.random(((5,), (7,)), rank, random_state=0) for rank in (2, 3))
    assert (f + g).rank == 5
    assert_allclose((f + g).to_matrix(), f.to_matrix() + g.to_matrix(), atol=1e-13)
    assert (f + g).round(eps=1e-12).rank == 5
    assert (f + f).round(eps=1e-12).rank == 2
    assert f.T.shape == (7, 5) and type(f.T) is not Pair
    assert_allclose(f.T.to_matrix(), f.to_matrix().T)


def test_networks_that_do_not_agree_are_refused():
    apart = Network((("j1",), ("i1",)), ("j1",), ("i1",), (("i1", 3), ("j1", 2)))
    factors = [np.ones(2), np.ones(3)]
    with pytest.raises(ValueError, match="^network must link all its factors"):
        arithmetic.direct_sum(None, apart, factors, apart, factors)
    other = apart.resized({"i1": 4})
    with pytest.raises(ValueError, match="other must have the indices of network"):
        arithmetic.direct_sum(None, apart, factors, other, factors)
    with pytest.raises(ValueError, match="other must have the open indices of network; expected .* got"):
        operations.inner(None, apart, factors, other, factors)


def test_unequal_sides_have_no_transpose_in_the_format():
    network = Network((("j1", "i1", "i2"),), ("j1",), ("i1", "i2"), (("i1", 3), ("i2", 2), ("j1", 2)))
    assert arithmetic.transposed(None, network, [np.ones((2, 3, 2))]) is None


def test_sum_takes_a_list():
    terms = [tlr.TTMatrix.random(((2, 3), (3, 5)), 2, random_state=seed) for seed in range(3)]
    assert_allclose(sum(terms).to_matrix(), sum(term.to_matrix() for term in terms), atol=1e-12)
    assert sum(terms[:1]).factors[0] is not terms[0].factors[0]
    with pytest.raises(TypeError, match="unsupported operand"):
        1 + terms[0]
