"""Plots of networks, errors, singular values and conversions. Each function returns matplotlib axes and does not show them."""

from tensorly_rnn.plot.compression import compression_report
from tensorly_rnn.plot.curves import error_against_parameters, singular_values
from tensorly_rnn.plot.diagram import network

__all__ = ["compression_report", "error_against_parameters", "network", "singular_values"]
