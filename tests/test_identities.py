"""Identities between the formats, and with those of TensorLy."""

import numpy as np
import pytest
import tensorly
from numpy.testing import assert_allclose
from tensorly.cp_tensor import cp_to_tensor
from tensorly.tt_matrix import tt_matrix_to_matrix
from tensorly.tucker_tensor import tucker_to_tensor

import tensorly_rnn as tlr

SHAPE = ((2, 3, 5), (5, 2, 3))


def paired(tensor, order):
    """The matrix tensor (m_1..m_d, n_1..n_d) with one axis (m_k n_k) a mode."""
    axes = [axis for k in range(order) for axis in (k, order + k)]
    shape = [tensor.shape[k] * tensor.shape[order + k] for k in range(order)]
    return tensor.transpose(axes).reshape(shape)


def test_ring_with_end_rank_one_is_a_train():
    train = tlr.TTMatrix.random(SHAPE, (1, 3, 2, 1), random_state=0)
    assert (tlr.TRMatrix(train.factors).to_matrix() == train.to_matrix()).all()


def test_train_is_tensorlys_tt_matrix():
    train = tlr.TTMatrix.random(SHAPE, (1, 3, 2, 1), random_state=0)
    assert_allclose(tt_matrix_to_matrix(train.factors), train.to_matrix(), atol=1e-13)
    assert_allclose(tensorly.tt_matrix.TTMatrix(train.factors).to_tensor(), train.to_tensor(), atol=1e-13)


def test_ring_is_tensorlys_tr_tensor():
    ring = tlr.TRMatrix.random(SHAPE, (2, 3, 4, 2), random_state=0)
    merged = [core.reshape(core.shape[0], -1, core.shape[3]) for core in ring.factors]
    assert_allclose(tensorly.tr_to_tensor(merged), paired(ring.to_tensor(), 3), atol=1e-13)


def test_one_block_is_tucker():
    block = tlr.BTMatrix.random(SHAPE, (1, (2, 3, 4)), random_state=0)
    core, *factors = (factor[0] for factor in block.factors)
    expected = tucker_to_tensor((core, [factor.reshape(-1, factor.shape[-1]) for factor in factors]))
    assert_allclose(expected, paired(block.to_tensor(), 3), atol=1e-13)


def test_blocks_of_rank_one_are_cp():
    blocks = tlr.BTMatrix.random(SHAPE, (4, 1), random_state=0)
    core, *factors = blocks.factors
    expected = cp_to_tensor((core.reshape(4), [factor.reshape(4, -1).T for factor in factors]))
    assert_allclose(expected, paired(blocks.to_tensor(), 3), atol=1e-13)


def test_tree_of_two_leaves_is_a_low_rank_matrix():
    tree = tlr.HTMatrix.random(((3, 5), (5, 2)), (1, 4, 2), random_state=0)
    root, left, right = tree.factors
    expected = left.reshape(4, -1).T @ root[0] @ right.reshape(2, -1)
    assert_allclose(expected, paired(tree.to_tensor(), 2), atol=1e-13)


def test_stack_shares_all_but_the_root():
    stack = tlr.HTMatrix.random(SHAPE, (3, 2), root_rank=4, random_state=0)
    root, *others = stack.factors
    alone = [tlr.HTMatrix([root[g : g + 1], *others]).to_matrix() for g in range(4)]
    assert_allclose(np.concatenate(alone), stack.to_matrix(), atol=1e-13)
    assert stack.shape == (4 * 30, 30)


@pytest.mark.parametrize("name", tlr.available_formats())
def test_one_mode_is_the_dense_matrix(name):
    dense = np.random.default_rng(0).normal(size=(5, 7))
    f = tlr.factorize(dense, name, ((5,), (7,)), "full")
    assert_allclose(f.to_matrix(), dense, atol=1e-14)
    assert f.n_param in (35, 36)  # the block term has a core of one entry
