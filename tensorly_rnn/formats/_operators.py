"""What a user does with a factorized object as with an array: sums, multiples, inner products, norms, rounding."""

import math
import numbers
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

from tensorly_rnn._backend import (
    as_dtype,
    at_least_single,
    backend_name,
    detached,
    largest_magnitude,
    same_backend,
    same_backend_and_device,
)
from tensorly_rnn._checks import checked_eps
from tensorly_rnn.formats._transposed import torch_reflected
from tensorly_rnn.network import arithmetic, operations, trees
from tensorly_rnn.network.network import Network

#: ``fit(f, bounds, max_error)`` returns factors of at most the given sizes of the rank indices (no bounds where None), within
#: an absolute Frobenius error (0 where only the bounds count), for a network with loops.
Fit = Callable[[Any, Mapping[str, int] | None, float], list[Any]]
#: The registered fit, under the key ``"loops"``. Fits are above this package: `tensorly_rnn.decomposition` registers its own.
FITS: dict[str, Fit] = {}


def register_fit(fit: Fit) -> None:
    """Register the fit by which `round` rounds networks with loops."""
    FITS["loops"] = fit


class Arithmetic:
    """Arithmetic on the factors of any format, without a dense detour.

    Sums and multiples are of the same format and shape and share no memory with their terms. All but `round` and
    `singular_values`, whose derivatives need not exist, take part in the backend's automatic differentiation.
    """

    factors: list[Any]
    format: Any
    network: Any
    backend: Any
    dtype: Any
    order: Any
    rank: Any
    _kind: ClassVar[str]

    # Arrays leave `array @ f` and `array * f` to us.
    __array_ufunc__ = None

    def _with(self, factors: Sequence[Any]) -> Self:
        """Return an object of the same class and shape."""
        raise NotImplementedError

    def _space(self) -> dict[str, Any]:
        """Return what two objects must have in common to be added, by the attributes' names."""
        raise NotImplementedError

    def _bounds(self, rank: Any) -> dict[str, int]:
        """Return the sizes of the rank indices under a rank of any form."""
        raise NotImplementedError

    def _parts(self, factors: Sequence[Any]) -> Iterable[tuple[Network, list[Any]]]:
        """Return disjoint boxes of the tensor that hold what is not padding."""
        return [(self.network, list(factors))]

    def inner(self, other: Any) -> Any:
        r"""Return the inner product ``<f, g> = sum_ji f[j, i] g[j, i]`` of the true entries, without forming either.

        Parameters
        ----------
        other : factorized object of any format, the same backend, dtype, shape and modes

        Returns
        -------
        array of no dimensions

        Raises
        ------
        TypeError, ValueError
            If the other is of another kind, backend, dtype, shape or other modes.

        Notes
        -----
        One contraction of all factors of both, ``O(d n r^3)`` for a chain. Where the modes multiply to more than the shape,
        one for each of at most ``d^2`` boxes that make up the true entries. Half precision is summed in single.

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
        terms = [operations.inner(backend, *one, *two) for one, two in parts]
        return as_dtype(backend, sum(terms[1:], terms[0]), self.dtype)

    def norm(self) -> Any:
        r"""Return the Frobenius norm ``sqrt(sum_ji f[j, i]^2)`` of the true entries, without forming them.

        Returns
        -------
        array of no dimensions

        Notes
        -----
        Formats without loops (TT, HT, a single Tucker block, a ring with a rank of 1) are orthogonalized: the norm of a
        difference that nearly cancels has an error of about machine precision times the norm of the terms. Others give
        the root of ``f.inner(f)``, where that error is the root of machine precision.

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
        r"""Return the same within a relative error, or with lower ranks, without a dense detour.

        Parameters
        ----------
        rank : any form that the format's rank takes, optional
            Upper bound of the ranks.
        eps : float, optional
            ``||f - result|| <= eps * ||f||`` is kept by the lowest ranks that the walk finds, unless `rank` allows less.

        Returns
        -------
        Object of the same class and shape
            Its ranks are nowhere larger than those of f; f is left as it is. Zero has rank 1.

        Raises
        ------
        TypeError, ValueError
            If neither or a wrong one is given, the factors are not finite, or the format has loops and no fit.

        Notes
        -----
        Formats without loops: `trees.rounded`; with `rank` alone the error is at most the root of the number of
        bonds that are cut times the best. Where the modes multiply to more than the shape, the error of the padded object
        is held below `eps` times the norm of the true one. Half precision is rounded in single.

        Examples
        --------
        >>> import tensorly_rnn as tlr
        >>> f = tlr.TTMatrix.random(((2, 3, 2), (3, 5, 2)), 2, random_state=0)
        >>> (f + f).rank, (f + f).round(eps=1e-12).rank
        ((1, 4, 4, 1), (1, 2, 2, 1))
        """
        f"{type(self).__name__}.round"
        if rank is None and eps is None:
            raise ValueError("rank or eps must be given; got neither.")
        allowed = 0.0 if eps is None else checked_eps(eps)
        bounds = None if rank is None else self._bounds(rank)
        backend, factors = self.backend, [detached(factor) for factor in self._working_factors()]
        # With every factor near 1 no square leaves the range of the numbers.
        sizes = [largest_magnitude(backend, factor) or 1.0 for factor in factors]
        if not all(map(math.isfinite, sizes)):
            raise ValueError("f must have finite factors; expected numbers, got NaN or infinity.")
        share = math.exp(sum(map(math.log, sizes)) / len(sizes))
        factors = [factor / size for factor, size in zip(factors, sizes)]
        norm = float(arithmetic.norm(backend, tuple(self._parts(factors))))
        error = allowed * norm
        if norm == 0.0:
            bounds = dict.fromkeys(self.network.size, 1)
        if trees.is_tree(self.network):
            rounded = trees.rounded(backend, self.network, factors, bounds, error)
        elif "loops" in FITS:
            rounded = FITS["loops"](self._with(factors), bounds, error)
        else:
            raise ValueError(
                f"f must have no loops, or its format a fit to round it; expected a tree, got rank {self.rank}. "
                "Factorize f.to_matrix() anew."
            )
        return self._with([as_dtype(backend, factor * share, self.dtype) for factor in rounded])

    def singular_values(self) -> dict[tuple[int, ...], Any]:
        r"""Return the singular values of the matricization that each bond cuts, without forming it.

        Returns
        -------
        dict of tuple of int to array, shape (k,)
            For the modes (0-based) on the bond's far side from the first factor: the values, descending, k at most the
            bond's rank; all others are zero. Of the padded object where the modes multiply to more than the shape.

        Raises
        ------
        ValueError
            If the format's network has loops: no bond of a loop cuts it in two.

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
                f"f must have no loops, which no bond cuts in two; expected a tree, "
                f"got rank {self.rank}. Take those of an unfolding of f.to_tensor()."
            )
        found = trees.singular_values(backend, network, [detached(factor) for factor in self._working_factors()])
        sides = trees.far_sides(network)
        modes = {index: k for side in (network.outputs[-self.order :], network.inputs) for k, index in enumerate(side)}
        return {
            tuple(sorted({modes[index] for index in sides[bond]})): as_dtype(backend, values, self.dtype)
            for bond, values in found.items()
        }

    def __add__(self, other: Any) -> Self:
        """Return the sum, of the same format; block indices or all bonds add up (`arithmetic.direct_sum`)."""
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
        """Return ``0 + f``, with which `sum` begins; arrays come here too, to be refused with a cure."""
        return self * 1.0 if isinstance(other, int) and other == 0 else self.__add__(other)

    __rsub__ = __add__

    def __neg__(self) -> Self:
        """Return ``-1 * f``."""
        return self * -1.0

    def __sub__(self, other: Any) -> Self:
        """Return ``f + (-g)``."""
        return self._plus(-other if isinstance(other, Arithmetic) else other)

    def __mul__(self, scalar: Any) -> Self:
        """Return ``c * f`` for a finite real number, or a 0-dimensional array of the backend: the first factor carries it."""
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
        """Let ``tensor @ f`` and ``tensor * f`` reach us; no other torch function takes a factorized object."""
        return torch_reflected(function, args)

    def _with_first(self, factor: Any) -> Self:
        return self._with([factor, *(self.backend.copy(one) for one in self.factors[1:])])

    def _working_factors(self) -> list[Any]:
        return [at_least_single(self.backend, factor) for factor in self.factors]

    def _scalar(self, value: Any) -> Any:
        """Return a number as a float and a 0-dimensional array as it is; None for what is no number nor array."""
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

    def _check_term(self, argument: str, other: Any) -> None:
        if not isinstance(other, Arithmetic) or other._kind != self._kind:
            raise TypeError(f"{argument} must be a {self._kind}; got {type(other).__name__}. Factorize it first.")
        arrays = {"factors[0]": self.factors[0], f"factors[0] of {argument}": other.factors[0]}
        same_backend_and_device(arrays)
        if other.dtype != self.dtype:
            raise TypeError(
                f"{argument} must have the dtype of f; expected {self.dtype}, got {other.dtype}. Convert one of them."
            )
        theirs = other._space()
        for name, mine in self._space().items():
            if theirs[name] != mine:
                raise ValueError(f"{argument} must have the {name} of f; expected {mine}, got {theirs[name]}.")


def _named(factorized: Any) -> str:
    fields = [f"{name}={value}" for name, value in factorized.format.fields.items() if value is not None]
    return type(factorized).__name__ + (f" of {', '.join(fields)}" if fields else "")
