"""The weights of dense layers, decomposed side by side on any executor."""

import copy
import inspect
import numbers
import re
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tensorly_rnn._checks import BudgetError
from tensorly_rnn.nn.conversion.layer_inputs import Names
from tensorly_rnn.nn.conversion.selection import CONVERSIONS, PARTS
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.gated_weight import GatedWeight


@dataclass
class DenseLayer:
    """A dense layer, what is to take its place, and the dense weights that each of its factorized weights stands for."""

    name: str
    module: nn.Module
    empty: nn.Module
    weights: dict[Names, FactorizedWeight] = field(init=False)

    def __post_init__(self) -> None:
        # A weight of two parts stands for that of x and that of h.
        self.weights = {
            (name,) if len(weight.widths) == 1 else tuple(name.replace("weight", part) for part in PARTS): weight
            for name, weight in self.empty.named_children()
            if isinstance(weight, FactorizedWeight)
        }

    def dense(self, names: Names) -> list[np.ndarray]:
        """The dense weights of these names."""
        return [_array(getattr(self.module, name)) for name in names]


def keywords(cls: type) -> tuple[str, ...]:
    """Options of a layer that a conversion does not set itself."""
    taken = ("factorization", "rank", "forget_bias", "device", "dtype")
    names: list[str] = []
    for one in inspect.signature(cls).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            names.append(one.name)
        elif one.kind is one.VAR_KEYWORD:
            names += get_args(one.annotation)[0].__annotations__
    return tuple(name for name in names if name not in taken)


def empty_layer(module: nn.Module, factorization: str, options: dict[str, Any]) -> nn.Module:
    """The layer in factors that is to take a dense one's place, of rank 1 and on the meta device."""
    ours, method = CONVERSIONS[type(module)]
    shapes = {
        id(one): nn.Parameter(torch.empty_like(one, device="meta"), requires_grad=one.requires_grad)
        for one in module.parameters()
    }
    own = {name: value for name, value in options.items() if name in keywords(ours)}
    return getattr(ours, method)(copy.deepcopy(module, shapes), factorization=factorization, rank=1, **own)


def decomposed(
    layers: list[DenseLayer],
    asked: dict[str, Any],
    inputs: dict[Any, np.ndarray] | None,
    executor: Executor | None,
) -> Iterator[dict[Names, GatedWeight] | str]:
    """Decompose the weights of all layers; in place of a layer's weights the reason where the budget does not suffice."""
    executor = executor or _Serial()
    jobs = []
    for layer in layers:
        for names, weight in layer.weights.items():
            rows = None if inputs is None else inputs.get((layer.module, names))
            parts = None if rows is None else np.split(rows, np.cumsum(weight.widths)[:-1], axis=1)
            rank, settings = _of_weight(weight, asked)
            arguments = (layer.dense(names), weight.layout, weight.format.name, rank, parts)
            jobs.append(executor.submit(GatedWeight.from_matrices, *arguments, **settings))
    try:
        remaining = iter(jobs)
        for layer in layers:
            found: dict[Names, GatedWeight] = {}
            reason = ""
            for names, job in zip(layer.weights, remaining):
                try:
                    with of_layer(layer.name):
                        found[names] = job.result()
                except BudgetError as error:
                    least = re.search(r"(at least \d+ parameters).*(, got \d+)", str(error))
                    reason = f"expected {least[1]}{least[2]}" if least else str(error)
            yield reason or found
    finally:
        for job in jobs:
            job.cancel()


class _Serial(Executor):
    """One job after the other, at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (TypeError, ValueError) as error:
            future.set_exception(error)
        return future


@contextmanager
def of_layer(name: str) -> Iterator[None]:
    """Let errors from within name the function and the layer."""
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} (at layer {name!r})") from None


def _of_weight(weight: FactorizedWeight, asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Rank and other arguments of the decomposition of one weight."""
    settings = dict(asked)
    rank = settings.pop("rank", None)
    if isinstance(rank, numbers.Integral) and not isinstance(rank, bool) and int(rank) > 0:
        # One rank for weights of all sizes: where it is more than a weight can have, the report says so.
        rank = weight.format.uniform_rank(weight.tensorized_shape, int(rank), **weight.layout.rank_options)
    return rank, settings


def _array(parameter: Tensor) -> np.ndarray:
    given = parameter.detach().cpu()
    # NumPy has no bfloat16.
    return (given.float() if given.dtype == torch.bfloat16 else given).numpy()
