"""Rounding of formats with loops: rings and block terms fitted anew, in their own bases or network to network."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.decomposition.fitting import refit
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tensorly_rnn.decomposition.fitting.subspaces import expanded_by
from tests.backends import every_backend, to_numpy
from tests.strategies import slow_but_one, slow_where

SHAPE = ((3, 2, 5), (5, 3, 2))
LOOPS = (("tr", (2, 3, 2, 2)), ("bt", (2, (2, 3, 2))))
every_loop = pytest.mark.parametrize(("name", "rank"), LOOPS)


def drawn(name, rank, seed=0):
    return tlr.get_format(name).random(SHAPE, rank, random_state=seed)


@pytest.fixture(params=["dense", "network"])
def way(request, monkeypatch):
    """Both ways: the small tensor made, and network fitted to network."""
    if request.param == "network":
        monkeypatch.setattr(refit, "MOST_ENTRIES", 1)
    return request.param


@pytest.mark.parametrize(("name", "rank"), slow_but_one(LOOPS))
@every_backend
def test_a_sum_of_two_that_are_alike_rounds_to_one(name, rank, backend, way):
    if backend.slow and way == "network":
        pytest.skip("every contraction is compiled anew")
    f = drawn(name, rank)
    g = type(f)([backend.array(one) for one in f.factors])
    twice = g + 0.5 * g
    kept = [to_numpy(one).copy() for one in twice.factors]
    found = twice.round(eps=1e-5)
    assert found.n_param <= f.n_param if way == "dense" else found.n_param < twice.n_param
    assert_allclose(to_numpy(found.to_matrix()), 1.5 * f.to_matrix(), atol=1e-5 * np.linalg.norm(f.to_matrix()))
    by_rank = twice.round(rank)
    assert by_rank.rank == rank and type(by_rank) is type(f)
    assert_allclose(to_numpy(by_rank.to_matrix()), 1.5 * f.to_matrix(), atol=1e-6)
    assert all(isinstance(one, backend.kind) for one in by_rank.factors)
    assert all((to_numpy(one) == before).all() for one, before in zip(twice.factors, kept))


@pytest.mark.parametrize(
    "name, rank, eps",
    slow_where(lambda name, _, eps: name == "bt", [(*one, eps) for one in LOOPS for eps in (0.02, 0.2, 0.6)]),
)
def test_the_error_asked_for_is_kept(name, rank, eps, way):
    f, g = drawn(name, rank), drawn(name, rank, seed=1)
    both = f + 0.05 * g
    found = both.round(eps=eps)
    dense = both.to_matrix()
    assert np.linalg.norm(found.to_matrix() - dense) <= eps * np.linalg.norm(dense) * (1 + 1e-6)
    assert found.n_param <= both.n_param
    # Without g it is within 0.05.
    if eps == 0.2 and way == "dense":
        assert found.n_param <= f.n_param


@pytest.mark.parametrize(("name", "rank"), slow_but_one(LOOPS))
def test_a_fit_at_a_rank_is_as_good_as_factorizing_the_dense_matrix(name, rank, way):
    f = drawn(name, rank) + drawn(name, rank, seed=1)
    dense = f.to_matrix()
    lower = 2 if name == "tr" else (2, 2)
    rounded = f.round(lower).relative_error(dense)
    direct = tlr.factorize(dense, name, SHAPE, lower, n_starts=5).relative_error(dense)
    assert rounded <= direct * (1.05 if way == "dense" else 1.25)


@pytest.mark.parametrize(("name", "rank"), slow_but_one(LOOPS))
def test_ranks_never_grow(name, rank, way):
    f = drawn(name, rank)
    more = 9 if name == "tr" else (9, 9)
    assert f.round(more).rank == f.rank
    assert f.round(eps=1e-9).n_param <= f.n_param
    assert_allclose(f.round(more).to_matrix(), f.to_matrix(), atol=1e-6)


def test_tensors_are_refitted_too(way):
    t = tlr.random_bt((8, 9, 10), (2, (2, 3, 2)), random_state=0)
    found = (t + t).round((2, (2, 3, 2)))
    assert isinstance(found, tlr.BTTensor) and found.rank == t.rank
    assert_allclose(found.to_tensor(), 2 * t.to_tensor(), atol=1e-6)


def test_half_precision_and_padding_are_kept(way):
    f = drawn("tr", (2, 3, 2, 2))
    half = tlr.TRMatrix([torch.tensor(one).bfloat16() for one in f.factors], shape=(28, 29))
    found = (half + half).round((2, 3, 2, 2))
    assert found.shape == (28, 29) and found.dtype == torch.bfloat16
    error = torch.linalg.norm((found.to_matrix() - 2 * half.to_matrix()).double()) / torch.linalg.norm(
        2 * half.to_matrix().double()
    )
    assert float(error) < 0.03


def test_nothing_dense_is_made():
    # 16^20 entries.
    modes = (4,) * 20
    f = tlr.TRMatrix.random((modes, modes), 2, random_state=0)
    found = (f + f).round(2)
    assert set(found.rank) == {2}
    assert float((found - 2 * f).norm() / f.norm()) < 1e-6


@every_loop
def test_own_bases_are_of_every_mode_larger_than_its_factors_span(name, rank):
    # Modes 15, 6 and 10 span at most 6, 6 and 4 as a ring, 4, 6 and 4 as blocks.
    kind = tlr.get_format(name)
    network = kind.format.make_tensor_network((15, 6, 10), rank)
    factors = [np.random.default_rng(k).normal(size=shape) for k, shape in enumerate(network.factor_shapes)]
    bases, reduced = refit.in_own_bases(NUMPY, network, factors)
    assert {mode: basis.shape for mode, basis in bases.items()} == {0: (15, 6 if name == "tr" else 4), 2: (10, 4)}
    for basis in bases.values():
        assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-13)
    grown = expanded_by(NUMPY, kind.format.tensor_indices(3), reduced, bases)
    for one, two in zip(grown, factors):
        assert_allclose(one, two, atol=1e-13)


@every_loop
def test_zero_stays_zero(name, rank):
    f = 0.0 * drawn(name, rank)
    assert (f.round(eps=0.1).to_matrix() == 0).all()
    assert f.round(eps=0.1).n_param == tlr.n_param(name, SHAPE, 1 if name == "tr" else (1, 1))
