"""A fifth format is one class: all that the library derives, and a decomposition, work for it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn._checks import positive_int
from tensorly_rnn.formats import FactorizedMatrix, _registry, register


class CPMatrix(FactorizedMatrix):
    """Canonical polyadic matrix: ``W[j1..jd, i1..id] = sum_r prod_k factor_k[j_k, i_k, r]``."""

    name = "cp"

    @staticmethod
    def order_of(n_factors):
        return n_factors

    @staticmethod
    def indices(order):
        return tuple((f"j{k + 1}", f"i{k + 1}", "r") for k in range(order))

    @classmethod
    def rank_sizes(cls, rank):
        return {"r": rank}

    @classmethod
    def rank_from_sizes(cls, size, order):
        return size["r"]

    @classmethod
    def explicit_rank(cls, tensorized_shape, rank, **options):
        return positive_int("CPMatrix.validate_rank", "rank", rank)

    @classmethod
    def full_rank(cls, tensorized_shape, **options):
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        return int(np.prod(sizes)) // max(sizes)

    @classmethod
    def uniform_rank(cls, tensorized_shape, rank, **options):
        return rank


@pytest.fixture
def registered():
    register(CPMatrix)
    yield
    del _registry._FORMATS["cp"]


def test_everything_is_derived(registered):
    assert tlr.available_formats() == ("bt", "cp", "ht", "tr", "tt")
    shape = ((2, 3, 5), (5, 2, 3))
    f = CPMatrix.random(shape, 3, random_state=0)
    dense = np.einsum("air,bjr,ckr->abcijk", *f.factors).reshape(30, 30)
    assert_allclose(f.to_matrix(), dense, atol=1e-13)
    assert np.sqrt(np.mean(dense**2)) == pytest.approx(1.0)
    assert tlr.n_param("cp", shape, 3) == 3 * (10 + 6 + 15)
    x = np.random.default_rng(0).normal(size=(2, 30))
    assert_allclose(f.apply(x), x @ dense.T, atol=1e-12)
    blocks = tlr.BTMatrix([np.ones((3, 1, 1, 1)), *(np.moveaxis(one, -1, 0)[..., None] for one in f.factors)])
    assert_allclose(blocks.to_matrix(), dense, atol=1e-13)


def test_it_decomposes_by_generic_alternating_least_squares(registered):
    shape = ((2, 3, 5), (5, 2, 3))
    recovered = 0
    for seed in range(10):
        dense = CPMatrix.random(shape, 2, random_state=seed).to_matrix()
        found = tlr.factorize(dense, "cp", shape, 2, n_iter_max=500, tol=1e-14, random_state=seed + 100)
        assert found.rank == 2
        recovered += found.relative_error(dense) < 1e-6
    assert recovered >= 8
