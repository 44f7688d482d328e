"""Numbers of any magnitude as a pair: an array with entries near 1, and the exponent of a power of two."""

from collections.abc import Sequence
from typing import Any

from tensorly_rnn._backend import as_dtype, detached, new_array
from tensorly_rnn.contraction.execute import apply_view, run_steps
from tensorly_rnn.contraction.plan import Plan

#: ``array * 2 ** exponent``; the exponent is an array without dimensions, and no gradient passes through it.
Scaled = tuple[Any, Any]


def scaled(backend: Any, array: Any) -> Scaled:
    """Return an array whose largest magnitude is near 1, and the exponent; 0 for zero, NaN and infinite entries."""
    largest = backend.max(backend.abs(detached(array)))
    one = new_array(backend, 1.0, largest)
    usual = backend.where(largest > 0, largest, one)
    usual = backend.where(usual < float("inf"), usual, one)
    # TensorLy has no floor; a whole exponent makes the division exact.
    exponent = as_dtype(backend, as_dtype(backend, backend.log2(usual), backend.int32), largest.dtype)
    return times_power(array, -exponent), exponent


def times_power(array: Any, exponent: Any) -> Any:
    """Return ``array * 2 ** exponent``; the power alone may be out of the range of numbers."""
    half = exponent / 2
    return array * 2.0**half * 2.0 ** (exponent - half)


def contracted(backend: Any, plan: Plan, arrays: Sequence[Any]) -> Scaled:
    """Return `execute` of a plan as a pair: the operands and the result of every step are scaled."""
    exponents: list[Any] = []

    def near_one(array: Any) -> Any:
        result, exponent = scaled(backend, array)
        exponents.append(exponent)
        return result

    last = run_steps(plan, backend, [near_one(array) for array in arrays], finish=near_one)[-1]
    return apply_view(backend, last, plan.last_view), sum(exponents[1:], exponents[0])


def added(backend: Any, terms: Sequence[Scaled]) -> Scaled:
    """Return the sum of numbers given as pairs."""
    if len(terms) == 1:
        return terms[0]
    exponents = backend.stack([exponent for _, exponent in terms])
    largest = backend.max(exponents)
    return sum(times_power(value, exponent - largest) for value, exponent in terms), largest


def spread(arrays: Sequence[Any], exponent: float) -> list[Any]:
    """Return factors multiplied by whole powers of two, as even as possible, whose product is ``2 ** exponent``."""
    total, count = int(exponent), len(arrays)
    return [times_power(one, float(total * (k + 1) // count - total * k // count)) for k, one in enumerate(arrays)]
