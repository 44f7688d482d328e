"""Plots of networks, curves and conversions: their labels, counts, positions and errors."""

import itertools
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn import plot
from tensorly_rnn.network import Network
from tensorly_rnn.nn import factorize_module
from tensorly_rnn.plot._axes import BLUE, COLORS, VERMILION
from tensorly_rnn.plot.diagram import LINE, RADIUS, SHARED, STEP, TRIVIAL, _graph, _layout

SHAPE, RANKS = ((2, 3, 5, 7, 11), (23, 5, 3, 29, 2)), (14, 4, 3, 5, 12, 6, 7, 2)
EVERY = ("tt", "tr", "bt", "bt of 2 blocks", "ht", "ht of 4", "cp", "bt tensor")


def make(name, order):
    """Return a network with ranks of different sizes."""
    shape, leaves, nodes = tuple(side[:order] for side in SHAPE), RANKS[:order], RANKS[: 2 * order - 2]
    if name == "cp":
        outputs, inputs = (tuple(f"{letter}{k}" for k in range(1, order + 1)) for letter in "ji")
        sizes = {"r": 5} | dict(zip((*outputs, *inputs), itertools.chain(*shape)))
        return Network(tuple(zip(outputs, inputs, ["r"] * order)), outputs, inputs, tuple(sorted(sizes.items())))
    if name == "bt tensor":
        return tlr.BTMatrix.format.make_tensor_network(shape[0], (3, leaves))
    between = RANKS[: order - 1]
    rank = {"tt": (1, *between, 1), "tr": (4, *between, 4), "bt": (1, leaves), "bt of 2 blocks": (2, leaves)}
    return tlr.get_format(name[:2]).format.make_network(shape, rank.get(name, (4 if "of 4" in name else 1, *nodes)))


def new_axes():
    return Figure().subplots()


def draw(network):
    """Draw on a figure that pyplot does not manage, large enough to measure."""
    figure = Figure(figsize=(12, 12))
    FigureCanvasAgg(figure)
    return plot.network(network, ax=figure.add_axes((0, 0, 1, 1)))


def texts(ax):
    return [text.get_text() for text in ax.texts]


def lines(ax, color=LINE):
    return [line for line in ax.patches if to_hex(line.get_edgecolor()).upper() == color]


def middles(ax):
    """Return the middles of the factors."""
    (found,) = [one.get_offsets() for one in ax.collections if isinstance(one, PathCollection)]
    return found


@pytest.mark.parametrize(
    ("name", "n_factors", "ranks", "shared"),
    [
        ("tt", 3, ["$r_{1}=14$", "$r_{2}=4$"], []),
        ("tr", 3, ["$r_{0}=4$", "$r_{1}=14$", "$r_{2}=4$"], []),
        ("bt", 4, ["$r_{1}=14$", "$r_{2}=4$", "$r_{3}=3$"], []),
        ("bt of 2 blocks", 4, ["$r_{1}=14$", "$r_{2}=4$", "$r_{3}=3$"], ["$n=2$"]),
        ("ht", 5, ["$r_{1}=14$", "$r_{2}=4$", "$r_{3}=3$", "$r_{4}=5$"], []),
        ("cp", 3, [], ["$r=5$"]),
    ],
)
def test_every_factor_and_index_is_drawn_once(name, n_factors, ranks, shared):
    ax = draw(make(name, 3))
    modes = {VERMILION: ["$m_{1}=2$", "$m_{2}=3$", "$m_{3}=5$"], BLUE: ["$n_{1}=23$", "$n_{2}=5$", "$n_{3}=3$"]}
    assert sorted(texts(ax)) == sorted([*map(str, range(n_factors)), *ranks, *itertools.chain(*modes.values()), *shared])
    counts = [len(lines(ax, color)) for color in (LINE, SHARED)]
    assert [len(middles(ax)), *counts] == [n_factors, len(ranks), len(shared) * n_factors]
    ax.figure.canvas.draw()
    # Rows begin at their factor, columns end there, with a head that is beyond the line.
    for (color, labels), end in zip(modes.items(), (0, -1)):
        assert [text.get_text() for text in ax.texts if text.get_color() == color] == labels
        ends = [np.linalg.norm(middles(ax) - arrow.get_path().vertices[:3][end], axis=1).min() for arrow in lines(ax, color)]
        assert len(ends) == 3 and all(RADIUS * 0.9 < reach < RADIUS * 2.2 for reach in ends)


@pytest.mark.parametrize("order", [2, 4, 5])
@pytest.mark.parametrize("name", EVERY)
def test_labels_are_apart(name, order):
    ax = draw(make(name, order))
    renderer = ax.figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in ax.texts]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one} is on {other}"
    centres, radius = ax.transData.transform(middles(ax)), RADIUS * ax.transData.get_matrix()[0, 0]
    for text, box in boxes[len(centres) :]:
        assert np.linalg.norm(centres - np.clip(centres, box.min, box.max), axis=1).min() > radius, text
        assert ax.bbox.fully_containsx(box.x0) and ax.bbox.fully_containsx(box.x1), text


def test_the_layout_is_that_of_the_graph():
    places = {}
    for name in ("tt", "tr", "bt", "ht"):
        at = _layout(_graph(make(name, 5)))
        places[name] = np.array([at[k] for k in range(len(at) - len(SHAPE[0] + SHAPE[1]))])
    np.testing.assert_allclose(places["tt"], [[STEP * k, 0] for k in range(5)])
    around = np.linalg.norm(places["tr"] - np.roll(places["tr"], 1, axis=0), axis=1)
    assert around == pytest.approx([STEP] * 5, rel=0.05)
    below = {k: list(node.children) for k, node in enumerate(tlr.HTMatrix.format.nodes(5)) if node.children}
    for name, parent, children in [("bt", 0, [1, 2, 3, 4, 5]), *(("ht", *one) for one in below.items())]:
        (x, y), found = places[name][parent], places[name][children]
        assert found[:, 0].mean() == pytest.approx(x) and found[:, 1] == pytest.approx([y - STEP] * len(children))


def test_other_graphs_are_drawn_too():
    rows = (("j1", "i1", "p1", "p4"), ("p1", "p2", "p5"), ("p2", "p6"), ("p4", "p3"), ("p3", "p5", "p7"), ("p7", "p6"))
    sizes = {"j1": 3, "i1": 2} | {f"p{k}": k + 1 for k in range(1, 8)}
    ladder = draw(Network(rows, ("j1",), ("i1",), tuple(sorted(sizes.items()))))
    assert len(lines(ladder)) == 7 and {f"$p_{{{k}}}={k + 1}$" for k in range(1, 8)} < set(texts(ladder))
    # A diagonal, an index that one factor sums alone, and an open index that two factors share.
    sizes = (("alone", 6), ("i1", 5), ("j1", 3), ("r", 2), ("s", 4))
    ax = draw(Network((("j1", "r", "r", "s"), ("i1", "s", "alone", "j1")), ("j1",), ("i1",), sizes))
    assert sorted(texts(ax)) == ["$m_{1}=3$", "$n_{1}=5$", "$r=2$", "$s=4$", "0", "1", "alone = 6"]
    assert [len(lines(ax, color)) for color in (LINE, SHARED, VERMILION, BLUE)] == [1, 4, 0, 1]
    tensor = tlr.random_ht((3, 4, 5), 2, random_state=0)
    assert texts(draw(tensor)) == texts(draw(tensor.network))
    # Several indices between two factors share a line.
    assert texts(draw(make("tr", 2)))[-1] == "$r_{0}=4$\n$r_{1}=14$"


def test_indices_of_size_one_are_left_out_except_where_they_join():
    ax = draw(tlr.TRMatrix.format.make_network(((1, 1, 4, 8), (8, 9, 1, 1)), (1, 4, 5, 6, 1)))
    ranks = [f"$r_{{{k}}}={r}$" for k, r in enumerate((1, 4, 5, 6))]
    assert sorted(texts(ax)[4:]) == ["$m_{3}=4$", "$m_{4}=8$", "$n_{1}=8$", "$n_{2}=9$", *ranks]
    assert [len(lines(ax)), len(lines(ax, TRIVIAL))] == [3, 1]
    apart = draw(make("cp", 3).resized({"r": 1}))
    assert len(texts(apart)) == 9 and lines(apart) == []


def test_formats_keep_their_colours_and_the_baseline_does_not_set_the_scale():
    def curves(*names):
        return plot.error_against_parameters({name: [(100, 0.5), (200, 0.25)] for name in names}, ax=new_axes()).lines

    every = {line.get_label(): line.get_color() for line in curves("tt", "tr", "bt", "ht", "cp", "svd")}
    assert len(set(every.values())) == 6 and every["svd"] == "0.5" and set(every.values()) - {"0.5"} < set(COLORS)
    for some in (("ht",), ("cp", "bt"), ("svd", "ht", "tr")):
        assert {line.get_label(): line.get_color() for line in curves(*some)} == {name: every[name] for name in some}
    baseline = {"tt": [(100, 0.5), (200, 0.25)], "svd": [(50 * k, 10.0**-k) for k in range(1, 9)], "exact": [(9, 0.0)]}
    ax = plot.error_against_parameters(baseline, ax=new_axes())
    assert ax.get_ylim()[0] == pytest.approx(0.125) and ax.get_xlim()[1] == pytest.approx(260)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 8]


@pytest.mark.parametrize("name", ["tt", "ht"])
def test_cuts_are_named_by_the_modes_that_they_part(name):
    dense = np.random.default_rng(0).normal(size=(30, 30)) @ np.diag(0.6 ** np.arange(30))
    f = tlr.factorize(dense, name, ((2, 3, 5), (5, 2, 3)), eps=1e-3)
    ax = plot.singular_values(f, ax=new_axes())
    tensor = f.to_tensor().transpose(0, 3, 1, 4, 2, 5).reshape(10, 6, 15)
    assert len(ax.lines) == len(f.singular_values())
    for line in ax.lines:
        near = [int(mode) for mode in line.get_label().removeprefix("modes ").partition(" | ")[0].split(", ")]
        unfolding = np.moveaxis(tensor, near, range(len(near))).reshape(np.prod([tensor.shape[mode] for mode in near]), -1)
        values = np.linalg.svd(unfolding, compute_uv=False)
        np.testing.assert_allclose(line.get_ydata(), (values / values[0])[: len(line.get_ydata())], atol=1e-10)
    assert [mark.get_segments()[0][0, 0] for mark in ax.collections] == [len(line.get_xdata()) for line in ax.lines]


def test_tensors_and_long_trains_have_cuts_too():
    lines = plot.singular_values(tlr.TTMatrix.random(((2,) * 9, (3,) * 9), 4, random_state=0), ax=new_axes()).lines
    labels = [line.get_label() for line in lines]
    assert labels[:2] == ["modes 1-8 | 0", "modes 2-8 | 0, 1"] and labels[-1] == "modes 8 | 0-7"
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 8
    lines = plot.singular_values(tlr.random_ht((3, 4, 5), 2, tree=((0, 2), 1), random_state=0), ax=new_axes()).lines
    assert [line.get_label() for line in lines] == ["modes 0, 2 | 1", "modes 0 | 1, 2", "modes 2 | 0, 1", "modes 1 | 0, 2"]


def test_values_that_an_error_allows_to_lose_are_hollow():
    f = tlr.factorize(np.diag([4.0, 2.0, 1.0, 0.5]), "tt", ((2, 2), (2, 2)), "full")
    values = next(iter(f.singular_values().values()))
    rest = np.sqrt([np.sum(values[k:] ** 2) / np.sum(values**2) for k in range(len(values))])
    (whole,) = plot.singular_values(f, ax=new_axes(), eps=1e-6).lines[:1]
    assert whole.get_markevery() == np.flatnonzero(rest > 0).tolist()
    ax = plot.singular_values(f, ax=new_axes(), eps=(rest[0] + rest[1]) / 2)
    solid, hollow = ax.lines
    assert solid.get_markevery() == [0] and hollow.get_markerfacecolor() == "white"
    assert hollow.get_xdata().tolist() == list(range(2, len(values) + 1)) and len(ax.get_legend().get_texts()) == 1


def conversion():
    model = nn.Sequential(nn.Linear(48, 36), nn.Linear(36, 40), nn.Linear(40, 2), nn.Linear(2, 2, bias=False))
    return factorize_module(model, factorization="tt", compression_ratio=8)[1]


def test_a_conversion_is_drawn_layer_by_layer():
    report = conversion()
    assert report.kept and report.replaced
    ax = plot.compression_report(report, ax=new_axes())
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.name for row in report]
    widths = {(round(bar.get_y() + bar.get_height() / 2), to_hex(bar.get_facecolor())): bar.get_width() for bar in ax.patches}
    expected = {(k, "#c8c8c8"): row.n_param_before for k, row in enumerate(report)}
    assert widths == expected | {(k, COLORS[0].lower()): row.n_param for k, row in enumerate(report) if row.replaced}
    for row, text in zip(report, ax.texts, strict=True):
        beside = f"{row.compression_ratio:.3g} times, error {row.error:.2g}" if row.replaced else f"kept: {row.note[:20]}"
        assert text.get_text().startswith(beside)
    ratio = report.n_param_before / report.n_param
    assert ax.get_title() == f"{report.n_param_before:,} to {report.n_param:,} parameters, {ratio:.3g} times fewer"
    assert ax.get_xscale() == "log" and ax.get_xlim()[0] < min(widths.values()) < max(widths.values()) < ax.get_xlim()[1]
    # The model's order is from the top down, and every colour is named once.
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["dense", "tt"]
    empty = plot.compression_report(factorize_module(nn.ReLU(), factorization="tt", rank=1)[1], ax=new_axes())
    assert not empty.patches and empty.get_title() == "0 to 0 parameters, 0 times fewer"


CURVES, CUTS, MODES = plot.error_against_parameters, plot.singular_values, ((2, 3, 2), (3, 5, 2))
LOOPS = {"tr": tlr.TRMatrix.random(MODES, 2, random_state=0), "bt": tlr.BTMatrix.random(MODES, (2, 2), random_state=0)}
DRAWN = {plot.network: LOOPS["tr"], CUTS: tlr.TTMatrix.random(MODES, 2, random_state=0)}
DRAWN |= {CURVES: {"tt": [(10, 0.5)]}, plot.compression_report: conversion()}


@pytest.mark.parametrize(("draw", "data"), DRAWN.items(), ids=[draw.__name__ for draw in DRAWN])
def test_plots_return_the_axes_and_change_nothing_else(draw, data, monkeypatch):
    monkeypatch.setattr(pyplot, "show", lambda *_: pytest.fail("shown"))
    settings, given = dict(matplotlib.rcParams), new_axes()
    assert draw(data, ax=given) is given and pyplot.get_fignums() == []
    new = draw(data)
    assert pyplot.get_fignums() == [new.figure.number]
    pyplot.close(new.figure)
    assert dict(matplotlib.rcParams) == settings
    message = "^ax must be matplotlib axes or None; expected what plt.subplots.. returns second; got "
    for ax in (Figure(), pyplot, "here"):
        with pytest.raises(TypeError, match=message):
            draw(data, ax=ax)
    for missing in ["matplotlib", "networkx"] if draw is plot.network else ["matplotlib"]:
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ImportError, match=rf'needs {missing}: install it with pip install "tensorly-rnn\[plot\]"'):
            draw(data)
        monkeypatch.undo()


PAIRS = "must be a sequence of points (parameters, error); expected pairs of finite numbers, parameters above 0 and errors of "


@pytest.mark.parametrize(
    ("draw", "data", "error", "message"),
    [
        (plot.network, np.zeros((3, 3)), TypeError, "factorized must be a factorized matrix or tensor, or a Network;"),
        *((CUTS, LOOPS[format], ValueError, "f must have no loops, which one cut does not split") for format in ("tr", "bt")),
        (CUTS, np.eye(3), TypeError, "factorized must be a matrix or tensor in factors without loops; expected a method"),
        *(
            (partial(CUTS, eps=eps), DRAWN[CUTS], ValueError, "eps must be a relative error;")
            for eps in (-0.1, 0.0, 1.0, np.nan)
        ),
        (plot.compression_report, nn.Linear(2, 2), TypeError, "report must be the second value that factorize_module returns"),
        (CURVES, [(10, 0.5)], TypeError, "curves must be a mapping; expected sequences of (parameters, error) by name; got"),
        (CURVES, {0: [(10, 0.5)]}, TypeError, "curves must be named by strings; expected formats; got 0 of type int."),
        (partial(CURVES, marked=0.5), {}, TypeError, f"marked {PAIRS}"),
        *(
            (CURVES, {"tt": p}, TypeError, f"curves['tt'] {PAIRS}at least 0, got {p!r}.")
            for p in (3, [(10,)], [1, 2], [("x", 1)])
        ),
        *((CURVES, {"tt": [p]}, ValueError, f"curves['tt'] {PAIRS}") for p in ((0, 0.5), (9, -0.5), (9, np.nan), (np.inf, 1))),
    ],
)
def test_data_that_cannot_be_drawn_are_refused(draw, data, error, message):
    with pytest.raises(error, match=f"^{re.escape(message)}"):
        draw(data)
    assert pyplot.get_fignums() == []


def test_importing_plots_imports_nothing_to_draw_with():
    code = "import sys, tensorly_rnn.plot; print({'matplotlib', 'networkx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_the_page_shows_the_pictures_that_it_draws():
    page = (Path(__file__).parent.parent / "docs" / "plots.md").read_text()
    assert re.findall(r"\]\(images/(\w+\.png)\)", page) == re.findall(r'savefig\("(\w+\.png)"', page)
    assert all(f"plot.{name}(" in page for name in set(plot.__all__) - {"error_against_parameters"})
