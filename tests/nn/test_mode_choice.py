"""Modes of decomposed layers where none are given: no worse than truncated singular value decompositions of the weights."""

import numpy as np
import pytest
import torch
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, FactorizedLSTMCell, factorize_module
from tests.strategies import in_pairs

FORMATS = tlr.available_formats()


def decaying_(module):
    """Give the weights of a module singular values ``k^-0.7`` and random singular vectors."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in module.named_parameters():
        if "weight" in name:
            left, _, right = torch.linalg.svd(torch.randn(parameter.shape, generator=generator), full_matrices=False)
            scales = torch.arange(1.0, min(parameter.shape) + 1) ** -0.7
            with torch.no_grad():
                parameter.copy_(left * scales @ right)
    return module


def error(dense, found):
    return float((torch.linalg.norm(found - dense) / torch.linalg.norm(dense)).detach())


def truncated(dense, ratio, core):
    """Return the error of the singular value decomposition of as many parameters; HT and BT have a core besides."""
    rows, columns = dense.shape
    budget = rows * columns / ratio
    rank = max(rank for rank in range(1, min(dense.shape) + 1) if rank * (rows + columns) + core * rank**2 <= budget)
    values = torch.linalg.svdvals(dense.detach())
    return float(torch.linalg.norm(values[rank:]) / torch.linalg.norm(values))


@pytest.mark.parametrize("name", FORMATS)
def test_linear(name):
    linear = decaying_(nn.Linear(40, 30))
    small = FactorizedLinear.from_linear(linear, factorization=name, compression_ratio=3, n_iter_max=3)
    assert small.weight.n_param <= 400
    assert error(linear.weight, small.weight.matrix()) <= truncated(linear.weight, 3, name in ("ht", "bt")) + 1e-6


@in_pairs(
    name=FORMATS,
    decompose=("input", "layerwise"),
    convert=(FactorizedLSTM.from_lstm, FactorizedGRU.from_gru),
)
def test_recurrent_layers(name, decompose, convert):
    kind = convert.__self__.dense
    dense = decaying_(kind(20, 16, num_layers=2, bidirectional=True))
    small = convert(dense, factorization=name, decompose=decompose, compression_ratio=2.5, n_iter_max=3)
    back = small.to_lstm() if kind is nn.LSTM else small.to_gru()
    for (key, weight), found in zip(dense.named_parameters(), back.parameters()):
        if key.startswith("weight_ih") or (key.startswith("weight_hh") and decompose == "layerwise"):
            assert error(weight, found) <= truncated(weight, 2.5, name in ("ht", "bt")) + 1e-6, key
        else:
            assert torch.equal(weight, found)
    x = torch.randn(5, 3, 20)
    torch.testing.assert_close(small(x)[0], back(x)[0], rtol=1e-4, atol=1e-5)


def test_cells_and_both_weights_together():
    cell = decaying_(nn.LSTMCell(20, 16))
    small = FactorizedLSTMCell.from_cell(cell, factorization="tt", decompose="full", compression_ratio=3)
    joint = torch.cat([cell.weight_ih, cell.weight_hh], dim=1)
    back = small.to_cell()
    found = torch.cat([back.weight_ih, back.weight_hh], dim=1)
    assert error(joint, found) <= truncated(joint, 3, False) + 1e-6


def test_the_modes_are_arguments_of_the_constructor():
    dense = decaying_(nn.LSTM(20, 16, num_layers=2))
    small = FactorizedLSTM.from_lstm(dense, factorization="tt", decompose="layerwise", compression_ratio=3)
    modes = {"hidden_modes": (1, 16), "input_modes": {0: (20, 1), 1: (16, 1)}, "gate_mode": "last"}
    ranks = {layer: {part: getattr(small, f"weight_{part}_l{layer}").rank for part in ("ih", "hh")} for layer in (0, 1)}
    again = FactorizedLSTM(20, 16, num_layers=2, factorization="tt", decompose="layerwise", rank=ranks, **modes)
    again.load_state_dict(small.state_dict())
    x = torch.randn(4, 2, 20)
    torch.testing.assert_close(again(x)[0], small(x)[0], rtol=0, atol=0)


@pytest.mark.parametrize("calibrated", [False, True])
def test_models(calibrated):
    model = nn.Sequential(decaying_(nn.Linear(40, 30)), nn.Tanh(), decaying_(nn.Linear(30, 24)))
    inputs = torch.randn(200, 40) * 0.8 ** torch.arange(40.0) if calibrated else None
    small, report = factorize_module(model, factorization="tt", compression_ratio=3, calibration=inputs)
    assert [row.format for row in report] == ["tt", "tt"]
    for layer, dense in ((small[0], model[0].weight), (small[2], model[2].weight)):
        if not calibrated:
            assert layer.weight.tensorized_shape == ((1, dense.shape[0]), (dense.shape[1], 1))
            assert error(dense, layer.weight.matrix()) == pytest.approx(truncated(dense, 3, False), abs=1e-6)
    if calibrated:
        plain, _ = factorize_module(model, factorization="tt", compression_ratio=3)
        with torch.no_grad():
            ends = [float(torch.linalg.norm(one[0](inputs) - model[0](inputs))) for one in (small, plain)]
        assert ends[0] < 0.8 * ends[1]


def test_planted_structure_keeps_paired_modes():
    paired = tlr.TTMatrix.random(((6, 5), (8, 5)), 2, random_state=0)
    linear = nn.Linear(40, 30)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(paired.to_matrix()))
    small = FactorizedLinear.from_linear(linear, factorization="tt", n_param=paired.n_param)
    assert small.weight.tensorized_shape == paired.tensorized_shape
    assert error(linear.weight, small.weight.matrix()) < 1e-5


def test_given_modes_and_ranks_are_kept():
    linear = decaying_(nn.Linear(40, 30))
    for options in ({"compression_ratio": 3, "in_modes": (8, 5)}, {"rank": 3}):
        small = FactorizedLinear.from_linear(linear, factorization="tt", **options)
        assert small.weight.tensorized_shape == ((6, 5), (8, 5))
    projected = decaying_(nn.LSTM(20, 16, proj_size=8))
    found = FactorizedLSTM.from_lstm(projected, factorization="tt", decompose="layerwise", compression_ratio=2)
    assert found.weight_hh_l0.tensorized_shape[1] == (4, 2)


def test_the_smaller_within_an_error():
    linear = decaying_(nn.Linear(40, 30))
    small = FactorizedLinear.from_linear(linear, factorization="tt", eps=0.3)
    values = np.linalg.svd(linear.weight.detach().numpy(), compute_uv=False)
    rank = next(rank for rank in range(31) if np.linalg.norm(values[rank:]) <= 0.3 * np.linalg.norm(values))
    assert small.weight.n_param <= 70 * rank and error(linear.weight, small.weight.matrix()) <= 0.3
