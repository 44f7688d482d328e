"""Learning rates of factors: against what autograd counts and measures, and in torch's optimizers and schedulers."""

import math

import pytest
import torch

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, FactorizedRNN, factorized, parameter_groups
from tests.strategies import refused

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())


def rates_of(groups):
    return {parameter: group["lr"] for group in groups for parameter in group["params"]}


def touching(row, factors):
    """Gradients of one output with respect to the factors: what is not zero there has a part in it."""
    return torch.autograd.grad(row, factors, retain_graph=True)


@every_format
@pytest.mark.parametrize(("layer", "rows"), [(FactorizedLinear, 30), (FactorizedRNN, 30), (FactorizedLSTM, 30)])
def test_the_rule_against_the_entries_that_autograd_finds(factorization, layer, rows):
    torch.manual_seed(0)
    modes = (
        {"in_modes": (7, 11), "out_modes": (5, 6)}
        if layer is FactorizedLinear
        else {"input_modes": (7, 11), "hidden_modes": (5, 6)}
    )
    model = layer(77, rows, factorization=factorization, rank=3, dtype=torch.float64, **modes)
    weight = model.weight if layer is FactorizedLinear else model.weight_ih_l0
    factors = list(weight.factors)
    with torch.no_grad():
        factors[0] *= 7  # factors of unlike size, as after a conversion
        factors[-1] /= 3
    matrix = weight.matrix()
    std = matrix.square().mean().sqrt().item()
    found = rates_of(parameter_groups(model, 0.01))
    for factor, gradient in zip(factors, touching(matrix[4] @ torch.randn(77, dtype=torch.float64), factors)):
        entries = torch.count_nonzero(gradient).item()
        size = factor.detach().square().mean().sqrt().item()
        expected = 0.01 * rows * size / (len(factors) * std * math.sqrt(77 * entries))
        assert found[factor] == pytest.approx(expected, rel=1e-12)


@every_format
@pytest.mark.parametrize("decompose", ["input", "full"])
def test_a_step_can_change_an_output_as_a_wide_dense_weight_at_its_rate_can(factorization, decompose):
    # lr * rows in all, an equal share from each factor, but that entries of factors' products are no Gaussian numbers.
    torch.manual_seed(0)
    modes = {"input_modes": (8, 9, 7), "hidden_modes": (4, 3, 2)}
    lstm = FactorizedLSTM(480, 24, factorization=factorization, rank=5, decompose=decompose, dtype=torch.float64, **modes)
    weight = lstm.weight_ih_l0 if decompose == "input" else lstm.weight_l0
    matrix = torch.cat([weight.matrix(part) for part in range(len(weight.widths))], dim=1)
    rates = rates_of(parameter_groups(lstm, 0.1))
    y = matrix @ torch.randn(matrix.shape[1], 8, dtype=torch.float64).sign()
    shares = torch.zeros(len(weight.factors), dtype=torch.float64)
    drawn = torch.randint(len(matrix), (40,)).tolist()
    for number, row in enumerate(drawn):
        gradients = touching(y[row, number % 8], list(weight.factors))
        shares += torch.stack([rates[one] * g.abs().sum() for one, g in zip(weight.factors, gradients)]) / len(drawn)
    share = 0.1 * 24 / len(shares)
    assert 0.4 * share < shares.min() and shares.max() < 1.1 * share


def test_every_parameter_stands_in_one_group():
    torch.manual_seed(0)
    shared = FactorizedLinear(12, 12, factorization="tt", rank=2)
    tied = torch.nn.Linear(12, 7)
    tied.weight = torch.nn.Parameter(torch.zeros(7, 12))
    head = torch.nn.Linear(12, 7)
    head.weight = tied.weight
    layers = [
        FactorizedGRU(12, 12, num_layers=2, bidirectional=True, rank=2, decompose="layerwise"),
        shared,
        shared,
        tied,
        head,
    ]
    model = torch.nn.ModuleList(layers)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    random = torch.get_rng_state()
    groups = parameter_groups(model, 0.01)
    listed = [parameter for group in groups for parameter in group["params"]]
    assert sorted(map(id, listed)) == sorted(map(id, model.parameters()))
    factors = {id(factor) for name, factor in model.named_parameters() if ".factors." in name}
    assert {id(parameter) for parameter in groups[0]["params"]} == set(map(id, listed)) - factors
    assert groups[0]["lr"] == 0.01 and len({group["lr"] for group in groups}) == len(groups)
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters()))
    assert torch.equal(random, torch.get_rng_state())


@every_format
def test_parametrized_weights_are_in_factors_too(factorization):
    settings = {"factorization": factorization, "rank": 2, "decompose": "input", "gate_mode": "first"}
    layer = FactorizedLSTM(12, 7, **settings)
    lstm = factorized(
        torch.nn.LSTM(12, 7), "weight_ih_l0", factorization=factorization, rank=2, n_gates=4, start="random", gate_mode="first"
    )
    held = list(lstm.parametrizations.weight_ih_l0.parameters())
    with torch.no_grad():
        for one, other in zip(layer.weight_ih_l0.factors, held, strict=True):
            one.copy_(other)
    wanted, found = rates_of(parameter_groups(layer, 0.1)), rates_of(parameter_groups(lstm, 0.1))
    assert [found[one] for one in held] == [wanted[one] for one in layer.weight_ih_l0.factors] != [0.1] * len(held)
    assert found.keys() == set(lstm.parameters()) and found[lstm.weight_hh_l0] == 0.1
    torch.nn.init.zeros_(held[0])
    with pytest.raises(ValueError, match=r"^parametrizations\.weight_ih_l0 must have a size; .* got 0\.0\."):
        parameter_groups(lstm, 0.1)


def test_low_precision_is_measured_exactly():
    torch.manual_seed(0)
    layer = FactorizedLinear(40, 30, factorization="ht", rank=3, dtype=torch.bfloat16)
    rates = [group["lr"] for group in parameter_groups(layer, 0.1)]
    assert rates == pytest.approx([group["lr"] for group in parameter_groups(layer.double(), 0.1)], rel=1e-12)


def test_buffers_in_factors_are_no_parameters():
    module = torch.nn.Linear(12, 7)
    module.register_buffer("table", torch.ones(5, 6))
    factorized(module, "table", factorization="tt", rank=1)
    assert parameter_groups(module, 0.1) == [{"params": list(module.parameters()), "lr": 0.1}]


def test_models_without_factors_or_with_nothing_else():
    dense = torch.nn.Linear(3, 5)
    assert parameter_groups(dense, 1) == [{"params": list(dense.parameters()), "lr": 1.0}]
    weight = FactorizedLinear(6, 6, bias=False, factorization="tt", rank=2).weight
    assert set(rates_of(parameter_groups(weight, 0.1))) == set(weight.factors)


def test_schedulers_keep_the_ratios_and_adam_steps_by_the_rates():
    torch.manual_seed(0)
    layer = FactorizedLinear(12, 12, factorization="ht", rank=2)
    groups = parameter_groups(layer, 0.01)
    rates = rates_of(groups)
    before = {parameter: parameter.detach().clone() for parameter in rates}
    optimizer = torch.optim.Adam(groups, eps=0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    layer(torch.randn(4, 12)).square().sum().backward()
    optimizer.step()
    schedule.step()
    for parameter, rate in rates.items():
        torch.testing.assert_close(
            (parameter - before[parameter]).abs(), torch.full_like(parameter, rate), rtol=1e-3, atol=1e-6
        )
    assert rates_of(optimizer.param_groups) == {parameter: 0.5 * rate for parameter, rate in rates.items()}
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[group["lr"] for group in groups], total_steps=3)


def test_bad_input():
    one = torch.nn.Linear(1, 1)
    refused(
        (TypeError, r"^model must be a torch.nn.Module; got list\.$", lambda: parameter_groups([torch.zeros(1)], 0.1)),
        (TypeError, "lr must be a number; expected float, got '0.1' of type str", lambda: parameter_groups(one, "0.1")),
        (TypeError, "lr must be a number; expected float, got True of type bool", lambda: parameter_groups(one, True)),
        (ValueError, "lr must be positive; expected a finite number above 0, got 0.0", lambda: parameter_groups(one, 0.0)),
        (ValueError, "lr must be positive; expected a finite number above 0, got nan", lambda: parameter_groups(one, math.nan)),
        (ValueError, "model must have parameters; expected at least one, got none", lambda: parameter_groups(torch.nn.ReLU(), 0.1)),
    )  # fmt: skip


@pytest.mark.parametrize(("fill", "got"), [(0.0, "0.0"), (math.inf, "nan|inf")])
def test_a_weight_without_size_is_refused_by_name(fill, got):
    model = torch.nn.Sequential(torch.nn.ReLU(), FactorizedLinear(6, 6, factorization="tt", rank=2))
    torch.nn.init.constant_(model[1].weight.factors[0], fill)
    with pytest.raises(ValueError, match=rf"^1\.weight must have a size; .* got ({got})\. Load or reset"):
        parameter_groups(model, 0.1)
    meta = FactorizedLinear(6, 6, factorization="tt", rank=2, device="meta")
    with pytest.raises(ValueError, match=r"^weight must have a size; .* got nan\."):
        parameter_groups(meta, 0.1)
