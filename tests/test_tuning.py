"""Measured orders: the fastest of different ones is used from then on, whatever is measured; results stay."""

import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn.contraction import order as orders
from tensorly_rnn.network import plan_tuning
from tensorly_rnn.network.network import apply_plan
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, tune
from tests.backends import every_backend, to_numpy
from tests.cases import every_format
from tests.strategies import refused

SHAPE = ((5, 3, 2), (2, 7, 3))


@pytest.fixture(autouse=True)
def own_choices(monkeypatch):
    """Forget what a test has chosen."""
    monkeypatch.setattr(orders, "_preferred", {})
    yield
    orders.clear_caches()


def slow_unless(network, batch, wanted):
    """The measured function, which is fast in one order only."""
    turns = []

    def run():
        turns.append(apply_plan(network, batch))
        if turns[-1].pairs != wanted:
            threading.Event().wait(0.01)

    return run, turns


@every_format
def test_the_fastest_order_is_used_from_then_on(case):
    f = tlr.get_format(case.name).random(SHAPE, (2, 2) if case.name == "bt" else 2, random_state=0)
    before = apply_plan(f.network, 7)
    candidates = plan_tuning.tuned(f.network, 7, lambda: None, count=5, repeats=1).plans
    assert 2 <= len(candidates) <= 5 and candidates[0] == before
    wanted = candidates[-1]
    run, turns = slow_unless(f.network, 7, wanted.pairs)
    found = plan_tuning.tuned(f.network, 7, run, count=5, repeats=3)
    assert found.plan == wanted == apply_plan(f.network, 7) and found.plans == candidates
    # Each once unmeasured and once measured, in turns.
    assert [turn.pairs for turn in turns] == [one.pairs for _ in range(3) for one in candidates for _ in range(2)]
    assert found.seconds[-1] < 0.01 <= min(found.seconds[:-1])
    # For all rows up to the next power of two, and no others.
    assert apply_plan(f.network, 5).pairs == wanted.pairs
    x = np.random.default_rng(0).normal(size=(7, 42))
    assert_allclose(f.apply(x), x @ f.to_matrix().T, atol=1e-12)
    printed = str(found).splitlines()
    assert len(printed) == 1 + len(candidates) and printed[-1].endswith("chosen") and f"{wanted.flops:,}" in printed[-1]


def test_the_planners_choice_stays_unless_another_is_clearly_faster():
    f = tlr.TTMatrix.random(SHAPE, 2, random_state=0)
    before = apply_plan(f.network, 7)
    run, _ = slow_unless(f.network, 7, before.pairs)
    assert plan_tuning.tuned(f.network, 7, run, repeats=2).plan == before
    assert orders._preferred == {}


def test_an_interrupted_measurement_leaves_the_planners_choice():
    f = tlr.TTMatrix.random(SHAPE, 2, random_state=0)
    before = apply_plan(f.network, 7)

    def run():
        if apply_plan(f.network, 7).pairs != before.pairs:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plan_tuning.tuned(f.network, 7, run)
    assert apply_plan(f.network, 7) == before and orders._preferred == {}


@every_backend
@every_format
def test_a_matrix_measures_on_its_backend(case, backend):
    rank = (2, 2) if case.name == "bt" else 2
    f = tlr.get_format(case.name).random(SHAPE, rank, random_state=0)
    f = type(f)([backend.array(factor) for factor in f.factors])
    assert f.plan(6) == apply_plan(f.network, 6)
    plan = f.plan(6, tune=True)
    assert plan == f.plan(6) == apply_plan(f.network, 6)
    x = np.random.default_rng(0).normal(size=(6, 42))
    dense = type(f)([to_numpy(factor) for factor in f.factors]).to_matrix()
    assert_allclose(to_numpy(f.apply(backend.array(x))), x @ dense.T, atol=1e-12)


def test_a_matrix_with_gradients_is_measured_and_left_alone():
    factors = [torch.tensor(one, requires_grad=True) for one in tlr.TTMatrix.random(SHAPE, 2, random_state=0).factors]
    f = tlr.TTMatrix(factors)
    f.plan(6, tune=True)
    assert all(factor.grad is None and factor.requires_grad for factor in factors)


def test_layers_are_measured_by_name_and_left_alone():
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "front": FactorizedLinear(42, 30, factorization="bt", rank=(2, 2)),
            "one": FactorizedLSTM(42, 6, factorization="tr", rank=2, bidirectional=True),
            "two": FactorizedGRU(12, 5, factorization="ht", rank=2, decompose="full"),
        }
    ).double()
    x = torch.randn(4, 3, 42, dtype=torch.float64)
    before = [one.clone() for one in model.state_dict().values()]
    outputs = model["front"](x), model["one"](x)[0]
    state = torch.get_rng_state()
    found = tune(model, rows=12, count=3, repeats=1)
    assert list(found) == ["front.weight", "one.weight_ih_l0", "one.weight_ih_l0_reverse", "two.weight_l0"]
    # Both directions have the same sizes.
    assert found["one.weight_ih_l0"] is found["one.weight_ih_l0_reverse"]
    assert all(1 <= len(one.seconds) <= 3 for one in found.values())
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(one, other) for one, other in zip(before, model.state_dict().values()))
    assert all(parameter.grad is None for parameter in model.parameters())
    for one, other in zip(outputs, (model["front"](x), model["one"](x)[0])):
        assert_allclose(one.detach(), other.detach(), atol=1e-13)


def test_what_cannot_be_measured_is_refused():
    layer = FactorizedLinear(42, 30, factorization="tt", rank=2)
    refused(
        (TypeError, r"^module must be a torch.nn.Module; got list", lambda: tune([layer], rows=3)),
        (ValueError, "^module must have weights in factors; expected a FactorizedWeight in it", lambda: tune(nn.Linear(3, 2), rows=3)),
        (ValueError, "^rows must be a positive integer; expected at least 1, got 0", lambda: tune(layer, rows=0)),
        (ValueError, "^count must be a positive integer; expected at least 1, got 0", lambda: tune(layer, rows=3, count=0)),
        (ValueError, "^repeats must be a positive integer; expected at least 1, got -1", lambda: tune(layer, rows=3, repeats=-1)),
        (ValueError, "^batch must be a positive integer; expected at least 1, got 0", lambda: tlr.TTMatrix.random(SHAPE, 2, random_state=0).plan(0)),
    )  # fmt: skip
