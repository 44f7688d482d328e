"""Dense tensors from the index names, without the library's contractions."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.formats import FactorizedMatrix


def by_definition(indices: Sequence[Indices], factors: Sequence[Any], opened: Indices) -> np.ndarray:
    r"""Return ``T[opened] = sum over all other indices of prod_p factor_p[indices[p]]``.

    One loop over every assignment of all indices (NumPy's `einsum` without an order of contraction), as slow as the
    definition.

    Examples
    --------
    >>> by_definition((("j", "r"), ("r", "i")), [np.ones((2, 3)), np.ones((3, 4))], ("i", "j")).tolist()
    [[3.0, 3.0], [3.0, 3.0], [3.0, 3.0], [3.0, 3.0]]
    """
    names = dict.fromkeys(index for factor in indices for index in factor)
    letter = dict(zip(names, string.ascii_letters, strict=False))
    operands = ",".join("".join(letter[index] for index in factor) for factor in indices)
    return np.einsum(f"{operands}->{''.join(letter[index] for index in opened)}", *factors, optimize=False)


def matrix_by_definition(cls: type[FactorizedMatrix], factors: Sequence[Any]) -> np.ndarray:
    """Return the dense matrix of NumPy factors by a format's index names, padding not cropped."""
    order = cls.format.order_of(len(factors)) or 0
    rows = (*((cls.format.stack_index,) if cls.format.stack_index else ()), *(f"j{k + 1}" for k in range(order)))
    columns = tuple(f"i{k + 1}" for k in range(order))
    tensor = by_definition(cls.format.indices(order), factors, (*rows, *columns))
    return tensor.reshape(int(np.prod(tensor.shape[: len(rows)])), -1)
