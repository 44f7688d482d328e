"""Hierarchical Tucker decomposition by singular value decompositions."""

import math
from typing import Any

from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.formats._tree import Node
from tensorly_rnn.formats.ht import HT


def hierarchical_svd(problem: Problem) -> list[Any]:
    """Find a basis for every node of the tree, and the transfer tensors between them.

    A node's basis ``U_s`` spans leading left singular vectors of the tensor with the node's modes as rows. From the leaves
    to the root the tensor is projected as soon as a basis is known, so that it shrinks at every step; from the root to the
    leaves all bases are those of the tensor itself, and the transfer tensors are the inner products
    ``G_s[r_s, r_s1, r_s2] = <U_s, U_s1 x U_s2>``. See `tensorly_rnn.decomposition.hierarchical_tucker`.

    Returns nodes of shape (rank, rank of left child, rank of right child) and leaves of shape (rank, p_k), breadth first.
    An error is divided evenly over the truncations; for a stack larger than 1 there is one more of them ([1]_, Theorem
    3.11 and remark 3.12).

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
    max_error = problem.max_error / math.sqrt(max(1, truncations))
    decompose = _root_to_leaves if problem.method == "root_to_leaves" else _leaves_to_root
    return decompose(problem, tensor, nodes, max_error)


def _leaves_to_root(problem: Problem, tensor: Any, nodes: tuple[Node, ...], max_error: float) -> list[Any]:
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
        # Without a stack the two children of the root share one cut, made for the right child: the left one loses nothing.
        of_node = 0.0 if number == 1 and problem.stack == 1 else max_error
        basis, rest = left_basis(backend, rest, axis, problem.rank[number], of_node)
        factors[number] = backend.reshape(backend.transpose(basis, (1, 0)), (basis.shape[1], *sizes))
    # The rest is the root: (stack, left child, right child), or the single leaf itself.
    factors[0] = rest
    return factors


def _root_to_leaves(problem: Problem, tensor: Any, nodes: tuple[Node, ...], max_error: float) -> list[Any]:
    backend = problem.backend
    shape = tuple(tensor.shape)
    place = {mode: axis for axis, mode in enumerate(nodes[0].modes, start=1)}

    def split(node: Node) -> tuple[int, int, int]:
        """Return the numbers of elements before, in and after the node's modes."""
        first, last = place[node.modes[0]], place[node.modes[-1]] + 1
        return math.prod(shape[:first]), math.prod(shape[first:last]), math.prod(shape[last:])

    bases = [backend.reshape(tensor, (shape[0], -1))]
    for number in range(1, len(nodes)):
        unfolded = backend.reshape(tensor, split(nodes[number]))
        basis, _ = left_basis(backend, unfolded, 1, problem.rank[number], max_error)
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
