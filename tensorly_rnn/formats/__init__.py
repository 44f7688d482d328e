"""The formats: one file each. Importing a file registers its format."""

from tensorly_rnn.formats._matrix import FactorizedMatrix
from tensorly_rnn.formats._registry import available_formats, get_format, register
from tensorly_rnn.formats.bt import BTMatrix
from tensorly_rnn.formats.ht import HTMatrix
from tensorly_rnn.formats.tr import TRMatrix
from tensorly_rnn.formats.tt import TTMatrix

__all__ = [
    "BTMatrix",
    "FactorizedMatrix",
    "HTMatrix",
    "TRMatrix",
    "TTMatrix",
    "available_formats",
    "get_format",
    "register",
]
