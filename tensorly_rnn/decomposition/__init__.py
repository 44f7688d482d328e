"""Dense to factors. Importing an algorithm's file registers it for its format."""

from tensorly_rnn.decomposition import _block_term, _hierarchical_tucker, _tensor_ring, _tensor_train, refit  # noqa: F401
from tensorly_rnn.decomposition.best_format import FormatComparison, best_format
from tensorly_rnn.decomposition.calibrate import calibrate
from tensorly_rnn.decomposition.factorize import factorize
from tensorly_rnn.decomposition.tensors import (
    BlockTerm,
    HierarchicalTucker,
    TensorRing,
    TensorTrain,
    block_term,
    hierarchical_tucker,
    tensor_ring,
    tensor_train,
)

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
