"""Base class of matrices in a format: reconstruction, products, gradients, errors, random draws."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Self

from tensorly_rnn._backend import (
    at_least_single,
    backend_of,
    check_real,
    detached,
    largest_magnitude,
    most_axes,
    same_backend_and_device,
)
from tensorly_rnn._checks import check_memory, checked_flag, positive_int
from tensorly_rnn.contraction.execute import execute
from tensorly_rnn.contraction.plan import Plan
from tensorly_rnn.formats._operators import torch_reflected
from tensorly_rnn.formats._random import RandomState, as_generator, checked_std, drawn_like, scaled_factors, unit_factors
from tensorly_rnn.formats.factorized import Factorized
from tensorly_rnn.formats.format import Format
from tensorly_rnn.network import arithmetic, operations
from tensorly_rnn.network import gradients as _gradients
from tensorly_rnn.network.gradients import PullBack
from tensorly_rnn.network.network import Network, apply_plan, tensor_plan
from tensorly_rnn.network.plan_tuning import tuned
from tensorly_rnn.tensorize import (
    TensorizedShape,
    crop_blocks,
    crop_matrix,
    disjoint_boxes,
    pad_axes,
    pad_axis,
    pad_blocks,
    pad_matrix,
    validate_shape,
    validate_tensorized_shape,
)


class FactorizedMatrix(Factorized):
    r"""Matrix ``W`` of shape ``(rows, columns)`` held as the factors of a tensor network.

    Parameters
    ----------
    factors : sequence of arrays
        Of one backend, in the format's order; kept as they are, not copied.
    shape : (int, int), optional
        True rows and columns where the modes multiply to more: results are cropped and arguments padded with zeros.
        Default: the products of the modes.

    Raises
    ------
    TypeError, ValueError
        If the factors are not arrays of one backend or do not fit together, or `shape` is larger than the modes allow.
    """

    def __init__(self, factors: Sequence[Any], shape: tuple[int, int] | None = None) -> None:
        self._hold(factors)
        self._shape = None if shape is None else validate_shape(shape, self.network.shape, self.stack)

    @property
    def order(self) -> int:
        """Number of modes on each side."""
        return len(self.network.inputs)

    @property
    def stack(self) -> int:
        """Number of matrices stacked, rows stack-major."""
        stack_index = self.format.stack_index
        return self.network.size[stack_index] if stack_index else 1

    @property
    def tensorized_shape(self) -> TensorizedShape:
        """Modes ``(out_modes, in_modes)`` of one matrix of the stack."""
        network = self.network
        return network.out_modes[len(network.out_modes) - self.order :], network.in_modes

    @property
    def shape(self) -> tuple[int, int]:
        """True rows and columns."""
        return self._shape or self.network.shape

    def to_tensor(self) -> Any:
        """Return the tensor of shape ``(*out_modes, *in_modes)``, with the stack in front if it is larger than 1.

        Padding is not cropped. More axes than the backend supports (Paddle: 9) are refused.
        """
        backend, (out_modes, in_modes) = self.backend, self.tensorized_shape
        shape = (*((self.stack,) if self.stack > 1 else ()), *out_modes, *in_modes)
        if len(shape) > most_axes(backend):
            raise ValueError(
                f"tensorized_shape must have no more axes than the backend's arrays; "
                f"expected at most {most_axes(backend)} for {backend.backend_name}, got {len(shape)}. Use to_matrix()."
            )
        return execute(tensor_plan(self.network), backend, self.factors, shape)

    def to_matrix(self) -> Any:
        """Return the dense matrix of shape `shape`."""
        return self._cropped(operations.to_matrix(self.backend, self.network, self.factors))

    def apply(self, x: Any) -> Any:
        r"""Return ``y = x W^T`` without forming W: ``y[..., j] = sum_i W[j, i] x[..., i]``.

        Parameters
        ----------
        x : array of the factors' backend, dtype and device, shape (..., columns); the result has the shape (..., rows)

        Raises
        ------
        TypeError, ValueError
            If x has another backend, dtype, device or width.
        """
        backend = self._check_rows("x", x, self.shape[1])
        network, factors, _ = operations.columns(self.network, self.factors, 0, self.shape[1])
        y = operations.apply(backend, network, factors, pad_axis(backend, x, len(x.shape) - 1, network.shape[1]))
        return crop_blocks(backend, y, self.shape[0], self.stack)

    def plan(self, batch: int, *, tune: bool = False) -> Plan:
        """Return the products that `apply` computes for that many rows of x; `str` is a table.

        Parameters
        ----------
        batch : int
            Number of rows, the leading sizes of x multiplied.
        tune : bool
            Measure the most promising orders on this machine with these factors. In this process the fastest is then used
            for all matrices of these sizes and all numbers of rows that round up to the same power of two.

        Notes
        -----
        Without `tune`, orders are compared by an estimate of time. With it, the product and its gradients are computed about
        a hundred times in all. Another order of sums may change results in the last digits.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3), (5, 7)), 2, random_state=0)
        >>> print(f.plan(10))
        step       of product                                 flops  result
           3      1,2 [10, 2] @ [2, 21]                         840  j1 i1 j2 i2
           4      0,3 [10, 35] @ [35, 6]                      4,200  b j1 j2
        """
        batch = positive_int("batch", batch)
        backend = self.backend
        network, factors, _ = operations.columns(self.network, self.factors, 0, self.shape[1])
        if not checked_flag("tune", tune):
            return apply_plan(network, batch)
        factors = [detached(factor) for factor in factors]
        x = backend.ones((batch, network.shape[1]), **backend.context(factors[0]))

        def run() -> None:
            y, pull_back = _gradients.vjp(backend, network, factors, x)
            of_factors, _ = pull_back(y)
            # Devices run asynchronously; fetching the numbers waits for the result.
            backend.to_numpy(of_factors[0])

        return tuned(network, batch, run).plan

    def gradients(self, x: Any, dy: Any) -> tuple[list[Any], Any]:
        r"""Return the gradients of a loss L with respect to the factors and x, for ``y = f.apply(x)`` and ``dy = dL/dy``.

        ``dL/dfactor = sum over x's leading axes of (network without the factor) x dy``

        Parameters
        ----------
        x : array, shape (..., columns)
        dy : array, shape (..., rows)

        Returns
        -------
        (list of arrays, array)
            Of the shapes of the factors and of x. The cost is that of the forward pass, which `vjp` does not repeat, and
            twice as much for the gradients.
        """
        _, pull_back = self.vjp(x)
        return pull_back(dy)

    def vjp(self, x: Any) -> tuple[Any, PullBack]:
        r"""Return ``y = f.apply(x)`` and the function that takes ``dy = dL/dy`` to the gradients of the factors and of x.

        ``y[..., j] = sum_i W[j, i] x[..., i]``; ``pull_back(dy)`` is ``f.gradients(x, dy)``

        Parameters
        ----------
        x : array of the factors' backend, dtype and device, shape (..., columns)

        Returns
        -------
        (array, callable)
            y, shape (..., rows); ``pull_back(dy)`` with dy of shape (..., rows), which may be called more than once. It uses
            the given factors and x, which must not be changed in between, and the partial results of y, which are kept; it
            takes twice the arithmetic of `apply`. An x or dy of another backend, dtype, device or shape is refused.

        Examples
        --------
        >>> import numpy as np
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3), (3, 5)), 2, random_state=0)
        >>> y, pull_back = f.vjp(np.ones((7, 15)))
        >>> of_factors, of_x = pull_back(np.ones_like(y))
        >>> y.shape, [one.shape for one in of_factors], of_x.shape
        ((7, 6), [(1, 2, 3, 2), (2, 3, 5, 1)], (7, 15))
        """
        rows, columns = self.shape
        backend = self._check_rows("x", x, columns)
        stack, shapes = self.stack, self.network.factor_shapes
        network, factors, _ = operations.columns(self.network, self.factors, 0, columns)
        padded_x = pad_axis(backend, x, len(x.shape) - 1, network.shape[1])
        y, pull_back_y = _gradients.vjp(backend, network, factors, padded_x)

        def pull_back(dy: Any) -> tuple[list[Any], Any]:
            self._check_rows("dy", dy, rows, like=x)
            of_pieces, of_x = pull_back_y(pad_blocks(backend, dy, network.shape[0], stack))
            # Entries that were cut off are multiplied by zeros of x only.
            of_factors = [pad_axes(backend, piece, shape) for piece, shape in zip(of_pieces, shapes)]
            return of_factors, of_x[..., :columns]

        return crop_blocks(backend, y, rows, stack), pull_back

    def relative_error(self, matrix: Any) -> float:
        """Return ``||W - f||_F / ||W||_F``, from a sixteenth of the columns at a time to avoid a second dense array.

        It is 0 where both are zero, infinity where only W is.

        Parameters
        ----------
        matrix : array of the factors' backend, shape `shape`
        """
        backend = same_backend_and_device({"factors[0]": self.factors[0], "matrix": matrix})
        if tuple(matrix.shape) != self.shape:
            raise ValueError(f"matrix must have the shape of f; expected {self.shape}, got {tuple(matrix.shape)}.")
        check_real("matrix", matrix)
        matrix, factors = detached(matrix), [detached(factor) for factor in self.factors]
        # Divided by the largest entry, squares neither overflow nor vanish.
        largest = largest_magnitude(backend, matrix) or 1.0
        difference = norm = 0.0
        width = -(-self.shape[1] // 16)
        for start in range(0, self.shape[1], width):
            stop = min(start + width, self.shape[1])
            network, pieces, offset = operations.columns(self.network, factors, start, stop)
            pieces = [at_least_single(backend, piece) for piece in pieces]
            slab = operations.to_matrix(backend, network, pieces)[:, start - offset : stop - offset]
            slab = crop_matrix(backend, slab, (self.shape[0], stop - start), self.stack)
            target = at_least_single(backend, matrix[:, start:stop])
            difference += float(backend.sum(((target - slab) / largest) ** 2))
            norm += float(backend.sum((target / largest) ** 2))
        if norm == 0.0:
            return 0.0 if difference == 0.0 else math.inf
        return math.sqrt(difference / norm)

    @property
    def T(self) -> "Self | Transposed":  # noqa: N802 - as arrays spell it
        """Transposed matrix in the same format, with factors that are views where the backend supports them.

        The transpose of a stack is not a stack; it is a `Transposed`, which only multiplies, on the same factors.
        """
        factors = arithmetic.transposed(self.backend, self.network, self.factors) if self.stack == 1 else None
        if factors is None:
            return Transposed(self)
        return self._of_shape(factors, self._shape and (self._shape[1], self._shape[0]))

    def __matmul__(self, other: Any) -> Any:
        """Return ``W @ other`` for a vector or a matrix."""
        return apply_to_columns(self, other, self.shape[1], self.apply)

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``other @ W`` for a vector or a matrix."""
        return Transposed(self)._apply(other)

    @classmethod
    def random(
        cls,
        tensorized_shape: Any,
        rank: Any = "same",
        std: float = 1.0,
        random_state: RandomState = None,
        like: Any = None,
        **options: Any,
    ) -> Self:
        r"""Draw normally distributed factors, scaled so that ``||W||_F / sqrt(rows * columns)`` is exactly `std`.

        Parameters
        ----------
        tensorized_shape : (tuple of int, tuple of int)
            ``(out_modes, in_modes)``
        rank : 'full', 'same', float, int or the format's own form
        std : float
        random_state : int, Generator, RandomState or None
            Source of all factors; None draws a new seed from the operating system.
        like : array, optional
            Array whose backend, dtype and device the factors have; default NumPy's float64.
        **options
            Options of the format (``root_rank`` and ``tree`` of HT).
        """
        tensorized_shape = validate_tensorized_shape(tensorized_shape)
        std = checked_std(std)
        format, rank_options = cls.format.with_options(options, len(tensorized_shape[0]))
        network = format.make_network(tensorized_shape, format.validate_rank(tensorized_shape, rank, **rank_options))
        check_memory(", ".join(("rank", *options, "tensorized_shape")), network.n_param)
        drawn = unit_factors(network, as_generator(random_state))
        factors = scaled_factors(backend_of("factors", drawn[0]), network, drawn, std)
        return cls.in_format(format, drawn_like(factors, like))

    @classmethod
    def in_format(cls, format: Format, factors: Sequence[Any], shape: tuple[int, int] | None = None) -> Self:
        """Return a matrix of this class in a given format, whose fields, such as a tree, are arguments of the class."""
        return cls(factors, shape=shape, **format.fields)

    _kind = "factorized matrix"

    def _description(self) -> str:
        return f"shape={self.shape}, tensorized_shape={self.tensorized_shape}"

    def _with(self, factors: Sequence[Any]) -> Self:
        return self._of_shape(factors, self._shape)

    def _of_shape(self, factors: Sequence[Any], shape: tuple[int, int] | None) -> Self:
        return self.in_format(self.format, factors, shape)

    def _space(self) -> dict[str, Any]:
        return {"shape": self.shape, "tensorized_shape": self.tensorized_shape, "stack": self.stack}

    def _parts(self, factors: Sequence[Any]) -> Iterator[tuple[Network, list[Any]]]:
        # The true rows (of each matrix of the stack) and columns are boxes of the modes; all other entries are padding.
        network, (out_modes, in_modes) = self.network, self.tensorized_shape
        names = (*network.outputs[len(network.outputs) - self.order :], *network.inputs)
        for rows in disjoint_boxes(out_modes, 0, self.shape[0] // self.stack):
            for columns in disjoint_boxes(in_modes, 0, self.shape[1]):
                yield operations.cut(network, factors, dict(zip(names, (*rows, *columns))))

    def _bounds(self, rank: Any) -> dict[str, int]:
        options = {"root_rank": self.stack} if self.format.stack_index else {}
        return self.format.rank_sizes(self.format.validate_rank(self.tensorized_shape, rank, **options))

    def _cropped(self, matrix: Any) -> Any:
        return crop_matrix(self.backend, matrix, self.shape, self.stack)

    def _padded(self, dense: Any) -> Any:
        return pad_matrix(self.backend, dense, self.network.shape, self.stack)

    def _check_rows(self, argument: str, array: Any, width: int, like: Any = None) -> Any:
        """Return the backend of rows of the given width, as many as `like` has."""
        backend = self._check_operand(argument, array)
        if len(array.shape) < 1 or array.shape[-1] != width:
            raise ValueError(
                f"{argument} must have {width} entries along its last axis; expected (..., {width}), got {tuple(array.shape)}."
            )
        if like is not None and tuple(array.shape[:-1]) != tuple(like.shape[:-1]):
            raise ValueError(
                f"{argument} must have the leading shape of x; expected {tuple(like.shape[:-1])}, "
                f"got {tuple(array.shape[:-1])}."
            )
        return backend


class Transposed:
    """Transpose of a factorized matrix on the same factors, which only multiplies."""

    __array_ufunc__ = None

    def __init__(self, matrix: FactorizedMatrix) -> None:
        self._matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self._matrix.shape
        return columns, rows

    @property
    def T(self) -> FactorizedMatrix:  # noqa: N802 - as arrays spell it
        """The matrix itself."""
        return self._matrix

    def to_matrix(self) -> Any:
        """Return the dense matrix of shape `shape`."""
        return self._matrix.backend.transpose(self._matrix.to_matrix(), (1, 0))

    def __matmul__(self, other: Any) -> Any:
        """Return ``W^T @ other`` for a vector or a matrix."""
        return apply_to_columns(self._matrix, other, self.shape[1], self._apply)

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``other @ W^T`` for a vector or a matrix."""
        return self._matrix.apply(other)

    def _apply(self, y: Any) -> Any:
        """Return ``y W``."""
        f = self._matrix
        backend = f._check_rows("the other operand", y, f.shape[0])
        padded = pad_blocks(backend, y, f.network.shape[0], f.stack)
        return operations.apply(backend, f.network.transposed, f.factors, padded)[..., : f.shape[1]]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return ``tensor @ f.T``, which torch dispatches here."""
        return torch_reflected(function, args)

    def __repr__(self) -> str:
        return f"{self._matrix!r}.T"


def apply_to_columns(f: FactorizedMatrix, other: Any, height: int, apply: Any) -> Any:
    """Apply to the columns of a vector or a matrix a function of rows with `height` entries."""
    argument = "the other operand"
    backend = f._check_operand(argument, other)
    if len(other.shape) not in (1, 2):
        raise ValueError(f"{argument} must be a vector or a matrix; got shape {tuple(other.shape)}.")
    if other.shape[0] != height:
        expected = f"({height},)" if len(other.shape) == 1 else f"({height}, ...)"
        raise ValueError(
            f"{argument} must have {height} entries along its first axis; expected {expected}, got {tuple(other.shape)}."
        )
    if len(other.shape) == 1:
        return apply(other)
    return backend.transpose(apply(backend.transpose(other, (1, 0))), (1, 0))
