"""Round formats with loops: fit factors of lower ranks to the given ones."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tensorly_rnn._backend import at_least_single, detached
from tensorly_rnn.decomposition._algorithms import algorithm_of
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition.fitting.alternating_least_squares import Limits, sweeps_towards
from tensorly_rnn.decomposition.fitting.subspaces import expanded_by
from tensorly_rnn.formats import FactorizedMatrix, Format
from tensorly_rnn.network import operations
from tensorly_rnn.network.network import Network

# Most entries of the tensor in the bases of its own factors for forming it; starts, steps and least gain of a fit.
MOST_ENTRIES, STARTS, STEPS, TOL = 2**22, 5, 300, 1e-9
HALVINGS = 6


def refit(factorized: Any, bounds: Mapping[str, int] | None, max_error: float) -> list[Any]:
    r"""Return factors of lower ranks, fitted to those of a matrix or tensor.

    No mode of the tensor spans more dimensions than the rank indices of its factor: in orthonormal bases of the factors the
    tensor is small, whatever the modes' sizes. It is formed and decomposed there; where it would have more than
    `MOST_ENTRIES` entries, alternating least squares fits network to network.

    `bounds` are the largest sizes of the rank indices, and `max_error` the largest Frobenius norm of the difference, 0 where
    only the bounds count. The result has the form of the given factors and no more parameters.
    """
    backend = factorized.backend
    kind, modes = _tensor_form(factorized)
    order = len(modes)
    own_rank = kind.rank_from_sizes(factorized.network.size, order)
    network = kind.make_tensor_network(modes, own_rank)
    factors = [
        backend.reshape(at_least_single(backend, detached(one)), shape)
        for one, shape in zip(factorized.factors, network.factor_shapes)
    ]
    lowered = {index: min(n, (bounds or {}).get(index, n)) for index, n in network.sizes if index not in network.outputs}
    rank = kind.rank_from_sizes({**network.size, **lowered}, order)
    bases, reduced = in_own_bases(backend, network, factors)
    small = _network(kind, reduced)
    if math.prod(small.out_modes) <= MOST_ENTRIES:
        problem = Problem(
            backend=backend,
            tensor=backend.reshape(operations.to_matrix(backend, small, reduced), (1, *small.out_modes)),
            format=kind,
            rank=rank,
            generator=np.random.default_rng(0),
            n_iter_max=STEPS,
            tol=TOL,
            n_starts=STARTS,
            max_error=max_error,
            rank_is_free=bounds is None,
            counted_modes=modes,
        )
        found = algorithm_of(kind.name).solve(problem)
    else:
        found = _fitted(backend, small, reduced, lowered, max_error)
    grown = expanded_by(backend, kind.tensor_indices(order), found, bases)
    if sum(math.prod(one.shape) for one in grown) > network.n_param:
        grown = factors
    return [backend.copy(one) for one in _of_form(factorized, kind, order, grown)]


def in_own_bases(backend: Any, network: Network, factors: Sequence[Any]) -> tuple[dict[int, Any], list[Any]]:
    """Return orthonormal bases of the modes that are larger than what their factors span, and the factors in them."""
    bases, reduced = {}, list(factors)
    for number, own in enumerate(network.factors):
        opened = [axis for axis, index in enumerate(own) if index in network.outputs and network.size[index] > 1]
        if len(opened) != 1:
            continue
        axis = opened[0]
        shape = tuple(reduced[number].shape)
        rest = math.prod(shape) // shape[axis]
        if shape[axis] <= rest:
            continue
        order = (axis, *(k for k in range(len(own)) if k != axis))
        basis, triangle = backend.qr(backend.reshape(backend.transpose(reduced[number], order), (shape[axis], rest)))
        folded = backend.reshape(triangle, (-1, *(shape[k] for k in order[1:])))
        reduced[number] = backend.transpose(folded, tuple(order.index(k) for k in range(len(own))))
        bases[int(own[axis][1:]) - 1] = basis
    return bases, reduced


def _fitted(backend: Any, network: Network, factors: list[Any], sizes: dict[str, int], max_error: float) -> list[Any]:
    """Fit network to network: at the given sizes, or at the least ones between 1 and these within the error."""
    norm = math.sqrt(float(operations.squared_norm(backend, network, factors)))

    def fit(chosen: dict[str, int]) -> tuple[list[Any], float]:
        # The leading part of every bond is an exact start for a sum of equal terms.
        smaller, start = operations.cut(network, factors, {index: slice(0, n) for index, n in chosen.items()})
        limits = Limits(STEPS, TOL, max_error / norm if norm else 0.0)
        found, relative, _ = sweeps_towards(backend, (network, factors), smaller, start, limits)
        return found, relative * norm

    if max_error == 0.0:
        return fit(sizes)[0]
    best, least, most = factors, 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (least + most) / 2
        found, error = fit({index: max(1, round(n**middle)) for index, n in sizes.items()})
        if error <= max_error:
            best, most = found, middle
        else:
            least = middle
    return best


def _tensor_form(factorized: Any) -> tuple[Format, tuple[int, ...]]:
    """Return the format and the modes of a matrix or tensor in the tensor form."""
    if isinstance(factorized, FactorizedMatrix):
        return factorized.format, tuple(m * n for m, n in zip(*factorized.tensorized_shape))
    return factorized.format, factorized.shape


def _network(kind: Format, factors: Sequence[Any]) -> Network:
    """Return the network of factors in the tensor form."""
    return kind.tensor_network_of_shapes(tuple(tuple(int(n) for n in one.shape) for one in factors))


def _of_form(factorized: Any, kind: Format, order: int, factors: list[Any]) -> list[Any]:
    """Convert factors in the tensor form to the form of a matrix or tensor."""
    if not isinstance(factorized, FactorizedMatrix):
        return factors
    rank = kind.rank_from_sizes(_network(kind, factors).size, order)
    shapes = kind.make_network(factorized.tensorized_shape, rank).factor_shapes
    return [factorized.backend.reshape(one, shape) for one, shape in zip(factors, shapes)]
