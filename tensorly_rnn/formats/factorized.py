"""Base class of factorized matrices and tensors: factors of one backend, dtype and device that form a network."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self

from tensorly_rnn._backend import (
    as_dtype,
    at_least_single,
    backend_of,
    context,
    is_real_float,
    same_backend,
    same_backend_and_device,
    same_device,
)
from tensorly_rnn.contraction.execute import plan_vjp
from tensorly_rnn.formats._networks import network_of_shapes
from tensorly_rnn.formats._operators import Arithmetic
from tensorly_rnn.formats.format import Format, Rank
from tensorly_rnn.network.network import Network, tensor_plan


class Factorized(Arithmetic):
    """Dense array of shape `shape`, held as the `factors` of a `network`."""

    #: The format that names the indices of the factors.
    format: Format
    shape: Any
    _is_tensor: ClassVar[bool] = False

    def _hold(self, factors: Any) -> None:
        """Keep the factors; raise an error unless they are arrays that form a network."""
        self.factors = _checked_arrays(factors)
        self.format = self.format.for_order(self.order)

    @property
    def network(self) -> Network:
        """Network of the current factors."""
        return network_of_shapes(self.format, tuple(tuple(factor.shape) for factor in self.factors), self._is_tensor)

    @property
    def backend(self) -> Any:
        """TensorLy backend of the factors."""
        return backend_of("factors[0]", self.factors[0])

    @property
    def dtype(self) -> Any:
        """Element type of the factors."""
        return self.factors[0].dtype

    @property
    def name(self) -> str:
        """Name of the format."""
        return self.format.name

    @property
    def rank(self) -> Rank:
        """Canonical rank."""
        return self.format.rank_from_sizes(self.network.size, self.order)

    @property
    def n_param(self) -> int:
        """Number of entries of all factors."""
        return self.network.n_param

    @property
    def compression_ratio(self) -> float:
        """Number of entries of the dense form divided by `n_param`; infinity where this is out of the range of numbers."""
        entries = math.prod(self.shape)
        return entries / self.n_param if entries < 2**1000 else math.inf

    def lstsq_grad(self, target: Any, return_loss: bool = False, mask: Any = None) -> Self | tuple[Self, Any]:
        r"""Return the gradient of the squared distance to a dense array with respect to the factors.

        ``loss = 0.5 * sum_p (mask[p] * (f[p] - target[p]))^2``, p over the true entries

        Parameters
        ----------
        target : array of the factors' backend, dtype and device, shape `shape`
        return_loss : bool
            Whether to return the loss too.
        mask : array of the factors' backend and device, of a shape that broadcasts to `shape`, optional
            Booleans, integers or weights of the factors' dtype. Where it is zero the target is ignored, NaN included.

        Returns
        -------
        object of the same class and shape, or (object, array of no dimensions)
            Factor p is ``dloss/dfactor_p``, as in TensorLy's ``cp_lstsq_grad``; the loss if `return_loss`.

        Raises
        ------
        TypeError, ValueError
            If the target or the mask is of another backend, device, dtype or shape.

        Notes
        -----
        The cost is three times that of the reconstruction. The derivative of the loss above contains ``mask^2``, where
        TensorLy's functions have ``mask``; both agree for a mask of zeros and ones. Padding beyond the true shape is ignored.
        Half precision is computed in single precision, which the loss keeps.

        Examples
        --------
        >>> import numpy as np
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix([np.full((1, 1, 1, 1), 3.0), np.full((1, 1, 2, 1), 5.0)])
        >>> gradient, loss = f.lstsq_grad(np.array([[14.0, np.nan]]), return_loss=True, mask=np.array([[True, False]]))
        >>> float(loss), gradient.factors[0].tolist(), gradient.factors[1].tolist()
        (0.5, [[[[5.0]]]], [[[[3.0], [0.0]]]])
        """
        backend = self._check_target(target, mask)
        network = self.network
        matrix, pull_back = plan_vjp(backend, tensor_plan(network), self._working_factors(), network.shape)
        dense = self._cropped(matrix)
        target = at_least_single(backend, target)
        if mask is None:
            residual = of_dense = dense - target
        else:
            zeros = backend.zeros(self.shape, **context(backend, target))
            weights = as_dtype(backend, mask, target.dtype) + zeros
            # Not multiplied by zero, since zero times NaN is NaN.
            residual = weights * (dense - backend.where(weights == 0, zeros, target))
            of_dense = weights * residual
        of_factors = pull_back(self._padded(of_dense))
        gradient = self._with([as_dtype(backend, one, self.dtype) for one in of_factors])
        return (gradient, 0.5 * backend.sum(residual * residual)) if return_loss else gradient

    def _cropped(self, matrix: Any) -> Any:
        """Return the network's matrix as the dense array of shape `shape`."""
        return self.backend.reshape(matrix, self.shape)

    def _padded(self, dense: Any) -> Any:
        """Return a dense array of shape `shape` padded to the network's matrix, with the same order of entries."""
        return dense

    def _check_target(self, target: Any, mask: Any) -> Any:
        backend = self._check_operand("target", target)
        if tuple(target.shape) != self.shape:
            raise ValueError(f"target must have the shape of f; expected {self.shape}, got {tuple(target.shape)}.")
        if mask is None:
            return backend
        same_backend_and_device({"factors[0]": self.factors[0], "mask": mask})
        if mask.dtype != self.dtype and not any(kind in str(mask.dtype) for kind in ("bool", "int")):
            raise TypeError(
                f"mask must be of booleans, integers or the factors' dtype; expected {self.dtype}, "
                f"got {mask.dtype}. Convert it."
            )
        sizes = zip(reversed(tuple(mask.shape)), reversed(self.shape))
        if len(mask.shape) > len(self.shape) or any(own not in (1, size) for own, size in sizes):
            raise ValueError(
                f"mask must have a shape that broadcasts to that of f; expected {self.shape}, got {tuple(mask.shape)}."
            )
        return backend

    def _description(self) -> str:
        return f"shape={self.shape}"

    def __repr__(self) -> str:
        fields = "".join(f", {name}={value}" for name, value in self.format.fields.items() if value is not None)
        return (
            f"{type(self).__name__}({self._description()}{fields}, rank={self.rank}, n_param={self.n_param}, "
            f"compression_ratio={self.compression_ratio:.4g})"
        )


def _checked_arrays(factors: Any) -> list[Any]:
    """Return the factors as a list; raise an error unless they have one backend, dtype and device."""
    if isinstance(factors, (str, bytes)) or not isinstance(factors, Sequence):
        raise TypeError(f"factors must be a sequence of arrays; expected a list, got {type(factors).__name__}.")
    listed = list(factors)
    if not listed:
        raise ValueError("factors must not be empty; expected one array or more, got none.")
    arrays = {f"factors[{k}]": factor for k, factor in enumerate(listed)}
    same_backend(arrays)
    if not is_real_float(listed[0]):
        raise TypeError(f"factors must hold real floating-point numbers; got {listed[0].dtype} (at factors[0]).")
    for number, factor in enumerate(listed):
        if factor.dtype != listed[0].dtype:
            raise TypeError(
                f"factors must have one dtype; expected {listed[0].dtype} as in factors[0], "
                f"got {factor.dtype} (at factors[{number}])."
            )
    same_device(arrays)
    return listed
