"""The truncated SVD: optimal, orthonormal, minimal in rank, sparing with memory; what it does when a driver fails."""

import math
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from tensorly_rnn import _svd
from tensorly_rnn._backend import backend_of, frobenius_norm
from tensorly_rnn._svd import left_basis, singular_values, truncated_svd
from tests.backends import every_backend, to_numpy
from tests.strategies import examples

DTYPES = (np.float32, np.float64)
# Rows, columns: wide, tall, nearly square, single.
FIXED_SHAPES = ((6, 40), (40, 6), (9, 11), (1, 7), (7, 1))
SPECTRA = {
    "even": lambda n: np.ones(n),
    "slow": lambda n: 0.8 ** np.arange(n),
    "graded": lambda n: 10.0 ** np.linspace(0, -12, n),
    "deficient": lambda n: np.r_[np.ones((n + 1) // 2), np.zeros(n - (n + 1) // 2)],
    "zero": lambda n: np.zeros(n),
}


def matrix_of(values, shape, seed=0):
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.normal(size=(n, min(shape))))[0] for n in shape)
    return (left * values) @ right.T


def of(array):
    return backend_of("array", array)


def epsilon(dtype):
    return float(np.finfo(dtype).eps)


def shapes(backend):
    if backend.slow:
        return st.sampled_from(FIXED_SHAPES)
    return st.sampled_from(FIXED_SHAPES) | st.tuples(st.integers(1, 40), st.integers(1, 40))


def check_orthonormal(basis, dtype):
    found = to_numpy(basis).astype(float)
    assert_allclose(found.T @ found, np.eye(found.shape[1]), atol=20 * epsilon(dtype))


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_the_product_is_the_best_approximation(backend, dtype, spectrum):
    @examples(8, backend.slow)
    @given(shape=shapes(backend), rank=st.integers(1, 12), seed=st.integers(0, 100))
    def law(shape, rank, seed):
        dense = matrix_of(SPECTRA[spectrum](min(shape)), shape, seed).astype(dtype)
        given_one = backend.array(dense)
        basis, rest = truncated_svd(of(given_one), given_one, rank)
        rank = min(rank, *shape)
        assert (tuple(basis.shape), tuple(rest.shape)) == ((shape[0], rank), (rank, shape[1]))
        assert basis.dtype == rest.dtype == given_one.dtype
        assert isinstance(basis, backend.kind) and isinstance(rest, backend.kind)
        check_orthonormal(basis, dtype)
        values = np.linalg.svd(dense.astype(float), compute_uv=False)
        best = math.sqrt(np.sum(values[rank:] ** 2))
        error = np.linalg.norm(dense - to_numpy(basis).astype(float) @ to_numpy(rest).astype(float))
        # Rounding adds up over the columns of the basis.
        assert error <= best * (1 + 1e-6) + 10 * math.sqrt(rank) * epsilon(dtype) * values[0]
        # S Vh: its rows have the singular values for norms.
        norms = np.linalg.norm(to_numpy(rest).astype(float), axis=1)
        assert_allclose(norms, values[:rank], rtol=1e-5, atol=20 * epsilon(dtype) * values[0])
        assert_array_equal(to_numpy(given_one), dense)

    law()


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_tail_is_kept_by_the_least_rank(backend, dtype):
    @examples(24, backend.slow)
    @given(
        shape=shapes(backend),
        spectrum=st.sampled_from(sorted(SPECTRA)),
        share=st.floats(1e-7 if dtype == np.float32 else 1e-14, 0.9),
        seed=st.integers(0, 100),
    )
    def law(shape, spectrum, share, seed):
        dense = matrix_of(SPECTRA[spectrum](min(shape)), shape, seed).astype(dtype)
        norm = np.linalg.norm(dense.astype(float))
        tail = share * norm or 1e-300
        given_one = backend.array(dense)
        basis, rest = truncated_svd(of(given_one), given_one, min(shape), tail)
        rank = basis.shape[1]
        check_orthonormal(basis, dtype)
        error = np.linalg.norm(dense - to_numpy(basis).astype(float) @ to_numpy(rest).astype(float))
        # A tail of just the size of a singular value is met, or not, up to rounding of the whole.
        rounding = 10 * epsilon(dtype) * norm
        assert error <= tail + rounding or rank == min(shape)
        values = np.linalg.svd(dense.astype(float), compute_uv=False)
        left_over = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1]  # of rank 0, 1, ...
        # One less would not do, up to what rounding may take.
        assert rank == 1 or left_over[rank - 1] > tail - rounding

    law()


def test_a_tail_below_rounding_cuts_nothing():
    dense = matrix_of(SPECTRA["deficient"](6), (40, 6), seed=2).astype(np.float32)
    assert truncated_svd(of(dense), dense, 6, 1e-7 * np.linalg.norm(dense))[0].shape == (40, 6)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_rank_bounds_what_the_tail_asks_for(backend, dtype):
    dense = backend.array(matrix_of(np.ones(6), (6, 40)).astype(dtype))
    assert truncated_svd(of(dense), dense, 2, 1e-3)[0].shape == (6, 2)
    assert truncated_svd(of(dense), dense, 6, 100.0)[0].shape == (6, 1)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_singular_values(backend, dtype, spectrum):
    for shape in FIXED_SHAPES:
        dense = matrix_of(SPECTRA[spectrum](min(shape)), shape).astype(dtype)
        expected = np.linalg.svd(dense.astype(float), compute_uv=False)
        given_one = backend.array(dense)
        found = singular_values(of(given_one), given_one)
        assert isinstance(found, backend.kind) and found.dtype == given_one.dtype
        assert_allclose(to_numpy(found), expected, rtol=2 * epsilon(dtype), atol=4 * epsilon(dtype) * (expected[0] or 1))


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(5, 4, 3, 6), (2, 30, 4), (7, 3), (1, 5, 1, 6), (12,)], ids=str)
def test_left_basis_is_the_svd_of_the_unfolding(backend, dtype, shape):
    dense = np.random.default_rng(0).normal(size=shape).astype(dtype)
    given_one = backend.array(dense)
    for axis in range(len(shape)):
        basis, rest = left_basis(of(given_one), given_one, axis, 3)
        unfolded = np.moveaxis(dense, axis, 0).reshape(shape[axis], -1)
        expected, projected = truncated_svd(of(unfolded), unfolded, 3)
        rank = expected.shape[1]
        assert tuple(rest.shape) == (*shape[:axis], rank, *shape[axis + 1 :])
        check_orthonormal(basis, dtype)
        approximation = np.moveaxis(np.tensordot(to_numpy(basis), to_numpy(rest), axes=([1], [axis])), 0, axis)
        wanted = np.moveaxis((expected @ projected).reshape(shape[axis], *np.delete(shape, axis)), 0, axis)
        assert_allclose(approximation, wanted, atol=100 * epsilon(dtype))
    assert_array_equal(to_numpy(given_one), dense)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 6, 500), (500, 6, 1), (20, 6, 25), (3, 6, 170), (170, 6, 3)], ids=str)
def test_pieces_hold_every_column_once(backend, dtype, shape, monkeypatch):
    monkeypatch.setattr(_svd, "_PIECE", 6 * 13)
    dense = np.random.default_rng(0).normal(size=shape).astype(dtype)
    given_one = backend.array(dense)
    unfolded = dense.transpose(1, 0, 2).reshape(6, -1).astype(float)
    pieces = [to_numpy(piece) for piece in _svd._pieces(of(given_one), given_one)]
    assert len(pieces) > 5 and max(piece.size for piece in pieces) <= 6 * 13
    columns = np.concatenate(pieces, axis=1)
    assert_array_equal(columns[:, np.lexsort(columns)], unfolded[:, np.lexsort(unfolded)])
    values, vectors = _svd._spectrum(of(given_one), given_one)
    assert_allclose((vectors * values**2) @ vectors.T, unfolded @ unfolded.T, rtol=0, atol=40000 * epsilon(dtype))
    assert (np.diff(values) <= 0).all()


def test_exactly_low_rank_is_recovered_in_double_precision():
    # A Gram matrix would lose half the digits.
    for shape in ((8, 300), (300, 8), (40, 50), (700, 800)):
        dense = matrix_of(np.r_[1, 1e-3, 1e-6, 1e-9, np.zeros(min(shape) - 4)], shape)
        basis, rest = truncated_svd(of(dense), dense, 4)
        assert np.linalg.norm(dense - basis @ rest) < 1e-14
        assert_allclose(np.linalg.norm(rest, axis=1), [1, 1e-3, 1e-6, 1e-9], rtol=1e-5)


LARGE_SPECTRA = {
    "fast": 0.5 ** np.arange(600),
    "slow": 1 / np.arange(1, 601),
    "a step in a flat tail": np.r_[np.full(5, 1.2), np.ones(595)],
    "a step, then nothing": np.r_[np.full(5, 1.2e-4), np.full(30, 1e-4), np.zeros(565)],
    "a large one before": np.r_[1, np.full(4, 1.2e-4), np.full(30, 1e-4), np.zeros(565)],
    "flat": np.linspace(1, 0.5, 600),
    "deficient": np.r_[np.ones(3), np.zeros(597)],
    "zero": np.zeros(600),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("array", [np.array, torch.tensor], ids=["numpy", "pytorch"])
@pytest.mark.parametrize("shape", [(600, 700), (1000, 600)], ids=str)
@pytest.mark.parametrize("spectrum", LARGE_SPECTRA)
def test_large_matrices_of_low_rank_are_as_good_as_the_best(dtype, array, shape, spectrum):
    values = LARGE_SPECTRA[spectrum]
    dense = matrix_of(values, shape).astype(dtype)
    assert 12 * _svd._sketch_size(5) <= min(shape)
    given_one = array(dense)
    basis, rest = truncated_svd(of(given_one), given_one, 5)
    check_orthonormal(basis, dtype)
    error = np.linalg.norm(dense.astype(float) - to_numpy(basis).astype(float) @ to_numpy(rest))
    assert error <= (1 + 1e-3) * np.linalg.norm(values[5:]) + 10 * epsilon(dtype) * np.linalg.norm(values[:5])
    again = truncated_svd(of(given_one), given_one, 5)
    assert_array_equal(to_numpy(again[0]), to_numpy(basis))


@pytest.mark.parametrize("spectrum, accepted", [("fast", True), ("slow", True), ("deficient", True), ("flat", False)])
def test_a_sketch_that_converges_slowly_is_given_up(spectrum, accepted):
    for dtype in DTYPES:
        dense = matrix_of(LARGE_SPECTRA[spectrum], (600, 700)).astype(dtype)
        found = _svd._leading_right_vectors(of(dense), dense, 11 if spectrum == "flat" else 5)
        assert (found is not None) == accepted


def test_no_random_state_is_touched():
    dense = matrix_of(LARGE_SPECTRA["fast"], (600, 700))
    before = np.random.get_state()[1].copy(), torch.random.get_rng_state()
    truncated_svd(of(dense), dense, 5)
    given_one = torch.tensor(dense)
    truncated_svd(of(given_one), given_one, 5)
    assert_array_equal(np.random.get_state()[1], before[0])
    assert (torch.random.get_rng_state() == before[1]).all()


@pytest.mark.parametrize("shape", [(6, 40), (40, 6)], ids=str)
@pytest.mark.parametrize(
    "array, dtype",
    [
        (lambda dense: dense.astype(np.float16), np.float16),
        (lambda dense: torch.tensor(dense, dtype=torch.float16), torch.float16),
        (lambda dense: torch.tensor(dense, dtype=torch.bfloat16), torch.bfloat16),
        (lambda dense: jnp.asarray(dense, dtype=jnp.bfloat16), jnp.bfloat16),
    ],
    ids=["numpy half", "pytorch half", "pytorch bfloat16", "jax bfloat16"],
)
def test_half_precision_comes_back_as_it_was(array, dtype, shape):
    given_one = array(matrix_of(0.5 ** np.arange(6), shape))
    basis, rest = truncated_svd(of(given_one), given_one, 6)
    assert basis.dtype == rest.dtype == dtype
    assert singular_values(of(given_one), given_one).dtype == dtype
    as_double = [
        np.asarray(one.float() if isinstance(one, torch.Tensor) else one, dtype=float) for one in (basis, rest, given_one)
    ]
    assert_allclose(as_double[0] @ as_double[1], as_double[2], atol=2e-2)


def test_jax_in_single_precision_goes_without_double():
    dense = matrix_of(0.5 ** np.arange(6), (6, 40)).astype(np.float32)
    enabled = jax.config.jax_enable_x64
    try:
        jax.config.update("jax_enable_x64", False)
        for one in (dense, dense.T):
            given_one = jnp.asarray(one)
            basis, rest = truncated_svd(of(given_one), given_one, 6)
            assert basis.dtype == rest.dtype == np.float32
            assert_allclose(np.asarray(basis) @ np.asarray(rest), one, atol=1e-6)
    finally:
        jax.config.update("jax_enable_x64", enabled)


def fails(*arguments, **options):
    raise np.linalg.LinAlgError("did not converge")


def gives_nan(matrix, compute_uv=True, full_matrices=None):
    values, vectors = np.full(len(matrix), np.nan), np.full((len(matrix),) * 2, np.nan)
    if not compute_uv:
        return values
    return (values, vectors) if full_matrices is None else (vectors, values, vectors)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("broken", [fails, gives_nan])
def test_a_driver_that_fails_is_replaced(backend, dtype, broken, monkeypatch):
    dense = matrix_of(0.5 ** np.arange(6), (6, 40)).astype(dtype)
    given_one = backend.array(dense)
    monkeypatch.setattr(np.linalg, "eigh", broken)
    monkeypatch.setattr(np.linalg, "svd", broken)
    for one in (given_one, of(given_one).transpose(given_one, (1, 0))):
        basis, rest = truncated_svd(of(one), one, 6)
        assert_allclose(to_numpy(basis) @ to_numpy(rest), to_numpy(one), atol=10 * epsilon(dtype))
        assert_allclose(
            to_numpy(singular_values(of(one), one)), 0.5 ** np.arange(6), rtol=4 * epsilon(dtype), atol=2 * epsilon(dtype)
        )


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
def test_when_all_drivers_fail_it_says_what_was_wrong(backend, dtype, monkeypatch):
    monkeypatch.setattr(np.linalg, "eigh", fails)
    monkeypatch.setattr(np.linalg, "svd", fails)
    monkeypatch.setattr(scipy.linalg, "svd", fails)
    for shape in ((6, 40), (40, 6)):
        given_one = backend.array(np.full(shape, -1234.0, dtype=dtype))
        with pytest.raises(ValueError, match=r"^matrix must .* for shape \(6, 40\) .* finite .* up to 1.23e\+03.*Scale"):
            truncated_svd(of(given_one), given_one, 2)


@every_backend
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(6, 40), (40, 6), (600, 700)], ids=str)
def test_what_is_not_finite_is_named(backend, dtype, shape):
    if backend.slow and shape == (600, 700):
        return
    for bad in (np.nan, np.inf):
        dense = np.ones(shape, dtype=dtype)
        dense[3, 4] = bad
        given_one = backend.array(dense)
        with np.errstate(invalid="ignore"), pytest.raises(ValueError, match="with NaN or infinite entries. Look for"):
            truncated_svd(of(given_one), given_one, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape, axis", [((16, 60000), 0), ((60000, 16), 1), ((20, 16, 3000), 1), ((60000, 16), 0)], ids=str)
def test_nothing_as_large_as_the_matrix_is_made(dtype, shape, axis):
    # 16 columns in double precision at a time, and the result of rank 2.
    dense = np.random.default_rng(0).normal(size=shape).astype(dtype)
    numpy_backend = of(dense)
    tracemalloc.start()
    left_basis(numpy_backend, dense, axis, 2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * _svd._PIECE * (2 if dtype == np.float32 else 6) + dense.nbytes / 2


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.asarray], ids=["numpy", "pytorch", "jax"])
def test_norm_is_that_of_all_pieces(array):
    dense = np.random.default_rng(0).normal(size=(3, 700, 600)).astype(np.float32)
    given_one = array(dense)
    assert frobenius_norm(of(given_one), given_one) == pytest.approx(np.linalg.norm(dense.astype(float)), rel=1e-6)
