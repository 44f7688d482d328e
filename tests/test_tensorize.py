"""Integers and reshapes."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorly.backend import BackendManager

import tensorly_rnn as tlr
from tensorly_rnn.tensorize import covering_box, crop_matrix, disjoint_boxes, pad_matrix

NUMPY = BackendManager.load_backend("numpy")
modes = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


@given(size=st.integers(1, 100_000), order=st.integers(1, 6))
def test_factorize_size_holds_the_size_in_balanced_modes(size, order):
    found = tlr.factorize_size(size, order)
    assert len(found) == order
    assert list(found) == sorted(found, reverse=True)
    assert size <= math.prod(found) <= size + max(1, size // 8)
    if order == 1:
        assert found == (size,)


@given(st.integers(4, 100_000))
def test_factorize_size_is_balanced_where_it_pays(size):
    # Even a prime is padded to something better than (size, 1).
    assert sum(tlr.factorize_size(size, 2)) <= 3 * math.sqrt(size) + 1


@pytest.mark.parametrize(
    ("size", "order", "expected"),
    [
        (57600, 4, (16, 16, 15, 15)),
        (256, 4, (4, 4, 4, 4)),
        (61440, 4, (16, 16, 16, 15)),
        (1, 3, (1, 1, 1)),
        (7, 3, (2, 2, 2)),
        (2**20, 4, (32, 32, 32, 32)),
    ],
)
def test_factorize_size_on_known_sizes(size, order, expected):
    assert tlr.factorize_size(size, order) == expected


def test_factorize_size_refuses_what_is_no_size():
    with pytest.raises(ValueError, match="^size must be a positive integer; expected at least 1, got 0"):
        tlr.factorize_size(0, 2)
    with pytest.raises(TypeError, match="order must be a positive integer; expected int, got 2.0 of type float"):
        tlr.factorize_size(8, 2.0)


def test_separate_modes():
    assert tlr.separate_modes([4, 2], np.array([3, 5, 7])) == ((1, 1, 1, 4, 2), (3, 5, 7, 1, 1))
    with pytest.raises(ValueError, match=r"out_modes\[1\] must be a positive integer"):
        tlr.separate_modes((4, 0), (3,))
    with pytest.raises(TypeError, match="in_modes must be a sequence of positive integers; .* got 3 of type int"):
        tlr.separate_modes((4,), 3)


@st.composite
def ranges(draw):
    sizes = draw(modes)
    start, stop = sorted(draw(st.tuples(*[st.integers(0, math.prod(sizes))] * 2)))
    return sizes, start, stop


def flat(sizes, box):
    weights = [math.prod(sizes[k + 1 :]) for k in range(len(sizes))]
    positions = itertools.product(*(range(piece.start, piece.stop) for piece in box))
    return [sum(index * weight for index, weight in zip(position, weights)) for position in positions]


@given(ranges())
def test_disjoint_boxes_hold_exactly_the_range(drawn):
    sizes, start, stop = drawn
    boxes = disjoint_boxes(sizes, start, stop)
    assert sorted(index for box in boxes for index in flat(sizes, box)) == list(range(start, stop))
    assert len(boxes) <= 2 * len(sizes) - 1


@given(ranges().filter(lambda drawn: drawn[1] < drawn[2]))
def test_covering_box_is_one_piece_around_the_range(drawn):
    sizes, start, stop = drawn
    box, offset = covering_box(sizes, start, stop)
    held = flat(sizes, box)
    assert held == list(range(offset, offset + len(held)))
    assert offset <= start
    assert stop <= offset + len(held)
    # Whatever the range, a sub-block of the leading modes that it fills is not enlarged.
    if start == 0 and stop == math.prod(sizes):
        assert offset == 0


def test_covering_box_of_a_multiple_of_the_trailing_modes_is_exact():
    assert covering_box((16, 16, 16, 15), 0, 57600) == ((slice(0, 15), slice(0, 16), slice(0, 16), slice(0, 15)), 0)


@given(stack=st.integers(1, 3), rows=st.integers(1, 4), columns=st.integers(1, 4), more=st.integers(0, 2))
def test_padding_comes_off_again(stack, rows, columns, more):
    matrix = np.arange(1.0, stack * rows * columns + 1).reshape(stack * rows, columns)
    padded = pad_matrix(NUMPY, matrix, (stack * (rows + more), columns + 1), stack)
    assert padded.shape == (stack * (rows + more), columns + 1)
    blocks = padded.reshape(stack, rows + more, columns + 1)
    assert (blocks[:, :rows, :columns].reshape(stack * rows, columns) == matrix).all()
    assert padded.sum() == matrix.sum()
    assert (crop_matrix(NUMPY, padded, matrix.shape, stack) == matrix).all()
