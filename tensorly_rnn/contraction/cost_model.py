"""Estimates of the seconds that a plan takes, from the sizes of its products and copies."""

import math
from collections.abc import Sequence

from tensorly_rnn.contraction.plan import Plan, Step, View

# Seconds per operation of a large product, per entry of the larger operand of a thin one, per entry of its result, per call
# with its reshapes, and per product of a stack, measured on a server's CPU in single precision. Only their ratios matter.
OPERATION, READ, WRITTEN, CALL, EACH = 1 / 140e9, 0.33e-9, 0.25e-9, 28e-6, 0.2e-6
# Seconds per entry of memory that is newly allocated by the system.
FRESH = 1.2e-9
# Seconds per entry copied into another order: in runs of at least RUN entries, or within blocks up to the sizes of the caches.
RUN, IN_RUNS, IN_BLOCKS = 32, 0.4e-9, ((2**12, 0.6e-9), (2**17, 1.1e-9), (math.inf, 2.7e-9))


def seconds(plan: Plan, wanted: Sequence[bool]) -> float:
    """Return the estimated time of a plan and of the gradients of the wanted operands.

    Thin products are limited by memory traffic, and an operand whose axes are in another order is copied first. The backward
    pass has one product for each operand of a step that leads to a wanted operand.
    """
    wanted = list(wanted)
    # The result has two axes, the rows and the outputs.
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
    """Return the estimated extra time of the gradient of a matrix that multiplies a stack."""
    stack, rows, columns = step.shape
    summed = step.left_view.merged[-1]
    if step.is_unstacked_backward:
        return IN_BLOCKS[0][1] * stack * columns * (rows + summed) + 2 * CALL
    return (READ + WRITTEN) * stack * rows * summed + CALL


def product_seconds(rows: int, summed: int, columns: int) -> float:
    """Return the estimated time of a product of these sizes without the call."""
    larger, result = max(rows, columns) * summed, rows * columns
    return max(2 * rows * summed * columns * OPERATION, READ * larger, WRITTEN * result)


def is_worth_keeping(step: Step) -> bool:
    """Return whether newly allocated memory for the result of a step takes less time than computing it again."""
    stack, rows, summed, columns = math.prod(step.shape[:-2]), *step.left_view.merged[-2:], step.shape[-1]
    copies = _copy_seconds(step.left_view) + _copy_seconds(step.right_view)
    return FRESH * math.prod(step.shape) < stack * product_seconds(rows, summed, columns) + copies


def _copy_seconds(view: View, axes: int | None = None) -> float:
    """Return the estimated time of the copy for a view; 0 if merged axes are neighbours, at most in another order."""
    split, order = view.split, list(view.permutation)
    if order == list(range(len(order))) or len(split) == (axes or sum(n != 1 for n in view.merged)):
        return 0.0
    entries = math.prod(split)
    if order[-1] == len(order) - 1 and split[-1] >= RUN:
        return IN_RUNS * entries
    if order[1] == 0 and split[order[0]] < 4:
        # One or two passes over the array in its order.
        order = sorted(order, key=lambda axis: axis != 0)
    # Leading axes that keep their place divide the array into blocks.
    kept = next(place for place, axis in enumerate([*order, None]) if place != axis)
    block = math.prod(split[kept:])
    return entries * next(seconds for size, seconds in IN_BLOCKS if block <= size)
