"""Caches of functions of plain data, whose results torch.compile treats as constants."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
#: Largest number of entries of one cache. A plan takes a few kilobytes, and every number of rows has its own.
MAX_ENTRIES = 1024

_caches: list[Any] = []
# Number of times the caches were cleared; a result that another thread computes meanwhile is stored under the old number.
_generation = 0


def memoize(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Cache a function of hashable plain data, and make torch.compile call it instead of tracing into it.

    The attribute is the one that `torch.compiler.assume_constant_result` sets; here it is set without importing torch.
    """

    @lru_cache(maxsize=MAX_ENTRIES)
    def cached(generation: int, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return function(*args, **kwargs)

    _caches.append(cached)

    @wraps(function)
    def constant(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return cached(_generation, *args, **kwargs)  # type: ignore[arg-type]

    constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return constant


def clear_caches() -> None:
    """Clear all caches, after the choice of an order has changed."""
    global _generation
    _generation += 1
    for cache in _caches:
        cache.cache_clear()
