"""Orders of contraction chosen by measured time, on the machine at hand."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import positive_int
from tensorly_rnn.contraction.order import best_orders, prefer
from tensorly_rnn.contraction.plan import Pairs, Plan, build_plan
from tensorly_rnn.network.network import BATCH, Network, apply_plan

# An order measured to be faster by less than this share is not preferred to the planner's choice.
NOISE = 0.03


@dataclass(frozen=True)
class Tuning:
    """Orders of one product that were measured; prints as a table.

    Attributes
    ----------
    plan : Plan
        The one that is used from now on.
    plans : tuple of Plan
        Those measured, the planner's choice first.
    seconds : tuple of float
        Median time of each.
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

    Parameters
    ----------
    network : Network
    batch : int
        Number of rows of x; the choice holds for all numbers that round up to the same power of two.
    run : callable
        Does once what is to be fast, and returns when it is done: the product, or the product and its gradient.
    count : int
        How many orders to measure, which differ in the sizes or the layout of a product that matters.
    repeats : int
        How often, in turns, each after one that does not count.

    Returns
    -------
    Tuning

    Raises
    ------
    TypeError, ValueError
        If `batch`, `count` or `repeats` is no positive integer.

    Notes
    -----
    What a compiler has traced keeps the plan it was traced with. The numbers that come out may change in the last digits,
    as sums are taken in another order.
    """
    batch, count, repeats = (positive_int(*one) for one in (("batch", batch), ("count", count), ("repeats", repeats)))
    operands, output = ((BATCH, *network.inputs), *network.factors), (BATCH, *network.outputs)
    question = (operands, output, tuple(sorted(((BATCH, batch), *network.sizes))))
    prefer(*question, None)
    orders = _different([build_plan(*question, pairs) for pairs in best_orders(*question)], count)
    times: list[list[float]] = [[] for _ in orders]
    chosen: Pairs | None = None
    try:
        for _ in range(repeats):
            for order, of_order in zip(orders, times):
                prefer(*question, order.pairs)
                run()  # all else that it plans is planned then
                start = time.perf_counter()
                run()
                of_order.append(time.perf_counter() - start)
        medians = tuple(statistics.median(one) for one in times)
        fastest = min(range(len(orders)), key=medians.__getitem__)
        chosen = orders[fastest].pairs if medians[fastest] < medians[0] * (1 - NOISE) else None
    finally:
        prefer(*question, chosen)
    return Tuning(apply_plan(network, batch), tuple(orders), medians)


def _different(plans: list[Plan], count: int) -> list[Plan]:
    """The first plans that do not have all products of 1 % or more of the arithmetic in common."""
    kept: dict[Any, Plan] = {}
    for plan in plans:
        large = [step for step in plan.steps if step.flops > 0.01 * plan.flops]
        # The same products under other numbers are the same work.
        kept.setdefault(frozenset((step.left_view, step.right_view) for step in large), plan)
    return list(kept.values())[:count]
