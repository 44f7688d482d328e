"""Decompose dense matrices and tensors into factors."""

from tensorly_rnn.decomposition.best_format import FormatComparison, best_format
from tensorly_rnn.decomposition.factorize import factorize
from tensorly_rnn.decomposition.fitting.fit_to_inputs import calibrate
from tensorly_rnn.decomposition.fitting.refit import refit as _refit
from tensorly_rnn.decomposition.tensor_decompositions import (
    BlockTerm,
    HierarchicalTucker,
    TensorRing,
    TensorTrain,
    block_term,
    hierarchical_tucker,
    tensor_ring,
    tensor_train,
)
from tensorly_rnn.formats import _operators

_operators.fit_of_loops = _refit

__all__ = [
    "BlockTerm",
    "FormatComparison",
    "HierarchicalTucker",
    "TensorRing",
    "TensorTrain",
    "best_format",
    "block_term",
    "calibrate",
    "factorize",
    "hierarchical_tucker",
    "tensor_ring",
    "tensor_train",
]
