"""The subject of a law: a format on a backend, with reference results."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tensorly_rnn.formats import FactorizedMatrix, FactorizedTensor
from tensorly_rnn.tensorize import TensorizedShape
from tensorly_rnn.testing.backends import Backend
from tensorly_rnn.testing.reference import by_definition, matrix_by_definition
from tensorly_rnn.testing.strategies import (
    Ranks,
    factorized_matrices,
    factorized_pairs,
    factorized_tensors,
    pool,
    tensorized_shapes,
)

#: Returns the dense matrix of NumPy factors, padding not cropped.
Reference = Callable[[Sequence[np.ndarray]], np.ndarray]
#: Returns the number of parameters for the sizes ``p_k = m_k n_k`` and a canonical rank.
Count = Callable[[list[int], Any], int]


@dataclass(frozen=True)
class _OnBackend:
    cls: type[Any]
    backend: Backend

    def numpy_factors(self, f: Any) -> list[np.ndarray]:
        """Return the factors of a matrix or tensor as NumPy arrays."""
        return [np.array(self.backend.to_numpy(factor)) for factor in f.factors]

    def equal(self, found: Any, expected: Any, what: str) -> None:
        """Assert that an array belongs to the backend and has the expected entries."""
        assert isinstance(found, self.backend.kind), f"{what}: expected {self.backend.kind}, got {type(found)}"
        assert_allclose(self.backend.to_numpy(found), expected, rtol=1e-9, atol=1e-10, err_msg=what)


@dataclass(frozen=True)
class Subject(_OnBackend):
    """The class of a matrix format on a backend, with the reference results that `assert_format_laws` describes."""

    reference: Reference | None = None
    count: Count | None = None
    ranks: Ranks | None = None
    recovery: float | None = 1e-6

    @property
    def options(self) -> tuple[dict[str, Any], ...]:
        """Rank options to test: none, and a stack where the format has one."""
        return ({}, {"root_rank": 3}) if "root_rank" in self.cls.format.options else ({},)

    def shapes(self) -> st.SearchStrategy[TensorizedShape]:
        """Return a strategy of tensorized shapes."""
        return st.sampled_from(list(pool(self.cls))) if self.backend.slow else tensorized_shapes()

    def matrices(self, padded: bool = False) -> st.SearchStrategy[FactorizedMatrix]:
        """Return a strategy of matrices of the format on the backend."""
        return factorized_matrices(self.cls, self.backend, ranks=self.ranks, padded=padded)

    def pairs(self) -> st.SearchStrategy[tuple[FactorizedMatrix, FactorizedMatrix]]:
        """Return a strategy of two matrices of one shape, on the backend, each with a rank of its own."""
        return factorized_pairs(self.cls, self.backend, ranks=self.ranks, padded=True)

    def array(self, *shape: int, seed: int = 0) -> tuple[Any, np.ndarray]:
        """Draw normally distributed numbers, as an array of the backend and of NumPy."""
        values = np.random.default_rng(seed).normal(size=shape)
        return self.backend.array(values), values

    def dense(self, f: FactorizedMatrix) -> np.ndarray:
        """Return the true entries of a matrix from the reference."""
        factors = self.numpy_factors(f)
        return _cropped(f, self.reference(factors)) if self.reference else self.dense_with(f, factors)

    def dense_with(self, f: FactorizedMatrix, factors: Sequence[np.ndarray]) -> np.ndarray:
        """Return the true entries of other NumPy factors, by the index names of f."""
        return _cropped(f, matrix_by_definition(type(f), factors))


@dataclass(frozen=True)
class TensorSubject(_OnBackend):
    """A class of factorized tensors on a backend."""

    def tensors(self) -> st.SearchStrategy[FactorizedTensor]:
        """Return a strategy of tensors of the class on the backend."""
        return factorized_tensors(self.cls, self.backend)

    def dense(self, t: FactorizedTensor) -> np.ndarray:
        """Return the dense tensor by the index names."""
        stacked = (t.format.stack_index,) if t.format.stack_index else ()
        opened = (*stacked, *(f"j{k + 1}" for k in range(t.order)))
        return by_definition(t.format.tensor_indices(t.order), self.numpy_factors(t), opened).reshape(t.shape)


def _cropped(f: FactorizedMatrix, full: np.ndarray) -> np.ndarray:
    stacked = np.asarray(full).reshape(f.stack, -1, full.shape[-1])
    return stacked[:, : f.shape[0] // f.stack, : f.shape[1]].reshape(f.shape)
