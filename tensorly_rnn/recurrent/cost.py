"""Estimated time of products with factors and with the reconstructed matrix."""

import math
from typing import NamedTuple

from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.cost_model import CALL, OPERATION, WRITTEN, seconds
from tensorly_rnn.contraction.plan import ANY, NOMINAL_BATCH
from tensorly_rnn.network.network import Network, NetworkData, apply_plan, tensor_plan
from tensorly_rnn.network.operations import inner_plan

#: Seconds to read an element of an existing matrix of at most so many elements; a smaller matrix fits a cache.
#: The time of a product with few rows.
READ_ONCE = ((2**22, 0.08e-9), (math.inf, 0.15e-9))
#: Additional seconds of a recurrence in Python compared with the kernels of torch, for each step and for each element of the
#: gates, without and with the backward pass. Measured by cases (c) and (d) of `python -m tests.benchmarks.speed`.
IN_PYTHON = {False: (40e-6, 8e-9), True: (95e-6, 18e-9)}


class Use(NamedTuple):
    """Use of a weight.

    Attributes
    ----------
    backward : bool
        Whether the gradients of the factors are computed.
    x_gradient : bool
        Whether the gradient of x is computed with them.
    cached : bool
        Whether the matrix has already been reconstructed.
    steps : int
        Steps of a recurrence that run in a kernel of torch with the reconstructed matrix, and in Python with factors.
    """

    backward: bool = True
    x_gradient: bool = True
    cached: bool = False
    steps: int = 0


#: All gradients, no cached matrix.
TRAINING = Use()


@memoize
def rebuilding_is_cheaper(data: NetworkData, batch: int, *fields: int) -> bool:
    """Return whether `batch` rows times the reconstructed matrix are estimated to take less time than times the factors."""
    network, batch = Network(*data), NOMINAL_BATCH if batch == ANY else batch
    use = Use(*fields)  # type: ignore[arg-type]  # Passed one by one: torch.compile takes no named tuple as a constant.
    return rebuilt_seconds(network, batch, use) < factorized_seconds(network, batch, use)


@memoize
def summing_is_cheaper(data: NetworkData) -> bool:
    """Return whether to sum the squares of the matrix of a network is cheaper than to contract it with itself in double."""
    network = Network(*data)
    summed = seconds(tensor_plan(network), [False] * len(network.factors)) + math.prod(network.shape) * WRITTEN
    return summed < 2 * seconds(inner_plan(network, network), [False] * 2 * len(network.factors))


def factorized_seconds(network: Network, batch: int, use: Use) -> float:
    """Return the estimated seconds of x times the factors, with the gradients."""
    wanted = [use.x_gradient and use.backward, *[use.backward] * len(network.factors)]
    per_step, per_element = IN_PYTHON[use.backward] if use.steps else (0.0, 0.0)
    return seconds(apply_plan(network, batch), wanted) + use.steps * per_step + batch * network.shape[0] * per_element


def rebuilt_seconds(network: Network, batch: int, use: Use) -> float:
    """Return the estimated seconds of reconstructing the matrix, unless cached, and of x times it, with the gradients."""
    rows, columns = network.shape
    times = 1 + use.backward + (use.backward and use.x_gradient)
    once = next(seconds for most, seconds in READ_ONCE if rows * columns <= most)
    moved = batch * (rows + columns) * WRITTEN + rows * columns * once
    product = times * (CALL + 2 * batch * rows * columns * OPERATION + moved)
    return product if use.cached else product + seconds(tensor_plan(network), [use.backward] * len(network.factors))
