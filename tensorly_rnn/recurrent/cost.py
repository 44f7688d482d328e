"""What products take, in estimated time: whether to multiply by factors or by the matrix rebuilt from them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from tensorly_rnn._planned import planned
from tensorly_rnn.contraction import ANY, USUAL, Plan, View
from tensorly_rnn.network import Network, NetworkData, apply_plan, tensor_plan
from tensorly_rnn.operations import inner_plan

#: Seconds of one operation of a large product, of one element read or written, and of one product whatever its size with its
#: reshapes and permutations: of one core of a server's CPU in single precision, where `python -m tests.benchmarks.speed` takes
#: 55 ms for 256 x 4096 times 4096 x 4096, and 5 ms to rebuild and apply a matrix of 1024 x 1024. Only their ratios matter.
OPERATION, ELEMENT, PRODUCT = 1 / 150e9, 0.6e-9, 10e-6
#: The same of one element of a matrix that is there already.
READ = 0.15e-9
#: Seconds that a recurrence takes longer in Python than in torch's own kernels, for each step and for each number that goes to
#: the gates: without and with the way back, whose kernels are no faster. From cases (c) and (d) of the same benchmark.
IN_PYTHON = {False: (40e-6, 8e-9), True: (95e-6, 2.5e-9)}


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


@planned
def rebuilding_is_cheaper(data: NetworkData, batch: int, *of_use: int) -> bool:
    """Whether to go through the matrix of a network for that many rows of x, the time of the product being estimated."""
    network, batch = Network(*data), USUAL if batch == ANY else batch
    use = Use(*of_use)  # type: ignore[arg-type]  # One by one: torch.compile knows no named tuple for a constant.
    return rebuilt_seconds(network, batch, use) < factorized_seconds(network, batch, use)


@planned
def summing_is_cheaper(data: NetworkData) -> bool:
    """Whether the squares of a network's matrix are summed in less time than it is contracted with itself in double."""
    network = Network(*data)
    summed = _seconds(tensor_plan(network), [False] * len(network.factors)) + math.prod(network.shape) * ELEMENT
    return summed < 2 * _seconds(inner_plan(network, network), [False] * 2 * len(network.factors))


def factorized_seconds(network: Network, batch: int, use: Use) -> float:
    """Estimate of the time of x times the factors, with the gradients."""
    wanted = [use.x_gradient and use.backward, *[use.backward] * len(network.factors)]
    of_step, of_gate = IN_PYTHON[use.backward] if use.steps else (0.0, 0.0)
    return _seconds(apply_plan(network, batch), wanted) + use.steps * of_step + batch * network.shape[0] * of_gate


def rebuilt_seconds(network: Network, batch: int, use: Use) -> float:
    """Estimate of the time of rebuilding the matrix, unless it is kept, and of x times it, with the gradients."""
    rows, columns = network.shape
    times = 1 + use.backward + (use.backward and use.x_gradient)
    product = times * (_product_seconds(2 * batch * rows * columns, batch * (rows + columns)) + rows * columns * READ)
    return product if use.kept else product + _seconds(tensor_plan(network), [use.backward] * len(network.factors))


def _seconds(plan: Plan, wanted: Sequence[bool]) -> float:
    """Estimate of the time of a plan and of the gradients of the operands that are wanted, one product each."""
    wanted, total = list(wanted), _copied(plan.last_view) * ELEMENT * (1 + any(wanted))
    for step in plan.steps:
        views = (step.left_view, step.right_view)
        moved = sum(math.prod(view.merged) + _copied(view) for view in views) + math.prod(step.shape)
        times = 1 + wanted[step.left] + wanted[step.right]
        total += times * _product_seconds(step.flops, moved)
        wanted.append(wanted[step.left] or wanted[step.right])
    return total


def _product_seconds(flops: int, moved: int) -> float:
    return PRODUCT + flops * OPERATION + moved * ELEMENT


def _copied(view: View) -> int:
    """Elements read and written to permute an array; a product takes a transposed matrix as it is."""
    in_place = view.permutation == tuple(range(len(view.permutation))) or len(view.permutation) == 2
    return 0 if in_place else 2 * math.prod(view.merged)
