"""Plots of networks, curves and conversions: their labels, counts, positions and errors."""

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
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn import plot
from tensorly_rnn.network import Network
from tensorly_rnn.nn import factorize_module
from tensorly_rnn.plot._axes import BLUE, COLORS, VERMILION
from tensorly_rnn.plot.diagram import RADIUS, REACH, STEP, TRIVIAL, _graph, _layout

SHAPE, RANKS = ((2, 3, 5, 7, 11), (23, 5, 3, 29, 2)), (14, 4, 3, 5, 12, 6, 7, 2)
EVERY = ("tt", "tr", "bt", "bt of 2 blocks", "ht", "ht of 4", "cp", "bt tensor")


def make(name, order):
    """Return a network with ranks of different sizes."""
    shape, leaves, nodes = tuple(side[:order] for side in SHAPE), RANKS[:order], RANKS[: 2 * order - 2]
    if name == "cp":
        numbers = range(1, order + 1)
        sizes = {"r": 5} | {f"{letter}{k}": side[k - 1] for letter, side in zip("ji", shape) for k in numbers}
        outputs, inputs = (tuple(f"{letter}{k}" for k in numbers) for letter in "ji")
        return Network(tuple(zip(outputs, inputs, ["r"] * order)), outputs, inputs, tuple(sorted(sizes.items())))
    if name == "bt tensor":
        return tlr.BTMatrix.format.make_tensor_network(shape[0], (3, leaves))
    rank = {
        "tt": (1, *RANKS[: order - 1], 1),
        "tr": (4, *RANKS[: order - 1], 4),
        "bt": (1, leaves),
        "bt of 2 blocks": (2, leaves),
    }
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


def lines(ax):
    """Return the lines between factors, shape (n, 2, 2)."""
    found = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    return [segment for collection in found for segment in collection.get_segments()]


def circles(ax):
    """Return the middles of the factors, and of the dots of shared indices."""
    first, *others = [one.get_offsets() for one in ax.collections if isinstance(one, PathCollection)]
    return first, [place for one in others for place in one]


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
    modes = ["$m_{1}=2$", "$m_{2}=3$", "$m_{3}=5$", "$n_{1}=23$", "$n_{2}=5$", "$n_{3}=3$"]
    assert sorted(texts(ax)) == sorted([*map(str, range(n_factors)), *ranks, *modes, *shared])
    factors, dots = circles(ax)
    assert (len(factors), len(dots), len(lines(ax))) == (n_factors, len(shared), len(ranks))
    # One arrow an open index, one dashed line from the dot to each factor.
    assert len(ax.patches) == len(modes) + len(shared) * n_factors


@pytest.mark.parametrize("name", EVERY)
def test_rows_leave_and_columns_enter(name):
    network = make(name, 4)
    ax = draw(network)
    ax.figure.canvas.draw()
    for color, letter, indices, reach in ((VERMILION, "m", network.outputs, RADIUS), (BLUE, "n", network.inputs, REACH)):
        arrows = [patch for patch in ax.patches if to_hex(patch.get_edgecolor()).upper() == color]
        starts = [np.linalg.norm(circles(ax)[0] - arrow.get_path().vertices[0], axis=1).min() for arrow in arrows]
        names = [index for index in indices if network.size[index] > 1 and network.inputs]
        assert starts == pytest.approx([reach] * len(names), rel=0.1)
        labels = [text.get_text() for text in ax.texts if text.get_color() == color]
        assert labels == [f"${letter if name[0] in 'ij' else name[0]}_{{{name[1]}}}={network.size[name]}$" for name in names]


@pytest.mark.parametrize("order", [2, 4, 5])
@pytest.mark.parametrize("name", EVERY)
def test_labels_are_apart(name, order):
    ax = draw(make(name, order))
    renderer = ax.figure.canvas.get_renderer()
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in ax.texts]
    for (one, first), (other, second) in itertools.combinations(boxes, 2):
        assert not first.overlaps(second), f"{one} is on {other}"
    middles, radius = (
        ax.transData.transform(circles(ax)[0]),
        RADIUS * np.diff(ax.transData.transform([(0, 0), (1, 0)])[:, 0])[0],
    )
    for text, box in boxes[len(middles) :]:
        assert np.linalg.norm(middles - np.clip(middles, box.min, box.max), axis=1).min() > radius, text
        assert ax.bbox.fully_containsx(box.x0) and ax.bbox.fully_containsx(box.x1), text


def places(name, order):
    network = make(name, order)
    at, _ = _layout(network, _graph(network))
    return np.array([at[k] for k in range(len(network.factors))])


def test_the_layout_is_that_of_the_graph():
    np.testing.assert_allclose(places("tt", 5), [[STEP * k, 0] for k in range(5)])
    ring = places("tr", 5)
    assert np.linalg.norm(ring - np.roll(ring, 1, axis=0), axis=1) == pytest.approx([STEP] * 5)
    assert np.linalg.norm(ring, axis=1) == pytest.approx([np.linalg.norm(ring[0])] * 5)
    star = places("bt", 5)
    assert star[0].tolist() == [0, 0] and np.linalg.norm(star[1:], axis=1) == pytest.approx([STEP] * 5)
    tree = places("ht", 5)
    for place, node in zip(tree, tlr.HTMatrix.format.nodes(5), strict=True):
        if node.children:
            below = tree[list(node.children)]
            assert below[:, 0].mean() == pytest.approx(place[0]) and np.ptp(below[:, 1]) < 1e-9 < place[1] - below[0, 1]


def test_other_graphs_are_drawn_too():
    rows = (("j1", "i1", "p1", "p4"), ("p1", "p2", "p5"), ("p2", "p6"), ("p4", "p3"), ("p3", "p5", "p7"), ("p7", "p6"))
    sizes = {"j1": 3, "i1": 2} | {f"p{k}": k + 1 for k in range(1, 8)}
    ladder = draw(Network(rows, ("j1",), ("i1",), tuple(sorted(sizes.items()))))
    assert len(lines(ladder)) == 7 and {f"$p_{{{k}}}={k + 1}$" for k in range(1, 8)} < set(texts(ladder))
    # A diagonal, an index that one factor sums alone, and an open index that two factors share.
    sizes = (("alone", 6), ("i1", 5), ("j1", 3), ("r", 2), ("s", 4))
    ax = draw(Network((("j1", "r", "r", "s"), ("i1", "s", "alone", "j1")), ("j1",), ("i1",), sizes))
    assert sorted(texts(ax)) == ["$m_{1}=3$", "$n_{1}=5$", "$r=2$", "$s=4$", "0", "1", "alone = 6"]
    assert len(circles(ax)[1]) == 3 and len(lines(ax)) == 1 and len(ax.patches) == 5
    # Several indices between two factors share a line.
    assert texts(draw(make("tr", 2)))[-1] == "$r_{0}=4$\n$r_{1}=14$"


def test_indices_of_size_one_are_left_out_except_where_they_join():
    ax = draw(tlr.TRMatrix.format.make_network(((1, 1, 4, 8), (8, 9, 1, 1)), (1, 4, 5, 6, 1)))
    open_ones, ranks = (
        ["$m_{3}=4$", "$m_{4}=8$", "$n_{1}=8$", "$n_{2}=9$"],
        [f"$r_{{{k}}}={r}$" for k, r in enumerate((1, 4, 5, 6))],
    )
    assert sorted(texts(ax)[4:]) == [*open_ones, *ranks]
    (collection,) = [one for one in ax.collections if isinstance(one, LineCollection)]
    assert [to_hex(color).upper() for color in collection.get_colors()].count(TRIVIAL) == 1
    apart = draw(make("cp", 3).resized({"r": 1}))
    assert len(texts(apart)) == 9 and lines(apart) == []


def test_everything_with_a_network_is_drawn_from_it():
    for factorized in (tlr.HTMatrix.random(((2, 3), (5, 2)), 2, random_state=0), tlr.random_ht((3, 4, 5), 2, random_state=0)):
        assert texts(draw(factorized)) == texts(draw(factorized.network))
    with pytest.raises(TypeError, match="^factorized must be a factorized matrix or tensor, or a Network; .* got ndarray"):
        plot.network(np.zeros((3, 3)))


def test_formats_keep_their_colours():
    def colors(*drawn):
        ax = plot.error_against_parameters({name: [(10, 0.5), (20, 0.1)] for name in drawn}, ax=new_axes())
        return {line.get_label(): line.get_color() for line in ax.lines}

    every = colors("tt", "tr", "bt", "ht", "cp", "svd")
    assert len(set(every.values())) == 6 and every["svd"] == "0.5"
    assert set(every.values()) - {"0.5"} < set(COLORS)
    for some in (("ht",), ("cp", "bt"), ("svd", "ht", "tr")):
        assert colors(*some) == {name: every[name] for name in some}


def test_the_baseline_does_not_set_the_scale():
    curves = {"tt": [(100, 0.5), (200, 0.25)], "svd": [(50 * k, 10.0**-k) for k in range(1, 9)]}
    ax = plot.error_against_parameters(curves, ax=new_axes())
    assert ax.get_ylim()[0] == pytest.approx(0.125) and ax.get_xlim()[1] == pytest.approx(260)
    assert [len(line.get_xdata()) for line in ax.lines] == [2, 8]


def test_cuts_are_named_by_the_modes_that_they_part():
    dense = np.random.default_rng(0).normal(size=(30, 30)) @ np.diag(0.6 ** np.arange(30))
    for name in ("tt", "ht"):
        f = tlr.factorize(dense, name, ((2, 3, 5), (5, 2, 3)), eps=1e-3)
        ax = plot.singular_values(f, ax=new_axes())
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
    ax = plot.singular_values(train, ax=new_axes())
    labels = [line.get_label() for line in ax.lines]
    assert labels[:2] == ["modes 1-8 | 0", "modes 2-8 | 0, 1"] and labels[-1] == "modes 8 | 0-7"
    assert len({(line.get_color(), line.get_marker()) for line in ax.lines}) == 8
    tensor = tlr.random_ht((3, 4, 5), 2, tree=((0, 2), 1), random_state=0)
    ax = plot.singular_values(tensor, ax=new_axes())
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
    for format, rank in ((tlr.TRMatrix, 2), (tlr.BTMatrix, (2, 2))):
        with pytest.raises(ValueError, match="^f must have no loops, which one cut does not split"):
            plot.singular_values(format.random(((2, 3, 5), (5, 2, 3)), rank, random_state=0))
    with pytest.raises(TypeError, match=r"in factors without loops; expected a method singular_values, got ndarray\."):
        plot.singular_values(np.eye(3))
    line = tlr.TTMatrix.random(((2, 3), (5, 2)), 2, random_state=0)
    for eps in (-0.1, 0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match=f"eps must be a relative error; expected a number between 0 and 1, got {eps}"):
            plot.singular_values(line, eps=eps)
    assert pyplot.get_fignums() == []


def conversion():
    model = nn.Sequential(nn.Linear(48, 36), nn.Linear(36, 40), nn.Linear(40, 2), nn.Linear(2, 2, bias=False))
    _, report = factorize_module(model, factorization="tt", compression_ratio=8)
    return report


def test_a_conversion_is_drawn_layer_by_layer():
    report = conversion()
    assert report.kept and report.replaced
    ax = plot.compression_report(report, ax=new_axes())
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
    ax = plot.compression_report(empty, ax=new_axes())
    assert not ax.patches and ax.get_title() == "0 to 0 parameters, 0 times fewer"
    with pytest.raises(TypeError, match="^report must be the second value .* expected a ConversionReport, got Linear"):
        plot.compression_report(nn.Linear(2, 2))


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
        message = "ax must be matplotlib axes or None; expected what plt.subplots() returns second; got "
        with pytest.raises(TypeError, match=re.escape(message)):
            draw(data, ax=ax)


PAIRS = "expected pairs of numbers, got "
FINITE = "expected finite numbers, parameters above 0 and errors of at least 0, got "


@pytest.mark.parametrize(
    ("curves", "error", "message"),
    [
        ([(10, 0.5)], TypeError, "curves must be a mapping; expected sequences of (parameters, error) by name; got ((10,"),
        ({0: [(10, 0.5)]}, TypeError, "curves must be named by strings; expected formats; got 0 of type int."),
        ({"tt": 3}, TypeError, f"curves['tt'] must be a sequence of points (parameters, error); {PAIRS}3"),
        ({"tt": [(10, 0.5), (10,)]}, TypeError, f"{PAIRS}(10,) (at curves['tt'][1])."),
        ({"tt": [10, 0.5]}, TypeError, f"{PAIRS}10 (at curves['tt'][0])."),
        ({"tt": [("10", 0.5)]}, TypeError, f"{PAIRS}('10', 0.5) (at curves['tt'][0])."),
        ({"tt": [(0, 0.5)]}, ValueError, f"{FINITE}(0, 0.5)."),
        ({"tt": [(10, -0.5)]}, ValueError, f"{FINITE}(10, -0.5)."),
        ({"tt": [(10, float("nan"))]}, ValueError, f"{FINITE}(10, nan)."),
        ({"tt": [(float("inf"), 0.5)]}, ValueError, f"{FINITE}(inf, 0.5)."),
    ],
)
def test_what_is_no_curve_is_refused(curves, error, message):
    with pytest.raises(error, match=re.escape(message)):
        plot.error_against_parameters(curves)
    assert pyplot.get_fignums() == []
    with pytest.raises(TypeError, match="^marked must be a sequence of points"):
        plot.error_against_parameters({}, marked=0.5)


@every_plot
def test_without_matplotlib_the_cure_is_named(draw, data, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r'needs matplotlib: install it with pip install "tensorly-rnn\[plot\]"'):
        draw(data)


def test_without_networkx_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    with pytest.raises(ImportError, match=r'needs networkx: install it with pip install "tensorly-rnn\[plot\]"'):
        plot.network(make("tt", 2))


def test_importing_plots_imports_nothing_to_draw_with():
    code = "import sys, tensorly_rnn.plot; print({'matplotlib', 'networkx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "set()"), done.stderr


def test_the_page_shows_the_pictures_that_it_draws():
    page = (Path(__file__).parent.parent / "docs" / "plots.md").read_text()
    shown = re.findall(r"\]\(images/(\w+\.png)\)", page)
    assert shown == re.findall(r'savefig\("(\w+\.png)"', page)
    assert all(f"plot.{name}(" in page for name in set(plot.__all__) - {"error_against_parameters"})
