"""The curvature ``J^T J`` of a network's reconstruction, with J its Jacobian in all factors."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.sparse.linalg import LinearOperator, cg
from tensorly.backend import BackendManager

from tensorly_rnn.contraction.execute import execute, pull_back, push_forward, run_steps
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.network.network import Network, tensor_plan

NUMPY = BackendManager.load_backend("numpy")

# Conjugate gradients: relative residual, and most products a step.
FORCING, MOST_PRODUCTS = 1e-2, 50

#: Returns the step that solves ``(J^T J + diag(shift)) step = right``, given shift and right.
Solve = Callable[[np.ndarray, np.ndarray], np.ndarray]
#: Returns the diagonal of ``J^T J`` and the solver at a point.
Curvature = Callable[[Network, Sequence[np.ndarray]], tuple[np.ndarray, Solve]]


def dense(network: Network, factors: Sequence[np.ndarray]) -> tuple[np.ndarray, Solve]:
    """Return the curvature as a matrix: ``O(n_param^3)`` a step."""
    gram = gram_matrix(network, factors)

    def solve(shift: np.ndarray, right: np.ndarray) -> np.ndarray:
        try:
            return cho_solve(cho_factor(gram + np.diag(shift)), right)
        except LinAlgError:
            # Indefinite by rounding: no step.
            return np.zeros_like(right)

    return np.diag(gram).copy(), solve


def matrix_free(network: Network, factors: Sequence[np.ndarray]) -> tuple[np.ndarray, Solve]:
    """Return the curvature as a product ``v -> J^T (J v)``: conjugate gradients, preconditioned by the diagonal blocks.

    ``J v`` sums the network with one factor after the other replaced by its part of v, ``J^T`` is its transpose; both use
    the plan of the reconstruction. The iteration starts at 0 and may stop early: every product lowers the model.

    References
    ----------
    .. [1] Sorber, Van Barel, De Lathauwer, Optimization-based algorithms for tensor decompositions, SIAM J. Optim. 23(2),
       2013, section 4.
    """
    contraction = tensor_plan(network)
    results = run_steps(contraction, NUMPY, factors)
    inner = [inner_gram(NUMPY, network, factors, p) for p in range(len(factors))]
    layouts = [_layout(network, p) for p in range(len(factors))]
    ends = np.cumsum([factor.size for factor in factors])[:-1]

    def parts(vector: np.ndarray) -> list[np.ndarray]:
        return [one.reshape(factor.shape) for one, factor in zip(np.split(vector, ends), factors)]

    def flat(arrays: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([one.reshape(-1) for one in arrays])

    def product(vector: np.ndarray) -> np.ndarray:
        return flat(pull_back(NUMPY, contraction, results, push_forward(NUMPY, contraction, results, parts(vector))))

    def diagonal() -> np.ndarray:
        blocks = []
        for one, (order, shape) in zip(inner, layouts):
            repeated = np.repeat(np.diag(one), math.prod(shape) // len(one))
            blocks.append(repeated.reshape(shape).transpose(np.argsort(order)))
        return flat(blocks)

    def solve(shift: np.ndarray, right: np.ndarray) -> np.ndarray:
        solvers = []
        for one, part, (order, _) in zip(inner, parts(shift), layouts):
            # The shift of an entry depends on its rank indices alone.
            own = part.transpose(order).reshape(len(one), -1)[:, 0]
            solvers.append(cho_factor(one + np.diag(own)))

        def preconditioned(vector: np.ndarray) -> np.ndarray:
            blocks = []
            for solver, part, (order, shape) in zip(solvers, parts(vector), layouts):
                solved = cho_solve(solver, part.transpose(order).reshape(len(solver[0]), -1))
                blocks.append(solved.reshape(shape).transpose(np.argsort(order)))
            return flat(blocks)

        size = (len(right), len(right))
        system = LinearOperator(size, lambda v: product(v.reshape(-1)) + shift * v.reshape(-1), dtype=float)
        inverse = LinearOperator(size, lambda v: preconditioned(v.reshape(-1)), dtype=float)
        return cg(system, right, rtol=FORCING, maxiter=MOST_PRODUCTS, M=inverse)[0]

    return diagonal(), solve


def _layout(network: Network, p: int) -> tuple[list[int], tuple[int, ...]]:
    """Return the order of a factor's axes with its rank indices before its open ones, and its shape in that order.

    Axes count by position: in a ring of one core an index occurs twice.
    """
    own = network.factors[p]
    order = sorted(range(len(own)), key=lambda axis: own[axis] in network.outputs)
    return order, tuple(network.size[own[axis]] for axis in order)


def gradient(network: Network, factors: Sequence[np.ndarray], residual: np.ndarray) -> np.ndarray:
    """Return ``J^T residual``: for each factor the residual contracted with the network without it."""
    contraction = tensor_plan(network)
    parts = pull_back(NUMPY, contraction, run_steps(contraction, NUMPY, factors), residual)
    return np.concatenate([part.reshape(-1) for part in parts])


def gram_matrix(network: Network, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return ``J^T J`` over all entries of all factors, in the factors' order.

    Block (p, q) is the network contracted with itself, without factor p in one copy and factor q in the other.
    """
    count = len(factors)
    rows: list[list[np.ndarray]] = [[np.empty(0)] * count for _ in range(count)]
    for p in range(count):
        for q in range(p, count):
            block = _diagonal_block(network, factors, p) if p == q else _block(network, factors, p, q)
            rows[p][q], rows[q][p] = block, block.T
    return np.block(rows)


def _block(network: Network, factors: Sequence[np.ndarray], p: int, q: int) -> np.ndarray:
    found = _contracted_with_itself(NUMPY, network, factors, (p, q), (network.factors[p], network.factors[q]))
    return found.reshape(factors[p].size, factors[q].size)


def _diagonal_block(network: Network, factors: Sequence[np.ndarray], p: int) -> np.ndarray:
    """Return block (p, p): the Gram matrix over p's rank indices times an identity over its open indices."""
    order, shape = _layout(network, p)
    inner = inner_gram(NUMPY, network, factors, p)
    block = np.kron(inner, np.eye(math.prod(shape) // len(inner))).reshape(*shape, *shape)
    back = list(np.argsort(order))
    block = block.transpose(*back, *(len(shape) + axis for axis in back))
    return block.reshape(factors[p].size, factors[p].size)


def inner_gram(backend: Any, network: Network, factors: Sequence[Any], p: int) -> Any:
    """Return the Gram matrix of the network without factor p over p's rank indices."""
    bonds = tuple(index for index in network.factors[p] if index not in network.outputs)
    if len(factors) == 1:
        return np.ones((1, 1))
    terms = math.prod(network.size[index] for index in bonds)
    found = _contracted_with_itself(backend, network, factors, (p, p), (bonds, bonds))
    return backend.reshape(found, (terms, terms))


def _contracted_with_itself(
    backend: Any, network: Network, factors: Sequence[Any], without: tuple[int, int], outputs: tuple[Indices, Indices]
) -> Any:
    """Contract two copies of a network, each without one factor; they share the open indices only."""

    def primed(indices: Indices) -> Indices:
        return tuple(index if index in network.outputs else f"{index}'" for index in indices)

    first, second = ([k for k in range(len(factors)) if k != one] for one in without)
    operands = (*(network.factors[k] for k in first), *(primed(network.factors[k]) for k in second))
    sizes = (*network.sizes, *((f"{index}'", size) for index, size in network.sizes if index not in network.outputs))
    contraction = plan(operands, (*outputs[0], *primed(outputs[1])), sizes)
    return execute(contraction, backend, [factors[k] for k in (*first, *second)])
