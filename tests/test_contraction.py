"""Plans: right on any network, with the costs they state, and the same object for the same question."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tensorly.backend import BackendManager

import tensorly_rnn as tlr
from tensorly_rnn import _memoize
from tensorly_rnn.contraction import order as orders
from tensorly_rnn.contraction.cost_model import CALL, IN_BLOCKS, IN_RUNS, OPERATION, READ, WRITTEN, _copy_seconds, seconds
from tensorly_rnn.contraction.execute import _rounds, _rounds_back, execute, plan_vjp
from tensorly_rnn.contraction.order import _training_seconds, plan
from tensorly_rnn.contraction.plan import ANY, View
from tensorly_rnn.network import operations
from tensorly_rnn.network.network import Network, apply_plan
from tensorly_rnn.network.row_blocks import row_blocks
from tests.cases import every_format
from tests.strategies import factorized, refused

NUMPY = BackendManager.load_backend("numpy")


@st.composite
def networks(draw):
    """Any network: shared, batched and open indices over up to five operands, every index in two places at least."""
    names = "bcdefg"[: draw(st.integers(1, 6))]
    count = draw(st.integers(1, 5))
    places = {name: draw(st.sets(st.integers(0, count), min_size=min(2, count + 1), max_size=count + 1)) for name in names}
    operands = tuple(tuple(draw(st.permutations([n for n in names if k in places[n]]))) for k in range(count))
    output = tuple(draw(st.permutations([n for n in names if count in places[n]])))
    sizes = tuple((name, draw(st.integers(1, 4))) for name in names)
    return operands, output, sizes


@given(networks(), st.integers(0, 100), st.data())
def test_planned_and_given_orders_and_places_equal_einsum(network, seed, data):
    operands, output, sizes = network
    size, rng = dict(sizes), np.random.default_rng(seed)
    arrays = [rng.normal(size=[size[index] for index in indices]) for indices in operands]
    remaining, pairs = list(range(len(operands))), []
    while len(remaining) > 1:
        left, right = data.draw(st.permutations(remaining))[:2]
        remaining = [one for one in remaining if one not in (left, right)] + [len(operands) + len(pairs)]
        pairs.append((left, right, True) if data.draw(st.booleans()) else (left, right))
    ordered = plan(operands, output, sizes, pairs=tuple(pairs))
    equation = ",".join("".join(indices) for indices in operands) + "->" + "".join(output)
    assert_allclose(execute(plan(operands, output, sizes), NUMPY, arrays), np.einsum(equation, *arrays), atol=1e-10)
    y, pull_back = plan_vjp(NUMPY, ordered, arrays, tuple(size[index] for index in output))
    assert_allclose(y, np.einsum(equation, *arrays), atol=1e-10)
    dy = rng.normal(size=y.shape)
    for k, (array, gradient) in enumerate(zip(arrays, pull_back(dy))):
        # Linear in each operand: the change along a direction is the product with the direction in its place.
        direction = rng.normal(size=array.shape)
        changed = np.einsum(equation, *arrays[:k], direction, *arrays[k + 1 :])
        assert_allclose((gradient * direction).sum(), (dy * changed).sum(), atol=1e-9)


def test_leading_indices_stay_where_they_are():
    operands, sizes = (("b", "i", "k"), ("j", "i")), (("b", 11), ("i", 3), ("j", 5), ("k", 7))
    moved = plan(operands, ("b", "j", "k"), sizes, pairs=((1, 0),))
    stays = plan(operands, ("b", "j", "k"), sizes, pairs=((1, 0, True),))
    (step,) = stays.steps
    assert (step.left_view.merged, step.right_view.merged, step.shape) == ((1, 5, 3), (11, 3, 7), (11, 5, 7))
    assert step.indices == ("b", "j", "k") and step.is_stacked and stays.pairs == ((1, 0, True),)
    assert moved.steps[0].shape == (5, 77) and not moved.steps[0].is_stacked and moved.pairs == ((1, 0),)
    assert stays.flops == moved.flops == 2 * 11 * 3 * 5 * 7
    # Neither x nor the result is copied.
    assert (
        [_copy_seconds(view) for view in (step.left_view, step.right_view)]
        == [0, 0]
        == [_copy_seconds(stays.last_view, 2)] * 2
    )
    assert _copy_seconds(moved.steps[0].right_view) > 0 < _copy_seconds(moved.last_view, 2)
    assert "[1, 5, 3] @ [11, 3, 7]" in str(stays)
    # The gradient of the one matrix comes in 11 parts of 5 x 3, or from copies of 11 x 7 columns.
    assert not step.is_unstacked_backward and step.backward_peak == max(11 * 5 * 3, 11 * 3 * 7)
    wide = plan(operands, ("b", "j", "k"), (("b", 11), ("i", 30), ("j", 50), ("k", 2)), pairs=((1, 0, True),)).steps[0]
    assert wide.is_unstacked_backward and wide.backward_peak == 50 * 30


def test_a_matrix_that_multiplies_a_stack_is_copied_where_it_must_be():
    # Rows b and k of the left are not neighbours, whatever the one in front of them.
    operands, sizes = (("b", "i", "k"), ("s", "i", "j")), (("b", 11), ("i", 3), ("j", 5), ("k", 7), ("s", 2))
    (step,) = plan(operands, ("b", "k", "s", "j"), sizes, pairs=((0, 1, True),)).steps
    assert step.left_view.merged == (1, 77, 3) and step.left_view.permutation == (0, 2, 1)
    assert _copy_seconds(step.left_view) > 0 == _copy_seconds(step.right_view)


def test_a_copy_is_spared_where_the_estimate_says_so():
    # The second product of a train: its ranks stand between the rows and the modes of the outputs.
    chosen = apply_plan(tlr.get_format("tt").format.make_network(((16, 4, 4, 4), (8, 20, 20, 18)), (1, 4, 4, 4, 1)), 96)
    assert [step.is_stacked for step in chosen.steps] == [False, False, True, True]
    assert chosen.steps[-1].indices == ("b", "j1", "j2", "j3", "j4")


def test_orders_that_differ_in_one_place():
    tree = ((0, 1, False), 2, False)
    found = set(orders.neighbours(tree))
    assert (2, (0, 1, False), False) in found and ((0, 1, False), 2, True) in found and ((1, 0, False), 2, False) in found
    assert ((0, 2, False), 1, False) in found and (0, (1, 2, True), False) in found
    # Of three operands any two can be joined first.
    assert {frozenset(orders._pairs(one, 3)[0][:2]) for one in found} == {frozenset(pair) for pair in ((0, 1), (0, 2), (1, 2))}
    assert orders._tree(orders._pairs(tree, 3), 3) == tree


def test_costs_of_a_product_of_three_by_hand():
    chain = plan((("b", "i"), ("i", "k"), ("k", "j")), ("b", "j"), (("b", 8), ("i", 100), ("k", 2), ("j", 50)))
    # (8 x 100)(100 x 2), then (8 x 2)(2 x 50)
    assert sorted(step.flops for step in chain.steps) == sorted([2 * 8 * 100 * 2, 2 * 8 * 2 * 50])
    assert chain.flops == 4800
    assert chain.moved == (800 + 200 + 16) + (16 + 100 + 400)
    assert chain.peak == 400
    assert "4,800" not in str(chain) and "3,200" in str(chain)


def test_the_same_problem_gives_the_same_plan():
    arguments = ((("b", "i"), ("i", "j")), ("b", "j"))
    first = plan(*arguments, (("b", 3), ("i", 4), ("j", 5)))
    assert plan(*arguments, (("j", 5), ("i", 4), ("b", 3))) is first
    assert plan(*arguments, (("b", 4), ("i", 4), ("j", 5))) is not first


def test_networks_that_cannot_be_planned_are_refused():
    refused(
        (ValueError, "index 'i' of size 3 must be in two places or more", lambda: plan((("b", "i"), ("b",)), ("b",), (("b", 2), ("i", 3)))),
        (ValueError, r"operands\[0\] must name each index once; got \('i', 'i'\)", lambda: plan((("i", "i"),), ("i",), (("i", 3),))),
        (ValueError, "output must name each index once", lambda: plan((("i",),), ("i", "i"), (("i", 3),))),
    )  # fmt: skip


@every_format
@given(data=st.data(), batch=st.integers(1, 20))
def test_cost_is_that_of_the_plan_and_backward_twice(case, data, batch):
    f = data.draw(factorized(case))
    applied = apply_plan(f.network, batch)
    found = tlr.cost(case.name, f.tensorized_shape, f.rank, batch=batch)
    assert found.forward.flops == sum(step.flops for step in applied.steps)
    assert found.backward.flops == 2 * found.forward.flops
    assert found.flops == 3 * found.forward.flops
    assert found.moved == 3 * found.forward.moved
    assert found.peak >= found.forward.peak >= batch * math.prod(f.network.out_modes)
    title, *lines = str(found).splitlines()
    assert title.split() == [str(batch), "rows", "flops", "elements", "moved", "largest", "array"]
    for line, name, one in zip(lines, ("forward", "backward", "both"), (found.forward, found.backward, found), strict=True):
        assert line.split() == [name, f"{one.flops:,}", f"{one.moved:,}", f"{one.peak:,}"]
    assert tlr.cost(case.name, f.tensorized_shape, f.rank) == tlr.cost(case.name, f.tensorized_shape, f.rank, batch=1)


def test_applying_is_cheaper_than_the_dense_product_at_the_papers_sizes():
    modes = ((16, 4, 4, 4), (8, 20, 20, 18))
    dense = 2 * 96 * 1024 * 57600
    for name, rank, share in (("tt", 4, 0.1), ("bt", (2, 4), 0.3), ("ht", (4, 5), 0.3), ("tr", 4, 0.3)):
        found = tlr.cost(name, modes, rank, batch=96)
        assert found.forward.flops < share * dense
        # Block by block, as it is executed.
        network = tlr.get_format(name).format.make_network(modes, tlr.get_format(name).format.validate_rank(modes, rank))
        blocks = row_blocks(network, 96)
        assert max(one.peak for one in blocks.plans) < 1024 * 57600 / 25


@given(st.permutations(range(13)), st.integers(4, 13))
def test_permutations_of_too_many_axes_go_in_rounds(permutation, most):
    split = (2, 1, 3, 1, 2, 1, 1, 2, 1, 3, 1, 2, 1)
    array = np.random.default_rng(0).normal(size=split)
    moved = array
    for sizes, order in _rounds(split, tuple(permutation), most):
        assert len(sizes) == len(order) <= most
        moved = moved.reshape(sizes).transpose(order)
    assert (moved.ravel() == array.transpose(permutation).ravel()).all()
    for sizes, order in _rounds_back(split, tuple(permutation), most):
        assert len(sizes) == len(order) <= most
        moved = moved.reshape(sizes).transpose(order)
    assert (moved.ravel() == array.ravel()).all()


def test_rounds_are_as_few_as_the_axes_allow():
    for axes, rounds in ((9, 1), (10, 2), (13, 2)):
        turned = tuple(reversed(range(axes)))
        assert len(_rounds((2,) * axes, turned, 9)) == len(_rounds_back((2,) * axes, turned, 9)) == rounds
    assert _rounds((2, 3), (0, 1), 9) == ()


def test_a_plan_without_products_costs_its_array():
    turned = plan((("i", "j"),), ("j", "i"), (("i", 3), ("j", 5)))
    assert (turned.flops, turned.moved, turned.peak) == (0, 0, 15)


def test_numbers_of_rows_up_to_the_next_power_of_two_share_one_search(monkeypatch):
    # A single row has no axis: another question.
    searched = set()
    search = orders._best_order
    monkeypatch.setattr(orders, "_best_order", lambda *question: searched.add(question) or search(*question))
    for rows in (5, 6, 7, 8, 0, 1):
        plan((("b", "i"), ("i", "k"), ("k", "j")), ("b", "j"), (("b", rows), ("i", 23), ("k", 29), ("j", 31)))
    assert sorted(dict(sizes)["b"] for _, _, sizes in searched) == [1, 1, 8]


@pytest.mark.parametrize("name", tlr.available_formats())
def test_a_plan_for_any_number_of_rows_is_one_for_all(name):
    f = tlr.get_format(name).random(((2, 3, 5), (5, 2, 3)), 2, random_state=0)
    planned = apply_plan(f.network, ANY, "input_first")
    # NumPy takes any negative size for the open one, torch -1 alone.
    views = [view for step in planned.steps for view in (step.left_view, step.right_view)]
    assert min(n for view in views for n in (*view.split, *view.merged)) == ANY
    rng = np.random.default_rng(0)
    for rows in (0, 1, 7, 300):
        x, dy = rng.normal(size=(rows, 30)), rng.normal(size=(rows, 30))
        y, pull_back = plan_vjp(NUMPY, planned, [x, *f.factors], (rows, 30))
        assert_allclose(y, x @ f.to_matrix().T, atol=1e-11)
        dx, *of_factors = pull_back(dy)
        wanted, wanted_dx = f.gradients(x, dy)
        for found, other in zip((dx, *of_factors), (wanted_dx, *wanted)):
            assert_allclose(found.reshape(other.shape), other, atol=1e-9)


def test_given_pairs_say_which_operand_has_the_rows():
    operands, sizes = (("b", "i"), ("i", "j")), (("b", 3), ("i", 4), ("j", 5))
    assert plan(operands, ("b", "j"), sizes, pairs=((0, 1),)).steps[0].shape == (3, 5)
    turned = plan(operands, ("b", "j"), sizes, pairs=((1, 0),))
    assert turned.steps[0].shape == (5, 3) and turned.pairs == ((1, 0),)
    a, b = np.arange(12.0).reshape(3, 4), np.arange(20.0).reshape(4, 5)
    assert_allclose(execute(turned, NUMPY, [a, b]), a @ b)


def test_seconds_by_hand():
    sizes = (("b", 1000), ("i", 300), ("k", 4), ("j", 200))
    # Neither product has anything to copy; both are thin. The second waits for its result.
    chain = plan((("b", "i"), ("i", "k"), ("k", "j")), ("b", "j"), sizes, pairs=((0, 1), (3, 2)))
    forward = READ * 1000 * 300 + WRITTEN * 1000 * 200 + 2 * CALL
    assert seconds(chain, [False] * 3) == pytest.approx(forward)
    # Of the factor of 300 x 4; of the partial result that leads to it, and of the factor of 4 x 200.
    back = READ * 300 * 1000 + CALL, 2 * (READ * 1000 * 200 + CALL)
    assert seconds(chain, [False, True, True]) == pytest.approx(forward + sum(back))
    assert seconds(chain, [False, False, True]) == pytest.approx(forward + back[1] / 2)
    # The index to sum over is in the middle of x, which is copied in blocks of 300 x 4 entries.
    middle = plan((("b", "i", "k"), ("i", "j")), ("b", "k", "j"), sizes, pairs=((0, 1),))
    product, copied = 2 * 4000 * 300 * 200 * OPERATION + CALL, 1000 * 300 * 4 * IN_BLOCKS[0][1]
    assert seconds(middle, [False, True]) == pytest.approx(copied + 2 * product)
    assert seconds(middle, [True, False]) == pytest.approx(2 * (copied + product))


def test_copies_take_longer_the_further_they_reach():
    def each(*split, order):
        return _copy_seconds(
            View(split, order, (math.prod(split[axis] for axis in order[:-1]), split[order[-1]]))
        ) / math.prod(split)

    near, (middle, far) = IN_BLOCKS[0][1], (seconds for _, seconds in IN_BLOCKS[1:])
    assert each(7, 5, 3, order=(0, 1, 2)) == 0 and each(7, 5, order=(1, 0)) == 0
    assert each(1000, 20, 30, order=(0, 2, 1)) == pytest.approx(near)
    assert each(1000, 200, 30, order=(0, 2, 1)) == pytest.approx(middle)
    assert each(100, 200, 30, order=(2, 0, 1)) == pytest.approx(far)
    # Two passes over the array in its own order, and runs of 64 entries.
    assert each(100, 20, 2, order=(2, 0, 1)) == pytest.approx(near)
    assert each(100, 2000, 64, order=(1, 0, 2)) == pytest.approx(IN_RUNS)


@given(networks())
def test_no_single_objective_finds_a_faster_plan(network):
    operands, output, sizes = network
    sizes = tuple((name, 1 << n) for name, n in sizes)
    best = _training_seconds(plan(operands, output, sizes))
    for path in orders._orders(operands, output, dict(sizes)) if len(operands) > 1 else [()]:
        assert best <= _training_seconds(plan(operands, output, sizes, path))


@every_format
@given(data=st.data(), batch=st.integers(2, 40), most=st.integers(1, 400))
def test_blocks_of_rows_make_up_the_whole(case, data, batch, most):
    f = data.draw(factorized(case))
    blocks = row_blocks(f.network, batch, most)
    assert sum(blocks.rows) == batch and len(blocks.rows) == len(blocks.plans) and min(blocks.rows) > 0
    assert max(blocks.rows) - min(blocks.rows) <= 1
    x = np.random.default_rng(batch).normal(size=(batch, f.network.shape[1]))
    counted, multiply = [], NUMPY.matmul
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(operations, "row_blocks", lambda network, rows: blocks)
        patch.setattr(NUMPY, "matmul", lambda a, b: counted.append(multiply(a, b)) or counted[-1])
        y = operations.apply(NUMPY, f.network, f.factors, x)
    assert_allclose(y, x @ operations.to_matrix(NUMPY, f.network, f.factors).T, atol=1e-9)
    # Products that all blocks share are made once.
    steps = len(blocks.plans[0].steps)
    assert len(counted) == steps + (len(blocks.rows) - 1) * (steps - len(blocks.shared))
    numbered = enumerate(blocks.plans[0].steps, blocks.plans[0].n_operands)
    written = max(math.prod(step.shape) for number, step in numbered if number not in blocks.shared)
    # As few blocks as that takes.
    whole = apply_plan(f.network, batch)
    largest = max(
        math.prod(step.shape) for number, step in enumerate(whole.steps, whole.n_operands) if number not in blocks.shared
    )
    assert len(blocks.rows) == min(batch, math.ceil(largest / most))
    # One row more than even shares at most.
    assert blocks.rows[0] == 1 or written * (blocks.rows[0] - 1) <= most * blocks.rows[0]


@every_format
def test_a_network_is_written_as_it_is_made(case):
    for shape, rank in case.pool.items():
        network = tlr.get_format(case.name).format.make_network(shape, rank)
        assert eval(repr(network), {"Network": tlr.Network}) == network


def test_networks_are_cut_to_any_range_of_an_index():
    f = tlr.TRMatrix.random(((2, 3), (5, 2)), (2, 3, 2), random_state=0)
    dense = f.to_tensor()
    for axis, (index, size) in enumerate(zip((*f.network.outputs, *f.network.inputs), dense.shape)):
        for start in range(size):
            for stop in range(start + 1, size + 1):
                smaller, pieces = operations.cut(f.network, f.factors, {index: slice(start, stop)})
                found = operations.to_matrix(NUMPY, smaller, pieces)
                assert_allclose(
                    found.reshape(*smaller.out_modes, *smaller.in_modes), dense.take(range(start, stop), axis), atol=1e-13
                )


def test_plans_of_ever_new_numbers_of_rows_take_bounded_memory():
    network = tlr.HTMatrix.random(((2,) * 6, (2,) * 6), 2, random_state=0).network
    _memoize.clear_caches()
    row_blocks(network, 513)
    tracemalloc.start()
    try:
        for rows in range(514, 614):
            row_blocks(network, rows)
        each = tracemalloc.get_traced_memory()[0] / 100
    finally:
        tracemalloc.stop()
    assert each * _memoize.MAX_ENTRIES < 2**25
    for rows in range(_memoize.MAX_ENTRIES + 9):
        row_blocks(Network((("j1", "i1"),), ("j1",), ("i1",), (("i1", 2), ("j1", 2))), rows)
    assert max(cache.cache_info().currsize for cache in _memoize._caches) == _memoize.MAX_ENTRIES
