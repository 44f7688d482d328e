"""Plans that apply a network to blocks of rows of x, so that no step writes a large array."""

import math
from dataclasses import dataclass

from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.cost_model import is_worth_keeping
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.contraction.plan import Plan
from tensorly_rnn.network.network import BATCH, Network, NetworkData, plan_of_data

# Most entries of an array that a product writes: 4 MB in single precision.
MOST_AT_ONCE = 2**20


@dataclass(frozen=True)
class RowBlocks:
    """Plans of one product in one order for consecutive blocks of rows of x."""

    plans: tuple[Plan, ...]
    rows: tuple[int, ...]
    #: Numbers of the results that depend on factors only, which all blocks share.
    shared: tuple[int, ...]
    #: Numbers of the other results that are kept for the gradient instead of being recomputed.
    kept: tuple[int, ...]


def row_blocks(network: Network, batch: int, most: int = MOST_AT_ONCE) -> RowBlocks:
    """Return plans of `apply_plan` for blocks of rows so small that no step writes many more than `most` entries.

    Larger arrays are slower: their memory is allocated by the system each time, and they do not fit into the caches.
    """
    return _row_blocks(network.data, batch, most)


@memoize
def _row_blocks(data: NetworkData, batch: int, most: int) -> RowBlocks:
    factors, outputs, inputs, sizes = data
    whole = plan_of_data(data, batch, "planned")
    shared = list(range(1, whole.n_operands))
    largest = 1
    for number, step in enumerate(whole.steps, whole.n_operands):
        if step.left in shared and step.right in shared:
            shared.append(number)
        else:
            largest = max(largest, math.prod(step.shape))
    count = min(max(batch, 1), -(-largest // most))
    rows = tuple(len(range(block, batch, count)) for block in range(count))
    operands, output = ((BATCH, *inputs), *factors), (BATCH, *outputs)
    plans = (plan(operands, output, ((BATCH, n), *sizes), whole.pairs) for n in rows)
    own = [number for number in range(whole.n_operands, whole.n_operands + len(whole.steps) - 1) if number not in shared]
    kept = tuple(number for number in own if count == 1 or is_worth_keeping(whole.steps[number - whole.n_operands]))
    return RowBlocks(tuple(plans) if count > 1 else (whole,), rows, tuple(shared[whole.n_operands - 1 :]), kept)
