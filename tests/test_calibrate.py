"""Factors refitted to inputs: on real data, against plain sums, on every backend."""

import numpy as np
import pytest

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import calibrate
from tensorly_rnn.decomposition.fitting.fit_to_inputs import merged_rows
from tests.backends import every_backend
from tests.benchmarks.calibration import measured
from tests.strategies import refused, slow_but_one

every_format = pytest.mark.parametrize("name", tlr.available_formats())


def planted(shape=(11, 13), batch=40, seed=0):
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((shape[1], shape[1])) * 0.6 ** np.arange(shape[1])
    return rng.standard_normal(shape), rng.standard_normal((batch, shape[1])) @ mixed.T


def objective(f, matrix, inputs, ridge):
    """Sum over rows and entries, one after the other."""
    difference = matrix - f.to_matrix()
    outputs = sum(float(difference[j] @ x) ** 2 for j in range(matrix.shape[0]) for x in inputs)
    mean = sum(float(x @ x) for x in inputs) / matrix.shape[1]
    return outputs + ridge * mean * sum(float(entry) ** 2 for entry in difference.ravel())


@pytest.mark.parametrize("name", slow_but_one(tlr.available_formats(), 3))
def test_a_layer_trained_on_digits_has_at_least_a_fifth_less_error_on_held_out_inputs(name):
    for row in measured(name, seed=0):
        assert row.refitted <= 0.8 * row.plain, row


@every_format
@pytest.mark.parametrize("ridge", [0.0, 1e-2, 10.0])
@pytest.mark.parametrize("batch", [1, 5, 40])
def test_it_finds_a_stationary_point_below_its_start(name, ridge, batch):
    matrix, inputs = planted(batch=batch)
    f = tlr.factorize(matrix, name, ((3, 4), (2, 7)), rank=2)
    found = calibrate(f, matrix, inputs, ridge=ridge, n_iter_max=3000)
    assert type(found) is type(f) and found.rank == f.rank and found.shape == (11, 13)
    before, after = (objective(one, matrix, inputs, ridge) for one in (f, found))
    assert after < before
    if ridge:
        whole = objective(tlr.get_format(name)([0 * one for one in f.factors], shape=f.shape), matrix, inputs, ridge)
        # Central differences along random directions of every factor.
        rng = np.random.default_rng(1)
        for k, factor in enumerate(found.factors):
            step = rng.standard_normal(factor.shape) * 1e-4 * np.linalg.norm(factor) / factor.size**0.5
            moved = [[*found.factors[:k], factor + sign * step, *found.factors[k + 1 :]] for sign in (1, -1)]
            ends = [objective(type(f)(factors, shape=f.shape), matrix, inputs, ridge) for factors in moved]
            assert abs(ends[0] - ends[1]) < 1e-6 * whole


@pytest.mark.parametrize(("stack", "shape"), [(1, (7, 5)), (2, (14, 5))])
def test_one_mode_rank_one_and_stacks(stack, shape):
    matrix, inputs = planted(shape)
    f = tlr.factorize(matrix, "ht", ((8,), (6,)), rank="full", root_rank=stack)
    assert calibrate(f, matrix, inputs).relative_error(matrix) < 1e-6
    weaker = type(f)([0.5 * one for one in f.factors], shape=f.shape)
    assert calibrate(weaker, matrix, inputs, n_iter_max=5000, ridge=1.0).relative_error(matrix) < 1e-4


def test_with_even_inputs_nothing_is_gained_over_the_best_approximation():
    matrix, _ = planted((8, 9))
    f = tlr.factorize(matrix, "tt", ((2, 4), (3, 3)), rank=2)
    found = calibrate(f, matrix, np.eye(9))
    assert found.relative_error(matrix) == pytest.approx(f.relative_error(matrix), abs=1e-9)
    # Inputs that say nothing leave the entries.
    assert calibrate(f, matrix, np.zeros((3, 9))).relative_error(matrix) == pytest.approx(f.relative_error(matrix), abs=1e-9)
    nothing = tlr.factorize(np.zeros((8, 9)), "tt", ((2, 4), (3, 3)), rank=2)
    assert np.all(calibrate(nothing, np.zeros((8, 9)), np.eye(9)).to_matrix() == 0)


@every_backend
def test_every_backend_gives_what_numpy_gives(backend):
    matrix, inputs = planted()
    f = tlr.factorize(matrix, "tt", ((3, 4), (2, 7)), rank=2)
    expected = calibrate(f, matrix, inputs.reshape(4, 10, 13))
    own = tlr.TTMatrix([backend.array(one) for one in f.factors], shape=f.shape)
    found = calibrate(own, backend.array(matrix), backend.array(inputs))
    assert type(found.factors[0]) is type(own.factors[0]) and found.dtype == own.dtype
    np.testing.assert_allclose(backend.to_numpy(found.to_matrix()), expected.to_matrix(), atol=1e-5)


def test_merged_rows_keep_all_products():
    _, inputs = planted(batch=100)
    rows = None
    for piece in np.split(inputs, 10):
        rows = merged_rows(rows, piece.reshape(2, 5, 13))
        assert len(rows) <= 26
    assert len(merged_rows(None, inputs)) <= 26
    assert (merged_rows(None, inputs[:20]) == inputs[:20]).all()
    np.testing.assert_allclose(rows.T @ rows, sum(np.outer(x, x) for x in inputs), atol=1e-11)


def test_wrong_arguments_are_errors():
    matrix, inputs = planted()
    f = tlr.factorize(matrix, "tt", ((3, 4), (2, 7)), rank=2)
    refused(
        (TypeError, "^f must be a factorized matrix; got ndarray", lambda: calibrate(matrix, matrix, inputs)),
        (ValueError, r"matrix must have the shape of f; expected \(11, 13\), got \(11, 12\)", lambda: calibrate(f, matrix[:, 1:], inputs)),
        (ValueError, r"inputs must be rows of the matrix's columns, one or more; expected \(..., 13\), got \(40, 12\)", lambda: calibrate(f, matrix, inputs[:, 1:])),
        (ValueError, r"got \(0, 13\)", lambda: calibrate(f, matrix, inputs[:0])),
        (TypeError, "inputs must be real floating point; got int64", lambda: calibrate(f, matrix, inputs.astype(int))),
        (TypeError, "inputs must be of the same backend", lambda: calibrate(f, matrix, inputs.tolist())),
        (ValueError, "inputs must be finite", lambda: calibrate(f, matrix, inputs * np.nan)),
        (ValueError, "matrix must be finite", lambda: calibrate(f, matrix * np.inf, inputs)),
        (ValueError, "ridge must be a finite number of at least 0; got -1", lambda: calibrate(f, matrix, inputs, ridge=-1)),
        (ValueError, "n_iter_max must be a positive integer", lambda: calibrate(f, matrix, inputs, n_iter_max=0)),
    )  # fmt: skip


@every_format
@pytest.mark.parametrize("ridge", [0.0, 1e-2])
@pytest.mark.parametrize("batch", [5, 40])
def test_with_one_mode_for_the_inputs_it_is_the_best_product_of_two_factors(name, ridge, batch):
    matrix, inputs = planted(batch=batch)
    f = tlr.factorize(matrix, name, ((1, 11), (13, 1)), n_param=100)
    found = calibrate(f, matrix, inputs, ridge=ridge)
    rank = np.linalg.matrix_rank(f.to_matrix())
    scale = float(np.sum(inputs**2)) / 13
    values, vectors = np.linalg.eigh(inputs.T @ inputs + ridge * scale * np.eye(13))
    lost = np.linalg.svd(matrix @ vectors * np.sqrt(np.maximum(values, 0)), compute_uv=False)[rank:]
    best, whole = (objective(one, matrix, inputs, ridge) for one in (found, 0.0 * f))
    assert 1 <= rank <= 4 and found.rank == f.rank
    assert best == pytest.approx(float(np.sum(lost**2)), rel=1e-10, abs=1e-10 * whole)


def test_a_tree_is_kept():
    matrix, inputs = planted((8, 24))
    f = tlr.factorize(matrix, "ht", ((2, 2, 2), (2, 3, 4)), rank=2, tree=((0, 1), 2))
    g = tlr.factorize(matrix, "ht", ((2, 2, 2), (2, 3, 4)), rank=2, tree=(0, (1, 2)))
    for one in (f, g):
        found = calibrate(one, matrix, inputs)
        assert found.format == one.format
        assert objective(found, matrix, inputs, 1e-2) < objective(one, matrix, inputs, 1e-2)
