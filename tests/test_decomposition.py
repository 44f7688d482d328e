"""Dense to factors: exactness, bounds, dtypes, untouched inputs, and what is refused."""

import math
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse
import tensorly
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import _decompose, tensor_train
from tensorly_rnn.decomposition.fitting.curvature import NUMPY
from tests.backends import every_backend, to_numpy
from tests.cases import CASES, every_format, slow_formats
from tests.reference import values_of_cut
from tests.strategies import examples, refused

SHAPE = ((2, 3, 5), (5, 2, 3))

with_svd_bound = pytest.mark.parametrize("case", [case for case in CASES if case.bound], ids=str)


@with_svd_bound
@every_backend
def test_exactly_low_rank_is_recovered(case, backend):
    @examples(6, backend.slow)
    @given(data=st.data())
    def law(data):
        rank = tlr.get_format(case.name).format.validate_rank(SHAPE, (1, 3, 4, 1) if case.name == "tt" else (2, 3, 4, 2, 3))
        f = tlr.get_format(case.name).random(SHAPE, rank, random_state=data.draw(st.integers(0, 1000)))
        found = tlr.factorize(backend.array(f.to_matrix()), case.name, SHAPE, rank)
        assert found.rank == rank
        assert found.relative_error(backend.array(f.to_matrix())) < 1e-13

    law()


def paired(dense, stack=1):
    tensor = dense.reshape(stack, *SHAPE[0], *SHAPE[1]).transpose(0, 1, 4, 2, 5, 3, 6)
    return tensor.reshape(stack, *(m * n for m, n in zip(*SHAPE)))


@with_svd_bound
@given(seed=st.integers(0, 1000), data=st.data())
@examples(6)
def test_truncation_keeps_its_bound(case, seed, data):
    # The best error of these ranks is at least that of the worst cut, and the found one within the bound of the best
    # because its square is at most the sum of the cuts' squares.
    rng = np.random.default_rng(seed)
    for options in case.options:
        stack = options.get("root_rank", 1)
        dense = rng.normal(size=(stack * 30, 30)) @ np.diag(0.8 ** np.arange(30))
        # Ranks that nest: none larger than the product of those beside it.
        if case.name == "tt":
            first = data.draw(st.integers(1, 9))
            rank = (1, first, data.draw(st.integers(1, min(9, 6 * first))), 1)
            cuts = [((1,), rank[1]), ((1, 2), rank[2])]
        else:
            left, right = data.draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
            node = data.draw(st.integers(1, min(8, left * right)))
            leaf = data.draw(st.integers(1, min(8, stack * node)))
            rank = (stack, leaf, min(node, stack * leaf), left, right)
            rank = (*rank[:3], min(left, rank[2] * right), min(right, rank[2] * left))
            cuts = [((1,), rank[1]), ((2, 3), rank[2]), ((2,), rank[3]), ((3,), rank[4])]
        f = tlr.factorize(dense, case.name, SHAPE, rank, **options)
        errors = [math.sqrt(np.sum(values_of_cut(paired(dense, stack), axes)[one:] ** 2)) for axes, one in cuts]
        if stack == 1 and case.name == "ht":
            # The root's two cuts are one and the same.
            errors = errors[1:]
        error = f.relative_error(dense) * np.linalg.norm(dense)
        assert max(errors) * (1 - 1e-12) <= error <= math.sqrt(sum(e**2 for e in errors)) * (1 + 1e-9) + 1e-12
        assert math.sqrt(len(errors)) <= case.bound(3) + 1e-12


def tensorlys_error(tensor, name, rank):
    """Relative error of TensorLy's own decomposition."""
    decompose, rebuild, options = {
        "tt": (tensorly.decomposition.tensor_train, tensorly.tt_to_tensor, {}),
        "tr": (tensorly.decomposition.tensor_ring, tensorly.tr_to_tensor, {}),
        "bt": (tensorly.decomposition.tucker, tensorly.tucker_to_tensor, {"n_iter_max": 500, "tol": 1e-12}),
    }[name]
    return np.linalg.norm(rebuild(decompose(tensor, rank, **options)) - tensor) / np.linalg.norm(tensor)


@pytest.mark.parametrize("rank", [1, 2, 5, 9])
def test_train_is_as_good_as_tensorlys(rank):
    dense = np.random.default_rng(0).normal(size=(30, 30))
    error = tlr.factorize(dense, "tt", SHAPE, rank).relative_error(dense)
    assert error == pytest.approx(tensorlys_error(paired(dense)[0], "tt", (1, rank, rank, 1)), rel=1e-10)


def test_one_block_and_a_ring_are_at_least_as_good_as_tensorlys():
    noise = np.random.default_rng(0).normal(size=(30, 30))
    ring = tlr.factorize(noise, "tr", SHAPE, (2, 3, 4, 2))
    assert ring.rank == (2, 3, 4, 2)
    assert ring.relative_error(noise) <= tensorlys_error(paired(noise)[0], "tr", (2, 3, 4, 2)) + 1e-12
    dense = tlr.BTMatrix.random(SHAPE, (1, (3, 2, 4)), random_state=1).to_matrix() + 0.3 * noise
    block = tlr.factorize(dense, "bt", SHAPE, (1, (3, 2, 4)), n_iter_max=500, tol=1e-12)
    assert block.relative_error(dense) <= tensorlys_error(paired(dense)[0], "bt", (3, 2, 4)) * (1 + 1e-4)


def test_two_blocks_of_well_separated_factors_are_recovered():
    recovered = 0
    for seed in range(10):
        f = tlr.BTMatrix.random(((3, 4, 3), (3, 2, 3)), (2, (2, 2, 2)), random_state=seed)
        found = tlr.factorize(f.to_matrix(), "bt", f.tensorized_shape, f.rank, n_iter_max=500, tol=1e-14)
        recovered += found.relative_error(f.to_matrix()) < 1e-7
    assert recovered >= 6


@every_format
@every_backend
def test_dtype_is_kept_and_nothing_changed(case, backend):
    dense = np.random.default_rng(2).normal(size=(30, 30))
    for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5), (np.float16, 1e-2)):
        given_matrix = backend.array(dense.astype(dtype))
        before = to_numpy(given_matrix).copy()
        f = tlr.factorize(given_matrix, case.name, SHAPE, "full")
        assert all(factor.dtype == given_matrix.dtype for factor in f.factors)
        assert (to_numpy(given_matrix) == before).all()
        rebuilt = type(f)([to_numpy(factor).astype(np.float64) for factor in f.factors]).to_matrix()
        assert_allclose(rebuilt, before.astype(np.float64), atol=30 * tolerance)


@every_format
def test_bfloat16_and_parameters_of_torch(case):
    weight = torch.nn.Parameter(torch.randn(30, 30, generator=torch.Generator().manual_seed(0)).bfloat16())
    f = tlr.factorize(weight, case.name, SHAPE, "full")
    assert all(factor.dtype == torch.bfloat16 and not factor.requires_grad for factor in f.factors)
    rebuilt = type(f)([factor.double() for factor in f.factors]).to_matrix()
    assert_allclose(rebuilt.numpy(), weight.detach().double().numpy(), atol=0.5)


@every_format
def test_same_seed_same_result(case):
    dense = np.random.default_rng(3).normal(size=(30, 30))
    first, second = (tlr.factorize(dense, case.name, SHAPE, 2, random_state=4) for _ in range(2))
    for one, two in zip(first.factors, second.factors):
        assert (one == two).all()


@every_format
def test_zero_matrix_gives_zero(case):
    f = tlr.factorize(np.zeros((30, 30)), case.name, SHAPE, 2)
    assert (f.to_matrix() == 0).all()
    assert f.relative_error(np.zeros((30, 30))) == 0.0
    assert f.relative_error(np.ones((30, 30))) == 1.0
    g = type(f).random(SHAPE, 2, random_state=0)
    assert g.relative_error(np.zeros((30, 30))) == math.inf
    assert (type(f).random(SHAPE, 2, std=0.0, random_state=0).to_matrix() == 0).all()


@pytest.mark.parametrize(
    ("name", "asked", "got"),
    [
        ("tt", "(1, 40, 40, 1)", "(1, 10, 15, 1)"),
        ("ht", "(1, 40, 40, 40, 40)", "(1, 10, 10, 6, 15)"),
        ("bt", "(1, (40, 40, 40))", "(1, (10, 6, 15))"),
    ],
)
def test_rank_above_the_sizes_is_clipped_with_a_warning(name, asked, got):
    dense = np.random.default_rng(5).normal(size=(30, 30))
    with pytest.warns(UserWarning, match="rank was clipped") as caught:
        f = tlr.factorize(dense, name, SHAPE, 40)
    assert f"asked for {asked}, got {got}" in str(caught[0].message)
    assert caught[0].filename == __file__
    assert f.relative_error(dense) < 1e-13
    assert tlr.n_param(name, SHAPE, 40) > f.n_param


def test_global_backend_does_not_matter():
    dense = torch.randn(30, 30, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    f = tlr.factorize(dense, "ht", SHAPE, "full")
    assert isinstance(f.factors[0], torch.Tensor)
    with tensorly.backend_context("jax"):
        g = tlr.factorize(dense, "ht", SHAPE, "full")
    assert isinstance(g.factors[0], torch.Tensor)
    assert (g.to_matrix() == f.to_matrix()).all()


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.asarray], ids=["numpy", "pytorch", "jax"])
def test_bad_matrices_are_refused(array):
    good = np.random.default_rng(0).normal(size=(6, 15))
    modes = ((2, 3), (3, 5))
    for bad in (np.nan, np.inf, -np.inf):
        matrix = good.copy()
        matrix[3, 4] = bad
        with pytest.raises(ValueError, match="^matrix must be finite; expected numbers, got NaN or infinity"):
            tlr.factorize(array(matrix), "tt", modes, 2)
    refused(
        (TypeError, "matrix must be real floating point; expected a float dtype, got .*int64.*matrix.astype", lambda: tlr.factorize(array(np.arange(90).reshape(6, 15)), "tt", modes, 2)),
        (TypeError, "matrix must be real floating point; .*complex", lambda: tlr.factorize(array(good + 1j), "tt", modes, 2)),
        (TypeError, "matrix must be real floating point; .*bool", lambda: tlr.factorize(array(good > 0), "tt", modes, 2)),
        (ValueError, r"matrix must have two axes; expected \(rows, columns\), got shape \(90,\)", lambda: tlr.factorize(array(good.reshape(-1)), "tt", modes, 2)),
        (ValueError, r"matrix must not be empty; .* got shape \(0, 15\)", lambda: tlr.factorize(array(good[:0]), "tt", modes, 2)),
    )  # fmt: skip


@every_format
def test_bad_arguments_are_refused(case):
    good, name = np.random.default_rng(0).normal(size=(6, 15)), case.name
    refused(
        (TypeError, "matrix must be an array of a TensorLy backend; .* got list.*numpy.asarray", lambda: tlr.factorize(good.tolist(), name, ((2, 3), (3, 5)), 2)),
        (ValueError, "expected out modes with a product of at least 6 rows, got 4", lambda: tlr.factorize(good, name, ((2, 2), (3, 5)), 2)),
        (ValueError, "expected in modes with a product of at least 15 columns, got 12.*padded with zeros", lambda: tlr.factorize(good, name, ((2, 3), (3, 4)), 2)),
        (ValueError, r"must pair every out mode with an in mode; .* got 2 out modes \(2, 3\) and 1 in modes \(15,\).*separate_modes", lambda: tlr.factorize(good, name, ((2, 3), (15,)), 2)),
        (ValueError, r"tensorized_shape\[0\]\[1\] must be a positive integer; expected at least 1, got 0", lambda: tlr.factorize(good, name, ((2, 0), (3, 5)), 2)),
        (TypeError, r"tensorized_shape\[1\]\[0\] must be a positive integer; expected int, got 3.0 of type float", lambda: tlr.factorize(good, name, ((2, 3), (3.0, 5)), 2)),
        (ValueError, "tensorized_shape must be a pair of mode sequences; expected 2 entries, got 3", lambda: tlr.factorize(good, name, (2, 3, 15), 2)),
        (TypeError, r"tensorized_shape must be a pair .* got 6 of type int", lambda: tlr.factorize(good, name, 6, 2)),
        (ValueError, r"tensorized_shape\[0\] must not be empty", lambda: tlr.factorize(good, name, ((), ()), 2)),
        (ValueError, "n_iter_max must be a positive integer", lambda: tlr.factorize(good, name, ((2, 3), (3, 5)), 2, n_iter_max=0)),
        (ValueError, "tol must be a number of at least 0; got -1", lambda: tlr.factorize(good, name, ((2, 3), (3, 5)), 2, tol=-1)),
        (TypeError, "random_state must be a seed or a generator; .* got 'seed'", lambda: tlr.factorize(good, name, ((2, 3), (3, 5)), 2, random_state="seed")),
    )  # fmt: skip


@pytest.mark.skipif(np.dtype(np.longdouble) == np.dtype(float), reason="no longer doubles here")
def test_numbers_that_no_linear_algebra_knows_are_refused():
    with pytest.raises(TypeError, match="matrix must be real floating point; .* got float(96|128)"):
        tlr.factorize(np.ones((6, 15), dtype=np.longdouble), "tt", ((2, 3), (3, 5)), 2)


def test_unknown_formats_stacks_and_errors_are_refused():
    refused(
        (ValueError, r"^format must be known; expected one of \('bt', 'ht', 'tr', 'tt'\), got 'cp'", lambda: tlr.factorize(np.ones((6, 15)), "cp", ((2, 3), (3, 5)), 2)),
        (TypeError, "format must be a name; .* got 3 of type int", lambda: tlr.n_param(3, ((2, 3), (3, 5)), 2)),
        (ValueError, "must have rows that divide into the stack; expected a multiple of 4, got 22", lambda: tlr.factorize(np.ones((22, 15)), "ht", ((2, 3), (3, 5)), 2, root_rank=4)),
        (ValueError, "root_rank must agree with the root's entry of rank; expected 2, got 3", lambda: tlr.factorize(np.ones((12, 15)), "ht", ((2, 3), (3, 5)), (2, 2, 2), root_rank=3)),
        (ValueError, "root_rank must be a positive integer; expected at least 1, got 0", lambda: tlr.n_param("ht", ((2, 3), (3, 5)), 2, root_rank=0)),
        (TypeError, "root_rank must be an option of the format 'tt'; expected none, got root_rank=2", lambda: tlr.n_param("tt", ((2, 3), (3, 5)), 2, root_rank=2)),
    )  # fmt: skip
    for eps, error, got in ((0, ValueError, "0"), (1, ValueError, "1"), (-0.1, ValueError, "-0.1"), (math.nan, ValueError, "nan"),
                            ("small", TypeError, "'small' of type str"), (True, TypeError, "True of type bool")):  # fmt: skip
        with pytest.raises(error, match=f"eps must be a relative error; expected .*, got {got}"):
            tlr.factorize(np.eye(30), "tt", SHAPE, eps=eps)


def test_numpy_integers_are_taken_everywhere():
    modes = (tuple(np.array([2, 3])), tuple(np.array([3, 5], dtype=np.uint8)))
    f = tlr.factorize(
        np.random.default_rng(0).normal(size=(6, 15)), "bt", modes, (np.int64(2), np.int32(2)), random_state=np.int64(1)
    )
    assert f.rank == (2, (2, 2))
    assert all(type(n) is int for n in (f.rank[0], *f.rank[1], *f.tensorized_shape[0], *f.tensorized_shape[1], f.n_param))


@every_format
def test_a_share_is_of_the_entries_that_there_are(case):
    # 6 x 15 in modes of 8 x 20.
    dense = np.random.default_rng(0).normal(size=(6, 15))
    for share in (0.0, -0.5, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"^rank as a share of the .* must be positive and finite; got {share}"):
            tlr.factorize(dense, case.name, ((2, 4), (4, 5)), share)
    for share in (0.4, 0.7):
        f = tlr.factorize(dense, case.name, ((2, 4), (4, 5)), share, n_iter_max=2)
        kind = type(f)
        assert f.rank == kind.format.rank_at_most(((2, 4), (4, 5)), int(share * 90))
        assert f.n_param <= share * 90


@every_format
def test_half_precision_holds_nothing_as_nothing(case):
    # One factor is 0, another more than half precision holds: their product would be no number.
    found = _decompose._evened(NUMPY, [np.full((2, 3), 1e9), np.zeros((3, 2))])
    assert all((one == 0).all() for one in found)
    f = tlr.factorize(np.zeros((30, 30), dtype=np.float16), case.name, SHAPE, 2)
    assert (f.to_matrix() == 0).all()


@every_format
@pytest.mark.parametrize("scale", [1e-200, 1e-7, 1e200])
def test_scale_does_not_matter(case, scale):
    dense = np.random.default_rng(0).normal(size=(30, 30))
    plain = tlr.factorize(dense, case.name, SHAPE, 2)
    scaled = tlr.factorize(scale * dense, case.name, SHAPE, 2)
    assert scaled.relative_error(scale * dense) == pytest.approx(plain.relative_error(dense), rel=1e-3)


@every_format
def test_errors_of_half_precision_are_summed_in_single(case):
    for size, expected in ((10.0, 3e-2), (1e-3, 3e-2)):
        dense = (size * np.random.default_rng(0).normal(size=(128, 128))).astype(np.float16)
        found = tlr.factorize(dense, case.name, ((8, 16), (16, 8)), "full").relative_error(dense)
        assert 1e-5 < found < expected


@every_format
def test_factors_never_share_memory_with_the_matrix(case):
    for shape in (((4,), (4,)), ((2, 2), (2, 2))):
        dense = torch.ones(4, 4)
        f = tlr.factorize(dense, case.name, shape, 1)
        for factor in f.factors:
            factor.zero_()
        assert (dense == 1).all()


@slow_formats("bt")
def test_full_and_same_rank_stay_in_memory(case):
    # Solving for the core of a block term of this rank would take 8 GiB, the widened ring of this rank 7 GiB.
    dense = np.random.default_rng(0).normal(size=(256, 512))
    shape = ((4, 8, 8), (8, 8, 8))
    tracemalloc.start()
    assert tlr.factorize(dense, case.name, shape, "full").relative_error(dense) < 1e-12
    assert tlr.factorize(dense, case.name, shape, "same", n_iter_max=1).relative_error(dense) < 0.8
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * dense.nbytes


def test_ring_ranks_beyond_any_use_are_clipped():
    with pytest.warns(UserWarning, match=r"asked for \(300, 300, 300\), got \(4, 4, 4\)"):
        f = tlr.factorize(np.random.default_rng(0).normal(size=(4, 4)), "tr", ((2, 2), (2, 2)), 300)
    assert f.rank == (4, 4, 4)


@every_format
def test_relative_error_makes_no_second_dense_copy(case):
    # In modes of 2 and 1 first, which a slab a mode would not cut small.
    for in_modes in ((2, 32, 64), (1, 64, 64)):
        f = tlr.get_format(case.name).random(((8, 8, 8), in_modes), 2, random_state=0)
        dense = f.to_matrix()
        tracemalloc.start()
        assert f.relative_error(dense) < 1e-12
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 0.6 * dense.nbytes


def test_relative_error_records_no_gradient():
    f = tlr.TTMatrix.random(((4, 4), (3, 5)), 2, random_state=0, like=torch.zeros(1))
    live = tlr.TTMatrix([factor.requires_grad_() for factor in f.factors])
    assert live.relative_error(torch.ones(16, 15, requires_grad=True)) > 0


@with_svd_bound
@every_backend
def test_the_error_asked_for_is_kept(case, backend):
    @examples(4, backend.slow)
    @given(eps=st.sampled_from([0.3, 1e-2, 1e-6]) if backend.slow else st.floats(1e-8, 0.9), seed=st.integers(0, 100))
    def law(eps, seed):
        for options in case.options:
            stack = options.get("root_rank", 1)
            rng = np.random.default_rng(seed)
            smooth = np.diag(0.5 ** np.arange(30))
            dense = backend.array(rng.normal(size=(stack * 30, 30)) @ smooth @ rng.normal(size=(30, 30)))
            f = tlr.factorize(dense, case.name, SHAPE, eps=eps, **options)
            assert f.relative_error(dense) <= eps * (1 + 1e-10)
            assert f.stack == stack

    law()


@with_svd_bound
def test_a_smaller_error_takes_more_and_an_exact_low_rank_no_more_than_itself(case):
    dense = np.random.default_rng(0).normal(size=(30, 30))
    counts = [tlr.factorize(dense, case.name, SHAPE, eps=eps).n_param for eps in (0.9, 0.5, 0.1, 1e-12)]
    assert counts == sorted(counts) and counts[0] < counts[-1]
    assert counts[-1] == tlr.n_param(case.name, SHAPE, "full")
    low = tlr.get_format(case.name).random(SHAPE, (1, 2, 3, 1) if case.name == "tt" else (1, 2, 2, 2, 3), random_state=0)
    found = tlr.factorize(low.to_matrix(), case.name, SHAPE, eps=1e-10)
    assert found.rank == low.rank
    capped = tlr.factorize(dense, case.name, SHAPE, 2, eps=1e-10)
    assert capped.rank == tlr.get_format(case.name).format.validate_rank(SHAPE, 2)


def test_what_would_have_no_gradient_is_refused():
    def loss(matrix, of=lambda one: one):
        return (tlr.factorize(of(matrix), "tt", ((2, 3), (3, 2)), 2).to_matrix() ** 2).sum()

    dense = np.random.default_rng(0).normal(size=(6, 6))
    on_jax, leaf = jax.numpy.asarray(dense), torch.nn.Parameter(torch.tensor(dense))
    with pytest.raises(
        TypeError, match="^matrix must not be differentiated.* got a tracer of jax.grad. Give jax.lax.stop_gradient"
    ):
        jax.grad(loss)(on_jax)
    with pytest.raises(TypeError, match="^matrix must have numbers; expected an array, got a tracer of jax.jit or vmap"):
        jax.jit(loss)(on_jax)
    with pytest.raises(TypeError, match="^tensor must not be differentiated"):
        tensor_train(2 * leaf, 2)
    with pytest.raises(TypeError, match=r"^matrix must not be differentiated.* Give matrix.detach\(\)"):
        loss(leaf.T)
    expected = pytest.approx(float(loss(dense)))
    assert float(loss(leaf)) == float(loss(leaf.T.detach().T)) == expected
    assert (jax.grad(lambda one: loss(one, jax.lax.stop_gradient) + one.sum())(on_jax) == 1.0).all()
    with torch.no_grad():
        assert float(loss(leaf * 1.0)) == expected


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(4) + 0j, "got complex128. Decompose matrix.real and matrix.imag, each on its own"),
        (
            scipy.sparse.csr_array(np.eye(4)),
            r"^matrix must be a dense array; got the sparse csr_array. Give matrix.toarray\(\)",
        ),
    ],
)
def test_matrices_that_are_not_taken_have_a_cure(matrix, message):
    with pytest.raises(TypeError, match=message):
        tlr.factorize(matrix, "tt", ((2, 2), (2, 2)), 2)
