"""BTTensor and HTTensor: against loops, TensorLy's own tensors, and what is refused."""

import copy
import pickle
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import tensorly
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tensorly.cp_tensor import CPTensor, cp_to_tensor
from tensorly.tt_tensor import TTTensor, tt_to_tensor
from tensorly.tucker_tensor import TuckerTensor, tucker_to_tensor

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import (
    BlockTerm,
    HierarchicalTucker,
    TensorRing,
    TensorTrain,
    block_term,
    hierarchical_tucker,
    tensor_ring,
    tensor_train,
)
from tests import reference
from tests.backends import every_backend, to_numpy
from tests.strategies import examples, refused

FORMS = (tlr.BTTensor, tlr.HTTensor)
SHAPES = ((5,), (3, 5), (2, 3, 5), (3, 1, 2, 5))
every_form = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)


def reference_ht(factors, tree):
    """Recursion over the nested pairs; factors breadth first."""
    numbers, queue = {(): 0}, [((), tree)]
    for path, one in queue:
        if isinstance(one, tuple):
            for side in (0, 1):
                numbers[(*path, side)] = len(queue)
                queue.append(((*path, side), one[side]))

    def basis(path, one):
        factor = factors[numbers[path]]
        if not isinstance(one, tuple):
            return factor, [one]
        left, left_modes = basis((*path, 0), one[0])
        right, right_modes = basis((*path, 1), one[1])
        total = 0
        for a in range(factor.shape[1]):
            for b in range(factor.shape[2]):
                total = total + np.multiply.outer(factor[:, a, b], np.multiply.outer(left[a], right[b]))
        return total, left_modes + right_modes

    dense, modes = basis((), tree)
    return dense[0].transpose(np.argsort(modes))


TREES = {
    1: (0,),
    2: ((0, 1), (1, 0)),
    3: (((0, 1), 2), (0, (1, 2)), ((0, 2), 1)),
    4: (((0, 1), (2, 3)), (0, (1, (2, 3))), ((3, (0, 2)), 1)),
}


@every_form
@every_backend
@given(data=st.data(), seed=st.integers(0, 1000))
@examples(5)
def test_tensors_equal_explicit_loops(form, backend, data, seed):
    shape = (2, 3, 5) if backend.slow else data.draw(st.sampled_from(SHAPES))
    sizes = [1 + (0 if backend.slow else seed + k) % 3 for k in range(2 * len(shape) - 2)]
    if form is tlr.BTTensor:
        rank, tree = (2, (*sizes, 3)[: len(shape)]), {}
        drawn = tlr.random_bt(shape, rank, random_state=seed)
        dense = reference.block_term(drawn.as_matrix().factors).reshape(shape)
        assert drawn.n_param == tlr.bt_n_param(shape, rank)
    else:
        rank, tree = (1, *sizes), {"tree": ((0, 2), 1) if backend.slow else data.draw(st.sampled_from(TREES[len(shape)]))}
        drawn = tlr.random_ht(shape, rank, **tree, random_state=seed)
        dense = reference_ht(drawn.factors, tree["tree"])
        assert drawn.n_param == tlr.ht_n_param(shape, rank, **tree)
    t = form([backend.array(one) for one in drawn.factors], **tree)
    assert isinstance(t.to_tensor(), backend.kind)
    assert_allclose(to_numpy(t.to_tensor()), dense, atol=1e-12)
    assert (t.shape, t.rank, t.order) == (shape, rank, len(shape))


@every_form
def test_unfoldings_and_vectors_are_tensorlys(form):
    t = form.random((2, 3, 5), 2, random_state=0)
    dense = t.to_tensor()
    prefix = "bt" if form is tlr.BTTensor else "ht"
    to_tensor, to_unfolded, to_vec = (getattr(tlr, f"{prefix}_to_{name}") for name in ("tensor", "unfolded", "vec"))
    assert (to_tensor(t) == dense).all() and (to_tensor(list(t)) == dense).all()
    for mode in (0, 1, 2, -1):
        assert (to_unfolded(t, mode) == tensorly.unfold(dense, mode)).all()
    assert (to_vec(t) == tensorly.tensor_to_vec(dense)).all()
    assert len(t) == len(t.factors) and t[0] is t.factors[0] and (form(t).to_tensor() == dense).all()
    assert repr(t).startswith(f"{form.__name__}(shape=(2, 3, 5), rank=")
    full = getattr(tlr, f"random_{prefix}")((2, 3, 5), 2, full=True, random_state=0)
    assert_allclose(full, dense)
    refused(
        (ValueError, r"^mode must be one of the tensor's; expected 0 to 2, got 3", lambda: t.to_unfolded(3)),
        (TypeError, "mode must be an integer; expected 0 to 2, got 1.0", lambda: t.to_unfolded(1.0)),
        (ValueError, r"tensor must have the shape of f; expected \(2, 3, 5\), got \(5, 3, 2\)", lambda: t.relative_error(dense.T)),
    )  # fmt: skip


def test_matrices_on_a_tree_are_copied_and_pickled_with_it():
    tree = ((0, 2), 1)
    f = tlr.HTMatrix.random(((2, 3, 5), (3, 1, 2)), 2, tree=tree, random_state=0)
    for other in (copy.deepcopy(f), pickle.loads(pickle.dumps(f))):
        assert type(other) is type(f) and other.tree == tree
        assert (other.to_matrix() == f.to_matrix()).all()
    assert type(tlr.HTMatrix(f.factors, tree=tree)) is type(f)
    assert isinstance(f, tlr.HTMatrix)
    on_balanced = tlr.HTMatrix.random(((2, 3, 5), (3, 1, 2)), 2, tree=(0, (1, 2)), random_state=0)
    assert type(on_balanced) is tlr.HTMatrix


def test_one_block_is_tucker():
    t = tlr.BTTensor.random((3, 4, 5), (1, (2, 3, 4)), random_state=0)
    tucker = t.to_tucker()
    assert isinstance(tucker, TuckerTensor) and tucker.rank == (2, 3, 4)
    assert_allclose(tucker_to_tensor(tucker), t.to_tensor(), atol=1e-13)
    assert (tlr.BTTensor.from_tucker(tucker).to_tensor() == t.to_tensor()).all()
    two = tlr.BTTensor.random((3, 4, 5), (2, (2, 3, 4)), random_state=0)
    assert_allclose(sum(tucker_to_tensor(block) for block in two.to_blocks()), two.to_tensor(), atol=1e-13)
    assert (tlr.BTTensor.from_blocks(two.to_blocks()).to_tensor() == two.to_tensor()).all()
    refused(
        (ValueError, "rank must have one block; expected n_blocks = 1, got 2. Use to_blocks", lambda: two.to_tucker()),
        (ValueError, r"blocks must have one shape and rank; .* \(at blocks\[1\]\)", lambda: tlr.BTTensor.from_blocks([tucker, tlr.BTTensor.random((3, 4, 5), (1, 2), random_state=0).to_tucker()])),
        (TypeError, "blocks must be a sequence of Tucker tensors", lambda: tlr.BTTensor.from_blocks(tucker)),
        (TypeError, r"^blocks\[1\] must be a Tucker tensor; expected TuckerTensor .*, got int", lambda: tlr.BTTensor.from_blocks([tucker, 3])),
    )  # fmt: skip


def test_core_ranks_of_one_are_cp():
    t = tlr.BTTensor.random((3, 4, 5), (6, 1), random_state=0)
    cp = t.to_cp()
    assert isinstance(cp, CPTensor) and cp.rank == 6
    assert_allclose(cp_to_tensor(cp), t.to_tensor(), atol=1e-13)
    assert_allclose(tlr.BTTensor.from_cp(cp).to_tensor(), t.to_tensor(), atol=1e-13)
    assert_allclose(tlr.BTTensor.from_cp((None, cp.factors)).to_tensor(), cp_to_tensor((None, cp.factors)), atol=1e-13)
    with pytest.raises(ValueError, match=r"rank must have core ranks of 1; expected all 1, got \(1, 2, 1\)"):
        tlr.BTTensor.random((3, 4, 5), (2, (1, 2, 1)), random_state=0).to_cp()


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.asarray], ids=["numpy", "pytorch", "jax"])
@pytest.mark.parametrize("ranks", [(2, 2, 1), (2, 3, 1), (3, 2, 1)])
def test_equal_l_converts_both_ways(array, ranks):
    drawn = tlr.BTTensor.random((4, 5, 6), (2, ranks), random_state=0)
    t = tlr.BTTensor([array(one) for one in drawn.factors])
    first, second, third = t.to_ll1()
    assert tuple(first.shape) == (4, 4) and tuple(second.shape) == (5, 4) and tuple(third.shape) == (6, 2)
    dense = np.zeros((4, 5, 6))
    for n in range(2):
        block = to_numpy(first)[:, 2 * n : 2 * n + 2] @ to_numpy(second)[:, 2 * n : 2 * n + 2].T
        dense += np.multiply.outer(block, to_numpy(third)[:, n])
    assert_allclose(dense, drawn.to_tensor(), atol=1e-13)
    back = tlr.BTTensor.from_ll1(first, second, third)
    assert back.rank == (2, (2, 2, 1))
    assert_allclose(to_numpy(back.to_tensor()), dense, atol=1e-13)


@pytest.mark.parametrize("array", [np.array, torch.tensor, jnp.asarray], ids=["numpy", "pytorch", "jax"])
def test_trains_convert_both_ways(array):
    rng = np.random.default_rng(0)
    cores = [rng.normal(size=one) for one in ((1, 3, 2), (2, 4, 3), (3, 5, 2), (2, 2, 1))]
    t = tlr.HTTensor.from_tt(TTTensor([array(core) for core in cores]))
    assert t.tree == (0, (1, (2, 3)))
    assert_allclose(to_numpy(t.to_tensor()), tt_to_tensor(cores), atol=1e-13)
    back = t.to_tt()
    assert back.rank == (1, 2, 3, 2, 1)
    assert_allclose(tt_to_tensor([to_numpy(core) for core in back]), tt_to_tensor(cores), atol=1e-13)
    for order in (1, 2):
        short = [array(rng.normal(size=(1, 3, 1)))] * order
        assert tlr.HTTensor.from_tt(short).to_tt().shape == (3,) * order


@pytest.mark.parametrize("tree", [None, ((0, (1, 2)), (3, 4)), (((0, 1), (2, 3)), 4)])
def test_a_tree_becomes_a_train(tree):
    t = tlr.HTTensor.random((3, 2, 5, 4, 2), 2, tree=tree, random_state=0)
    assert_allclose(tt_to_tensor(t.to_tt()), t.to_tensor(), atol=1e-13)


def test_trees_that_are_none_are_refused():
    for tree, kind, message in (
        ((0, 1, 2), ValueError, r"tree must be binary; expected pairs, got a node of 3 children"),
        (((0, 1), 1), ValueError, r"every mode at one leaf; expected the numbers 0 to 2 once each, got \(0, 1, 1\)"),
        ((1, 2), ValueError, "expected the numbers 0 to 1 once each"),
        ("01", TypeError, "tree must be nested pairs of mode numbers; expected an int or a pair, got '01'"),
        ((0, 1.0), TypeError, "got 1.0 of type float"),
        ((0, (1, (2, 3))), ValueError, "tree must have one leaf per mode; expected 3 leaves, got .* with 4"),
    ):
        validate = partial(tlr.HTMatrix.format.validate_rank, ((2, 3, 5), (1, 1, 1)), 2, tree=tree)
        refused((kind, message, validate), (kind, message, partial(hierarchical_tucker, np.ones((2, 3, 5)), 2, tree=tree)))
    with pytest.raises(ValueError, match="^order must be a positive integer; expected at least 1, got 0"):
        tlr.balanced_tree(0)
    assert tlr.linear_tree(1) == 0 and tlr.linear_tree(np.int64(3)) == (0, (1, 2))


DECOMPOSITIONS = (
    (block_term, BlockTerm, (2, (2, 3, 2))),
    (hierarchical_tucker, HierarchicalTucker, (1, 2, 3, 3, 2)),
    (tensor_train, TensorTrain, (1, 3, 2, 1)),
    (tensor_ring, TensorRing, (2, 2, 3, 2)),
)
every_decomposition = pytest.mark.parametrize(
    ("function", "kind", "rank"), DECOMPOSITIONS, ids=lambda one: getattr(one, "__name__", "")
)


def reconstructed(found):
    """TensorLy's trains and rings use the global backend: their cores are contracted here."""
    if isinstance(found, FORMS):
        return to_numpy(found.to_tensor())
    cores = [to_numpy(core) for core in found]
    whole = cores[0]
    for core in cores[1:]:
        whole = np.tensordot(whole, core, axes=1)
    return np.trace(whole, axis1=0, axis2=-1)


@every_decomposition
@every_backend
def test_functions_and_classes_agree(function, kind, rank, backend):
    tensor = backend.array(np.random.default_rng(0).normal(size=(6, 7, 8)))
    before = to_numpy(tensor).copy()
    found = function(tensor, rank, n_iter_max=20)
    assert found.rank == rank
    error = np.linalg.norm(reconstructed(found) - before) / np.linalg.norm(before)
    assert 0.3 < error < 0.95
    estimator = kind(rank, n_iter_max=20)
    again = estimator.fit_transform(tensor)
    assert again is estimator.decomposition_
    assert all((to_numpy(one) == to_numpy(two)).all() for one, two in zip(again, found))
    assert all(isinstance(one, backend.kind) for one in found)
    assert (to_numpy(tensor) == before).all()
    assert repr(estimator) == f"{kind.__name__}(rank={rank!r}, n_iter_max=20)"


@every_decomposition
def test_warnings_point_to_the_users_line(function, kind, rank):
    tensor = np.random.default_rng(0).normal(size=(3, 4))
    for call in (lambda: function(tensor, 99), lambda: kind(99).fit_transform(tensor)):
        with pytest.warns(UserWarning, match="rank was clipped") as caught:
            call()
        assert caught[0].filename == __file__


@every_decomposition
def test_tensors_that_cannot_be_decomposed_are_refused(function, kind, rank):
    refused(
        (ValueError, r"^tensor must be finite; expected numbers, got NaN or infinity", lambda: function(np.full((3, 4), np.nan), 1)),
        (TypeError, r"^tensor must be real floating point; expected a float dtype, got complex128. Decompose tensor.real and tensor.imag, each", lambda: function(np.ones((3, 4), dtype=complex), 1)),
        (ValueError, r"^tensor must have a mode and no empty one; .* got shape \(3, 0\)", lambda: function(np.ones((3, 0)), 1)),
        (ValueError, r"^tensor must have a mode and no empty one; .* got shape \(\)", lambda: function(np.array(1.0), 1)),
        (TypeError, r"^tensor must be an array of a TensorLy backend; .* got list", lambda: function([[1.0]], 1)),
        (TypeError, r"^iterations must be a setting; expected one of .*'n_iter_max'.*, got iterations=3", lambda: function(np.ones((3, 4)), 1, iterations=3)),
    )  # fmt: skip


@every_decomposition
def test_one_mode_is_itself_or_refused(function, kind, rank):
    vector = np.random.default_rng(0).normal(size=5)
    if function is tensor_ring:
        with pytest.raises(ValueError, match=r"tensor must have two modes or more; got shape \(5,\)"):
            function(vector, 1)
    else:
        assert_allclose(reconstructed(function(vector, 1)), vector, atol=1e-14)


@every_decomposition
def test_nothing_decomposes_into_nothing(function, kind, rank):
    assert (reconstructed(function(np.zeros((2, 3)), 1)) == 0).all()


@every_form
@every_backend
def test_tensors_add_and_round_like_matrices(form, backend):
    shape = (2, 3, 5)
    a, b = (form.random(shape, 2, random_state=seed) for seed in (0, 1))
    f, g = (form([backend.array(one) for one in t.factors]) for t in (a, b))
    dense_a, dense_b = a.to_tensor(), b.to_tensor()
    assert float(f.inner(g)) == pytest.approx(np.sum(dense_a * dense_b))
    rounded = (f + f).round(eps=1e-6)
    assert type(rounded) is form and rounded.n_param <= f.n_param
    assert_allclose(to_numpy(rounded.to_tensor()), 2 * dense_a, atol=1e-5)


def test_tensors_of_two_forms_have_an_inner_product_but_no_sum():
    block, tree = tlr.random_bt((2, 3, 5), (2, 2), random_state=0), tlr.random_ht((2, 3, 5), 2, random_state=1)
    assert float(block.inner(tree)) == pytest.approx(np.sum(block.to_tensor() * tree.to_tensor()))
    refused(
        (TypeError, "the other operand must be of the same format; expected BTTensor, got HTTensor", lambda: block + tree),
        (ValueError, r"other must have the shape of f; expected \(2, 3, 5\), got \(3, 2, 5\)", lambda: block.inner(tlr.random_ht((3, 2, 5), 2, random_state=1))),
        (TypeError, "other must be a factorized tensor; got HTMatrix", lambda: tree.inner(tree.as_matrix())),
    )  # fmt: skip


def test_a_tree_keeps_its_tree_and_tells_its_singular_values():
    tree = ((0, 2), 1)
    t = tlr.random_ht((4, 3, 5), 2, tree=tree, random_state=0)
    rounded = (t + t).round(eps=1e-10)
    assert rounded.tree == tree and rounded.rank == t.rank
    values = t.singular_values()
    assert set(values) == {(0, 2), (1,), (0,), (2,)}
    dense = t.to_tensor()
    for modes, found in values.items():
        assert_allclose(found, reference.values_of_cut(dense, modes)[: len(found)], atol=1e-12)


@every_decomposition
def test_direct_algorithms_tell_once_and_fits_tell_of_every_step(function, kind, rank, capsys):
    tensor = np.random.default_rng(0).normal(size=(6, 7, 8))
    heard = []
    found = function(tensor, rank, n_iter_max=5, callback=lambda *both: heard.append(both), verbose=True)
    direct = function in (tensor_train, hierarchical_tucker)
    assert len(heard) == 1 if direct else 1 < len(heard) <= 10
    assert type(heard[-1][0]) is type(found)
    last, error = heard[-1]
    measured_error = np.linalg.norm(reconstructed(last) - tensor) / np.linalg.norm(tensor)
    assert error == pytest.approx(measured_error)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("relative error") == len(heard)


def test_a_start_of_ones_own():
    planted = tlr.random_bt((6, 7, 8), (2, 2), random_state=0)
    tensor = planted.to_tensor()
    near = tlr.BTTensor([one + 1e-3 * np.random.default_rng(1).normal(size=one.shape) for one in planted.factors])
    for init in (near, near.factors, near.as_matrix(), near.as_matrix().factors):
        found = block_term(tensor, (2, 2), init=init, n_iter_max=8)
        assert found.relative_error(tensor) < 1e-9
    refused(
        (ValueError, r"init must have the given format, modes and rank; expected 'bt' factors of shapes .* for rank \(2, \(3, 3, 3\)\), got", lambda: block_term(tensor, (2, 3), init=near)),
        (ValueError, "init must have the given format, modes and rank; expected 'bt' factors", lambda: block_term(tensor, (2, 2), init=tlr.random_ht((6, 7, 8), 2, random_state=0))),
        (ValueError, r"init must be known; expected one of \('svd', 'random'\), got 'ones'", lambda: block_term(tensor, (2, 2), init="ones")),
        (ValueError, "init must come with its rank; expected rank=, got a budget", lambda: block_term(tensor, n_param=100, init=near)),
        (TypeError, r"init\[0\] must be of the same backend as tensor; expected numpy, got pytorch", lambda: block_term(tensor, (2, 2), init=[torch.tensor(one) for one in near.as_matrix().factors])),
    )  # fmt: skip


def test_errors_name_the_argument():
    refused(
        (ValueError, r"^rank\[0\] must be a positive integer; expected at least 1, got 0", lambda: tlr.validate_bt_rank((3, 4), (0, 2))),
        (ValueError, r"^rank must be \(leaf, node\)", lambda: tlr.validate_ht_rank((3, 4, 5), (1, 2, 3))),
        (ValueError, r"^rank must be known; expected 'full', 'same' or numbers, got 'all'", lambda: block_term(np.ones((3, 4)), "all")),
        (ValueError, r"^rank must be 1 at the ends", lambda: tensor_train(np.ones((3, 4)), (2, 2, 1))),
        (ValueError, r"rank must be \(n_blocks, \(L, L, 1\)\) for three modes; got \(2, \(2, 2, 2\)\)", lambda: tlr.BTTensor.random((3, 4, 5), (2, 2), random_state=0).to_ll1()),
        (ValueError, "equal multiples of 2, got 4 and 5", lambda: tlr.BTTensor.from_ll1(np.ones((3, 4)), np.ones((3, 5)), np.ones((3, 2)))),
        (ValueError, r"^second must be a matrix that is not empty; got shape \(4,\)", lambda: tlr.BTTensor.from_ll1(np.ones((3, 4)), np.ones(4), np.ones((3, 2)))),
        (ValueError, r"ends 1; expected \(1, mode, rank\), got \(2, 3, 2\) \(at factors\[0\]\)", lambda: tlr.HTTensor.from_tt([np.ones((2, 3, 2)), np.ones((2, 3, 1))])),
        (ValueError, "tree must have its leaves in the order of the modes", lambda: tlr.HTTensor.random((3, 4, 5), 2, tree=((0, 2), 1), random_state=0).to_tt()),
        (ValueError, r"must have a root of rank 1; expected 1, got 2 in shape \(2, 2, 2\) \(at factors\[0\]\)", lambda: tlr.HTTensor([np.ones((2, 2, 2)), np.ones((2, 3)), np.ones((2, 4))])),
        (TypeError, r"^tree must be an option of the format 'tt'; expected none", lambda: tlr.factorize(np.ones((6, 6)), "tt", ((2, 3), (3, 2)), 2, tree=(0, 1))),
    )  # fmt: skip


TENSORLYS = {
    "train": lambda like: tlr.decomposition.tensor_train(like, 2),
    "ring": lambda like: tlr.decomposition.tensor_ring(like, 2),
    "tree as a train": lambda like: tlr.HTTensor.random(like.shape, 2, like=like, random_state=0).to_tt(),
    "block": lambda like: tlr.BTTensor.random(like.shape, 2, like=like, random_state=0).to_tucker(),
    "blocks of rank 1": lambda like: tlr.BTTensor.random(like.shape, (3, 1), like=like, random_state=0).to_cp(),
}


@pytest.mark.parametrize("name", TENSORLYS)
@every_backend
def test_tensorlys_objects_do_not_depend_on_its_global_backend(name, backend):
    values = np.random.default_rng(0).normal(size=(3, 4, 5))
    found = TENSORLYS[name](backend.array(values))
    kind = next(one for one in type(found).__mro__ if one.__module__.startswith("tensorly."))
    parts = [[to_numpy(one) for one in part] if isinstance(part, list) else to_numpy(part) for part in found]
    theirs = kind(parts)
    # NumPy's backend is TensorLy's default, which nothing here changes.
    dense = theirs.to_tensor()
    unfolding = "to_unfolding" if hasattr(found, "to_unfolding") else "to_unfolded"
    assert isinstance(found.to_tensor(), backend.kind) and found.shape == (3, 4, 5)
    assert_allclose(to_numpy(found.to_tensor()), dense, atol=1e-12)
    assert_allclose(to_numpy(found.to_vec()), dense.ravel(), atol=1e-12)
    assert_allclose(to_numpy(getattr(found, unfolding)(1)), getattr(theirs, unfolding)(1), atol=1e-12)
    assert float(found.norm()) == pytest.approx(np.linalg.norm(dense))
    assert found == found
    if hasattr(found, "to_unfolding"):
        for matrix in (np.ones((2, 4)), np.arange(4.0)):
            product = found.mode_dot(backend.array(matrix), 1)
            assert_allclose(to_numpy(product), theirs.mode_dot(matrix, 1), atol=1e-12)
        with pytest.raises(ValueError, match=r"^matrix_or_tensor must have the size of the mode last; expected \(..., 4\)"):
            found.mode_dot(backend.array(np.ones((4, 3))), 1)
