"""Checks of what recurrent layers are given: each says what was expected and what came."""

import numbers
from collections.abc import Sequence
from typing import Any

from tensorly_rnn._backend import is_real_float, same_backend, same_device


def check_alike(arrays: dict[str, Any]) -> Any:
    """Return the backend of the named arrays if they are of one backend, device and real floating-point dtype."""
    backend = same_backend(arrays)
    first_name, first = next(iter(arrays.items()))
    if not is_real_float(first):
        raise TypeError(f"{first_name} must hold real floating-point numbers; got {first.dtype}.")
    for name, array in arrays.items():
        if array.dtype != first.dtype:
            raise TypeError(
                f"{name} must have the dtype of {first_name}; expected {first.dtype}, got {array.dtype}. Convert one of them."
            )
    same_device(arrays)
    return backend


def checked_part(part: Any, count: int) -> int:
    """Return the number of one of the parts of a weight's columns."""
    if isinstance(part, bool) or not isinstance(part, numbers.Integral) or not 0 <= int(part) < count:
        raise ValueError(f"part must be one of the weight's; expected 0 to {count - 1}, got {part!r}.")
    return int(part)


def check_shape(name: str, array: Any, expected: tuple[int, ...]) -> None:
    """Refuse an array of another shape."""
    if tuple(array.shape) != expected:
        raise ValueError(f"{name} must fit the layer; expected shape {expected}, got {tuple(array.shape)}.")


def matrix_shape(name: str, weight: Any, n_gates: int) -> tuple[int, int]:
    """Return rows and columns of a weight that has a matrix's two axes, none empty, and equal rows for every gate."""
    shape = tuple(weight.shape)
    if len(shape) != 2 or 0 in shape:
        rule, expected = ("be a matrix", "2 axes") if len(shape) != 2 else ("not be empty", "a row and a column or more")
        raise ValueError(f"{name} must {rule}; expected {expected}, got shape {shape}.")
    if shape[0] % n_gates:
        raise ValueError(
            f"{name} must have as many rows for each of its {n_gates} gates; expected a multiple of {n_gates}, got {shape[0]}."
        )
    return shape[0], shape[1]


def check_sequence(x: Any, input_size: int) -> None:
    """Refuse what is no sequence of `input_size` features with at least one step."""
    shape = tuple(x.shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"x must have 2 or 3 axes; expected (L, N, {input_size}) or (L, {input_size}), got {shape}.")
    if shape[-1] != input_size:
        raise ValueError(f"x must have input_size features; expected {input_size}, got {shape[-1]} in shape {shape}.")
    if shape[0] == 0:
        raise ValueError(f"x must have at least one step; got shape {shape}.")


def state_arrays(argument: str, given: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return a state by the names of its arrays: it is one array, or a pair where there are two names."""
    if len(names) == 1:
        return {names[0]: given}
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        got = f"{len(given)} entries" if isinstance(given, (tuple, list)) else type(given).__name__
        raise TypeError(f"{argument} must be a pair ({', '.join(names)}); expected 2 arrays, got {got}.")
    return dict(zip(names, given))
