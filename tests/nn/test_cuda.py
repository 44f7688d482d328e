"""A GPU gives the results of the CPU; skipped without a GPU."""

import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, FactorizedRNN, factorize_module

pytestmark = [pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")]

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())
every_layer = pytest.mark.parametrize("ours", [FactorizedRNN, FactorizedGRU, FactorizedLSTM])


def with_gradients(layer, input):
    output = layer(input)
    while not isinstance(output, torch.Tensor):
        output = output[0]
    gradients = torch.autograd.grad(output.square().sum(), list(layer.parameters()))
    return [one.cpu() for one in (output.detach(), *gradients)]


def both(layer, *inputs):
    """Outputs and gradients on the CPU, then on the GPU."""
    on_cpu = [with_gradients(layer, one) for one in inputs]
    layer.cuda()
    return on_cpu, [with_gradients(layer, one.to("cuda")) for one in inputs]


@every_format
@every_layer
@pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
@pytest.mark.parametrize("implementation", ["auto", "factorized", "reconstructed"])
def test_recurrent_layers(ours, factorization, decompose, implementation):
    torch.manual_seed(0)
    options = {"factorization": factorization, "rank": 3, "decompose": decompose, "implementation": implementation}
    layer = ours(11, 7, 2, bidirectional=True, **options, dtype=torch.float64)
    padded = torch.randn(6, 3, 11, dtype=torch.float64)
    packed = pack_sequence([torch.randn(n, 11, dtype=torch.float64) for n in (2, 5, 3)], enforce_sorted=False)
    found, wanted = both(layer, padded, packed)
    assert_close(found, wanted, atol=1e-10, rtol=0)


@every_format
def test_linear_layers_and_whole_models(factorization):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(30, 20), torch.nn.ReLU(), FactorizedLinear(20, 10, factorization=factorization)
    )
    model.double()
    found, wanted = both(model, torch.randn(4, 30, dtype=torch.float64))
    assert_close(found, wanted, atol=1e-10, rtol=0)
    small, _ = factorize_module(model, "0", factorization=factorization, rank=4)
    assert all(one.is_cuda for one in small.parameters())
    found, wanted = both(small.cpu(), torch.randn(4, 30, dtype=torch.float64))
    assert_close(found, wanted, atol=1e-10, rtol=0)


@every_layer
def test_lower_precisions(ours):
    torch.manual_seed(0)
    for implementation, dtype in itertools.product(("factorized", "reconstructed"), (torch.bfloat16, torch.float16)):
        layer = ours(64, 32, factorization="tt", rank=4, implementation=implementation, device="cuda")
        x = torch.randn(5, 8, 64, device="cuda")
        wanted = layer(x)[0]
        with torch.autocast("cuda", dtype):
            found = layer(x)[0]
        assert_close(found.float(), wanted, atol=0.05, rtol=0.05)
        assert_close(layer.to(dtype)(x.to(dtype))[0].float(), wanted, atol=0.05, rtol=0.05)


def test_the_global_settings_of_products_stay():
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    FactorizedLSTM(64, 32, device="cuda")(torch.randn(5, 8, 64, device="cuda"))[0].sum().backward()
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == before
