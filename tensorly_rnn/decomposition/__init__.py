"""Dense to factors. Importing an algorithm's file registers it for its format."""

from tensorly_rnn.decomposition import _block_term, _hierarchical_tucker, _tensor_ring, _tensor_train  # noqa: F401
from tensorly_rnn.decomposition.factorize import factorize

__all__ = ["factorize"]
