"""Weights rebuilt in evaluation: kept while nothing changes, dropped with every change, never seen elsewhere."""

import copy
import io
import math
import pickle
import threading

import pytest
import torch
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

import tensorly_rnn as tlr
from tensorly_rnn.nn import (
    FactorizedGRU,
    FactorizedLinear,
    FactorizedLSTM,
    FactorizedLSTMCell,
    FactorizedRNN,
    FactorizedRNNCell,
    FactorizedWeight,
)
from tests.strategies import in_pairs

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())
SETTINGS = {"factorization": "ht", "rank": 2, "implementation": "reconstructed", "dtype": torch.float64}
SIZES = {
    FactorizedLinear: ((7, 5), (3, 7)),
    FactorizedLSTM: ((7, 5, 2), (4, 3, 7)),
    FactorizedGRU: ((7, 5), (4, 3, 7)),
    FactorizedRNN: ((7, 5), (4, 3, 7)),
    FactorizedLSTMCell: ((7, 5), (3, 7)),
    FactorizedRNNCell: ((7, 5), (3, 7)),
}


@pytest.fixture
def rebuilt(monkeypatch):
    """Every weight that is multiplied out, in turn."""
    calls = []
    matrix = FactorizedWeight.matrix
    monkeypatch.setattr(FactorizedWeight, "matrix", lambda self, part=0: calls.append(part) or matrix(self, part))
    return calls


def linear(**settings):
    torch.manual_seed(0)
    return FactorizedLinear(7, 5, **{**SETTINGS, **settings}).eval()


def first(result):
    return result if isinstance(result, torch.Tensor) else first(result[0])


def expected(layer, x):
    """By loops of Python over the entries, from the weight as the factors have it now."""
    weight, bias = layer.weight._weight().matrix().tolist(), layer.bias.tolist()
    rows = [[b + sum(w * one for w, one in zip(row, xs)) for row, b in zip(weight, bias)] for xs in x.tolist()]
    return torch.tensor(rows, dtype=x.dtype)


@torch.no_grad()
def test_kept_from_call_to_call(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    for _ in range(3):
        assert_close(layer(x), expected(layer, x), atol=1e-14, rtol=0)
    assert rebuilt == [0]
    layer(x[0])
    with torch.inference_mode():
        layer(x)
    assert rebuilt == [0]
    assert layer.weight.matrix() is not layer.weight.cached_matrix()  # Callers may change `matrix`.


@in_pairs(cls=SIZES, implementation=["factorized", "reconstructed"], decompose=["input", "layerwise", "full"])
def test_every_layer_keeps_and_clears(cls, implementation, decompose, rebuilt):
    sizes, shape = SIZES[cls]
    linear = cls is FactorizedLinear
    settings = {**SETTINGS, "implementation": implementation, **({} if linear else {"decompose": decompose})}
    layer, x = cls(*sizes, **settings), torch.randn(shape, dtype=torch.float64)
    wanted = first(layer(x)).detach()
    layer.eval()
    with torch.no_grad():
        assert_close(first(layer(x)), wanted, atol=1e-14, rtol=0)
        rebuilt.clear()
        assert_close(first(layer(x)), wanted, atol=1e-14, rtol=0)
        # A cell that contracts its input contracts its state as well; a layer rebuilds the recurrent weight.
        assert rebuilt == []
        factor = next(one for name, one in layer.named_parameters() if "factors" in name)
        factor.data.mul_(2)
        layer.clear_cache()
        if implementation == "reconstructed":
            assert not torch.equal(first(layer(x)), wanted)
        fresh = cls(*sizes, **settings)
        fresh.load_state_dict(layer.state_dict())
        assert_close(first(layer(x)), first(fresh(x)), atol=1e-14, rtol=0)


@torch.no_grad()
def optimizer_step(layer, **settings):
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5, **settings)
    for parameter in layer.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


def doubled(layer):
    return {name: 2 * one for name, one in layer.state_dict().items()}


def edit_unseen(layer):
    for factor in layer.weight.factors:
        factor.data.mul_(2)


CHANGES = {
    "in-place step": optimizer_step,
    "foreach step": lambda layer: optimizer_step(layer, foreach=True),
    "fused step, cleared": lambda layer: (optimizer_step(layer, fused=True), layer.clear_cache()),
    "multiplied": lambda layer: layer.weight.factors[2].mul_(3),
    "memory swapped": lambda layer: setattr(layer.weight.factors[0], "data", 2 * layer.weight.factors[0].data),
    "parameter replaced": lambda layer: setattr(layer.weight.factors, "1", torch.nn.Parameter(2 * layer.weight.factors[1])),
    "load_state_dict": lambda layer: layer.load_state_dict(doubled(layer)),
    "load_state_dict, assigned": lambda layer: layer.load_state_dict(doubled(layer), assign=True),
    "load_matrices": lambda layer: layer.weight.load_matrices(torch.randn(5, 7, dtype=torch.float64)),
    "reset_parameters": lambda layer: layer.reset_parameters(),
    "edited, cleared": lambda layer: (edit_unseen(layer), layer.clear_cache()),
    "edited, train and eval": lambda layer: (edit_unseen(layer), layer.train().eval()),
    "edited, eval": lambda layer: (edit_unseen(layer), layer.eval()),
    "edited, _apply": lambda layer: (edit_unseen(layer), layer.to("cpu")),
    "edited, load_state_dict": lambda layer: (
        edit_unseen(layer),
        layer.load_state_dict({"bias": layer.bias + 1}, strict=False),
    ),
    "edited, weight alone": lambda layer: (edit_unseen(layer), layer.weight.train().eval()),
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_every_change_drops_what_is_kept(change, rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    before = layer(x)
    CHANGES[change](layer)
    assert_close(layer(x), expected(layer, x), atol=1e-12, rtol=0)
    assert not torch.allclose(layer(x), before) and len(rebuilt) == 2


@torch.no_grad()
def test_what_torch_does_not_record_is_not_seen():
    # The reason for clear_cache: were it seen, the page on layers would be wrong.
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    before = layer(x)
    edit_unseen(layer)
    assert torch.equal(layer(x), before)
    layer.clear_cache()
    assert not torch.allclose(layer(x), before)


@torch.no_grad()
def test_the_dtype_follows_the_parameters():
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    before = layer(x)
    assert_close(layer.float()(x.float()), before.float(), atol=1e-6, rtol=0)
    assert layer.half().weight.cached_matrix().dtype == torch.float16


def test_nothing_is_kept_in_training_or_with_gradients(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    for _ in range(2):
        layer(x).sum().backward()
    layer.train()
    with torch.no_grad():
        for _ in range(2):
            layer(x)
    assert len(rebuilt) == 4
    assert all(factor.grad.abs().max() > 0 for factor in layer.weight.factors)


def test_inference_tensors_do_not_leak():
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    with torch.inference_mode():
        layer(x)
    with torch.no_grad():
        kept = layer.weight.cached_matrix()
    assert not kept.is_inference() and not kept.requires_grad
    x.requires_grad_()
    layer(x).square().sum().backward()
    assert_close(x.grad, 2 * (layer(x) @ layer.weight.matrix()).detach(), atol=1e-12, rtol=0)
    with torch.inference_mode():
        inside = FactorizedLinear(7, 5, **SETTINGS).eval()
        wanted = inside(x)
        inside.weight.factors[0].mul_(2)
        assert_close(inside(x) - inside.bias, 2 * (wanted - inside.bias), atol=1e-12, rtol=0)


@torch.no_grad()
def test_other_parameters_by_functional_call(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    before = layer(x)
    for made in (lambda one: 2 * one, lambda one: torch.nn.Parameter(2 * one)):
        others = {name: made(one) if "factors" in name else one for name, one in layer.named_parameters()}
        twice = torch.func.functional_call(layer, others, (x,))
        scale = 2 ** len(layer.weight.factors)
        assert_close(twice - layer.bias, scale * (before - layer.bias), atol=1e-12, rtol=0)
        assert torch.equal(layer(x), before)


@pytest.mark.filterwarnings("ignore:`torch.jit.trace:DeprecationWarning", "ignore::torch.jit.TracerWarning")
@torch.no_grad()
def test_transforms_and_modes_take_the_factors_as_they_are(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    wanted = layer(x)
    rebuilt.clear()
    assert_close(torch.vmap(layer)(x), wanted, atol=1e-14, rtol=0)
    with FlopCounterMode(display=False):
        layer(x)
    with torch.autograd.forward_ad.dual_level():
        layer(x)
    torch.jit.trace(layer, x, check_trace=False)
    assert len(rebuilt) >= 4
    exported = torch.export.export(layer, (x,)).module()
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    compiled(x)
    for factor in layer.weight.factors:
        factor.mul_(2)
    # Taken for a constant, the kept matrix would be the old one.
    assert_close(compiled(x), expected(layer, x), atol=1e-12, rtol=0)
    exported.load_state_dict(layer.state_dict())
    assert_close(exported(x), expected(layer, x), atol=1e-12, rtol=0)


@torch.no_grad()
def test_autocast_has_a_matrix_of_its_own(rebuilt):
    layer, x = linear(dtype=torch.float32), torch.randn(3, 7)
    single = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        first_time, again = layer(x), layer(x)
        assert layer.weight._matrix_for(3, 0, False).dtype == torch.bfloat16
        assert layer.weight.cached_matrix().dtype == first_time.dtype == torch.bfloat16
    assert torch.equal(first_time, again) and len(rebuilt) == 2
    assert torch.equal(layer(x), single) and layer.weight.cached_matrix().dtype == torch.float32
    lstm = FactorizedLSTM(
        7, 5, **{**SETTINGS, "dtype": torch.float32, "implementation": "factorized", "decompose": "layerwise"}
    )
    with torch.autocast("cpu", torch.bfloat16):
        wanted = lstm(x)[0]
        assert torch.equal(lstm.eval()(x)[0], wanted) and torch.equal(lstm(x)[0], wanted)


@torch.no_grad()
def test_copies_and_files_hold_factors_only(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    before = layer(x)
    names = [f"weight.factors.{k}" for k in range(len(layer.weight.factors))]
    assert list(layer.state_dict()) == ["bias", *names]
    assert len(pickle.dumps(layer)) == len(pickle.dumps(linear()))
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(buffer, weights_only=False)]
    rebuilt.clear()
    for number, one in enumerate(copies):
        one.weight.factors[0].data.mul_(3)
        assert_close(one(x) - one.bias, 3 * (before - layer.bias), atol=1e-12, rtol=0)
        assert len(rebuilt) == number + 1
    assert torch.equal(layer(x), before)


@torch.no_grad()
def test_parametrized_and_sharded_factors_are_not_kept(rebuilt):
    layer, x = linear(), torch.randn(3, 7, dtype=torch.float64)
    torch.nn.utils.parametrize.register_parametrization(layer.weight.factors, "0", torch.nn.Tanh())
    for _ in range(2):
        assert_close(layer(x), expected(layer, x), atol=1e-14, rtol=0)
    assert len(rebuilt) == 2
    torch.nn.utils.parametrize.remove_parametrizations(layer.weight.factors, "0")
    assert_close(layer(x), expected(layer, x), atol=1e-14, rtol=0)
    layer.weight._is_fsdp_managed_module = True  # As fully_shard says.
    rebuilt.clear()
    for _ in range(2):
        layer(x)
    assert len(rebuilt) == 2


def test_threads_do_not_mix():
    layers, x = [linear(), linear()], torch.randn(3, 7, dtype=torch.float64)
    layers[1].weight._cache = layers[0].weight._cache  # As a shallow copy has it.
    with torch.no_grad():
        for factor in layers[1].weight.factors:
            factor.mul_(2)
    wanted = [expected(layer, x) for layer in layers]
    wrong = []

    def work(number):
        with torch.no_grad():
            for _ in range(300):
                if not torch.allclose(layers[number](x), wanted[number]):
                    wrong.append(number)

    threads = [threading.Thread(target=work, args=(number % 2,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@every_format
def test_auto_knows_what_is_kept(factorization, rebuilt):
    # At these sizes the matrix is worth having, but only once it is there.
    layer = FactorizedLinear(512, 512, factorization=factorization, rank=0.2).eval()
    assert not layer.weight.reconstructs(1)
    with torch.no_grad():
        assert layer.weight.reconstructs(1)
        assert not layer.train().weight.reconstructs(1)
    # Many rows of little rank are multiplied sooner by the factors, whatever is kept.
    with torch.no_grad():
        large = FactorizedLinear(2048, 2048, factorization=factorization, rank=2).eval()
        assert not large.weight.reconstructs(256)
        assert math.prod(large.weight.shape) > 100 * large.weight.n_param


@torch.no_grad()
def test_every_number_of_rows_has_its_choice(monkeypatch, rebuilt):
    layer = linear()
    monkeypatch.setattr(FactorizedWeight, "reconstructs", lambda self, batch, part: batch > 2)
    for rows in (1, 3, 1, 4):
        x = torch.randn(rows, 7, dtype=torch.float64)
        assert_close(layer(x), expected(layer, x), atol=1e-14, rtol=0)
        assert (layer.weight._matrix_for(rows, 0, False) is not None) == (rows > 2)
    assert rebuilt == [0]


def test_auto_runs_a_small_recurrence_in_the_kernel(monkeypatch):
    runs = []
    run_kernel = FactorizedLSTM._run_kernel
    monkeypatch.setattr(FactorizedLSTM, "_run_kernel", lambda self, *args: runs.append(1) or run_kernel(self, *args))
    small, long = FactorizedLSTM(64, 64, rank=2), torch.randn(35, 20, 64)
    small(long)
    assert len(runs) == 1
    papers = {"input_modes": (8, 20, 20, 18), "hidden_modes": (4, 4, 4, 4), "factorization": "tt", "rank": 4}
    with torch.no_grad():
        FactorizedLSTM(57600, 256, **papers).eval()(torch.zeros(2, 16, 57600))
    assert len(runs) == 1
    # The kernels do not support these transforms.
    with torch.no_grad():
        one = small.double().eval()
        assert_close(torch.vmap(lambda x: one(x)[0], 1, 1)(long.double().unsqueeze(2)).squeeze(2), one(long.double())[0])
    assert len(runs) == 2


@torch.no_grad()
def test_a_layer_follows_what_is_done_to_one_of_its_weights(rebuilt):
    x = torch.randn(4, 3, 7, dtype=torch.float64)
    layer = FactorizedLSTM(7, 5, 2, **{**SETTINGS, "decompose": "layerwise"}).eval()
    fresh = FactorizedLSTM(7, 5, 2, **{**SETTINGS, "decompose": "layerwise"})
    before = layer(x)[0]
    weight = layer.weight_hh_l1
    for drop in (weight.clear_cache, weight.eval, lambda: weight.to("cpu")):
        weight.factors[0].data.mul_(2)
        assert torch.equal(layer(x)[0], before)
        drop()
        before = layer(x)[0]
        fresh.load_state_dict(layer.state_dict())
        assert_close(before, fresh(x)[0], atol=1e-12, rtol=0)
    for change in (lambda: layer.weight_ih_l0.factors[1].mul_(2), lambda: layer.bias_hh_l0.mul_(2), layer.reset_parameters):
        change()
        fresh.load_state_dict(layer.state_dict())
        assert_close(layer(x)[0], fresh(x)[0], atol=1e-12, rtol=0)
        assert not torch.allclose(layer(x)[0], before)
    layer.bias_ih_l0 = torch.nn.Parameter(layer.bias_ih_l0 + 1)
    fresh.load_state_dict(layer.state_dict())
    assert_close(layer(x)[0], fresh(x)[0], atol=1e-12, rtol=0)
    rebuilt.clear()
    for steps in range(1, 100):
        layer(x[:1].expand(steps, -1, -1))
    assert rebuilt == [] and len(layer._cache._entry[2]) <= 64
    layer.train()
    assert not layer._cache._entry[2] and not layer.weight_ih_l0._cache._entry[2]


@pytest.mark.parametrize(("factorization", "rank"), [("tt", 32), ("tr", 12)])
def test_the_choice_for_x_leaves_the_columns_of_h_out(factorization, rank):
    # Half of the columns of W are those of h, which are multiplied out in any case.
    options = {"factorization": factorization, "rank": rank, "device": "meta"}
    whole = FactorizedLSTM(512, 512, decompose="full", input_modes=(16, 8, 8), hidden_modes=(8, 8, 8), **options).eval()
    alone = FactorizedLSTM(512, 512, input_modes=(8, 8, 8), hidden_modes=(8, 8, 8), **options).eval()
    with torch.no_grad():
        choices = [[weight.reconstructs(2**k) for k in range(16)] for weight in (whole.weight_l0, alone.weight_ih_l0)]
    assert choices[0] == choices[1] and set(choices[0]) == {False, True}
