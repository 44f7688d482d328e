"""Sums, norms and transposes within a format, computed on the factors."""

from collections.abc import Sequence
from typing import Any

from tensorly_rnn._backend import detached, new_array
from tensorly_rnn.contraction.powers import Scaled, added, times_power
from tensorly_rnn.network import operations, trees
from tensorly_rnn.network.network import Network
from tensorly_rnn.tensorize import pad_axis


def norm(backend: Any, parts: Sequence[tuple[Network, Sequence[Any]]]) -> Any:
    r"""Return the Frobenius norm of several networks together, without forming them.

    ``sqrt(sum over parts of ||W_part||_F^2)``

    There is mostly one part; several are disjoint boxes of a network of which some entries are padding.

    For a tree the result is the norm of its orthogonalized root; terms that cancel leave an error of machine precision. A
    network with loops is contracted with itself, where the error is a relative 1e-8 (in double precision) of the terms. The
    gradient is that of the contraction in both cases, ``d||W|| = <W, dW> / ||W||``, since the gradient of a QR decomposition
    does not exist where a rank is larger than necessary. It is zero at W = 0.
    """
    value, exponent = scaled_norm(backend, parts)
    result = times_power(value, exponent)
    if all(detached(factor) is factor for _, factors in parts for factor in factors):
        return result
    squared, power = _scaled_squared_norm(backend, parts)
    one = new_array(backend, 1.0, value)
    divisor = backend.where(value > 0, value, one)
    # (S - S0) / (2 ||W||) = ||W|| (S - S0) / (2 ||W||^2), with powers that cancel
    change = (squared - detached(squared)) / (2 * divisor * divisor)
    return result + result * times_power(change, backend.where(value > 0, power - 2 * exponent, 0 * one))


def scaled_norm(backend: Any, parts: Sequence[tuple[Network, Sequence[Any]]]) -> Scaled:
    """Return the value of `norm`, without a gradient, as a pair."""
    parts = [(network, [detached(factor) for factor in factors]) for network, factors in parts]
    squares = []
    for network, factors in parts:
        if trees.is_tree(network):
            centred, exponent = trees.scaled_orthogonalized(backend, network, factors)
            squares.append((backend.norm(centred[0]) ** 2, 2 * exponent))
        else:
            squared, exponent = operations.scaled_inner(backend, network, factors, network, factors)
            squares.append((backend.abs(squared), exponent))
    squared, exponent = added(backend, squares)
    return backend.sqrt(squared), exponent / 2


def _scaled_squared_norm(backend: Any, parts: Sequence[tuple[Network, Sequence[Any]]]) -> Scaled:
    return added(backend, [operations.scaled_inner(backend, *part, *part) for part in parts])


def direct_sum(
    backend: Any, network: Network, factors: Sequence[Any], other: Network, other_factors: Sequence[Any]
) -> list[Any]:
    r"""Return the factors of the sum of two networks of one format.

    If a summed index is in every factor (a block index), the terms are concatenated along the first such index, and every
    other bond has the larger of the two sizes. Otherwise they are placed block-diagonally along every bond, whose sizes add
    up. Networks of one factor are added. The indices and the sizes of the open ones must be equal, and each of several
    factors must have a summed index.

    ``W = sum_r prod_k A_k[.., r, ..]`` and ``r = (r_a, r_b)`` with all mixed entries zero: since the bonds link all factors,
    every nonzero product has entries of one term only.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011, section 4.1.
    """
    if network.factors != other.factors or network.open_sizes != other.open_sizes:
        raise ValueError("other must have the indices of network and the sizes of its open ones.")
    bonds = _bonds(network)
    stacked = next((index for index in bonds if all(index in indices for indices in network.factors)), None)
    summed = set(bonds) if stacked is None else {stacked}
    if len(network.factors) > 1 and not all(summed.intersection(indices) for indices in network.factors):
        raise ValueError(f"network must link all its factors; expected a bond in each, got {network.factors}.")
    results = []
    for indices, one, two in zip(network.factors, factors, other_factors):
        for axis, index in enumerate(indices):
            n_one, n_two = int(one.shape[axis]), int(two.shape[axis])
            size, start = (n_one + n_two, n_one) if index in summed else (max(n_one, n_two), 0)
            one, two = pad_axis(backend, one, axis, size), pad_axis(backend, two, axis, size, start)
        results.append(one + two)
    return results


def transposed(backend: Any, network: Network, factors: Sequence[Any]) -> list[Any] | None:
    """Return the factors of the transposed matrix in the same format: every output axis exchanged with its input axis.

    They are views where the backend supports them. The result is None if outputs and inputs are not paired, as in a stack.
    """
    stacked = len(network.outputs) - len(network.inputs)
    if stacked < 0 or any(network.size[index] > 1 for index in network.outputs[:stacked]):
        return None
    outputs = network.outputs[stacked:]
    exchanged = {**dict(zip(outputs, network.inputs)), **dict(zip(network.inputs, outputs))}
    results = []
    for indices, factor in zip(network.factors, factors):
        # An axis that is not exchanged keeps its place, also where a ring of one core has an index twice.
        partners = [exchanged.get(index) for index in indices]
        if not set(partners) <= {None, *indices}:
            return None
        order = tuple(axis if partner is None else indices.index(partner) for axis, partner in enumerate(partners))
        results.append(backend.transpose(factor, order))
    return results


def _bonds(network: Network) -> tuple[str, ...]:
    """Return the summed indices that are in two factors or more, in the order of the factors' axes."""
    opened = {*network.outputs, *network.inputs}
    once = dict.fromkeys(index for indices in network.factors for index in indices if index not in opened)
    return tuple(index for index in once if sum(index in indices for indices in network.factors) > 1)
