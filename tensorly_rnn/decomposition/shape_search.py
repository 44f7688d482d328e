r"""Choose the tensorized shape of a matrix, where none is given, by the singular values at the cuts of a format's tree.

Modes that pair rows and columns find Kronecker structure, as in planted or structured matrices. Trained weights have little of
it, but decaying singular values: rows and columns in modes of their own keep these, as one cut of the tree is then the rank of
the matrix, and two modes give its truncated singular value decomposition.
"""

import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tensorly_rnn._checks import positive_int, within_budgets
from tensorly_rnn.decomposition._algorithms import algorithm_of
from tensorly_rnn.decomposition._decompose import Settings, as_tensor, budget_of, check_eps, check_matrix, decompose
from tensorly_rnn.decomposition.budget import bond_values, tree_of, truncated_sizes
from tensorly_rnn.formats import FactorizedMatrix, Format, get_format
from tensorly_rnn.tensorize import TensorizedShape, default_order, factorize_size, separate_modes

# Most parameters for which formats that are fitted try paired modes as well: structure that only a fit finds takes few.
MOST_FITTED = 20_000


def paired_shape(rows: int, columns: int) -> TensorizedShape:
    """Return balanced modes of about 8 that pair rows and columns."""
    order = default_order(rows, columns)
    return factorize_size(rows, order), factorize_size(columns, order)


def separate_shapes(rows: int, columns: int) -> tuple[TensorizedShape, ...]:
    """Return shapes in which rows and columns have modes of their own: one mode each, and two in either order."""
    outputs, inputs = factorize_size(rows, 2), factorize_size(columns, 2)
    columns_first = separate_modes(outputs, inputs)
    rows_first = separate_modes(inputs, outputs)[::-1]
    return separate_modes((rows,), (columns,)), columns_first, rows_first


def decompose_in_best_shape(
    backend: Any, matrix: Any, format: str, rank: Any, settings: Settings, options: dict[str, Any]
) -> FactorizedMatrix:
    """Decompose a matrix in the shape of least error within a budget, or of fewest parameters within an error.

    The error of every shape is estimated, and the best is decomposed. It is compared with the singular value decomposition,
    which is one of the shapes, and in formats that are fitted with the shape of paired modes.
    """
    if options.get("tree") is not None:
        raise ValueError("tensorized_shape must be given with a tree; expected one mode for each leaf, got None.")
    shapes = _promising(backend, matrix, format, rank, settings, options)
    found = within_budgets(
        partial(decompose, backend, "matrix", matrix, format, shape, rank, settings, options) for shape in shapes
    )
    if len(found) == 1:
        return found[0]
    return min(found, key=lambda one: one.n_param if settings.eps is not None else one.relative_error(matrix))


def _promising(
    backend: Any, matrix: Any, format: str, rank: Any, settings: Settings, options: dict[str, Any]
) -> list[TensorizedShape]:
    """Return the shapes to decompose in."""
    working, largest = check_matrix(backend, "matrix", matrix)
    kind, rank_options = get_format(format).format.with_options(options, 2)
    root_rank = rank_options.get("root_rank")
    stack = 1 if root_rank is None else positive_int("root_rank", root_rank)
    rows, columns = -(-matrix.shape[0] // stack), matrix.shape[1]
    paired, separate = paired_shape(rows, columns), separate_shapes(rows, columns)
    solve, direct, _ = algorithm_of(format)
    budget = budget_of(math.prod(matrix.shape), rank, settings)
    share = 1.0 if settings.eps is None and str(rank) in ("None", "same") else rank
    if budget is None and isinstance(share, (float, np.floating)) and 0 < share < math.inf:
        budget = math.floor(share * math.prod(matrix.shape)), "rank"
    if (
        direct is None
        or not largest
        or matrix.shape[0] % stack
        or (budget is None and (settings.eps is None or rank is not None))
    ):
        return [paired]
    most = budget[0] if budget else 0
    eps = check_eps(settings.eps, format) or 1.0
    if direct is not solve:
        return [separate[0]] if most > MOST_FITTED else [separate[0], paired]
    estimates = dict(_estimates(backend, kind, working / largest, stack, (*separate, paired), most, eps))
    best = min(estimates, key=lambda shape: estimates[shape], default=paired)
    return list(dict.fromkeys((best, separate[0])))


def _estimates(
    backend: Any, format: Format, matrix: Any, stack: int, shapes: tuple[TensorizedShape, ...], most: int, eps: float
) -> Iterator[tuple[TensorizedShape, tuple[float, float]]]:
    """Yield the shapes within a budget with their estimated errors, or the parameters within an error; the less the better."""
    of_matrix: np.ndarray | None = None
    for shape in shapes:
        padded = stack * math.prod(shape[0]), math.prod(shape[1])
        tensor = as_tensor(backend, matrix, padded, shape, stack)
        inputs, outputs = (frozenset(f"j{k + 1}" for k, size in enumerate(side) if size > 1) for side in reversed(shape))
        # The cut between rows and columns has the values of the matrix in every shape.
        known = {} if of_matrix is None or inputs & outputs else {inputs: of_matrix, outputs: of_matrix}
        values = bond_values(backend, format, tensor, known)
        if of_matrix is None and stack == 1:
            of_matrix = next(iter(values.values()), None)
        network = tree_of(format, tensor)
        sizes, error = truncated_sizes(network, values, most, eps)
        n_param = network.resized(sizes).n_param
        if not most:
            yield shape, (n_param, error)
        elif n_param <= most:
            yield shape, (error, n_param)
