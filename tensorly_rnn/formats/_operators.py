"""Arithmetic of factorized objects: sums, multiples, inner products, norms, rounding."""

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from tensorly_rnn._backend import (
    as_dtype,
    at_least_single,
    backend_name,
    detached,
    same_backend,
    same_device,
)
from tensorly_rnn._checks import checked_eps
from tensorly_rnn.contraction.powers import added, scaled, spread, times_power
from tensorly_rnn.network import arithmetic, operations, trees
from tensorly_rnn.network.network import Network

#: ``fit(f, bounds, max_error)`` returns factors of a network with loops, whose rank indices have at most the sizes `bounds`
#: (None: no bounds) and whose absolute Frobenius error is at most `max_error` (0: only the bounds count).
Fit = Callable[[Any, Mapping[str, int] | None, float], list[Any]]
#: The fit that `round` uses for networks with loops; `tensorly_rnn.decomposition`, which imports this package, sets it.
fit_of_loops: Fit | None = None


class Arithmetic:
    """Arithmetic on the factors of any format, without forming the dense array.

    Sums and multiples have the same format and shape and share no memory with their terms. All methods except `round` and
    `singular_values`, whose derivatives need not exist, support the backend's automatic differentiation.
    """

    factors: list[Any]
    format: Any
    network: Any
    backend: Any
    dtype: Any
    order: Any
    rank: Any
    _kind: ClassVar[str]

    # NumPy then calls our reflected methods for `array @ f` and `array * f`.
    __array_ufunc__ = None

    def _with(self, factors: Sequence[Any]) -> Self:
        """Return an object of the same class and shape."""
        raise NotImplementedError

    def _space(self) -> dict[str, Any]:
        """Return the attributes that must be equal in both terms of a sum, by name."""
        raise NotImplementedError

    def _bounds(self, rank: Any) -> dict[str, int]:
        """Return the sizes of the rank indices for a rank in any form."""
        raise NotImplementedError

    def _parts(self, factors: Sequence[Any]) -> Iterable[tuple[Network, list[Any]]]:
        """Return networks of disjoint boxes that together hold all entries except padding."""
        return [(self.network, list(factors))]

    def inner(self, other: Any) -> Any:
        r"""Return the inner product ``<f, g> = sum_ji f[j, i] g[j, i]`` of the true entries, without forming either.

        Parameters
        ----------
        other : factorized object of any format, the same kind, backend, dtype, shape and modes

        Notes
        -----
        Computed by one contraction of all factors of both, ``O(d n r^3)`` for a chain. Where the modes multiply to more than
        the shape, by one for each of at most ``d^2`` boxes of true entries. Half precision is summed in single precision.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3), (3, 5)), 2, random_state=0)
        >>> g = tlr.HTMatrix.random(((2, 3), (3, 5)), 2, random_state=1)
        >>> float(abs(f.inner(g) - (f.to_matrix() * g.to_matrix()).sum())) < 1e-12
        True
        """
        self._check_term("other", other)
        backend = self.backend
        parts = zip(self._parts(self._working_factors()), other._parts(other._working_factors()))
        total = times_power(*added(backend, [operations.scaled_inner(backend, *one, *two) for one, two in parts]))
        return as_dtype(backend, total, self.dtype)

    def norm(self) -> Any:
        r"""Return the Frobenius norm ``sqrt(sum_ji f[j, i]^2)`` of the true entries, without forming them.

        Notes
        -----
        Formats without loops (TT, HT, a single Tucker block, a ring with a rank of 1) are orthogonalized: the norm of a
        difference that nearly cancels has an error of about machine precision times the norm of the terms. For others the
        result is the root of ``f.inner(f)``, and that error is the root of machine precision times the norm of the terms.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3), (3, 5)), 2, random_state=0)
        >>> round(float(f.norm()) ** 2), float((f - f).norm()) < 1e-14
        (90, True)
        """
        norm = arithmetic.norm(self.backend, tuple(self._parts(self._working_factors())))
        return as_dtype(self.backend, norm, self.dtype)

    def round(self, rank: Any = None, *, eps: float | None = None) -> Self:
        r"""Return an approximation with lower ranks, or within a relative error, without forming the dense array.

        Parameters
        ----------
        rank : any form that the format's rank takes, optional
            Upper bound of the ranks.
        eps : float, optional
            The lowest ranks found with ``||f - result|| <= eps * ||f||`` are taken, unless `rank` allows less.

        Returns
        -------
        object of the same class and shape
            No rank is larger than that of f, which is not changed. Zero has rank 1.

        Raises
        ------
        TypeError, ValueError
            If neither `rank` nor `eps` is given or one is invalid, a factor is not finite, or the format has loops and no fit.

        Notes
        -----
        Formats without loops are rounded by `trees.rounded`; with `rank` alone the error is at most the root of the number of
        truncated bonds times the best error. Where the modes multiply to more than the shape, the error of the padded object
        is at most `eps` times the norm of the true entries. Half precision is rounded in single precision.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3, 2), (3, 5, 2)), 2, random_state=0)
        >>> (f + f).rank, (f + f).round(eps=1e-12).rank
        ((1, 4, 4, 1), (1, 2, 2, 1))
        """
        if rank is None and eps is None:
            raise ValueError("rank or eps must be given; got neither.")
        eps = 0.0 if eps is None else checked_eps(eps)
        bounds = None if rank is None else self._bounds(rank)
        backend, factors = self.backend, [detached(factor) for factor in self._working_factors()]
        pairs = [scaled(backend, factor) for factor in factors]
        if not all(math.isfinite(float(backend.sum(factor))) for factor, _ in pairs):
            raise ValueError("f must have finite factors; expected numbers, got NaN or infinity.")
        factors, total = [one for one, _ in pairs], sum(float(exponent) for _, exponent in pairs)
        norm, exponent = (float(one) for one in arithmetic.scaled_norm(backend, tuple(self._parts(factors))))
        if norm == 0.0:
            bounds = dict.fromkeys(self.network.size, 1)
        # Rounded with a norm near 1: no product of their entries overflows, and no square vanishes.
        power = round(exponent + math.log2(norm or 1.0))
        factors, max_error = spread(factors, -power), eps * norm * 2.0 ** (exponent - power)
        if trees.is_tree(self.network):
            rounded = trees.rounded(backend, self.network, factors, bounds, max_error)
        elif fit_of_loops is not None:
            rounded = fit_of_loops(self._with(factors), bounds, max_error)
        else:
            raise ValueError(
                f"f must have no loops, or its format a fit to round it; expected a tree, got rank {self.rank}. "
                "Factorize f.to_matrix() anew."
            )
        return self._with([as_dtype(backend, factor, self.dtype) for factor in spread(rounded, total + power)])

    def singular_values(self) -> dict[tuple[int, ...], Any]:
        r"""Return the singular values of the matricization at each bond, without forming it.

        Returns
        -------
        dict of tuple of int to array, shape (k,)
            The key holds the modes (0-based) on the side of the bond away from the first factor. The values are in
            descending order, k at most the bond's rank; all further ones are zero. Where the modes multiply to more than the
            shape, they are those of the padded object.

        Raises
        ------
        ValueError
            If the format's network has loops: cutting one bond of a loop does not split it.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3, 2), (3, 5, 2)), 2, random_state=0)
        >>> {modes: values.shape for modes, values in f.singular_values().items()}
        {(1, 2): (2,), (2,): (2,)}
        """
        network, backend = self.network, self.backend
        if not trees.is_tree(network):
            raise ValueError(
                f"f must have no loops, which one cut does not split; expected a tree, got rank {self.rank}. "
                "Take the singular values of an unfolding of f.to_tensor()."
            )
        found = trees.singular_values(backend, network, [detached(factor) for factor in self._working_factors()])
        sides = trees.far_sides(network)
        modes = {index: k for side in (network.outputs[-self.order :], network.inputs) for k, index in enumerate(side)}
        return {
            tuple(sorted({modes[index] for index in sides[bond]})): as_dtype(backend, values, self.dtype)
            for bond, values in found.items()
        }

    def __add__(self, other: Any) -> Self:
        """Return the sum in the same format; the ranks of the block index or of all bonds add up (`arithmetic.direct_sum`)."""
        return self._plus(other)

    def _plus(self, other: Any) -> Self:
        if not isinstance(other, Arithmetic) and backend_name(other) is None:
            return NotImplemented
        self._check_term("the other operand", other)
        if type(other) is not type(self) or other.format != self.format:
            raise TypeError(
                f"the other operand must be of the same format; expected {_named(self)}, "
                f"got {_named(other)}. Factorize one of them in the other's format."
            )
        return self._with(arithmetic.direct_sum(self.backend, self.network, self.factors, other.network, other.factors))

    def __radd__(self, other: Any) -> Self:
        """Return ``0 + f``, the first step of `sum`; raise an error with a cure for arrays."""
        return self * 1.0 if isinstance(other, int) and other == 0 else self.__add__(other)

    __rsub__ = __add__

    def __neg__(self) -> Self:
        """Return ``-1 * f``."""
        return self * -1.0

    def __sub__(self, other: Any) -> Self:
        """Return ``f + (-g)``."""
        return self._plus(-other if isinstance(other, Arithmetic) else other)

    def __mul__(self, scalar: Any) -> Self:
        """Return ``c * f`` for a finite real number or a 0-dimensional array of the backend; the first factor is scaled."""
        checked = self._scalar(scalar)
        return NotImplemented if checked is None else self._with_first(self.factors[0] * checked)

    __rmul__ = __mul__

    def __truediv__(self, scalar: Any) -> Self:
        """Return ``f / c`` for a finite real number other than 0, or a 0-dimensional array of the backend."""
        checked = self._scalar(scalar)
        if isinstance(checked, float) and checked == 0.0:
            raise ZeroDivisionError("the scalar must not be 0.")
        return NotImplemented if checked is None else self._with_first(self.factors[0] / checked)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Return ``tensor @ f`` or ``tensor * f``, which torch dispatches here."""
        return torch_reflected(function, args)

    def _with_first(self, factor: Any) -> Self:
        return self._with([factor, *(self.backend.copy(one) for one in self.factors[1:])])

    def _working_factors(self) -> list[Any]:
        return [at_least_single(self.backend, factor) for factor in self.factors]

    def _scalar(self, value: Any) -> Any:
        """Return a number as a float and a 0-dimensional array as it is; None for other objects."""
        if isinstance(value, numbers.Real) and not isinstance(value, bool):
            number = float(value)
            if not math.isfinite(number):
                raise ValueError(f"the scalar must be finite; got {value!r}.")
            return number
        if backend_name(value) is None:
            return None
        same_backend({"factors[0]": self.factors[0], "the scalar": value})
        if len(value.shape) != 0:
            raise TypeError(f"the scalar must be a number or an array without dimensions; got shape {tuple(value.shape)}.")
        if value.dtype != self.dtype:
            raise TypeError(f"the scalar must have the factors' dtype; expected {self.dtype}, got {value.dtype}. Convert it.")
        return value

    def _check_operand(self, argument: str, array: Any) -> Any:
        """Return the backend of an array that must have the backend, dtype and device of the factors."""
        arrays = {"factors[0]": self.factors[0], argument: array}
        backend = same_backend(arrays)
        if array.dtype != self.dtype:
            raise TypeError(
                f"{argument} must have the factors' dtype; expected {self.dtype}, got {array.dtype}. Convert one of them."
            )
        same_device(arrays)
        return backend

    def _check_term(self, argument: str, other: Any) -> None:
        if not isinstance(other, Arithmetic) or other._kind != self._kind:
            raise TypeError(f"{argument} must be a {self._kind}; got {type(other).__name__}. Factorize it first.")
        self._check_operand(argument, other.factors[0])
        theirs = other._space()
        for name, mine in self._space().items():
            if theirs[name] != mine:
                raise ValueError(f"{argument} must have the {name} of f; expected {mine}, got {theirs[name]}.")


def _named(factorized: Any) -> str:
    fields = [f"{name}={value}" for name, value in factorized.format.fields.items() if value is not None]
    return type(factorized).__name__ + (f" of {', '.join(fields)}" if fields else "")


# Name of a torch function of (tensor, f) -> the method of f that computes it.
_REFLECTED = {"matmul": "__rmatmul__", "__matmul__": "__rmatmul__", "__rmatmul__": "__rmatmul__", "mul": "__rmul__"}


def torch_reflected(function: Any, args: Any) -> Any:
    """Return ``tensor @ f`` or ``tensor * f``; NotImplemented for every other torch function."""
    method = _REFLECTED.get(getattr(function, "__name__", ""))
    if method is None or len(args) != 2 or backend_name(args[0]) != "pytorch" or not hasattr(args[1], method):
        return NotImplemented
    return getattr(args[1], method)(args[0])
