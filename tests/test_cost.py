"""Costs: counted by hand for both papers' orders, counted while they are executed, and the exponents of the docs' tables."""

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tensorly.backend import BackendManager

import tensorly_rnn as tlr
from tensorly_rnn.contraction.execute import apply_view, execute, pull_back, run_steps
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.network.network import CONTRACTION_ORDERS, apply_plan
from tests.cases import every_format
from tests.strategies import factorized, refused

NUMPY = BackendManager.load_backend("numpy")
OUT, IN, BATCH = (2, 3, 7), (5, 11, 3), 13
DOCS = Path(__file__).parent.parent / "docs"


def first(values, k):
    return math.prod(values[:k])


def products_of(name, contraction_order):
    """(multiplications, elements written) of every product, from the sums as the papers write them: modes as above."""
    b, i, j = BATCH, IN, OUT
    ij = tuple(m * n for m, n in zip(i, j))
    w_times_x = (b * math.prod(ij), b * math.prod(j))
    if name == "bt":
        n, r = 2, (2, 3, 5)
        if contraction_order == "factors_first":
            # core r1 r2 r3 -> i1 j1 r2 r3 -> i1 j1 i2 j2 r3 -> W, where the blocks are summed
            written = [n * first(ij, k) * math.prod(r[k:]) for k in (1, 2)] + [math.prod(ij)]
            return [(n * first(ij, k) * math.prod(r[k - 1 :]), written[k - 1]) for k in (1, 2, 3)] + [w_times_x]
        # x -> j1 i2 i3 r1 -> j1 j2 i3 r1 r2 -> j1 j2 j3 r1 r2 r3, each for every block; the core sums ranks and blocks
        rows = [
            (b * n * first(j, k) * math.prod(i[k - 1 :]) * first(r, k), b * n * first(j, k) * math.prod(i[k:]) * first(r, k))
            for k in (1, 2, 3)
        ]
        return [*rows, (b * n * math.prod(j) * math.prod(r), b * math.prod(j))]
    if name in ("tt", "tr"):
        r = (1, 2, 3, 1) if name == "tt" else (2, 3, 5, 2)
        # The ring's first rank stays open until its last core closes it.
        ring = r[0]
        if contraction_order == "factors_first":
            two = (first(ij, 2) * ring * r[1] * r[2], first(ij, 2) * ring * r[2])
            return [two, (math.prod(ij) * ring * r[2], math.prod(ij)), w_times_x]
        return [
            (b * j[0] * math.prod(i) * ring * r[1], b * j[0] * i[1] * i[2] * ring * r[1]),
            (b * j[0] * j[1] * i[1] * i[2] * ring * r[1] * r[2], b * j[0] * j[1] * i[2] * ring * r[2]),
            (b * math.prod(j) * i[2] * ring * r[2], b * math.prod(j)),
        ]
    # Root (g, p, q) over mode 1 (rank p) and the node (q, s, t) over modes 2 (rank s) and 3 (rank t).
    g, p, q, s, t = 2, 3, 2, 5, 7
    if contraction_order == "factors_first":
        return [
            (g * p * q * ij[0], g * q * ij[0]),
            (g * q * ij[0] * s * t, g * ij[0] * s * t),
            (g * ij[0] * s * t * ij[1], g * ij[0] * t * ij[1]),
            (g * ij[0] * t * ij[1] * ij[2], g * math.prod(ij)),
            (b * g * math.prod(ij), b * g * math.prod(j)),
        ]
    return [
        (b * math.prod(i) * j[0] * p, b * j[0] * i[1] * i[2] * p),
        (b * j[0] * i[1] * i[2] * p * j[1] * s, b * j[0] * j[1] * i[2] * p * s),
        (b * j[0] * j[1] * i[2] * p * s * j[2] * t, b * math.prod(j) * p * s * t),
        (b * math.prod(j) * p * s * t * q, b * math.prod(j) * p * q),
        (b * math.prod(j) * p * q * g, b * math.prod(j) * g),
    ]


RANKS = {"bt": (2, (2, 3, 5)), "tt": (1, 2, 3, 1), "tr": (2, 3, 5, 2), "ht": (2, 3, 2, 5, 7)}


@pytest.mark.parametrize("contraction_order", CONTRACTION_ORDERS[1:])
@pytest.mark.parametrize("name", RANKS)
def test_the_papers_orders_by_hand(name, contraction_order):
    found = tlr.cost(name, (OUT, IN), RANKS[name], batch=BATCH, contraction_order=contraction_order)
    if name == "ht" and contraction_order == "factors_first":
        # Breadth first: root, leaf of mode 1, node, leaves of modes 2 and 3.
        assert tlr.HTMatrix.format.indices(3)[1] == ("r1", "j1", "i1")
    by_hand = products_of(name, contraction_order)
    assert found.forward.flops == sum(2 * multiplications for multiplications, _ in by_hand)
    assert found.forward.peak == max(written for _, written in by_hand)
    assert found.backward.flops == 2 * found.forward.flops


def test_the_orders_take_the_factors_in_the_papers_sequence():
    def steps(name, rank, contraction_order):
        network = tlr.get_format(name).random(((2,) * 4, (3,) * 4), rank, random_state=0).network
        return [{step.left, step.right} for step in apply_plan(network, 5, contraction_order).steps]

    # Operand 0 is x; BT: 1 the core, 2 to 5 the factors; HT: 1 root, 2 and 3 nodes, 4 to 7 leaves; results from there on.
    assert steps("bt", (2, 2), "factors_first") == [{1, 2}, {6, 3}, {7, 4}, {8, 5}, {9, 0}]
    assert steps("bt", (2, 2), "input_first") == [{0, 2}, {6, 3}, {7, 4}, {8, 5}, {9, 1}]
    assert steps("tt", 2, "input_first") == [{0, 1}, {5, 2}, {6, 3}, {7, 4}]
    assert steps("ht", 2, "factors_first") == [{1, 2}, {8, 3}, {9, 4}, {10, 5}, {11, 6}, {12, 7}, {13, 0}]
    assert steps("ht", 2, "input_first") == [{0, 4}, {8, 5}, {9, 2}, {10, 6}, {11, 7}, {12, 3}, {13, 1}]


class Counting:
    """The NumPy backend, counting what its products do."""

    def __init__(self):
        self.flops, self.moved, self.peak = 0, 0, 0

    def __getattr__(self, name):
        return getattr(NUMPY, name)

    def taken(self):
        """Operations since it was asked last."""
        flops, self.flops = self.flops, 0
        return flops

    def matmul(self, left, right):
        result = np.matmul(left, right)
        self.flops += 2 * result.size * left.shape[-1]
        self.moved += left.size + right.size + result.size
        self.peak = max(self.peak, result.size)
        return result


@pytest.mark.parametrize("contraction_order", CONTRACTION_ORDERS)
@every_format
@given(data=st.data(), batch=st.integers(1, 5))
def test_what_is_executed_is_what_is_counted(case, contraction_order, data, batch):
    f = data.draw(factorized(case))
    cost = tlr.cost(case.name, f.tensorized_shape, f.rank, batch=batch, contraction_order=contraction_order)
    rng = np.random.default_rng(0)
    x, dy = rng.normal(size=(batch, f.shape[1])), rng.normal(size=(batch, f.shape[0]))
    chosen = apply_plan(f.network, batch, contraction_order)
    forward, backward = Counting(), Counting()
    results = run_steps(chosen, forward, [x, *f.factors])
    dx, *of_factors = pull_back(backward, chosen, results, dy)
    assert vars(forward) == vars(cost.forward)
    assert vars(backward) == vars(cost.backward)
    # The numbers are those of the explicit loops, whatever the order.
    w = case.reference(f.factors)
    assert_allclose(apply_view(NUMPY, results[-1], chosen.last_view).reshape(batch, -1), x @ w.T, atol=1e-10)
    assert_allclose(dx.reshape(x.shape), dy @ w, atol=1e-10)
    # Linear in each factor, so that <gradient, factor> is the loss.
    for gradient, factor in zip(of_factors, f.factors):
        assert_allclose(np.sum(gradient.reshape(factor.shape) * factor), np.sum(dy * (x @ w.T)), atol=1e-9)


@pytest.mark.parametrize("contraction_order", CONTRACTION_ORDERS)
def test_every_order_is_right_without_rows(contraction_order):
    f = tlr.BTMatrix.random(((2, 3), (3, 5)), (2, 2), random_state=0)
    y = execute(apply_plan(f.network, 0, contraction_order), NUMPY, [np.ones((0, 15)), *f.factors])
    assert y.shape == (0, 2, 3)


def test_wrong_orders_and_batches_are_refused():
    modes, known = (
        ((2, 3), (3, 2)),
        r"^contraction_order must be known; expected one of \('planned', 'factors_first', 'input_first'\), got 'best'",
    )
    network = tlr.TTMatrix.random(modes, 2, random_state=0).network
    refused(
        (ValueError, known, lambda: tlr.cost("tt", modes, 2, contraction_order="best")),
        (TypeError, "^contraction_order must be a name; .*got 3 of type int", lambda: tlr.cost("tt", modes, 2, contraction_order=3)),
        (ValueError, known, lambda: apply_plan(network, 3, "best")),
        (ValueError, "^batch must be a positive integer; expected at least 1, got 0", lambda: tlr.cost("tt", modes, 2, batch=0)),
        (ValueError, "^batch must be a positive integer; expected at least 1, got -2", lambda: network.cost(-2)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "pairs", [((0, 1),), ((0, 1), (0, 2)), ((0, 1), (3, 3)), ((0, 3), (1, 2)), ((0, 1), (2, 4)), ((0, 1), (2, 3), (4, 0))]
)
def test_pairs_that_are_no_order_are_refused(pairs):
    with pytest.raises(
        ValueError,
        match="^pairs must take every operand and every result but the last once; expected 2 pairs of the numbers 0 to 3",
    ):
        plan((("b", "i"), ("i", "k"), ("k", "j")), ("b", "j"), (("b", 2), ("i", 3), ("j", 2), ("k", 2)), pairs)


@pytest.mark.parametrize(
    ("name", "order", "rank"),
    [
        ("tt", 16, 3),
        ("tr", 17, 3),
        ("ht", 9, 3),
        ("ht", 12, 3),
        ("bt", 8, (2, 2)),
        pytest.param("bt", 14, (1, 2), marks=pytest.mark.slow),
    ],
)
def test_plans_of_many_factors_beat_the_papers_orders(name, order, rank):
    # A block term of one block and 14 modes took minutes to plan; a greedy order of 16 cores took a thousand times more.
    network = tlr.get_format(name).random(((2,) * order, (4,) * order), rank, random_state=0).network
    found = [
        one.flops / 2 + 64 * sum(math.prod(step.shape) for step in one.steps)
        for one in (apply_plan(network, 96, contraction_order) for contraction_order in CONTRACTION_ORDERS)
    ]
    assert found[0] <= min(found[1:])


@pytest.fixture(scope="module")
def complexity():
    spec = importlib.util.spec_from_file_location("complexity", DOCS / "complexity.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(complexity):
    return complexity.measured()


@pytest.mark.slow
def test_the_page_holds_what_the_functions_compute(complexity):
    page = (DOCS / "complexity.md").read_text(encoding="utf-8")
    assert complexity.filled(page) == page


@pytest.mark.slow
def test_the_exponents_are_the_theorys(rows):
    """Of the leading terms of the sums above: I and J in the first product, R in the last, the ends of the train apart."""
    found = {(row.bound.method, row.bound.quantity, row.variable): row.fits for row in rows}
    for quantity in ("forward flops", "backward flops"):
        for method, in_r in (("TT-RNN", 2), ("BT-RNN", 4)):
            exponents = [found[method, quantity, variable]["input_first"].slope for variable in ("I", "J", "R")]
            assert_allclose(exponents, [1, 1 / 4, in_r], atol=0.06)
            assert_allclose(found[method, quantity, "R"]["factors_first"].slope, 1, atol=0.06)
        assert_allclose(found["BT-RNN", quantity, "growth a mode"]["input_first"].slope, 4 * 2, rtol=1e-3)
        assert_allclose(found["BT-RNN", quantity, "growth a mode"]["factors_first"].slope, 4 * 4, rtol=1e-3)
        # log(d - 1) against log d over the sweep.
        d = np.log([8, 12, 16, 24, 32, 48, 64])
        assert_allclose(
            found["TT-RNN", quantity, "d"]["input_first"].slope, np.polyfit(d, np.log(np.exp(d) - 1), 1)[0], atol=1e-9
        )
    assert_allclose(found["TT-RNN", "forward peak", "R"]["input_first"].slope, 1, atol=1e-9)
    assert_allclose(found["TT-RNN", "forward peak", "I"]["input_first"].slope, 3 / 4, atol=1e-9)
    assert_allclose(found["BT-RNN", "forward peak", "R"]["input_first"].slope, 4, atol=1e-9)
    assert_allclose(found["BT-RNN", "forward peak", "R"]["planned"].slope, 2, atol=1e-9)


@pytest.mark.slow
def test_every_difference_from_the_paper_is_explained(complexity, rows):
    legend = (DOCS / "complexity.md").read_text(encoding="utf-8")
    for row in rows:
        verdicts = {row.verdict(contraction_order) for contraction_order in complexity.compared(row)}
        letters = complexity.why(row)
        assert bool(letters) == (verdicts != {"="}), row
        assert all(f"- **{letter}.**" in legend for letter in letters)


def test_what_the_page_says_in_words(complexity):
    for name, _, settings, papers in complexity.SPACE_SWEEPS:
        for format, paper in zip(complexity.SPACES, papers):
            if paper is not None:
                assert abs(complexity.space_fit(format, name, settings).slope - paper) < 0.1
    for format, rank in complexity.PAPER_RANKS.items():
        planned, *others = [
            tlr.cost(format, complexity.PAPER_MODES, rank, batch=complexity.PAPER_BATCH, contraction_order=one)
            for one in CONTRACTION_ORDERS
        ]
        for other in others:
            for name in ("forward", "backward"):
                ours, theirs = vars(getattr(planned, name)), vars(getattr(other, name))
                assert all(ours[field] < theirs[field] for field in ours)


def test_a_line_through_points_and_its_error(complexity):
    fit = complexity.fitted([0.0, 1.0, 2.0, 3.0], [1.0, 3.0, 5.0, 8.0])
    # Slope 11.5 / 5; residuals (0.2, -0.1, -0.4, 0.3), so error^2 = (0.3 / 2) / 5.
    assert_allclose((fit.slope, fit.error), (2.3, math.sqrt(0.03)))
