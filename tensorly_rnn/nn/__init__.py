"""Layers of torch with their weights in factors. No other package of tensorly_rnn imports torch."""

from tensorly_rnn.nn.conversion.factorize_module import factorize_module
from tensorly_rnn.nn.conversion.report import ConversionReport, WeightReport
from tensorly_rnn.nn.conversion.saved import load_factorized, save_factorized
from tensorly_rnn.nn.conversion.structure import structure_of, with_structure
from tensorly_rnn.nn.layer_tuning import tune
from tensorly_rnn.nn.linear import FactorizedLinear
from tensorly_rnn.nn.parameter_groups import parameter_groups
from tensorly_rnn.nn.parametrize import factorized
from tensorly_rnn.nn.recurrent import FactorizedGRU, FactorizedLSTM, FactorizedRNN
from tensorly_rnn.nn.recurrent_cells import FactorizedGRUCell, FactorizedLSTMCell, FactorizedRNNCell
from tensorly_rnn.nn.weight import FactorizedWeight

__all__ = [
    "ConversionReport",
    "FactorizedGRU",
    "FactorizedGRUCell",
    "FactorizedLSTM",
    "FactorizedLSTMCell",
    "FactorizedLinear",
    "FactorizedRNN",
    "FactorizedRNNCell",
    "FactorizedWeight",
    "WeightReport",
    "factorize_module",
    "factorized",
    "load_factorized",
    "parameter_groups",
    "save_factorized",
    "structure_of",
    "tune",
    "with_structure",
]
