"""The tensorized shape that is chosen where none is given: never worse than a truncated singular value decomposition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tensorly_rnn as tlr
from tensorly_rnn.decomposition.shape_search import paired_shape, separate_shapes
from tests.strategies import examples

FORMATS = tlr.available_formats()


def decaying(rows, columns, power, seed=0):
    """Return a matrix of singular values ``k^-power`` and random singular vectors, as trained weights have."""
    rng = np.random.default_rng(seed)
    size = min(rows, columns)
    left, right = (np.linalg.qr(rng.normal(size=(n, size)))[0] for n in (rows, columns))
    return left * np.arange(1, size + 1) ** -power @ right.T


def truncated(dense, rank):
    values = np.linalg.svd(dense, compute_uv=False)
    return np.linalg.norm(values[rank:]) / np.linalg.norm(values)


def rank_of_svd(name, dense, n_param):
    """Return the largest rank of a singular value decomposition of that many parameters; HT and BT have a core besides."""
    core = name in ("ht", "bt")
    ranks = range(1, min(dense.shape) + 1)
    return max((rank for rank in ranks if rank * sum(dense.shape) + core * rank**2 <= n_param), default=0)


@pytest.mark.parametrize("name", FORMATS)
@given(
    rows=st.sampled_from([1, 7, 24, 37]),
    columns=st.sampled_from([5, 24, 31]),
    power=st.sampled_from([0.2, 0.7, 2.0]),
    share=st.floats(0.1, 1.2),
    seed=st.integers(0, 99),
)
@examples(6)
def test_never_worse_than_the_singular_value_decomposition(name, rows, columns, power, share, seed):
    dense = decaying(rows, columns, power, seed)
    budget = max(int(share * dense.size), rows + columns + 1)
    found = tlr.factorize(dense, name, n_param=budget, n_iter_max=3)
    assert found.n_param <= budget
    assert found.relative_error(dense) <= truncated(dense, rank_of_svd(name, dense, budget)) + 1e-7


@pytest.mark.parametrize("name", ["tt", "ht"])
@pytest.mark.parametrize("eps", [0.5, 0.1])
def test_an_error_takes_no_more_parameters_than_the_singular_value_decomposition(name, eps):
    dense = decaying(48, 36, 1.0)
    rank = next(rank for rank in range(1, 37) if truncated(dense, rank) <= eps)
    found = tlr.factorize(dense, name, eps=eps)
    assert found.relative_error(dense) <= eps
    assert found.n_param <= rank * sum(dense.shape) + (name == "ht") * rank**2


@pytest.mark.parametrize("name", FORMATS)
def test_kronecker_structure_is_found(name):
    shape = paired_shape(64, 81)
    planted = tlr.get_format(name).random(shape, 2, random_state=0)
    dense = planted.to_matrix()
    found = tlr.factorize(dense, name, n_param=planted.n_param)
    assert found.tensorized_shape == shape
    assert found.relative_error(dense) < 1e-6


def test_structure_of_rows_and_of_columns_apart_is_found():
    shape = separate_shapes(36, 64)[1]
    planted = tlr.TTMatrix.random(shape, (1, 2, 5, 2, 1), random_state=0)
    found = tlr.factorize(planted.to_matrix(), "tt", n_param=planted.n_param)
    assert found.tensorized_shape == shape == ((1, 1, 6, 6), (8, 8, 1, 1))
    assert found.relative_error(planted.to_matrix()) < 1e-12


def test_shapes_hold_the_matrix():
    for rows, columns in ((1, 1), (1, 30), (37, 5), (2048, 999)):
        for out_modes, in_modes in (paired_shape(rows, columns), *separate_shapes(rows, columns)):
            assert math.prod(out_modes) >= rows and math.prod(in_modes) >= columns
    assert separate_shapes(6, 35) == (((1, 6), (35, 1)), ((1, 1, 3, 2), (7, 5, 1, 1)), ((3, 2, 1, 1), (1, 1, 7, 5)))


def test_a_rank_has_balanced_modes_and_a_stack_its_own():
    dense = decaying(64, 81, 1.0)
    assert tlr.factorize(dense, "tt", rank=3).tensorized_shape == paired_shape(64, 81)
    stacked = tlr.factorize(dense, "ht", compression_ratio=3, root_rank=4)
    assert (stacked.stack, stacked.shape) == (4, (64, 81))
    assert tlr.factorize(0 * dense, "tt", n_param=500).relative_error(0 * dense) == 0


def test_a_tree_needs_its_shape():
    with pytest.raises(
        ValueError, match="tensorized_shape must be given with a tree; expected one mode for each leaf, got None"
    ):
        tlr.factorize(decaying(8, 9, 1.0), "ht", n_param=60, tree=(0, 1))
    with pytest.raises(ValueError, match="n_param=3 must leave room for rank 1; expected a budget of at least"):
        tlr.factorize(decaying(8, 9, 1.0), "tt", n_param=3)


def test_arguments_are_checked_without_a_shape_too():
    dense = decaying(8, 9, 1.0)
    with pytest.raises(TypeError, match="root_rank must be an option of the format 'tt'"):
        tlr.factorize(dense, "tt", n_param=60, root_rank=2)
    with pytest.raises(ValueError, match="root_rank must be a positive integer; expected at least 1, got 0"):
        tlr.factorize(dense, "ht", n_param=60, root_rank=0)
    with pytest.raises(ValueError, match="shape must have rows that divide into the stack; expected a multiple of 3, got 8"):
        tlr.factorize(dense, "ht", n_param=60, root_rank=3)
    with pytest.raises(ValueError, match="positive and finite; got nan"):
        tlr.factorize(dense, "tt", rank=float("nan"))
    with pytest.raises(ValueError, match="eps must be a relative error; expected a number between 0 and 1, got 2"):
        tlr.factorize(dense, "tt", eps=2)
