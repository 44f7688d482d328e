"""Hierarchical Tucker: a binary tree of transfer tensors with the modes at its leaves."""

import math
from functools import lru_cache
from typing import Any, NamedTuple

from tensorly_rnn._checks import plain, positive_int, positive_ints
from tensorly_rnn.contraction import Indices
from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.formats._registry import register
from tensorly_rnn.tensorize import TensorizedShape

HTRank = tuple[int, ...]


class Node(NamedTuple):
    """A node of the dimension tree: it spans modes ``start`` to ``stop - 1``; a leaf has no children."""

    start: int
    stop: int
    children: tuple[int, ...]


@lru_cache(maxsize=256)
def balanced_tree(order: int) -> tuple[Node, ...]:
    """Return the nodes of the balanced tree, breadth first, the root first.

    The left child takes the first ``floor(size / 2)`` modes of its parent.

    Examples
    --------
    >>> [(node.start, node.stop) for node in balanced_tree(3)]
    [(0, 3), (0, 1), (1, 3), (1, 2), (2, 3)]
    """
    spans = [(0, order)]
    nodes: list[Node] = []
    for start, stop in spans:
        if stop - start == 1:
            nodes.append(Node(start, stop, ()))
            continue
        middle = start + (stop - start) // 2
        nodes.append(Node(start, stop, (len(spans), len(spans) + 1)))
        spans += [(start, middle), (middle, stop)]
    return tuple(nodes)


@register
class HTMatrix(FactorizedMatrix):
    r"""Hierarchical Tucker matrix, or a stack of them that share all but the root.

    ``U_s[r_s, ...] = sum_{r_s1, r_s2} G_s[r_s, r_s1, r_s2] U_s1[r_s1, ...] U_s2[r_s2, ...]`` from the leaves
    ``U_k[r_k, j_k, i_k]`` up to the root, whose rank index counts the matrices of the stack: ``W = U_root``, rows
    stack-major.

    Parameters
    ----------
    factors : sequence of arrays
        Breadth first, root first: nodes of shape (rank of the node, of its left child, of its right child), leaves of
        shape (rank of the leaf, out_modes[k], in_modes[k]). A single leaf where there is one mode.
    shape : (int, int), optional
        True rows and columns where the modes multiply to more; the rows of each matrix of the stack are padded alike.

    Raises
    ------
    TypeError, ValueError
        If the factors do not fit together.

    Notes
    -----
    ``n_param`` is the sum of all sizes. A rank is ``(leaf, node)``, an int for both, or one entry a node breadth first
    including the root; ``root_rank`` (default 1) gives the size of the stack where the rank does not.

    References
    ----------
    .. [1] Hackbusch, Kuehn, A new scheme for the tensor representation, J. Fourier Anal. Appl. 15(5), 2009.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, eq. 1 to 4.

    Examples
    --------
    >>> modes = ((4, 4, 4, 4), (16, 16, 16, 15))
    >>> f = HTMatrix.random(modes, rank=(14, 12), root_rank=4, random_state=0)
    >>> f.rank, f.shape, f.n_param
    ((4, 12, 12, 14, 14, 14, 14), (1024, 61440), 8808)
    """

    name = "ht"
    gate_modes = ("first", "last", "stack")
    stack_index = "r0"
    options = ("root_rank",)

    @staticmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes: a binary tree of d leaves has 2d - 1 nodes."""
        return (n_factors + 1) // 2 if n_factors % 2 else None

    @staticmethod
    def indices(order: int) -> tuple[Indices, ...]:
        """Return the index names of every node's axes, breadth first; ``r0`` is the root's rank."""
        return tuple(
            (f"r{k}", *(f"r{child}" for child in node.children))
            if node.children
            else (f"r{k}", f"j{node.stop}", f"i{node.stop}")
            for k, node in enumerate(balanced_tree(order))
        )

    @classmethod
    def rank_sizes(cls, rank: HTRank) -> dict[str, int]:
        """Return the size of every rank index."""
        return {f"r{k}": r for k, r in enumerate(rank)}

    @classmethod
    def rank_from_sizes(cls, size: dict[str, int], order: int) -> HTRank:
        """Return one rank a node, breadth first, the root's first."""
        return tuple(size[f"r{k}"] for k in range(2 * order - 1))

    @classmethod
    def explicit_rank(cls, tensorized_shape: TensorizedShape, rank: Any, **options: Any) -> HTRank:
        """Return one rank a node from itself, ``(leaf, node)`` or an int for both."""
        order = len(tensorized_shape[0])
        function = f"{cls.__name__}.validate_rank"
        root = cls._root_rank(options)
        if isinstance(rank, (tuple, list)) and len(rank) == 2 * order - 1:
            ranks = positive_ints(function, "rank", rank)
            if root is not None and ranks[0] != root:
                raise ValueError(
                    f"{function}: root_rank must agree with the root's entry of rank; expected {ranks[0]}, got {root}. "
                    "Leave root_rank out."
                )
            return ranks
        if isinstance(rank, (tuple, list)):
            if len(rank) != 2:
                raise ValueError(
                    f"{function}: rank must be (leaf, node) or have one entry a node of the tree, root first; expected 2 "
                    f"or {2 * order - 1} entries, got {len(rank)}: {plain(rank)}."
                )
            leaf, node = positive_ints(function, "rank", rank)
        else:
            cure = "Give an int, a float, 'same', 'full', (leaf, node) or one rank a node."
            leaf = node = positive_int(function, "rank", rank, cure=cure)
        inner = (node if one.children else leaf for one in balanced_tree(order)[1:])
        return (root or 1, *inner)

    @classmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> HTRank:
        """Return the ranks of a tree that holds any stack of matrices: the smaller side of every cut."""
        root = cls._root_rank(options) or 1
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        total = root * math.prod(sizes)
        below = [math.prod(sizes[node.start : node.stop]) for node in balanced_tree(len(sizes))]
        return (root, *(min(inside, total // inside) for inside in below[1:]))

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> HTRank:
        """Return equal ranks at all nodes but the root, less where the cut allows no more."""
        root, *others = cls.full_rank(tensorized_shape, **options)
        return (root, *(min(rank, full) for full in others))

    @classmethod
    def _root_rank(cls, options: dict[str, Any]) -> int | None:
        given = options.get("root_rank")
        return None if given is None else positive_int(f"{cls.__name__}.validate_rank", "root_rank", given)
