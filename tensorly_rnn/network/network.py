"""Tensor networks as data: the index of every axis of every factor, and the size of every index."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tensorly_rnn._checks import one_of, positive_int
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.order import plan
from tensorly_rnn.contraction.plan import Indices, Pairs, Plan, size_of_plan

BATCH = "b"
CONTRACTION_ORDERS = ("planned", "factors_first", "input_first")

NetworkData = tuple[tuple[Indices, ...], Indices, Indices, tuple[tuple[str, int], ...]]


@dataclass(frozen=True)
class Network:
    r"""Matrix written as the contraction of factors with named indices.

    ``W[outputs, inputs] = sum over all other indices of prod_p factor_p[factors[p]]``; rows run over `outputs` and columns
    over `inputs`, both row-major. Every format is such a network, from which counts, reconstruction, products and gradients
    are derived.

    Parameters
    ----------
    factors : tuple of tuple of str
        Index names of each factor's axes, by convention ``j1..jd`` for outputs and ``i1..id`` for inputs.
    outputs, inputs : tuple of str
        Indices of the rows and of the columns.
    sizes : tuple of (str, int)
        The size of every index, sorted by name, so that equal networks compare equal and have the same hash. The name ``b``
        is reserved for the rows of x.

    Raises
    ------
    ValueError
        If an index is named ``b``.

    Examples
    --------
    >>> low_rank = Network((("j1", "r"), ("r", "i1")), ("j1",), ("i1",), (("i1", 5), ("j1", 3), ("r", 2)))
    >>> low_rank.shape, low_rank.factor_shapes, low_rank.n_param
    ((3, 5), ((3, 2), (2, 5)), 16)
    """

    factors: tuple[Indices, ...]
    outputs: Indices
    inputs: Indices
    sizes: tuple[tuple[str, int], ...]

    #: The four arguments.
    data: NetworkData = field(init=False, repr=False, compare=False)
    #: Size of each index by name; must not be changed.
    size: dict[str, int] = field(init=False, repr=False, compare=False)
    #: Shape of every factor.
    factor_shapes: tuple[tuple[int, ...], ...] = field(init=False, repr=False, compare=False)
    #: Number of entries of all factors.
    n_param: int = field(init=False, repr=False, compare=False)
    #: Sizes of the row indices.
    out_modes: tuple[int, ...] = field(init=False, repr=False, compare=False)
    #: Sizes of the column indices.
    in_modes: tuple[int, ...] = field(init=False, repr=False, compare=False)
    #: Rows and columns of the matrix.
    shape: tuple[int, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        size = _checked_sizes(self.factors, self.outputs, self.inputs, self.sizes)
        if BATCH in size:
            raise ValueError(
                f"sizes must leave {BATCH!r} to the rows of x; expected other names, got {tuple(size)}. Rename it."
            )
        shapes = tuple(tuple(size[index] for index in indices) for indices in self.factors)
        out_modes, in_modes = (tuple(size[index] for index in side) for side in (self.outputs, self.inputs))
        derived = {
            "data": (self.factors, self.outputs, self.inputs, self.sizes),
            "size": size,
            "factor_shapes": shapes,
            "n_param": sum(math.prod(shape) for shape in shapes),
            "out_modes": out_modes,
            "in_modes": in_modes,
            "shape": (math.prod(out_modes), math.prod(in_modes)),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    @property
    def open_sizes(self) -> dict[str, int]:
        """Sizes of the row and column indices by name, without those of size 1."""
        return {index: self.size[index] for index in (*self.outputs, *self.inputs) if self.size[index] != 1}

    @property
    @memoize
    def transposed(self) -> "Network":
        """Network with rows and columns exchanged."""
        return Network(self.factors, self.inputs, self.outputs, self.sizes)

    def resized(self, sizes: Mapping[str, int]) -> "Network":
        """Return the network with other sizes of some indices."""
        if not isinstance(sizes, Mapping) or not sizes.keys() <= self.size.keys():
            raise TypeError(f"sizes must be a mapping of the network's indices; got {sizes!r}.")
        return Network(self.factors, self.outputs, self.inputs, tuple(sorted({**self.size, **sizes}.items())))

    def cost(self, batch: int, contraction_order: str = "planned") -> "Cost":
        """Return the arithmetic and memory traffic of applying the matrix to `batch` rows, and of the gradients.

        For each product of the forward plan, the backward pass has two of the same arithmetic, one for the gradient of each
        operand; the arrays that it writes have the sizes of those operands.
        """
        one_of("contraction_order", contraction_order, CONTRACTION_ORDERS)
        applied = apply_plan(self, positive_int("batch", batch), contraction_order)
        return Cost(
            batch=batch,
            forward=Pass(applied.flops, applied.moved, applied.peak),
            backward=Pass(2 * applied.flops, 2 * applied.moved, max(step.backward_peak for step in applied.steps)),
        )


def _checked_sizes(factors: Any, outputs: Any, inputs: Any, sizes: Any) -> dict[str, int]:
    """Return the sizes by name; raise an error unless sizes and names have the right form and every index has a size."""
    if not isinstance(sizes, tuple) or not all(isinstance(one, tuple) and len(one) == 2 for one in sizes):
        raise TypeError(f"sizes must be a tuple of pairs (name, size); got {sizes!r}.")
    size = {name: positive_int(f"sizes of {name!r}", n) for name, n in sizes}
    sides = {"outputs": outputs, "inputs": inputs}
    if not isinstance(factors, tuple) or not factors:
        raise TypeError(f"factors must be a tuple of tuples of names, one a factor; got {factors!r}.")
    for argument, indices in (*sides.items(), *((f"factors[{k}]", one) for k, one in enumerate(factors))):
        if not isinstance(indices, tuple) or not all(isinstance(index, str) for index in indices):
            raise TypeError(f"{argument} must be a tuple of names of indices; got {indices!r}.")
        missing = [index for index in indices if index not in size]
        if missing:
            raise ValueError(f"{argument} must have indices with sizes; expected some of {tuple(size)}, got {missing}.")
    return size


def apply_plan(network: Network, batch: int, contraction_order: str = "planned") -> Plan:
    """Return the plan of ``y[b, outputs] = sum_inputs W[outputs, inputs] x[b, inputs]``; operands are x, then the factors.

    For a symbolic number of rows, as in tracing, the plan is for any number. See `tensorly_rnn.formats.counts.cost` for
    `contraction_order`.
    """
    return plan_of_data(network.data, size_of_plan(batch), contraction_order)


def tensor_plan(network: Network) -> Plan:
    """Return the plan of ``W[outputs, inputs]``; operands are the factors."""
    return _tensor_plan(network.data)


@memoize
def plan_of_data(data: NetworkData, batch: int, contraction_order: str) -> Plan:
    """Return the plan of `apply_plan` for the data of a network, which torch.compile treats as constants."""
    factors, outputs, inputs, sizes = data
    one_of("contraction_order", contraction_order, CONTRACTION_ORDERS)
    pairs = None
    if contraction_order == "factors_first":
        pairs = _one_after_another((*range(1, len(factors) + 1), 0))
    elif contraction_order == "input_first":
        pairs = _one_after_another((0, *(number + 1 for number in _from_the_inputs(factors, inputs))))
    return plan(((BATCH, *inputs), *factors), (BATCH, *outputs), ((BATCH, batch), *sizes), pairs)


@memoize
def _tensor_plan(data: NetworkData) -> Plan:
    factors, outputs, inputs, sizes = data
    return plan(factors, (*outputs, *inputs), sizes)


def _from_the_inputs(factors: tuple[Indices, ...], inputs: Indices) -> list[int]:
    """Return the numbers of the factors in the order ``'input_first'`` of `apply_plan`."""
    carriers = [p for index in inputs for p, indices in enumerate(factors) if index in indices]
    others = [p for p in reversed(range(len(factors))) if p not in carriers]
    taken: list[int] = []
    for carrier in dict.fromkeys(carriers):
        taken.append(carrier)
        for p in others:
            after = (q for q in range(p + 1, len(factors)) if set(factors[p]) & set(factors[q]))
            if p not in taken and all(q in taken for q in after):
                taken.append(p)
    return taken


def _one_after_another(numbers: tuple[int, ...]) -> Pairs:
    """Return pairs that multiply the first operand by the others in turn."""
    first, second, *others = numbers
    return ((first, second), *((len(numbers) + k, number) for k, number in enumerate(others)))


@dataclass(frozen=True)
class Pass:
    """Cost of products: `flops` operations, `moved` elements read and written, `peak` elements of the largest one written."""

    flops: int
    moved: int
    peak: int


@dataclass(frozen=True)
class Cost:
    """Cost of applying a network to `batch` rows in one order, forward and backward; `str` is a table."""

    batch: int
    forward: Pass
    backward: Pass

    @property
    def flops(self) -> int:
        """Multiplications and additions of both passes."""
        return self.forward.flops + self.backward.flops

    @property
    def moved(self) -> int:
        """Elements read and written by the products of both passes."""
        return self.forward.moved + self.backward.moved

    @property
    def peak(self) -> int:
        """Elements of the largest array that a product writes."""
        return max(self.forward.peak, self.backward.peak)

    def __str__(self) -> str:
        rows = [f"{f'{self.batch} rows':<12}{'flops':>18}{'elements moved':>18}{'largest array':>18}"]
        for name, one in (("forward", self.forward), ("backward", self.backward), ("both", self)):
            rows.append(f"{name:<12}{one.flops:>18,}{one.moved:>18,}{one.peak:>18,}")
        return "\n".join(rows)
