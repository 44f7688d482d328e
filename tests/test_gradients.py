"""Gradients by the sweep: the papers' formulas, central differences and automatic differentiation, at twice the forward FLOPs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn._backend import backend_of
from tensorly_rnn.contraction.execute import pull_back, push_forward, run_steps
from tensorly_rnn.formats.factorized import Factorized
from tensorly_rnn.network import gradients, operations
from tensorly_rnn.network.network import apply_plan, tensor_plan
from tensorly_rnn.network.row_blocks import row_blocks
from tests import paper_gradients
from tests.backends import to_numpy
from tests.cases import CASES, every_format
from tests.strategies import factorized
from tests.test_cost import Counting

TREES = {1: (0,), 2: ((0, 1), (1, 0)), 3: (((0, 2), 1), (1, (2, 0))), 4: ((0, (1, (2, 3))), ((3, 1), (0, 2)))}


def close(found, wanted):
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted):
        assert one.shape == other.shape
        assert_allclose(to_numpy(one), other, rtol=1e-9, atol=1e-9)


def rows(f, leading, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*leading, f.shape[1])), rng.normal(size=(*leading, f.shape[0]))


def of_weight(x, dy):
    """``dL/dW``, by an outer product for every row."""
    pairs = zip(dy.reshape(-1, dy.shape[-1]), x.reshape(-1, x.shape[-1]))
    return sum((np.outer(*pair) for pair in pairs), np.zeros((dy.shape[-1], x.shape[-1])))


def by_torch(f, x, dy):
    leaves = [torch.tensor(one, requires_grad=True) for one in (*f.factors, x)]
    type(f).in_format(f.format, leaves[:-1], f.shape).apply(leaves[-1]).backward(torch.tensor(dy))
    return [leaf.grad.numpy() for leaf in leaves]


def on_a_tree(shape, ranks, tree, seed):
    return tlr.HTMatrix.random(shape, ranks, tree=tree, random_state=seed)


@every_format
@given(data=st.data(), leading=st.sampled_from(((), (0,), (1,), (3,), (2, 3))))
def test_the_sweep_is_the_papers_formula_and_autograd(case, data, leading):
    f = data.draw(factorized(case))
    x, dy = rows(f, leading)
    of_factors, of_x = f.gradients(x, dy)
    for formula in paper_gradients.FORMULAS[case.name]:
        close(of_factors, formula(f.factors, of_weight(x, dy)))
    close([of_x], [dy @ case.reference(f.factors)])
    close([*of_factors, of_x], by_torch(f, x, dy))


@given(data=st.data(), order=st.integers(1, 4), seed=st.integers(0, 1000))
def test_on_any_tree_and_a_stack_too(data, order, seed):
    shape = (((2,), (3,)), ((2, 3), (3, 1)), ((2, 1, 3), (1, 3, 2)), ((1, 2, 3, 1), (2, 1, 1, 3)))[order - 1]
    ranks = data.draw(st.tuples(*[st.integers(1, 3)] * (2 * order - 1)))
    tree = data.draw(st.sampled_from(TREES[order]))
    f = on_a_tree(shape, ranks, tree, seed)
    x, dy = rows(f, (2,))
    of_factors, of_x = f.gradients(x, dy)
    close(of_factors, paper_gradients.hierarchical_tucker(f.factors, of_weight(x, dy), tree))
    close([*of_factors, of_x], by_torch(f, x, dy))


@every_format
@given(data=st.data())
def test_arrays_of_any_memory_order(case, data):
    f = data.draw(factorized(case))
    x, dy = rows(f, (3,))
    expected = f.gradients(x, dy)
    strided = type(f)([np.asfortranarray(factor) for factor in f.factors])
    found = strided.gradients(np.repeat(x, 2, axis=1)[:, ::2], np.asfortranarray(dy))
    close([*found[0], found[1]], [*expected[0], expected[1]])


@every_format
@given(data=st.data(), batch=st.integers(1, 9), most=st.integers(1, 200), x_wanted=st.booleans())
def test_block_by_block_too(case, data, batch, most, x_wanted):
    f = data.draw(factorized(case))
    x, dy = rows(f, (batch,))
    backend = backend_of("x", x)
    x = np.pad(x, ((0, 0), (0, f.network.shape[1] - x.shape[1])))
    dy = np.pad(dy, ((0, 0), (0, f.network.shape[0] - dy.shape[1])))
    blocks = row_blocks(f.network, batch, most)
    own = range(len(f.factors) + 1, len(f.factors) + len(blocks.plans[0].steps))
    keep = data.draw(st.sets(st.sampled_from(own)) if len(own) else st.just(set()))
    y, shared, kept = operations.apply_blocks(backend, f.network, blocks, f.factors, x, sorted(keep - set(blocks.shared)))
    whole, pull_back = gradients.vjp(backend, f.network, f.factors, x)
    close([y], [whole])
    of_factors, of_x = gradients.pull_back_blocks(backend, f.network, blocks, f.factors, x, shared, kept, dy, x_wanted)
    wanted, wanted_x = pull_back(dy)
    close(of_factors, wanted)
    assert (of_x is None) != x_wanted
    if x_wanted:
        close([of_x], [wanted_x])


PAPERS = (
    ("tt", ((16, 4, 4, 4), (8, 20, 20, 18)), 4, {}),
    ("tr", tlr.separate_modes((4, 4, 2, 4, 8), (4, 2, 5, 8, 6, 5, 3, 2)), (10, *(5,) * 12, 10), {}),
    ("bt", ((16, 4, 4, 4), (8, 20, 20, 18)), (2, 4), {}),
    ("ht", ((16, 4, 2, 4, 2), (8, 10, 10, 9, 8)), (4, 5), {}),
    ("ht", ((4, 4, 4, 4), (16, 16, 16, 15)), (14, 12), {"root_rank": 4}),
    ("ht", ((4, 3, 2), (5, 7, 3)), 3, {"tree": ((0, 2), 1)}),
)
SMALL = tuple(
    (case.name, shape, rank, options)
    for case in CASES
    for options in case.options
    for shape, rank in ((((7,), (5,)), 1), (((5, 3), (2, 7)), 3), (((3, 5, 2, 1), (2, 3, 7, 5)), 2))
)


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("name", "shape", "rank", "options"), (*PAPERS, *SMALL), ids=str)
def test_all_gradients_take_twice_the_forward_products(name, shape, rank, options, batch, monkeypatch):
    f = tlr.get_format(name).random(shape, rank, random_state=0, **options)
    x, dy = rows(f, (batch,))
    counting = Counting()
    _, pull_back = gradients.vjp(counting, f.network, f.factors, x)
    forward = counting.taken()
    pull_back(dy)
    backward = counting.taken()
    assert 0 < backward <= 2 * forward
    expected = tlr.cost(name, shape, rank, batch=batch, **options)
    assert (forward, backward) == (expected.forward.flops, expected.backward.flops)
    # As a user calls it.
    monkeypatch.setattr(Factorized, "_check_operand", lambda *_: counting)
    _, pull_back = f.vjp(x)
    assert counting.taken() == forward
    pull_back(dy)
    assert counting.taken() == backward
    f.gradients(x, dy)
    assert counting.taken() == forward + backward


@every_format
@given(data=st.data(), batch=st.integers(1, 4))
def test_pushing_forward_is_the_transpose_of_pulling_back(case, data, batch):
    f = data.draw(factorized(case))
    x, dy = rows(f, (batch,))
    backend, rng = backend_of("x", x), np.random.default_rng(1)
    for plan, operands, d_output in (
        (apply_plan(f.network, batch), [x, *f.factors], dy),
        (tensor_plan(f.network), f.factors, rng.normal(size=f.network.shape)),
    ):
        results = run_steps(plan, backend, operands)
        tangents = [rng.normal(size=one.shape) for one in operands]
        moved = push_forward(backend, plan, results, tangents)
        pulled = pull_back(backend, plan, results, d_output.reshape(moved.shape))
        forward = np.sum(moved * d_output.reshape(moved.shape))
        assert forward == pytest.approx(sum(np.sum(one * two) for one, two in zip(pulled, tangents)), abs=1e-9)


@pytest.mark.parametrize(("name", "shape", "rank", "options"), PAPERS, ids=str)
def test_where_all_is_kept_nothing_is_computed_again(name, shape, rank, options):
    f = tlr.get_format(name).random(shape, rank, random_state=0, **options)
    x, dy = rows(f, (3,))
    counting = Counting()
    blocks = row_blocks(f.network, 3)
    _, shared, kept = operations.apply_blocks(counting, f.network, blocks, f.factors, x, blocks.kept)
    forward = counting.taken()
    gradients.pull_back_blocks(counting, f.network, blocks, f.factors, x, shared, kept, dy, True)
    assert len(blocks.plans) == 1 and counting.taken() == 2 * forward
