"""Estimate the seconds that a plan takes, from the sizes of its products and copies."""

import math
from collections.abc import Sequence

from tensorly_rnn.contraction.plan import Plan, Step, View

# Seconds of one operation of a large product, of an entry of the larger operand of a thin one, of an entry of its result, of
# a call with its reshapes, and of each product of a stack: a server's CPU, single precision. Only their ratios matter.
OPERATION, READ, WRITTEN, CALL, EACH = 1 / 140e9, 0.33e-9, 0.25e-9, 28e-6, 0.2e-6


# Seconds of an entry of memory that comes fresh from the system.
FRESH = 1.2e-9


# Seconds of an entry copied into another order: in runs of so many entries, or within blocks up to these sizes, which other
# memories hold.
RUN, IN_RUNS, IN_BLOCKS = 32, 0.4e-9, ((2**12, 0.6e-9), (2**17, 1.1e-9), (math.inf, 2.7e-9))


def seconds(plan: Plan, wanted: Sequence[bool]) -> float:
    """Return about how long a plan takes, and the gradients of the operands that are wanted.

    A product that is thin waits for its operands or its result, and an operand in another order than a product wants is copied
    first. On the way back there is one product more for each side that leads to a wanted operand.
    """
    wanted = list(wanted)
    # The result is a matrix, whatever its indices.
    total = _copy_seconds(plan.last_view, 2) * (1 + any(wanted))
    for step in plan.steps:
        stack, rows, summed = math.prod(step.shape[:-2]), *step.left_view.merged[-2:]
        columns = step.shape[-1]
        left, right = _copy_seconds(step.left_view), _copy_seconds(step.right_view)
        of_stack = stack * EACH if stack > 1 else 0.0
        total += stack * product_seconds(rows, summed, columns) + of_stack + left + right + CALL
        if wanted[step.left]:
            added = _added_seconds(step) if step.is_stacked else 0.0
            total += stack * product_seconds(rows, columns, summed) + of_stack + left + added + CALL
        if wanted[step.right]:
            total += stack * product_seconds(summed, rows, columns) + of_stack + right + CALL
        wanted.append(wanted[step.left] or wanted[step.right])
    return total


def _added_seconds(step: Step) -> float:
    """About how much longer than a product the gradient of the one matrix takes that multiplies a stack."""
    stack, rows, columns = step.shape
    summed = step.left_view.merged[-1]
    if step.is_unstacked_backward:
        return IN_BLOCKS[0][1] * stack * columns * (rows + summed) + 2 * CALL
    return (READ + WRITTEN) * stack * rows * summed + CALL


def product_seconds(rows: int, summed: int, columns: int) -> float:
    """Return about how long a product of these sizes takes, the call left out."""
    larger, result = max(rows, columns) * summed, rows * columns
    return max(2 * rows * summed * columns * OPERATION, READ * larger, WRITTEN * result)


def is_worth_keeping(step: Step) -> bool:
    """Whether memory for the result of a step takes less time than the step, once arrays are so large that memory is fresh."""
    stack, rows, summed, columns = math.prod(step.shape[:-2]), *step.left_view.merged[-2:], step.shape[-1]
    again = stack * product_seconds(rows, summed, columns) + _copy_seconds(step.left_view) + _copy_seconds(step.right_view)
    return FRESH * math.prod(step.shape) < again


def _copy_seconds(view: View, axes: int | None = None) -> float:
    """About how long seeing an array so takes: nothing, if merged axes are neighbours that at most change places."""
    split, order = view.split, list(view.permutation)
    if order == list(range(len(order))) or len(split) == (axes or sum(n != 1 for n in view.merged)):
        return 0.0
    entries = math.prod(split)
    if order[-1] == len(order) - 1 and split[-1] >= RUN:
        return IN_RUNS * entries
    if order[1] == 0 and split[order[0]] < 4:
        # A pass or two over the array, in its order.
        order = sorted(order, key=lambda axis: axis != 0)
    # Axes that stay first divide the array into blocks.
    kept = next(place for place, axis in enumerate([*order, None]) if place != axis)
    block = math.prod(split[kept:])
    return entries * next(seconds for size, seconds in IN_BLOCKS if block <= size)
