"""Hierarchical Tucker on any tree, either way: the bound, the error asked for, high orders."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import hierarchical_tucker, tensor_train
from tests.backends import every_backend, to_numpy
from tests.reference import values_of_cut
from tests.strategies import examples, refused

SHAPE = (4, 3, 5, 2)
TREES = (None, tlr.linear_tree(4), ((0, 2), (3, 1)), (((3, 0), 2), 1))
METHODS = ("leaves_to_root", "root_to_leaves")
every_tree = pytest.mark.parametrize("tree", TREES, ids=str)
every_method = pytest.mark.parametrize("method", METHODS)


def below(tree):
    """Modes below every node but the root, breadth first."""
    queue = [tree if tree is not None else ((0, 1), (2, 3))]
    for one in queue:
        if isinstance(one, tuple):
            queue += one

    def leaves(one):
        return sum(map(leaves, one), ()) if isinstance(one, tuple) else (one,)

    return [leaves(one) for one in queue[1:]]


@every_tree
@every_method
@given(seed=st.integers(0, 1000), ranks=st.lists(st.integers(1, 4), min_size=6, max_size=6))
@examples(4)
def test_truncation_keeps_its_bound(tree, method, seed, ranks):
    tensor = np.random.default_rng(seed).normal(size=SHAPE) * 0.7 ** np.indices(SHAPE).sum(0)
    with warnings.catch_warnings():
        # Ranks that do not nest are clipped.
        warnings.simplefilter("ignore")
        found = hierarchical_tucker(tensor, (1, ranks[1], *ranks[1:]), tree=tree, method=method)
    assert all(got <= asked for got, asked in zip(found.rank[2:], ranks[1:]))
    # The root's two cuts are one and the same.
    tails = [
        math.sqrt(np.sum(values_of_cut(tensor, modes)[rank:] ** 2)) for modes, rank in zip(below(tree)[1:], found.rank[2:])
    ]
    error = np.linalg.norm(found.to_tensor() - tensor)
    assert max(tails) * (1 - 1e-10) - 1e-13 <= error <= math.sqrt(sum(one**2 for one in tails)) * (1 + 1e-10) + 1e-12
    assert len(tails) == 2 * 4 - 3


@every_tree
@every_method
@every_backend
def test_the_error_asked_for_is_kept(tree, method, backend):
    if backend.slow and tree != ((0, 2), (3, 1)):
        pytest.skip("one tree is enough where every shape is compiled anew")

    @given(eps=st.sampled_from([0.3, 1e-2]) if backend.slow else st.floats(1e-9, 0.9), seed=st.integers(0, 100))
    @examples(4, backend.slow)
    def law(eps, seed):
        dense = np.random.default_rng(seed).normal(size=SHAPE) * 0.3 ** np.indices(SHAPE).sum(0)
        found = hierarchical_tucker(backend.array(dense), eps=eps, tree=tree, method=method)
        assert np.linalg.norm(to_numpy(found.to_tensor()) - dense) <= eps * np.linalg.norm(dense) * (1 + 1e-10)
        assert found.tree == tree

    law()


@every_method
@pytest.mark.parametrize("eps", [0.1, 0.3, 0.6])
def test_the_roots_one_cut_takes_the_error_once(method, eps):
    tensor = np.random.default_rng(0).normal(size=(30, 30)) @ np.diag(0.9 ** np.arange(30))
    found = hierarchical_tucker(tensor, eps=eps, method=method)
    values = np.linalg.svd(tensor, compute_uv=False)
    tails = np.sqrt(np.cumsum(values[::-1] ** 2))[::-1] / np.linalg.norm(values)
    assert found.rank == (1, *[int(np.count_nonzero(tails > eps))] * 2)
    assert found.relative_error(tensor) == pytest.approx(tails[found.rank[1]])


@every_method
@given(eps=st.floats(1e-9, 0.9), seed=st.integers(0, 100))
@examples(6)
def test_stacks_keep_the_error_too(method, eps, seed):
    dense = np.random.default_rng(seed).normal(size=(3 * 6, 10)) @ np.diag(0.5 ** np.arange(10))
    f = tlr.factorize(dense, "ht", ((2, 3), (5, 2)), eps=eps, root_rank=3, method=method)
    assert f.stack == 3 and f.relative_error(dense) <= eps * (1 + 1e-10)


@every_tree
@every_method
def test_exactly_low_rank_is_recovered(tree, method):
    rank = (1, 3, 3, 2, 2, 2, 2) if tree in (None, ((0, 2), (3, 1))) else (1, 2, 2, 2, 2, 2, 2)
    planted = tlr.random_ht(SHAPE, rank, tree=tree, random_state=1)
    dense = planted.to_tensor()
    found = hierarchical_tucker(dense, eps=1e-10, tree=tree, method=method)
    assert found.rank == rank
    assert_allclose(found.to_tensor(), dense, atol=1e-13)
    by_rank = hierarchical_tucker(dense, rank, tree=tree, method=method)
    assert_allclose(by_rank.to_tensor(), dense, atol=1e-13)


def test_error_and_rank_together_take_the_lesser():
    dense = np.random.default_rng(0).normal(size=SHAPE) * 0.1 ** np.indices(SHAPE).sum(0)
    assert max(hierarchical_tucker(dense, 3, eps=1e-9).rank) == 3
    free = hierarchical_tucker(dense, eps=0.1).rank
    assert 1 < max(free) <= 3
    assert hierarchical_tucker(dense, 3, eps=0.1).rank == free


def test_the_linear_tree_is_the_train():
    tensor = np.random.default_rng(0).normal(size=(4, 3, 5, 6))
    train = tensor_train(tensor, (1, 2, 3, 4, 1))
    # Node k of the linear tree spans modes k to d - 1: its rank is the train's.
    tree = hierarchical_tucker(tensor, (1, 2, 2, 3, 3, 5, 4), tree=tlr.linear_tree(4))
    converted = tree.to_tt()
    assert converted.rank == (1, 2, 3, 4, 1) == train.rank
    errors = [np.linalg.norm(one.to_tensor() - tensor) for one in (train, converted)]
    # Both are quasi-optimal of the same ranks.
    assert max(errors) < math.sqrt(3) * min(errors)


@pytest.mark.parametrize("tree", [None, "linear"])
def test_orders_to_twenty_and_more(tree):
    order = 20
    shape = (2,) * order
    chosen = None if tree is None else tlr.linear_tree(order)
    grid = np.arange(2**order) / 2**order
    tensor = np.sin(30 * grid).reshape(shape)
    found = hierarchical_tucker(tensor, eps=1e-8, tree=chosen)
    # A sine on a dyadic grid has rank 2 in every cut.
    assert max(found.rank) == 2
    assert found.relative_error(tensor) < 1e-8
    assert found.n_param == 20 * 4 + 18 * 8 + 4
    high = tlr.random_ht((3,) * 24, 2, random_state=0, tree=None if tree is None else tlr.linear_tree(24))
    assert high.order == 24 and high.n_param == 24 * 6 + 22 * 8 + 4


def test_matrices_on_a_tree_do_all_that_matrices_do():
    modes, tree = ((2, 3, 5), (5, 2, 3)), ((0, 2), 1)
    f = tlr.HTMatrix.random(modes, 3, tree=tree, random_state=0)
    dense = f.to_matrix()
    found = tlr.factorize(dense, "ht", modes, eps=1e-10, tree=tree)
    assert type(found) is type(f) and found.rank == f.rank
    assert_allclose(found.to_matrix(), dense, atol=1e-12)
    x = np.random.default_rng(1).normal(size=(4, 30))
    assert_allclose(found.apply(x), x @ dense.T, atol=1e-11)
    assert tlr.n_param("ht", modes, 3, tree=tree) == f.n_param
    assert tlr.cost("ht", modes, 3, batch=4, tree=tree).flops > 0


def test_a_method_of_another_format_is_refused():
    refused(
        (ValueError, r"method must be known; expected one of \('auto', 'leaves_to_root', 'root_to_leaves'\), got 'als'", lambda: hierarchical_tucker(np.ones((2, 3)), 1, method="als")),
        (ValueError, r"method must be known; expected one of \('auto',\), got 'als'", lambda: tensor_train(np.ones((2, 3)), 1, method="als")),
    )  # fmt: skip
