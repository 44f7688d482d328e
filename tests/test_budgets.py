"""Budgets by parameters and by ratio, the comparison of formats, and its plots."""

import pickle
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import tensorly_rnn as tlr
from tensorly_rnn._checks import BudgetError
from tensorly_rnn.decomposition import _decompose, hierarchical_tucker, tensor_train
from tensorly_rnn.decomposition._algorithms import ALGORITHMS
from tensorly_rnn.decomposition.best_format import _baseline, _svd_result
from tensorly_rnn.decomposition.fitting import subspaces
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tests.cases import every_format, slow_with_loops
from tests.strategies import examples, refused

SHAPE = ((2, 3, 5), (5, 2, 3))


def decaying(seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(30, 30)) @ np.diag(0.7 ** np.arange(30)) @ rng.normal(size=(30, 30))


@slow_with_loops
@given(budget=st.integers(60, 1200), seed=st.integers(0, 100))
@examples(2)
def test_a_budget_is_never_exceeded(case, budget, seed):
    dense = decaying(seed)
    f = tlr.factorize(dense, case.name, SHAPE, n_param=budget, n_iter_max=5)
    assert f.n_param <= budget
    g = tlr.factorize(dense, case.name, SHAPE, compression_ratio=900 / budget, n_iter_max=5)
    assert g.compression_ratio >= 900 / budget * (1 - 1e-12)
    assert abs(g.n_param - f.n_param) <= max(1, 0.5 * budget)


@slow_with_loops
def test_more_budget_is_never_worse_and_at_least_as_good_as_even_ranks(case):
    dense = decaying()
    errors = []
    for budget in (100, 200, 400, 800):
        f = tlr.factorize(dense, case.name, SHAPE, n_param=budget)
        errors.append(f.relative_error(dense))
        even = tlr.factorize(dense, case.name, SHAPE, budget / 900)
        assert even.n_param <= budget
        assert errors[-1] <= even.relative_error(dense) * (1 + 1e-3)
    assert errors == sorted(errors, reverse=True) and errors[-1] < errors[0]


@pytest.mark.parametrize("name", ["tt", "ht"])
def test_ranks_go_where_they_are_needed(name):
    # Only the cut between the first mode and the others carries more than rank 1.
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(6, 4)), rng.normal(size=(4, 7))
    tensor = np.einsum("ar,rb,c->abc", first, second, rng.normal(size=8))
    found = {"tt": tensor_train, "ht": hierarchical_tucker}[name](tensor, n_param=100 if name == "tt" else 92)
    assert np.linalg.norm(np.asarray(found.to_tensor()) - tensor) < 1e-12 * np.linalg.norm(tensor)


@every_format
def test_budgets_that_cannot_be_met_or_read_are_refused(case):
    dense = decaying()
    refused(
        (ValueError, r"^n_param=3 must leave room for rank 1; expected a budget of at least \d+ parameters .*, got 3", lambda: tlr.factorize(dense, case.name, SHAPE, n_param=3)),
        (BudgetError, r"^compression_ratio=500 must leave room for rank 1", lambda: tlr.factorize(dense, case.name, SHAPE, compression_ratio=500)),
    )  # fmt: skip
    with pytest.raises(BudgetError, match=r"^rank=0.001 must leave room for rank 1") as caught:
        tlr.get_format(case.name).random(SHAPE, 0.001)
    minimum = tlr.get_format(case.name).random(SHAPE, 1, random_state=0).n_param
    again = pickle.loads(pickle.dumps(caught.value))
    assert type(again) is BudgetError and str(again) == str(caught.value)
    assert again.minimum == caught.value.minimum == minimum
    refused(
        (ValueError, "n_param must be the only budget; .* got rank and n_param", lambda: tlr.factorize(dense, case.name, SHAPE, 2, n_param=300)),
        (ValueError, "compression_ratio must be the only budget; .* got n_param and compression_ratio", lambda: tlr.factorize(dense, case.name, SHAPE, n_param=300, compression_ratio=3.0)),
        (ValueError, "eps must be the only budget; .* got n_param and eps", lambda: tlr.factorize(dense, case.name, SHAPE, n_param=300, eps=0.1)),
        (TypeError, "n_param must be a positive integer; expected int, got 3.5", lambda: tlr.factorize(dense, case.name, SHAPE, n_param=3.5)),
    )  # fmt: skip
    for ratio in (0, -1.0, float("nan"), float("inf"), "10", True):
        with pytest.raises(ValueError, match="compression_ratio must be a positive number; got"):
            tlr.factorize(dense, case.name, SHAPE, compression_ratio=ratio)


@pytest.mark.parametrize(
    ("array", "name", "modes"), [(np.array, "tr", (4, 4, 4)), (torch.tensor, "ht", (3, 3, 3, 3))], ids=["numpy", "pytorch"]
)
@pytest.mark.slow
def test_the_best_format_is_that_of_the_planted_matrix(array, name, modes):
    planted = tlr.get_format(name).random((modes, modes), 3, random_state=0)
    comparison = tlr.best_format(array(planted.to_matrix()), (modes, modes), n_param=planted.n_param, n_iter_max=30)
    assert comparison.best.n_param <= planted.n_param
    errors = [one.error for one in comparison.results if one.found is not None]
    assert errors == sorted(errors)
    assert comparison.best.relative_error(array(planted.to_matrix())) == pytest.approx(errors[0], abs=1e-12)
    assert comparison.best.name == name and errors[0] < 1e-8


@pytest.mark.parametrize("name", ["tt", "ht"])
@pytest.mark.parametrize("budget", [150, 300, 500])
def test_no_decomposition_at_the_ranks_found_is_better(name, budget):
    dense = decaying()
    found = tlr.factorize(dense, name, SHAPE, n_param=budget)
    again = tlr.factorize(dense, name, SHAPE, found.rank)
    assert found.relative_error(dense) <= again.relative_error(dense) * (1 + 1e-9)


def test_fits_within_a_budget_begin_at_even_ranks_of_every_family_and_at_uneven_ones(monkeypatch):
    fitted = []

    def solve(problem):
        fitted.append(problem.rank)
        return problem.random_start()

    monkeypatch.setitem(ALGORITHMS, "bt", ALGORITHMS["bt"]._replace(solve=solve))
    found = tlr.factorize(decaying(), "bt", SHAPE, n_param=200)
    column = (tuple(m * n for m, n in zip(*SHAPE)), (1, 1, 1))
    even = [tlr.BTMatrix.format.rank_at_most(column, 200, **family) for family in tlr.BTMatrix.format.families]
    assert len(set(even)) == 3 and None not in even
    assert fitted[:3] == even and len(fitted) == 4
    assert found.n_param <= 200


def test_the_singular_value_decomposition_by_hand():
    dense = decaying()
    values = np.linalg.svd(dense, compute_uv=False)
    baseline = _baseline(NUMPY, 3.0 * dense)
    for rank, (n_param, error) in enumerate(baseline, start=1):
        assert n_param == 60 * rank
        assert error == pytest.approx(np.linalg.norm(values[rank:]) / np.linalg.norm(values), abs=1e-12)
    for word, value in (("n_param", 310), ("compression_ratio", 2.9)):
        found = _svd_result(baseline, word, value, dense.shape)
        assert (found.rank, found.n_param, found.error) == (5, 300, baseline[4][1])
    found = _svd_result(baseline, "eps", 0.3, dense.shape)
    assert found.error <= 0.3 < baseline[found.rank - 2][1] and found.n_param == 60 * found.rank


def test_by_error_the_smallest_is_best():
    dense = decaying()
    started = time.perf_counter()
    comparison = tlr.best_format(dense, SHAPE, eps=0.2, formats=("tt", "ht"))
    assert 0 < sum(one.seconds for one in comparison.results if one.found is not None) <= time.perf_counter() - started
    assert list(comparison.curves) == ["tt", "ht", "svd"] and len(comparison.curves["svd"]) == 30
    assert all(curve == sorted(curve) and len(curve) > 1 for curve in comparison.curves.values())
    counts = [one.n_param for one in comparison.results]
    assert counts == sorted(counts)
    assert all(one.error <= 0.2 for one in comparison.results)
    assert comparison.best.n_param == min(one.n_param for one in comparison.results if one.found is not None)


def test_the_table_names_what_cannot_be_met():
    dense = decaying()
    comparison = tlr.best_format(dense, SHAPE, n_param=32, formats=("tt", "ht"))
    lines = str(comparison).splitlines()
    assert lines[0].split() == ["n_param=32", "parameters", "ratio", "error", "seconds", "rank"]
    assert any("expected a budget of at least 33 parameters" in line for line in lines)
    assert any(line.startswith("svd") and "at least 60 parameters" in line for line in lines)
    assert "ht" not in {one.format for one in comparison.results if one.found is not None}
    assert all(curve == sorted(curve) and len(curve) > 1 and curve[0][0] > 0 for curve in comparison.curves.values())
    assert all(0 <= one.seconds < 600 for one in comparison.results)


def test_modes_are_chosen_where_none_are_given():
    dense = np.random.default_rng(0).normal(size=(60, 33))
    comparison = tlr.best_format(dense, compression_ratio=4.0, formats=("tt",))
    found = tlr.factorize(dense, "tt", compression_ratio=4.0)
    assert (comparison.best.shape, comparison.best.tensorized_shape) == ((60, 33), found.tensorized_shape)


def test_comparisons_that_make_no_sense_are_refused():
    dense = decaying()
    refused(
        (ValueError, "n_param, compression_ratio or eps must be given, and one of them only; got none", lambda: tlr.best_format(dense, SHAPE)),
        (ValueError, r"one of them only; got \{'n_param': 100, 'eps': 0.1\}", lambda: tlr.best_format(dense, SHAPE, n_param=100, eps=0.1)),
        (ValueError, "n_param must leave room for rank 1 of a format; expected a budget of at least", lambda: tlr.best_format(dense, SHAPE, n_param=3)),
        (ValueError, "formats must be known; expected one of .* got 'cp'", lambda: tlr.best_format(dense, SHAPE, n_param=300, formats=("cp",))),
        (ValueError, "matrix must have rows and columns; expected two axes, got shape", lambda: tlr.best_format(dense.ravel(), n_param=300)),
        (TypeError, "n_param must be a positive integer; expected int, got 300.5", lambda: tlr.best_format(dense, SHAPE, n_param=300.5, formats=("tt",))),
        (ValueError, "eps must be a relative error; expected a number between 0 and 1, got 1.5", lambda: tlr.best_format(dense, SHAPE, eps=1.5, formats=("tt",))),
        (ValueError, "^compression_ratio must be a positive number; got '3'", lambda: tlr.best_format(dense, SHAPE, compression_ratio="3")),
        (TypeError, "^matrix must be real floating point", lambda: tlr.best_format(np.ones((30, 30), dtype=int), SHAPE, n_param=80)),
        (ValueError, "matrix must be finite", lambda: tlr.best_format(np.full((30, 30), np.nan), SHAPE, n_param=300)),
    )  # fmt: skip


def test_plots_return_axes_and_show_nothing():
    dense = decaying()
    comparison = tlr.best_format(dense, SHAPE, n_param=300, formats=("tt", "ht"))
    given_axes = Figure().subplots()
    assert comparison.plot(ax=given_axes) is given_axes
    assert [line.get_label() for line in given_axes.lines[:3]] == ["tt", "ht", "svd"]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ["tt", "ht"])
def test_an_error_asked_for_is_spent(monkeypatch, name, dtype):
    shape = ((4, 4, 4), (4, 4, 4))
    dense = np.random.default_rng(0).normal(size=(64, 64)) @ np.diag(0.8 ** np.arange(64))
    for eps in (0.5, 0.2):
        found = tlr.factorize(dense.astype(dtype), name, shape, eps=eps)
        assert 0.85 * eps < found.relative_error(dense.astype(dtype)) <= eps
        with monkeypatch.context() as patch:
            patch.setattr(_decompose, "within_error", lambda problem, direct: direct(problem))
            evenly = tlr.factorize(dense.astype(dtype), name, shape, eps=eps)
        assert found.n_param < evenly.n_param


def test_a_large_tensor_is_met_in_parts(monkeypatch):
    dense = np.random.default_rng(0).normal(size=(64, 64)) @ np.diag(0.8 ** np.arange(64))
    whole = tlr.factorize(dense, "tt", ((4, 4, 4), (4, 4, 4)), eps=0.2)
    monkeypatch.setattr(subspaces, "PIECE", 100)
    heard = []
    parts = tlr.factorize(dense, "tt", ((4, 4, 4), (4, 4, 4)), eps=0.2, callback=lambda _, error: heard.append(error))
    assert parts.rank == whole.rank
    assert heard == [pytest.approx(parts.relative_error(dense))]


@pytest.mark.parametrize(("seed", "eps"), [(66, 0.3011017495149593), (3, 0.4), (12, 0.25)])
def test_what_is_rounded_away_is_measured_and_not_only_reckoned(seed, eps):
    # On this stack the squares of the two errors add up to more than their sum.
    rng = np.random.default_rng(seed)
    dense = rng.normal(size=(90, 30)) @ np.diag(0.5 ** np.arange(30)) @ rng.normal(size=(30, 30))
    assert tlr.factorize(dense, "ht", SHAPE, eps=eps, root_rank=3).relative_error(dense) <= eps
