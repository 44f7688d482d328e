"""Block-term decomposition: second-order fit, started from Tucker decompositions of the residual."""

import math
from dataclasses import replace
from typing import Any

from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition.fitting.fit import fit
from tensorly_rnn.decomposition.rank_search import least_rank


def block_term(problem: Problem) -> list[Any]:
    """Fit all blocks together; see `tensorly_rnn.decomposition.block_term`.

    Returns the cores, shape (n_blocks, *rank[1]), then the factors of each mode, shape (n_blocks, p_k, rank_k).
    """
    return least_rank(problem, fitted_blocks, one_block) if problem.max_error else fitted_blocks(problem)


def fitted_blocks(problem: Problem) -> list[Any]:
    """Fit blocks of the problem's ranks, none above the size of its mode."""
    n_blocks, ranks = problem.rank
    clipped = tuple(min(rank, size) for rank, size in zip(ranks, problem.modes))
    return fit(replace(problem, rank=(n_blocks, clipped)), residual_tucker)


def one_block(problem: Problem) -> list[Any]:
    """Return the single block that keeps the error by a sequentially truncated higher-order SVD."""
    ranks = problem.modes if problem.rank_is_free else problem.rank[1]
    tensor = problem.backend.reshape(problem.tensor, problem.modes)
    block = tucker(problem.backend, tensor, ranks, problem.max_error / math.sqrt(len(problem.modes)))
    return [problem.backend.reshape(factor, (1, *factor.shape)) for factor in block]


def residual_tucker(problem: Problem) -> list[Any]:
    """Return one Tucker decomposition a block, each of the residual of the previous blocks."""
    backend = problem.backend
    n_blocks, ranks = problem.rank
    residual = backend.reshape(problem.tensor, problem.modes)
    blocks = []
    for _ in range(n_blocks):
        block = tucker(backend, residual, ranks)
        blocks.append(block)
        residual = residual - _expanded(backend, block)
    return [backend.stack([block[number] for block in blocks], axis=0) for number in range(len(ranks) + 1)]


def tucker(backend: Any, tensor: Any, ranks: tuple[int, ...], max_error: float = 0.0) -> list[Any]:
    """Return the core and the factors of the sequentially truncated higher-order SVD, factor k of shape (p_k, rank_k).

    With a `max_error`, of the least ranks that keep it in every mode.
    """
    core = tensor
    factors = []
    for axis, rank in enumerate(ranks):
        basis, core = left_basis(backend, core, axis, rank, max_error)
        factors.append(basis)
    return [core, *factors]


def _expanded(backend: Any, block: list[Any]) -> Any:
    core, *factors = block
    for factor in factors:
        # The leading mode is contracted and the new one appended: after all modes the order is the original one.
        core = backend.tensordot(core, backend.transpose(factor, (1, 0)), axes=([0], [0]))
    return core
