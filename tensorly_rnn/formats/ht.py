"""Hierarchical Tucker: a binary tree of transfer tensors with the modes at its leaves."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from tensorly_rnn._checks import MOST_RANK, plain, positive_int, positive_ints
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.formats._registry import register
from tensorly_rnn.formats._tree import Node, Tree, balanced_tree, tree_nodes, validate_tree
from tensorly_rnn.tensorize import TensorizedShape

HTRank = tuple[int, ...]


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
    tree : nested pairs of mode numbers, optional
        Default: the balanced tree, `balanced_tree`; see `linear_tree` for that of the tensor train.

    Raises
    ------
    TypeError, ValueError
        If the factors do not fit together, or `tree` is no binary tree of their modes.

    Notes
    -----
    ``n_param`` is the sum of all sizes. A rank is ``(leaf, node)``, an int for both, or one entry a node breadth first
    including the root; ``root_rank`` (default 1) gives the size of the stack where the rank does not. On another tree than
    the balanced one the class is a subclass, which ``tree=`` makes wherever a rank is given.

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
    >>> HTMatrix.random(modes, rank=(14, 12), tree=(0, (1, (2, 3))), random_state=0).rank
    (1, 14, 12, 14, 12, 14, 14)
    """

    name = "ht"
    gate_modes = ("first", "last", "stack")
    stack_index = "r0"
    options = ("root_rank", "tree")
    #: The tree of modes; None for the balanced one of any order.
    tree: ClassVar[Tree | None] = None

    def __new__(cls, factors: Sequence[Any], shape: tuple[int, int] | None = None, tree: Tree | None = None) -> Self:
        """Make an object of the class on the tree."""
        # A tree of another number of leaves is found out with the factors.
        order = (len(factors) + 1) // 2 if isinstance(factors, (list, tuple)) and factors else None
        return super().__new__(cls if tree is None else cls.on_tree(tree, order))

    def __init__(self, factors: Sequence[Any], shape: tuple[int, int] | None = None, tree: Tree | None = None) -> None:
        super().__init__(factors, shape)

    def __reduce__(self) -> tuple[Any, ...]:
        return HTMatrix, (self.factors, self._shape, self.tree)

    @classmethod
    def on_tree(cls, tree: Tree, order: int | None = None) -> type[Self]:
        """Return the class of hierarchical Tucker matrices on a tree; HTMatrix itself where that is balanced.

        Raises
        ------
        TypeError, ValueError
            If it is no binary tree, or its leaves are not `order` modes.
        """
        plain_tree = validate_tree(tree)
        leaves = (len(tree_nodes(plain_tree)) + 1) // 2
        order = None if order is None else positive_int("order", order)
        if order is not None and leaves != order:
            raise ValueError(f"tree must have one leaf a mode; expected {order} leaves, got {plain_tree} with {leaves}.")
        return _on_tree(plain_tree)  # type: ignore[return-value]

    @classmethod
    def variant(cls, options: dict[str, Any], order: int) -> tuple[type[Self], dict[str, Any]]:
        """Take the tree out of the options."""
        others = {name: value for name, value in options.items() if name != "tree"}
        tree = options.get("tree")
        return (cls if tree is None else cls.on_tree(tree, order)), others

    def _description(self) -> str:
        return super()._description() + (f", tree={self.tree}" if self.tree else "")

    @classmethod
    def nodes(cls, order: int) -> tuple[Node, ...]:
        """Return the nodes of the tree, breadth first, the root first."""
        nodes = tree_nodes(balanced_tree(order) if cls.tree is None else cls.tree)
        if len(nodes) != 2 * order - 1:
            raise ValueError(
                f"tree must have one leaf a mode; expected {order} leaves, got {cls.tree} with {(len(nodes) + 1) // 2}."
            )
        return nodes

    @staticmethod
    def order_of(n_factors: int) -> int | None:
        """Return the number of modes: a binary tree of d leaves has 2d - 1 nodes."""
        return (n_factors + 1) // 2 if n_factors % 2 else None

    @classmethod
    def indices(cls, order: int) -> tuple[Indices, ...]:
        """Return the index names of every node's axes, breadth first; ``r0`` is the root's rank."""
        return tuple(
            (f"r{k}", *(f"r{child}" for child in node.children))
            if node.children
            else (f"r{k}", f"j{node.modes[0] + 1}", f"i{node.modes[0] + 1}")
            for k, node in enumerate(cls.nodes(order))
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
        root = cls._root_rank(options)
        if isinstance(rank, (tuple, list)) and len(rank) == 2 * order - 1:
            ranks = positive_ints("rank", rank, most=MOST_RANK)
            if root is not None and ranks[0] != root:
                raise ValueError(
                    f"root_rank must agree with the root's entry of rank; expected {ranks[0]}, got {root}. "
                    "Leave root_rank out."
                )
            return ranks
        if isinstance(rank, (tuple, list)):
            if len(rank) != 2:
                raise ValueError(
                    f"rank must be (leaf, node) or have one entry a node of the tree, root first; expected 2 "
                    f"or {2 * order - 1} entries, got {len(rank)}: {plain(rank)}."
                )
            leaf, node = positive_ints("rank", rank, most=MOST_RANK)
        else:
            cure = "Give an int, a float, 'same', 'full', (leaf, node) or one rank a node."
            leaf = node = positive_int("rank", rank, cure, MOST_RANK)
        inner = (node if one.children else leaf for one in cls.nodes(order)[1:])
        return (root or 1, *inner)

    @classmethod
    def full_rank(cls, tensorized_shape: TensorizedShape, **options: Any) -> HTRank:
        """Return the ranks of a tree that holds any stack of matrices: the smaller side of every cut."""
        root = cls._root_rank(options) or 1
        sizes = [m * n for m, n in zip(*tensorized_shape)]
        total = root * math.prod(sizes)
        below = [math.prod(sizes[mode] for mode in node.modes) for node in cls.nodes(len(sizes))]
        return (root, *(min(inside, total // inside) for inside in below[1:]))

    @classmethod
    def uniform_rank(cls, tensorized_shape: TensorizedShape, rank: int, **options: Any) -> HTRank:
        """Return equal ranks at all nodes but the root, less where the cut allows no more."""
        root, *others = cls.full_rank(tensorized_shape, **options)
        return (root, *(min(rank, full) for full in others))

    @classmethod
    def _root_rank(cls, options: dict[str, Any]) -> int | None:
        given = options.get("root_rank")
        return None if given is None else positive_int("root_rank", given, most=MOST_RANK)


# One class a tree, for as long as the process lives and whichever thread asks first: plans may be forgotten.
_ON_TREES: dict[Tree, type[HTMatrix]] = {}


@memoize
def _on_tree(tree: Tree) -> type[HTMatrix]:
    if tree == balanced_tree((len(tree_nodes(tree)) + 1) // 2):
        return HTMatrix
    made = type("HTMatrix", (HTMatrix,), {"tree": tree, "__doc__": HTMatrix.__doc__, "__module__": HTMatrix.__module__})
    return _ON_TREES.setdefault(tree, made)
