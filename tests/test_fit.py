"""The second-order fit: its Gram matrix, its recoveries, its starts."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.decomposition._block_term import residual_tucker
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition._tensor_ring import _widened, ring_svd
from tensorly_rnn.decomposition.fitting import fit
from tensorly_rnn.decomposition.fitting.curvature import NUMPY, dense, gram_matrix, matrix_free
from tensorly_rnn.decomposition.fitting.levenberg_marquardt import levenberg_marquardt
from tensorly_rnn.decomposition.fitting.subspaces import expanded, on_host, whitened
from tensorly_rnn.decomposition.progress import Progress
from tests.backends import BACKENDS, to_numpy
from tests.benchmarks.recovery import FAMILIES, ring
from tests.cases import every_format, slow_formats
from tests.strategies import SHAPES, examples


def reconstruct(network, factors):
    indices = ",".join(" ".join(own) for own in network.factors)
    letters = {name: chr(ord("a") + k) for k, name in enumerate(dict(network.sizes))}
    equation = ",".join("".join(letters[index] for index in own.split()) for own in indices.split(","))
    return np.einsum(equation + "->" + "".join(letters[index] for index in network.outputs), *factors)


def jacobian(network, factors):
    """One column an entry: the reconstruction is linear in each factor, so a unit array in its place gives it exactly."""
    columns = []
    for number, factor in enumerate(factors):
        for position in np.ndindex(factor.shape):
            unit = np.zeros_like(factor)
            unit[position] = 1.0
            columns.append(reconstruct(network, [unit if k == number else one for k, one in enumerate(factors)]).ravel())
    return np.stack(columns, axis=1)


@slow_formats("ht")
@given(data=st.data(), seed=st.integers(0, 1000))
@examples(6)
def test_gram_matrix_is_that_of_the_jacobian(case, data, seed):
    shape = tuple(m * n for m, n in zip(*data.draw(st.sampled_from(SHAPES))))
    network = tlr.get_format(case.name).format.make_tensor_network(shape, data.draw(case.ranks(len(shape))))
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=one) for one in network.factor_shapes]
    columns = jacobian(network, factors)
    assert_allclose(gram_matrix(network, factors), columns.T @ columns, atol=1e-9)


@pytest.mark.parametrize("curvature", [dense, matrix_free])
@every_format
def test_a_step_near_the_solution_converges_at_once(case, curvature):
    network = tlr.get_format(case.name).format.make_tensor_network((6, 5, 7), case.pool[((2, 3, 1), (3, 1, 2))])
    rng = np.random.default_rng(0)
    solution = [rng.normal(size=one) for one in network.factor_shapes]
    tensor = reconstruct(network, solution)
    for scale in (1.0, 1e-9, 1e7):
        share = scale ** (1 / len(solution))
        start = [share * (one + 0.01 * rng.normal(size=one.shape)) for one in solution]
        found, error, steps = levenberg_marquardt(network, start, scale * tensor, 50, 1e-11, curvature=curvature)
        assert error <= 1e-11
        assert steps <= 20
        assert_allclose(reconstruct(network, found), scale * tensor, atol=1e-9 * scale * np.abs(tensor).max())


def problem(name, modes, rank):
    tensor = np.random.default_rng(0).normal(size=(1, *modes))
    kind = tlr.get_format(name).format
    return Problem(NUMPY, tensor, kind, rank, np.random.default_rng(1), n_iter_max=1, tol=0.0)


def start_error(one, start):
    factors = start(one)
    return np.linalg.norm(reconstruct(one.network_of(factors), factors) - one.tensor[0]) / np.linalg.norm(one.tensor)


def test_a_ring_opened_with_enough_rank_is_exact():
    assert start_error(problem("tr", (6, 4, 5), (2, 3, 10, 2)), ring_svd) < 1e-13


def test_every_block_starts_from_what_is_left_over():
    errors = [start_error(problem("bt", (6, 4, 5), (n, (2, 2, 2))), residual_tucker) for n in (1, 2, 3, 4)]
    assert all(later < 0.95 * earlier for earlier, later in itertools.pairwise(errors))


def test_fit_of_nothing_is_nothing():
    network = tlr.TRMatrix.format.make_tensor_network((3, 4), (2, 2, 2))
    found, error, steps = levenberg_marquardt(
        network, [np.ones(one) for one in network.factor_shapes], np.zeros((3, 4)), 10, 0
    )
    assert error == 0.0 and steps == 0
    assert all((one == 0).all() for one in found)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.slow
def test_planted_rings_are_recovered(seed):
    planted = ring(np.random.default_rng(seed))
    dense = planted.to_matrix()
    found = tlr.factorize(dense, "tr", planted.tensorized_shape, planted.rank, n_starts=5)
    assert found.rank == planted.rank
    assert found.relative_error(dense) < 1e-8


@pytest.mark.parametrize("family", ["blocks-2", "correlated-2", "scaled-2"])
@pytest.mark.slow
def test_planted_blocks_are_recovered(family):
    for seed in range(5):
        f = FAMILIES[family].plant(np.random.default_rng(seed))
        found = tlr.factorize(f.to_matrix(), "bt", f.tensorized_shape, f.rank, n_starts=20, random_state=seed)
        assert found.relative_error(f.to_matrix()) < 1e-8, seed


@pytest.mark.slow
def test_second_order_recovers_what_alternating_least_squares_does_not():
    recovered = {"auto": 0, "als": 0}
    for seed in range(10):
        planted = ring(np.random.default_rng(100 + seed))
        for method in recovered:
            found = tlr.factorize(planted.to_matrix(), "tr", planted.tensorized_shape, planted.rank, method=method)
            recovered[method] += found.relative_error(planted.to_matrix()) < 1e-8
    assert recovered["auto"] >= 7
    assert recovered["als"] <= 4


@pytest.mark.slow
def test_more_starts_never_do_worse():
    dense = np.random.default_rng(3).normal(size=(30, 30))
    errors = [
        tlr.factorize(dense, "bt", ((2, 3, 5), (5, 2, 3)), (2, 2), n_starts=n, random_state=0).relative_error(dense)
        for n in (1, 4, 8)
    ]
    # Up to what the refinement of a lossy compression may turn round.
    assert all(later <= earlier * (1 + 1e-4) for earlier, later in itertools.pairwise(errors))


@pytest.mark.parametrize("method", ["auto", "als"])
def test_refinement_goes_by_the_method_asked_for(monkeypatch, method):
    refused = {"auto": "sweeps", "als": "levenberg_marquardt"}[method]
    monkeypatch.setattr(fit, refused, lambda *_: pytest.fail(f"{method} takes {refused}"))
    dense = np.random.default_rng(3).normal(size=(120, 132))
    found = tlr.factorize(dense, "tr", ((5, 6, 4), (4, 3, 11)), 2, method=method, n_iter_max=4)
    assert 0.5 < found.relative_error(dense) < 1.0


def test_fits_are_solved_in_double_precision():
    single = dataclasses.replace(problem("tr", (4, 3), (2, 2, 2)), tensor=np.ones((1, 4, 3), dtype=np.float32))
    own = dataclasses.replace(single, init=single.random_start())
    assert all(one.dtype == np.float64 for one in (on_host(own, NUMPY).tensor, *on_host(own, NUMPY).init))


def test_what_opens_missing_directions_is_a_tenth_of_what_is_there():
    one = problem("tr", (4, 3), (2, 2, 2))
    core = np.random.default_rng(0).normal(size=(2, 300, 5))
    for size in (5, 6, 20):
        widened = _widened(one, core, 2, size)
        assert widened.shape == (2, 300, size) and (widened[..., :5] == core).all()
        share = np.linalg.norm(widened[..., 5:]) / np.linalg.norm(core)
        assert share == pytest.approx(0.1 * np.sqrt((size - 5) / size), rel=0.1)


def test_alternating_least_squares_stop_where_nothing_is_gained():
    # No mode is compressed, so that there is nothing to refine.
    dense = np.random.default_rng(3).normal(size=(30, 30))
    errors = {}
    for tol in (1e-9, 0.01, 0.9):
        heard = errors[tol] = []
        tlr.factorize(
            dense,
            "tr",
            ((2, 3, 5), (5, 2, 3)),
            4,
            method="als",
            tol=tol,
            n_iter_max=30,
            callback=lambda _, error, heard=heard: heard.append(error),
        )
    assert len(errors[0.9]) == 1 < len(errors[0.01]) < len(errors[1e-9]) == 30
    gains = -np.diff(errors[0.01])
    assert (gains[:-1] > 0.01).all() and gains[-1] <= 0.01


@pytest.mark.parametrize(("name", "rank"), [("bt", 2), ("bt", (2, 2)), ("tr", 2)])
def test_refinement_makes_up_for_what_the_compression_lost(monkeypatch, name, rank):
    dense, shape = np.random.default_rng(3).normal(size=(120, 132)), ((5, 6, 4), (4, 3, 11))
    refined = tlr.factorize(dense, name, shape, rank).relative_error(dense)
    monkeypatch.setattr(fit, "_refined", lambda problem, factors: factors)
    assert refined < tlr.factorize(dense, name, shape, rank).relative_error(dense) - 0.003


def test_noise_is_fitted_no_further_than_its_degrees_of_freedom():
    f = tlr.BTMatrix.random(((10, 11, 12), (1, 1, 1)), (2, 2), random_state=0)
    clean = f.to_matrix()
    noise = np.random.default_rng(1).normal(size=clean.shape)
    noise *= 1e-2 * np.linalg.norm(clean) / np.linalg.norm(noise)
    found = tlr.factorize(clean + noise, "bt", f.tensorized_shape, f.rank, n_starts=5)
    # Free: cores and factors, less the change of basis of every block in every mode.
    freedom = f.n_param - 2 * 3 * 2**2
    bound = np.sqrt(freedom / clean.size) * np.linalg.norm(noise)
    assert np.linalg.norm(found.to_matrix() - clean) <= 1.3 * bound


def test_wrong_settings_are_refused():
    dense = np.ones((6, 6))
    with pytest.raises(ValueError, match=r"method must be known; expected one of \('auto', 'als'\), got 'newton'"):
        tlr.factorize(dense, "bt", ((2, 3), (3, 2)), 1, method="newton")
    with pytest.raises(ValueError, match="n_starts must be a positive integer; expected at least 1, got 0"):
        tlr.factorize(dense, "bt", ((2, 3), (3, 2)), 1, n_starts=0)


def planted_blocks(seed, n_blocks=2):
    return tlr.BTMatrix.random(((10, 11, 12), (1, 1, 1)), (n_blocks, (2, 2, 2)), random_state=seed)


@slow_formats("ht")
@given(seed=st.integers(0, 1000), data=st.data())
@examples(4)
def test_matrix_free_steps_are_the_dense_ones(case, seed, data):
    network = tlr.get_format(case.name).format.make_tensor_network((4, 3, 5), data.draw(case.ranks(3)))
    rng = np.random.default_rng(seed)
    factors = [rng.normal(size=shape) for shape in network.factor_shapes]
    right = rng.normal(size=network.n_param)
    (expected, dense_solve), (diagonal, solve) = dense(network, factors), matrix_free(network, factors)
    assert_allclose(diagonal, expected, rtol=1e-9)
    shift = 0.3 * expected
    step = dense_solve(shift, right)
    # To what conjugate gradients leave over.
    assert np.linalg.norm(solve(shift, right) - step) <= 0.1 * np.linalg.norm(step)


def test_fits_too_large_for_dense_steps_are_finished_without(monkeypatch):
    f = planted_blocks(3)
    dense = f.to_matrix()
    monkeypatch.setattr(fit, "MOST_UNKNOWNS", 10)
    assert tlr.factorize(dense, "bt", f.tensorized_shape, f.rank, n_starts=5).relative_error(dense) < 1e-8
    # Levenberg-Marquardt finishes the fit; alternating least squares alone stop far from the end.
    settings = {"n_iter_max": 40, "tol": 1e-3}
    finished = tlr.factorize(dense, "bt", f.tensorized_shape, f.rank, **settings).relative_error(dense)
    monkeypatch.setattr(fit, "MOST_ITERATIVE", 10)
    assert finished < 1e-8 < 1e-4 < tlr.factorize(dense, "bt", f.tensorized_shape, f.rank, **settings).relative_error(dense)


@every_format
@given(seed=st.integers(0, 1000))
@examples(2)
def test_whitened_bases_carry_the_same_energy_and_lead_back(case, seed):
    rng = np.random.default_rng(seed)
    one = problem(case.name, (4, 3, 5), case.pool[((2, 3, 1), (3, 1, 2))])
    tensor = rng.normal(size=(one.stack, 4, 3, 5)) * np.array([1, 1e-1, 1e-2, 1e-3]).reshape(4, 1, 1)
    one = dataclasses.replace(one, tensor=tensor)
    even, back = whitened(one)
    for axis in (1, 2, 3):
        values = np.linalg.svd(np.moveaxis(even.tensor, axis, 0).reshape(even.tensor.shape[axis], -1), compute_uv=False)
        assert values[0] < 1.5 * values[-1]
    factors = even.random_start()
    returned = expanded(one, factors, back)
    reached = reconstruct(one.network_of(factors), factors).reshape(tensor.shape)
    for axis in (1, 2, 3):
        reached = np.moveaxis(np.tensordot(back[axis - 1], reached, axes=([1], [axis])), 0, axis)
    assert_allclose(reconstruct(one.network_of(returned), returned).reshape(tensor.shape), reached, atol=1e-9)
    assert even.view(factors, 0.5)[1] == pytest.approx(np.linalg.norm(reached - tensor) / np.linalg.norm(tensor))


@pytest.mark.parametrize("method", ["auto", "als"])
@pytest.mark.parametrize("name", ["bt", "tr"])
@pytest.mark.parametrize("backend", [one for one in BACKENDS if one.name in ("numpy_read_only", "pytorch")], ids=str)
def test_callback_gets_the_full_factors_and_their_error(method, name, backend):
    dense = np.random.default_rng(3).normal(size=(30, 30))
    rank = {"bt": (2, (2, 1, 2)), "tr": 2}[name]
    heard = []

    def callback(found, error):
        assert all(isinstance(one, backend.kind) for one in found.factors)
        heard.append((error, [to_numpy(one).copy() for one in found.factors]))

    given_matrix = backend.array(dense)
    found = tlr.factorize(
        given_matrix, name, ((2, 3, 5), (5, 2, 3)), rank, method=method, n_starts=3, n_iter_max=6, callback=callback
    )
    assert len(heard) > 6
    for error, factors in heard:
        assert error == pytest.approx(type(found)(factors).relative_error(dense))


@pytest.mark.parametrize("method", ["auto", "als"])
@pytest.mark.parametrize("eps", [None, 1e-3])
def test_a_callback_stops_all_starts_and_the_best_so_far_is_returned(method, eps):
    dense = np.random.default_rng(3).normal(size=(30, 30))
    errors = []

    def callback(_, error):
        errors.append(error)
        return len(errors) == 9

    rank = None if eps else (2, 2)
    found = tlr.factorize(
        dense, "bt", ((2, 3, 5), (5, 2, 3)), rank, eps=eps, method=method, n_starts=50, n_iter_max=4, tol=0, callback=callback
    )
    assert len(errors) == 9
    if eps is None:
        assert found.relative_error(dense) <= min(errors) + 1e-12


def test_a_callback_that_returns_something_else_stops_nothing():
    heard = []
    f = planted_blocks(0, 3)
    tlr.factorize(f.to_matrix(), "bt", f.tensorized_shape, f.rank, n_iter_max=5, callback=lambda *_: heard.append(1) or 1)
    assert len(heard) > 1


@pytest.mark.parametrize("method", ["auto", "als"])
def test_verbose_writes_one_line_an_iteration_to_standard_error(capsys, method):
    heard = []
    dense = np.random.default_rng(3).normal(size=(30, 30))
    tlr.factorize(
        dense,
        "bt",
        ((2, 3, 5), (5, 2, 3)),
        (2, 2),
        method=method,
        n_starts=2,
        n_iter_max=5,
        verbose=True,
        callback=lambda *_: heard.append(1),
    )
    written = capsys.readouterr()
    lines = written.err.splitlines()
    assert written.out == ""
    assert sum(line.startswith("  iteration ") and "relative error" in line for line in lines) == len(heard)
    assert [line for line in lines if line.startswith("start")] == ["start 1 of 2", "start 2 of 2"]
    tlr.factorize(dense, "bt", ((2, 3, 5), (5, 2, 3)), 2, method=method)
    assert capsys.readouterr().err == ""


def test_who_has_said_stop_is_asked_no_more():
    progress = Progress(lambda factors, error: error < 0.5)
    assert [progress.tell([], error) for error in (0.9, 0.4, 0.9)] == [False, True, True]
    assert progress.stopped and progress.told and not Progress().watched


@pytest.mark.parametrize("method", ["auto", "als"])
@pytest.mark.parametrize("name", ["bt", "tr"])
@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_an_exact_start_of_the_users_own_stays_exact(method, name, scale):
    f = {"bt": planted_blocks(1, 3), "tr": ring(np.random.default_rng(3))}[name]
    f = type(f)([scale ** (1 / len(f.factors)) * one for one in f.factors])
    dense, heard = f.to_matrix(), []
    own = [factor.copy() for factor in f.factors]
    found = tlr.factorize(
        dense, name, f.tensorized_shape, f.rank, init=f.factors, method=method, callback=lambda *_: heard.append(1)
    )
    assert found.relative_error(dense) < 1e-12
    assert len(heard) <= 2
    assert all((one == two).all() for one, two in zip(own, f.factors))


def test_a_start_near_the_truth_finds_it_and_the_start_matters():
    f = planted_blocks(1, 3)
    dense, rng = f.to_matrix(), np.random.default_rng(0)
    near = [factor + 1e-2 * rng.normal(size=factor.shape) for factor in f.factors]
    assert tlr.factorize(dense, "bt", f.tensorized_shape, f.rank, init=near).relative_error(dense) < 1e-8
    errors = {
        (init, seed): tlr.factorize(
            dense, "bt", f.tensorized_shape, f.rank, init=init, n_iter_max=2, random_state=seed
        ).relative_error(dense)
        for init in ("svd", "random")
        for seed in (0, 1)
    }
    assert errors["svd", 0] == errors["svd", 1]
    assert len(set(errors.values())) == 3


def test_random_starts_of_nothing_are_nothing():
    found = tlr.factorize(np.zeros((12, 12)), "bt", ((2, 3, 2), (3, 2, 2)), 2, init="random")
    assert (found.to_matrix() == 0).all()


@pytest.mark.parametrize("family", ["correlated", "scaled"])
@pytest.mark.slow
def test_three_hard_blocks_are_recovered(family):
    recovered = 0
    for seed in range(9, 15):
        rng = np.random.default_rng(seed)
        core = rng.normal(size=(3, 2, 3, 2))
        factors = [rng.normal(size=(3, size, 1, rank)) for size, rank in zip((10, 11, 12), (2, 3, 2))]
        if family == "scaled":
            core *= np.logspace(0, 3, 3).reshape(-1, 1, 1, 1)
        else:
            for k, (size, rank) in enumerate(zip((10, 11, 12), (2, 3, 2))):
                mixing = np.linalg.cholesky(0.9 + 0.1 * np.eye(3 * rank)).T
                together = np.linalg.qr(rng.normal(size=(size, 3 * rank)))[0] @ mixing
                factors[k] = np.moveaxis(together.reshape(size, 1, 3, rank), 2, 0)
        f = tlr.BTMatrix([core, *factors])
        dense = f.to_matrix()
        found = tlr.factorize(dense, "bt", f.tensorized_shape, f.rank, n_starts=20, n_iter_max=200, random_state=seed)
        recovered += found.relative_error(dense) < 1e-8
    assert recovered == 6
