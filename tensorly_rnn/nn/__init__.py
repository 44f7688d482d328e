"""Torch layers with their weights in factors. The only folder that imports torch."""

from tensorly_rnn.nn.convert import factorize_module
from tensorly_rnn.nn.linear import FactorizedLinear
from tensorly_rnn.nn.recurrent import FactorizedLSTM
from tensorly_rnn.nn.report import ConversionReport, WeightReport
from tensorly_rnn.nn.weight import FactorizedWeight

__all__ = ["ConversionReport", "FactorizedLSTM", "FactorizedLinear", "FactorizedWeight", "WeightReport", "factorize_module"]
