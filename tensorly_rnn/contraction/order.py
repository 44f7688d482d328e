"""Choose the order in which several arrays are contracted: orders found by cotengra, compared by estimated time."""

import math
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cotengra

from tensorly_rnn._memoize import clear_caches, memoize
from tensorly_rnn.contraction.cost_model import seconds
from tensorly_rnn.contraction.plan import ANY, NOMINAL_BATCH, Indices, Pair, Pairs, Plan, build_plan, live_indices

# Beyond this many operands the exhaustive planner may take seconds; sooner where one index links many of them, or two
# operands have many neighbours (x and a core, say), for then almost any subset is connected.
EXHAUSTIVE_UP_TO, EXHAUSTIVE_UP_TO_WHERE_LINKED = 16, 9


# cotengra's: operations plus so many times the elements written; the largest array. None is best everywhere.
OBJECTIVES = ("combo-64", "combo-256", "size")


# Beyond this many products trying to change them takes longer than it saves; a change must save this share of the time.
CHANGED_UP_TO, WORTHWHILE = 16, 0.002


# Orders that are remembered for `best_orders`.
KEPT = 200


# Operands, output and sizes, such that equal ones have the same order.
Question = tuple[tuple[Indices, ...], Indices, tuple[tuple[str, int], ...]]


_preferred: dict[Question, Pairs] = {}


# Seconds of one operation of a large product, of an entry of the larger operand of a thin one, of an entry of its result, of
# a call with its reshapes, and of each product of a stack: a server's CPU, single precision. Only their ratios matter.
OPERATION, READ, WRITTEN, CALL, EACH = 1 / 140e9, 0.33e-9, 0.25e-9, 28e-6, 0.2e-6


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
        all its sizes, in the order chosen for `NOMINAL_BATCH`.
    pairs : tuple of (int, int) or (int, int, bool), optional
        Which two operands to multiply, one pair a step, and whether the leading indices of the second stay in place; the
        result of step k is operand ``len(operands) + k``. Default: the planner's choice.

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
    operand 0, each changed in one place after the other (`neighbours`) as long as that takes less time. They are exhaustively
    found for up to `EXHAUSTIVE_UP_TO` operands; beyond, it is one greedy order, improved by exhaustive searches of its parts.
    An order measured to be faster (`prefer`) goes before. The number of rows of an applied matrix, index
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


@memoize
def _plan(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None) -> Plan:
    if pairs is None:
        question = _question(operands, output, sizes)
        pairs = _preferred.get(question) or _best_orders(*question)[0]
    return build_plan(operands, output, sizes, pairs)


def best_orders(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> tuple[Pairs, ...]:
    """Return the orders that `plan` compared and found best, by estimated time, the one to choose first."""
    return _best_orders(*_question(operands, output, tuple(sorted(sizes))))


def prefer(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None) -> None:
    """Let `plan` choose an order from now on, or its own choice again; for all it takes for the same question."""
    question = _question(operands, output, tuple(sorted(sizes)))
    if pairs is None:
        _preferred.pop(question, None)
    else:
        _preferred[question] = pairs
    clear_caches()


def _question(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> Question:
    """What an order depends on: indices without those of size 1, and sizes, that of the rows rounded up."""
    usual = {index: NOMINAL_BATCH if n == ANY else n for index, n in sizes}
    live, wanted = live_indices(operands, output, usual)
    rounded = tuple((i, 1 << (n - 1).bit_length() if i == "b" and n > 0 else max(n, 1)) for i, n in usual.items())
    return tuple(live), wanted, rounded


def _training_seconds(plan: Plan) -> float:
    # Operand 0 is x, which wants no gradient in a first layer.
    return seconds(plan, [False] + [True] * (plan.n_operands - 1))


@lru_cache(maxsize=4096)
def _best_orders(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> tuple[Pairs, ...]:
    """Pairs of operand numbers to multiply, numbering results after the operands, by estimated time."""
    if len(operands) == 1:
        return ((),)
    found: dict[Pairs, float] = {}
    n = len(operands)
    for order in dict.fromkeys(_pairs(_sorted(_tree(order, n))[1], n) for order in _orders(operands, output, dict(sizes))):
        found |= _improved(operands, output, sizes, order)
    return tuple(sorted(found, key=found.__getitem__)[:KEPT])


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


def _improved(
    operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs
) -> dict[Pairs, float]:
    """An order, changed in one place after the other as long as that takes less time: all that were tried, with their time."""
    best = build_plan(operands, output, sizes, pairs).pairs
    found: dict[Pairs, float] = {}

    def time_of(pairs: Pairs) -> float:
        if pairs not in found:
            found[pairs] = _training_seconds(build_plan(operands, output, sizes, pairs))
        return found[pairs]

    least, improved = time_of(best), len(pairs) <= CHANGED_UP_TO
    while improved:
        improved = False
        for tree in neighbours(_tree(best, len(operands))):
            changed = _pairs(tree, len(operands))
            if time_of(changed) < least * (1 - WORTHWHILE):
                best, least, improved = changed, time_of(changed), True
                break
    return found


# The number of an operand, or the first, the second, and whether the leading indices of the second stay where they are.
Tree = int | tuple[Any, Any, bool]


def neighbours(tree: Tree) -> Iterator[Tree]:
    """Yield an order changed in one place: sides exchanged, indices left in place or not, three operands regrouped."""
    if isinstance(tree, int):
        return
    left, right, _ = tree
    yield from _products(left, right)
    for inner, outer in ((left, right), (right, left)):
        if not isinstance(inner, int):
            first, second, _ = inner
            for stays, goes in ((first, second), (second, first)):
                for joined in _products(goes, outer):
                    yield from _products(stays, joined)
    yield from ((changed, *tree[1:]) for changed in neighbours(left))
    yield from ((left, changed, tree[2]) for changed in neighbours(right))


def _products(one: Tree, other: Tree) -> Iterator[Tree]:
    """Yield the ways to multiply two operands."""
    yield from ((*sides, in_place) for sides in ((one, other), (other, one)) for in_place in (False, True))


def _sorted(tree: Tree) -> tuple[int, Tree]:
    """The first operand of an order, and the order with first operands in front: neighbours in a format stay neighbours."""
    if isinstance(tree, int):
        return tree, tree
    (first, one), (_, other) = sorted((_sorted(side) for side in tree[:2]), key=lambda side: side[0])
    return first, (one, other, tree[2])


def _tree(pairs: Pairs, n_operands: int) -> Tree:
    nodes: list[Tree] = list(range(n_operands))
    for left, right, *in_place in pairs:
        nodes.append((nodes[left], nodes[right], any(in_place)))
    return nodes[-1]


def _pairs(tree: Tree, n_operands: int) -> Pairs:
    pairs: list[Pair] = []

    def number_of(node: Tree) -> int:
        if isinstance(node, int):
            return node
        left, right, in_place = node
        numbers = number_of(left), number_of(right)
        pairs.append((*numbers, True) if in_place else numbers)
        return n_operands + len(pairs) - 1

    number_of(tree)
    return tuple(pairs)
