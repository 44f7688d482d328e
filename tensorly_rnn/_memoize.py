"""What is planned from names and sizes alone is planned once, and a constant to whatever traces the arithmetic."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


_caches: list[Any] = []
# How often all was forgotten. What a thread began to plan before stays unseen after.
_generation = 0


def memoize(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Cache a function of hashable plain data, and let torch.compile call it instead of tracing into it.

    The mark is what `torch.compiler.assume_constant_result` sets; it is set here without importing torch.
    """

    @lru_cache(maxsize=4096)
    def kept(generation: int, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return function(*args, **kwargs)

    _caches.append(kept)

    @wraps(function)
    def constant(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        return kept(_generation, *args, **kwargs)  # type: ignore[arg-type]

    constant._dynamo_marked_constant = True  # type: ignore[attr-defined]
    return constant


def clear_caches() -> None:
    """Let all be planned anew: for the planner, when it is told of a better order."""
    global _generation
    _generation += 1
    for cache in _caches:
        cache.cache_clear()
