"""Block-term tensors, and their conversions from and to Tucker, CP and (L, L, 1) tensors."""

from collections.abc import Sequence
from typing import Any, Self

import tensorly.tucker_tensor

from tensorly_rnn._backend import context, same_backend
from tensorly_rnn._checks import checked_flag, positive_ints
from tensorly_rnn.formats._random import RandomState
from tensorly_rnn.formats.bt import BT, BTRank
from tensorly_rnn.formats.tensor import FactorizedTensor
from tensorly_rnn.formats.tensorly_tensors import CPTensor, TuckerTensor


class BTTensor(FactorizedTensor):
    r"""Block-term tensor: the sum of `n_blocks` Tucker tensors.

    ``T[i1..id] = sum_n sum_{r1..rd} core[n, r1..rd] prod_k factor_k[n, i_k, r_k]``

    Parameters
    ----------
    factors : sequence of arrays
        First the cores, shape ``(n_blocks, *rank[1])``; then for each mode k the factors of all blocks, shape
        (n_blocks, shape[k], rank[1][k]).

    References
    ----------
    .. [1] De Lathauwer, Decompositions of a higher-order tensor in block terms, Part II, SIAM J. Matrix Anal. Appl.
       30(3), 2008.

    Examples
    --------
    >>> t = BTTensor.random((10, 11, 12), rank=(2, (2, 3, 2)), random_state=0)
    >>> t.rank, t.n_param, t.to_tensor().shape, t.to_unfolded(1).shape
    ((2, (2, 3, 2)), 178, (10, 11, 12), (11, 120))
    """

    format = BT()

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return int(self.factors[0].shape[0])

    def to_blocks(self) -> list[TuckerTensor]:
        """Return the blocks as TensorLy's Tucker tensors, factor k of shape (shape[k], rank_k); at least two modes."""
        core, *factors = self.factors
        return [TuckerTensor((core[n], [factor[n] for factor in factors])) for n in range(self.n_blocks)]

    @classmethod
    def from_blocks(cls, blocks: Sequence[Any]) -> Self:
        """Stack Tucker tensors, or pairs (core, factors), of one backend, shape and rank; others are refused."""
        if isinstance(blocks, tensorly.tucker_tensor.TuckerTensor) or not isinstance(blocks, Sequence) or not blocks:
            raise TypeError("blocks must be a sequence of Tucker tensors; expected a list of one or more.")
        listed = [(core, *factors) for core, factors in (_checked_block(f"blocks[{n}]", one) for n, one in enumerate(blocks))]
        backend = same_backend({f"blocks[{n}]": block[0] for n, block in enumerate(listed)})
        expected = [tuple(one.shape) for one in listed[0]]
        for n, block in enumerate(listed):
            got = [tuple(one.shape) for one in block]
            if got != expected:
                raise ValueError(
                    f"blocks must have one shape and rank; expected {expected} as in blocks[0], got {got} (at blocks[{n}])."
                )
        return cls([backend.stack(list(parts), axis=0) for parts in zip(*listed)])

    def to_tucker(self) -> TuckerTensor:
        """Return TensorLy's Tucker tensor of a single block; more than one are refused."""
        if self.n_blocks != 1:
            raise ValueError(f"rank must have one block; expected n_blocks = 1, got {self.n_blocks}. Use to_blocks.")
        return self.to_blocks()[0]

    @classmethod
    def from_tucker(cls, tucker: Any) -> Self:
        """Return a Tucker tensor, or pair (core, factors), as a single block."""
        core, factors = _checked_block("tucker", tucker)
        backend = same_backend({"core of tucker": core, **{f"factors[{k}] of tucker": one for k, one in enumerate(factors)}})
        return cls([backend.stack([one], axis=0) for one in (core, *factors)])

    def to_cp(self) -> CPTensor:
        """Return TensorLy's CP tensor, whose weights are the cores; core ranks larger than 1 are refused."""
        if set(self.rank[1]) != {1}:
            raise ValueError(f"rank must have core ranks of 1; expected all 1, got {self.rank[1]}.")
        backend = self.backend
        core, *factors = self.factors
        columns = [backend.transpose(backend.reshape(factor, factor.shape[:2]), (1, 0)) for factor in factors]
        return CPTensor((backend.reshape(core, (-1,)), columns))

    @classmethod
    def from_cp(cls, cp: Any) -> Self:
        """Return a CP tensor, or pair (weights, factors), as blocks of core rank 1; weights may be None."""
        try:
            weights, factors = cp
            n_blocks = int(factors[0].shape[1])
            same = all(tuple(one.shape[1:]) == (n_blocks,) for one in factors)
        except (TypeError, ValueError, IndexError, AttributeError):
            same = False
        if not same:
            raise TypeError(
                "cp must be a CP tensor; expected CPTensor or (weights, factors) with factors of equally many columns, "
                f"got {type(cp).__name__}."
            )
        backend = same_backend({f"factors[{k}]": factor for k, factor in enumerate(factors)})
        if weights is None:
            weights = backend.ones(n_blocks, **context(backend, factors[0]))
        blocks = [backend.reshape(backend.transpose(one, (1, 0)), (n_blocks, one.shape[0], 1)) for one in factors]
        return cls([backend.reshape(weights, (n_blocks,) + (1,) * len(factors)), *blocks])

    def to_ll1(self) -> tuple[Any, Any, Any]:
        r"""Return the (L, L, 1) form of a tensor of three modes whose blocks have rank (L, L', 1).

        ``T[i, j, k] = sum_n sum_l A[i, n l] B[j, n l] C[k, n]`` (De Lathauwer, see `BTTensor`, definition 2.1)

        The arrays A, B, C have the shapes (p_1, n_blocks L), (p_2, n_blocks L), (p_3, n_blocks), with L the smaller of the
        two ranks. Other ranks and numbers of modes are refused.
        """
        n_blocks, ranks = self.rank
        if len(ranks) != 3 or ranks[2] != 1:
            raise ValueError(f"rank must be (n_blocks, (L, L, 1)) for three modes; got {self.rank}.")
        backend = self.backend
        core, first, second, third = self.factors
        between = backend.reshape(core, (n_blocks, *ranks[:2]))
        if ranks[0] <= ranks[1]:
            second = backend.matmul(second, backend.transpose(between, (0, 2, 1)))
        else:
            first = backend.matmul(first, between)
        # (n, p, l) -> (p, n l)
        flat = [backend.reshape(backend.transpose(one, (1, 0, 2)), (one.shape[1], -1)) for one in (first, second)]
        return flat[0], flat[1], backend.transpose(backend.reshape(third, (n_blocks, -1)), (1, 0))

    @classmethod
    def from_ll1(cls, first: Any, second: Any, third: Any) -> Self:
        """Return the block-term tensor of three arrays as `to_ll1` returns them; the cores are identities."""
        arrays = {"first": first, "second": second, "third": third}
        backend = same_backend(arrays)
        for name, array in arrays.items():
            if array.dtype != first.dtype:
                raise TypeError(
                    f"{name} must have the dtype of first; expected {first.dtype}, got {array.dtype}. Convert one of them."
                )
            if len(array.shape) != 2 or 0 in array.shape:
                raise ValueError(f"{name} must be a matrix that is not empty; got shape {tuple(array.shape)}.")
        n_blocks, columns = third.shape[1], first.shape[1]
        if second.shape[1] != columns or columns % n_blocks:
            raise ValueError(
                "first and second must have L columns for each of third's; expected equal multiples of "
                f"{n_blocks}, got {columns} and {second.shape[1]}."
            )
        rank = columns // n_blocks
        sizes = [(one.shape[0], n_blocks, one.shape[1] // n_blocks) for one in arrays.values()]
        blocks = [backend.transpose(backend.reshape(one, size), (1, 0, 2)) for one, size in zip(arrays.values(), sizes)]
        identity = backend.eye(rank, **context(backend, first))
        return cls([backend.stack([backend.reshape(identity, (rank, rank, 1))] * n_blocks, axis=0), *blocks])


def _checked_block(argument: str, block: Any) -> tuple[Any, list[Any]]:
    try:
        core, factors = block
        return core, list(factors)
    except (TypeError, ValueError):
        raise TypeError(
            f"{argument} must be a Tucker tensor; expected TuckerTensor or (core, factors), got {type(block).__name__}."
        ) from None


def bt_to_tensor(bt_tensor: Any) -> Any:
    """Return the dense tensor of a block-term tensor, or of its factors; see `BTTensor.to_tensor`.

    Parameters
    ----------
    bt_tensor : BTTensor or sequence of arrays

    Examples
    --------
    >>> import numpy as np
    >>> float(bt_to_tensor([np.ones((2, 1, 1)), np.ones((2, 3, 1)), np.ones((2, 4, 1))])[0, 0])
    2.0
    """
    return BTTensor(bt_tensor).to_tensor()


def bt_to_unfolded(bt_tensor: Any, mode: int) -> Any:
    """Return the unfolding of a block-term tensor along a mode; see `BTTensor.to_unfolded`.

    Parameters
    ----------
    bt_tensor : BTTensor or sequence of arrays
    mode : int
    """
    return BTTensor(bt_tensor).to_unfolded(mode)


def bt_to_vec(bt_tensor: Any) -> Any:
    """Return a block-term tensor as a dense vector, row-major; see `BTTensor.to_vec`.

    Parameters
    ----------
    bt_tensor : BTTensor or sequence of arrays
    """
    return BTTensor(bt_tensor).to_vec()


def validate_bt_rank(tensor_shape: Sequence[int], rank: Any = "same") -> BTRank:
    """Return ``(n_blocks, (rank_1, ..., rank_d))`` for a rank given in any form; see `BTMatrix`.

    Parameters
    ----------
    tensor_shape : sequence of int
    rank : 'full', 'same', float, int, (n_blocks, int), (n_blocks, sequence of int) or (n_blocks, float)

    Examples
    --------
    >>> validate_bt_rank((10, 11, 12), (2, 3))
    (2, (3, 3, 3))
    >>> validate_bt_rank((10, 11, 12), (2, 0.1))
    (2, (1, 1, 1))
    """
    modes = positive_ints("tensor_shape", tensor_shape)
    return BT().validate_rank((modes, (1,) * len(modes)), rank)


def bt_n_param(tensor_shape: Sequence[int], rank: Any = "same") -> int:
    """Return the number of parameters, ``n_blocks * (sum_k p_k rank_k + prod_k rank_k)``.

    Parameters
    ----------
    tensor_shape, rank
        As in `validate_bt_rank`.

    Examples
    --------
    >>> bt_n_param((10, 11, 12), (2, (2, 2, 2)))
    148
    """
    modes = positive_ints("tensor_shape", tensor_shape)
    return BT().make_tensor_network(modes, validate_bt_rank(modes, rank)).n_param


def random_bt(
    shape: Sequence[int],
    rank: Any = "same",
    full: bool = False,
    std: float = 1.0,
    random_state: RandomState = None,
    like: Any = None,
) -> Any:
    """Draw a random block-term tensor whose root mean square is exactly `std`.

    Parameters
    ----------
    shape, std, random_state, like
        As in `BTTensor.random`.
    rank : as in `validate_bt_rank`
    full : bool
        Whether to return the dense tensor instead of a BTTensor.

    Examples
    --------
    >>> random_bt((3, 4, 5), (2, 2), random_state=0)
    BTTensor(shape=(3, 4, 5), rank=(2, (2, 2, 2)), n_param=64, compression_ratio=0.9375)
    """
    drawn = BTTensor.random(shape, rank, std, random_state, like)
    return drawn.to_tensor() if checked_flag("full", full) else drawn
