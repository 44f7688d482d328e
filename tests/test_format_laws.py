"""The laws that every format keeps on every backend."""

import math
import pickle

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tests import reference
from tests.backends import BACKENDS, to_numpy
from tests.cases import CASES
from tests.strategies import SHAPES, factorized

LEADING = ((), (0,), (1,), (3,), (2, 3), (2, 0))


def on(backend, matrix):
    """The same matrix with its factors on another backend."""
    return type(matrix)([backend.array(factor) for factor in matrix.factors], shape=matrix.shape)


def examples(backend, slow=3, fast=25):
    return settings(max_examples=slow if backend.slow else fast)


def every_format_and_backend(test):
    return pytest.mark.parametrize("backend", BACKENDS, ids=str)(pytest.mark.parametrize("case", CASES, ids=str)(test))


every_format = pytest.mark.parametrize("case", CASES, ids=str)


@every_format_and_backend
def test_reconstruction_equals_the_loops(case, backend):
    @examples(backend)
    @given(f=factorized(case, backend.slow))
    def law(f):
        g = on(backend, f)
        expected = case.reference(f.factors)
        assert isinstance(g.to_matrix(), backend.kind)
        assert_allclose(to_numpy(g.to_matrix()), expected, atol=1e-12)
        out_modes, in_modes = f.tensorized_shape
        stack = (f.stack,) if f.stack > 1 else ()
        assert_allclose(to_numpy(g.to_tensor()), expected.reshape(*stack, *out_modes, *in_modes), atol=1e-12)
        assert g.shape == expected.shape

    law()


@every_format_and_backend
def test_apply_is_the_product_with_the_transpose(case, backend):
    @examples(backend)
    @given(f=factorized(case, backend.slow), leading=st.sampled_from(((), (3,)) if backend.slow else LEADING))
    def law(f, leading):
        g, dense = on(backend, f), case.reference(f.factors)
        x = np.random.default_rng(0).normal(size=(*leading, dense.shape[1]))
        y = g.apply(backend.array(x))
        assert isinstance(y, backend.kind)
        assert_allclose(to_numpy(y), x @ dense.T, atol=1e-11)

    law()


@every_format_and_backend
def test_products_from_either_side(case, backend):
    @examples(backend, slow=2, fast=10)
    @given(f=factorized(case, backend.slow))
    def law(f):
        g, dense = on(backend, f), case.reference(f.factors)
        rng = np.random.default_rng(1)
        x, y = rng.normal(size=(2, dense.shape[1])), rng.normal(size=(2, dense.shape[0]))
        assert_allclose(to_numpy(backend.array(x) @ g.T), x @ dense.T, atol=1e-11)
        assert_allclose(to_numpy(backend.array(y) @ g), y @ dense, atol=1e-11)
        assert_allclose(to_numpy(g @ backend.array(x.T)), dense @ x.T, atol=1e-11)
        assert_allclose(to_numpy(g.T @ backend.array(y[0])), dense.T @ y[0], atol=1e-11)
        assert g.T.shape == dense.T.shape
        assert_allclose(to_numpy(g.T.T.to_matrix()), dense, atol=1e-12)
        assert_allclose(to_numpy(g.T.to_matrix()), dense.T, atol=1e-12)

    law()


@every_format
@given(data=st.data())
def test_apply_takes_arrays_of_any_memory_order(case, data):
    f = data.draw(factorized(case))
    rng = np.random.default_rng(2)
    columns = f.shape[1]
    for x in (np.asfortranarray(rng.normal(size=(3, columns))), rng.normal(size=(6, 2 * columns))[::2, ::2]):
        assert_allclose(f.apply(x), x @ f.to_matrix().T, atol=1e-11)
    strided = type(f)([np.asfortranarray(factor) for factor in f.factors])
    assert_allclose(strided.to_matrix(), f.to_matrix(), atol=1e-12)


@every_format
@given(data=st.data())
def test_count_is_the_formula_and_the_sum_of_sizes(case, data):
    f = data.draw(factorized(case))
    sizes = [m * n for m, n in zip(*f.tensorized_shape)]
    assert f.n_param == case.count(sizes, f.rank) == sum(factor.size for factor in f.factors)
    assert tlr.n_param(case.name, f.tensorized_shape, f.rank) == f.n_param
    assert f.compression_ratio == math.prod(f.shape) / f.n_param


@every_format_and_backend
def test_gradients_equal_central_differences(case, backend):
    @examples(backend, slow=2, fast=8)
    @given(f=factorized(case, backend.slow))
    def law(f):
        rng = np.random.default_rng(3)
        x, dy = rng.normal(size=(2, f.shape[1])), rng.normal(size=(2, f.shape[0]))
        expected, expected_x = reference.gradients(lambda factors: type(f)(factors).to_matrix(), f.factors, x, dy)
        of_factors, of_x = on(backend, f).gradients(backend.array(x), backend.array(dy))
        assert len(of_factors) == len(expected)
        for found, wanted in zip(of_factors, expected):
            assert found.shape == wanted.shape
            assert_allclose(to_numpy(found), wanted, rtol=1e-9, atol=1e-9)
        assert_allclose(to_numpy(of_x), expected_x, atol=1e-11)

    law()


@every_format
@given(data=st.data(), leading=st.sampled_from(LEADING))
def test_gradients_equal_torch_autograd(case, data, leading):
    f = data.draw(factorized(case))
    rng = np.random.default_rng(4)
    x, dy = rng.normal(size=(*leading, f.shape[1])), rng.normal(size=(*leading, f.shape[0]))
    leaves = [torch.tensor(one, requires_grad=True) for one in (x, *f.factors)]
    type(f)(leaves[1:]).apply(leaves[0]).backward(torch.tensor(dy))
    of_factors, of_x = f.gradients(x, dy)
    for found, leaf in zip((of_x, *of_factors), leaves):
        assert_allclose(found, leaf.grad.numpy(), atol=1e-11)


@every_format
def test_gradients_equal_jax_grad(case):
    for shape, rank in case.pool.items():
        f = tlr.get_format(case.name).random(shape, rank, random_state=5)
        rng = np.random.default_rng(5)
        x, dy = rng.normal(size=(2, f.shape[1])), rng.normal(size=(2, f.shape[0]))

        def loss(factors, x, kind=type(f), dy=dy):
            return (kind(factors).apply(x) * dy).sum()

        by_factors, by_x = jax.grad(loss, argnums=(0, 1))([jax.numpy.asarray(one) for one in f.factors], jax.numpy.asarray(x))
        of_factors, of_x = f.gradients(x, dy)
        for found, wanted in zip((of_x, *of_factors), (by_x, *by_factors)):
            assert_allclose(found, np.asarray(wanted), atol=1e-11)


@every_format
@given(data=st.data())
def test_linear_in_each_factor(case, data):
    f = data.draw(factorized(case))
    number = data.draw(st.integers(0, len(f.factors) - 1))
    other = np.random.default_rng(6).normal(size=f.factors[number].shape)

    def with_factor(factor):
        return type(f)([factor if k == number else one for k, one in enumerate(f.factors)]).to_matrix()

    combined = with_factor(2.0 * f.factors[number] - 3.0 * other)
    assert_allclose(combined, 2.0 * with_factor(f.factors[number]) - 3.0 * with_factor(other), atol=1e-11)


@every_format
@given(
    shape=st.sampled_from([((7, 3, 2), (5, 2, 11)), ((13,), (17,)), ((4, 4, 4, 4), (2, 3, 5, 7))]),
    std=st.sampled_from([1.0, 0.02, 1e-6, 300.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_has_exactly_the_standard_deviation_asked_for(case, shape, std, seed):
    kind = tlr.get_format(case.name)
    for options in case.options:
        f = kind.random(shape, 1 if len(shape[0]) == 1 else 3, std=std, random_state=seed, **options)
        assert math.sqrt(np.mean(f.to_matrix() ** 2)) == pytest.approx(std, rel=1e-6)


@every_format_and_backend
def test_random_follows_like_and_seed(case, backend):
    kind, shape = tlr.get_format(case.name), ((2, 3), (3, 5))
    for dtype in (np.float64, np.float32):
        like = backend.array(np.zeros(1, dtype=dtype))
        first, second, other = (kind.random(shape, 2, random_state=seed, like=like) for seed in (7, 7, 8))
        for one, same, different in zip(first.factors, second.factors, other.factors):
            assert isinstance(one, backend.kind) and one.dtype == like.dtype
            assert (to_numpy(one) == to_numpy(same)).all()
            assert (to_numpy(one) != to_numpy(different)).any()
    # One stream for all factors: two of equal shape differ.
    equal = kind.random(((3, 3, 3), (3, 3, 3)), 3, random_state=0).factors
    for a, one in enumerate(equal):
        for two in equal[a + 1 :]:
            assert one.shape != two.shape or (one != two).any()


@every_format
def test_random_takes_any_source_of_randomness(case):
    kind, shape = tlr.get_format(case.name), ((2, 3), (3, 5))
    generator = np.random.default_rng(3)
    first, second = (kind.random(shape, 2, random_state=generator) for _ in range(2))
    assert (first.factors[0] != second.factors[0]).any()
    assert (kind.random(shape, 2).factors[0] != kind.random(shape, 2).factors[0]).any()
    legacy = [kind.random(shape, 2, random_state=np.random.RandomState(3)).factors[0] for _ in range(2)]
    assert (legacy[0] == legacy[1]).all()


@every_format_and_backend
def test_full_rank_reproduces_any_matrix(case, backend):
    @examples(backend, slow=2, fast=15)
    @given(shape=st.sampled_from(tuple(case.pool) if backend.slow else SHAPES), seed=st.integers(0, 1000))
    def law(shape, seed):
        for options in case.options:
            rows = math.prod(shape[0]) * options.get("root_rank", 1)
            dense = np.random.default_rng(seed).normal(size=(rows, math.prod(shape[1])))
            f = tlr.factorize(backend.array(dense), case.name, shape, "full", **options)
            assert isinstance(f.factors[0], backend.kind)
            assert f.shape == dense.shape
            assert f.rank == tlr.get_format(case.name).validate_rank(shape, "full", **options)
            assert_allclose(to_numpy(f.to_matrix()), dense, atol=1e-12)
            assert f.relative_error(backend.array(dense)) < 1e-13

    law()


@every_format_and_backend
def test_padding_holds_any_size(case, backend):
    shape = ((2, 3, 2), (3, 1, 5))
    for options in case.options:
        stack = options.get("root_rank", 1)
        for rows, columns in ((11, 13), (7, 15), (12, 11)):
            dense = np.random.default_rng(8).normal(size=(stack * rows, columns))
            f = tlr.factorize(backend.array(dense), case.name, shape, "full", **options)
            assert f.shape == dense.shape
            assert f.compression_ratio == dense.size / f.n_param
            assert_allclose(to_numpy(f.to_matrix()), dense, atol=1e-12)
            rng = np.random.default_rng(9)
            x, y = rng.normal(size=(2, columns)), rng.normal(size=(2, stack * rows))
            assert_allclose(to_numpy(f.apply(backend.array(x))), x @ dense.T, atol=1e-11)
            assert_allclose(to_numpy(backend.array(y) @ f), y @ dense, atol=1e-11)
            assert f.relative_error(backend.array(dense)) < 1e-13
            assert f.relative_error(backend.array(2 * dense)) == pytest.approx(0.5)
            of_factors, of_x = f.gradients(backend.array(x), backend.array(y))
            assert_allclose(to_numpy(of_x), y @ dense, atol=1e-11)
            # The loss is linear in each factor: its value is the factor times its gradient.
            for factor, gradient in zip(f.factors, of_factors):
                value = np.sum(to_numpy(factor) * to_numpy(gradient))
                assert value == pytest.approx(np.sum(y * (x @ dense.T)), abs=1e-10)


@every_format
def test_factors_are_live(case):
    f = tlr.get_format(case.name).random(((2, 3), (3, 5)), 2, random_state=0)
    dense = f.to_matrix()
    f.factors[0] *= 2.0
    assert_allclose(f.to_matrix(), 2.0 * dense, atol=1e-12)
    given = [np.array(factor) for factor in f.factors]
    g = type(f)(given)
    assert all(kept is factor for kept, factor in zip(g.factors, given))
    g.factors.clear()
    assert len(given) == len(f.factors)


@every_format
def test_ranks_of_every_form(case):
    kind, shape = tlr.get_format(case.name), ((4, 3, 2), (5, 3, 4))
    assert kind.validate_rank(shape, np.int64(2)) == kind.validate_rank(shape, 2)
    canonical = kind.validate_rank(shape, 2)
    assert kind.validate_rank(shape, canonical) == canonical
    assert kind.validate_rank(shape, "same") == kind.validate_rank(shape, 1.0)


@every_format
@given(share=st.floats(0.002, 1.0))
def test_a_share_is_an_upper_bound_and_the_next_rank_breaks_it(case, share):
    kind, shape = tlr.get_format(case.name), ((8, 8, 8), (8, 8, 8))
    dense = 512 * 512
    rank = kind.validate_rank(shape, share)
    assert tlr.n_param(case.name, shape, rank) <= share * dense
    largest = max(np.hstack([np.ravel(part) for part in rank]))
    assert tlr.n_param(case.name, shape, kind.uniform_rank(shape, int(largest) + 1)) > share * dense


@every_format
def test_wrong_ranks_are_refused(case):
    kind, shape = tlr.get_format(case.name), ((4, 3, 2), (5, 3, 4))
    for rank, error, message in case.wrong_ranks:
        with pytest.raises(error, match=message):
            kind.validate_rank(shape, rank)
        with pytest.raises(error, match=message):
            kind.random(shape, rank)
        with pytest.raises(error, match=message):
            tlr.n_param(case.name, shape, rank)
        if rank is not None:  # which factorize takes for its default
            with pytest.raises(error, match=message):
                tlr.factorize(np.ones((24, 60)), case.name, shape, rank)
    with pytest.raises(TypeError, match="leaf_rank must be an option of the format"):
        kind.validate_rank(shape, 2, leaf_rank=3)


@every_format
def test_factors_that_do_not_fit_are_refused(case):
    f = tlr.get_format(case.name).random(((2, 3), (3, 5)), 2, random_state=0)
    kind = type(f)
    with pytest.raises(ValueError, match=r"must have one axis an index; .* \(at factors\[1\]\)"):
        kind([f.factors[0], f.factors[1][0], *f.factors[2:]])
    with pytest.raises(ValueError, match=r"must agree on the size of index .* \(at factors\[1\]\)"):
        kind([f.factors[0], np.concatenate([f.factors[1]] * 2), *f.factors[2:]])
    with pytest.raises(ValueError, match="factors must not be empty"):
        kind([])
    with pytest.raises(ValueError, match="factors must not be empty"):
        kind([one[..., :0] for one in f.factors])
    with pytest.raises(TypeError, match=r"factors\[1\] must be of the same backend as factors\[0\]; expected numpy, got pytorch"):
        kind([f.factors[0], torch.tensor(f.factors[1]), *f.factors[2:]])
    with pytest.raises(TypeError, match=r"factors must have one dtype; expected float64 .*, got float32"):
        kind([f.factors[0], f.factors[1].astype("float32"), *f.factors[2:]])
    with pytest.raises(TypeError, match=r"factors\[0\] must be an array of a TensorLy backend; .* got list"):
        kind([one.tolist() for one in f.factors])
    with pytest.raises(TypeError, match="factors must be a sequence of arrays"):
        kind("cores")
    with pytest.raises(ValueError, match="tensorized_shape must hold the whole matrix; expected in modes with a product of at least 16"):
        kind(f.factors, shape=(6, 16))


@every_format
def test_operands_that_do_not_fit_are_refused(case):
    f = tlr.get_format(case.name).random(((2, 3), (3, 5)), 2, random_state=0)
    x, dy = np.ones((2, 15)), np.ones((2, 6))
    with pytest.raises(ValueError, match=r"apply: x must have 15 entries along its last axis; expected \(..., 15\), got \(2, 14\)"):
        f.apply(x[:, 1:])
    with pytest.raises(ValueError, match="apply: x must have 15 entries"):
        f.apply(np.array(1.0))
    with pytest.raises(TypeError, match="apply: x must have the factors' dtype; expected float64, got float32"):
        f.apply(x.astype("float32"))
    with pytest.raises(TypeError, match=r"apply: x must be of the same backend as factors\[0\]; expected numpy, got pytorch"):
        f.apply(torch.ones(2, 15, dtype=torch.float64))
    with pytest.raises(TypeError, match="expected numpy, got list"):
        f.apply(x.tolist())
    with pytest.raises(ValueError, match="gradients: dy must have 6 entries"):
        f.gradients(x, dy[:, 1:])
    with pytest.raises(ValueError, match=r"gradients: dy must have the leading shape of x; expected \(2,\), got \(1,\)"):
        f.gradients(x, dy[1:])
    with pytest.raises(ValueError, match=r"matrix must have the shape of f; expected \(6, 15\), got \(15, 6\)"):
        f.relative_error(np.ones((15, 6)))
    with pytest.raises(ValueError, match="must be a vector or a matrix"):
        f @ np.ones((2, 15, 1))


@every_format
def test_pickle_keeps_everything(case):
    f = tlr.factorize(np.random.default_rng(0).normal(size=(5, 14)), case.name, ((2, 3), (3, 5)), "full")
    g = pickle.loads(pickle.dumps(f))
    assert (g.shape, g.rank, g.tensorized_shape) == (f.shape, f.rank, f.tensorized_shape)
    assert (g.to_matrix() == f.to_matrix()).all()
    assert repr(g) == repr(f)


@every_format
def test_what_is_no_operand_or_number_is_named(case):
    kind, shape = tlr.get_format(case.name), ((2, 3), (3, 5))
    f = kind.random(shape, 2, random_state=0)
    for other in ([1.0, 2.0], None, 3.0, f.T):
        with pytest.raises(TypeError, match="the other operand must be of the same backend"):
            f @ other
    for factors in ([one.astype(int) for one in f.factors], [one + 0j for one in f.factors]):
        with pytest.raises(TypeError, match="factors must hold real floating-point numbers; got"):
            kind(factors)
    with pytest.raises(TypeError, match="like must be an array of real floating-point numbers; got dtype int64"):
        kind.random(shape, 2, like=np.zeros(1, dtype=int))
    for seed in ("5", 1.5, True, -1):
        with pytest.raises(TypeError, match="random_state must be a seed or a generator"):
            kind.random(shape, 2, random_state=seed)
    for std in (None, -1.0, float("nan"), "1", True):
        with pytest.raises(ValueError, match="std must be a finite number of at least 0"):
            kind.random(shape, 2, std=std)
    assert kind.random(shape, 2, std=np.float32(0.5), random_state=np.int64(1)).shape == (6, 15)
    with pytest.raises(ValueError, match="rank='same' must leave room for rank 1"):
        kind.validate_rank(((1,) * 9, (2, *(1,) * 8)), "same")
