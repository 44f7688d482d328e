"""Distribution of a number of parameters over the weights of a model, by what each loses."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import nn

from tensorly_rnn.nn.conversion.dense_layers import DenseLayer
from tensorly_rnn.nn.conversion.layer_inputs import Names


class Weight(NamedTuple):
    """A weight to decompose, for `allocate`.

    Attributes
    ----------
    shape : (int, int)
    energies : array
        Squared singular values, descending: of the weight, or of its product with inputs.
    core : int
        Parameters besides those of a product of two factors, for each squared rank: 1 for formats with a core.
    may_stay_dense : bool
    """

    shape: tuple[int, int]
    energies: np.ndarray
    core: int
    may_stay_dense: bool

    def n_param(self, rank: int) -> int:
        """Return the parameters of the weight at a rank, of its rows and columns in modes apart."""
        return rank * sum(self.shape) + self.core * rank**2


def least_parameters(weights: Sequence[Weight]) -> int:
    """Return the parameters of all weights at rank 1."""
    return sum(weight.n_param(1) for weight in weights)


def allocate(weights: Sequence[Weight], budget: int) -> list[int | None]:
    r"""Return the parameters of each weight, None where it stays dense, with at most `budget` in all.

    Every weight has rank 1 at first. Then a rank is raised by 1, time after time, where the sum of relative squared errors
    ``sum_w sum_{k > r_w} s_wk^2 / sum_k s_wk^2`` falls most for a parameter. Above the largest rank with fewer parameters than
    the dense weight the next step is the dense weight.

    Raises
    ------
    ValueError
        If the budget is less than `least_parameters`.
    """
    if budget < least_parameters(weights):
        raise ValueError(f"budget must leave room for rank 1; expected at least {least_parameters(weights)}, got {budget}.")
    steps = []
    for number, weight in enumerate(weights):
        dense = weight.shape[0] * weight.shape[1]
        shares = weight.energies / (weight.energies.sum() or 1.0)
        highest = 1
        for rank in range(2, len(shares) + 1):
            cost = weight.n_param(rank) - weight.n_param(rank - 1)
            if weight.n_param(rank) >= dense:
                break
            steps.append((-float(shares[rank - 1]) / cost, number, rank, cost))
            highest = rank
        if weight.may_stay_dense:
            cost = max(dense - weight.n_param(highest), 1)
            # Not before the steps that it follows.
            last = steps[-1][0] if highest > 1 else -np.inf
            steps.append((max(-float(shares[highest:].sum()) / cost, last), number, highest + 1, cost))
    ranks, left = [1] * len(weights), budget - least_parameters(weights)
    for _, number, rank, cost in sorted(steps):
        # A step that follows one which did not fit is left out too.
        if rank == ranks[number] + 1 and cost <= left:
            ranks[number], left = rank, left - cost
    counts = [weight.n_param(rank) for weight, rank in zip(weights, ranks)]
    return [
        None if weight.may_stay_dense and count >= weight.shape[0] * weight.shape[1] else count
        for weight, count in zip(weights, counts)
    ]


def model_budgets(
    total: int,
    layers: list[DenseLayer],
    inputs: dict[Any, np.ndarray] | None,
    n_param: int | None,
    compression_ratio: float | None,
) -> dict[tuple[nn.Module, Names], int]:
    """Return the parameters of each weight in factors, by layer and names, for a number of parameters of a model of `total`.

    Raises
    ------
    ValueError
        If it leaves no room for rank 1 of every weight and for the parameters that stay.
    """
    most = int(n_param) if n_param is not None else math.floor(total / float(compression_ratio or 1.0))
    weights: dict[tuple[nn.Module, Names], Weight] = {}
    # Of the shapes of a layer the last has modes apart, if any has.
    for layer in layers:
        for names, weight in layer.weights.items():
            matrix = np.concatenate(layer.dense(names), axis=1).astype(np.float64)
            sample = None if inputs is None else inputs.get((layer.module, names))
            energies = np.linalg.svd(matrix if sample is None else matrix @ sample.T, compute_uv=False) ** 2
            core = int(weight.n_param > sum(matrix.shape))
            weights[layer.module, names] = Weight(matrix.shape, energies, core, len(layer.weights) == 1)
    replaced = sum(math.prod(weight.shape) for weight in weights.values())
    least = total - replaced + least_parameters(list(weights.values()))
    if most < least:
        name = "n_param" if n_param is not None else "compression_ratio"
        raise ValueError(
            f"{name} must leave room for rank 1 of every weight and for what stays dense; expected "
            + (f"at least {least}" if n_param is not None else f"at most {total / least:.4g}")
            + f", got {n_param if n_param is not None else compression_ratio}. Select more layers, or decompose='layerwise'."
        )
    found = allocate(list(weights.values()), most - (total - replaced))
    return {key: count for key, count in zip(weights, found) if count is not None}
