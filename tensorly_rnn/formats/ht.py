"""Hierarchical Tucker format: a binary tree of transfer tensors over the modes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import MOST_RANK, plain, positive_ints
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats._registry import register
from tensorly_rnn.formats._tree import Node, Tree, balanced_tree, tree_nodes, validate_tree
from tensorly_rnn.formats.format import Format, RankNames
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.tensorize import Modes

HTRank = tuple[int, ...]


@dataclass(frozen=True)
class HT(Format):
    """Hierarchical Tucker format on a binary tree of modes; None is the balanced tree of any order.

    A rank has one entry per node, breadth first with the root first; or it is ``(leaf, node)``, or an int for both.
    """

    tree: Tree | None = None

    name = "ht"
    gate_modes = ("first", "last", "stack")
    stack_index = "r0"

    def __post_init__(self) -> None:
        if self.tree is not None:
            object.__setattr__(self, "tree", validate_tree(self.tree))

    def for_order(self, order: int) -> "HT":
        """Return the format for that many modes, without a tree if it is the balanced one."""
        self.nodes(order)
        return HT() if self.tree == balanced_tree(order) else self

    def nodes(self, order: int) -> tuple[Node, ...]:
        """Return the nodes of the tree, which must have `order` leaves, breadth first, the root first."""
        nodes = tree_nodes(balanced_tree(order) if self.tree is None else self.tree)
        if len(nodes) != 2 * order - 1:
            raise ValueError(
                f"tree must have one leaf per mode; expected {order} leaves, got {self.tree} with {(len(nodes) + 1) // 2}."
            )
        return nodes

    def order_of(self, n_factors: int) -> int | None:
        """Return the number of modes: a binary tree of d leaves has 2d - 1 nodes."""
        return (n_factors + 1) // 2 if n_factors % 2 else None

    def indices(self, order: int) -> tuple[Indices, ...]:
        """Return the index names of every node's axes, breadth first; ``r0`` is the root's rank."""
        return tuple(
            (f"r{k}", *(f"r{child}" for child in node.children))
            if node.children
            else (f"r{k}", f"j{node.modes[0] + 1}", f"i{node.modes[0] + 1}")
            for k, node in enumerate(self.nodes(order))
        )

    def rank_names(self, order: int) -> RankNames:
        """Return one name per node, breadth first, the root's first."""
        return tuple(f"r{k}" for k in range(2 * order - 1))

    def full(self, sizes: Modes, stack: int = 1) -> HTRank:
        """Return the smaller side of every cut of the tree; the stack is at the root."""
        total = stack * math.prod(sizes)
        below = [math.prod(sizes[mode] for mode in node.modes) for node in self.nodes(len(sizes))]
        return (stack, *(min(inside, total // inside) for inside in below[1:]))

    def expand(self, order: int, rank: Any, root_rank: int | None = None) -> Any:
        """Return ``(leaf, node)`` as one rank per node."""
        n_nodes = 2 * order - 1
        if not isinstance(rank, (tuple, list)) or len(rank) == n_nodes:
            return rank
        if len(rank) != 2:
            raise ValueError(
                f"rank must be (leaf, node) or have one entry per node of the tree, root first; expected 2 or {n_nodes} "
                f"entries, got {len(rank)}: {plain(rank)}."
            )
        leaf, inner = positive_ints("rank", rank, most=MOST_RANK)
        return (root_rank or 1, *(inner if node.children else leaf for node in self.nodes(order)[1:]))


@register
class HTMatrix(FactorizedMatrix):
    r"""Hierarchical Tucker matrix, or a stack of them that share all factors but the root.

    ``U_s[r_s, ...] = sum_{r_s1, r_s2} G_s[r_s, r_s1, r_s2] U_s1[r_s1, ...] U_s2[r_s2, ...]`` from the leaves
    ``U_k[r_k, j_k, i_k]`` up to the root, whose rank index counts the matrices of the stack: ``W = U_root``, rows
    stack-major.

    Parameters
    ----------
    factors : sequence of arrays
        Breadth first, root first: nodes of shape (rank of the node, of its left child, of its right child), leaves of
        shape (rank of the leaf, out_modes[k], in_modes[k]). A single leaf where there is one mode.
    shape : (int, int), optional
        True rows and columns where the modes multiply to more; each matrix of the stack is padded by as many rows.
    tree : nested pairs of mode numbers, optional
        Default: `balanced_tree`. The tree of the tensor train is `linear_tree`.

    Raises
    ------
    TypeError, ValueError
        If the factors do not fit together, or `tree` is not a binary tree of their modes.

    Notes
    -----
    ``n_param`` is the sum of the sizes of all factors. A rank is ``(leaf, node)``, an int for both, or one entry per node
    breadth first including the root; ``root_rank`` (default 1) is the size of the stack where the rank does not give it. The
    tree is a field of the format, and ``tree=`` is an option wherever a format is given by name.

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

    format = HT()

    def __init__(self, factors: Sequence[Any], shape: tuple[int, int] | None = None, tree: Tree | None = None) -> None:
        self.format = HT(tree)
        super().__init__(factors, shape)

    @property
    def tree(self) -> Tree | None:
        """Tree of modes; None for the balanced one."""
        tree: Tree | None = self.format.fields["tree"]
        return tree
