"""Every count that the papers publish, from real layers with the settings that give it: those of examples/papers/published.py."""

import sys
from pathlib import Path

import pytest

from tensorly_rnn.nn import FactorizedLSTM

sys.path.append(str(Path(__file__).parent.parent / "examples"))
from papers.published import LAYERS

# Parameters of all factors, published ratio of dense to them (input-hidden or whole).
COUNTS = {
    "BT-LSTM, R = 1": (722, 81693),
    "BT-LSTM, R = 2": (1472, 40069),
    "BT-LSTM, R = 4": (3392, 17388),
    "TT-LSTM": (3360, 17554),
    "TT-LSTM, Youtube": (3392, 17388),
    "TR-LSTM": (1725, 34192),
    "HT-LSTM": (1245, 47375),
    "HT-LSTM, Youtube": (810, 72817),
    "FDHT-LSTM": (8808, 6726),
    "FDHT-LSTM, Youtube": (8324, 7117),
    "CNN + FDHT-LSTM, UCF11": (3132, 10713),
    "CNN + FDHT-LSTM, HMDB51": (8416, 3987),
    "BT-LSTM of DRAW": (1184, 1577),
}


@pytest.mark.parametrize("name", COUNTS)
def test_lstm(name):
    expected, ratio = COUNTS[name]
    published = LAYERS[name]
    layer = published.make(device="meta")
    assert isinstance(layer, FactorizedLSTM)
    factors = [p.numel() for key, p in layer.named_parameters() if ".factors." in key]
    assert sum(factors) == expected
    full = published.system.decompose == "full"
    dense = 4 * published.output_size * (published.input_size + full * published.output_size)
    if full:
        assert sum(p.numel() for p in layer.parameters()) == expected
    # The papers round some ratios and truncate others.
    assert abs(dense / expected - ratio) < 1
    weight = layer.weight_l0 if full else layer.weight_ih_l0
    assert weight.n_param == expected
    assert weight.compression_ratio == pytest.approx(dense / expected)


def test_published_default_gate_modes():
    assert FactorizedLSTM(8, 4, factorization="tr").weight_ih_l0.gate_mode == "last"
    assert FactorizedLSTM(8, 4, factorization="tt").weight_ih_l0.gate_mode == "first"
    assert FactorizedLSTM(8, 4, factorization="ht").weight_ih_l0.gate_mode == "first"
    assert FactorizedLSTM(8, 4, factorization="ht", decompose="full").weight_l0.gate_mode == "stack"


@pytest.mark.parametrize(
    ("name", "expected"), [("fig. 9 (c)", 129), ("fig. 9 (d)", 528), ("fig. 9 (e)", 258), ("fig. 9 (f)", 384)]
)
def test_recovering_a_picture(name, expected):
    layer = LAYERS[name].make()
    assert (layer.in_features, layer.out_features) == (64, 64)
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_whole_models_with_dense_recurrent_weights():
    layer = LAYERS["TT-LSTM"].make(device="meta")
    assert sum(p.numel() for p in layer.parameters()) == 3360 + 4 * 256 * 256
