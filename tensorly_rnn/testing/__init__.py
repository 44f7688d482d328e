"""Test the laws that every format must obey, with Hypothesis strategies of modes, ranks, matrices and tensors."""

import importlib.util

if importlib.util.find_spec("hypothesis") is None:
    raise ImportError("hypothesis must be installed; run pip install 'tensorly-rnn[testing]'.")

from tensorly_rnn.testing.backends import Backend, get_backend, installed_backends
from tensorly_rnn.testing.laws import LAWS, TENSOR_LAWS, assert_format_laws, assert_tensor_laws, check_law
from tensorly_rnn.testing.strategies import (
    canonical_ranks,
    factorized_matrices,
    factorized_pairs,
    factorized_tensors,
    tensor_shapes,
    tensorized_shapes,
)
from tensorly_rnn.testing.subject import Subject, TensorSubject

__all__ = [
    "LAWS",
    "TENSOR_LAWS",
    "Backend",
    "Subject",
    "TensorSubject",
    "assert_format_laws",
    "assert_tensor_laws",
    "canonical_ranks",
    "check_law",
    "factorized_matrices",
    "factorized_pairs",
    "factorized_tensors",
    "get_backend",
    "installed_backends",
    "tensor_shapes",
    "tensorized_shapes",
]
