"""Compact matrices and recurrent networks by tensor decomposition: block term, hierarchical Tucker, tensor train, ring."""

from tensorly_rnn._version import __version__
from tensorly_rnn.decomposition import FormatComparison, best_format, factorize
from tensorly_rnn.formats import (
    BTMatrix,
    BTTensor,
    HTMatrix,
    HTTensor,
    TRMatrix,
    TRTensor,
    TTMatrix,
    TTTensor,
    available_formats,
    balanced_tree,
    get_format,
    linear_tree,
)
from tensorly_rnn.formats.bt_tensor import bt_n_param, bt_to_tensor, bt_to_unfolded, bt_to_vec, random_bt, validate_bt_rank
from tensorly_rnn.formats.counts import cost, n_param
from tensorly_rnn.formats.ht_tensor import ht_n_param, ht_to_tensor, ht_to_unfolded, ht_to_vec, random_ht, validate_ht_rank
from tensorly_rnn.formats.lstsq_grad import bt_lstsq_grad, ht_lstsq_grad, tr_lstsq_grad, tt_lstsq_grad
from tensorly_rnn.network.network import Cost, Network
from tensorly_rnn.tensorize import factorize_size, separate_modes

__all__ = [
    "BTMatrix",
    "BTTensor",
    "Cost",
    "FormatComparison",
    "HTMatrix",
    "HTTensor",
    "Network",
    "TRMatrix",
    "TRTensor",
    "TTMatrix",
    "TTTensor",
    "__version__",
    "available_formats",
    "balanced_tree",
    "best_format",
    "bt_lstsq_grad",
    "bt_n_param",
    "bt_to_tensor",
    "bt_to_unfolded",
    "bt_to_vec",
    "cost",
    "factorize",
    "factorize_size",
    "get_format",
    "ht_lstsq_grad",
    "ht_n_param",
    "ht_to_tensor",
    "ht_to_unfolded",
    "ht_to_vec",
    "linear_tree",
    "n_param",
    "random_bt",
    "random_ht",
    "separate_modes",
    "tr_lstsq_grad",
    "tt_lstsq_grad",
    "validate_bt_rank",
    "validate_ht_rank",
]
