"""The laws that every format keeps on every backend."""

import itertools
import math

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
from tests.strategies import refused

#: Laws of which even one format takes long where every shape is compiled.
LONG = ("dtypes", "padding")
#: Laws of many decompositions a case.
HEAVY = ("arithmetic", "untouched", "many_modes")
FOUND = {backend.name for backend in BACKENDS}


def skip_where_missing(backend):
    return [] if backend in FOUND else [pytest.mark.skip(reason=f"{backend} is not there")]


def examples_on(backend):
    """Return the number of examples of a law: fewer where every shape is compiled."""
    return max(3, settings().max_examples // (3 if get_backend(backend).slow else 1))


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
    check_law(law, case.subject(get_backend(backend)), examples_on(backend) // (2 if law in HEAVY else 1))


@pytest.mark.parametrize(
    "law, kind, backend",
    [
        pytest.param(
            law,
            kind,
            backend,
            id=f"{law}-{kind.__name__}-{backend}",
            marks=[*skip_where_missing(backend), *slow_where(backend, k != n % 4)],
        )
        for backend in CHOSEN
        for k, kind in enumerate((tlr.BTTensor, tlr.HTTensor, tlr.TTTensor, tlr.TRTensor))
        for n, law in enumerate(TENSOR_LAWS)
    ],
)
def test_law_of_tensors(law, kind, backend):
    check_law(law, TensorSubject(kind, get_backend(backend)), examples_on(backend))


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
    refused(
        (ValueError, "^x must have 15 entries", lambda: f.apply(np.array(1.0))),
        (ValueError, r"matrix must have the shape of f; expected \(6, 15\), got \(15, 6\)", lambda: f.relative_error(np.ones((15, 6)))),
        (ValueError, "must be a vector or a matrix", lambda: f @ np.ones((2, 15, 1))),
    )  # fmt: skip
    assert f.relative_error(np.zeros((6, 15))) == math.inf and (0 * f).relative_error(np.zeros((6, 15))) == 0.0


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
