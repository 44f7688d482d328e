"""The rule of `decompose`: which weights of a recurrent layer are in factors, and their modes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tensorly_rnn._checks import one_of, positive_int
from tensorly_rnn.recurrent.cells import Cell

#: For each value of `decompose`, the weights in factors: name, and the parts that its columns multiply (0: x, 1: h).
#: The parts that no weight in factors multiplies have a dense weight.
DECOMPOSE: dict[str, dict[str, tuple[int, ...]]] = {
    "input": {"weight_ih": (0,)},
    "layerwise": {"weight_ih": (0,), "weight_hh": (1,)},
    "full": {"weight": (0, 1)},
}
#: Names of the dense weights over x and over h.
DENSE_NAMES = ("weight_ih", "weight_hh")
#: Arguments that set the modes, as error messages name them.
MODE_NAMES = ("hidden_modes", "input_modes")

Modes = Sequence[int] | None


def checked_decompose(decompose: Any) -> str:
    """Return `decompose` if it is a key of `DECOMPOSE`."""
    return one_of("decompose", decompose, tuple(DECOMPOSE))


def checked_proj_size(proj_size: Any, hidden_size: int, cell: Cell) -> int:
    """Return the size of the projected h, 0 for none."""
    size = 0 if isinstance(proj_size, int) and proj_size == 0 else positive_int("proj_size", proj_size)
    if size and "c" not in cell.states:
        raise ValueError(f"proj_size must be 0 except for an LSTM; expected 0, got {size}.")
    if size and size >= hidden_size:
        raise ValueError(f"proj_size must be smaller than hidden_size; expected less than {hidden_size}, got {size}.")
    return size


def find_weight(decompose: str, part: int) -> tuple[str, int]:
    """Return the name of the weight that multiplies x (part 0) or h (part 1), and the number of the part in its columns."""
    for name, parts in DECOMPOSE[decompose].items():
        if part in parts:
            return name, parts.index(part)
    return DENSE_NAMES[part], 0


def ranks_by_name(decompose: str, rank: Any, directions: Sequence[str] = ("",)) -> list[dict[str, Any]]:
    """Return, for each direction, the ranks of the weights in factors by name: one for all, or those of a mapping.

    Its keys are the names without ``weight_``: 'ih' and 'hh'. An entry 'ih_reverse' is by default that of 'ih'.
    """
    keys = {name: name.removeprefix("weight_") for name in DECOMPOSE[decompose]}
    if not isinstance(rank, Mapping):
        return [dict.fromkeys(keys, rank) for _ in directions]
    known = [key + direction for direction in directions for key in keys.values()]
    if not {*keys.values()} <= {*rank} <= {*known}:
        raise ValueError(f"rank must have an entry for each weight in factors; expected {known}, got {list(rank)}.")
    return [{name: rank.get(key + direction, rank[key]) for name, key in keys.items()} for direction in directions]


def factorized_weights(
    decompose: str,
    make: Callable[[str, tuple[int, ...], dict[str, Any]], Any],
    hidden_modes: Modes,
    input_modes: Modes,
    projected: bool,
) -> dict[str, Any]:
    """Make the weights in factors by the rule of `decompose`.

    Parameters
    ----------
    decompose : {'input', 'layerwise', 'full'}
    make : callable
        From the name, the parts of the columns, and keyword arguments of `make_layout` that set the modes, to a weight with
        a `Layout`.
    hidden_modes, input_modes : sequence of int or None
    projected : bool
        Whether h is projected to another size than the hidden size.
    """
    weights: dict[str, Any] = {}
    for name, parts in DECOMPOSE[decompose].items():
        out_modes, in_modes = hidden_modes, input_modes
        if 0 not in parts:
            # Columns of h alone take the modes of the hidden size, unless h is projected; in the reverse order where rows and
            # columns of W_ih have modes apart, so that those of W_hh are apart too.
            layout = weights["weight_ih"].layout
            out_modes = layout.out_modes
            apart = all(1 in pair for pair in zip(out_modes, layout.in_modes))
            in_modes = None if projected else out_modes[::-1] if apart else out_modes
        weights[name] = make(name, parts, {"out_modes": out_modes, "in_modes": in_modes, "names": MODE_NAMES})
    return weights
