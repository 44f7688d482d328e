"""Hierarchical Tucker decomposition by singular value decompositions, from the leaves to the root or back."""

import math
from typing import Any

from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._registry import Problem, decomposes, truncates
from tensorly_rnn.formats._tree import Node
from tensorly_rnn.formats.ht import HT


@truncates("ht")
@decomposes("ht", keeps_error=True, methods=("leaves_to_root", "root_to_leaves"))
def hierarchical_svd(problem: Problem) -> list[Any]:
    r"""Find a basis for every node of the tree, and the transfer tensors between them.

    A node's basis ``U_s`` spans leading left singular vectors of the tensor with the node's modes as rows. From the leaves
    to the root the tensor is projected as soon as a basis is known, so that every decomposition but the first meets a
    smaller tensor; from the root to the leaves all bases are those of the tensor itself, and the transfer tensors
    ``G_s[r_s, r_s1, r_s2] = <U_s, U_s1 x U_s2>`` their inner products.

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
    Either way the error is at most ``sqrt(2 d - 3)`` times that of the best approximation of these ranks,
    ``sqrt(2 d - 2)`` where the stack is larger than 1 [1]_, Theorem 3.11 and remark 3.12. An error asked for is divided
    evenly over the truncations.

    References
    ----------
    .. [1] Grasedyck, Hierarchical singular value decomposition of tensors, SIAM J. Matrix Anal. Appl. 31(4), 2010,
       algorithms 1 and 2.
    """
    backend = problem.backend
    assert isinstance(problem.format, HT)
    nodes = problem.format.nodes(len(problem.modes))
    # With the modes in the order of the leaves, every node's modes are neighbours.
    axes = (0, *(1 + mode for mode in nodes[0].modes))
    tensor = problem.tensor if axes == tuple(range(len(axes))) else backend.transpose(problem.tensor, axes)
    truncations = len(nodes) - 2 if problem.stack == 1 else len(nodes) - 1
    tail = problem.error / math.sqrt(max(1, truncations))
    way = _from_the_root if problem.method == "root_to_leaves" else _from_the_leaves
    return way(problem, tensor, nodes, tail)


def _from_the_leaves(problem: Problem, tensor: Any, nodes: tuple[Node, ...], tail: float) -> list[Any]:
    backend = problem.backend
    # The axes of `rest` are the stack and the nodes of `frontier`, in the order of their modes.
    rest = tensor
    frontier = [next(k for k, node in enumerate(nodes) if node.modes == (mode,)) for mode in nodes[0].modes]
    factors: list[Any] = [None] * len(nodes)
    for number in reversed(range(1, len(nodes))):
        children = nodes[number].children
        shape = tuple(rest.shape)
        axis = frontier.index(children[0] if children else number) + 1
        sizes = shape[axis : axis + max(1, len(children))]
        if children:
            rest = backend.reshape(rest, (*shape[:axis], sizes[0] * sizes[1], *shape[axis + 2 :]))
            frontier[axis - 1 : axis + 1] = [number]
        # Without a stack the root has one cut, which its right child has made: the left child, the last, loses nothing.
        allowed = 0.0 if number == 1 and problem.stack == 1 else tail
        basis, rest = left_basis(backend, rest, axis, problem.rank[number], allowed)
        factors[number] = backend.reshape(backend.transpose(basis, (1, 0)), (basis.shape[1], *sizes))
    # What is left is the root: (stack, left child, right child), or the single leaf itself.
    factors[0] = rest
    return factors


def _from_the_root(problem: Problem, tensor: Any, nodes: tuple[Node, ...], tail: float) -> list[Any]:
    backend = problem.backend
    shape = tuple(tensor.shape)
    place = {mode: axis for axis, mode in enumerate(nodes[0].modes, start=1)}

    def split(node: Node) -> tuple[int, int, int]:
        """Elements before, in and after the node's modes."""
        first, last = place[node.modes[0]], place[node.modes[-1]] + 1
        return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])

    bases = [backend.reshape(tensor, (shape[0], -1))]
    for number in range(1, len(nodes)):
        seen = backend.reshape(tensor, split(nodes[number]))
        basis, _ = left_basis(backend, seen, 1, problem.rank[number], tail)
        bases.append(backend.transpose(basis, (1, 0)))
    factors = []
    for node, basis in zip(nodes, bases):
        if node.children:
            left, right = (bases[child] for child in node.children)
            pairs = backend.reshape(basis, (basis.shape[0], left.shape[1], right.shape[1]))
            # (r_s, left, right) -> (r_s, left, r_right) -> (r_s, r_left, r_right)
            half = backend.matmul(pairs, backend.transpose(right, (1, 0)))
            basis = backend.tensordot(half, left, axes=([1], [1]))
            basis = backend.transpose(basis, (0, 2, 1))
        factors.append(basis)
    return factors
