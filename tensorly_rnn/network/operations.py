"""Operations of any network on any backend: reconstruction, products with rows, slices, inner products, norms."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from tensorly_rnn._backend import in_system_memory
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.execute import apply_view, execute, run_steps
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.contraction.plan import ANY, Plan, size_of_plan
from tensorly_rnn.contraction.powers import Scaled, contracted, times_power
from tensorly_rnn.network.network import Network, NetworkData, apply_plan, tensor_plan
from tensorly_rnn.network.row_blocks import RowBlocks, row_blocks
from tensorly_rnn.tensorize import covering_box


def to_matrix(backend: Any, network: Network, factors: Sequence[Any]) -> Any:
    """Return the matrix of shape ``(prod(out_modes), prod(in_modes))``."""
    return execute(tensor_plan(network), backend, factors, network.shape)


def apply(backend: Any, network: Network, factors: Sequence[Any], x: Any) -> Any:
    r"""Return ``y[..., j] = sum_i W[j, i] x[..., i]`` without forming W, at the cost ``network.cost(batch)``.

    On a CPU, many rows are multiplied in blocks (`tensorly_rnn.network.row_blocks.row_blocks`), which limits the size of the
    largest array.
    """
    leading = tuple(x.shape[:-1])
    blocks = blocks_of(network, x)
    if len(blocks.plans) == 1:
        return execute(blocks.plans[0], backend, [x, *factors], (*leading, network.shape[0]))
    y, _, _ = apply_blocks(backend, network, blocks, factors, x, ())
    return backend.reshape(y, (*leading, network.shape[0]))


def blocks_of(network: Network, x: Any) -> RowBlocks:
    """Return the plans of the product with x, in one block except for many rows on a CPU."""
    batch = math.prod(x.shape[:-1])
    count = size_of_plan(batch)
    if count == ANY:
        return RowBlocks((apply_plan(network, batch),), (batch,), (), ())
    return row_blocks(network, count) if in_system_memory(x) else row_blocks(network, count, sys.maxsize)


def apply_blocks(
    backend: Any, network: Network, blocks: RowBlocks, factors: Sequence[Any], x: Any, keep: Sequence[int]
) -> tuple[Any, dict[int, Any], list[dict[int, Any]]]:
    """Return ``y = x W^T``, shape (rows, network.shape[0]), and, by number, the shared results and those kept per block."""
    rows = backend.reshape(x, (sum(blocks.rows), network.shape[1]))
    pieces: list[Any] = []
    kept: list[dict[int, Any]] = []
    shared: dict[int, Any] = {}
    start = 0
    for of_block, n in zip(blocks.plans, blocks.rows):
        block = rows if len(blocks.rows) == 1 else rows[start : start + n]
        results = run_steps(of_block, backend, [block, *factors], shared)
        pieces.append(apply_view(backend, results[-1], of_block.last_view, (n, network.shape[0])))
        shared = {number: results[number] for number in blocks.shared}
        kept.append({number: results[number] for number in keep})
        start += n
    return pieces[0] if len(pieces) == 1 else backend.concatenate(pieces, axis=0), shared, kept


def cut(network: Network, factors: Sequence[Any], slices: Mapping[str, slice]) -> tuple[Network, list[Any]]:
    """Return the smaller network, and its sliced factors, with slices of some of its open indices; the others stay whole."""
    smaller, pieces = _cut(network.data, tuple((index, piece.start, piece.stop) for index, piece in slices.items()))
    return smaller, _sliced(factors, pieces)


def columns(network: Network, factors: Sequence[Any], start: int, stop: int) -> tuple[Network, list[Any], int]:
    """Return the smaller network, and its sliced factors, of the smallest box of columns that contains ``[start, stop)``.

    The third result is the number of the first column.
    """
    smaller, pieces, offset = _cut_columns(network.data, start, stop)
    return smaller, _sliced(factors, pieces), offset


Pieces = tuple[tuple[slice, ...] | None, ...]


@memoize
def _cut(data: NetworkData, ranges: tuple[tuple[str, int, int], ...]) -> tuple[Network, Pieces]:
    """Return the smaller network and the slices of each factor's axes, None for a factor that stays whole."""
    network = Network(*data)
    cuts = {index: slice(start, stop) for index, start, stop in ranges if stop - start != network.size[index]}
    smaller = network.resized({index: piece.stop - piece.start for index, piece in cuts.items()}) if cuts else network
    pieces = (tuple(cuts.get(index, slice(None)) for index in indices) for indices in network.factors)
    return smaller, tuple(piece if any(one != slice(None) for one in piece) else None for piece in pieces)


@memoize
def _cut_columns(data: NetworkData, start: int, stop: int) -> tuple[Network, Pieces, int]:
    network = Network(*data)
    box, offset = covering_box(network.in_modes, start, stop)
    ranges = tuple((index, piece.start, piece.stop) for index, piece in zip(network.inputs, box))
    return *_cut(data, ranges), offset


def _sliced(factors: Sequence[Any], pieces: Pieces) -> list[Any]:
    return [factor if piece is None else factor[piece] for factor, piece in zip(factors, pieces)]


def inner(backend: Any, network: Network, factors: Sequence[Any], other: Network, other_factors: Sequence[Any]) -> Any:
    r"""Return ``sum A[outputs, inputs] B[outputs, inputs]`` for two networks of any formats by one contraction of all factors.

    Their open indices must have the same names and sizes; those of size 1 are ignored.
    """
    return times_power(*scaled_inner(backend, network, factors, other, other_factors))


def scaled_inner(
    backend: Any, network: Network, factors: Sequence[Any], other: Network, other_factors: Sequence[Any]
) -> Scaled:
    """Return `inner` as a pair, since the product of two networks of many factors is easily out of the range of numbers."""
    if network.open_sizes != other.open_sizes:
        raise ValueError(
            f"other must have the open indices of network; expected {network.open_sizes}, got {other.open_sizes}."
        )
    return contracted(backend, inner_plan(network, other), [*factors, *other_factors])


def inner_plan(network: Network, other: Network) -> Plan:
    """Return the plan of `inner`; operands are the factors of both."""
    primed = {index: index if index in network.open_sizes else f"{index}'" for index in other.size}
    copies = tuple(tuple(primed[index] for index in indices) for indices in other.factors)
    sizes = {**network.size, **{primed[index]: n for index, n in other.sizes}}
    return plan((*network.factors, *copies), (), tuple(sorted(sizes.items())))


def squared_norm(backend: Any, network: Network, factors: Sequence[Any]) -> Any:
    """Return ``||W||_F^2`` as a 0-dimensional array, by contracting the network with itself."""
    return inner(backend, network, factors, network, factors)
