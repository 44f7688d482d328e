"""Dense to factors. Importing an algorithm's file registers it for its format."""

from tensorly_rnn.decomposition import block_term, hierarchical_tucker, tensor_ring, tensor_train
from tensorly_rnn.decomposition.factorize import factorize

__all__ = ["block_term", "factorize", "hierarchical_tucker", "tensor_ring", "tensor_train"]
