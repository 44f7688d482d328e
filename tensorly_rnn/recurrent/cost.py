"""What products take, in estimated time: whether to multiply by factors or by the matrix rebuilt from them."""

import math
from typing import NamedTuple

from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.cost_model import CALL, OPERATION, WRITTEN, seconds
from tensorly_rnn.contraction.plan import ANY, NOMINAL_BATCH
from tensorly_rnn.network.network import Network, NetworkData, apply_plan, tensor_plan
from tensorly_rnn.network.operations import inner_plan

#: Seconds to read an element of a matrix that is there already, up to these sizes, the first of which fits a cache: a product
#: with few rows takes as long.
READ_ONCE = ((2**22, 0.08e-9), (math.inf, 0.15e-9))
#: Seconds that a recurrence takes longer in Python than in torch's own kernels, for each step and for each number that goes to
#: the gates: without and with the way back, whose kernels are no faster. From cases (c) and (d) of
#: `python -m tests.benchmarks.speed`.
IN_PYTHON = {False: (40e-6, 8e-9), True: (95e-6, 18e-9)}


class Use(NamedTuple):
    """How a weight is used: what its gradients, if any, are taken of, and what is at hand already.

    Attributes
    ----------
    backward : bool
        Whether the gradients of the factors are taken.
    x_gradient : bool
        Whether that of x is.
    kept : bool
        Whether the matrix has been rebuilt before.
    steps : int
        Steps of a recurrence that run in torch's own kernel where the matrix is rebuilt, and in Python where it is not.
    """

    backward: bool = True
    x_gradient: bool = True
    kept: bool = False
    steps: int = 0


#: All gradients, and nothing at hand.
TRAINING = Use()


@memoize
def rebuilding_is_cheaper(data: NetworkData, batch: int, *of_use: int) -> bool:
    """Whether to go through the matrix of a network for that many rows of x, the time of the product being estimated."""
    network, batch = Network(*data), NOMINAL_BATCH if batch == ANY else batch
    use = Use(*of_use)  # type: ignore[arg-type]  # One by one: torch.compile knows no named tuple for a constant.
    return rebuilt_seconds(network, batch, use) < factorized_seconds(network, batch, use)


@memoize
def summing_is_cheaper(data: NetworkData) -> bool:
    """Whether the squares of a network's matrix are summed in less time than it is contracted with itself in double."""
    network = Network(*data)
    summed = seconds(tensor_plan(network), [False] * len(network.factors)) + math.prod(network.shape) * WRITTEN
    return summed < 2 * seconds(inner_plan(network, network), [False] * 2 * len(network.factors))


def factorized_seconds(network: Network, batch: int, use: Use) -> float:
    """Estimate of the time of x times the factors, with the gradients."""
    wanted = [use.x_gradient and use.backward, *[use.backward] * len(network.factors)]
    of_step, of_gate = IN_PYTHON[use.backward] if use.steps else (0.0, 0.0)
    return seconds(apply_plan(network, batch), wanted) + use.steps * of_step + batch * network.shape[0] * of_gate


def rebuilt_seconds(network: Network, batch: int, use: Use) -> float:
    """Estimate of the time of rebuilding the matrix, unless it is kept, and of x times it, with the gradients."""
    rows, columns = network.shape
    times = 1 + use.backward + (use.backward and use.x_gradient)
    once = next(seconds for most, seconds in READ_ONCE if rows * columns <= most)
    moved = batch * (rows + columns) * WRITTEN + rows * columns * once
    product = times * (CALL + 2 * batch * rows * columns * OPERATION + moved)
    return product if use.kept else product + seconds(tensor_plan(network), [use.backward] * len(network.factors))
