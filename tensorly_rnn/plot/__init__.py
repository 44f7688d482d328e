"""Plots of what the library finds. Each returns matplotlib's axes and shows nothing by itself."""

from tensorly_rnn.plot.compression import compression_report
from tensorly_rnn.plot.curves import error_against_parameters, singular_values
from tensorly_rnn.plot.diagram import network

__all__ = ["compression_report", "error_against_parameters", "network", "singular_values"]
