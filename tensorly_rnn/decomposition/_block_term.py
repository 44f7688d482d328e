"""Block-term decomposition: second-order fit, started from Tucker decompositions of the residual."""

import math
from dataclasses import replace
from typing import Any

from tensorly_rnn._svd import left_basis
from tensorly_rnn.decomposition._registry import Problem, decomposes, truncates
from tensorly_rnn.decomposition.fit import fit
from tensorly_rnn.decomposition.rank_search import least_rank


@decomposes("bt", keeps_error=True, methods=("als",))
def block_term(problem: Problem) -> list[Any]:
    r"""Fit all blocks together, starting block after block from what the blocks before leave over.

    ``T[i1..id] ~ sum_n sum_{r1..rd} core[n, r1..rd] prod_k factor_k[n, i_k, r_k]``

    Parameters
    ----------
    problem : Problem
        Tensor of shape (p_1, ..., p_d) and rank ``(n_blocks, (rank_1, ..., rank_d))``.

    Returns
    -------
    list of arrays
        The cores, shape (n_blocks, *rank[1]), then the factors of each mode, shape (n_blocks, p_k, rank_k). Ranks are less
        than asked where a mode has no more.

    References
    ----------
    .. [1] De Lathauwer, Nion, Decompositions of a higher-order tensor in block terms, Part III: alternating least squares
       algorithms, SIAM J. Matrix Anal. Appl. 30(3), 2008.
    .. [2] Sorber, Van Barel, De Lathauwer, Optimization-based algorithms for tensor decompositions, SIAM J. Optim. 23(2),
       2013.
    """
    return least_rank(problem, fitted_blocks, one_block) if problem.error else fitted_blocks(problem)


def fitted_blocks(problem: Problem) -> list[Any]:
    """Fit blocks of the problem's ranks, none above the size of its mode."""
    n_blocks, ranks = problem.rank
    clipped = tuple(min(rank, size) for rank, size in zip(ranks, problem.modes))
    return fit(replace(problem, rank=(n_blocks, clipped)), residual_tucker)


@truncates("bt")
def one_block(problem: Problem) -> list[Any]:
    """Return the single block that keeps the error by a sequentially truncated higher-order SVD."""
    ranks = problem.modes if problem.rank_is_free else problem.rank[1]
    tensor = problem.backend.reshape(problem.tensor, problem.modes)
    block = tucker(problem.backend, tensor, ranks, problem.error / math.sqrt(len(problem.modes)))
    return [problem.backend.reshape(factor, (1, *factor.shape)) for factor in block]


def residual_tucker(problem: Problem) -> list[Any]:
    """Return one Tucker decomposition a block, each of what the blocks before leave over."""
    backend = problem.backend
    n_blocks, ranks = problem.rank
    residual = backend.reshape(problem.tensor, problem.modes)
    blocks = []
    for _ in range(n_blocks):
        block = tucker(backend, residual, ranks)
        blocks.append(block)
        residual = residual - _expanded(backend, block)
    return [backend.stack([block[number] for block in blocks], axis=0) for number in range(len(ranks) + 1)]


def tucker(backend: Any, tensor: Any, ranks: tuple[int, ...], tail: float = 0.0) -> list[Any]:
    """Return the core and the factors of the sequentially truncated higher-order SVD, factor k of shape (p_k, rank_k).

    With a `tail`, of the least ranks that leave at most that in every mode.
    """
    core = tensor
    factors = []
    for axis, rank in enumerate(ranks):
        basis, core = left_basis(backend, core, axis, rank, tail)
        factors.append(basis)
    return [core, *factors]


def _expanded(backend: Any, block: list[Any]) -> Any:
    core, *factors = block
    for factor in factors:
        # The leading mode is used up and its image appended at the end: after all modes the order is as it was.
        core = backend.tensordot(core, backend.transpose(factor, (1, 0)), axes=([0], [0]))
    return core
