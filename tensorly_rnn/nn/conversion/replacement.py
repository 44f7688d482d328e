"""Replacement of dense layers by decomposed ones, and the rows of the report."""

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import nn

from tensorly_rnn.nn.conversion.dense_layers import DenseLayer
from tensorly_rnn.nn.conversion.layer_inputs import Names
from tensorly_rnn.nn.conversion.report import WeightReport
from tensorly_rnn.nn.conversion.selection import count_parameters
from tensorly_rnn.recurrent.gated_weight import GatedWeight


def make_replacement(
    layer: DenseLayer, found: dict[Names, GatedWeight] | str, inputs: dict[Any, np.ndarray] | None, exact: bool
) -> tuple[list[WeightReport], nn.Module | None]:
    """Return the rows of the report, and the layer in factors or None if the dense one is kept."""
    if isinstance(found, str):
        return [dense_row(layer.name, layer.module, f"the budget is too small: {found}")], None
    before = sum(math.prod(weight.shape) for weight in layer.weights.values())
    after = sum(weight.network.n_param for weight in found.values())
    if after >= before and not exact:
        return [dense_row(layer.name, layer.module, f"no smaller: {after:,} parameters in place of {before:,}")], None
    rows = []
    like = next(layer.module.parameters())
    replacement = layer.empty.to_empty(device=like.device)
    for names, weight in layer.weights.items():
        one, dense = found[names], layer.dense(names)
        sample = None if inputs is None else inputs.get((layer.module, names))
        error, output_error = _errors(dense, [one.matrix(part) for part in range(len(dense))], sample)
        weight.load(one.with_factors([torch.tensor(factor) for factor in one.factors]))
        own = next(name for name, child in replacement.named_children() if child is weight)
        note = "" if inputs is None or sample is not None else "the calibration does not reach it"
        sizes = (math.prod(weight.shape), weight.n_param, weight.format.name, weight.rank)
        rows.append(WeightReport(f"{layer.name}.{own}".lstrip("."), *sizes, error, output_error, note))
    with torch.no_grad():
        for name, parameter in replacement.named_parameters(recurse=False):
            parameter.copy_(getattr(layer.module, name))
    return rows, layer.copy_flags()


def quality(
    layer: DenseLayer, found: dict[Names, GatedWeight] | str, inputs: dict[Any, np.ndarray] | None, eps: float | None
) -> tuple[bool, float]:
    """Return the parameters of a layer within an error, otherwise its squared error; the least is best, over a budget last."""
    if isinstance(found, str):
        return True, 0.0
    if eps is not None:
        return False, sum(weight.network.n_param for weight in found.values())
    loss = 0.0
    for names, weight in found.items():
        dense = layer.dense(names)
        sample = None if inputs is None else inputs.get((layer.module, names))
        difference = np.concatenate([one - weight.matrix(part) for part, one in enumerate(dense)], axis=1)
        loss += float(np.square(difference if sample is None else sample @ difference.T).sum())
    return False, loss


def _errors(dense: list[np.ndarray], found: list[np.ndarray], sample: np.ndarray | None) -> tuple[float, float | None]:
    matrix, other = (np.concatenate(parts, axis=1).astype(np.float64) for parts in (dense, found))

    def relative(difference: np.ndarray, reference: np.ndarray) -> float:
        norm = float(np.linalg.norm(reference))
        return float(np.linalg.norm(difference)) / norm if norm else 0.0

    outputs = None if sample is None else relative(sample @ (matrix - other).T, sample @ matrix.T)
    return relative(matrix - other, matrix), outputs


def dense_row(name: str, module: nn.Module, note: str) -> WeightReport:
    """Return the row of a layer that stays dense."""
    n_param = count_parameters(module)
    return WeightReport(name or type(module).__name__, n_param, n_param, note=note)


def replace_layers(model: nn.Module, replacements: dict[int, nn.Module], inplace: bool) -> nn.Module:
    """Return the model, or a copy of it, with replacements for the layers of these ids."""
    if not inplace:
        # Layers in the memo count as copied already.
        return copy.deepcopy(model, dict(replacements))
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            parent._modules[name] = replacements.get(id(child), child)
    return replacements.get(id(model), model)
