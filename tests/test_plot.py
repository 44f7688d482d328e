"""Pictures say what the data say: every factor, index and size is drawn once, apart from all others, and nothing is shown."""

import functools
import itertools
import re
import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn import plot
from tensorly_rnn.formats import linear_tree
from tensorly_rnn.network.network import Network
from tensorly_rnn.nn import factorize_module
from tensorly_rnn.plot import diagram
from tensorly_rnn.plot._axes import COLORS
from tensorly_rnn.plot._layout import RADIUS, STEP, graph_of, layout_of
from tensorly_rnn.plot._sketch import DOT, label_of

OUT = (2, 3, 5, 7, 11, 13, 17, 19, 4, 6, 8, 9)
IN = (23, 5, 3, 29, 2, 7, 31, 13, 12, 10, 9, 8)
RANKS = (14, 4, 3, 5, 12, 6, 7, 2, 9, 8, 10, 11)


def canonical_polyadic(shape, rank):
    """The network of docs/fifth_format.md, without making the format known to all tests."""
    modes = range(1, 1 + len(shape[0]))
    sizes = {"r": rank} | {f"j{k}": shape[0][k - 1] for k in modes} | {f"i{k}": shape[1][k - 1] for k in modes}
    factors = tuple((f"j{k}", f"i{k}", "r") for k in modes)
    return Network(factors, tuple(f"j{k}" for k in modes), tuple(f"i{k}" for k in modes), tuple(sorted(sizes.items())))


def networks(order):
    """Networks of all kinds with that number of modes, by name."""
    shape = (OUT[:order], IN[:order])
    nodes = (RANKS + RANKS)[: 2 * order - 2]
    yield "tt", tlr.TTMatrix.format.make_network(shape, (1, *RANKS[: order - 1], 1))
    ends = 4 if order > 1 else 1
    yield "tr", tlr.TRMatrix.format.make_network(shape, (ends, *RANKS[: order - 1], ends))
    yield "bt", tlr.BTMatrix.format.make_network(shape, (1, RANKS[:order]))
    yield "bt of 2 blocks", tlr.BTMatrix.format.make_network(shape, (2, RANKS[:order]))
    yield "ht", tlr.HTMatrix.format.make_network(shape, (1, *nodes))
    yield "ht of 4", tlr.HTMatrix.format.make_network(shape, (4, *nodes))
    yield "ht on a linear tree", HT(linear_tree(order)).make_network(shape, (1, *nodes))
    yield "cp", canonical_polyadic(shape, 5)
    yield "bt tensor", tlr.BTMatrix.format.make_tensor_network(OUT[:order], (3, RANKS[:order]))
    yield "ht tensor", tlr.HTMatrix.format.make_tensor_network(OUT[:order], (1, *nodes))


def ladder():
    """Two rows of three factors, each joined to its neighbours."""
    bonds = ("p1 p4", "p1 p2 p5", "p2 p6", "p4 p3", "p3 p5 p7", "p7 p6")
    modes = [str(k) for k in range(1, 7)]
    sizes = {f"p{k}": k + 1 for k in range(1, 8)} | {f"{letter}{k}": 2 + int(k) for letter in "ij" for k in modes}
    factors = tuple((f"j{k}", f"i{k}", *own.split()) for k, own in zip(modes, bonds))
    return Network(factors, tuple(f"j{k}" for k in modes), tuple(f"i{k}" for k in modes), tuple(sorted(sizes.items())))


CASES = [
    *(pytest.param(one, id=f"{name}-{order}") for order in (1, 2, 3, 5, 8) for name, one in networks(order)),
    *(pytest.param(one, id=f"{name}-12") for name, one in networks(12) if name in ("tt", "tr", "bt of 2 blocks", "ht of 4")),
    pytest.param(ladder(), id="ladder"),
]
every_network = pytest.mark.parametrize("network", CASES)


@functools.cache
def on_figure(network):
    """Draw on a figure that pyplot does not know, large enough to measure."""
    figure = Figure(figsize=(12, 12))
    FigureCanvasAgg(figure)
    return plot.network(network, ax=figure.add_axes((0, 0, 1, 1)))


def circles(ax, radius):
    return [patch for patch in ax.patches if getattr(patch, "radius", None) == radius]


def lines(ax, color):
    return [line for line in ax.lines if line.get_color() == color]


@every_network
def test_every_factor_and_index_is_drawn_once(network):
    ax = on_figure(network)
    opened = {*network.outputs, *network.inputs}
    places = {index: [k for k, own in enumerate(network.factors) if index in own] for index in network.size}
    summed = [index for index in places if index not in opened]
    pairs = [index for index in summed if len(places[index]) == 2 and network.size[index] > 1]
    shared = [index for index in summed if len(places[index]) != 2 and network.size[index] > 1]
    legs = [index for index in opened if network.size[index] > 1]
    assert len(circles(ax, RADIUS)) == len(network.factors)
    assert len(circles(ax, DOT)) == len(shared)
    drawn = {index: [line for line in ax.lines if line.get_gid() == index] for index in network.size}
    assert {index: len(drawn[index]) for index in pairs} == dict.fromkeys(pairs, 1)
    assert {index: len(drawn[index]) for index in shared} == {index: len(places[index]) for index in shared}
    assert {index: len(drawn[index]) for index in legs} == dict.fromkeys(legs, 1)
    assert len(ax.lines) == sum(map(len, drawn.values()))
    # Lines end in the middle of the circles of the factors that carry the index.
    middles = [circle.center for circle in circles(ax, RADIUS)]
    for index in pairs:
        (line,) = drawn[index]
        ends = line.get_xydata()[[0, -1]]
        found = {int(np.argmin([np.linalg.norm(end - middle) for middle in middles])) for end in ends}
        assert found == set(places[index])
    for index in legs:
        distances = np.linalg.norm(np.array(middles) - drawn[index][0].get_xydata()[0], axis=1)
        assert np.argmin(distances) == places[index][0] and distances.min() == pytest.approx(RADIUS)


@every_network
def test_every_size_is_written(network):
    ax = on_figure(network)
    graph = graph_of(network)
    written = [text.get_text() for text in ax.texts[len(network.factors) :]]
    named = {*graph.pairs, *graph.dots, *graph.legs}
    assert sorted(written) == sorted(label_of(network, index) for index in named)
    letter = "m" if network.inputs else "n"
    for k, mode in enumerate(network.out_modes[-len(OUT) :] if network.outputs[0] != "r0" else network.out_modes[1:], start=1):
        assert f"${letter}_{{{k}}}={mode}$" in written
    for k, mode in enumerate(network.in_modes, start=1):
        assert f"$n_{{{k}}}={mode}$" in written


@every_network
def test_rows_and_columns_have_colours_and_directions(network):
    ax = on_figure(network)
    legs = graph_of(network).legs
    if not network.inputs:
        assert not lines(ax, diagram.OUTPUT) and not lines(ax, diagram.INPUT)
        assert {line.get_gid() for line in lines(ax, diagram.LINE)} >= set(legs)
        return
    assert {line.get_gid() for line in lines(ax, diagram.OUTPUT)} == set(network.outputs) & set(legs)
    assert {line.get_gid() for line in lines(ax, diagram.INPUT)} == set(network.inputs)
    heads = {to_hex(patch.get_facecolor()).upper(): [] for patch in ax.patches}
    for patch in ax.patches:
        heads[to_hex(patch.get_facecolor()).upper()].append(patch)
    middles = np.array([circle.center for circle in circles(ax, RADIUS)])
    for color, touches in ((diagram.OUTPUT, False), (diagram.INPUT, True)):
        assert len(heads[color]) == len(lines(ax, color))
        for head in heads[color]:
            tip = np.linalg.norm(middles - head.get_xy()[0], axis=1).min()
            assert (tip < 1.1 * RADIUS) == touches


@every_network
def test_nothing_lies_on_anything_else(network):
    ax = on_figure(network)
    middles = np.array([circle.center for circle in circles(ax, RADIUS)])
    for one, other in itertools.combinations(middles, 2):
        assert np.linalg.norm(one - other) > 3 * RADIUS
    for dot in circles(ax, DOT):
        assert np.linalg.norm(middles - dot.center, axis=1).min() > RADIUS + 2 * DOT
    # No line passes below the circle of a factor without its index.
    for line in ax.lines:
        points = line.get_xydata()
        for k, middle in enumerate(middles):
            if line.get_gid() not in network.factors[k]:
                assert np.nanmin(np.linalg.norm(points - middle, axis=1)) > RADIUS
    # An open index ends away from all others.
    for line in ax.lines:
        if line.get_gid() in {*network.outputs, *network.inputs}:
            others = np.concatenate([one.get_xydata() for one in ax.lines if one is not line] or [np.full((1, 2), 99.0)])
            assert (
                np.nanmin(np.linalg.norm(others - line.get_xydata()[-1], axis=1)) > RADIUS
                or line.get_gid() in graph_of(network).dots
            )
    renderer = ax.figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in ax.texts]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one} lies on {other}"
    named = boxes[len(middles) :]
    centres = ax.transData.transform(middles)
    reach = ax.transData.transform((RADIUS, 0))[0] - ax.transData.transform((0, 0))[0]
    for text, box in named:
        nearest = np.clip(centres, box.min, box.max)
        assert np.linalg.norm(centres - nearest, axis=1).min() > 0.98 * reach, text
        assert ax.bbox.containsx(box.x0) and ax.bbox.containsx(box.x1), text
        assert ax.bbox.containsy(box.y0) and ax.bbox.containsy(box.y1), text
    # No line of another index crosses a label, the many dashed ones to a dot apart.
    for text, box in named:
        for line in ax.lines:
            if line.get_color() != diagram.SHARED:
                x, y = ax.transData.transform(line.get_xydata()).T
                assert not ((box.x0 < x) & (x < box.x1) & (box.y0 < y) & (y < box.y1)).any(), (
                    f"{line.get_gid()} crosses {text}"
                )
    # The names of factors fit into their circles.
    for (text, box), centre in zip(boxes, centres):
        assert np.abs([box.min - centre, box.max - centre]).max() < reach, text


def shape_of(network):
    return layout_of(network, graph_of(network), 0.5).shape


def test_the_shape_is_that_of_the_graph():
    found = {name: shape_of(network) for name, network in networks(5)}
    assert found == {
        "tt": "line",
        "tr": "circle",
        "bt": "star",
        "bt of 2 blocks": "star",
        "ht": "tree",
        "ht of 4": "tree",
        "ht on a linear tree": "tree",
        "cp": "star",
        "bt tensor": "star",
        "ht tensor": "tree",
    }
    assert shape_of(ladder()) == "other"


def test_a_train_lies_flat_and_a_ring_is_round():
    train, ring = dict(networks(8))["tt"], dict(networks(8))["tr"]
    at = layout_of(train, graph_of(train), 0.5).at
    assert [at[k].tolist() for k in range(8)] == [[STEP * k, 0] for k in range(8)]
    at = layout_of(ring, graph_of(ring), 0.5).at
    assert np.ptp([np.linalg.norm(at[k]) for k in range(8)]) < 1e-12
    assert [np.linalg.norm(at[k] - at[(k + 1) % 8]) for k in range(8)] == pytest.approx([STEP] * 8)


def test_a_tree_hangs_from_its_root():
    for tree in (None, linear_tree(6), ((0, (2, 4)), (1, (3, 5)))):
        format = tlr.HTMatrix if tree is None else tlr.HTMatrix.on_tree(tree)
        network = format.make_network((OUT[:6], IN[:6]), (1, *RANKS[:10]))
        at = layout_of(network, graph_of(network), 0.5).at
        for k, node in enumerate(format.nodes(6)):
            for child in node.children:
                assert at[child][1] == pytest.approx(at[k][1] - STEP)
            if node.children:
                assert at[k][0] == pytest.approx(np.mean([at[child][0] for child in node.children]))


def names(network):
    return [text.get_text().replace("\n", " ") for text in on_figure(network).texts[: len(network.factors)]]


def test_factors_are_named_by_their_place():
    found = {name: names(network) for name, network in networks(3)}
    assert found["tt"] == found["tr"] == ["core 1", "core 2", "core 3"]
    assert found["bt"] == found["bt of 2 blocks"] == ["core", "factor 1", "factor 2", "factor 3"]
    assert found["ht"] == found["ht of 4"] == ["root", "leaf 1", "node", "leaf 2", "leaf 3"]
    assert found["cp"] == ["factor 1", "factor 2", "factor 3"]
    # Both modes are the first of their kind: only the factors' own numbers tell them apart.
    assert names(Network((("j1", "r"), ("r", "i1")), ("j1",), ("i1",), (("i1", 5), ("j1", 3), ("r", 2)))) == [
        "core 1",
        "core 2",
    ]


def test_a_stack_leaves_the_root():
    ax = on_figure(dict(networks(5))["ht of 4"])
    (leg,) = [line for line in ax.lines if line.get_gid() == "r0"]
    assert "$r_{0}=4$" in [text.get_text() for text in ax.texts]
    assert np.ptp(leg.get_xdata()) < 1e-9 and leg.get_ydata()[-1] == max(np.nanmax(line.get_ydata()) for line in ax.lines)


def test_indices_of_size_one_are_left_out_but_where_they_join():
    separate = tlr.TRMatrix.format.make_network(((1, 1, 4, 8), (8, 9, 1, 1)), (1, 4, 5, 6, 1))
    ax = on_figure(separate)
    assert {line.get_gid() for line in ax.lines} == {"r0", "r1", "r2", "r3", "j3", "j4", "i1", "i2"}
    assert [line.get_gid() for line in lines(ax, diagram.TRIVIAL)] == ["r0"]
    apart = canonical_polyadic((OUT[:3], IN[:3]), 1)
    assert {line.get_gid() for line in on_figure(apart).lines} == {"j1", "j2", "j3", "i1", "i2", "i3"}


def test_odd_indices_are_drawn_too():
    """A diagonal, one that a factor sums alone, and an open one that two factors share."""
    sizes = (("alone", 6), ("i1", 5), ("j1", 3), ("r", 2), ("s", 4))
    network = Network((("j1", "r", "r", "s"), ("i1", "s", "alone", "j1")), ("j1",), ("i1",), sizes)
    ax = on_figure(network)
    counts = {index: sum(line.get_gid() == index for line in ax.lines) for index in network.size}
    assert counts == {"alone": 1, "i1": 1, "j1": 3, "r": 2, "s": 1}
    assert len(circles(ax, DOT)) == 3
    assert "alone = 6" in [text.get_text() for text in ax.texts]


def test_what_has_a_network_is_drawn_from_it_alone():
    bt = tlr.decomposition.block_term(np.random.default_rng(0).normal(size=(3, 4, 5)), (2, 2), n_iter_max=2, random_state=0)
    for factorized in (
        tlr.HTMatrix.random(((2, 3), (5, 2)), 2, random_state=0),
        tlr.random_ht((3, 4, 5), 2, random_state=0),
        bt,
    ):
        own, of_network = on_figure(factorized), on_figure(factorized.network)
        assert [text.get_text() for text in own.texts] == [text.get_text() for text in of_network.texts]
    for wrong in (np.zeros((3, 3)), None, [np.zeros((1, 2, 1))]):
        with pytest.raises(
            TypeError, match=f"must be a factorized matrix or tensor, or a Network; .* got {type(wrong).__name__}"
        ):
            plot.network(wrong)


# -- curves ------------------------------------------------------------------------------------------------------------------


def test_formats_keep_their_colours():
    def colors(*drawn):
        ax = plot.error_against_parameters({name: [(10, 0.5), (20, 0.1)] for name in drawn}, ax=Figure().subplots())
        return {line.get_label(): line.get_color() for line in ax.lines}

    every = colors("tt", "tr", "bt", "ht", "cp", "svd")
    assert len(set(every.values())) == 6 and every["svd"] == "0.5"
    assert set(every.values()) - {"0.5"} < set(COLORS)
    for some in (("ht",), ("cp", "bt"), ("svd", "ht", "tr")):
        assert colors(*some) == {name: every[name] for name in some}


def test_the_baseline_does_not_set_the_scale():
    curves = {"tt": [(100, 0.5), (200, 0.25)], "svd": [(50 * k, 10.0**-k) for k in range(1, 9)]}
    ax = plot.error_against_parameters(curves, ax=Figure().subplots())
    assert ax.get_ylim()[0] == pytest.approx(0.125) and ax.get_xlim()[1] == pytest.approx(260)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 8]


def test_cuts_are_named_by_the_modes_that_they_part():
    dense = np.random.default_rng(0).normal(size=(30, 30)) @ np.diag(0.6 ** np.arange(30))
    for name in ("tt", "ht"):
        f = tlr.factorize(dense, name, ((2, 3, 5), (5, 2, 3)), eps=1e-3)
        ax = plot.singular_values(f, ax=Figure().subplots())
        tensor = f.to_tensor().transpose(0, 3, 1, 4, 2, 5).reshape(10, 6, 15)
        assert len(ax.lines) == len(f.singular_values())
        for line in ax.lines:
            near = [int(mode) for mode in line.get_label().removeprefix("modes ").partition(" | ")[0].split(", ")]
            rows = np.prod([tensor.shape[mode] for mode in near])
            matrix = np.moveaxis(tensor, near, range(len(near))).reshape(rows, -1)
            values = np.linalg.svd(matrix, compute_uv=False)
            np.testing.assert_allclose(line.get_ydata(), (values / values[0])[: len(line.get_ydata())], atol=1e-10)
        marks = [mark.get_segments()[0][0, 0] for mark in ax.collections]
        assert marks == [len(line.get_xdata()) for line in ax.lines]


def test_tensors_and_long_trains_have_cuts_too():
    train = tlr.TTMatrix.random(((2,) * 9, (3,) * 9), 4, random_state=0)
    ax = plot.singular_values(train, ax=Figure().subplots())
    labels = [line.get_label() for line in ax.lines]
    assert labels[:2] == ["modes 1-8 | 0", "modes 2-8 | 0, 1"] and labels[-1] == "modes 8 | 0-7"
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 8
    tensor = tlr.random_ht((3, 4, 5), 2, tree=((0, 2), 1), random_state=0)
    ax = plot.singular_values(tensor, ax=Figure().subplots())
    assert [line.get_label() for line in ax.lines] == ["modes 0, 2 | 1", "modes 0 | 1, 2", "modes 2 | 0, 1", "modes 1 | 0, 2"]


def test_what_an_error_allows_to_lose_is_hollow():
    f = tlr.factorize(np.diag([4.0, 2.0, 1.0, 0.5]), "tt", ((2, 2), (2, 2)), "full")
    values = next(iter(f.singular_values().values()))
    rest = np.sqrt([np.sum(values[k:] ** 2) / np.sum(values**2) for k in range(len(values))])
    (whole,) = plot.singular_values(f, ax=Figure().subplots(), eps=1e-6).lines[:1]
    assert whole.get_markevery() == np.flatnonzero(rest > 0).tolist()
    ax = plot.singular_values(f, ax=Figure().subplots(), eps=(rest[0] + rest[1]) / 2)
    solid, hollow = ax.lines
    assert solid.get_markevery() == [0] and hollow.get_markerfacecolor() == "white"
    assert hollow.get_xdata().tolist() == list(range(2, len(values) + 1))
    assert len(ax.get_legend().get_texts()) == 1


def test_curves_that_there_are_not_are_refused():
    for loops in (
        tlr.TRMatrix.random(((2, 3, 5), (5, 2, 3)), 2, random_state=0),
        tlr.BTMatrix.random(((2, 3, 5), (5, 2, 3)), (2, 2), random_state=0),
        tlr.BTTensor.random((3, 4, 5), (2, 2), random_state=0),
    ):
        with pytest.raises(ValueError, match="^factorized must have no loops, which no bond cuts in two"):
            plot.singular_values(loops)
    with pytest.raises(TypeError, match=r"in factors without loops; expected a method singular_values, got ndarray\."):
        plot.singular_values(np.eye(3))
    line = tlr.TTMatrix.random(((2, 3), (5, 2)), 2, random_state=0)
    for eps in (-0.1, 0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"eps must be a relative error; expected a number between 0 and 1, got {eps}"):
            plot.singular_values(line, eps=eps)
    assert pyplot.get_fignums() == []


# -- compression -------------------------------------------------------------------------------------------------------------


def conversion():
    model = nn.Sequential(nn.Linear(48, 36), nn.Linear(36, 40), nn.Linear(40, 2), nn.Linear(2, 2, bias=False))
    _, report = factorize_module(model, factorization="tt", compression_ratio=8)
    return report


def test_a_conversion_is_drawn_layer_by_layer():
    report = conversion()
    assert report.kept and report.replaced
    ax = plot.compression_report(report, ax=Figure().subplots())
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.name for row in report]
    widths = {(round(bar.get_y() + bar.get_height() / 2), to_hex(bar.get_facecolor())): bar.get_width() for bar in ax.patches}
    expected = {(k, "#c8c8c8"): row.n_param_before for k, row in enumerate(report)}
    expected |= {(k, COLORS[0].lower()): row.n_param for k, row in enumerate(report) if row.replaced}
    assert widths == expected
    for row, text in zip(report, ax.texts, strict=True):
        if row.replaced:
            assert text.get_text() == f"{row.compression_ratio:.3g} times, error {row.error:.2g}"
        else:
            assert text.get_text().startswith(f"kept: {row.note[:20]}")
    ratio = report.n_param_before / report.n_param
    assert ax.get_title() == f"{report.n_param_before:,} to {report.n_param:,} parameters, {ratio:.3g} times fewer"
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] < min(widths.values()) < max(widths.values()) < ax.get_xlim()[1]
    # The model's order is from the top down, and every colour is named once.
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dense", "tt"]


def test_reports_of_nothing_are_empty_and_of_anything_else_refused():
    _, empty = factorize_module(nn.Sequential(nn.ReLU()), factorization="tt", rank=1)
    ax = plot.compression_report(empty, ax=Figure().subplots())
    assert not ax.patches and ax.get_title() == "0 to 0 parameters, 0 times fewer"
    with pytest.raises(
        TypeError, match="must be what factorize_module returns second; expected a ConversionReport, got Linear"
    ):
        plot.compression_report(nn.Linear(2, 2))


# -- conduct -----------------------------------------------------------------------------------------------------------------

DRAWINGS = [
    (plot.network, tlr.HTMatrix.random(((2, 3, 2), (3, 5, 2)), 2, random_state=0)),
    (plot.singular_values, tlr.TTMatrix.random(((2, 3, 2), (3, 5, 2)), 2, random_state=0)),
    (plot.error_against_parameters, {"tt": [(10, 0.5)]}),
    (plot.compression_report, conversion()),
]
every_plot = pytest.mark.parametrize(("draw", "data"), DRAWINGS, ids=[draw.__name__ for draw, _ in DRAWINGS])


@every_plot
def test_plots_return_the_axes_and_change_nothing_else(draw, data, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda *_: pytest.fail("shown"))
    settings = dict(matplotlib.rcParams)
    given = Figure().subplots()
    assert draw(data, ax=given) is given
    assert pyplot.get_fignums() == []
    new = draw(data)
    try:
        assert pyplot.get_fignums() == [new.figure.number]
    finally:
        pyplot.close(new.figure)
    assert dict(matplotlib.rcParams) == settings


@every_plot
def test_what_is_no_axes_is_refused(draw, data):
    for ax in (Figure(), pyplot, "here"):
        message = f"{draw.__name__}: ax must be matplotlib axes or None; expected what plt.subplots() returns second; got "
        with pytest.raises(TypeError, match=re.escape(message)):
            draw(data, ax=ax)


@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        (
            [(10, 0.5)],
            TypeError,
            "curves must be a mapping; expected sequences of (parameters, error) by name; got ((10, 0.5),)",
        ),
        ({0: [(10, 0.5)]}, TypeError, "curves must be named by strings; expected formats; got 0 of type int."),
        (
            {"tt": 3},
            TypeError,
            "curves['tt'] must be a sequence of points (parameters, error); expected pairs of numbers, got 3",
        ),
        ({"tt": [(10, 0.5), (10,)]}, TypeError, "expected pairs of numbers, got (10,) (at curves['tt'][1])."),
        ({"tt": [10, 0.5]}, TypeError, "expected pairs of numbers, got 10 (at curves['tt'][0])."),
        ({"tt": [("10", 0.5)]}, TypeError, "expected pairs of numbers, got ('10', 0.5) (at curves['tt'][0])."),
        *(
            ({"tt": [point]}, ValueError, f"expected finite ones, parameters above 0, errors not below, got {point}.")
            for point in ((0, 0.5), (-1, 0.5), (10, -0.5), (10, float("nan")), (float("inf"), 0.5))
        ),
    ],
)
def test_what_is_no_curve_is_refused(curves, error, message):
    with pytest.raises(error, match=".*" + re.escape(message)):
        plot.error_against_parameters(curves)
    assert pyplot.get_fignums() == []


def test_what_cannot_be_marked_is_refused():
    with pytest.raises(TypeError, match="^marked must be a sequence of points"):
        plot.error_against_parameters({}, marked=0.5)


@every_plot
def test_without_matplotlib_the_cure_is_named(draw, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'needs matplotlib: install it with pip install "tensorly-rnn\[plot\]"'):
        draw(data)


def test_importing_plots_imports_nothing_to_draw_with():
    code = "import sys, tensorly_rnn.plot; print({'matplotlib', 'networkx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_the_page_shows_the_pictures_that_it_draws():
    page = (Path(__file__).parent.parent / "docs" / "plots.md").read_text()
    shown = re.findall(r"\]\(images/(\w+\.png)\)", page)
    assert shown == re.findall(r'savefig\("(\w+\.png)"', page)
    assert all(f"plot.{name}(" in page for name in set(plot.__all__) - {"error_against_parameters"})
