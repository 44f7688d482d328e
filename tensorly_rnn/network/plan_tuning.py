"""Choice of contraction orders by measured time."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import positive_int
from tensorly_rnn.contraction.order import best_orders, prefer
from tensorly_rnn.contraction.plan import Pairs, Plan, build_plan
from tensorly_rnn.network.network import BATCH, Network, apply_plan

# An order must be faster than the planner's choice by this fraction to replace it.
NOISE = 0.03


@dataclass(frozen=True)
class Tuning:
    """Measured orders of one product; `str` is a table.

    `plan` is used from now on, `plans` are the measured ones, the planner's choice first, and `seconds` their median times.
    """

    plan: Plan
    plans: tuple[Plan, ...]
    seconds: tuple[float, ...]

    def __str__(self) -> str:
        lines = [f"{'milliseconds':>12} {'flops':>16} {'elements moved':>16}"]
        for plan, seconds in zip(self.plans, self.seconds):
            chosen = "  chosen" if plan == self.plan else ""
            lines.append(f"{1e3 * seconds:>12.3f} {plan.flops:>16,} {plan.moved:>16,}{chosen}")
        return "\n".join(lines)


def tuned(network: Network, batch: int, run: Callable[[], Any], *, count: int = 8, repeats: int = 5) -> Tuning:
    """Measure the most promising orders of ``y = x W^T`` and use the fastest from now on, in this process.

    The choice is used for all numbers of rows that round up to the same power of two. `run` computes the product, or the
    product and its gradient, once and returns when the result is complete. `count` orders, which differ in the sizes or the
    layout of a large product, are measured `repeats` times, in turns, each after a run that is not measured.

    Functions that are already compiled keep their plan. Another order of sums may change results in the last digits.
    """
    batch, count, repeats = (positive_int(*one) for one in (("batch", batch), ("count", count), ("repeats", repeats)))
    operands, output = ((BATCH, *network.inputs), *network.factors), (BATCH, *network.outputs)
    problem = (operands, output, tuple(sorted(((BATCH, batch), *network.sizes))))
    prefer(*problem, None)
    orders = _different([build_plan(*problem, pairs) for pairs in best_orders(*problem)], count)
    times: list[list[float]] = [[] for _ in orders]
    chosen: Pairs | None = None
    try:
        for _ in range(repeats):
            for order, of_order in zip(orders, times):
                prefer(*problem, order.pairs)
                run()  # fills the caches of plans
                start = time.perf_counter()
                run()
                of_order.append(time.perf_counter() - start)
        medians = tuple(statistics.median(one) for one in times)
        fastest = min(range(len(orders)), key=medians.__getitem__)
        chosen = orders[fastest].pairs if medians[fastest] < medians[0] * (1 - NOISE) else None
    finally:
        prefer(*problem, chosen)
    return Tuning(apply_plan(network, batch), tuple(orders), medians)


def _different(plans: list[Plan], count: int) -> list[Plan]:
    """Return the first plans that differ in a product of more than 1 % of the arithmetic."""
    kept: dict[Any, Plan] = {}
    for plan in plans:
        large = [step for step in plan.steps if step.flops > 0.01 * plan.flops]
        # The numbers of operands do not matter.
        kept.setdefault(frozenset((step.left_view, step.right_view) for step in large), plan)
    return list(kept.values())[:count]
