"""Contraction plans: the products and reshapes that contract several arrays into one.

A plan is plain data, derived from index names and sizes. Every step is one (batched) matrix product, so a plan runs on any
backend, and its gradient is computed from the same data (`tensorly_rnn.contraction.execute`).
"""

import math
import operator
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Indices = tuple[str, ...]
# Two operands, and whether the leading indices of the second stay in place.
Pair = tuple[int, int] | tuple[int, int, bool]
Pairs = tuple[Pair, ...]

# A size that is known only when the plan runs, as in a reshape, and the size for which its order is chosen.
ANY, NOMINAL_BATCH = -1, 256


@dataclass(frozen=True)
class View:
    """View of an array: reshaped to `split`, permuted by `permutation`, reshaped to `merged`."""

    split: tuple[int, ...]
    permutation: tuple[int, ...]
    merged: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """Product of shape `shape`: `left` (batch, rows, summed) times `right` (batch, summed, columns); batch may be absent.

    If only the batch of `left` is 1, one matrix multiplies a stack of matrices: the indices of `right` in front of the summed
    ones stay in place, which avoids a copy.
    """

    left: int
    right: int
    left_view: View
    right_view: View
    indices: Indices
    shape: tuple[int, ...]

    #: Whether one matrix on the left multiplies a stack on the right.
    is_stacked: bool = field(init=False, repr=False, compare=False)
    #: Whether the gradient of that matrix is computed as one product of copies, which are smaller than a stack of gradients.
    is_unstacked_backward: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Fields instead of properties, since torch.compile supports only the fields of a constant.
        stacked = len(self.shape) == 3 and self.left_view.merged[0] == 1 != self.shape[0]
        *_, rows, columns = (1, *self.shape)
        summed = self.left_view.merged[-1]
        object.__setattr__(self, "is_stacked", stacked)
        object.__setattr__(self, "is_unstacked_backward", stacked and columns * (rows + summed) < rows * summed)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the product."""
        return 2 * math.prod(self.shape) * self.left_view.merged[-1]

    @property
    def backward_peak(self) -> int:
        """Elements of the larger gradient of the two operands, as a stack of gradients where these are then added."""
        parts = self.shape[0] if self.is_stacked and not self.is_unstacked_backward else 1
        return max(parts * math.prod(self.left_view.merged), math.prod(self.right_view.merged))


@dataclass(frozen=True)
class Plan:
    """Steps that contract `n_operands` arrays; step k writes operand `n_operands + k`; `last_view` is applied to the last.

    The counts are valid for known sizes only.
    """

    n_operands: int
    steps: tuple[Step, ...]
    last_view: View

    @property
    def pairs(self) -> Pairs:
        """The two operands of each step, with True if the leading indices of the second stay in place."""
        return tuple((step.left, step.right, True) if step.is_stacked else (step.left, step.right) for step in self.steps)

    @property
    def flops(self) -> int:
        """Multiplications and additions of all steps."""
        return sum(step.flops for step in self.steps)

    @property
    def moved(self) -> int:
        """Elements that the steps read and write."""
        return sum(
            math.prod(step.left_view.merged) + math.prod(step.right_view.merged) + math.prod(step.shape) for step in self.steps
        )

    @property
    def peak(self) -> int:
        """Elements of the largest intermediate or final array."""
        return max((math.prod(step.shape) for step in self.steps), default=math.prod(self.last_view.merged))

    def __str__(self) -> str:
        lines = [f"{'step':>4}  {'of':>7} {'product':<32} {'flops':>12}  result"]
        for number, step in enumerate(self.steps):
            product = f"{list(step.left_view.merged)} @ {list(step.right_view.merged)}"
            operands = f"{step.left},{step.right}"
            lines.append(
                f"{self.n_operands + number:>4}  {operands:>7} {product:<32} {step.flops:>12,}  {' '.join(step.indices)}"
            )
        return "\n".join(lines)


def build_plan(operands: tuple[Indices, ...], output: Indices, sizes: tuple[tuple[str, int], ...], pairs: Pairs) -> Plan:
    """Return the plan that multiplies operands by pairs; the first of each pair has the rows, the second the columns.

    For a pair ``(left, right, True)`` the indices of the right operand in front of all summed ones stay in front: the result
    is ordered (leading, rows, columns), which avoids a copy of the operand.

    Parameters and errors are those of `tensorly_rnn.contraction.order.plan`.
    """
    size = dict(sizes)
    live, wanted = live_indices(operands, output, size)
    _check_pairs(pairs, len(operands))
    steps: list[Step] = []
    remaining = set(range(len(operands)))
    for left, right, *in_place in pairs:
        remaining -= {left, right}
        kept = set(wanted).union(*(live[p] for p in remaining))
        step = _step(left, right, live, kept, size, any(in_place))
        steps.append(step)
        remaining.add(len(live))
        live.append(step.indices)
    last_shape = tuple(size[index] for index in output)
    last = view(live[-1], (wanted,), size)
    return Plan(
        n_operands=len(operands),
        steps=tuple(steps),
        last_view=View(last.split, last.permutation, last_shape),
    )


def live_indices(operands: tuple[Indices, ...], output: Indices, size: dict[str, int]) -> tuple[list[Indices], Indices]:
    """Return the indices without those of size 1, which the last reshape restores; raise an error if they are invalid."""
    live = [tuple(index for index in indices if size[index] != 1) for indices in operands]
    wanted = tuple(index for index in output if size[index] != 1)
    _check_indices(live, wanted, size)
    return live, wanted


def size_of_plan(size: Any) -> int:
    """Return a size as an int, or `ANY` where it is symbolic in torch.compile, torch.export or torch.jit.trace."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(size, torch.Tensor):  # a size in torch.jit.trace
        return ANY
    symbols = sys.modules.get("torch.fx.experimental.symbolic_shapes")
    # If this module is not loaded, torch is not tracing.
    if symbols is None or not isinstance(size, (int, symbols.SymInt)) or symbols.has_static_value(size):
        return operator.index(size)
    return ANY


def _check_indices(operands: list[Indices], output: Indices, size: dict[str, int]) -> None:
    for position, indices in enumerate((*operands, output)):
        if len(set(indices)) != len(indices):
            where = "output" if position == len(operands) else f"operands[{position}]"
            raise ValueError(f"{where} must name each index once; got {indices}.")
    count = Counter(index for indices in (*operands, output) for index in indices)
    for index, times in count.items():
        if times == 1:
            raise ValueError(
                f"index {index!r} of size {size[index]} must be in two places or more; expected another operand "
                "or the output, got one operand only. Sum the operand over it first, or name it in the output."
            )


def _check_pairs(pairs: Pairs, n_operands: int) -> None:
    # Pair k may use operands and earlier results only.
    taken = sorted(number for pair in pairs for number in pair[:2])
    early = all(number < n_operands + k for k, pair in enumerate(pairs) for number in pair[:2])
    if taken != list(range(2 * n_operands - 2)) or not early:
        raise ValueError(
            f"pairs must take every operand and every result but the last once; expected {n_operands - 1} pairs of the "
            f"numbers 0 to {2 * n_operands - 3}, got {pairs}."
        )


def _step(left: int, right: int, live: list[Indices], kept: set[str], size: dict[str, int], in_place: bool) -> Step:
    shared = [index for index in live[left] if index in live[right]]
    batch = tuple(index for index in shared if index in kept)
    summed = tuple(index for index in shared if index not in kept)
    rows = tuple(index for index in live[left] if index not in shared)
    columns = tuple(index for index in live[right] if index not in shared)
    leading = _leading(live[right], shared) if in_place and not batch else ()
    left_stack = right_stack = (batch,) if batch else ()
    if leading:
        # Left has batch 1 and right has batch `leading`; the products of all backends broadcast.
        left_stack, right_stack = ((),), (leading,)
        columns = columns[len(leading) :]
    left_view = view(live[left], (*left_stack, rows, summed), size)
    right_view = view(live[right], (*right_stack, summed, columns), size)
    return Step(
        left=left,
        right=right,
        left_view=left_view,
        right_view=right_view,
        indices=(*leading, *batch, *rows, *columns),
        shape=(*right_view.merged[:-2], *left_view.merged[-2:-1], right_view.merged[-1]),
    )


def _leading(indices: Indices, shared: Sequence[str]) -> Indices:
    """Return the indices in front of the first shared one; none if no index is shared."""
    first = next((place for place, index in enumerate(indices) if index in shared), len(indices))
    return indices[:first] if first < len(indices) else ()


def view(have: Indices, groups: tuple[Indices, ...], size: dict[str, int]) -> View:
    """Return the view that permutes axes `have` to the order of `groups` and merges each group into one axis."""
    # Axes that stay neighbours within a group move as one, which makes permutations cheaper.
    runs: list[list[str]] = []
    for group in groups:
        for position, index in enumerate(group):
            previous = group[position - 1] if position else None
            if previous is not None and have.index(index) == have.index(previous) + 1:
                runs[-1].append(index)
            else:
                runs.append([index])
    order = sorted(range(len(runs)), key=lambda run: have.index(runs[run][0]))
    return View(
        split=tuple(_product(runs[run], size) for run in order),
        permutation=tuple(order.index(run) for run in range(len(runs))),
        merged=tuple(_product(group, size) for group in groups),
    )


def _product(indices: Sequence[str], size: dict[str, int]) -> int:
    sizes = [size[index] for index in indices]
    return ANY if ANY in sizes else math.prod(sizes)
