"""Weights of recurrent layers as linear maps, dense or in factors, with gates and parts, on any backend."""

import dataclasses
import math
import numbers
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from tensorly_rnn._backend import (
    as_dtype,
    at_least_single,
    backend_of,
    detached,
    frobenius_norm,
    is_real_float,
    same_backend,
    same_backend_and_device,
    same_device,
    wider_float,
)
from tensorly_rnn._checks import check_memory, instance_of, positive_ints
from tensorly_rnn.contraction.execute import plan_vjp
from tensorly_rnn.contraction.plan import size_of_plan
from tensorly_rnn.decomposition import calibrate
from tensorly_rnn.decomposition._decompose import Settings, decompose
from tensorly_rnn.formats import FactorizedMatrix, get_format
from tensorly_rnn.formats._random import RandomState, as_generator, checked_std, drawn_like, unit_factors
from tensorly_rnn.network import gradients, operations
from tensorly_rnn.network.network import Network, tensor_plan
from tensorly_rnn.recurrent import cost
from tensorly_rnn.recurrent.layout import Layout, make_layout
from tensorly_rnn.tensorize import covering_box, pad_axis

#: A function with the signature of `tensorly_rnn.network.operations.apply`.
Product = Callable[[Any, Network, Sequence[Any], Any], Any]
#: Largest number of entries of a matrix that is formed at once to sum its squares.
LARGEST_PIECE = 2**25
#: Factors of the network of a dense matrix.
DENSE = (("j1", "i1"),)


@dataclass(frozen=True, eq=False)
class GatedWeight:
    r"""A weight of shape ``(n_gates * rows, sum(widths))`` held as the factors of a network.

    Parameters
    ----------
    layout : Layout
        Positions of gates, padding and parts of the columns in the network's matrix.
    network : Network
    factors : sequence of arrays, shapes ``network.factor_shapes``
        Not copied.

    Examples
    --------
    >>> import numpy as np
    >>> weight = GatedWeight.random(3, (5,), factorization="tt", rank=2, n_gates=4, gate_mode="last", random_state=0)
    >>> weight.shape, weight.matrix().shape, weight.apply(np.ones((2, 5))).shape
    ((12, 5), (12, 5), (2, 12))
    """

    layout: Layout
    network: Network
    factors: Sequence[Any]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows of all gates and of columns of all parts."""
        return self.layout.shape

    @property
    def backend(self) -> Any:
        """TensorLy backend of the factors."""
        return backend_of("factors[0]", self.factors[0])

    @property
    def is_dense(self) -> bool:
        """Whether the weight is a dense matrix."""
        return self.network.factors == DENSE

    def with_factors(self, factors: Sequence[Any]) -> Self:
        """Return a weight with the same layout and network and other factors."""
        return dataclasses.replace(self, factors=factors)

    def apply(self, x: Any, part: int = 0, product: Product = operations.apply) -> Any:
        """Return ``x W^T`` for one part of the columns, shape (..., n_gates * rows), for x of shape (..., widths[part]).

        The default `product` is `tensorly_rnn.network.operations.apply`. Another one may define its own gradient.
        """
        backend = same_backend_and_device({"factors[0]": self.factors[0], "x": x})
        part = checked_part(part, len(self.layout.spans))
        width, shape = self.layout.widths[part], tuple(x.shape)
        if shape[-1:] != (width,):
            raise ValueError(f"x must have {width} columns; expected (..., {width}), got {shape}.")
        network, factors, offset = operations.columns(self.network, self.factors, *self.layout.spans[part])
        axis = len(x.shape) - 1
        start = self.layout.spans[part][0] - offset
        y = product(backend, network, factors, pad_axis(backend, x, axis, network.shape[1], start))
        return self.layout.gate_major(backend, y, axis)

    def vjp(self, x: Any) -> tuple[Any, Callable[[Any], tuple[list[Any], Any]]]:
        r"""Return ``y = x W^T`` for the first part, and a function from ``dL/dy`` to the gradients of the factors and of x.

        Parameters
        ----------
        x : array, shape (batch, widths[0])

        Returns
        -------
        (array, callable)
            y, shape (batch, n_gates * rows), and ``pull_back(dy) -> (gradients of the factors, gradient of x)``.

        Raises
        ------
        TypeError, ValueError
            If x or dy has another backend, dtype, device or shape.

        Notes
        -----
        Contracts x with the factors, or multiplies with the dense matrix if the cost model estimates that to be cheaper.
        """
        backend = self._check_matrix("x", x, ("batch", self.layout.widths[0]))
        y_shape = (x.shape[0], self.shape[0])
        if self.rebuilding_is_cheaper(x.shape[0]):
            matrix, pull_back_matrix = self.matrix_vjp(0)

            def pull_back_dense(dy: Any) -> tuple[list[Any], Any]:
                self._check_matrix("dy", dy, y_shape)
                d_matrix = backend.matmul(backend.transpose(dy, (1, 0)), x)  # (rows, width)
                return pull_back_matrix(d_matrix), backend.matmul(dy, matrix)

            return backend.matmul(x, backend.transpose(matrix, (1, 0))), pull_back_dense
        network, factors, _ = operations.columns(self.network, self.factors, *self.layout.spans[0])
        y, pull_back = gradients.vjp(backend, network, factors, pad_axis(backend, x, 1, network.shape[1]))

        def pull_back_factors(dy: Any) -> tuple[list[Any], Any]:
            self._check_matrix("dy", dy, y_shape)
            of_slices, dx = pull_back(self.layout.ungated(backend, dy, 1))
            return self._uncut(of_slices, 0), dx[:, : x.shape[1]]

        return self.layout.gate_major(backend, y, 1), pull_back_factors

    def matrix(self, part: int = 0) -> Any:
        """Return the dense columns of one part, shape (n_gates * rows, widths[part])."""
        return self.matrix_vjp(part)[0]

    def matrices(self) -> list[Any]:
        """Return the dense columns of every part, shapes (n_gates * rows, width), from one reconstruction."""
        if len(self.layout.spans) == 1:
            return [self.matrix()]
        padded = operations.to_matrix(self.backend, self.network, self.factors)
        columns = self.layout.gate_major(self.backend, padded, 0)
        return [columns[:, start:stop] for start, stop in self.layout.spans]

    def matrix_vjp(self, part: int = 0) -> tuple[Any, Callable[[Any], list[Any]]]:
        """Return `matrix`, and a function from the gradient with respect to it to the gradients of the factors."""
        backend = self.backend
        part = checked_part(part, len(self.layout.spans))
        network, factors, offset = operations.columns(self.network, self.factors, *self.layout.spans[part])
        box, pull_back_box = plan_vjp(backend, tensor_plan(network), factors, network.shape)
        start, stop = (column - offset for column in self.layout.spans[part])
        columns = box if (start, stop) == (0, network.shape[1]) else box[:, start:stop]

        def pull_back(d_matrix: Any) -> list[Any]:
            self._check_matrix("d_matrix", d_matrix, (self.shape[0], stop - start))
            d_box = pad_axis(backend, self.layout.ungated(backend, d_matrix, 0), 1, network.shape[1], start)
            return self._uncut(pull_back_box(d_box), part)

        return self.layout.gate_major(backend, columns, 0), pull_back

    def squared_norm(self) -> float:
        """Return the sum of squares of the weight's entries without padding, to single precision or better.

        Notes
        -----
        The network is contracted with itself, in double precision where available, or the matrix is formed, in pieces if it
        is large, whichever the cost model estimates to be cheaper.
        """
        pieces = (operations.cut(self.network, self.factors, box) for box in self.layout.boxes(self.network))
        return sum(_squared_norm(self.backend, *piece) for piece in pieces)

    def rebuilding_is_cheaper(self, batch: int, use: cost.Use = cost.TRAINING, part: int = 0) -> bool:
        """Return whether multiplying `batch` rows with the dense columns of a part is estimated to be cheaper."""
        return cost.rebuilding_is_cheaper(self.part_network(part).data, size_of_plan(batch), *use)

    @classmethod
    def dense(cls, matrix: Any, widths: Sequence[int] | None = None) -> Self:
        """Return a dense matrix, shape (rows, sum(widths)), as a network of one factor."""
        check_arrays({"matrix": matrix})
        rows, columns = matrix_shape("matrix", matrix, 1)
        layout = Layout(rows, _adjoining(widths, columns), (rows,), (columns,))
        return cls(layout, Network(DENSE, ("j1",), ("i1",), (("i1", columns), ("j1", rows))), [matrix])

    @classmethod
    def of_format(cls, matrix: FactorizedMatrix, widths: Sequence[int] | None = None) -> Self:
        """Return a factorized matrix as a weight with gate-major rows and adjacent parts."""
        if not isinstance(matrix, FactorizedMatrix):
            raise TypeError(f"matrix must be a factorized matrix; got {type(matrix).__name__}. Use dense.")
        out_modes, in_modes = matrix.tensorized_shape
        rows, columns = matrix.shape
        mode = "stack" if matrix.stack > 1 else "first"
        spans = _adjoining(widths, columns)
        layout = Layout(rows // matrix.stack, spans, out_modes, in_modes, matrix.stack, mode)
        return cls(layout, matrix.network, matrix.factors)

    @classmethod
    def random(
        cls,
        rows: int,
        widths: Sequence[int],
        *,
        factorization: str,
        rank: Any = "same",
        std: float = 1.0,
        random_state: RandomState = None,
        like: Any = None,
        names: tuple[str, str] = ("out_modes", "in_modes"),
        **where: Any,
    ) -> Self:
        """Draw a weight whose root mean square without padding is exactly `std`.

        Parameters
        ----------
        rows, widths, names, **where
            As for `make_layout`.
        factorization : str
            Name of the format.
        rank : 'full', 'same', float, int or the format's own form
        std : float
        random_state : int, Generator, RandomState or None
        like : array, optional
            An array of the backend, dtype and device to use; default NumPy float64.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type or value.
        """
        format = get_format(factorization, "factorization").format
        layout = make_layout(rows, widths, format, names=names, **where)
        std = checked_std(std)
        rank = format.validate_rank(layout.tensorized_shape, rank, **layout.rank_options)
        network = format.make_network(layout.tensorized_shape, rank)
        check_memory(f"rank, {names[0]} and {names[1]}", network.n_param)
        drawn = cls(layout, network, unit_factors(network, as_generator(random_state)))
        measured = math.sqrt(drawn.squared_norm() / math.prod(layout.shape))
        scaled = [factor * (std / measured) ** (1 / len(drawn.factors)) for factor in drawn.factors]
        return drawn.with_factors(drawn_like(scaled, like))

    @classmethod
    def from_matrices(
        cls,
        parts: Sequence[Any],
        layout: Layout,
        factorization: str,
        rank: Any = None,
        inputs: Sequence[Any] | None = None,
        **options: Any,
    ) -> Self:
        """Decompose a dense weight.

        Parameters
        ----------
        parts : sequence of arrays, shapes (n_gates * rows, widths[part])
        layout : Layout
        inputs : sequence of arrays, shapes (batch, widths[part]), optional
            Typical inputs, to whose products the factors are refitted; see `tensorly_rnn.decomposition.calibrate`.
        factorization, rank, **options
            As for `tensorly_rnn.factorize`.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type or value.
        """
        instance_of("layout", layout, Layout, "a Layout; make_layout returns one")
        instance_of("parts", parts, (list, tuple), "a list of matrices")
        for number, part in enumerate(parts):
            backend_of(f"parts[{number}]", part)
        shapes, given = [(layout.shape[0], width) for width in layout.widths], [tuple(part.shape) for part in parts]
        if given != shapes:
            raise ValueError(f"parts must be one matrix each; expected shapes {shapes}, got {given}.")
        if inputs is not None:
            instance_of("inputs", inputs, (list, tuple), "a list of matrices, one for each part")
            got = [tuple(getattr(one, "shape", ())) for one in inputs]
            if [shape[1:] for shape in got] != [(width,) for width in layout.widths]:
                raise ValueError(f"inputs must have the parts' columns; expected {layout.widths}, got {got}.")
        backend = backend_of("parts[0]", parts[0])
        out_modes, in_modes = layout.tensorized_shape
        check_memory("out_modes and in_modes", math.prod(out_modes) * math.prod(in_modes))
        padded = layout.padded_matrix(backend, [detached(one) for one in parts])
        ratio = options.get("compression_ratio")
        if isinstance(ratio, numbers.Real) and not isinstance(ratio, bool):
            # The ratio counts the entries without padding.
            options["compression_ratio"] = float(ratio) * (math.prod(padded.shape) / math.prod(layout.shape))
        settings = Settings(**{one.name: options.pop(one.name) for one in fields(Settings) if one.name in options})
        options |= layout.rank_options
        where = (factorization, layout.tensorized_shape)
        found = decompose(backend, "matrix", padded, *where, rank, settings, options, format_argument="factorization")
        if inputs is not None:
            found = calibrate(found, padded, layout.padded_columns(backend, inputs))
        return cls(layout, found.network, found.factors)

    def _check_matrix(self, argument: str, array: Any, expected: tuple[int | str, int]) -> Any:
        """Return the backend of a matrix of the dtype and device of the factors; a str in `expected` allows any size."""
        backend = check_arrays({"factors[0]": self.factors[0], argument: array})
        shape = tuple(array.shape)
        if len(shape) != 2 or any(size != got for size, got in zip(expected, shape) if not isinstance(size, str)):
            raise ValueError(f"{argument} must be a matrix that fits; expected shape {expected}, got {shape}.")
        return backend

    def part_network(self, part: int) -> Network:
        """Return the network of the smallest box of columns that contains a part."""
        return operations.columns(self.network, (), *self.layout.spans[part])[0]

    def _uncut(self, gradients_of_slices: Sequence[Any], part: int) -> list[Any]:
        """Return the gradients of the factors from those of their slices in the box of a part, zero elsewhere."""
        box, _ = covering_box(self.network.in_modes, *self.layout.spans[part])
        first = {index: one.start for index, one in zip(self.network.inputs, box)}
        found = []
        for indices, gradient in zip(self.network.factors, gradients_of_slices):
            for axis, index in enumerate(indices):
                if index in first:
                    gradient = pad_axis(self.backend, gradient, axis, self.network.size[index], first[index])
            found.append(gradient)
        return found


def arrays_of(name: str, weight: Any) -> dict[str, Any]:
    """Return the arrays of a weight by their names in error messages."""
    if not isinstance(weight, (GatedWeight, FactorizedMatrix)):
        return {name: weight}
    named = {f"{name}.factors[{k}]": factor for k, factor in enumerate(weight.factors)}
    for argument, factor in named.items():
        backend_of(argument, factor)
    shapes = weight.network.factor_shapes
    if isinstance(weight, GatedWeight) and [tuple(factor.shape) for factor in weight.factors] != list(shapes):
        got = [tuple(factor.shape) for factor in weight.factors]
        raise ValueError(f"{name} must have the factors of its network; expected {list(shapes)}, got {got}.")
    return named


def check_arrays(arrays: dict[str, Any]) -> Any:
    """Return the backend of the named arrays, which must agree in backend, device and real floating-point dtype."""
    backend = same_backend(arrays)
    first_name, first = next(iter(arrays.items()))
    if not is_real_float(first):
        raise TypeError(f"{first_name} must hold real floating-point numbers; got {first.dtype}.")
    for name, array in arrays.items():
        if array.dtype != first.dtype:
            raise TypeError(
                f"{name} must have the dtype of {first_name}; expected {first.dtype}, got {array.dtype}. Convert one of them."
            )
    same_device(arrays)
    return backend


def checked_part(part: Any, count: int) -> int:
    """Return the number of a part as an int."""
    if isinstance(part, bool) or not isinstance(part, numbers.Integral) or not 0 <= int(part) < count:
        raise ValueError(f"part must be one of the weight's; expected 0 to {count - 1}, got {part!r}.")
    return int(part)


def matrix_shape(name: str, weight: Any, n_gates: int) -> tuple[int, int]:
    """Return the shape of a weight, which must be a non-empty matrix with the same number of rows for every gate."""
    shape = tuple(weight.shape)
    if len(shape) != 2 or 0 in shape:
        rule, expected = ("be a matrix", "2 axes") if len(shape) != 2 else ("not be empty", "a row and a column or more")
        raise ValueError(f"{name} must {rule}; expected {expected}, got shape {shape}.")
    if shape[0] % n_gates:
        raise ValueError(
            f"{name} must have as many rows for each of its {n_gates} gates; expected a multiple of {n_gates}, got {shape[0]}."
        )
    return shape[0], shape[1]


def _squared_norm(backend: Any, network: Network, factors: Sequence[Any]) -> float:
    if not cost.summing_is_cheaper(network.data):
        wide = wider_float(backend, factors[0])
        factors = factors if wide is None else [as_dtype(backend, factor, wide) for factor in factors]
        return float(operations.squared_norm(backend, network, factors))
    # Rounding errors of single entries average out in the sum.
    factors = [at_least_single(backend, factor) for factor in factors]
    index = max((*network.outputs, *network.inputs), key=lambda one: network.size[one])
    n = network.size[index]
    width = max(1, n * LARGEST_PIECE // math.prod(network.shape))
    slices = ({index: slice(start, min(start + width, n))} for start in range(0, n, width))
    parts = (operations.to_matrix(backend, *operations.cut(network, factors, one)) for one in slices)
    return sum(frobenius_norm(backend, part) ** 2 for part in parts)


def _adjoining(widths: Sequence[int] | None, columns: int) -> tuple[tuple[int, int], ...]:
    """Return the spans of adjacent parts; one span of all columns without widths."""
    widths = (columns,) if widths is None else positive_ints("widths", widths)
    if sum(widths) != columns:
        raise ValueError(f"widths must add up to the columns; expected {columns}, got {sum(widths)}: {widths}.")
    ends = [sum(widths[: k + 1]) for k in range(len(widths))]
    return tuple((end - width, end) for end, width in zip(ends, widths))
