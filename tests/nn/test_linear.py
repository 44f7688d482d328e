"""FactorizedLinear against torch.nn.Linear."""

import math

import pytest
import torch
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLinear, FactorizedLSTM
from tests.strategies import refused

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())


@every_format
@pytest.mark.parametrize("bias", [True, False])
def test_full_rank_reproduces_a_dense_layer_round_trip(factorization, bias):
    torch.manual_seed(0)
    linear = torch.nn.Linear(11, 13, bias=bias, dtype=torch.float64)
    layer = FactorizedLinear.from_linear(linear, factorization=factorization, rank="full")
    for leading in ((), (3,), (0,), (2, 1)):
        x = torch.randn(*leading, 11, dtype=torch.float64)
        assert_close(layer(x), linear(x), atol=1e-12, rtol=0)
    back = layer.to_linear()
    assert repr(back) == repr(linear)
    for one, other in zip(back.parameters(), linear.parameters()):
        assert_close(one, other, atol=1e-12, rtol=0)
        assert one.data_ptr() != other.data_ptr()


@every_format
def test_gradcheck(factorization):
    torch.manual_seed(0)
    layer = FactorizedLinear(5, 7, factorization=factorization, rank=2, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x, *parameters: torch.func.functional_call(layer, dict(zip(names, parameters)), (x,)), (x, *layer.parameters())
    )


@every_format
@pytest.mark.parametrize(("in_features", "out_features"), [(11, 13), (64, 64), (7, 1)])
def test_reset_gives_exactly_the_standard_deviation_of_torch(factorization, in_features, out_features):
    torch.manual_seed(1)
    layer = FactorizedLinear(in_features, out_features, factorization=factorization, rank=2)
    std = layer.weight.matrix().square().mean().sqrt().item()
    assert std == pytest.approx(1 / math.sqrt(3 * in_features), rel=1e-5)
    assert layer.bias.abs().max() <= 1 / math.sqrt(in_features)


def test_bad_arguments_are_refused():
    layer = FactorizedLinear(11, 13, factorization="tt", rank=2)
    refused(
        (ValueError, r"input must have 11 features; expected \(..., 11\), got \(2, 12\)", lambda: layer(torch.zeros(2, 12))),
        (TypeError, "input must be a tensor; got list", lambda: layer([0.0] * 11)),
        (TypeError, "input dtype torch.float64 does not match weight dtype torch.float32", lambda: layer(torch.zeros(2, 11, dtype=torch.float64))),
        (ValueError, r"x must have 11 columns; expected \(..., 11\), got \(2, 10\)", lambda: layer.weight(torch.zeros(2, 10))),
        (ValueError, r"parts must be one matrix each; expected shapes \[\(13, 11\)\], got \[\(13, 1\)\]", lambda: layer.weight.load_matrices(torch.zeros(13, 1))),
        (ValueError, "^in_modes must multiply to the size or more", lambda: FactorizedLinear(11, 13, in_modes=(2, 5), out_modes=(13, 1))),
        (TypeError, "in_features must be a positive integer; expected int, got 1.5", lambda: FactorizedLinear(1.5, 13)),
        (TypeError, "^linear must be a torch.nn.Linear; got LSTM", lambda: FactorizedLinear.from_linear(torch.nn.LSTM(2, 3))),
    )  # fmt: skip


@pytest.mark.parametrize("asked", [{"eps": 0.4}, {"n_param": 60}, {"compression_ratio": 3.0}])
def test_conversion_by_error_or_budget(asked):
    torch.manual_seed(0)
    linear = torch.nn.Linear(12, 14, dtype=torch.float64).eval()
    state = torch.get_rng_state()
    layer = FactorizedLinear.from_linear(linear, factorization="tt", in_modes=(3, 4), out_modes=(7, 2), **asked)
    dense = layer.to_linear()
    assert torch.equal(torch.get_rng_state(), state) and not layer.training and not dense.training
    error = (dense.weight - linear.weight).norm() / linear.weight.norm()
    assert 0.1 < error < (0.4 if "eps" in asked else 1)
    assert layer.weight.n_param <= {"n_param": 60, "compression_ratio": 56}.get(next(iter(asked)), 168)
    torch.testing.assert_close(layer(torch.eye(12).double()), dense(torch.eye(12).double()), atol=1e-12, rtol=0)


@pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])
def test_autocast_gives_the_lower_precision_as_torchs_layer_does(implementation):
    torch.manual_seed(0)
    layer, x = FactorizedLinear(12, 8, factorization="tt", rank=2, implementation=implementation), torch.randn(3, 12)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        assert y.dtype == layer.to_linear()(x).dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), layer(x), atol=0.05, rtol=0)
    y.float().sum().backward()
    assert layer.bias.grad.dtype == torch.float32 and torch.equal(layer.bias.grad, torch.full((8,), 3.0))


@every_format
def test_conversion_on_the_meta_device_gives_the_form(factorization):
    rank = (2, 3) if factorization == "bt" else 3
    for convert, kind, sizes in (
        (FactorizedLinear.from_linear, torch.nn.Linear, (12, 14)),
        (FactorizedLSTM.from_lstm, torch.nn.LSTM, (12, 14, 2)),
    ):
        torch.manual_seed(0)
        real = convert(kind(*sizes), factorization=factorization, rank=rank)
        form = convert(kind(*sizes, device="meta"), factorization=factorization, rank=rank)
        assert all(parameter.is_meta for parameter in form.parameters())
        form.to_empty(device="cpu").load_state_dict(real.state_dict())
        x = torch.randn(3, 2, 12)
        torch.testing.assert_close(form(x), real(x), atol=0, rtol=0)
        with pytest.raises(
            ValueError, match=r"^rank must give the sizes .* on the meta device; expected a rank, got n_param\."
        ):
            convert(kind(*sizes, device="meta"), factorization=factorization, n_param=90)


def test_errors_of_a_conversion_name_it():
    for convert, dense in (
        (FactorizedLinear.from_linear, torch.nn.Linear(5, 3)),
        (FactorizedLSTM.from_lstm, torch.nn.LSTM(5, 3)),
    ):
        with pytest.raises(ValueError, match=r"^eps must be a relative error"):
            convert(dense, eps=-1)
        with pytest.raises(TypeError, match=r"^speed must be an option of the format"):
            convert(dense, rank=1, speed="high")


@every_format
@pytest.mark.slow
def test_large_padded_layers_start_quickly_and_conversion_draws_nothing(factorization):
    # Neither size factorizes: the norm of the true weight is put together from boxes.
    rank = (2, 2) if factorization == "bt" else 2
    layer = FactorizedLinear(100_003, 251, factorization=factorization, rank=rank)
    assert layer.weight.n_param < 20_000
    state = torch.get_rng_state()
    FactorizedLinear.from_linear(torch.nn.utils.skip_init(torch.nn.Linear, 12, 12).requires_grad_(False).apply(_zeros), rank=2)
    assert torch.equal(torch.get_rng_state(), state)


def _zeros(module):
    for parameter in module.parameters():
        parameter.data.zero_()


def test_jagged_nested_tensors_are_taken_as_torchs_layer_takes_them():
    torch.manual_seed(0)
    linear = torch.nn.Linear(6, 4).double()
    layer = FactorizedLinear.from_linear(linear, factorization="tt", rank="full")
    values, offsets = torch.randn(9, 6, dtype=torch.float64), torch.tensor([0, 2, 5, 9])
    results = []
    for one in (layer, linear):
        x = values.clone().requires_grad_()
        nested = torch.nested.nested_tensor_from_jagged(x, offsets)
        y = one(nested)
        # Only nested tensors of the same lengths can be added.
        assert (y.sum(-1) + nested.sum(-1)).is_nested
        results.append([y.values(), torch.autograd.grad(y.values().sin().sum(), x)[0]])
    assert_close(*results, atol=1e-13, rtol=0)
    # torch's layer refuses those with values between the sequences.
    gaps = torch.nested.nested_tensor_from_jagged(values, offsets, torch.tensor([1, 3, 2]))
    assert_close([*layer(gaps).unbind()], [layer(one) for one in gaps.unbind()])


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_other_nested_tensors_are_refused_with_the_cure(layout):
    nested = torch.nested.nested_tensor([torch.randn(2, 6), torch.randn(3, 6)], layout=layout)
    layer = FactorizedLinear(6, 4) if layout is torch.strided else FactorizedLSTM(6, 4)
    with pytest.raises(
        TypeError, match=rf"nested tensor of layout {layout}. Call torch.nested.to_padded_tensor\(input, 0.0\)"
    ):
        layer(nested)
