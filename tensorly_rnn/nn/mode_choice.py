"""Choice of the modes of a decomposed layer where none are given: those of rows and columns paired, or apart."""

import numbers
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

from tensorly_rnn._checks import within_budgets
from tensorly_rnn.formats import get_format

#: Arguments of a layer that set its modes. With None the default is taken and nothing is tried.
MODE_OPTIONS = ("in_modes", "out_modes", "input_modes", "hidden_modes", "gate_mode")

Layer = TypeVar("Layer", bound=nn.Module)


def modes_to_try(dense: nn.Module, factorization: Any, rank: Any, options: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return arguments that set the modes of the replacement of a dense layer, or none where they are given.

    For a budget or an error they are those of `paired` and of `separate` modes; a rank alone refers to paired modes.
    """
    if options.keys() & set(MODE_OPTIONS):
        return ()
    paired: dict[str, Any] = {"in_modes" if isinstance(dense, nn.Linear) else "gate_mode": None}
    budget = any(options.get(name) is not None for name in ("n_param", "compression_ratio"))
    share = isinstance(rank, numbers.Real) and not isinstance(rank, numbers.Integral)
    has_aim = budget or share or (rank is None and options.get("eps") is not None)
    if not has_aim or any(one.is_meta for one in dense.parameters()):
        return (paired,)
    return paired, *separate(dense, factorization, str(options.get("decompose", "input")))


def separate(dense: Any, factorization: Any, decompose: str) -> tuple[dict[str, Any], ...]:
    """Return arguments that give the rows, with their gates, and the columns of every weight one mode each, if there are."""
    if isinstance(dense, nn.Linear):
        return ({"out_modes": (1, dense.out_features), "in_modes": (dense.in_features, 1)},)
    state = getattr(dense, "proj_size", 0) or dense.hidden_size
    if "last" not in get_format(factorization, "factorization").format.gate_modes:
        return ()
    if state != dense.hidden_size and decompose != "input":
        return ()  # the columns over h would not have the modes of the rows
    above = state * (1 + int(getattr(dense, "bidirectional", 0)))
    widths = (dense.input_size, *[above] * (getattr(dense, "num_layers", 1) - 1))
    columns = {layer: (width + (state if decompose == "full" else 0), 1) for layer, width in enumerate(widths)}
    return ({"hidden_modes": (1, dense.hidden_size), "input_modes": columns, "gate_mode": "last"},)


def best_layer(dense: nn.Module, makers: Iterable[Callable[[], Layer]], eps: float | None, undo: str) -> Layer:
    """Return the layer nearest to a dense one, by its method `undo`, or the smallest where an error is given."""
    layers = within_budgets(makers)
    if len(layers) == 1:
        return layers[0]
    if eps is not None:
        return min(layers, key=lambda layer: sum(one.numel() for one in layer.parameters()))

    def distance(layer: Layer) -> float:
        pairs = zip(getattr(layer, undo)().parameters(), dense.parameters())
        return sum(float((one.detach().double() - two.detach().double()).square().sum()) for one, two in pairs)

    with torch.no_grad():
        return min(layers, key=distance)
