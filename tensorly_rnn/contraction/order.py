"""Choice of the order in which several arrays are contracted: orders found by cotengra, compared by estimated time."""

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import cotengra

from tensorly_rnn._memoize import clear_caches, memoize
from tensorly_rnn.contraction.cost_model import seconds
from tensorly_rnn.contraction.plan import ANY, NOMINAL_BATCH, Indices, Pair, Pairs, Plan, build_plan, live_indices

# With more operands an exhaustive search may take seconds. The limit is lower if one index links many operands, or if two
# operands have many neighbours (such as x and a core), since then almost any subset is connected.
EXHAUSTIVE_UP_TO, EXHAUSTIVE_UP_TO_WHERE_LINKED = 16, 9
# Objectives of cotengra: operations plus 64 or 256 times the elements written; the largest array. None is always the best.
OBJECTIVES = ("combo-64", "combo-256", "size")
# Most products of an order that is improved by local changes; the fraction of the time that a change must save.
CHANGED_UP_TO, WORTHWHILE = 16, 0.002
# Number of orders kept for `best_orders`.
KEPT = 200

# Operands, output and sizes; equal problems have the same order.
Problem = tuple[tuple[Indices, ...], Indices, tuple[tuple[str, int], ...]]

_preferred: dict[Problem, Pairs] = {}


def plan(
    operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None = None
) -> Plan:
    r"""Choose how to compute ``result[output] = sum over all other indices of prod_p operand_p[operands[p]]``.

    An index may be in any number of operands; the block index, for example, is in all factors.

    `operands` and `output` are the index names of their axes, and `sizes` has the size of every index. One index of the
    output, in no operand twice, may have the size `ANY`: the plan then holds for all sizes, in the order chosen for
    `NOMINAL_BATCH`. `pairs` are the two operands of each step, and whether the leading indices of the second stay in place;
    the result of step k is operand ``len(operands) + k``. Without them the planner chooses.

    An index larger than 1 in one operand only and not in the output, or twice in one operand, is refused, as are pairs that
    do not contain every operand and every result but the last once.

    The best orders by several objectives of cotengra are improved by local changes (`neighbours`) and compared by `seconds`,
    for the forward and backward pass without the gradient of operand 0. Up to `EXHAUSTIVE_UP_TO` operands the search is
    exhaustive; for more, one greedy order is improved by exhaustive searches of its parts. An order set by `prefer` replaces
    the choice. The number of rows of an applied matrix, index ``"b"``, is rounded up to a power of two in the search, so
    that new batch sizes reuse the order. Plans are cached.

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
        problem = _problem(operands, output, sizes)
        pairs = _preferred.get(problem) or _best_order(*problem)
    return build_plan(operands, output, sizes, pairs)


def best_orders(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> tuple[Pairs, ...]:
    """Return the best orders that `plan` compares, by estimated time, the chosen one first."""
    return _found_orders(*_problem(operands, output, tuple(sorted(sizes))))


def prefer(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs | None) -> None:
    """Set the order that `plan` uses for a problem from now on; None restores its own choice."""
    problem = _problem(operands, output, tuple(sorted(sizes)))
    if pairs is None:
        _preferred.pop(problem, None)
    else:
        _preferred[problem] = pairs
    clear_caches()


def _problem(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> Problem:
    """Return the data that an order depends on: indices without those of size 1, and sizes, the rows rounded up."""
    usual = {index: NOMINAL_BATCH if n == ANY else n for index, n in sizes}
    live, wanted = live_indices(operands, output, usual)
    rounded = tuple((i, 1 << (n - 1).bit_length() if i == "b" and n > 0 else max(n, 1)) for i, n in usual.items())
    return tuple(live), wanted, rounded


def _training_seconds(plan: Plan) -> float:
    # Operand 0 is x, whose gradient is not needed in a first layer.
    return seconds(plan, [False] + [True] * (plan.n_operands - 1))


@lru_cache(maxsize=4096)
def _best_order(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> Pairs:
    # Only the best of up to `KEPT` is cached, which take a hundred times the memory.
    return _found_orders(operands, output, sizes)[0]


def _found_orders(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...]) -> tuple[Pairs, ...]:
    """Return orders as pairs of operand numbers, by estimated time."""
    if len(operands) == 1:
        return ((),)
    found: dict[Pairs, float] = {}
    n = len(operands)
    for order in dict.fromkeys(_pairs(_sorted(_tree(order, n))[1], n) for order in _orders(operands, output, dict(sizes))):
        found |= _improved(operands, output, sizes, order)
    return tuple(sorted(found, key=found.__getitem__)[:KEPT])


def _orders(operands: tuple[Indices, ...], output: Indices, size: dict[str, int]) -> list[Pairs]:
    """Return the candidate orders of cotengra."""
    if len(operands) == 2:
        return [((0, 1),)]
    linked = max(Counter(index for indices in operands for index in indices).values(), default=0) > 2
    hubs = sum(sum(not set(one).isdisjoint(other) for other in operands) > 4 for one in operands)
    if len(operands) <= (EXHAUSTIVE_UP_TO_WHERE_LINKED if linked or hubs > 1 else EXHAUSTIVE_UP_TO):
        searches = (cotengra.OptimalOptimizer(minimize=objective, simplify=False) for objective in OBJECTIVES)
        paths = [search.ssa_path(list(operands), output, size) for search in searches]
    else:
        # A greedy order alone is worse by orders of magnitude for many modes.
        greedy = cotengra.GreedyOptimizer(simplify=False).ssa_path(list(operands), output, size)
        tree = cotengra.ContractionTree.from_path(operands, output, size, ssa_path=greedy)
        paths = [tree.subtree_reconfigure(subtree_size=6, minimize="combo", seed=0).get_ssa_path()]
    return [tuple((pair[0], pair[1]) for pair in path) for path in paths]


def _improved(
    operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs
) -> dict[Pairs, float]:
    """Improve an order by local changes as long as one takes less time; return all orders tried, with their times."""
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


# The number of an operand; or the first, the second, and whether the leading indices of the second stay in place.
Tree = int | tuple[Any, Any, bool]


def neighbours(tree: Tree) -> Iterator[Tree]:
    """Yield the orders after one change: operands exchanged, indices left in place or not, three operands regrouped."""
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
    """Return the first operand of an order, and the order sorted by first operands, so that neighbours in a format stay so."""
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
