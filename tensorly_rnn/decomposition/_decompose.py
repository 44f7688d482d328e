"""Decompose a matrix: check the arguments, reshape the matrix to a tensor, run the format's algorithm."""

import math
import numbers
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import (
    as_dtype,
    at_least_single,
    check_no_gradient,
    detached,
    frobenius_norm,
    is_real_float,
    largest_magnitude,
    same_backend,
)
from tensorly_rnn._checks import ClippedRankWarning, check_memory, checked_eps, one_of, plain, positive_int
from tensorly_rnn.contraction.execute import apply_view
from tensorly_rnn.contraction.plan import view
from tensorly_rnn.decomposition._algorithms import ALGORITHMS, algorithm_of
from tensorly_rnn.decomposition._problem import Problem
from tensorly_rnn.decomposition.budget import within_budget, within_error
from tensorly_rnn.decomposition.fitting.subspaces import relative_error
from tensorly_rnn.decomposition.progress import Progress
from tensorly_rnn.formats import FactorizedMatrix, Format, get_format
from tensorly_rnn.formats._random import RandomState, as_generator
from tensorly_rnn.tensorize import TensorizedShape, pad_matrix, validate_shape, validate_tensorized_shape

#: Called with the factorization found so far and its relative error; True stops the iteration.
Callback = Callable[[Any, float], bool | None]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of every decomposition besides the rank; documented at `factorize`."""

    eps: float | None = None
    n_param: int | None = None
    compression_ratio: float | None = None
    method: str = "auto"
    init: Any = "svd"
    n_starts: int = 1
    n_iter_max: int = 300
    tol: float = 1e-6
    random_state: RandomState = 0
    verbose: bool = False
    callback: Callback | None = None


def decompose(
    backend: Any,
    argument: str,
    matrix: Any,
    format: str,
    tensorized_shape: Any,
    rank: Any,
    settings: Settings,
    options: dict[str, Any],
    wrap: Callable[[FactorizedMatrix], Any] = lambda found: found,
    format_argument: str = "format",
) -> Any:
    """Decompose a matrix; errors name it and the format by their arguments; `wrap` converts results, also for the callback."""
    working, largest = check_matrix(backend, argument, matrix)
    modes = validate_tensorized_shape(tensorized_shape)
    shape = tuple(int(n) for n in matrix.shape)
    kind = get_format(format, format_argument)
    cls, options = kind.format.with_options(options, len(modes[0]))
    budget = budget_of(math.prod(shape), rank, settings)
    eps = check_eps(settings.eps, format)
    if eps and not largest:
        # Rank 1 holds zeros.
        rank = cls.uniform_rank(modes, 1, **options)
    wanted = _rank(cls, modes, math.prod(shape), rank, budget, settings, options)
    problem_settings = _check_settings(format, settings)
    network = cls.make_network(modes, wanted)
    stack = network.size[cls.stack_index] if cls.stack_index else 1
    check_memory("tensorized_shape", math.prod(network.shape))
    true_shape = validate_shape(shape, network.shape, stack)
    # Far from 1 the squares of the entries would leave the range of the numbers.
    scale = largest if largest and not 1e-6 < largest < 1e6 else 1.0
    if isinstance(settings.init, str):
        start: str | list[Any] = one_of("init", settings.init, ("svd", "random"))
    elif budget is None:
        start = _own_start(settings.init, argument, matrix, cls, modes, wanted, scale)
    else:
        raise ValueError("init must come with its rank; expected rank=, got a budget. Give init.rank.")
    tensor = as_tensor(backend, working if scale == 1.0 else working / scale, network.shape, modes, stack)

    def finished(factors: list[Any]) -> FactorizedMatrix:
        found_rank = problem.rank_of(factors)
        shapes = cls.make_network(modes, found_rank).factor_shapes
        share = scale ** (1 / len(factors))
        reshaped = [backend.reshape(factor * share, one) for factor, one in zip(factors, shapes)]
        if reshaped[0].dtype != matrix.dtype:
            # In half precision one factor may not hold the norm of all.
            reshaped = [as_dtype(backend, factor, matrix.dtype) for factor in _evened(backend, reshaped)]
        return kind.in_format(cls, reshaped, true_shape)

    def report(factors: list[Any], error: float) -> bool:
        return settings.callback is not None and _is_true(settings.callback(wrap(finished(factors)), error))

    problem = Problem(
        backend=backend,
        tensor=tensor,
        format=cls,
        rank=wanted,
        generator=as_generator(settings.random_state),
        init=start,
        progress=Progress(report if settings.callback else None, bool(settings.verbose)),
        rank_is_free=rank is None and budget is None,
        max_error=eps * frobenius_norm(backend, tensor) if eps else 0.0,
        **problem_settings,
    )
    if budget is None:
        solve, direct, _ = algorithm_of(format)
        found = within_error(problem, direct) if problem.max_error and direct is solve else solve(problem)
    else:
        found = within_budget(problem, budget[0], options)
    if problem.progress.watched and not problem.progress.told:
        # A direct algorithm has no iterations: only its result is reported.
        problem.tell(found, relative_error(problem, found))
    rank_found = problem.rank_of(found)
    if rank_found != wanted and settings.eps is None and budget is None:
        message = f"rank was clipped to what the sizes {modes} allow; asked for {plain(wanted)}, got {plain(rank_found)}."
        warnings.warn(message, ClippedRankWarning, stacklevel=_users_stacklevel())
    return wrap(finished(found))


def _users_stacklevel() -> int:
    """Return the `stacklevel` with which a warning of the calling function points to the user's line."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "tensorly_rnn":
        level, frame = level + 1, frame.f_back
    return level


def budget_of(entries: int, rank: Any, settings: Settings) -> tuple[int, str] | None:
    """Return the largest number of parameters, and the argument that gave it, for errors."""
    budgets = {"rank": rank, "n_param": settings.n_param, "compression_ratio": settings.compression_ratio}
    if settings.n_param is not None or settings.compression_ratio is not None:
        budgets["eps"] = settings.eps
    given = [name for name, value in budgets.items() if value is not None]
    if len(given) > 1:
        raise ValueError(
            f"{given[1]} must be the only budget; expected one of rank, n_param, compression_ratio and eps "
            f"(with or without a rank), got {' and '.join(given)}."
        )
    if settings.n_param is not None:
        most = positive_int("n_param", settings.n_param)
        return most, f"n_param={most}"
    if settings.compression_ratio is not None:
        ratio = _number("compression_ratio", settings.compression_ratio, "a positive number", least=0.0)
        return math.floor(min(entries / ratio, 1e18)), f"compression_ratio={ratio:g}"
    return None


def _rank(
    cls: Format,
    modes: TensorizedShape,
    entries: int,
    rank: Any,
    budget: tuple[int, str] | None,
    settings: Settings,
    options: dict[str, Any],
) -> Any:
    """Return the canonical rank for a rank, for a budget, or the highest rank that an error may need."""
    if budget is not None:
        return cls.rank_within(modes, *budget, **options)
    if rank is None:
        rank = "same" if settings.eps is None else "full"
    # A share is one of the entries of the matrix without its padding.
    return cls.canonical_rank(modes, rank, entries, **options)


def _check_settings(format: str, settings: Settings) -> dict[str, Any]:
    """Return the checked settings of an algorithm."""
    if settings.callback is not None and not callable(settings.callback):
        raise TypeError(
            f"callback must be callable; expected a function of a factorization and its error, "
            f"got {settings.callback!r} of type {type(settings.callback).__name__}."
        )
    return {
        "method": one_of("method", settings.method, ("auto", *algorithm_of(format).methods)),
        "n_starts": positive_int("n_starts", settings.n_starts),
        "n_iter_max": positive_int("n_iter_max", settings.n_iter_max),
        "tol": _number("tol", settings.tol, "a number of at least 0", least=0.0, itself=True),
    }


def _number(argument: str, value: Any, rule: str, least: float, itself: bool = False) -> float:
    number = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not (math.isfinite(number) and (number > least or (itself and number == least))):
        raise ValueError(f"{argument} must be {rule}; got {value!r}.")
    return number


def check_matrix(backend: Any, argument: str, matrix: Any) -> tuple[Any, float]:
    """Return a matrix without its autograd graph, at least in single precision, and its largest magnitude."""
    if getattr(matrix, "is_meta", False) is True:
        raise TypeError(
            f"{argument} must be a plain dense array; expected numbers in every entry, got a tensor on the meta "
            "device. Give one that has numbers."
        )
    check_no_gradient(argument, matrix)
    shape = tuple(matrix.shape)
    if len(shape) != 2:
        raise ValueError(f"{argument} must have two axes; expected (rows, columns), got shape {shape}.")
    if 0 in shape:
        raise ValueError(f"{argument} must not be empty; expected at least one row and column, got shape {shape}.")
    if not is_real_float(matrix) or any(name in str(matrix.dtype) for name in ("float8", "float96", "float128")):
        cure = f"Convert it first, for example with {argument}.astype(float)."
        if "complex" in str(matrix.dtype):
            cure = f"Decompose {argument}.real and {argument}.imag, each on its own."
        raise TypeError(f"{argument} must be real floating point; expected a float dtype, got {matrix.dtype}. {cure}")
    # NaN or infinite as soon as one entry is.
    working = at_least_single(backend, detached(matrix))
    largest = largest_magnitude(backend, working)
    if not math.isfinite(largest):
        raise ValueError(
            f"{argument} must be finite; expected numbers, got NaN or infinity. Look for where the weights diverged."
        )
    return working, largest


def check_eps(eps: Any, format: str) -> float:
    """Return the allowed relative error, 0 for none."""
    if eps is None:
        return 0.0
    eps = checked_eps(eps)
    if algorithm_of(format).direct is None:
        able = tuple(sorted(name for name, algorithm in ALGORITHMS.items() if algorithm.direct))
        raise ValueError(
            f"eps must be given for a format whose algorithm keeps an error; expected one of {able}, got {format!r}. "
            "Give a rank instead."
        )
    return eps


def _own_start(
    init: Any, argument: str, matrix: Any, cls: Format, modes: TensorizedShape, rank: Any, scale: float
) -> list[Any]:
    """Return the user's own start in the tensor form, of the working dtype and scale."""
    given = getattr(init, "factors", init)
    if not isinstance(given, (list, tuple)) or not given:
        raise TypeError(
            f"init must be 'svd', 'random' or factors; expected a factorized matrix or tensor, or a list of "
            f"arrays, got {init!r} of type {type(init).__name__}."
        )
    backend = same_backend({argument: matrix, **{f"init[{k}]": one for k, one in enumerate(given)}})
    network = cls.make_tensor_network(tuple(m * n for m, n in zip(*modes)), rank)
    accepted = (network.factor_shapes, cls.make_network(modes, rank).factor_shapes)
    shapes = tuple(tuple(int(n) for n in one.shape) for one in given)
    if shapes not in accepted:
        raise ValueError(
            f"init must have the given format, modes and rank; expected {cls.name!r} factors of shapes "
            f"{accepted[1]} for rank {plain(rank)}, got {shapes}."
        )
    if not all(math.isfinite(largest_magnitude(backend, detached(one))) for one in given):
        raise ValueError("init must be finite; expected numbers, got NaN or infinity.")
    dtype = at_least_single(backend, matrix[:1]).dtype
    share = scale ** (-1 / len(given))
    return [
        as_dtype(backend, backend.reshape(detached(one), shape), dtype) * share
        for one, shape in zip(given, network.factor_shapes)
    ]


def _is_true(answer: Any) -> bool:
    """Return whether a callback returned True: Python's, NumPy's or another backend's."""
    without_axes = getattr(answer, "shape", None) == () and "bool" in str(getattr(answer, "dtype", ""))
    return answer is True or (without_axes and bool(answer))


def _evened(backend: Any, factors: list[Any]) -> list[Any]:
    """Scale factors to the same largest magnitude; the reconstruction does not change."""
    sizes = [largest_magnitude(backend, factor) for factor in factors]
    if not all(sizes):
        return [factor * 0.0 for factor in factors]
    mean = math.exp(sum(math.log(size) for size in sizes) / len(sizes))
    return [factor * (mean / size) for factor, size in zip(factors, sizes)]


def as_tensor(
    backend: Any, matrix: Any, padded: tuple[int, int], modes: tuple[tuple[int, ...], tuple[int, ...]], stack: int
) -> Any:
    """Return a matrix as a tensor with the axes (stack, m_1 n_1, ..., m_d n_d)."""
    rows, columns = ([f"{side}{k}" for k in range(len(modes[0]))] for side in "ji")
    size = {"stack": stack, **dict(zip((*rows, *columns), (*modes[0], *modes[1])))}
    paired = view(("stack", *rows, *columns), (("stack",), *zip(rows, columns)), size)
    return apply_view(backend, pad_matrix(backend, matrix, padded, stack), paired)
