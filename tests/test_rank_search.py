"""Ranks by the error asked for, where ranks are fitted: the bounds, the error kept, the upper bounds, the counts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import rank_search
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tensorly_rnn.decomposition.rank_search import cuts, possible_sizes, unfolding_ranks
from tests.backends import every_backend
from tests.benchmarks.recovery import ring
from tests.cases import every_format
from tests.reference import unfolded
from tests.strategies import examples, slow_but_one
from tests.test_fit import reconstruct

FITTED = ("bt", "tr")
SHAPE = ((2, 3, 2), (3, 2, 2))


def problem_of(tensor, name, rank, error):
    return Problem(
        NUMPY, tensor[None], tlr.get_format(name).format, rank, np.random.default_rng(0), 100, 1e-6, max_error=error
    )


@every_format
@given(data=st.data(), seed=st.integers(0, 100))
@examples(6)
def test_no_unfolding_has_a_rank_above_its_cheapest_cut(case, data, seed):
    rank = data.draw(case.ranks(4))
    if case.name == "ht":
        rank = (1, *rank[1:])
    network = tlr.get_format(case.name).format.make_tensor_network((4, 3, 5, 3), rank)
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=shape) for shape in network.factor_shapes]
    tensor = reconstruct(network, factors).reshape(4, 3, 5, 3)
    # Terms may cancel: what rounding leaves is relative to their size, not to that of their sum.
    rounding = 1e-12 * math.prod(float(np.linalg.norm(factor)) for factor in factors)
    for size in (1, 2):
        for group in itertools.combinations(range(4), size):
            least = min(math.prod(network.size[index] for index in cut) for cut in cuts(network, group))
            found = np.linalg.matrix_rank(unfolded(tensor, group), tol=rounding)
            assert found <= least
            # Random factors reach the bound wherever the sizes of the unfolding, and of what is cut on the way, allow it.
            if size == 1 and case.name != "ht":
                assert found == min(least, tensor.shape[group[0]], tensor.size // tensor.shape[group[0]]) or case.name == "bt"


def test_the_bounds_of_a_ring_are_products_of_two_bonds():
    network = tlr.TRMatrix.format.make_tensor_network((2, 2, 2, 2), (3, 5, 7, 11, 3))
    assert cuts(network, (1,)) == [("r1", "r2")]
    assert cuts(network, (0, 1)) == [("r0", "r2")]
    assert cuts(network, (0, 2)) == [("r0", "r1", "r2", "r3")]


def test_the_bounds_of_blocks_have_the_core_on_either_side():
    network = tlr.BTMatrix.format.make_tensor_network((2, 2, 2), (5, (2, 3, 7)))
    assert {frozenset(cut) for cut in cuts(network, (1,))} == {frozenset(("n", "r2")), frozenset(("n", "r1", "r3"))}


@given(seed=st.integers(0, 100), error=st.floats(1e-3, 0.9))
@example(seed=0, error=0.3)
def test_unfolding_ranks_are_those_of_the_singular_values(seed, error):
    tensor = np.random.default_rng(seed).normal(size=(3, 4, 5))
    allowed = error * np.linalg.norm(tensor)
    for group, rank in unfolding_ranks(problem_of(tensor, "tr", (1, 1, 1, 1), allowed))[0].items():
        values = np.linalg.svd(unfolded(tensor, group), compute_uv=False)
        if rank > 1:
            assert np.linalg.norm(values[rank - 1 :]) > allowed
        assert np.linalg.norm(values[rank:]) <= 1.01 * allowed


def test_possible_ranks_are_all_of_them_in_order():
    network = tlr.TRMatrix.format.make_tensor_network((6, 5, 4), (1, 6, 4, 1))
    ranks = {(0,): 5, (1,): 4, (2,): 4}
    found = [tuple(one[f"r{k}"] for k in range(3)) for one in possible_sizes(network, ranks, None, 90)]

    def count(r):
        return 6 * r[0] * r[1] + 5 * r[1] * r[2] + 4 * r[2] * r[0]

    expected = [
        r
        for r in itertools.product(range(1, 30), repeat=3)
        if r[0] * r[1] >= 5 and r[1] * r[2] >= 4 and r[2] * r[0] >= 4 and count(r) <= 90
    ]
    assert expected and set(found) == set(expected)
    assert [count(r) for r in found] == sorted(count(r) for r in expected)
    assert possible_sizes(network, ranks, {"r0": 1, "r1": 9, "r2": 9}, 10**6)[0] == {"r0": 1, "r1": 5, "r2": 4}


def test_possible_ranks_reach_as_far_as_the_parameters(monkeypatch):
    monkeypatch.setattr(rank_search, "TRIES", 10**6)
    network = tlr.TRMatrix.format.make_tensor_network((6, 5, 4), (1, 6, 4, 1))
    found = {tuple(one[f"r{k}"] for k in range(3)) for one in possible_sizes(network, {}, None, 90)}
    expected = {
        r for r in itertools.product(range(1, 30), repeat=3) if 6 * r[0] * r[1] + 5 * r[1] * r[2] + 4 * r[2] * r[0] <= 90
    }
    assert found == expected and max(expected)[0] == 8


def test_where_there_are_too_many_ranks_large_ones_are_thinned_out(monkeypatch):
    network = tlr.TRMatrix.format.make_tensor_network((60, 50, 40), (1, 6, 4, 1))
    every = possible_sizes(network, {(0,): 30}, None, 10_000)
    assert every and all(one["r0"] * one["r1"] >= 30 for one in every)
    # At most 3 each near together, which is not enough.
    monkeypatch.setattr(rank_search, "MOST_RANKS", 30)
    few = possible_sizes(network, {(0,): 30}, None, 10_000)
    assert few and all(one["r0"] * one["r1"] >= 30 for one in few)
    near = possible_sizes(network, {(0,): 5}, None, 10_000)
    assert near and all(max(one.values()) <= 3 for one in near)


def test_ranks_tried_are_told(capsys):
    planted = tlr.TRMatrix.random(SHAPE, (2, 2, 3, 2), random_state=0)
    found = tlr.factorize(planted.to_matrix(), "tr", SHAPE, eps=1e-6, n_iter_max=30, verbose=True)
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rank ")]
    assert f"rank {found.rank}" in told and found.n_param <= planted.n_param


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.slow
def test_a_ring_asked_for_by_its_error_is_the_planted_one(seed):
    planted = ring(np.random.default_rng(seed))
    dense = planted.to_matrix()
    found = tlr.factorize(dense, "tr", planted.tensorized_shape, eps=1e-6)
    assert found.relative_error(dense) <= 1e-6
    assert found.n_param <= 1.1 * planted.n_param


@pytest.mark.parametrize("rank", [(2, (2, 2, 3)), (2, (3, 2, 2)), (3, (2, 2, 2))])
@pytest.mark.slow
def test_blocks_asked_for_by_their_error_are_the_planted_ones(rank):
    f = tlr.BTMatrix.random(((4, 3, 5), (3, 5, 3)), rank, random_state=0)
    dense = f.to_matrix()
    noise = np.random.default_rng(1).normal(size=dense.shape)
    noise *= 1e-3 * np.linalg.norm(dense) / np.linalg.norm(noise)
    for matrix, eps in ((dense, 1e-6), (dense + noise, 1.05e-3)):
        found = tlr.factorize(matrix, "bt", f.tensorized_shape, eps=eps)
        assert found.relative_error(matrix) <= eps
        assert found.n_param <= 1.1 * f.n_param


@pytest.mark.parametrize("name", slow_but_one(FITTED, 1))
@every_backend
def test_the_error_asked_for_is_kept(monkeypatch, name, backend):
    monkeypatch.setattr(rank_search, "TRIES", 3)
    monkeypatch.setattr(rank_search, "ROUNDS", (1,))

    @examples(1, backend.slow)
    @given(eps=st.sampled_from([0.3, 1e-2]) if backend.slow else st.floats(1e-8, 0.9), seed=st.integers(0, 100))
    def law(eps, seed):
        rng = np.random.default_rng(seed)
        smooth = np.diag(0.5 ** np.arange(12))
        dense = backend.array(rng.normal(size=(12, 12)) @ smooth @ rng.normal(size=(12, 12)))
        f = tlr.factorize(dense, name, SHAPE, eps=eps, n_iter_max=60)
        assert f.relative_error(dense) <= eps * (1 + 1e-10)
        assert isinstance(f.factors[0], backend.kind)

    law()


@pytest.mark.parametrize("name", FITTED)
def test_never_more_parameters_than_what_is_certain(monkeypatch, name):
    monkeypatch.setattr(rank_search, "TRIES", 3)
    monkeypatch.setattr(rank_search, "ROUNDS", (1,))
    dense = np.random.default_rng(0).normal(size=(12, 12))
    certain = {"tr": "tt", "bt": "bt"}[name]
    for eps in (0.5, 1e-9):
        found = tlr.factorize(dense, name, SHAPE, eps=eps)
        if name == "tr" or eps < 1e-8:
            assert found.n_param <= max(
                tlr.factorize(dense, "tt", SHAPE, eps=eps).n_param, tlr.n_param(certain, SHAPE, "full")
            )
        assert found.relative_error(dense) <= eps


def test_a_rank_given_besides_bounds_the_ranks_found():
    planted = ring(np.random.default_rng(14))
    dense = planted.to_matrix()
    order = len(planted.rank) - 1
    chain = tlr.factorize(dense, "tr", planted.tensorized_shape, (1, *(40,) * (order - 1), 1), eps=1e-6)
    assert chain.rank[0] == 1
    assert chain.relative_error(dense) <= 1e-6
    # At the error's expense.
    capped = tlr.factorize(dense, "tr", planted.tensorized_shape, 2, eps=1e-6)
    assert max(capped.rank) <= 2
    fitted = tlr.factorize(dense, "tr", planted.tensorized_shape, 2)
    assert capped.relative_error(dense) <= 1.05 * fitted.relative_error(dense)


def test_tensors_of_large_ranks_take_few_fits(monkeypatch):
    calls = []
    monkeypatch.setattr(rank_search, "MANY_UNKNOWNS", 10)
    original = rank_search.relative_error
    monkeypatch.setattr(rank_search, "relative_error", lambda *given: calls.append(1) or original(*given))
    dense = np.random.default_rng(0).normal(size=(12, 12))
    found = tlr.factorize(dense, "tr", SHAPE, eps=0.3, n_iter_max=20)
    assert found.relative_error(dense) <= 0.3
    assert len(calls) <= rank_search.FEW_TRIES + rank_search.FEW_HALVINGS + 3
