"""Unusual use: extreme scales, broken initializations, odd arrays, mistyped options."""

import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from tensorly.tr_tensor import TRTensor
from tensorly.tt_tensor import TTTensor

import tensorly_rnn as tlr
from tensorly_rnn import plot
from tensorly_rnn.decomposition import (
    BlockTerm,
    HierarchicalTucker,
    block_term,
    hierarchical_tucker,
    tensor_ring,
    tensor_train,
)
from tests.cases import every_format

MODES = ((2, 2, 3), (2, 2, 3))
W = np.random.default_rng(0).normal(size=(12, 12))
T = np.random.default_rng(0).normal(size=(4, 5, 6))


@pytest.mark.parametrize("name", ["tr", "bt"])
@pytest.mark.parametrize("scale", [1.0, 1e6, 1e-20, 1e60])
def test_a_start_means_the_same_at_every_scale(name, scale):
    dense = scale * W
    start = tlr.factorize(dense, name, MODES, 2)
    told = []
    found = tlr.factorize(dense, name, MODES, 2, init=start, n_iter_max=3, callback=lambda _, error: told.append(error))
    assert found.relative_error(dense) <= start.relative_error(dense) * (1 + 1e-12)
    assert all(error < 1 for error in told)


@every_format
@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1e-25), (np.float32, 1e20), (np.float64, 1e-165), (np.float64, 1e160)]
)
def test_norms_and_rounding_hold_at_every_scale(case, dtype, scale):
    f = tlr.get_format(case.name).random(MODES, 2, random_state=0, like=np.zeros(1, dtype))
    g = type(f)([factor * dtype(scale ** (1 / len(f.factors))) for factor in f.factors])
    tolerance = 1e-4 if dtype == np.float32 else 1e-10
    assert float(g.norm()) == pytest.approx(float(f.norm()) * scale, rel=tolerance)
    assert g.round(2).rank == f.round(2).rank
    assert g.round(2).relative_error(g.to_matrix()) < 1e-3
    assert g.round(eps=0.3).relative_error(g.to_matrix()) <= 0.3


def test_a_start_that_is_broken_is_refused():
    start = tlr.BTMatrix.random(MODES, (2, 2), random_state=0)
    for bad in (np.nan, np.inf):
        broken = [factor.copy() for factor in start.factors]
        broken[0][0, 0, 0, 0] = bad
        with pytest.raises(ValueError, match="^init must be finite; expected numbers, got NaN or infinity"):
            tlr.factorize(W, "bt", MODES, (2, 2), init=broken)
    for bad in (None, 3, []):
        with pytest.raises(TypeError, match="^init must be 'svd', 'random' or factors; expected .* got"):
            tlr.factorize(W, "bt", MODES, (2, 2), init=bad)


@pytest.mark.parametrize(("function", "rank", "kind"), [(tensor_ring, 2, TRTensor), (tensor_train, 2, TTTensor)])
def test_callbacks_get_what_is_returned_and_results_are_starts(function, rank, kind):
    heard = []
    found = function(T, rank, n_iter_max=5, callback=lambda one, _: heard.append(type(one)))
    assert set(heard) == {type(found)} and isinstance(found, kind)
    if function is tensor_ring:
        again = function(T, rank, init=found, n_iter_max=2)
        assert isinstance(again, kind)
    blocks = block_term(T, (2, 2), n_iter_max=5)
    assert block_term(T, (2, 2), init=blocks.factors, n_iter_max=2).relative_error(T) <= blocks.relative_error(T)


@pytest.mark.parametrize("answer", [np.True_, np.array(True), torch.tensor(True), True])
def test_any_kind_of_true_stops(answer):
    heard = []
    tlr.factorize(W, "bt", MODES, (2, 2), n_starts=9, callback=lambda *_: heard.append(1) or answer)
    assert len(heard) == 1


def test_trees_of_another_number_of_leaves_are_refused():
    for tree in ((0, 1), ((0, 1), (2, 3)), 0):
        for call in (
            lambda tree=tree: hierarchical_tucker(T, 2, tree=tree),
            lambda tree=tree: tlr.random_ht((3, 4, 5), 2, tree=tree),
            lambda tree=tree: tlr.ht_n_param((3, 4, 5), 2, tree=tree),
            lambda tree=tree: tlr.n_param("ht", MODES, 2, tree=tree),
            lambda tree=tree: tlr.HTTensor(tlr.random_ht((3, 4, 5), 2, random_state=0).factors, tree=tree),
            lambda tree=tree: tlr.HTMatrix(tlr.HTMatrix.random(MODES, 2, random_state=0).factors, tree=tree),
        ):
            with pytest.raises(ValueError, match="tree must have one leaf per mode; expected 3 leaves, got"):
                call()
    with pytest.raises(ValueError, match=r"expected 3 leaves, got \(\(\(0, 1\), 2\), 3\) with 4\."):
        tlr.HTMatrix.random(MODES, 2, tree=(((0, 1), 2), 3))


def test_mistyped_options_are_refused_under_budgets_too():
    for name, option in (("ht", "rootrank"), ("tt", "tree"), ("tr", "foo"), ("bt", "n_blocks")):
        for settings in ({"n_param": 80}, {"compression_ratio": 1.5}, {"eps": 0.5}, {"rank": 2}):
            with pytest.raises(TypeError, match=f"^{option} must be an option of the format '{name}'"):
                tlr.factorize(W, name, MODES, **settings, **{option: 2})
    with pytest.raises(TypeError, match="^foo must be a setting; expected one of"):
        BlockTerm(2, foo=3)
    assert HierarchicalTucker(2, tree=((0, 2), 1)).fit_transform(T).tree == ((0, 2), 1)


@every_format
def test_half_precision_holds_a_norm_that_is_more_than_its_largest_number(case):
    dense = (np.random.default_rng(0).random((64, 64)) * 1e4).astype(np.float16)
    f = tlr.factorize(dense, case.name, ((4, 4, 4), (4, 4, 4)), 2, n_iter_max=5)
    assert all(np.isfinite(factor).all() for factor in f.factors)
    assert f.relative_error(dense) < 0.6


@every_format
def test_an_error_of_nothing_needs_no_rank(case):
    f = tlr.factorize(0 * W, case.name, MODES, eps=0.1)
    assert f.n_param == tlr.n_param(case.name, MODES, 1 if case.name != "bt" else (1, 1))
    assert (f.to_matrix() == 0).all()
    with pytest.raises(ValueError, match="eps must be a relative error; expected a number between 0 and 1, got 2.0"):
        tlr.factorize(0 * W, case.name, MODES, eps=2.0)


def test_the_baseline_holds_at_every_scale():
    plain = tlr.best_format(W, MODES, n_param=80, formats=("tt",))
    for scale in (1e-200, 1e200):
        scaled = tlr.best_format(scale * W, MODES, n_param=80, formats=("tt",))
        assert [one.error for one in scaled.results] == pytest.approx([one.error for one in plain.results])


def test_comparisons_say_what_was_wrong_with_what_was_typed():
    for formats in ([], "tt", 3):
        with pytest.raises(TypeError, match="^formats must be a list of names; expected some of"):
            tlr.best_format(W, MODES, n_param=80, formats=formats)


def test_arrays_that_are_none_are_refused():
    for odd in (
        np.ma.masked_array(W, W > 1),
        W.view(np.matrix),
        torch.empty(12, 12, device="meta"),
        torch.tensor(W).to_sparse(),
    ):
        with pytest.raises(TypeError, match="^matrix must be a plain dense array; expected numbers in every entry, got"):
            tlr.factorize(odd, "tt", MODES, 2)
    with pytest.raises(TypeError, match="^callback must be callable; expected a function .* got 3 of type int"):
        tlr.factorize(W, "tt", MODES, 2, callback=3)
    for bad in ([], 3):
        with pytest.raises(TypeError, match="^tt_tensor must be a tensor train; expected TTTensor or a list of cores"):
            tlr.HTTensor.from_tt(bad)
    for bad in (3, (None, []), (None, [np.ones((3, 2)), np.ones((4, 3))])):
        with pytest.raises(TypeError, match="^cp must be a CP tensor; expected CPTensor"):
            tlr.BTTensor.from_cp(bad)
    with pytest.raises(TypeError, match="^tucker must be a Tucker tensor; expected TuckerTensor or .*, got int"):
        tlr.BTTensor.from_tucker(3)


def test_trees_are_seen():
    on_tree = tlr.HTMatrix.random(MODES, 2, tree=((0, 2), 1), random_state=0)
    assert "tree=((0, 2), 1)" in repr(on_tree)
    assert "tree=((0, 2), 1)" in repr(tlr.random_ht((3, 4, 5), 2, tree=((0, 2), 1), random_state=0))
    with pytest.raises(
        TypeError, match=r"must be of the same format; expected HTMatrix of tree=\(\(0, 2\), 1\), got HTMatrix\."
    ):
        on_tree + tlr.HTMatrix.random(MODES, 2, random_state=0)


def test_plots_of_nothing_are_empty():
    comparison = tlr.best_format(0 * W, MODES, n_param=80, formats=("tt",))
    assert len(comparison.plot(ax=Figure().subplots()).lines) == 0
    line = tlr.factorize(W, "tt", ((12,), (12,)), "full")
    assert len(plot.singular_values(line, ax=Figure().subplots()).lines) == 0
    assert math.isfinite(comparison.best.relative_error(0 * W))
