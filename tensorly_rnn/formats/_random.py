"""Random factors: normal draws, scaled so that the reconstruction has a given standard deviation."""

import math
import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorly_rnn._backend import backend_of, is_real_float, new_array
from tensorly_rnn.network import arithmetic
from tensorly_rnn.network.network import Network

RandomState = None | int | np.random.Generator | np.random.RandomState


def unit_std(network: Network) -> float:
    """Return the standard deviation of independent factor entries for which entries of the reconstruction have variance 1."""
    opened = {*network.outputs, *network.inputs}
    # An entry of W sums prod(rank sizes) products of one entry a factor.
    terms = math.prod(n for index, n in network.sizes if index not in opened)
    return float(2.0 ** (-0.5 * math.log2(terms) / len(network.factors)))


def unit_factors(network: Network, generator: np.random.Generator | np.random.RandomState) -> list[np.ndarray]:
    """Draw normal factors for which the entries of the reconstruction have variance 1 in expectation."""
    std = unit_std(network)
    return [std * generator.standard_normal(shape) for shape in network.factor_shapes]


def scaled_factors(backend: Any, network: Network, factors: Sequence[Any], std: float) -> list[Any]:
    """Multiply all factors by one number so that ``||W||_F / sqrt(rows * columns)`` is `std`."""
    norm, exponent = (float(one) for one in arithmetic.scaled_norm(backend, [(network, factors)]))
    if norm == 0.0 or std == 0.0:
        return [factor * 0.0 for factor in factors]
    # Logarithms, since the number of entries may be out of the range of numbers.
    measured = math.log2(norm) + exponent - math.log2(math.prod(network.shape)) / 2
    return [factor * 2.0 ** ((math.log2(std) - measured) / len(factors)) for factor in factors]


def checked_std(std: Any) -> float:
    """Return a standard deviation as a plain float."""
    if isinstance(std, bool) or not isinstance(std, numbers.Real) or not 0 <= float(std) < math.inf:
        raise ValueError(f"std must be a finite number of at least 0; got {std!r}.")
    return float(std)


def drawn_like(drawn: Sequence[np.ndarray], like: Any) -> list[Any]:
    """Return drawn arrays with the backend, dtype and device of `like`, or unchanged if it is None."""
    if like is None:
        return list(drawn)
    backend = backend_of("like", like)
    if not is_real_float(like):
        raise TypeError(f"like must be an array of real floating-point numbers; got dtype {like.dtype}.")
    return [new_array(backend, one, like) for one in drawn]


def as_generator(random_state: RandomState) -> np.random.Generator | np.random.RandomState:
    """Return a random generator for a seed, a generator or None; NumPy's global one is never used."""
    if isinstance(random_state, (np.random.Generator, np.random.RandomState)):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    if isinstance(random_state, bool) or not isinstance(random_state, numbers.Integral) or random_state < 0:
        raise TypeError(
            f"random_state must be a seed or a generator; expected a non-negative int, "
            f"numpy.random.Generator, RandomState or None, got {random_state!r}."
        )
    return np.random.default_rng(int(random_state))
