"""Hierarchical Tucker tensors, and their conversions from and to the tensor train."""

from collections.abc import Sequence
from typing import Any, Self

from tensorly_rnn._backend import context, same_backend
from tensorly_rnn._checks import checked_flag, positive_ints
from tensorly_rnn.formats._random import RandomState
from tensorly_rnn.formats._tree import Tree, linear_tree, tree_nodes
from tensorly_rnn.formats.ht import HT, HTRank
from tensorly_rnn.formats.tensor import FactorizedTensor
from tensorly_rnn.formats.tensorly_tensors import TTTensor


class HTTensor(FactorizedTensor):
    r"""Hierarchical Tucker tensor on a binary tree of its modes.

    ``U_s[r_s, ...] = sum_{r_s1, r_s2} G_s[r_s, r_s1, r_s2] U_s1[r_s1, ...] U_s2[r_s2, ...]`` from the leaves
    ``U_k[r_k, i_k]`` up to the root, whose rank is 1: ``T = U_root[0]``.

    Parameters
    ----------
    factors : sequence of arrays
        Breadth first, root first: nodes of shape (rank of the node, of its left child, of its right child), leaves of
        shape (rank of the leaf, shape[k]). A single leaf where there is one mode.
    tree : nested pairs of mode numbers, optional
        Default: the balanced tree.

    References
    ----------
    .. [1] Hackbusch, Kuehn, A new scheme for the tensor representation, J. Fourier Anal. Appl. 15(5), 2009.

    Examples
    --------
    >>> t = HTTensor.random((3, 4, 5, 6), rank=2, tree=((0, 2), (1, 3)), random_state=0)
    >>> t.rank, t.n_param, t.tree
    ((1, 2, 2, 2, 2, 2, 2), 56, ((0, 2), (1, 3)))
    """

    format = HT()

    def __init__(self, factors: Sequence[Any], tree: Tree | None = None) -> None:
        self.format = HT(getattr(factors, "tree", None) if tree is None else tree)
        super().__init__(factors)
        if self.factors[0].shape[0] != 1:
            raise ValueError(
                f"factors must have a root of rank 1; expected 1, got {self.factors[0].shape[0]} in shape "
                f"{tuple(self.factors[0].shape)} (at factors[0]). A stack is a mode of its own."
            )

    @property
    def tree(self) -> Tree | None:
        """Tree of modes; None for the balanced one."""
        return self.format.tree

    def to_tt(self) -> TTTensor:
        r"""Return the same tensor as TensorLy's tensor train.

        A node becomes a train whose first index is the node's rank; the rank index of the right child is carried along the
        cores of the left child: ``core_k[(r, c), i, (r', c')] = core_k[r, i, r'] delta[c, c']``. The leaves of the tree must
        be in the order of the modes.

        The conversion is exact. On `linear_tree` the ranks are the same; on other trees a rank of the train is a product of
        ranks of the tree, which rounding the result may reduce.
        """
        nodes = self.format.nodes(self.order)
        if nodes[0].modes != tuple(range(self.order)):
            raise ValueError(f"tree must have its leaves in the order of the modes; got {self.tree}.")
        return TTTensor(self._train(0))

    def _train(self, number: int) -> list[Any]:
        """Return the cores of a node, the first of shape (rank of the node, ...)."""
        backend, factor = self.backend, self.factors[number]
        children = self.format.nodes(self.order)[number].children
        if not children:
            return [backend.reshape(factor, (*factor.shape, 1))]
        left, right = (self._train(child) for child in children)
        carried = factor.shape[2]
        # (r_s, r_1, r_2) (r_1, i, r') -> (r_s, r_2, i, r') -> (r_s, i, (r', r_2))
        first = backend.transpose(backend.tensordot(factor, left[0], axes=([1], [0])), (0, 2, 3, 1))
        cores = [backend.reshape(first, (factor.shape[0], left[0].shape[1], -1))]
        identity = backend.eye(carried, **context(backend, factor))
        for core in left[1:]:
            # (r, i, r') (c, c') -> ((r, c), i, (r', c'))
            product = backend.transpose(backend.tensordot(core, identity, axes=0), (0, 3, 1, 2, 4))
            cores.append(backend.reshape(product, (core.shape[0] * carried, core.shape[1], -1)))
        return [*cores, *right]

    @classmethod
    def from_tt(cls, tt_tensor: Any) -> Self:
        """Return a tensor train, TensorLy's or a sequence of cores, on the linear tree with identities as leaves."""
        listed = getattr(tt_tensor, "factors", tt_tensor)
        if not isinstance(listed, (list, tuple)) or not listed:
            raise TypeError(f"tt_tensor must be a tensor train; expected TTTensor or a list of cores, got {tt_tensor!r}.")
        cores = list(listed)
        backend = same_backend({f"factors[{k}]": core for k, core in enumerate(cores)})
        for k, core in enumerate(cores):
            before = cores[k - 1].shape[-1] if k else 1
            if len(core.shape) != 3 or core.shape[0] != before or (k == len(cores) - 1 and core.shape[2] != 1):
                raise ValueError(
                    f"tt_tensor must be a chain of cores (rank, mode, rank) with ends 1; expected "
                    f"({before}, mode, {'rank' if k < len(cores) - 1 else 1}), got {tuple(core.shape)} (at factors[{k}])."
                )
        tree = linear_tree(len(cores))
        factors = []
        for node in tree_nodes(tree):
            core = cores[node.modes[0]]
            if node.children:
                factors.append(core)
            elif node.modes[0] == len(cores) - 1:
                factors.append(backend.reshape(core, core.shape[:2]))
            else:
                factors.append(backend.eye(core.shape[1], **context(backend, core)))
        return cls(factors, tree)


def ht_to_tensor(ht_tensor: Any) -> Any:
    """Return the dense tensor of a hierarchical Tucker tensor, or of its factors on the balanced tree.

    Parameters
    ----------
    ht_tensor : HTTensor or sequence of arrays

    Examples
    --------
    >>> import numpy as np
    >>> float(ht_to_tensor([np.ones((1, 2, 2)), np.ones((2, 3)), np.ones((2, 4))])[0, 0])
    4.0
    """
    return HTTensor(ht_tensor).to_tensor()


def ht_to_unfolded(ht_tensor: Any, mode: int) -> Any:
    """Return the unfolding of a hierarchical Tucker tensor along a mode; see `HTTensor.to_unfolded`.

    Parameters
    ----------
    ht_tensor : HTTensor or sequence of arrays
    mode : int
    """
    return HTTensor(ht_tensor).to_unfolded(mode)


def ht_to_vec(ht_tensor: Any) -> Any:
    """Return a hierarchical Tucker tensor as a dense vector, row-major; see `HTTensor.to_vec`.

    Parameters
    ----------
    ht_tensor : HTTensor or sequence of arrays
    """
    return HTTensor(ht_tensor).to_vec()


def validate_ht_rank(tensor_shape: Sequence[int], rank: Any = "same", tree: Tree | None = None) -> HTRank:
    """Return one rank per node, breadth first, for a rank given in any form; see `HTMatrix`.

    Parameters
    ----------
    tensor_shape : sequence of int
    rank : 'full', 'same', float, int, (leaf, node) or one int per node
    tree : nested pairs of mode numbers, optional

    Examples
    --------
    >>> validate_ht_rank((10, 11, 12), (4, 3))
    (1, 4, 3, 4, 4)
    """
    modes = positive_ints("tensor_shape", tensor_shape)
    return HT(tree).validate_rank((modes, (1,) * len(modes)), rank)


def ht_n_param(tensor_shape: Sequence[int], rank: Any = "same", tree: Tree | None = None) -> int:
    """Return the number of parameters, the sum of the sizes of all factors.

    Parameters
    ----------
    tensor_shape, rank, tree
        As in `validate_ht_rank`.

    Examples
    --------
    >>> ht_n_param((10, 11, 12), (4, 3))
    192
    """
    modes = positive_ints("tensor_shape", tensor_shape)
    return HT(tree).make_tensor_network(modes, validate_ht_rank(modes, rank, tree)).n_param


def random_ht(
    shape: Sequence[int],
    rank: Any = "same",
    full: bool = False,
    std: float = 1.0,
    random_state: RandomState = None,
    like: Any = None,
    tree: Tree | None = None,
) -> Any:
    """Draw a random hierarchical Tucker tensor whose root mean square is exactly `std`.

    Parameters
    ----------
    shape, std, random_state, like
        As in `HTTensor.random`.
    rank, tree
        As in `validate_ht_rank`.
    full : bool
        Whether to return the dense tensor instead of an HTTensor.

    Examples
    --------
    >>> random_ht((3, 4, 5), 2, random_state=0)
    HTTensor(shape=(3, 4, 5), rank=(1, 2, 2, 2, 2), n_param=36, compression_ratio=1.667)
    """
    drawn = HTTensor.random(shape, rank, std, random_state, like, tree=tree)
    return drawn.to_tensor() if checked_flag("full", full) else drawn
