"""Rounding and singular values of formats without loops, against those of the dense matricizations."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.formats import _operators
from tensorly_rnn.network import trees
from tensorly_rnn.network.network import Network
from tests.backends import BACKENDS, to_numpy
from tests.cases import CASES, every_format
from tests.reference import values_of_cut
from tests.strategies import SHAPES, examples, in_pairs

MODES = ((2, 3, 2, 5), (3, 2, 5, 2))

# Kinds of trees: the format, and ranks that make it one, for as many modes.
TREES = {
    "tt": lambda order: st.tuples(*[st.integers(1, 4)] * (order - 1)).map(lambda r: (1, *r, 1)),
    "ht": lambda order: st.tuples(*[st.integers(1, 4)] * (2 * order - 1)),
    "bt": lambda order: st.tuples(st.just(1), st.tuples(*[st.integers(1, 4)] * order)),
    # Inner ranks of 1 would leave it open which bond closes the ring.
    "tr": lambda order: st.tuples(*[st.integers(2, 4)] * (order - 1)).map(lambda r: (1, *r, 1)),
}
CASE = {case.name: case for case in CASES}
every_tree = pytest.mark.parametrize("name", TREES)


def on(backend, matrix):
    return type(matrix)([backend.array(factor) for factor in matrix.factors], shape=matrix.shape)


@st.composite
def tree_matrices(draw, name, slow=False):
    modes = ((2, 3, 2), (3, 2, 5)) if slow else draw(st.sampled_from((*SHAPES, MODES)))
    rank = {"tt": (1, 3, 4, 1), "tr": (1, 3, 4, 1), "bt": (1, (2, 4, 3)), "ht": (2, 3, 4, 2, 3)}[name]
    rank = rank if slow else draw(TREES[name](len(modes[0])))
    return tlr.get_format(name).random(modes, rank, random_state=draw(st.integers(0, 2**32 - 1)))


def cut(f, modes):
    """Singular values of the dense matricization: the given modes against the stack and all other modes."""
    order = f.order
    tensor = to_numpy(f.to_matrix() if f.shape == f.network.shape else f.to_tensor())
    tensor = tensor.reshape(f.stack, *f.tensorized_shape[0], *f.tensorized_shape[1])
    return values_of_cut(tensor, [axis for k in modes for axis in (1 + k, 1 + order + k)])


def expected_cuts(f):
    """The modes that each bond has on its far side, as the formats' definitions say."""
    order = f.order
    if f.format.name in ("tt", "tr"):
        return [tuple(range(k, order)) for k in range(1, order)]
    if f.format.name == "bt":
        return [(k,) for k in range(order)]
    spans = [list(range(order))]
    for span in spans:
        if len(span) > 1:
            spans += [span[: len(span) // 2], span[len(span) // 2 :]]
    return [tuple(span) for span in spans[1:]]


def singular_values(backend, f, data):
    found = f.singular_values()
    assert sorted(found) == sorted(expected_cuts(f))
    for modes, values in found.items():
        dense, values = cut(f, modes), to_numpy(values)
        assert (values[:-1] >= values[1:]).all()
        common = min(len(dense), len(values))
        assert_allclose(values[:common], dense[:common], atol=1e-11)
        assert_allclose(values[common:], 0.0, atol=1e-11)
        assert_allclose(dense[common:], 0.0, atol=1e-11)


def rounding_to_an_error(backend, f, data):
    eps = data.draw(st.sampled_from([1e-12, 1e-3, 0.1, 0.3, 0.9]))
    dense = to_numpy(f.to_matrix())
    g = f.round(eps=eps)
    assert type(g) is type(f) and g.shape == f.shape and g.dtype == f.dtype
    assert isinstance(g.factors[0], backend.kind)
    assert np.linalg.norm(to_numpy(g.to_matrix()) - dense) <= eps * np.linalg.norm(dense) * (1 + 1e-9) + 1e-13
    for small, large in zip(np.hstack([np.ravel(r) for r in g.rank]), np.hstack([np.ravel(r) for r in f.rank])):
        assert small <= large


def rounding_to_a_rank(backend, f, data):
    rank = data.draw(st.integers(1, 1 if f.order == 1 else 3))
    g = f.round(rank)
    dense = to_numpy(f.to_matrix())
    kept = g.singular_values()
    assert all(len(values) <= rank for values in kept.values())
    # The best approximation loses at least the largest tail; two bonds that make the same cut count once.
    everything = frozenset(range(f.order if f.stack == 1 else f.order + 1))
    tails = {}
    for modes in expected_cuts(f):
        tails[frozenset({frozenset(modes), everything.difference(modes)})] = np.linalg.norm(cut(f, modes)[rank:])
    error = np.linalg.norm(to_numpy(g.to_matrix()) - dense)
    assert max(tails.values(), default=0.0) - 1e-11 <= error <= math.sqrt(sum(tail**2 for tail in tails.values())) + 1e-11


def least_ranks(backend, f, data):
    # The ranks of the dense cuts; also of sums, where the sum is a tree (that of blocks and rings has loops).
    times = 1.0 if f.format.name in ("bt", "tr") else 3.0
    g = (f if times == 1.0 else f + 2.0 * f).round(eps=1e-11)
    assert_allclose(to_numpy(g.to_matrix()), times * to_numpy(f.to_matrix()), atol=1e-9)
    for modes, values in g.singular_values().items():
        dense = cut(f, modes)
        assert len(values) == max(1, np.count_nonzero(dense > 1e-10 * np.linalg.norm(dense)))


TREE_LAWS = {law.__name__: law for law in (singular_values, rounding_to_an_error, rounding_to_a_rank, least_ranks)}


@in_pairs(law=TREE_LAWS, name=TREES, backend=BACKENDS, slow=lambda law, name, backend: backend.slow)
def test_laws_of_trees(law, name, backend):
    @examples(10, backend.slow)
    @given(f=tree_matrices(name, backend.slow), data=st.data())
    def check(f, data):
        TREE_LAWS[law](backend, on(backend, f), data)

    check()


@pytest.mark.parametrize("name", ["tt", "ht"])
@given(seed=st.integers(0, 1000))
@examples(4)
def test_sums_round_back(name, seed):
    f, g = (tlr.get_format(name).random(MODES, 2, random_state=seed + k) for k in range(2))
    assert (f + f).rank != f.rank
    assert (f + f).round(eps=1e-12).rank == f.rank
    assert (f + g).round(eps=1e-12).rank == (f + g).rank
    assert (f + g - f).round(eps=1e-12).rank == g.rank
    assert_allclose((f + g - f).round(eps=1e-12).to_matrix(), g.to_matrix(), atol=1e-10)


@every_tree
def test_nothing_is_truncated_where_nothing_need_be(name):
    rank = {"tt": (1, 2, 3, 2, 1), "tr": (1, 2, 3, 2, 1), "bt": (1, (2, 3, 2, 3)), "ht": (1, 4, 4, 2, 2, 2, 3)}[name]
    f = tlr.get_format(name).random(MODES, rank, random_state=0)
    for g in (f.round(eps=1e-13), f.round(rank), f.round("full"), f.round(100), f.round(rank, eps=1e-13)):
        assert g.rank == rank
        assert_allclose(g.to_matrix(), f.to_matrix(), atol=1e-12)
    assert f.round(2, eps=1e-13).rank == f.round(2).rank


@every_tree
def test_the_error_is_used(name):
    # A spectrum that falls by a half a step: a tenth of the norm lets ranks go.
    f = tlr.get_format(name).random(MODES, {"bt": (1, 6), "tr": (1, 6, 6, 6, 1)}.get(name, 6), random_state=0)
    ranks = [sum(len(values) for values in f.round(eps=eps).singular_values().values()) for eps in (0.01, 0.2, 0.5, 0.95)]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] > ranks[-1]
    # With the bound on top, the smaller of both.
    for eps, rank in itertools.product((0.2, 0.5), (2, 4)):
        both = f.round(rank, eps=eps)
        assert all(len(values) <= rank for values in both.singular_values().values())
        assert sum(map(len, both.singular_values().values())) <= sum(map(len, f.round(eps=eps).singular_values().values()))


def test_a_cut_that_two_bonds_make_takes_one_share():
    # The root of a tree with two leaves: the whole error goes into one cut, whose second truncation loses nothing.
    values = np.array([1.0, 0.6, 0.6])
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(6, 3)))[0].T.reshape(3, 2, 3) for _ in range(2))
    f = tlr.HTMatrix([np.diag(values)[None], left, right])
    norm = np.linalg.norm(values)
    assert f.round(eps=0.601 / norm).rank == (1, 2, 2)
    assert f.round(eps=0.599 / norm).rank == (1, 3, 3)
    assert f.round(eps=0.848 / norm).rank == (1, 2, 2)
    assert f.round(eps=0.849 / norm).rank == (1, 1, 1)


@every_tree
def test_order_one_is_copied(name):
    f = tlr.get_format(name).random(((3,), (5,)), 1, random_state=0)
    for g in (f.round(eps=0.5), f.round(1)):
        assert g.rank == f.rank
        assert_allclose(g.to_matrix(), f.to_matrix(), atol=1e-13)
        assert not any(np.shares_memory(one, two) for one, two in zip(f.factors, g.factors))
    assert list(f.singular_values()) == ([(0,)] if name == "bt" else [])


@every_tree
def test_zero_has_rank_one(name):
    kind = tlr.get_format(name)
    f = kind.random(MODES, {"bt": (1, 3), "tr": (1, 3, 3, 3, 1)}.get(name, 3), std=0.0, random_state=0)
    for g in (f.round(eps=0.1), f.round(3), f.round(2, eps=1e-12)):
        assert g.n_param == kind.random(MODES, 1).n_param
        assert not g.to_matrix().any()


@every_tree
@pytest.mark.parametrize("eps", [1e-10, 0.2, 0.6])
def test_padding_is_not_counted(name, eps):
    kind = tlr.get_format(name)
    rank = {"bt": (1, 5), "tr": (1, 5, 5, 5, 1)}.get(name, 5)
    for shape in ((60, 60), (59, 31), (1, 60), (13, 7)):
        f = kind(kind.random(MODES, rank, random_state=0).factors, shape=shape)
        g = f.round(eps=eps)
        assert g.shape == f.shape
        assert np.linalg.norm(g.to_matrix() - f.to_matrix()) <= eps * np.linalg.norm(f.to_matrix()) * (1 + 1e-9)


def test_stacks_are_rounded():
    f = tlr.HTMatrix.random(MODES, (3, 4), root_rank=4, random_state=0)
    g = (f + f).round(eps=1e-12)
    assert g.rank == f.rank and g.shape == f.shape
    assert_allclose(g.to_matrix(), 2 * f.to_matrix(), atol=1e-11)
    assert (f + f).round((3, 4)).rank == f.rank
    assert f.round("full").rank == f.rank
    with pytest.raises(ValueError, match="root_rank must agree with the root's entry of rank"):
        f.round((1, *f.rank[1:]))


@every_tree
def test_dtypes_are_kept_and_factors_left_alone(name):
    kind = tlr.get_format(name)
    exact = kind.random(MODES, {"bt": (1, 3), "tr": (1, 3, 3, 3, 1)}.get(name, 3), random_state=0)
    for dtype, accuracy in ((torch.float32, 1e-5), (torch.float16, 1e-2), (torch.bfloat16, 5e-2)):
        f = kind([torch.tensor(one).to(dtype) for one in exact.factors])
        before = [one.clone() for one in f.factors]
        g = f.round(eps=0.1 * accuracy)
        assert g.dtype == dtype and all(values.dtype == dtype for values in f.singular_values().values())
        assert np.linalg.norm(g.to_matrix().double().numpy() - exact.to_matrix()) < accuracy * np.linalg.norm(
            exact.to_matrix()
        )
        assert all((one == two).all() for one, two in zip(before, f.factors))
    half = kind([one.astype("float16") for one in exact.factors])
    assert half.round(2).dtype == np.float16
    again = kind([np.array(one) for one in exact.factors])
    for g in (exact.round(eps=0.5), exact.round(1)):
        assert all((one == two).all() for one, two in zip(exact.factors, again.factors))
        assert not any(np.shares_memory(one, two) for one in g.factors for two in exact.factors)


@pytest.mark.parametrize("name", ["tt", "ht", "tr"])
def test_chains_far_deeper_than_the_interpreters_stack(name):
    order = 60 if name == "ht" else 1200
    kind = tlr.get_format(name)
    network = kind.format.make_network(
        ((1,) * order, (2,) * order),
        kind.format.validate_rank(((1,) * order, (2,) * order), 2) if name == "ht" else (1, *(2,) * (order - 1), 1),
    )
    rng = np.random.default_rng(0)
    f = kind([rng.normal(size=shape) / 2 for shape in network.factor_shapes])
    assert f.round(1).n_param < f.n_param


def test_trees_and_loops():
    def ring(rank):
        return tlr.TRMatrix.random(MODES, rank, random_state=0).network

    assert not trees.is_tree(ring((2, 2, 2, 2, 2)))
    assert trees.is_tree(ring((1, 2, 2, 2, 1)))
    assert trees.is_tree(ring((2, 2, 1, 2, 2)))
    assert not trees.is_tree(tlr.BTMatrix.random(MODES, (2, 1), random_state=0).network)
    assert trees.is_tree(tlr.BTMatrix.random(MODES, (1, (1, 2, 1, 1)), random_state=0).network)
    # An open index in two factors, factors that nothing links, two bonds between the same two.
    for factors in ((("j1", "r"), ("j1", "i1", "r")), (("j1",), ("i1",)), (("j1", "r", "s"), ("r", "s", "i1"))):
        names = sorted({index for indices in factors for index in indices})
        network = Network(factors, ("j1",), ("i1",), tuple((index, 2) for index in names))
        assert not trees.is_tree(network)
        with pytest.raises(ValueError, match="^network must be a tree; expected no loops"):
            trees.orthogonalized(None, network, [])


def test_a_ring_open_elsewhere_is_rounded():
    f = tlr.TRMatrix.random(MODES, (3, 2, 1, 4, 3), random_state=0)
    g = f.round(eps=0.3)
    assert g.rank[2] == 1 and g.rank[0] == g.rank[-1]
    assert np.linalg.norm(g.to_matrix() - f.to_matrix()) <= 0.3 * np.linalg.norm(f.to_matrix())
    assert float(f.norm()) == pytest.approx(np.linalg.norm(f.to_matrix()))


@every_tree
def test_all_but_the_root_are_orthogonal(name):
    f = tlr.get_format(name).random(MODES, {"bt": (1, 4), "tr": (1, 4, 4, 4, 1)}.get(name, 4), random_state=0)
    factors = trees.orthogonalized(f.backend, f.network, f.factors)
    assert_allclose(type(f)(factors).to_matrix(), f.to_matrix(), atol=1e-12)
    for edge in trees.edges(f.network):
        axis = f.network.factors[edge.child].index(edge.index)
        unfolded = np.moveaxis(factors[edge.child], axis, 0).reshape(factors[edge.child].shape[axis], -1)
        assert_allclose(unfolded @ unfolded.T, np.eye(len(unfolded)), atol=1e-12)


@every_tree
def test_rounding_records_no_gradient(name):
    f = tlr.get_format(name).random(MODES, {"bt": (1, 3), "tr": (1, 3, 3, 3, 1)}.get(name, 3), random_state=0)
    g = type(f)([torch.tensor(one, requires_grad=True) for one in f.factors])
    assert not any(one.requires_grad for one in (*g.round(2, eps=0.1).factors, *g.singular_values().values()))


def test_formats_with_loops_need_a_fit(monkeypatch):
    for f in (tlr.TRMatrix.random(MODES, 2, random_state=0), tlr.BTMatrix.random(MODES, (2, 2), random_state=0)):
        monkeypatch.setattr(_operators, "fit_of_loops", None)
        with pytest.raises(
            ValueError, match="^f must have no loops, or its format a fit to round it; expected a tree, got rank"
        ):
            f.round(eps=0.1)
        with pytest.raises(ValueError, match="^f must have no loops, which one cut does not split"):
            f.singular_values()
        asked = []

        def fit(g, bounds, max_error, asked=asked):
            asked.append((g, bounds, max_error))
            return [np.array(one) for one in g.factors]

        monkeypatch.setattr(_operators, "fit_of_loops", fit)
        assert type(f.round(1, eps=0.1)) is type(f)
        ((g, bounds, error),) = asked
        # It is given factors near 1, and the error that goes with them.
        assert g.rank == f.rank and set(bounds.values()) == {1}
        assert error == pytest.approx(0.1 * np.linalg.norm(g.to_matrix()))


@every_format
def test_wrong_arguments_are_refused(case):
    f = tlr.get_format(case.name).random(((4, 3, 2), (5, 3, 4)), 1, random_state=0)
    with pytest.raises(ValueError, match="^rank or eps must be given; got neither"):
        f.round()
    for eps in (0, 0.0, 1, 1.0, -0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match=f"^eps must be a relative error; expected a number between 0 and 1, got {eps}"):
            f.round(eps=eps)
    for eps in ("0.1", True, [0.1], 1j):
        with pytest.raises(TypeError, match=f"^eps must be a relative error; .* of type {type(eps).__name__}"):
            f.round(eps=eps)
    for rank, error, message in case.wrong_ranks:
        if rank is not None:
            with pytest.raises(error, match=message):
                f.round(rank)
    f.factors[0][...] = math.nan
    with pytest.raises(ValueError, match="^f must have finite factors; expected numbers, got NaN or infinity"):
        f.round(1)
