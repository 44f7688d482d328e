"""The parameter counts of the two papers as printed, and the layers that they speak of."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

from torch import nn

from learning.systems import System
from tensorly_rnn import separate_modes
from tensorly_rnn.nn import FactorizedLinear, FactorizedLSTM

BT = "Ye et al. 2018"
HT = "Yin et al. 2021"

INPUT_HIDDEN = "input-hidden"
WHOLE = "whole layer"
WITH_CNN = "with the CNN"
# Inception-V3 without its classifier, as the HT paper counts it in table 7; not part of this library.
CNN_PARAMETERS = 21_770_000


@dataclass(frozen=True)
class Layer:
    """A layer that a paper speaks of.

    Attributes
    ----------
    input_size, output_size : int
        The output of an LSTM is its hidden state.
    system : System, optional
        How the weights are held; dense if not given.
    linear : bool
        A matrix alone, in place of an LSTM.
    inferred : str
        The settings that the papers do not print: found by search, the printed counts leave few others.
    quoted : int, optional
        The input-hidden parameters as printed, where no setting is known that would give them.
    """

    input_size: int
    output_size: int
    system: System | None = None
    linear: bool = False
    inferred: str = ""
    quoted: int | None = None

    def make(self, **where: Any) -> nn.Module:
        """Make the layer without biases; ``where`` is the device, say."""
        if not self.system:
            kind = nn.Linear if self.linear else nn.LSTM
            return kind(self.input_size, self.output_size, bias=False, **where)
        if not self.linear:
            options = self.system.options(self.output_size)
            return FactorizedLSTM(self.input_size, self.output_size, bias=False, **options, **where)
        return FactorizedLinear(
            self.input_size,
            self.output_size,
            bias=False,
            factorization=self.system.factorization,
            rank=self.system.rank,
            in_modes=self.system.input_modes,
            out_modes=self.system.hidden_modes,
            **where,
        )


@dataclass(frozen=True)
class Printed:
    """A number as a paper prints it: parameters, or how many times fewer than those of the layer ``fewer_than``."""

    paper: str
    place: str
    layer: str
    quantity: str
    text: str
    fewer_than: str = ""
    note: str = ""

    @property
    def value(self) -> float:
        """The number."""
        return self._parts()[0]

    @property
    def unit(self) -> float:
        """One of the last digit printed."""
        return self._parts()[1]

    def agrees(self, counted: float) -> bool:
        """Whether a count can be what is printed, rounded or cut off: the papers do both."""
        exact = self.unit == 1 and not self.fewer_than
        return counted == self.value if exact else abs(counted - self.value) < self.unit

    def _parts(self) -> tuple[float, float]:
        digits, power, letter = re.fullmatch(r"([\d.,]+)(?: x 10\^(\d+)|([KMx]))?", self.text).groups()
        scale = 10.0 ** int(power) if power else {"K": 1e3, "M": 1e6}.get(letter, 1)
        decimals = len(digits.partition(".")[2])
        return float(digits.replace(",", "")) * scale, scale / 10**decimals


def block_term(rank: int) -> System:
    """Return the BT-LSTM of the BT paper's action recognition; the gates make the first output mode 16."""
    return System("bt", "BT-LSTM", "bt", (2, rank), "input", (8, 20, 20, 18), (4, 4, 4, 4))


def full(title: str, leaf: int, node: int, input_modes: tuple[int, ...], hidden_modes: tuple[int, ...]) -> System:
    """Return an FDHT-LSTM: one matrix over padded input and hidden state, the gates on the root's rank."""
    return System("fdht", title, "ht", (leaf, node), "full", input_modes, hidden_modes)


def matrix(factorization: str, rank: Any, in_modes: tuple[int, ...], out_modes: tuple[int, ...], inferred: str = "") -> Layer:
    """Return a matrix in a format, of the size of its modes."""
    system = System(factorization, factorization.upper(), factorization, rank, "input", in_modes, out_modes)
    return Layer(math.prod(in_modes), math.prod(out_modes), system, linear=True, inferred=inferred)


RING_OUT, RING_IN = separate_modes((4, 4, 2, 4, 2), (4, 2, 5, 8, 6, 5, 3, 2))
HT_IN, HT_OUT = (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)
PADDED, PADDED_CNN = (16, 16, 16, 15), (8, 8, 8, 8)
RANKS = "leaf and node rank"

DENSE, DENSE_CNN, TR_CNN = "LSTM", "CNN + LSTM", "CNN + TR-LSTM"
LAYERS = {
    DENSE: Layer(57600, 256),
    "BT-LSTM, R = 1": Layer(57600, 256, block_term(1), inferred="N, first output mode"),
    "BT-LSTM, R = 2": Layer(57600, 256, block_term(2), inferred="N, first output mode"),
    "BT-LSTM, R = 4": Layer(57600, 256, block_term(4), inferred="N, first output mode"),
    "TT-LSTM": Layer(
        57600, 256, System("tt", "TT-LSTM", "tt", 4, "input", (8, 20, 20, 18), (4, 4, 4, 4)), inferred="first output mode"
    ),
    "TT-LSTM, Youtube": Layer(
        57600, 256, System("tt", "TT-LSTM", "tt", 4, "input", (4, 20, 20, 36), (4, 4, 4, 4)), inferred="modes, rank"
    ),
    "TR-LSTM": Layer(
        57600, 256, System("tr", "TR-LSTM", "tr", (10, *(5,) * 12, 10), "input", RING_IN, RING_OUT), inferred="modes, ranks"
    ),
    "HT-LSTM": Layer(57600, 256, System("ht", "HT-LSTM", "ht", (4, 5), "input", HT_IN, HT_OUT), inferred=RANKS),
    "HT-LSTM, Youtube": Layer(57600, 256, System("ht", "HT-LSTM", "ht", (3, 3), "input", HT_IN, HT_OUT), inferred=RANKS),
    "FDHT-LSTM": Layer(57600, 256, full("FDHT-LSTM", 14, 12, PADDED, (4, 4, 4, 4))),
    "FDHT-LSTM, Youtube": Layer(57600, 256, full("FDHT-LSTM", 14, 11, PADDED, (4, 4, 4, 4))),
    DENSE_CNN: Layer(2048, 2048),
    TR_CNN: Layer(2048, 2048, quoted=671_200),
    "CNN + HT-LSTM": Layer(
        2048, 2048, System("ht", "HT-LSTM", "ht", (9, 6), "input", (8, 8, 8, 4), (8, 8, 8, 4)), inferred="modes and ranks"
    ),
    "CNN + FDHT-LSTM, UCF11": Layer(2048, 2048, full("FDHT-LSTM", 9, 6, PADDED_CNN, (4, 8, 8, 8))),
    "CNN + FDHT-LSTM, HMDB51": Layer(2048, 2048, full("FDHT-LSTM", 14, 12, PADDED_CNN, (4, 8, 8, 8))),
    "LSTM on 4096 features": Layer(4096, 256),
    "LSTM on 14 x 14 x 512 features": Layer(14 * 14 * 512, 256),
    "matrix of fig. 5": Layer(4096, 256, linear=True),
    "LSTM of DRAW": Layer(2 * 784 + 256, 256),
    "BT-LSTM of DRAW": Layer(
        2 * 784 + 256, 256, System("bt", "BT-LSTM", "bt", (1, 4), "input", (3, 4, 4, 38), (4, 4, 4, 4)),
        inferred="sizes, modes, R and N",
    ),
    "matrix of fig. 9": Layer(64, 64, linear=True),
    "fig. 9 (c)": matrix("bt", (1, 1), (8, 8), (8, 8), "modes"),
    "fig. 9 (d)": matrix("bt", (1, 4), (8, 8), (8, 8), "modes"),
    "fig. 9 (e)": matrix("bt", (2, 1), (8, 8), (8, 8), "modes"),
    "fig. 9 (f)": matrix("bt", (1, 4), (2, 2, 4, 4), (4, 4, 2, 2), "modes"),
}  # fmt: skip

MISPRINT = "does not give the paper's own ratio, our count does"
FOLLOWS = "the BT paper's misprint"
DIFFERENCE = "is {} less {}, a difference of ratios"
BT_R4 = "BT-LSTM, R = 4"
UCF11, HMDB51 = "CNN + FDHT-LSTM, UCF11", "CNN + FDHT-LSTM, HMDB51"
# Whether a row agrees is counted; a note says why one does not.
PRINTED = (
    Printed(BT, "section 1", "LSTM on 4096 features", INPUT_HIDDEN, "4.1 x 10^6"),
    Printed(BT, "section 1", "LSTM on 14 x 14 x 512 features", INPUT_HIDDEN, "1.0 x 10^8"),
    Printed(BT, "section 4.2", DENSE, INPUT_HIDDEN, "58.9M"),
    Printed(BT, "section 4.2", "BT-LSTM, R = 1", INPUT_HIDDEN, "721", note=MISPRINT),
    Printed(BT, "section 4.2", "BT-LSTM, R = 2", INPUT_HIDDEN, "1470", note=MISPRINT),
    Printed(BT, "section 4.2", BT_R4, INPUT_HIDDEN, "3387", note=MISPRINT),
    Printed(BT, "fig. 6", "BT-LSTM, R = 1", INPUT_HIDDEN, "81693x", DENSE),
    Printed(BT, "fig. 6", "BT-LSTM, R = 2", INPUT_HIDDEN, "40069x", DENSE),
    Printed(BT, "fig. 6", BT_R4, INPUT_HIDDEN, "17388x", DENSE),
    Printed(BT, "fig. 6", "TT-LSTM", INPUT_HIDDEN, "17554x", DENSE),
    Printed(BT, "abstract", BT_R4, WHOLE, "17,388x", DENSE, "counts the input-hidden weights alone"),
    Printed(BT, "fig. 5", "matrix of fig. 5", INPUT_HIDDEN, "1048576"),
    Printed(BT, "fig. 7", "LSTM of DRAW", INPUT_HIDDEN, "1.8M"),
    Printed(BT, "fig. 7", "BT-LSTM of DRAW", INPUT_HIDDEN, "1184"),
    Printed(BT, "fig. 7", "BT-LSTM of DRAW", INPUT_HIDDEN, "1577x", "LSTM of DRAW"),
    Printed(BT, "fig. 9 (a)", "matrix of fig. 9", INPUT_HIDDEN, "4096"),
    Printed(BT, "fig. 9 (c)", "fig. 9 (c)", INPUT_HIDDEN, "129"),
    Printed(BT, "fig. 9 (d)", "fig. 9 (d)", INPUT_HIDDEN, "528"),
    Printed(BT, "fig. 9 (e)", "fig. 9 (e)", INPUT_HIDDEN, "258"),
    Printed(BT, "fig. 9 (f)", "fig. 9 (f)", INPUT_HIDDEN, "384"),
    Printed(BT, "section 4.4", "fig. 9 (f)", INPUT_HIDDEN, "1.3x", "fig. 9 (d)"),
    Printed(HT, "table 2", DENSE, INPUT_HIDDEN, "58.98M"),
    Printed(HT, "table 2", DENSE, WHOLE, "59.24M"),
    Printed(HT, "table 2", "TT-LSTM", INPUT_HIDDEN, "3,360"),
    Printed(HT, "table 2", "TT-LSTM", WHOLE, "265.50K"),
    Printed(HT, "table 2", "TT-LSTM", WHOLE, "223x", DENSE),
    Printed(HT, "table 2", BT_R4, INPUT_HIDDEN, "3,387", note=FOLLOWS),
    Printed(HT, "table 2", BT_R4, WHOLE, "265.53K"),
    Printed(HT, "table 2", BT_R4, WHOLE, "223x", DENSE),
    Printed(HT, "table 2", "TR-LSTM", INPUT_HIDDEN, "1,725"),
    Printed(HT, "table 2", "TR-LSTM", WHOLE, "263.87K"),
    Printed(HT, "table 2", "TR-LSTM", WHOLE, "225x", DENSE),
    Printed(HT, "table 2", "HT-LSTM", INPUT_HIDDEN, "1,245"),
    Printed(HT, "table 2", "HT-LSTM", WHOLE, "263.39K"),
    Printed(HT, "table 2", "HT-LSTM", WHOLE, "225x", DENSE),
    Printed(HT, "table 2", "FDHT-LSTM", WHOLE, "8,808"),
    Printed(HT, "table 2", "FDHT-LSTM", WHOLE, "6,726x", DENSE),
    Printed(HT, "section 3.1", "FDHT-LSTM", WHOLE, "6,501x", "TR-LSTM", DIFFERENCE.format("6,726", "225")),
    Printed(HT, "table 3", DENSE, INPUT_HIDDEN, "58.98M"),
    Printed(HT, "table 3", DENSE, WHOLE, "59.24M"),
    Printed(HT, "table 3", "TT-LSTM, Youtube", INPUT_HIDDEN, "3,392"),
    Printed(HT, "table 3", "TT-LSTM, Youtube", WHOLE, "265.54K"),
    Printed(HT, "table 3", "TT-LSTM, Youtube", WHOLE, "223x", DENSE),
    Printed(HT, "table 3", "HT-LSTM, Youtube", INPUT_HIDDEN, "810"),
    Printed(HT, "table 3", "HT-LSTM, Youtube", WHOLE, "262.95K"),
    Printed(HT, "table 3", "HT-LSTM, Youtube", WHOLE, "225x", DENSE),
    Printed(HT, "table 3", "FDHT-LSTM, Youtube", WHOLE, "8,324"),
    Printed(HT, "table 3", "FDHT-LSTM, Youtube", WHOLE, "7,117x", DENSE),
    Printed(HT, "section 3.1", "FDHT-LSTM, Youtube", WHOLE, "6,894x", "TT-LSTM, Youtube", DIFFERENCE.format("7,117", "223")),
    Printed(HT, "table 4", "HT-LSTM, Youtube", WHOLE, "263K"),
    Printed(HT, "table 4", "FDHT-LSTM, Youtube", WHOLE, "8,324"),
    Printed(HT, "tables 5, 6", DENSE_CNN, WITH_CNN, "55M"),
    Printed(HT, "tables 5, 6", TR_CNN, WITH_CNN, "39M"),
    Printed(HT, "tables 5, 6", "CNN + HT-LSTM", WITH_CNN, "22M", note="its dense hidden-hidden matrix alone is 16.78M"),
    Printed(HT, "table 5", UCF11, WITH_CNN, "22M"),
    Printed(HT, "table 6", HMDB51, WITH_CNN, "22M"),
    Printed(HT, "table 7", DENSE_CNN, INPUT_HIDDEN, "16.78M"),
    Printed(HT, "table 7", DENSE_CNN, WHOLE, "33.55M"),
    Printed(HT, "table 7", DENSE_CNN, WITH_CNN, "55.32M"),
    Printed(HT, "table 7", TR_CNN, INPUT_HIDDEN, "671.2K"),
    Printed(HT, "table 7", TR_CNN, WHOLE, "17.45M"),
    Printed(HT, "table 7", TR_CNN, WHOLE, "1.9x", DENSE_CNN),
    Printed(HT, "table 7", TR_CNN, WITH_CNN, "39.22M"),
    Printed(HT, "table 7", TR_CNN, WITH_CNN, "1.4x", DENSE_CNN),
    Printed(HT, "section 3.2", TR_CNN, WITH_CNN, "1.9x", DENSE_CNN, "is without the CNN; FDHT's 2.5x beside it is with it"),
    Printed(HT, "table 7", UCF11, WHOLE, "3,132"),
    Printed(HT, "table 7", UCF11, WHOLE, "10,713x", DENSE_CNN),
    Printed(HT, "table 7", UCF11, WITH_CNN, "21.77M"),
    Printed(HT, "table 7", UCF11, WITH_CNN, "2.5x", DENSE_CNN),
    Printed(HT, "table 7", HMDB51, WHOLE, "8,416"),
    Printed(HT, "table 7", HMDB51, WHOLE, "3,987x", DENSE_CNN),
    Printed(HT, "abstract", UCF11, WHOLE, "10,711x", TR_CNN, DIFFERENCE.format("10,713", "1.9")),
    Printed(HT, "abstract", HMDB51, WHOLE, "3,985x", TR_CNN, DIFFERENCE.format("3,987", "1.9")),
    Printed(HT, "table 7", HMDB51, WITH_CNN, "21.78M"),
    Printed(HT, "table 7", HMDB51, WITH_CNN, "2.5x", DENSE_CNN),
)
