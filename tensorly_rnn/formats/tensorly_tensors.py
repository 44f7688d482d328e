"""TensorLy's classes of tensor trains and rings, on the backend of their cores instead of the global one."""

from typing import Any

import tensorly.tr_tensor
import tensorly.tt_tensor

from tensorly_rnn.formats.tensor import FactorizedTensor
from tensorly_rnn.formats.tr import TR
from tensorly_rnn.formats.tt import TT


class _WithTensorLysNames(FactorizedTensor):
    # TensorLy's classes are mappings, whose comparison does not work for them.
    __eq__, __hash__ = object.__eq__, object.__hash__

    def to_unfolding(self, mode: int) -> Any:
        """Return `to_unfolded`, as TensorLy names it."""
        return self.to_unfolded(mode)

    def mode_dot(self, matrix_or_tensor: Any, mode: int) -> Any:
        """Return the dense tensor multiplied along a mode by a matrix, or contracted with a vector, as TensorLy does.

        Parameters
        ----------
        matrix_or_tensor : array of the cores' backend, shape (p, shape[mode]) or (shape[mode],)
        mode : int
        """
        backend = self._check_operand("matrix_or_tensor", matrix_or_tensor)
        unfolded = self.to_unfolded(mode)
        if len(matrix_or_tensor.shape) not in (1, 2) or matrix_or_tensor.shape[-1] != unfolded.shape[0]:
            raise ValueError(
                f"matrix_or_tensor must have the size of the mode last; expected (..., {unfolded.shape[0]}) of one or two "
                f"axes, got {tuple(matrix_or_tensor.shape)}."
            )
        new = tuple(matrix_or_tensor.shape[:-1])
        product = backend.matmul(matrix_or_tensor, unfolded)
        number = mode % self.order
        others = (*self.shape[:number], *self.shape[number + 1 :])
        # (p, others) -> (..., p, ...)
        axes = [*range(len(new), len(new) + number), *range(len(new)), *range(len(new) + number, len(new) + len(others))]
        return backend.transpose(backend.reshape(product, (*new, *others)), axes)


class TTTensor(_WithTensorLysNames, tensorly.tt_tensor.TTTensor):  # type: ignore[misc]
    """Tensor train; an instance of TensorLy's ``TTTensor`` that does not depend on the global backend.

    ``T[i1..id] = sum_{r1..r(d-1)} core_1[1, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, 1]``

    Parameters
    ----------
    factors : sequence of arrays, core k of shape (rank[k], shape[k], rank[k + 1]), or TensorLy's ``TTTensor``

    Examples
    --------
    >>> t = TTTensor.random((3, 4, 5), 2, random_state=0)
    >>> t.rank, t.to_tensor().shape, isinstance(t, tensorly.tt_tensor.TTTensor)
    ((1, 2, 2, 1), (3, 4, 5), True)
    """

    format = TT()


class TRTensor(_WithTensorLysNames, tensorly.tr_tensor.TRTensor):  # type: ignore[misc]
    """Tensor ring; an instance of TensorLy's ``TRTensor`` that does not depend on the global backend.

    ``T[i1..id] = sum_{r0..r(d-1)} core_1[r0, i1, r1] core_2[r1, i2, r2] ... core_d[r(d-1), id, r0]``

    Parameters
    ----------
    factors : sequence of arrays, core k of shape (rank[k], shape[k], rank[k + 1]), or TensorLy's ``TRTensor``

    Examples
    --------
    >>> t = TRTensor.random((3, 4, 5), 2, random_state=0)
    >>> t.rank, t.to_tensor().shape, isinstance(t, tensorly.tr_tensor.TRTensor)
    ((2, 2, 2, 2), (3, 4, 5), True)
    """

    format = TR()
