"""Recurrent networks on any TensorLy backend: forward and back-propagation through time, without autograd."""

from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layers import GRU, LSTM, RNN
from tensorly_rnn.recurrent.layout import Layout, make_layout
from tensorly_rnn.recurrent.parameters import Gradients

__all__ = ["GRU", "LSTM", "RNN", "GatedWeight", "Gradients", "Layout", "make_layout"]
