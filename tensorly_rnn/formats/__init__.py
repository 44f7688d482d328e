"""Formats, one module each; importing a module registers its format."""

from tensorly_rnn.formats._registry import available_formats, get_format, register
from tensorly_rnn.formats._tree import Tree, balanced_tree, linear_tree
from tensorly_rnn.formats.bt import BTMatrix
from tensorly_rnn.formats.bt_tensor import BTTensor
from tensorly_rnn.formats.format import Format
from tensorly_rnn.formats.ht import HTMatrix
from tensorly_rnn.formats.ht_tensor import HTTensor
from tensorly_rnn.formats.matrix import FactorizedMatrix
from tensorly_rnn.formats.tensor import FactorizedTensor
from tensorly_rnn.formats.tensorly_tensors import TRTensor, TTTensor
from tensorly_rnn.formats.tr import TRMatrix
from tensorly_rnn.formats.tt import TTMatrix

__all__ = [
    "BTMatrix",
    "BTTensor",
    "FactorizedMatrix",
    "FactorizedTensor",
    "Format",
    "HTMatrix",
    "HTTensor",
    "TRMatrix",
    "TRTensor",
    "TTMatrix",
    "TTTensor",
    "Tree",
    "available_formats",
    "balanced_tree",
    "get_format",
    "linear_tree",
    "register",
]
