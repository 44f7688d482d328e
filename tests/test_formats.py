"""A format is a value: equal, hashable, without state; matrices pickled before formats were values still load."""

import base64
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

import tensorly_rnn as tlr
from tensorly_rnn.formats import Format

PICKLED = json.loads((Path(__file__).parent / "data" / "pickles.json").read_text())
FORMATS = {name: tlr.get_format(name).format for name in tlr.available_formats()}


@pytest.mark.parametrize("name", PICKLED)
def test_pickles_of_version_0_1_load(name):
    stored = PICKLED[name]
    f = pickle.loads(base64.b64decode(stored["pickle"]))
    dense = f.to_matrix() if hasattr(f, "to_matrix") else f.to_tensor()
    assert (type(f).__name__, list(f.shape)) == (stored["class"], stored["shape"])
    assert np.sum(dense**2) == pytest.approx(stored["sum_of_squares"])
    assert isinstance(f.format, Format)


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_an_equal_hashable_frozen_value(name):
    format = FORMATS[name]
    copy = pickle.loads(pickle.dumps(format))
    assert copy == format and hash(copy) == hash(format) and copy == type(format)()
    assert all(format != other for key, other in FORMATS.items() if key != name)
    with pytest.raises(AttributeError, match="cannot assign to field"):
        format.tree = None


def test_a_tree_is_a_field_and_the_balanced_one_is_none():
    ht = FORMATS["ht"]
    on_tree, options = ht.with_options({"tree": [[0, 2], 1], "root_rank": 3}, 3)
    assert on_tree == type(ht)(((0, 2), 1)) != ht and options == {"root_rank": 3}
    assert ht.with_options({"tree": (0, (1, 2))}, 3) == (ht, {})
    assert tlr.HTMatrix(tlr.HTMatrix.random(((2,) * 3, (2,) * 3), 2).factors, tree=(0, (1, 2))).format == ht
    with pytest.raises(ValueError, match="tree must have one leaf per mode; expected 4 leaves, got .* with 3"):
        ht.with_options({"tree": ((0, 2), 1)}, 4)


@pytest.mark.parametrize(
    ("name", "order", "names"),
    [
        ("tt", 2, ("r0", "r1", "r2")),
        ("tr", 2, ("r0", "r1", "r0")),
        ("bt", 3, ("n", ("r1", "r2", "r3"))),
        ("ht", 2, ("r0", "r1", "r2")),
    ],
)
def test_rank_names(name, order, names):
    assert FORMATS[name].rank_names(order) == names


@pytest.mark.parametrize(
    ("name", "rank"),
    [("tt", (1, 6, 35, 5, 1)), ("tr", (1, 6, 35, 5, 1)), ("bt", (1, (6, 10, 7, 5))), ("ht", (1, 35, 35, 6, 10, 7, 5))],
)
def test_full_ranks(name, rank):
    assert FORMATS[name].full((6, 10, 7, 5)) == rank


def test_an_int_a_uniform_rank_and_the_number_of_modes():
    shape = ((2, 3, 5), (3, 5, 2))
    explicit = {name: format.explicit_rank(shape, 100) for name, format in FORMATS.items()}
    assert explicit == {"bt": (1, (100,) * 3), "ht": (1, *(100,) * 4), "tr": (100,) * 4, "tt": (1, 100, 100, 1)}
    uniform = {name: format.uniform_rank(shape, 8) for name, format in FORMATS.items()}
    assert uniform == {"bt": (1, (6, 8, 8)), "ht": (1, 6, 6, 8, 8), "tr": (8,) * 4, "tt": (1, 6, 8, 1)}
    assert {name: [format.order_of(n) for n in (1, 2, 3, 4)] for name, format in FORMATS.items()} == {
        "bt": [None, 1, 2, 3],
        "ht": [1, None, 2, None],
        "tr": [1, 2, 3, 4],
        "tt": [1, 2, 3, 4],
    }
