"""The laws that every format keeps on every backend."""

import itertools
import math

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.formats._random import unit_factors, unit_std
from tensorly_rnn.testing import LAWS, TENSOR_LAWS, TensorSubject, check_law, get_backend
from tests.backends import BACKENDS, CHOSEN
from tests.cases import CASES, every_format
from tests.expected_failures import EXPECTED_FAILURES, ExpectedFailure, check_reproduction, marks
from tests.strategies import factorized, refused, slow_but_one

#: Laws of which even one format takes long where every shape is compiled.
LONG = ("dtypes", "padding")
FOUND = {backend.name for backend in BACKENDS}
LEADING = ((), (0,), (1,), (3,), (2, 3), (2, 0))


def skip_where_missing(backend):
    return [] if backend in FOUND else [pytest.mark.skip(reason=f"{backend} is not there")]


def slow_where(backend, is_repeated):
    """Return the marks of a law: on all backends but the first, one format or form is tested by default."""
    return [pytest.mark.slow] if is_repeated and backend != CHOSEN[0] else []


@pytest.mark.parametrize(
    "law, case, backend",
    [
        pytest.param(
            law,
            case,
            backend,
            id=f"{law}-{case}-{backend}",
            marks=[
                *skip_where_missing(backend),
                *slow_where(backend, k != n % 4 or law in LONG),
                *marks(law, case.name, backend),
            ],
        )
        for backend in CHOSEN
        for k, case in enumerate(CASES)
        for n, law in enumerate(LAWS)
    ],
)
def test_law(law, case, backend):
    check_law(law, case.subject(get_backend(backend)), settings().max_examples)


@pytest.mark.parametrize(
    "law, kind, backend",
    [
        pytest.param(
            law,
            kind,
            backend,
            id=f"{law}-{kind.__name__}-{backend}",
            marks=[*skip_where_missing(backend), *slow_where(backend, k != n % 2)],
        )
        for backend in CHOSEN
        for k, kind in enumerate((tlr.BTTensor, tlr.HTTensor))
        for n, law in enumerate(TENSOR_LAWS)
    ],
)
def test_law_of_tensors(law, kind, backend):
    check_law(law, TensorSubject(kind, get_backend(backend)), settings().max_examples)


@pytest.mark.parametrize("row", [row for row in EXPECTED_FAILURES if row.backend in FOUND], ids=str)
def test_what_is_expected_to_fail_fails_without_our_code(row):
    check_reproduction(row)


def test_few_cases_are_expected_to_fail():
    for backend in {row.backend for row in EXPECTED_FAILURES}:
        cases = {(row.law, name) for row in EXPECTED_FAILURES if row.backend == backend for name in row.formats}
        assert len(cases) <= 0.1 * len(LAWS) * len(CASES), backend
    assert all(row.law in LAWS and row.backend in {*CHOSEN, "tensorflow", "paddle"} for row in EXPECTED_FAILURES)


def test_a_row_of_the_table_marks_its_cases_and_goes_with_its_limit():
    row = ExpectedFailure("numpy", "apply", ("tt", "ht"), "no zero", "import numpy\nnumpy.array([1])[2]")
    for law, name, backend, expected in (
        ("apply", "tt", "numpy", 1),
        ("apply", "bt", "numpy", 0),
        ("count", "tt", "numpy", 0),
        ("apply", "tt", "jax", 0),
    ):
        found = marks(law, name, backend, (row,))
        assert len(found) == expected
        assert all(mark.name == "xfail" and mark.kwargs["strict"] and mark.kwargs["reason"] == "no zero" for mark in found)
    check_reproduction(row)
    refused(
        (pytest.fail.Exception, "DID NOT RAISE", lambda: check_reproduction(ExpectedFailure("numpy", "apply", ("tt",), "lifted", "import numpy"))),
        (AssertionError, "6 lines", lambda: check_reproduction(ExpectedFailure("numpy", "apply", ("tt",), "long", "1\n" * 5 + "1 / 0"))),
        (AssertionError, "our code", lambda: check_reproduction(ExpectedFailure("numpy", "apply", ("tt",), "ours", "import tensorly_rnn\n1 / 0"))),
    )  # fmt: skip


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


@pytest.mark.parametrize("case", slow_but_one(CASES), ids=str)
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


@every_format
def test_random_takes_any_source_of_randomness(case):
    kind, shape = tlr.get_format(case.name), ((2, 3), (3, 5))
    generator = np.random.default_rng(3)
    first, second = (kind.random(shape, 2, random_state=generator) for _ in range(2))
    assert (first.factors[0] != second.factors[0]).any()
    assert (kind.random(shape, 2).factors[0] != kind.random(shape, 2).factors[0]).any()
    # One stream for all factors: two of equal shape differ.
    equal = kind.random(((3, 3, 3), (3, 3, 3)), 3, random_state=0).factors
    for a, one in enumerate(equal):
        for two in equal[a + 1 :]:
            assert one.shape != two.shape or (one != two).any()
    legacy = [kind.random(shape, 2, random_state=np.random.RandomState(3)).factors[0] for _ in range(2)]
    assert (legacy[0] == legacy[1]).all()


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
@given(share=st.floats(0.002, 1.0))
def test_a_share_is_an_upper_bound_and_the_next_rank_breaks_it(case, share):
    kind, shape = tlr.get_format(case.name), ((8, 8, 8), (8, 8, 8))
    dense = 512 * 512
    rank = kind.format.validate_rank(shape, share)
    assert tlr.n_param(case.name, shape, rank) <= share * dense
    largest = max(np.hstack([np.ravel(part) for part in rank]))
    assert tlr.n_param(case.name, shape, kind.format.uniform_rank(shape, int(largest) + 1)) > share * dense


@every_format
def test_a_budget_is_met_by_the_largest_even_rank_from_the_first_on(case):
    kind, shape = tlr.get_format(case.name), ((3, 5, 2), (7, 2, 4))
    counts = [tlr.n_param(case.name, shape, kind.format.uniform_rank(shape, rank)) for rank in range(1, 6)]
    assert counts == sorted(set(counts))
    assert kind.format.rank_at_most(shape, counts[0] - 1) is None
    for rank, (count, more) in enumerate(itertools.pairwise(counts), start=1):
        for budget in (count, more - 1):
            assert kind.format.rank_at_most(shape, budget) == kind.format.uniform_rank(shape, rank)


@every_format
def test_unit_factors_give_entries_of_variance_one(case):
    # Of independent factors the variance is the product of theirs, once for every product that an entry sums.
    for shape, rank in case.pool.items():
        network = tlr.get_format(case.name).format.make_network(shape, rank)
        terms = case.reference([np.ones(one) for one in network.factor_shapes])
        assert_allclose(unit_std(network) ** (2 * len(network.factors)) * terms, 1.0)
    drawn = unit_factors(network, np.random.default_rng(0))
    assert_allclose([one.std() / unit_std(network) for one in drawn if one.size > 8], 1.0, atol=0.5)


def test_numbers_of_factors_that_form_no_network_are_refused():
    for kind, count in ((tlr.BTMatrix, 1), (tlr.HTMatrix, 2), (tlr.BTTensor, 1), (tlr.HTTensor, 4)):
        with pytest.raises(ValueError, match=f"^factors must form a network; {count} factors do not"):
            kind([np.ones((1, 1, 1))] * count)


@every_format
def test_wrong_ranks_are_refused(case):
    kind, shape = tlr.get_format(case.name), ((4, 3, 2), (5, 3, 4))
    for rank, error, message in case.wrong_ranks:
        with pytest.raises(error, match=message) as caught:
            kind.format.validate_rank(shape, rank)
        assert str(caught.value).startswith("rank")
        with pytest.raises(error, match=message):
            kind.random(shape, rank)
        with pytest.raises(error, match=message):
            tlr.n_param(case.name, shape, rank)
        if rank is not None:  # which factorize takes for its default
            with pytest.raises(error, match=message):
                tlr.factorize(np.ones((24, 60)), case.name, shape, rank)
    with pytest.raises(TypeError, match="leaf_rank must be an option of the format"):
        kind.format.validate_rank(shape, 2, leaf_rank=3)
    if "root_rank" in kind.format.options:
        with pytest.raises(ValueError, match=r"^root_rank must be a positive integer"):
            kind.format.validate_rank(shape, 2, root_rank=0)


@every_format
def test_factors_that_do_not_fit_are_refused(case):
    f = tlr.get_format(case.name).random(((2, 3), (3, 5)), 2, random_state=0)
    kind = type(f)
    refused(
        (ValueError, r"must have one axis per index; .* \(at factors\[1\]\)", lambda: kind([f.factors[0], f.factors[1][0], *f.factors[2:]])),
        (ValueError, r"must agree on the size of index .* \(at factors\[1\]\)", lambda: kind([f.factors[0], np.concatenate([f.factors[1]] * 2), *f.factors[2:]])),
        (ValueError, "factors must not be empty", lambda: kind([])),
        (ValueError, "factors must not be empty", lambda: kind([one[..., :0] for one in f.factors])),
        (TypeError, r"factors\[1\] must be of the same backend as factors\[0\]; expected numpy, got pytorch", lambda: kind([f.factors[0], torch.tensor(f.factors[1]), *f.factors[2:]])),
        (TypeError, r"factors must have one dtype; expected float64 .*, got float32", lambda: kind([f.factors[0], f.factors[1].astype("float32"), *f.factors[2:]])),
        (TypeError, r"factors\[0\] must be an array of a TensorLy backend; .* got list", lambda: kind([one.tolist() for one in f.factors])),
        (TypeError, "factors must be a sequence of arrays", lambda: kind("cores")),
        (ValueError, "tensorized_shape must hold the whole matrix; expected in modes with a product of at least 16", lambda: kind(f.factors, shape=(6, 16))),
    )  # fmt: skip


@every_format
def test_operands_that_do_not_fit_are_refused(case):
    f = tlr.get_format(case.name).random(((2, 3), (3, 5)), 2, random_state=0)
    x, dy = np.ones((2, 15)), np.ones((2, 6))
    refused(
        (ValueError, r"^x must have 15 entries along its last axis; expected \(..., 15\), got \(2, 14\)", lambda: f.apply(x[:, 1:])),
        (ValueError, "^x must have 15 entries", lambda: f.apply(np.array(1.0))),
        (TypeError, "^x must have the factors' dtype; expected float64, got float32", lambda: f.apply(x.astype("float32"))),
        (TypeError, r"^x must be of the same backend as factors\[0\]; expected numpy, got pytorch", lambda: f.apply(torch.ones(2, 15, dtype=torch.float64))),
        (TypeError, "expected numpy, got list", lambda: f.apply(x.tolist())),
        (ValueError, "^dy must have 6 entries", lambda: f.gradients(x, dy[:, 1:])),
        (ValueError, r"^dy must have the leading shape of x; expected \(2,\), got \(1,\)", lambda: f.gradients(x, dy[1:])),
        (ValueError, r"matrix must have the shape of f; expected \(6, 15\), got \(15, 6\)", lambda: f.relative_error(np.ones((15, 6)))),
    )  # fmt: skip
    assert f.relative_error(np.zeros((6, 15))) == math.inf and (0 * f).relative_error(np.zeros((6, 15))) == 0.0
    with pytest.raises(ValueError, match="must be a vector or a matrix"):
        f @ np.ones((2, 15, 1))


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
        kind.format.validate_rank(((1,) * 9, (2, *(1,) * 8)), "same")
