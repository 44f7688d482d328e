"""Modes of matrices: factorization of sizes, padding and cropping, boxes of a multi-index."""

import math
from typing import Any

from tensorly_rnn._backend import context
from tensorly_rnn._checks import MOST_MODES, plain, positive_int, positive_ints
from tensorly_rnn._memoize import memoize

Modes = tuple[int, ...]
TensorizedShape = tuple[Modes, Modes]


def factorize_size(size: int, order: int) -> Modes:
    r"""Factorize a size, or a slightly larger one, into balanced modes.

    The result is the first ``product >= size`` with a factorization into `order` modes whose sum is within 15 % of the lower
    bound ``order * product ** (1 / order)``. If there is none up to 1/8 above `size`, the sum of both excesses is minimized.

    Parameters
    ----------
    size, order : int
        Number of rows or columns, and of modes, which are in descending order.

    Notes
    -----
    Balanced modes give fewer parameters, and padding by a few zeros is cheap: 257 = 257 x 1 x 1 is exact but does not
    compress, so 13 x 5 x 4 = 260 is used.

    Examples
    --------
    >>> factorize_size(57600, 4)
    (16, 16, 15, 15)
    >>> factorize_size(2048, 4)
    (8, 8, 8, 4)
    >>> factorize_size(257, 3)
    (13, 5, 4)
    """
    size = positive_int("size", size)
    order = positive_int("order", order, most=MOST_MODES)
    candidates = []
    for product in range(size, size + max(1, size // 8) + 1):
        modes = _balanced_modes(product, order)
        imbalance = sum(modes) / (order * product ** (1 / order))
        if imbalance <= 1.15:
            return modes
        candidates.append((imbalance + (product - size) / size, modes))
    return min(candidates)[1]


def default_order(rows: int, columns: int) -> int:
    """Return a number of modes for a matrix of that size, with modes of about 8 on the longer side."""
    return max(2, round(math.log(max(rows, columns), 8)))


def separate_modes(out_modes: Modes, in_modes: Modes) -> TensorizedShape:
    r"""Return modes in which every input and every output has a core of its own, inputs first.

    Mode k of a tensorized matrix is a pair ``(m_k, n_k)``; here one of the two is always 1, as in the tensor ring LSTM [1]_.

    ``((1,) * len(in_modes) + out_modes, in_modes + (1,) * len(out_modes))``

    Parameters
    ----------
    out_modes, in_modes : tuple of int, lengths may differ
        Factors of the number of rows and of columns.

    References
    ----------
    .. [1] Pan et al., Compressing recurrent neural networks with tensor ring for action recognition, AAAI 2019.

    Examples
    --------
    >>> separate_modes((4, 2), (3, 5, 7))
    ((1, 1, 1, 4, 2), (3, 5, 7, 1, 1))
    """
    out_modes = positive_ints("out_modes", out_modes)
    in_modes = positive_ints("in_modes", in_modes)
    return (1,) * len(in_modes) + out_modes, in_modes + (1,) * len(out_modes)


def validate_tensorized_shape(tensorized_shape: object) -> TensorizedShape:
    """Return a pair of sequences of positive integers of equal length as two tuples of plain ints."""
    cure = "Give (out_modes, in_modes), for example ((4, 4), (8, 8)) for a 16 x 64 matrix."
    if isinstance(tensorized_shape, (str, bytes)) or not isinstance(tensorized_shape, (list, tuple)):
        raise TypeError(
            f"tensorized_shape must be a pair of mode sequences; expected (out_modes, in_modes), "
            f"got {tensorized_shape!r} of type {type(tensorized_shape).__name__}. {cure}"
        )
    if len(tensorized_shape) != 2:
        raise ValueError(
            f"tensorized_shape must be a pair of mode sequences; expected 2 entries, "
            f"got {len(tensorized_shape)}: {plain(tensorized_shape)}. {cure}"
        )
    out_modes = positive_ints("tensorized_shape[0]", tensorized_shape[0], cure=cure)
    in_modes = positive_ints("tensorized_shape[1]", tensorized_shape[1], cure=cure)
    if len(out_modes) != len(in_modes):
        raise ValueError(
            f"tensorized_shape must pair every out mode with an in mode; expected equal lengths, got "
            f"{len(out_modes)} out modes {out_modes} and {len(in_modes)} in modes {in_modes}. Pad the shorter with 1, "
            "or use separate_modes(out_modes, in_modes) to give every input and output a mode of its own."
        )
    return out_modes, in_modes


def validate_shape(shape: object, padded: tuple[int, int], per_stack: int = 1) -> tuple[int, int]:
    """Return the true ``(rows, columns)`` of a matrix whose modes multiply to `padded`, which they must not exceed.

    With ``per_stack > 1`` the rows are a stack of that many equal blocks, each with its own padding.
    """
    if shape is None:
        return padded
    rows, columns = positive_ints("shape", shape, length=2)
    for argument, true, product in (("rows", rows, padded[0]), ("columns", columns, padded[1])):
        if true > product:
            side = "out" if argument == "rows" else "in"
            raise ValueError(
                f"tensorized_shape must hold the whole matrix; expected {side} modes with a product of at "
                f"least {true} {argument}, got {product}. Enlarge a mode; the excess is padded with zeros."
            )
    if rows % per_stack:
        raise ValueError(f"shape must have rows that divide into the stack; expected a multiple of {per_stack}, got {rows}.")
    return rows, columns


def pad_blocks(backend: Any, array: Any, size: int, blocks: int = 1) -> Any:
    """Pad the last axis, which consists of equal blocks, to `size` with zeros at the end of each block."""
    if array.shape[-1] == size:
        return array
    leading = tuple(array.shape[:-1])
    apart = backend.reshape(array, (*leading, blocks, array.shape[-1] // blocks))
    return backend.reshape(pad_axis(backend, apart, len(leading) + 1, size // blocks), (*leading, size))


def crop_blocks(backend: Any, array: Any, size: int, blocks: int = 1) -> Any:
    """Undo `pad_blocks`: keep the first ``size // blocks`` entries of each block of the last axis."""
    if array.shape[-1] == size:
        return array
    leading = tuple(array.shape[:-1])
    apart = backend.reshape(array, (*leading, blocks, array.shape[-1] // blocks))
    return backend.reshape(apart[..., : size // blocks], (*leading, size))


def pad_matrix(backend: Any, matrix: Any, padded: tuple[int, int], stack: int = 1) -> Any:
    """Pad a matrix with zeros to `padded`: columns at the end, rows at the end of each of `stack` equal blocks."""
    if tuple(matrix.shape) == padded:
        return matrix
    wide = pad_axis(backend, matrix, 1, padded[1])
    return backend.transpose(pad_blocks(backend, backend.transpose(wide, (1, 0)), padded[0], stack), (1, 0))


def crop_matrix(backend: Any, matrix: Any, shape: tuple[int, int], stack: int = 1) -> Any:
    """Undo `pad_matrix`: return the ``shape[0] // stack`` first rows of each block and the first columns."""
    if tuple(matrix.shape) == shape:
        return matrix
    narrow = matrix[:, : shape[1]]
    return backend.transpose(crop_blocks(backend, backend.transpose(narrow, (1, 0)), shape[0], stack), (1, 0))


def pad_axis(backend: Any, array: Any, axis: int, size: int, start: int = 0) -> Any:
    """Pad an axis with zeros to `size`; the array begins at `start`, by default in front."""
    missing = size - array.shape[axis]
    if not missing:
        return array

    def zeros(length: int) -> list[Any]:
        shape = tuple(length if k == axis else n for k, n in enumerate(array.shape))
        return [backend.zeros(shape, **context(backend, array))] if length else []

    return backend.concatenate([*zeros(start), array, *zeros(missing - start)], axis=axis)


def pad_axes(backend: Any, array: Any, shape: tuple[int, ...]) -> Any:
    """Pad an array with zeros at the end of every axis to `shape`."""
    for axis, size in enumerate(shape):
        array = pad_axis(backend, array, axis, size)
    return array


def covering_box(modes: Modes, start: int, stop: int) -> tuple[tuple[slice, ...], int]:
    """Return the smallest contiguous box of a row-major multi-index that contains the non-empty flat range ``[start, stop)``.

    It has one slice per mode (leading modes fixed, one cut, the following whole); the second result is the flat index of its
    first entry.

    Examples
    --------
    >>> covering_box((4, 5), 11, 14)
    ((slice(2, 3, None), slice(1, 4, None)), 11)
    >>> covering_box((4, 5), 3, 7)
    ((slice(0, 2, None), slice(0, 5, None)), 0)
    """
    slices: list[slice] = []
    offset = 0
    below = math.prod(modes)
    whole = False
    for mode in modes:
        below //= mode
        if whole:
            slices.append(slice(0, mode))
            continue
        first, last = (start - offset) // below, (stop - 1 - offset) // below
        slices.append(slice(first, last + 1))
        offset += first * below
        whole = last > first
    return tuple(slices), offset


def disjoint_boxes(modes: Modes, start: int, stop: int) -> tuple[tuple[slice, ...], ...]:
    """Return disjoint boxes of a row-major multi-index whose union is the flat range ``[start, stop)``, which may be empty.

    These are at most ``2 * len(modes) - 1`` boxes with one slice per mode.

    Examples
    --------
    >>> disjoint_boxes((4, 5), 0, 20)
    ((slice(0, 4, None), slice(0, 5, None)),)
    >>> disjoint_boxes((4, 5), 0, 7)
    ((slice(0, 1, None), slice(0, 5, None)), (slice(1, 2, None), slice(0, 2, None)))
    """
    if start >= stop:
        return ()
    below = math.prod(modes[1:])
    first, last = -(-start // below), stop // below
    rest = tuple(slice(0, mode) for mode in modes[1:])
    if first > last:
        # The range lies within one index of the leading mode.
        inside = disjoint_boxes(modes[1:], start - last * below, stop - last * below)
        return tuple((slice(last, last + 1), *box) for box in inside)
    head = disjoint_boxes(modes[1:], start - (first - 1) * below, below) if start < first * below else ()
    tail = disjoint_boxes(modes[1:], 0, stop - last * below)
    whole = ((slice(first, last), *rest),) if first < last else ()
    return (
        *((slice(first - 1, first), *box) for box in head),
        *whole,
        *((slice(last, last + 1), *box) for box in tail),
    )


@memoize
def _balanced_modes(product: int, order: int) -> Modes:
    """Return factors of `product` in descending order with the smallest sum."""
    best = (product + order - 1, (product,) + (1,) * (order - 1))
    for first in _divisors(product):
        # The largest factor is at least the root of the product and less than the best sum.
        if first**order < product or first >= best[0]:
            continue
        if order == 1:
            return (product,)
        rest = _balanced_modes(product // first, order - 1)
        if rest[0] <= first:
            best = min(best, (first + sum(rest), (first, *rest)))
    return best[1]


@memoize
def _divisors(number: int) -> tuple[int, ...]:
    small = [k for k in range(1, math.isqrt(number) + 1) if number % k == 0]
    return tuple(sorted({*small, *(number // k for k in small)}))
