"""Execution of a plan on the arrays of a backend, and of its derivatives: backward (vjp) and forward (jvp)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

from tensorly_rnn._backend import most_axes
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import Plan, Step, View, view


def execute(plan: Plan, backend: Any, arrays: Sequence[Any], shape: tuple[int, ...] | None = None) -> Any:
    """Return the result of a plan on the arrays of a backend, in the order of the plan's output, reshaped to `shape`.

    Without `shape` the result has one axis per index; some backends support at most 9 axes.
    """
    return apply_view(backend, run_steps(plan, backend, arrays)[-1], plan.last_view, shape)


def run_steps(
    plan: Plan,
    backend: Any,
    arrays: Sequence[Any],
    known: Mapping[int, Any] = MappingProxyType({}),
    last: bool = True,
    finish: Callable[[Any], Any] | None = None,
) -> list[Any]:
    """Return the operands followed by the result of every step; results in `known`, by number, are not computed.

    If `last` is False, the last result, which no gradient depends on, is None. `finish` is applied to every result.
    """
    results = list(arrays)
    for step in plan.steps:
        number = len(results)
        if number in known:
            results.append(known[number])
            continue
        if not last and number == plan.n_operands + len(plan.steps) - 1:
            results.append(None)
            continue
        left = apply_view(backend, results[step.left], step.left_view)
        right = apply_view(backend, results[step.right], step.right_view)
        product = backend.matmul(left, right)
        results.append(product if finish is None else finish(product))
    return results


def apply_view(backend: Any, array: Any, view: View, shape: tuple[int, ...] | None = None) -> Any:
    """Return a view of an array, reshaped to `shape` (default ``view.merged``); it is copied only if the permutation must."""
    for sizes, order in _rounds(view.split, view.permutation, most_axes(backend)):
        array = backend.transpose(_reshape(backend, array, sizes), order)
    return _reshape(backend, array, view.merged if shape is None else shape)


def undo_view(backend: Any, array: Any, view: View, shape: tuple[int, ...]) -> Any:
    """Undo `apply_view` on an array of any shape and reshape it to `shape`."""
    for sizes, order in _rounds_back(view.split, view.permutation, most_axes(backend)):
        array = backend.transpose(_reshape(backend, array, sizes), order)
    return _reshape(backend, array, shape)


def _reshape(backend: Any, array: Any, shape: tuple[int, ...]) -> Any:
    return array if tuple(array.shape) == shape else backend.reshape(array, shape)


Rounds = tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]


@memoize
def _rounds(split: tuple[int, ...], permutation: tuple[int, ...], most: int) -> Rounds:
    """Return sizes and permutations of at most `most` axes each that compose a permutation; none for the identity."""
    have = tuple(str(axis) for axis in range(len(split)))
    wanted = tuple(str(axis) for axis in permutation)
    size = dict(zip(have, split))
    rounds = []
    done = 0
    while have != wanted:
        # Move as many of the next axes to the front as the limit allows; runs of neighbours count as one axis.
        for count in range(len(wanted), done, -1):
            front = wanted[:count]
            reached = (*front, *(axis for axis in have if axis not in front))
            step = view(have, (reached,), size)
            if len(step.split) <= most:
                break
        rounds.append((step.split, step.permutation))
        have, done = reached, count
    return tuple(rounds)


@memoize
def _rounds_back(split: tuple[int, ...], permutation: tuple[int, ...], most: int) -> Rounds:
    inverse = tuple(permutation.index(axis) for axis in range(len(permutation)))
    return _rounds(tuple(split[axis] for axis in permutation), inverse, most)


def plan_vjp(
    backend: Any, plan: Plan, operands: Sequence[Any], shape: tuple[int, ...]
) -> tuple[Any, Callable[[Any], list[Any]]]:
    """Return the output of a plan, reshaped to `shape`, and the function from its gradient to those of the operands."""
    results = run_steps(plan, backend, operands)
    return apply_view(backend, results[-1], plan.last_view, shape), partial(pull_back, backend, plan, results)


def pull_back(backend: Any, plan: Plan, results: Sequence[Any], d_output: Any) -> list[Any]:
    """Return the gradients of the operands, ``J^T d_output``, given the results of `run_steps`."""
    gradients: list[Any] = [None] * len(results)
    gradients[-1] = undo_view(backend, d_output, plan.last_view, tuple(results[-1].shape))
    sweep_back(backend, plan, results, gradients, range(plan.n_operands, len(results)), range(len(results)))
    return gradients[: plan.n_operands]


def sweep_back(
    backend: Any, plan: Plan, results: Sequence[Any], gradients: list[Any], numbers: Sequence[int], wanted: Sequence[int]
) -> None:
    """Fill in the gradients of the wanted operands of some results, last first, from the gradients of the results."""
    for number in reversed(numbers):
        step = plan.steps[number - plan.n_operands]
        d_result = backend.reshape(gradients[number], step.shape)
        left = apply_view(backend, results[step.left], step.left_view)
        right = apply_view(backend, results[step.right], step.right_view)
        if step.left in wanted:
            d_left = _gradient_of_left(backend, step, d_result, right)
            gradients[step.left] = undo_view(backend, d_left, step.left_view, tuple(results[step.left].shape))
        if step.right in wanted:
            d_right = backend.matmul(_transposed(backend, left), d_result)
            gradients[step.right] = undo_view(backend, d_right, step.right_view, tuple(results[step.right].shape))


def _gradient_of_left(backend: Any, step: Step, d_result: Any, right: Any) -> Any:
    if not step.is_stacked:
        return backend.matmul(d_result, _transposed(backend, right))
    if not step.is_unstacked_backward:
        return backend.sum(backend.matmul(d_result, _transposed(backend, right)), axis=0)
    rows, summed = d_result.shape[1], right.shape[1]
    rows_of_all = backend.reshape(backend.transpose(d_result, (1, 0, 2)), (rows, -1))
    return backend.matmul(rows_of_all, backend.reshape(backend.transpose(right, (0, 2, 1)), (-1, summed)))


def push_forward(backend: Any, plan: Plan, results: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the change of the output to first order, ``J tangents``, given the results of `run_steps`."""
    changes = list(tangents)
    for step in plan.steps:
        left, d_left = (apply_view(backend, one[step.left], step.left_view) for one in (results, changes))
        right, d_right = (apply_view(backend, one[step.right], step.right_view) for one in (results, changes))
        changes.append(backend.matmul(d_left, right) + backend.matmul(left, d_right))
    return apply_view(backend, changes[-1], plan.last_view)


def _transposed(backend: Any, array: Any) -> Any:
    return backend.transpose(array, (0, 2, 1) if len(array.shape) == 3 else (1, 0))
