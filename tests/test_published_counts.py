"""Every count that the papers publish, from real layers with the settings that give it."""

import pytest
import torch

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLinear, FactorizedLSTM

TT_IN, OUT = (8, 20, 20, 18), (4, 4, 4, 4)
RING_OUT, RING_IN = tlr.separate_modes((4, 4, 2, 4, 2), (4, 2, 5, 8, 6, 5, 3, 2))
HT_IN, HT_OUT = (8, 10, 10, 9, 8), (4, 4, 2, 4, 2)
FULL = {"decompose": "full", "hidden_modes": OUT, "input_modes": (16, 16, 16, 15)}
CNN = {"decompose": "full", "hidden_modes": (4, 8, 8, 8), "input_modes": (8, 8, 8, 8)}

# input size, hidden size, settings, parameters of all factors, published ratio of dense to them (input-hidden or whole)
COUNTS = {
    "BT-LSTM R=1": (57600, 256, dict(factorization="bt", rank=(2, 1), input_modes=TT_IN, hidden_modes=OUT), 722, 81693),
    "BT-LSTM R=2": (57600, 256, dict(factorization="bt", rank=(2, 2), input_modes=TT_IN, hidden_modes=OUT), 1472, 40069),
    "BT-LSTM R=4": (57600, 256, dict(factorization="bt", rank=(2, 4), input_modes=TT_IN, hidden_modes=OUT), 3392, 17388),
    "TT-LSTM": (57600, 256, dict(factorization="tt", rank=4, input_modes=TT_IN, hidden_modes=OUT), 3360, 17554),
    "TT-LSTM, Youtube": (57600, 256, dict(factorization="tt", rank=4, input_modes=(4, 20, 20, 36), hidden_modes=OUT), 3392, 17388),
    "TR-LSTM": (57600, 256, dict(factorization="tr", rank=(10, *(5,) * 12, 10), input_modes=RING_IN, hidden_modes=RING_OUT), 1725, 34192),
    "HT-LSTM, UCF11": (57600, 256, dict(factorization="ht", rank=(4, 5), input_modes=HT_IN, hidden_modes=HT_OUT), 1245, 47375),
    "HT-LSTM, Youtube": (57600, 256, dict(factorization="ht", rank=(3, 3), input_modes=HT_IN, hidden_modes=HT_OUT), 810, 72817),
    "FDHT-LSTM, UCF11": (57600, 256, dict(factorization="ht", rank=(14, 12), **FULL), 8808, 6726),
    "FDHT-LSTM, Youtube": (57600, 256, dict(factorization="ht", rank=(14, 11), **FULL), 8324, 7117),
    "CNN + FDHT-LSTM, UCF11": (2048, 2048, dict(factorization="ht", rank=(9, 6), **CNN), 3132, 10713),
    "CNN + FDHT-LSTM, HMDB51": (2048, 2048, dict(factorization="ht", rank=(14, 12), **CNN), 8416, 3987),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
def test_lstm(name):
    input_size, hidden_size, settings, expected, ratio = COUNTS[name]
    layer = FactorizedLSTM(input_size, hidden_size, bias=False, device="meta", **settings)
    factors = [p.numel() for key, p in layer.named_parameters() if ".factors." in key]
    assert sum(factors) == expected
    dense = 4 * hidden_size * input_size
    if settings.get("decompose") == "full":
        assert sum(p.numel() for p in layer.parameters()) == expected
        dense += 4 * hidden_size * hidden_size
    # The papers round some ratios and truncate others.
    assert abs(dense / expected - ratio) < 1
    weight = layer.weight_l0 if settings.get("decompose") == "full" else layer.weight_ih_l0
    assert weight.n_param == expected
    assert weight.compression_ratio == pytest.approx(dense / expected)


def test_published_default_gate_modes():
    assert FactorizedLSTM(8, 4, factorization="tr").weight_ih_l0.gate_mode == "last"
    assert FactorizedLSTM(8, 4, factorization="tt").weight_ih_l0.gate_mode == "first"
    assert FactorizedLSTM(8, 4, factorization="ht").weight_ih_l0.gate_mode == "first"
    assert FactorizedLSTM(8, 4, factorization="ht", decompose="full").weight_l0.gate_mode == "stack"


@pytest.mark.parametrize(
    ("input_size", "hidden_size", "input_hidden", "both"),
    [(57600, 256, 58_982_400, 59_244_544), (2048, 2048, 16_777_216, 33_554_432)],
)
def test_dense_lstm(input_size, hidden_size, input_hidden, both):
    dense = torch.nn.LSTM(input_size, hidden_size, bias=False, device="meta")
    assert dense.weight_ih_l0.numel() == input_hidden
    assert sum(p.numel() for p in dense.parameters()) == both


@pytest.mark.parametrize(
    ("in_modes", "out_modes", "rank", "expected"),
    [
        ((8, 8), (8, 8), (1, 1), 129),
        ((8, 8), (8, 8), (1, 4), 528),
        ((8, 8), (8, 8), (2, 1), 258),
        ((2, 2, 4, 4), (4, 4, 2, 2), (1, 4), 384),
    ],
)
def test_recovering_a_picture(in_modes, out_modes, rank, expected):
    layer = FactorizedLinear(64, 64, bias=False, factorization="bt", rank=rank, in_modes=in_modes, out_modes=out_modes)
    assert sum(p.numel() for p in layer.parameters()) == expected


def test_lstm_in_draw():
    layer = FactorizedLSTM(
        2 * 784 + 256, 256, factorization="bt", rank=(1, 4), input_modes=(3, 4, 4, 38), hidden_modes=OUT, device="meta"
    )
    assert layer.weight_ih_l0.n_param == 1184


def test_whole_models_with_dense_recurrent_weights():
    layer = FactorizedLSTM(
        57600, 256, bias=False, factorization="tt", rank=4, input_modes=TT_IN, hidden_modes=OUT, device="meta"
    )
    assert sum(p.numel() for p in layer.parameters()) == 3360 + 4 * 256 * 256


def test_where_ht_is_not_the_fewest():
    # The HT paper's fig. 5 claims the fewest parameters for HT: not at rank 1, nor from rank 32 on.
    modes = ((4, 4, 2, 4, 2), (8, 10, 10, 9, 8))
    for rank, train, tree in ((1, 144, 148), (32, 99_840, 103_936)):
        assert tlr.n_param("tt", modes, rank) == train
        assert tlr.n_param("ht", modes, rank) == tree
    assert tlr.n_param("ht", modes, 16) < tlr.n_param("tt", modes, 16)
