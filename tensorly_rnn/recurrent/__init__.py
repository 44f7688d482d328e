"""Recurrent layers on any TensorLy backend, with back-propagation through time and without autograd."""

from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layers import GRU, LSTM, RNN
from tensorly_rnn.recurrent.layout import Layout, make_layout
from tensorly_rnn.recurrent.parameters import Gradients

__all__ = ["GRU", "LSTM", "RNN", "GatedWeight", "Gradients", "Layout", "make_layout"]
