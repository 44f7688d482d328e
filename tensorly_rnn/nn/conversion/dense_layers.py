"""Decomposition of the weights of dense layers, in parallel on any executor."""

import numbers
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tensorly_rnn._checks import BudgetError
from tensorly_rnn.nn.conversion.arguments import argument_names, layer_arguments, make_layer
from tensorly_rnn.nn.conversion.layer_inputs import Names
from tensorly_rnn.nn.conversion.selection import CONVERSIONS
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.initialization import DENSE_NAMES

#: Arguments of a layer that the conversion sets itself.
OWN_KEYWORDS = ("factorization", "rank", "forget_bias", "device", "dtype")


@dataclass
class DenseLayer:
    """A dense layer, its empty replacement, and the weights of the replacement by the names of the dense weights."""

    name: str
    module: nn.Module
    empty: nn.Module
    weights: dict[Names, FactorizedWeight] = field(init=False)

    def __post_init__(self) -> None:
        # A weight of two parts replaces the weights over x and over h.
        self.weights = {
            (name,) if len(weight.widths) == 1 else tuple(name.replace("weight", part) for part in DENSE_NAMES): weight
            for name, weight in self.empty.named_children()
            if isinstance(weight, FactorizedWeight)
        }

    def dense(self, names: Names) -> list[np.ndarray]:
        """Return the dense weights of these names."""
        return [_array(getattr(self.module, name)) for name in names]

    def copy_flags(self) -> nn.Module:
        """Return the replacement in the mode of the dense layer and with its ``requires_grad``."""
        for names, weight in self.weights.items():
            weight.requires_grad_(any(getattr(self.module, name).requires_grad for name in names))
        for name, parameter in self.empty.named_parameters(recurse=False):
            parameter.requires_grad_(getattr(self.module, name).requires_grad)
        return self.empty.train(self.module.training)


def layer_options(cls: type) -> tuple[str, ...]:
    """Return the keyword arguments of a layer without `OWN_KEYWORDS`."""
    return tuple(name for name, by_keyword in argument_names(cls).items() if by_keyword and name not in OWN_KEYWORDS)


def empty_layer(module: nn.Module, factorization: str, options: dict[str, Any]) -> nn.Module:
    """Return the replacement of a dense layer, of rank 1 and on the meta device."""
    ours = CONVERSIONS[type(module)]
    own = {name: value for name, value in options.items() if name in layer_options(ours)}
    own |= {"factorization": factorization, "rank": 1, "dtype": next(module.parameters()).dtype}
    return make_layer(ours, {**layer_arguments(module), **own})


def decompose_layers(
    layers: list[DenseLayer],
    settings: dict[str, Any],
    inputs: dict[Any, np.ndarray] | None,
    executor: Executor | None,
    budgets: Mapping[tuple[nn.Module, Names], int] | None = None,
) -> Iterator[dict[Names, GatedWeight] | str]:
    """Yield the decomposed weights of each layer, or the reason why the budget is too small.

    `budgets` are the parameters of single weights, in place of those in the settings.
    """
    executor = executor or _Serial()
    jobs = []
    for layer in layers:
        for names, weight in layer.weights.items():
            rows = None if inputs is None else inputs.get((layer.module, names))
            parts = None if rows is None else np.split(rows, np.cumsum(weight.widths)[:-1], axis=1)
            options = {**settings, "rank": _rank_of(weight, settings.get("rank")), "inputs": parts}
            arguments = (layer.dense(names), weight.layout, weight.format.name)
            if budgets is not None:
                options |= {"compression_ratio": None, "n_param": budgets[layer.module, names]}
            jobs.append(executor.submit(GatedWeight.from_matrices, *arguments, **options))
    try:
        remaining = iter(jobs)
        for layer in layers:
            found: dict[Names, GatedWeight] = {}
            reason = ""
            for names, job in zip(layer.weights, remaining):
                try:
                    with errors_at_layer(layer.name):
                        found[names] = job.result()
                except BudgetError as error:
                    reason = f"expected at least {error.minimum} parameters"
            yield reason or found
    finally:
        for job in jobs:
            job.cancel()


class _Serial(Executor):
    """Runs every job at once, in the calling thread."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (TypeError, ValueError) as error:
            future.set_exception(error)
        return future


@contextmanager
def errors_at_layer(name: str) -> Iterator[None]:
    """Add the name of a layer to errors."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} (at layer {name!r})", *error.args[1:]) from None


def _rank_of(weight: FactorizedWeight, rank: Any) -> Any:
    """Return the rank for one weight."""
    if isinstance(rank, numbers.Integral) and not isinstance(rank, bool) and int(rank) > 0:
        # A rank larger than a weight admits is no error: the report shows the rank of each weight.
        rank = weight.format.uniform_rank(weight.tensorized_shape, int(rank), **weight.layout.rank_options)
    return rank


def _array(parameter: Tensor) -> np.ndarray:
    given = parameter.detach().cpu()
    # NumPy has no bfloat16.
    return (given.float() if given.dtype == torch.bfloat16 else given).numpy()
