"""Parameters for a recurrent layer: drawn at random, or with dense weights decomposed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from tensorly_rnn._checks import one_of
from tensorly_rnn.formats import get_format
from tensorly_rnn.formats._random import RandomState, as_generator, drawn_like
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layout import make_layout

DECOMPOSE = ("input", "layerwise", "full")
Modes = Sequence[int] | None
# From parts of the columns (0 that of x, 1 that of h), the modes of the hidden size and of the columns.
MakeWeight = Callable[[tuple[int, ...], Modes, Modes], GatedWeight]


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
    """Draw parameters as torch does, for columns of x and of h: standard deviation ``1 / sqrt(3 hidden_size)`` for all."""
    generator = as_generator(random_state)
    bound = 1 / math.sqrt(hidden_size)

    def make(parts: tuple[int, ...], out_modes: Modes, in_modes: Modes) -> GatedWeight:
        return GatedWeight.random(
            hidden_size,
            tuple(widths[part] for part in parts),
            factorization=str(factorization),
            rank=rank,
            out_modes=out_modes,
            in_modes=in_modes,
            n_gates=n_gates,
            gate_mode=gate_mode,
            std=bound / math.sqrt(3),
            random_state=generator,
            like=like,
            names=("hidden_modes", "input_modes"),
        )

    def uniform(*shape: int) -> Any:
        return drawn_like([generator.uniform(-bound, bound, shape)], like)[0]

    decompose = one_of("decompose", decompose, DECOMPOSE)
    parameters: dict[str, Any] = {}
    if factorization is None:
        if (decompose, rank, input_modes, hidden_modes, gate_mode) != ("input", "same", None, None, None):
            raise ValueError(
                "factorization must be named where rank, decompose, modes or gate_mode are; expected a format, "
                "got None, for which all weights are dense. Name a format, or leave the others out."
            )
    else:
        parameters |= _weights(make, decompose, widths[1] == hidden_size, hidden_modes, input_modes)
    rows = n_gates * hidden_size
    if "weight" not in parameters:
        for name, width in zip(("weight_ih", "weight_hh"), widths):
            if name not in parameters:
                parameters[name] = uniform(rows, width)
    if bias:
        parameters |= {"bias_ih": uniform(rows), "bias_hh": uniform(rows)}
    if widths[1] != hidden_size:
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
    """Decompose the dense ``W_ih`` and ``W_hh``; the weights by name, with those that stay dense."""
    format = get_format(factorization, "factorization")
    hidden_size = matrices[0].shape[0] // n_gates

    def make(parts: tuple[int, ...], out_modes: Modes, in_modes: Modes) -> GatedWeight:
        layout = make_layout(
            hidden_size,
            tuple(matrices[part].shape[1] for part in parts),
            format,
            out_modes=out_modes,
            in_modes=in_modes,
            n_gates=n_gates,
            gate_mode=gate_mode,
            names=("hidden_modes", "input_modes"),
        )
        return GatedWeight.from_matrices([matrices[part] for part in parts], layout, factorization, rank, **options)

    decompose = one_of("decompose", decompose, DECOMPOSE)
    dense = {"weight_ih": matrices[0], "weight_hh": matrices[1]}
    weights = _weights(make, decompose, matrices[1].shape[1] == hidden_size, hidden_modes, input_modes)
    return weights if "weight" in weights else {**dense, **weights}


def _weights(
    make: MakeWeight, decompose: str, square: bool, hidden_modes: Modes, input_modes: Modes
) -> dict[str, GatedWeight]:
    """The weights in factors by name; `square` says that h has the hidden size."""
    if decompose == "full":
        return {"weight": make((0, 1), hidden_modes, input_modes)}
    of_input = make((0,), hidden_modes, input_modes)
    if decompose == "input":
        return {"weight_ih": of_input}
    # h has the modes of the hidden size unless it is projected to another size.
    modes = of_input.layout.out_modes
    return {"weight_ih": of_input, "weight_hh": make((1,), modes, modes if square else None)}
