"""Identities between the formats, and with those of TensorLy."""

import numpy as np
import tensorly
from numpy.testing import assert_allclose
from tensorly.tt_matrix import tt_matrix_to_matrix

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
