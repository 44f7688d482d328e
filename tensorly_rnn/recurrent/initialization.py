"""The rule of `decompose`, and initial parameters of a recurrent layer: random, or from dense weights."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from tensorly_rnn._checks import one_of, positive_int
from tensorly_rnn.formats import get_format
from tensorly_rnn.formats._random import RandomState, as_generator, drawn_like
from tensorly_rnn.recurrent.cells import Cell
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layout import Layout, make_layout

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


class HasLayout(Protocol):
    """A weight with a layout."""

    @property
    def layout(self) -> Layout: ...  # noqa: D102


W = TypeVar("W", bound=HasLayout)


def checked_decompose(decompose: Any) -> str:
    """Return `decompose` if it is a key of `DECOMPOSE`."""
    return one_of("decompose", decompose, tuple(DECOMPOSE))


def checked_proj_size(proj_size: Any, hidden_size: int, cell: Cell) -> int:
    """Return the size of the projected h, 0 for none."""
    size = 0 if isinstance(proj_size, int) and proj_size == 0 else positive_int("proj_size", proj_size)
    if size and "c" not in cell.states:
        raise ValueError(f"proj_size must be 0 except for an LSTM; expected 0, got {size}.")
    if size >= hidden_size:
        raise ValueError(f"proj_size must be smaller than hidden_size; expected less than {hidden_size}, got {size}.")
    return size


def find_weight(decompose: str, part: int) -> tuple[str, int]:
    """Return the name of the weight that multiplies x (part 0) or h (part 1), and the number of the part in its columns."""
    for name, parts in DECOMPOSE[decompose].items():
        if part in parts:
            return name, parts.index(part)
    return DENSE_NAMES[part], 0


def factorized_weights(
    decompose: str,
    make: Callable[[tuple[int, ...], dict[str, Any]], W],
    hidden_modes: Modes,
    input_modes: Modes,
    projected: bool,
) -> dict[str, W]:
    """Make the weights in factors by the rule of `decompose`.

    Parameters
    ----------
    decompose : {'input', 'layerwise', 'full'}
    make : callable
        From the parts of the columns, and keyword arguments of `make_layout` that set the modes, to a weight.
    hidden_modes, input_modes : sequence of int or None
    projected : bool
        Whether h is projected to another size than the hidden size.
    """
    weights: dict[str, W] = {}
    for name, parts in DECOMPOSE[decompose].items():
        out_modes, in_modes = hidden_modes, input_modes
        if 0 not in parts:
            # Columns of h alone take the modes of the hidden size, unless h is projected.
            out_modes = weights["weight_ih"].layout.out_modes
            in_modes = None if projected else out_modes
        weights[name] = make(parts, {"out_modes": out_modes, "in_modes": in_modes, "names": MODE_NAMES})
    return weights


def random_parameters(
    n_gates: int,
    hidden_size: int,
    widths: tuple[int, int],
    *,
    factorization: str | None,
    rank: Any,
    decompose: str,
    input_modes: Modes,
    hidden_modes: Modes,
    gate_mode: str | None,
    bias: bool,
    random_state: RandomState,
    like: Any,
) -> dict[str, Any]:
    """Draw all parameters with the standard deviation of torch, ``1 / sqrt(3 hidden_size)``; `widths` are those of x and h."""
    generator = as_generator(random_state)
    bound = 1 / math.sqrt(hidden_size)
    settings = {"n_gates": n_gates, "gate_mode": gate_mode, "random_state": generator, "like": like}

    def make(parts: tuple[int, ...], modes: dict[str, Any]) -> GatedWeight:
        columns, std = [widths[part] for part in parts], bound / math.sqrt(3)
        return GatedWeight.random(
            hidden_size, columns, factorization=str(factorization), rank=rank, std=std, **modes, **settings
        )

    def uniform(*shape: int) -> Any:
        return drawn_like([generator.uniform(-bound, bound, shape)], like)[0]

    decompose, projected = checked_decompose(decompose), widths[1] != hidden_size
    parameters: dict[str, Any] = {}
    if factorization is not None:
        parameters |= factorized_weights(decompose, make, hidden_modes, input_modes, projected)
    elif (decompose, rank, input_modes, hidden_modes, gate_mode) != ("input", "same", None, None, None):
        raise ValueError(
            "factorization must be given together with rank, decompose, modes or gate_mode; expected the name of a format, "
            "got None. Name a format, or omit the others for dense weights."
        )
    rows = n_gates * hidden_size
    if "weight" not in parameters:
        for name, width in zip(DENSE_NAMES, widths):
            if name not in parameters:
                parameters[name] = uniform(rows, width)
    if bias:
        parameters |= {"bias_ih": uniform(rows), "bias_hh": uniform(rows)}
    if projected:
        parameters["weight_hr"] = uniform(widths[1], hidden_size)
    return parameters


def decomposed_weights(
    n_gates: int,
    matrices: tuple[Any, Any],
    *,
    factorization: str,
    rank: Any,
    decompose: str,
    input_modes: Modes,
    hidden_modes: Modes,
    gate_mode: str | None,
    **options: Any,
) -> dict[str, Any]:
    """Decompose the dense ``W_ih`` and ``W_hh``; return all weights by name, including those that stay dense."""
    format = get_format(factorization, "factorization").format
    hidden_size = matrices[0].shape[0] // n_gates

    def make(parts: tuple[int, ...], modes: dict[str, Any]) -> GatedWeight:
        chosen = [matrices[part] for part in parts]
        widths = [matrix.shape[1] for matrix in chosen]
        layout = make_layout(hidden_size, widths, format, n_gates=n_gates, gate_mode=gate_mode, **modes)
        return GatedWeight.from_matrices(chosen, layout, factorization, rank, **options)

    projected = matrices[1].shape[1] != hidden_size
    weights = factorized_weights(checked_decompose(decompose), make, hidden_modes, input_modes, projected)
    return weights if "weight" in weights else {**dict(zip(DENSE_NAMES, matrices)), **weights}
