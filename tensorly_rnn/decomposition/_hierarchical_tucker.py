"""Hierarchical Tucker decomposition by singular value decompositions from the leaves to the root."""

import math
from typing import Any

from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._registry import Problem, decomposes
from tensorly_rnn.formats.ht import balanced_tree


@decomposes("ht", keeps_error=True)
def hierarchical_svd(problem: Problem) -> list[Any]:
    r"""Compress every mode, then every pair of children, up the tree.

    A node's basis spans the leading left singular vectors of the tensor as projected so far, with the node's modes as
    rows; the transfer tensor expresses it in its children's bases.

    Parameters
    ----------
    problem : Problem
        Tensor of shape (stack, p_1, ..., p_d) and one rank a node, breadth first.

    Returns
    -------
    list of arrays
        Breadth first: nodes of shape (rank, rank of left child, rank of right child), leaves of shape (rank, p_k).
        Ranks are less than asked where the tensor, or the product of the children's ranks, allows no more.

    Notes
    -----
    The error is at most ``sqrt(2 d - 3)`` times that of the best approximation of these ranks, ``sqrt(2 d - 2)`` where the
    stack is larger than 1 [1]_, Theorem 3.11 and remark 3.12. An error asked for is divided evenly over the truncations.

    References
    ----------
    .. [1] Grasedyck, Hierarchical singular value decomposition of tensors, SIAM J. Matrix Anal. Appl. 31(4), 2010.
    """
    backend = problem.backend
    nodes = balanced_tree(len(problem.modes))
    # The axes of `rest` are the stack and the nodes of `frontier`, in the order of their modes.
    rest = backend.reshape(problem.tensor, (problem.stack, *problem.modes))
    frontier = [
        number for start in range(len(problem.modes)) for number, node in enumerate(nodes) if node[:2] == (start, start + 1)
    ]
    factors: list[Any] = [None] * len(nodes)
    truncations = len(nodes) - 2 if problem.stack == 1 else len(nodes) - 1
    tail = problem.error / math.sqrt(max(1, truncations))
    for number in reversed(range(1, len(nodes))):
        children = nodes[number].children
        if children:
            axis = frontier.index(children[0]) + 1
            shape = tuple(rest.shape)
            rest = backend.reshape(rest, (*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :]))
            frontier[axis - 1 : axis + 1] = [number]
            sizes = shape[axis : axis + 2]
        else:
            axis = frontier.index(number) + 1
            sizes = (rest.shape[axis],)
        # Without a stack the root has one cut, which its right child has made: the left child, the last, loses nothing.
        allowed = 0.0 if number == 1 and problem.stack == 1 else tail
        basis, rest = left_basis(backend, rest, axis, problem.rank[number], allowed)
        factors[number] = backend.reshape(backend.transpose(basis, (1, 0)), (basis.shape[1], *sizes))
    # What is left is the root: (stack, left child, right child), or the single leaf itself.
    factors[0] = rest
    return factors
