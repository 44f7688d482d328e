"""No quantity leaves the range of its type on the way where the result is in range: many modes, factors of any magnitude."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.network import arithmetic, operations, trees
from tests.backends import every_backend, to_numpy

MODES = ((2, 3, 2), (3, 2, 1))
RANKS = {"tt": 2, "tr": 2, "bt": (2, 2), "ht": 2}
every_format = pytest.mark.parametrize("name", RANKS)


def unit(name, order, sign, dtype):
    """A matrix of norm 1 whose entries have one magnitude; those of the second half of a mode have the sign."""
    kind = tlr.get_format(name)
    factors = []
    for indices in kind.format.indices(order):
        factor = np.ones([2 if index[0] in "ji" else 1 for index in indices], dtype)
        for axis, index in enumerate(indices):
            if index[0] == "j":
                factor[(slice(None),) * axis + (1,)] = sign
        factors.append(factor / np.linalg.norm(factor))
    return kind(factors)


# Cores of block terms have an axis a mode, of which NumPy has 64.
ORDERS = [("tt", 70), ("ht", 70), ("tr", 70), ("bt", 60)]
MANY = [pytest.param("tt", 1000, marks=pytest.mark.slow), pytest.param("ht", 400, marks=pytest.mark.slow)]


@pytest.mark.parametrize("dtype", [np.float32, pytest.param(np.float64, marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "order"), [*ORDERS, *MANY])
def test_two_orthogonal_units_of_many_modes(name, order, dtype):
    one, two = (unit(name, order, sign, dtype) for sign in (1, -1))
    total = one + two
    # Rounding errors of the factors add up.
    rounding = 4 * order * float(np.finfo(dtype).eps)
    assert float(total.norm()) == pytest.approx(math.sqrt(2), rel=rounding)
    assert [float(total.inner(total)), float(one.inner(two))] == pytest.approx([2.0, 0.0], abs=4 * rounding)
    assert float((total - one).norm()) == pytest.approx(1.0, rel=1e-2)
    if name in ("tt", "ht"):
        rounded = total.round(eps=1e-3)
        assert rounded.rank == total.rank and float((rounded - total).norm()) < 4 * rounding
        assert all(np.allclose(values, 1.0, rtol=rounding) for values in total.singular_values().values())
        assert float((1e-4 * one + two).round(eps=1e-3).norm()) == pytest.approx(1.0, rel=1e-3)


@pytest.mark.parametrize("name", ["tt", "ht"])
def test_random_matrices_of_many_modes_have_the_given_root_mean_square(name):
    # 4^600 entries are out of range, their root mean square times its inverse is not.
    f = tlr.get_format(name).random(((2,) * 600, (2,) * 600), 2, std=2.0**-600, random_state=0)
    assert float(f.norm()) == pytest.approx(1.0)
    assert f.compression_ratio == math.inf and "compression_ratio=inf" in repr(f)


def of_magnitudes(name, exponents, dtype, backend=np.asarray):
    """A matrix near 1, and the same one with the powers of two in its factors, which cancel."""
    kind = tlr.get_format(name)
    f = kind.random(MODES, RANKS[name], random_state=0)
    total, powers = 0, []
    for k in range(len(f.factors) - 1):
        powers.append(exponents[k % len(exponents)] * (-1) ** k)
        total += powers[-1]
    scaled = [one * 2.0**power for one, power in zip(f.factors, (*powers, -total))]
    return f, kind([backend(one.astype(dtype)) for one in scaled])


@every_format
@given(exponents=st.lists(st.integers(-500, 500), min_size=1, max_size=3))
def test_magnitudes_of_factors_that_cancel_change_nothing(name, exponents):
    f, g = of_magnitudes(name, [k // 2 for k in exponents], np.float64)
    assert float(g.norm()) == pytest.approx(float(f.norm()), rel=1e-12)
    assert float(g.inner(f)) == pytest.approx(float(f.inner(f)), rel=1e-12)
    if trees.is_tree(f.network):
        for values, wanted in zip(g.singular_values().values(), f.singular_values().values()):
            assert_allclose(values, wanted, rtol=1e-12)
        assert float(g.round(1).norm()) == pytest.approx(float(f.round(1).norm()), rel=1e-12)
        by_hand = trees.rounded(g.backend, g.network, g.factors, error=0.5 * float(f.norm()))
        assert [one.shape for one in by_hand] == [one.shape for one in f.round(eps=0.5).factors]


@every_backend
@every_format
def test_norms_whose_square_is_out_of_range(name, backend):
    f, g = of_magnitudes(name, [40, 30], np.float32, backend.array)
    for scale in (2.0**80, 2.0**-80):
        big = type(g)([g.factors[0] * scale, *g.factors[1:]])
        assert float(big.norm()) == pytest.approx(scale * float(f.norm()), rel=1e-5)
        assert float((big - big).norm()) <= 1e-3 * scale * float(f.norm())
        with np.errstate(over="ignore", under="ignore"):
            assert float(big.inner(g)) == pytest.approx(scale * float(f.inner(f)), rel=1e-5)


@every_format
@pytest.mark.parametrize("scale", [1.0, 2.0**80, 2.0**-80])
def test_the_gradient_of_the_norm_is_that_of_the_matrix_near_one(name, scale):
    f, _ = of_magnitudes(name, [0], np.float32)
    leaves = [torch.tensor(one, dtype=torch.float32, requires_grad=True) for one in f.factors]
    (type(f)([leaves[0] * scale, *leaves[1:]])).norm().backward()
    dense = f.to_matrix() / np.linalg.norm(f.to_matrix())
    for leaf, expected in zip(leaves, f.lstsq_grad(f.to_matrix() - dense).factors):
        assert_allclose(leaf.grad.numpy() / scale, expected, rtol=1e-4, atol=1e-5)


def test_a_norm_out_of_range_is_no_rank():
    f = tlr.TTMatrix.random(((2,) * 20, (2,) * 20), 3, std=1.0, random_state=0)
    huge = tlr.TTMatrix([one * 1e100 for one in f.factors])
    rounded = huge.round(eps=1e-9)
    assert rounded.rank == f.round(eps=1e-9).rank
    assert_allclose([np.abs(one).max() for one in rounded.factors], 1e100, rtol=10)
    infinite = [np.full_like(one, math.inf) for one in f.factors]
    with pytest.raises(ValueError, match="^f must have finite factors; expected numbers, got NaN or infinity"):
        tlr.TTMatrix(infinite).round(eps=0.1)


def test_internal_products_of_any_magnitude():
    f, g = of_magnitudes("tr", [300, 200], np.float64)
    assert float(operations.squared_norm(g.backend, g.network, g.factors)) == pytest.approx(float(f.inner(f)), rel=1e-12)
    assert to_numpy(arithmetic.norm(g.backend, [(g.network, g.factors)])) == pytest.approx(float(f.norm()), rel=1e-12)
