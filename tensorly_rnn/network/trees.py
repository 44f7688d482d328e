"""Networks without loops: orthogonal forms, singular values of every cut, rounding to lower ranks.

Cutting a bond of a tree splits its open indices in two. The singular values of that matricization, and its best
approximation of lower rank, are those of one factor if all others are orthogonal towards it.
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tensorly_rnn._memoize import memoize
from tensorly_rnn._svd import singular_values as values_of
from tensorly_rnn._svd import truncated_svd
from tensorly_rnn.contraction.powers import scaled, spread, times_power
from tensorly_rnn.network.network import Network

# A function of an edge and a factor as a matrix (rest, bond) that returns a basis (rest, k) and a weight (k, bond).
Split = Callable[["Edge", Any], tuple[Any, Any]]


@dataclass(frozen=True)
class Edge:
    """Bond of a tree: its index, the factor on the side of the root, and the factor on the other side."""

    index: str
    parent: int
    child: int


@memoize
def edges(network: Network) -> tuple[Edge, ...] | None:
    r"""Return the bonds of a network without loops, depth first from factor 0, or None where there is a loop.

    A network is a tree if every summed index larger than 1 links exactly two factors, these links form no loop, and every
    open index larger than 1 is in one factor. Indices of size 1 link factors that the others leave unconnected.

    Examples
    --------
    >>> chain = Network((("j1", "r"), ("r", "i1")), ("j1",), ("i1",), (("i1", 5), ("j1", 3), ("r", 2)))
    >>> edges(chain)
    (Edge(index='r', parent=0, child=1),)
    """
    opened = {*network.outputs, *network.inputs}
    places: dict[str, list[int]] = {}
    for number, indices in enumerate(network.factors):
        for index in indices:
            places.setdefault(index, []).append(number)
    joined = list(range(len(network.factors)))
    links: list[tuple[str, int, int]] = []
    # Indices of size 1 come last, those of two factors before those of more: they only connect what is still apart.
    for index, found in sorted(places.items(), key=lambda item: (network.size[item[0]] == 1, len(item[1]))):
        if network.size[index] > 1 and len(found) != (1 if index in opened else 2):
            return None
        for left, right in pairwise(found):
            if joined[left] != joined[right]:
                links.append((index, left, right))
                joined = [joined[left] if part == joined[right] else part for part in joined]
            elif network.size[index] > 1:
                return None
    if len(set(joined)) > 1:
        return None
    return _from_root(links)


def is_tree(network: Network) -> bool:
    """Return whether the network has no loops, so that it can be orthogonalized and rounded."""
    return edges(network) is not None


def orthogonalized(backend: Any, network: Network, factors: Sequence[Any]) -> list[Any]:
    r"""Return factors of the same tensor, of which all but factor 0 are orthogonal towards it, by QR decompositions.

    ``sum over the rest of factor[rest, bond] factor[rest, bond'] = delta[bond, bond']`` for the bond towards factor 0, which
    then has the norm of the tensor. Bonds are reduced to the largest useful size. A network with a loop is refused. The cost
    is ``O(d n r^3)`` for a chain, ``O(d r^4)`` for a binary tree of d leaves with ranks r.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011, section 3.
    .. [2] Grasedyck, Hierarchical singular value decomposition of tensors, SIAM J. Matrix Anal. Appl. 31(4), 2010,
       section 4.
    """
    results, exponent = scaled_orthogonalized(backend, network, factors)
    return [times_power(results[0], exponent), *results[1:]]


def scaled_orthogonalized(backend: Any, network: Network, factors: Sequence[Any]) -> tuple[list[Any], Any]:
    """Return `orthogonalized` with factor 0 near 1, and the exponent of the power of two that it lacks.

    Products of many factors are easily out of the range of numbers where the norm is not.
    """
    tree = _tree(network)
    pairs = [scaled(backend, factor) for factor in factors]
    results = [factor for factor, _ in pairs]
    exponent = sum((one for _, one in pairs[1:]), pairs[0][1])
    for edge in reversed(tree):
        _move(backend, network, results, edge)
        results[edge.parent], more = scaled(backend, results[edge.parent])
        exponent = exponent + more
    return results, exponent


def singular_values(backend: Any, network: Network, factors: Sequence[Any]) -> dict[str, Any]:
    """Return the singular values of the matricization at every bond, by the bond's index, in descending order.

    Each array has at most as many as the bond's size; all further ones are zero.
    """
    found: dict[str, Any] = {}

    def record(edge: Edge, matrix: Any) -> tuple[Any, Any]:
        q, r = backend.qr(matrix)
        found[edge.index] = values_of(backend, r)
        return q, r

    centred, exponent = scaled_orthogonalized(backend, network, factors)
    _sweep(backend, network, centred, record)
    return {edge.index: times_power(found[edge.index], exponent) for edge in _tree(network)}


def rounded(
    backend: Any, network: Network, factors: Sequence[Any], bounds: Mapping[str, int] | None = None, error: float = 0.0
) -> list[Any]:
    r"""Return factors of lower ranks: at most `bounds`, and otherwise the lowest with an error of at most `error`.

    `bounds` are the largest sizes of some of the bonds; `error` is the largest Frobenius norm of the difference, which smaller
    bounds may exceed, 0 if only the bounds count. The result shares no memory with the given factors.

    In one traversal of the tree the centre of orthogonality moves down each bond by QR, and on the way back the bond is
    truncated by an SVD of the factor below. Every later truncation projects outside of the subtree below, or onto a subspace
    of the part that was kept. The errors are therefore orthogonal and their squares add up to that of the total: each may be
    ``error / sqrt(c)`` for c different cuts. With bounds alone the error is at most ``sqrt(c)`` times the best, c = d - 1
    for a chain, 2d - 3 for a binary tree (2d - 2 with a stack): two bonds of a factor without any other index are the same
    cut, and truncating the second adds no error.

    References
    ----------
    .. [1] Oseledets, Tensor-train decomposition, SIAM J. Sci. Comput. 33(5), 2011, algorithm 2 and corollary 2.4.
    .. [2] Grasedyck, Hierarchical singular value decomposition of tensors, SIAM J. Matrix Anal. Appl. 31(4), 2010,
       theorem 3.11.
    """
    results, exponent = scaled_orthogonalized(backend, network, factors)
    # After orthogonalization, so that bonds reduced to size 1 are not counted as cuts.
    cut_of = cuts(network, [tuple(factor.shape) for factor in results])
    error_per_cut = float(times_power(error, -float(exponent))) / math.sqrt(max(len(set(cut_of.values())), 1))
    truncated: set[str] = set()

    def truncate(edge: Edge, matrix: Any) -> tuple[Any, Any]:
        cut = cut_of.get(edge.index)
        if cut is None:
            q, r = backend.qr(matrix)
            return q, r
        max_error = 0.0 if cut in truncated else error_per_cut
        truncated.add(cut)
        return truncated_svd(backend, matrix, (bounds or {}).get(edge.index, matrix.shape[1]), max_error)

    return spread(_sweep(backend, network, results, truncate), float(exponent))


def cuts(network: Network, shapes: Sequence[tuple[int, ...]]) -> dict[str, str]:
    """Return a name of the cut for every bond larger than 1 in factors of these shapes; bonds with the same cut share it."""
    live = [[index for index, n in zip(indices, shape) if n > 1] for indices, shape in zip(network.factors, shapes)]
    times = Counter(index for indices in live for index in indices)
    bonds = {index for index, count in times.items() if count == 2}
    found = {index: index for index in bonds}
    for indices in live:
        # A factor with two bonds and nothing else lies between two sides of one cut.
        if len(indices) == 2 and bonds.issuperset(indices):
            kept, dropped = (found[index] for index in indices)
            found = {index: kept if cut == dropped else cut for index, cut in found.items()}
    return found


def far_sides(network: Network) -> dict[str, tuple[str, ...]]:
    """Return the open indices on the side away from factor 0, for every bond of a tree."""
    opened = (*network.outputs, *network.inputs)
    beyond = {number: set(indices).intersection(opened) for number, indices in enumerate(network.factors)}
    sides: dict[str, tuple[str, ...]] = {}
    for edge in reversed(_tree(network)):
        beyond[edge.parent] |= beyond[edge.child]
        sides[edge.index] = tuple(index for index in opened if index in beyond[edge.child])
    return sides


def _tree(network: Network) -> tuple[Edge, ...]:
    found = edges(network)
    if found is None:
        raise ValueError(f"network must be a tree; expected no loops, got {network.factors} with {network.size}.")
    return found


def _from_root(links: list[tuple[str, int, int]]) -> tuple[Edge, ...]:
    """Return the links directed away from factor 0, depth first: each bond is followed by those beyond it."""
    found: list[Edge] = []
    stack = [Edge("", -1, 0)]
    while stack:
        edge = stack.pop()
        found.append(edge)
        below = [
            Edge(index, edge.child, right if left == edge.child else left)
            for index, left, right in links
            if edge.child in (left, right) and edge.parent not in (left, right)
        ]
        stack += reversed(below)
    return tuple(found[1:])


def _sweep(backend: Any, network: Network, factors: list[Any], split: Split) -> list[Any]:
    """Traverse a tree orthogonal towards factor 0: down every bond by QR, back up by `split` of the factor below."""
    open_path: list[Edge] = []
    for edge in (*_tree(network), None):
        while open_path and (edge is None or open_path[-1].child != edge.parent):
            _move(backend, network, factors, open_path.pop(), split)
        if edge is not None:
            _move(backend, network, factors, Edge(edge.index, edge.child, edge.parent))
            open_path.append(edge)
    return factors


def _move(backend: Any, network: Network, factors: list[Any], edge: Edge, split: Split | None = None) -> None:
    """Split ``child[rest, bond] = basis[rest, k] weight[k, bond]``, by QR if `split` is None; the parent gets the weight."""
    matrix, shape, order = _unfolded(backend, factors[edge.child], network.factors[edge.child].index(edge.index))
    basis, weight = split(edge, matrix) if split else backend.qr(matrix)
    factors[edge.child] = _folded(backend, basis, shape, order)
    matrix, shape, order = _unfolded(backend, factors[edge.parent], network.factors[edge.parent].index(edge.index))
    factors[edge.parent] = _folded(backend, backend.matmul(matrix, backend.transpose(weight, (1, 0))), shape, order)


def _unfolded(backend: Any, factor: Any, axis: int) -> tuple[Any, tuple[int, ...], tuple[int, ...]]:
    """Return the factor as (rest, bond), the sizes of the rest, and the order of the axes."""
    order = (*(k for k in range(len(factor.shape)) if k != axis), axis)
    rest = tuple(int(factor.shape[k]) for k in order[:-1])
    matrix = backend.reshape(backend.transpose(factor, order), (math.prod(rest), factor.shape[axis]))
    return matrix, rest, order


def _folded(backend: Any, matrix: Any, rest: tuple[int, ...], order: tuple[int, ...]) -> Any:
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    return backend.transpose(backend.reshape(matrix, (*rest, matrix.shape[1])), back)
