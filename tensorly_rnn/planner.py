"""In which order several arrays are best multiplied: orders that cotengra finds, compared by the time they should take."""

import math
from collections import Counter
from collections.abc import Sequence

import cotengra

from tensorly_rnn._planned import planned
from tensorly_rnn.contraction import ANY, USUAL, Indices, Pairs, Plan, View, arrange, live_indices

# Beyond this many operands the exhaustive planner may take seconds; sooner where one index links many of them, or two
# operands have many neighbours (x and a core, say), for then almost any subset is connected.
EXHAUSTIVE_UP_TO, EXHAUSTIVE_UP_TO_WHERE_LINKED = 16, 9

# cotengra's: operations plus so many times the elements written; the largest array. None is best everywhere.
OBJECTIVES = ("combo-64", "combo-256", "size")

# Beyond this many products trying to exchange their sides takes longer than it saves.
EXCHANGED_UP_TO = 16

# Seconds of one operation of a large product, of an entry of the larger operand of a thin one, of an entry of its result, and
# of a call with its reshapes: one core of a server's CPU, single precision. Only their ratios matter.
OPERATION, READ, WRITTEN, CALL = 1 / 140e9, 0.33e-9, 0.25e-9, 12e-6

# Seconds of an entry copied into another order: in runs of so many entries, or within blocks up to these sizes, which other
# memories hold.
RUN, IN_RUNS, IN_BLOCKS = 32, 0.4e-9, ((2**12, 0.6e-9), (2**17, 1.1e-9), (math.inf, 2.7e-9))


def plan(
    operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None = None
) -> Plan:
    r"""Choose how to compute ``result[output] = sum over all other indices of prod_p operand_p[operands[p]]``.

    An index may stand in any number of operands (a stack of blocks shares one index among all its factors).

    Parameters
    ----------
    operands : tuple of tuple of str
        Index names of each operand's axes.
    output : tuple of str
        Index names of the result's axes.
    sizes : tuple of (str, int)
        The size of every index; of one index, in the output and in no operand twice, it may be `ANY`: the plan then holds for
        all its sizes, in the order chosen for `USUAL`.
    pairs : tuple of (int, int), optional
        Which two operands to multiply, one pair a step; the result of step k is operand ``len(operands) + k``. Default: the
        planner's choice.

    Returns
    -------
    Plan
        Cached: the same arguments give the same object.

    Raises
    ------
    ValueError
        If an index larger than 1 stands in one operand only and not in the output, or twice in one operand; if the pairs
        do not take every operand and every result but the last once.

    Notes
    -----
    Orders that are best for several objectives of cotengra are compared by `seconds`, forward and back without the gradient of
    operand 0, each also with the sides of its products exchanged: exhaustively found for up to `EXHAUSTIVE_UP_TO` operands;
    beyond, one greedy order, improved by exhaustive searches of its parts. The number of rows of an applied matrix, index
    ``"b"``, enters the search rounded up to a power of two, so that new batch sizes reuse the order found.

    Examples
    --------
    >>> two = plan((("b", "i"), ("j", "i")), ("b", "j"), (("b", 5), ("i", 3), ("j", 2)))
    >>> [step.shape for step in two.steps], two.flops
    ([(5, 2)], 60)
    >>> three = (("i", "k"), ("k", "l"), ("l",)), ("i",), (("i", 2), ("k", 3), ("l", 5))
    >>> plan(*three).flops, plan(*three, pairs=((0, 1), (3, 2))).flops
    (42, 80)
    """
    return _plan(operands, output, tuple(sorted(sizes)), pairs)


@planned
def _plan(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None) -> Plan:
    if pairs is None:
        usual = {index: USUAL if n == ANY else n for index, n in sizes}
        live, wanted = live_indices(operands, output, usual)
        rounded = tuple((i, 1 << (n - 1).bit_length() if i == "b" and n > 0 else max(n, 1)) for i, n in usual.items())
        pairs = _best_order(tuple(live), wanted, rounded)
    return arrange(operands, output, sizes, pairs)


def seconds(plan: Plan, wanted: Sequence[bool]) -> float:
    """Return about how long a plan takes, and the gradients of the operands that are wanted.

    A product that is thin waits for its operands or its result, and an operand in another order than a product wants is copied
    first. On the way back there is one product more for each side that leads to a wanted operand.
    """
    wanted = list(wanted)
    total = _copy_seconds(plan.last_view) * (1 + any(wanted))
    for step in plan.steps:
        stack, rows, summed = math.prod(step.left_view.merged[:-2]), *step.left_view.merged[-2:]
        columns = step.right_view.merged[-1]
        left, right = _copy_seconds(step.left_view), _copy_seconds(step.right_view)
        total += stack * product_seconds(rows, summed, columns) + left + right + CALL
        if wanted[step.left]:
            total += stack * product_seconds(rows, columns, summed) + left + CALL
        if wanted[step.right]:
            total += stack * product_seconds(summed, rows, columns) + right + CALL
        wanted.append(wanted[step.left] or wanted[step.right])
    return total


def product_seconds(rows: int, summed: int, columns: int) -> float:
    """Return about how long a product of these sizes takes, the call left out."""
    larger, result = max(rows, columns) * summed, rows * columns
    return max(2 * rows * summed * columns * OPERATION, READ * larger, WRITTEN * result)


def _training_seconds(plan: Plan) -> float:
    # Operand 0 is x, which wants no gradient in a first layer.
    return seconds(plan, [False] + [True] * (plan.n_operands - 1))


def _copy_seconds(view: View) -> float:
    """About how long seeing an array so takes: nothing, if merged axes are neighbours that at most change places."""
    split, order = view.split, list(view.permutation)
    if order == list(range(len(order))) or len(split) == len(view.merged):
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


@planned
def _best_order(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> Pairs:
    """Pairs of operand numbers to multiply, numbering results after the operands."""
    if len(operands) == 1:
        return ()
    found = {order: None for order in _orders(operands, output, dict(sizes))}
    plans = [_exchanged(operands, output, sizes, order) for order in found]
    return min(plans, key=_training_seconds).pairs


def _orders(operands: tuple[Indices, ...], output: Indices, size: dict[str, int]) -> list[Pairs]:
    """Orders to choose from, by cotengra."""
    if len(operands) == 2:
        return [((0, 1),)]
    linked = max(Counter(index for indices in operands for index in indices).values(), default=0) > 2
    hubs = sum(sum(not set(one).isdisjoint(other) for other in operands) > 4 for one in operands)
    if len(operands) <= (EXHAUSTIVE_UP_TO_WHERE_LINKED if linked or hubs > 1 else EXHAUSTIVE_UP_TO):
        searches = (cotengra.OptimalOptimizer(minimize=objective, simplify=False) for objective in OBJECTIVES)
        paths = [search.ssa_path(list(operands), output, size) for search in searches]
    else:
        # Greedy alone falls behind by orders of magnitude as the modes become many.
        greedy = cotengra.GreedyOptimizer(simplify=False).ssa_path(list(operands), output, size)
        tree = cotengra.ContractionTree.from_path(operands, output, size, ssa_path=greedy)
        paths = [tree.subtree_reconfigure(subtree_size=6, minimize="combo", seed=0).get_ssa_path()]
    return [tuple((pair[0], pair[1]) for pair in path) for path in paths]


def _exchanged(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs) -> Plan:
    """The plan of an order with the sides of its products exchanged one by one, wherever that takes less time."""
    best = arrange(operands, output, sizes, pairs)
    for number in range(len(pairs) if len(pairs) <= EXCHANGED_UP_TO else 0):
        order = list(best.pairs)
        order[number] = order[number][::-1]
        best = min(best, arrange(operands, output, sizes, tuple(order)), key=_training_seconds)
    return best
