"""Change the bases of a problem's modes before the fit: to fewer dimensions, or to directions of the same energy."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tensorly_rnn._backend import frobenius_norm, new_array
from tensorly_rnn._svd import left_basis
from tensorly_rnn.contraction.execute import execute
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.network.network import tensor_plan
from tensorly_rnn.network.operations import cut

# Least energy for whitening a direction, as a share of the strongest one's; sweeps over the modes.
WHITENING_FLOOR, WHITENING_SWEEPS = 1e-8, 5
# Most entries of a tensor that is compared at once.
PIECE = 2**22

Bases = dict[int, Any]


def compressed(problem: Problem) -> tuple[Problem, Bases]:
    """Project every mode whose size exceeds what its factor can span; return the small problem and the bases by mode.

    The user's own factors are projected too; an exact fit remains exact.
    """
    network = problem.format.make_tensor_network(problem.modes, problem.rank)
    backend, tensor, bases = problem.backend, problem.tensor, {}
    for mode in range(len(problem.modes)):
        own = next(indices for indices in network.factors if f"j{mode + 1}" in indices)
        span = math.prod(network.size[index] for index in own if index not in network.outputs)
        if span < tensor.shape[mode + 1]:
            bases[mode], tensor = left_basis(backend, tensor, mode + 1, span)
    return _in_bases(problem, tensor, bases), bases


def _in_bases(problem: Problem, tensor: Any, bases: Bases) -> Problem:
    backend = problem.backend
    init = problem.init
    if not isinstance(init, str):
        init = expanded(problem, init, {mode: backend.transpose(basis, (1, 0)) for mode, basis in bases.items()})
    whole, kept = (float(backend.norm(one)) for one in (problem.tensor, tensor))
    lost = max(whole**2 - kept**2, 0.0)

    def view(factors: list[Any], error: float) -> tuple[list[Any], float]:
        # The bases are orthonormal: the errors of the projection and of the fit are orthogonal.
        total = math.sqrt(lost + (error * kept) ** 2) / whole if whole else 0.0
        return expanded(problem, factors, bases), total

    max_error = math.sqrt(max(problem.max_error**2 - lost, 0.0))
    return replace(problem, tensor=tensor, init=init, max_error=max_error, view=problem.composed_view(view))


def expanded(problem: Problem, factors: Sequence[Any], bases: Bases) -> list[Any]:
    """Multiply the open axis of each mode in `bases` by its matrix, shape (size after, size before)."""
    return expanded_by(problem.backend, problem.format.tensor_indices(len(problem.modes)), factors, bases)


def expanded_by(backend: Any, indices: Sequence[Indices], factors: Sequence[Any], bases: Bases) -> list[Any]:
    """Return the result of `expanded` for factors with axes named by `indices`."""
    grown = list(factors)
    for mode, basis in bases.items():
        number = next(k for k, own in enumerate(indices) if f"j{mode + 1}" in own)
        axis = indices[number].index(f"j{mode + 1}")
        product = backend.tensordot(grown[number], basis, axes=([axis], [1]))
        order = list(range(len(indices[number]) - 1))
        order.insert(axis, len(order))
        grown[number] = backend.transpose(product, tuple(order))
    return grown


def kept_everything(problem: Problem, small: Problem) -> bool:
    """Return whether a compression is exact up to rounding."""
    whole, kept = (float(problem.backend.norm(one.tensor)) for one in (problem, small))
    return whole - kept <= 1e-14 * whole


def on_host(problem: Problem, numpy_backend: Any) -> Problem:
    """Return the problem in NumPy's double precision."""

    def view(factors: list[Any], error: float) -> tuple[list[Any], float]:
        return [new_array(problem.backend, factor, problem.tensor) for factor in factors], error

    def moved(array: Any) -> np.ndarray:
        return np.array(problem.backend.to_numpy(array), dtype=np.float64)

    init = problem.init if isinstance(problem.init, str) else [moved(one) for one in problem.init]
    return replace(problem, backend=numpy_backend, tensor=moved(problem.tensor), init=init, view=problem.composed_view(view))


def whitened(problem: Problem) -> tuple[Problem, Bases]:
    r"""Change the basis of every mode until all its directions have about the same energy.

    Mode after mode, `WHITENING_SWEEPS` times, ``M_k = (S_(k) S_(k)^T + floor)^(-1/2)`` with S the tensor with all other modes
    changed by their ``M``; the floor excludes rounding errors. A change of basis converts factors of one tensor to factors
    of the other, so an exact fit remains exact; but blocks become similar in size, and nearly parallel columns of factors
    become distinct.

    Takes a compressed problem on the host; returns the whitened one, and for each mode the matrix that converts its factors
    back.
    """
    changes = [np.eye(size) for size in problem.modes]
    for _ in range(WHITENING_SWEEPS):
        for mode in range(len(changes)):
            rest = _changed(problem.tensor, {k: change for k, change in enumerate(changes) if k != mode})
            unfolded = np.moveaxis(rest, mode + 1, 0).reshape(rest.shape[mode + 1], -1)
            values, vectors = np.linalg.eigh(unfolded @ unfolded.T)
            floor = WHITENING_FLOOR * values[-1] or 1.0  # 1 for a tensor of zeros
            changes[mode] = (vectors / np.sqrt(np.maximum(values, 0.0) + floor)) @ vectors.T
    tensor = _changed(problem.tensor, dict(enumerate(changes)))
    back = {mode: np.linalg.inv(change) for mode, change in enumerate(changes)}

    def view(factors: list[Any], error: float) -> tuple[list[Any], float]:
        returned = expanded(problem, factors, back)
        return returned, relative_error(problem, returned)

    return replace(problem, tensor=tensor, init="random", max_error=0.0, view=problem.composed_view(view)), back


def _changed(tensor: np.ndarray, changes: dict[int, np.ndarray]) -> np.ndarray:
    for mode, change in changes.items():
        tensor = np.moveaxis(np.tensordot(change, tensor, axes=([1], [mode + 1])), 0, mode + 1)
    return tensor


def relative_error(problem: Problem, factors: Sequence[Any]) -> float:
    """Return ``||T - f(factors)||_F / ||T||_F``, 0 for a tensor of zeros; a large tensor is compared part by part."""
    network, backend = problem.network_of(factors), problem.backend
    tensor = backend.reshape(problem.tensor, network.out_modes)
    axis = max(range(len(network.out_modes)), key=network.out_modes.__getitem__)
    size = network.out_modes[axis]
    step = size if math.prod(network.out_modes) <= PIECE else max(1, size // 16)
    difference = norm = 0.0
    for start in range(0, size, step):
        piece = slice(start, min(start + step, size))
        part, pieces = cut(network, factors, {network.outputs[axis]: piece})
        given = tensor[(slice(None),) * axis + (piece,)]
        difference += frobenius_norm(backend, given - execute(tensor_plan(part), backend, pieces)) ** 2
        norm += frobenius_norm(backend, given) ** 2
    return math.sqrt(difference / norm) if norm else 0.0
