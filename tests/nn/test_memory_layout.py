"""Results lie in memory as those of torch's dense modules do: `view` works, and dropout by a seed draws the same mask."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import tensorly_rnn as tlr
from tensorly_rnn import nn as factorized
from tests.strategies import in_pairs


def layouts(result):
    """Shape and strides of every tensor; the stride of an axis of one entry has no meaning."""
    if isinstance(result, PackedSequence):
        result = result.data
    if isinstance(result, torch.Tensor):
        return [[(n, step) for n, step in zip(result.shape, result.stride()) if n != 1]]
    return [layout for part in result for layout in layouts(part)]


INPUTS = {
    "batch": lambda *shape: torch.randn(shape),
    "one row": lambda *shape: torch.randn(shape[-1:]),
    "transposed": lambda *shape: torch.randn(shape[1], shape[0], shape[2]).transpose(0, 1),
    "columns first": lambda *shape: torch.randn(shape[2], *shape[:2]).movedim(0, -1),
    "expanded": lambda *shape: torch.randn(1, *shape[1:]).expand(shape),
}


@in_pairs(
    factorization=tlr.available_formats(),
    rank=[1, 4],
    implementation=["factorized", "auto"],
    bias=[True, False],
    gradients=[True, False],
)
def test_linear(factorization, rank, implementation, bias, gradients):
    options = {"factorization": factorization, "rank": rank, "in_modes": (2, 5), "out_modes": (3, 4)}
    layer = factorized.FactorizedLinear(9, 11, bias, **options, implementation=implementation).train(gradients)
    dense = layer.to_linear()
    assert layer.weight.matrix().is_contiguous()
    with torch.set_grad_enabled(gradients):
        for draw in INPUTS.values():
            x = draw(2, 7, 9)
            assert layouts(layer(x)) == layouts(dense(x))


@in_pairs(
    kind=["RNN", "GRU", "LSTM"],
    settings=[{}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True, "batch_first": True}],
    implementation=["factorized", "reconstructed"],
    decompose=["input", "layerwise", "full"],
    gradients=[True, False],
)
def test_recurrent(kind, settings, implementation, decompose, gradients):
    options = {"factorization": "ht", "rank": 2, "implementation": implementation, "decompose": decompose}
    layer = getattr(factorized, f"Factorized{kind}")(6, 4, **settings, **options).train(gradients)
    dense = getattr(layer, f"to_{kind.lower()}")()
    inputs = [draw(4, 3, 6) for name, draw in INPUTS.items() if name != "one row"]
    packed = pack_padded_sequence(torch.randn(5, 3, 6), torch.tensor([3, 5, 1]), enforce_sorted=False)
    with torch.set_grad_enabled(gradients):
        for x in (*inputs, inputs[0][0], packed):
            assert layouts(layer(x)) == layouts(dense(x))


@in_pairs(
    kind=["RNN", "GRU", "LSTM"], implementation=["factorized", "reconstructed"], decompose=["input", "layerwise", "full"]
)
def test_cells(kind, implementation, decompose):
    options = {"factorization": "bt", "rank": 2, "implementation": implementation, "decompose": decompose}
    cell = getattr(factorized, f"Factorized{kind}Cell")(6, 4, **options)
    dense = cell.to_cell()
    for x in (torch.randn(5, 6), torch.randn(6), torch.randn(6, 5).T):
        assert layouts(cell(x)) == layouts(dense(x))


@pytest.mark.parametrize("factorization", ["ht", "tt"])
def test_dropout_by_a_seed_draws_the_mask_of_torch(factorization):
    layer = factorized.FactorizedLinear(64, 256, factorization=factorization, rank=8, implementation="factorized")
    x = torch.randn(2, 7, 64)
    masks = []
    for one in (layer, layer.to_linear()):
        y = one(x)
        torch.manual_seed(0)
        masks.append(nn.functional.dropout(y, 0.5) == 0)
        assert y.view(2, -1).stride() == (1792, 1)
    assert torch.equal(*masks)
