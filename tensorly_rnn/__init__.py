"""Compact matrices and recurrent networks by tensor decomposition: block term, hierarchical Tucker, tensor train, ring."""

from tensorly_rnn._version import __version__
from tensorly_rnn.decomposition import factorize
from tensorly_rnn.formats import (
    BTMatrix,
    HTMatrix,
    TRMatrix,
    TTMatrix,
    available_formats,
    get_format,
)
from tensorly_rnn.formats.counts import cost, n_param
from tensorly_rnn.network import Cost, Network
from tensorly_rnn.tensorize import factorize_size, separate_modes

__all__ = [
    "BTMatrix",
    "Cost",
    "HTMatrix",
    "Network",
    "TRMatrix",
    "TTMatrix",
    "__version__",
    "available_formats",
    "cost",
    "factorize",
    "factorize_size",
    "get_format",
    "n_param",
    "separate_modes",
]
