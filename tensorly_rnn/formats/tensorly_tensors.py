"""TensorLy's classes of factorized tensors, on the backend of their arrays instead of the global one."""

from collections.abc import Sequence
from typing import Any

import tensorly.cp_tensor
import tensorly.tr_tensor
import tensorly.tt_tensor
import tensorly.tucker_tensor

from tensorly_rnn._backend import backend_of
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats.tensor import DenseForms, FactorizedTensor
from tensorly_rnn.formats.tr import TR
from tensorly_rnn.formats.tt import TT
from tensorly_rnn.network import arithmetic, operations
from tensorly_rnn.network.network import Network


class _WithTensorLysNames(FactorizedTensor):
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


class _OfArrays(DenseForms):
    """Tensor that is the network of a few arrays."""

    factors: list[Any]

    @property
    def backend(self) -> Any:
        """TensorLy backend of the arrays."""
        return backend_of("factors[0]", self.factors[0])

    def norm(self) -> Any:
        """Return the Frobenius norm."""
        return arithmetic.norm(self.backend, [self._network()])

    def to_tensor(self) -> Any:
        """Return the dense tensor of shape `shape`."""
        return self.backend.reshape(operations.to_matrix(self.backend, *self._network()), self.shape)

    def _network(self) -> tuple[Network, list[Any]]:
        raise NotImplementedError


class TuckerTensor(_OfArrays, tensorly.tucker_tensor.TuckerTensor):  # type: ignore[misc]
    """TensorLy's Tucker tensor, whose dense forms and norm do not depend on the global backend."""

    def _network(self) -> tuple[Network, list[Any]]:
        ranks = tuple(f"r{k + 1}" for k in range(len(self.factors)))
        return _network([ranks, *((f"j{k + 1}", rank) for k, rank in enumerate(ranks))], [self.core, *self.factors])


class CPTensor(_OfArrays, tensorly.cp_tensor.CPTensor):  # type: ignore[misc]
    """TensorLy's CP tensor, whose dense forms and norm do not depend on the global backend."""

    def _network(self) -> tuple[Network, list[Any]]:
        modes = [(f"j{k + 1}", "r") for k in range(len(self.factors))]
        return _network([("r",), *modes], [self.weights, *self.factors])


def _network(indices: Sequence[Indices], arrays: list[Any]) -> tuple[Network, list[Any]]:
    sizes = {index: int(n) for own, array in zip(indices, arrays) for index, n in zip(own, array.shape)}
    outputs = tuple(f"j{k + 1}" for k in range(len(arrays) - 1))
    return Network(tuple(indices), outputs, (), tuple(sorted(sizes.items()))), arrays
