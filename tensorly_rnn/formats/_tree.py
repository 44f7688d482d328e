"""Binary trees of modes, written as nested pairs of mode numbers, and their nodes."""

import numbers
from typing import Any, NamedTuple, Union

from tensorly_rnn._checks import MOST_MODES, positive_int
from tensorly_rnn._memoize import memoize

#: Trees are traversed recursively; deeper ones are refused.
MOST_LEVELS = 256

#: A mode's number, or a pair of trees.
Tree = Union[int, tuple["Tree", "Tree"]]  # noqa: UP007 - a recursive type needs the quoted form


class Node(NamedTuple):
    """Node of a tree: the modes below it from left to right, and the numbers of its children (none for a leaf)."""

    modes: tuple[int, ...]
    children: tuple[int, ...]


def balanced_tree(order: int) -> Tree:
    """Return the tree in which the left child of each node has the first ``floor(size / 2)`` of its modes.

    Parameters
    ----------
    order : int
        Number of modes.

    Examples
    --------
    >>> balanced_tree(5)
    ((0, 1), (2, (3, 4)))
    """
    return _balanced(0, positive_int("order", order, most=MOST_MODES))


def linear_tree(order: int) -> Tree:
    """Return the tree that splits off one mode at each level, as the tensor train does.

    Parameters
    ----------
    order : int
        Number of modes.

    Examples
    --------
    >>> linear_tree(4)
    (0, (1, (2, 3)))
    """
    order = positive_int("order", order, most=MOST_LEVELS)
    tree: Tree = order - 1
    for mode in reversed(range(order - 1)):
        tree = (mode, tree)
    return tree


def _balanced(start: int, stop: int) -> Tree:
    if stop - start == 1:
        return start
    middle = start + (stop - start) // 2
    return _balanced(start, middle), _balanced(middle, stop)


@memoize
def tree_nodes(tree: Tree) -> tuple[Node, ...]:
    """Return the nodes of a tree, breadth first, the root first.

    Examples
    --------
    >>> [node.modes for node in tree_nodes(((0, 2), 1))]
    [(0, 2, 1), (0, 2), (1,), (0,), (2,)]
    """
    queue: list[Tree] = [tree]
    nodes: list[Node] = []
    for one in queue:
        children: tuple[int, ...] = ()
        if isinstance(one, tuple):
            children = (len(queue), len(queue) + 1)
            queue += one
        nodes.append(Node(_leaves(one), children))
    return tuple(nodes)


def validate_tree(tree: Any) -> Tree:
    """Return a tree as plain tuples and ints; raise an error unless every mode is at exactly one leaf."""
    validated = _validated(tree)
    leaves = _leaves(validated)
    if sorted(leaves) != list(range(len(leaves))):
        raise ValueError(
            f"tree must have every mode at one leaf; expected the numbers 0 to {len(leaves) - 1} once each, "
            f"got {leaves}. Count modes from 0."
        )
    return validated


def _validated(tree: Any, depth: int = 1) -> Tree:
    if depth > MOST_LEVELS:
        raise ValueError(f"tree must be less deep; expected at most {MOST_LEVELS} levels, got more.")
    if isinstance(tree, numbers.Integral) and not isinstance(tree, bool):
        return int(tree)
    if not isinstance(tree, (tuple, list)):
        raise TypeError(
            f"tree must be nested pairs of mode numbers; expected an int or a pair, got {tree!r} of type "
            f"{type(tree).__name__}. Write ((0, 1), (2, 3)), for example."
        )
    if len(tree) != 2:
        raise ValueError(
            f"tree must be binary; expected pairs, got a node of {len(tree)} children: {tree!r}. "
            "Nest the pairs, as in (0, (1, 2))."
        )
    return _validated(tree[0], depth + 1), _validated(tree[1], depth + 1)


def _leaves(tree: Tree) -> tuple[int, ...]:
    return (tree,) if isinstance(tree, int) else _leaves(tree[0]) + _leaves(tree[1])
