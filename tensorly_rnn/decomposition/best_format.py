"""Compare all formats, and the singular value decomposition, on a matrix at one budget or error."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tensorly_rnn import plot
from tensorly_rnn._backend import at_least_single, backend_of, detached
from tensorly_rnn._checks import BudgetError
from tensorly_rnn._svd import singular_values
from tensorly_rnn.decomposition.factorize import factorize
from tensorly_rnn.formats import FactorizedMatrix, available_formats, get_format
from tensorly_rnn.formats._random import RandomState

# Multiples of the given number of parameters for the curves of the plot.
LEVELS = (0.25, 0.5, 1.0, 2.0, 4.0)
SVD = "svd"


@dataclass(frozen=True)
class Result:
    """One format at one budget or error; without `found`, `note` gives the reason."""

    format: str
    rank: Any = None
    n_param: int = 0
    error: float = math.inf
    seconds: float = 0.0
    found: FactorizedMatrix | None = field(default=None, repr=False)
    note: str = ""


@dataclass(frozen=True)
class FormatComparison:
    """Result of `best_format`; prints as a table.

    Attributes
    ----------
    asked : str
        The given budget or error.
    results : list of Result
        One for each format, the best first; the truncated singular value decomposition is named ``'svd'``.
    curves : dict of str to list of (int, float)
        Parameters and relative error of every format over a range around the given budget or error.
    """

    asked: str
    entries: int
    results: list[Result]
    curves: dict[str, list[tuple[int, float]]]

    @property
    def best(self) -> FactorizedMatrix:
        """Factors of the best format."""
        return next(result.found for result in self.results if result.found is not None)

    def plot(self, ax: Any = None) -> Any:
        """Draw error against parameters, one curve for each format; return matplotlib's axes."""
        marked = [(result.n_param, result.error) for result in self.results if result.n_param]
        # The baseline extends to full rank, far beyond the other curves.
        widest = 10 * max(point[0] for name, curve in self.curves.items() if name != SVD for point in curve)
        first = self.curves[SVD][0][0]
        shown = {name: [point for point in curve if point[0] <= max(widest, 4 * first)] for name, curve in self.curves.items()}
        return plot.error_against_parameters(shown, ax=ax, marked=marked)

    def __str__(self) -> str:
        lines = [f"{self.asked:<8}{'parameters':>12}{'ratio':>10}{'error':>12}{'seconds':>9}  rank"]
        for one in self.results:
            if one.n_param:
                ratio = self.entries / one.n_param
                lines.append(
                    f"{one.format:<8}{one.n_param:>12,}{ratio:>10.4g}{one.error:>12.4g}{one.seconds:>9.2f}  {one.rank}"
                )
            else:
                lines.append(f"{one.format:<8}  {one.note}")
        return "\n".join(lines)


def best_format(
    matrix: Any,
    tensorized_shape: Any = None,
    *,
    n_param: int | None = None,
    compression_ratio: float | None = None,
    eps: float | None = None,
    formats: Sequence[str] | None = None,
    n_starts: int = 1,
    n_iter_max: int = 100,
    random_state: RandomState = 0,
) -> FormatComparison:
    r"""Decompose a matrix in all formats and compare them.

    Parameters
    ----------
    matrix : array of NumPy, PyTorch, JAX, ..., shape (rows, columns), floating point
    tensorized_shape : (tuple of int, tuple of int), optional
        ``(out_modes, in_modes)``; by default chosen for each format, as in `factorize`.
    n_param : int, optional
        Most parameters.
    compression_ratio : float, optional
        Least number of the matrix's entries for one parameter.
    eps : float, optional
        Largest relative error. Exactly one of these three must be given.
    formats : sequence of str, optional
        Default: `available_formats()`.
    n_starts, n_iter_max, random_state
        As in `factorize`.

    Returns
    -------
    FormatComparison
        Its `best` has the least error within the budget, or the fewest parameters within the error.

    Raises
    ------
    TypeError, ValueError
        If not exactly one of the three is given, no format meets it, or an argument is of the wrong form.

    Notes
    -----
    The cost is that of five calls of `factorize` for each format. The baseline is the truncated singular value decomposition,
    ``k (rows + columns)`` parameters at rank k, the best product of two factors.

    Examples
    --------
    >>> from tensorly_rnn import TRMatrix
    >>> weight = TRMatrix.random(((3, 3, 3), (3, 3, 3)), 2, random_state=0).to_matrix()
    >>> comparison = best_format(weight, ((3, 3, 3), (3, 3, 3)), n_param=108)
    >>> comparison.best.name, comparison.best.rank
    ('tr', (2, 2, 2, 2))
    """
    asked = {
        name: value
        for name, value in (("n_param", n_param), ("compression_ratio", compression_ratio), ("eps", eps))
        if value is not None
    }
    if len(asked) != 1:
        raise ValueError(f"n_param, compression_ratio or eps must be given, and one of them only; got {asked or 'none'}.")
    if formats is not None and (isinstance(formats, str) or not isinstance(formats, Sequence) or not formats):
        raise TypeError(f"formats must be a list of names; expected some of {available_formats()}, got {formats!r}.")
    names = available_formats() if formats is None else tuple(formats)
    for name in names:
        get_format(name, "formats")
    backend = backend_of("matrix", matrix)
    shape = tuple(int(n) for n in matrix.shape)
    if len(shape) != 2 or 0 in shape:
        raise ValueError(f"matrix must have rows and columns; expected two axes, got shape {shape}.")
    ((word, value),) = asked.items()

    minima: list[int] = []

    def result(name: str, level: float) -> Result:
        started = time.perf_counter()
        try:
            found = factorize(
                matrix,
                name,
                tensorized_shape,
                **_scaled(word, value, level),
                n_starts=n_starts,
                n_iter_max=n_iter_max,
                random_state=random_state,
            )
        except BudgetError as reason:
            minima.append(reason.minimum)
            return Result(name, note=_least_budget(reason.minimum))
        seconds = time.perf_counter() - started
        return Result(name, found.rank, found.n_param, found.relative_error(matrix), seconds, found)

    # The given budget or error comes first, so that errors name the value that was typed.
    exact = {name: result(name, 1.0) for name in names}
    results = list(exact.values())
    if all(one.found is None for one in results):
        raise ValueError(f"{word} must leave room for rank 1 of a format; {_least_budget(min(minima))}, got {word}={value}.")
    table = {name: [exact[name] if level == 1.0 else result(name, level) for level in LEVELS] for name in names}
    curves = {name: sorted((one.n_param, one.error) for one in row if one.n_param) for name, row in table.items()}
    baseline = _baseline(backend, matrix)
    curves[SVD] = baseline
    results.append(_svd_result(baseline, word, value, shape))
    results.sort(key=lambda one: (one.n_param == 0, one.n_param if word == "eps" else one.error))
    return FormatComparison(f"{word}={value:g}", math.prod(shape), results, curves)


def _scaled(word: str, value: Any, level: float) -> dict[str, Any]:
    """Return the budget for a multiple of the given parameters; a smaller error for more of them."""
    if level == 1.0:
        return {word: value}
    if word == "n_param":
        return {word: max(1, int(value * level))}
    scaled = value / level
    return {word: min(scaled, 0.99) if word == "eps" else scaled}


def _baseline(backend: Any, matrix: Any) -> list[tuple[int, float]]:
    """Return parameters and relative error of the truncated singular value decomposition for every rank."""
    found = singular_values(backend, at_least_single(backend, detached(matrix)))
    values = np.asarray(backend.to_numpy(found), dtype=float)
    squares = (values / (values[0] or 1.0)) ** 2
    errors = np.append(np.cumsum(squares[::-1])[::-1], 0.0)[1:]
    total = float(squares.sum()) or 1.0
    return [((k + 1) * sum(matrix.shape), math.sqrt(one / total)) for k, one in enumerate(errors)]


def _svd_result(baseline: list[tuple[int, float]], word: str, value: Any, shape: tuple[int, ...]) -> Result:
    budget = {"n_param": value, "compression_ratio": math.prod(shape) / value}.get(word, math.inf)
    eps = value if word == "eps" else math.inf
    within = [(rank, *one) for rank, one in enumerate(baseline, start=1) if one[0] <= budget and one[1] <= eps]
    if not within:
        return Result(SVD, note=_least_budget(baseline[0][0]))
    rank, n_param, error = within[0] if word == "eps" else within[-1]
    return Result(SVD, rank, n_param, error)


def _least_budget(n_param: int) -> str:
    return f"expected a budget of at least {n_param} parameters"
