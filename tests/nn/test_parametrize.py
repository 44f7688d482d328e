"""Weights of any torch module in factors by torch's parametrizations."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLinear, factorized
from tests.strategies import refused

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())


def tokens():
    return torch.tensor([[3, 0, 12], [7, 7, 1]])


def images(*sizes):
    return torch.randn(2, 5, *sizes, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


MODULES = {
    "linear": (lambda: nn.Linear(11, 7), "weight", 1, lambda m: m(images(11))),
    "conv1d": (lambda: nn.Conv1d(5, 7, 3), "weight", 1, lambda m: m(images(6))),
    "conv2d": (lambda: nn.Conv2d(5, 7, (2, 3), stride=2), "weight", 1, lambda m: m(images(6, 7))),
    "conv3d": (lambda: nn.Conv3d(5, 7, 2), "weight", 1, lambda m: m(images(3, 4, 3))),
    "transposed": (lambda: nn.ConvTranspose2d(5, 7, 3), "weight", 1, lambda m: m(images(3, 2))),
    "embedding": (lambda: nn.Embedding(13, 7), "weight", 1, lambda m: m(tokens())),
    "bilinear": (lambda: nn.Bilinear(3, 5, 7), "weight", 1, lambda m: m(images(3), images(5))),
    "attention": (lambda: nn.MultiheadAttention(6, 2), "in_proj_weight", 3, lambda m: m(*[images(6)] * 3)[0]),
    "lstm": (lambda: nn.LSTM(11, 7, 2, bidirectional=True), "weight_ih_l1_reverse", 4, lambda m: m(images(11))[0]),
    "gru cell": (lambda: nn.GRUCell(11, 7), "weight_hh", 3, lambda m: m(images(11)[0], images(7)[0])),
}
every_module = pytest.mark.parametrize("kind", MODULES)


def make(kind):
    torch.manual_seed(0)
    module = MODULES[kind][0]().double()
    return module, *MODULES[kind][1:]


def originals(module, name="weight"):
    return list(module.parametrizations[name].parameters())


@every_format
@every_module
def test_full_rank_keeps_what_a_module_computes_and_the_way_back_its_weight(kind, factorization):
    module, name, n_gates, run = make(kind)
    weight, expected = getattr(module, name).detach().clone(), run(module)
    exact = {"n_gates": n_gates, "n_starts": 3, "n_iter_max": 500}
    assert factorized(module, name, factorization=factorization, rank="full", **exact) is module
    tolerance = 1e-10 if factorization in ("tt", "ht") else 1e-5
    assert_close(getattr(module, name), weight, atol=tolerance, rtol=0)
    assert_close(run(module), expected, atol=10 * tolerance, rtol=0)
    assert name not in dict(module.named_parameters(recurse=False)) and len(originals(module, name)) > 1
    before = run(module)
    parametrize.remove_parametrizations(module, name)
    assert isinstance(getattr(module, name), nn.Parameter) and type(module) is type(make(kind)[0])
    assert_close(run(module), before, atol=1e-12, rtol=0)


@every_format
@every_module
def test_gradients_are_those_through_the_dense_weight(kind, factorization):
    module, name, n_gates, run = make(kind)
    factorized(module, name, factorization=factorization, rank=2, n_gates=n_gates, start="random")
    (run(module) * 0.3).sin().sum().backward()
    found = [factor.grad for factor in originals(module, name)]
    parametrization = module.parametrizations[name][0]
    leaves = [factor.detach().clone().requires_grad_() for factor in originals(module, name)]
    dense, *_ = make(kind)
    rebuilt = einsum_of(parametrization, leaves, n_gates)
    assert_close(getattr(module, name), rebuilt, atol=1e-12, rtol=0)
    assert getattr(module, name).is_contiguous()
    with torch.no_grad():
        getattr(dense, name).copy_(rebuilt)
    (run(dense) * 0.3).sin().sum().backward()
    expected = torch.autograd.grad(rebuilt, leaves, getattr(dense, name).grad)
    assert_close(found, list(expected), atol=1e-11, rtol=0)
    assert all(one.abs().max() > 1e-6 for one in found)


def einsum_of(parametrization, factors, n_gates):
    """The weight by one einsum over the index names, gates brought to the front by hand."""
    network, layout = parametrization.network, parametrization.layout
    letters = {index: chr(ord("a") + k) for k, index in enumerate(network.size)}
    words = [
        "".join(letters[index] for index in indices) for indices in (*network.factors, (*network.outputs, *network.inputs))
    ]
    tensor = torch.einsum(f"{','.join(words[:-1])}->{words[-1]}", *factors)
    padded = math.prod(layout.out_modes)
    matrix = tensor.reshape(n_gates * padded, -1)
    if layout.gate_mode == "last":
        matrix = matrix.reshape(padded, n_gates, -1).transpose(0, 1)
    matrix = matrix.reshape(n_gates, padded, -1)[:, : parametrization.shape[0] // n_gates]
    return matrix.flatten(0, 1)[:, : math.prod(parametrization.shape[1:])].reshape(parametrization.shape)


@pytest.mark.parametrize("asked", [{"eps": 0.3}, {"n_param": 60}, {"compression_ratio": 2.0}, {}])
def test_what_is_asked_holds_for_the_true_entries(asked):
    torch.manual_seed(0)
    module = nn.Linear(13, 11).double()
    weight = module.weight.detach().clone()
    # 12 by 15 in place of 11 by 13.
    factorized(module, factorization="tt", out_modes=(3, 4), in_modes=(5, 3), **asked)
    count = sum(one.numel() for one in originals(module))
    error = ((module.weight - weight).norm() / weight.norm()).item()
    assert error < 0.3 if "eps" in asked else 0.1 < error < 1
    assert count <= {"n_param": 60, "compression_ratio": 71}.get(next(iter(asked), ""), 200)
    text = repr(module)
    assert "tt, shape=(11, 13), tensorized_shape=((3, 4), (5, 3))" in text and f"compression_ratio={143 / count:.4g}" in text


@every_format
def test_assigning_decomposes_at_the_same_rank_into_the_same_parameters(factorization):
    torch.manual_seed(0)
    module = factorized(nn.Linear(12, 8).double(), factorization=factorization, n_param=60)
    factors, rank = originals(module), module.parametrizations.weight[0].rank
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.5)
    other = factorized(nn.Linear(12, 8).double(), factorization=factorization, rank=rank, start="random")
    dense = other.weight.detach().clone()
    module.weight = dense
    assert module.parametrizations.weight[0].rank == rank
    assert all(one is before for one, before in zip(originals(module), factors))
    assert_close(module.weight, dense, atol=1e-6, rtol=0)
    before = [one.detach().clone() for one in factors]
    module(torch.ones(2, 12, dtype=torch.float64)).square().sum().backward()
    optimizer.step()
    for one, old in zip(factors, before):
        assert_close(one, old - 0.1 * one.grad, atol=1e-14, rtol=0)
    with pytest.raises(ValueError, match=r"^weight must keep its shape; expected \(8, 12\), got \(12, 8\)"):
        module.weight = dense.T


def test_after_a_random_start_too_an_assigned_weight_is_decomposed():
    torch.manual_seed(0)
    module = factorized(nn.Linear(12, 8).double(), factorization="tt", rank="full", start="random")
    dense = torch.randn(8, 12, dtype=torch.float64)
    module.weight = dense
    assert_close(module.weight, dense, atol=1e-12, rtol=0)


def test_a_buffer_stays_without_gradients():
    module = nn.Linear(12, 8)
    module.register_buffer("table", torch.ones(5, 6))
    factorized(module, "table", factorization="tt", rank=2, start="random")
    held = module.parametrizations.table
    assert not list(held.parameters()) and len(list(held.buffers())) > 1 and not module.table.requires_grad


def test_nothing_is_shared_with_a_weight_that_is_its_own_factor():
    torch.manual_seed(0)
    module = nn.Linear(6, 5)
    dense = torch.randn(5, 6)
    kept = dense.clone()
    factorized(module, factorization="tt", rank=1, out_modes=(5,), in_modes=(6,))
    module.weight = dense
    with torch.no_grad():
        originals(module)[0].zero_()
    assert torch.equal(dense, kept)


def test_cached_rebuilds_once():
    module = factorized(nn.Linear(12, 8), factorization="tt", rank=2)
    with parametrize.cached():
        assert module.weight is module.weight
        module(torch.ones(2, 12)).sum().backward()
    assert module.weight is not module.weight and all(one.grad is not None for one in originals(module))


@every_format
def test_state_dicts_copies_and_functional_calls(factorization):
    torch.manual_seed(0)
    module, other = (factorized(nn.Conv2d(5, 7, 3), factorization=factorization, rank=2, start="random") for _ in range(2))
    x = torch.randn(2, 5, 4, 4)
    twin = copy.deepcopy(module)
    assert_close(twin(x), module(x), atol=0, rtol=0)
    with torch.no_grad():
        originals(twin)[0].zero_()
    assert twin.weight.abs().max() == 0 < module.weight.abs().max()
    assert not torch.equal(other(x), module(x))
    other.load_state_dict(module.state_dict())
    assert_close(other(x), module(x), atol=0, rtol=0)
    assert_close(torch.func.functional_call(twin, module.state_dict(), (x,)), module(x), atol=0, rtol=0)
    wider = factorized(nn.Conv2d(5, 7, 3), factorization=factorization, rank=3, start="random")
    with pytest.raises(
        RuntimeError, match=r"size mismatch for parametrizations.weight.original\d: copying a param with shape torch.Size"
    ):
        wider.load_state_dict(module.state_dict())


def test_a_meta_module_takes_a_state_dict():
    torch.manual_seed(0)
    module = factorized(nn.Linear(12, 8), factorization="ht", rank=2)
    empty = factorized(nn.Linear(12, 8, device="meta"), factorization="ht", rank=2)
    assert all(one.is_meta for one in empty.parameters()) and empty.weight.shape == (8, 12)
    empty.to_empty(device="cpu").load_state_dict(module.state_dict())
    assert_close(empty.weight, module.weight, atol=0, rtol=0)
    with pytest.raises(
        ValueError, match="rank must give the sizes of the factors on the meta device; expected a rank, got eps"
    ):
        factorized(nn.Linear(12, 8, device="meta"), eps=0.1)


@every_format
def test_a_random_start_keeps_the_root_mean_square_and_follows_torchs_seed(factorization):
    def drawn(seed):
        torch.manual_seed(0)
        module = nn.MultiheadAttention(10, 2).double()
        torch.manual_seed(seed)
        rms = module.in_proj_weight.detach().square().mean().sqrt()
        return rms, factorized(
            module, "in_proj_weight", factorization=factorization, rank=2, n_gates=3, start="random"
        ).in_proj_weight

    rms, weight = drawn(1)
    assert_close(weight.square().mean().sqrt(), rms, rtol=1e-6, atol=0)
    assert torch.equal(weight, drawn(1)[1]) and not torch.equal(weight, drawn(2)[1])


def test_frozen_weights_dtypes_and_autocast():
    frozen = factorized(nn.Embedding(13, 7).requires_grad_(False).to(torch.bfloat16), factorization="tt", rank=2)
    assert {(one.dtype, one.requires_grad) for one in originals(frozen)} == {(torch.bfloat16, False)}
    with torch.autocast("cpu", torch.bfloat16):
        module = factorized(nn.LSTM(11, 7), "weight_ih_l0", factorization="tt", rank=2)
        assert module.weight_ih_l0.dtype == torch.float32 and module(torch.ones(3, 2, 11))[0].isfinite().all()
    assert module.double().weight_ih_l0.dtype == torch.float64


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight

    def right_inverse(self, weight):
        return weight / 2


def test_another_parametrization_goes_after_it_and_a_second_weight_beside_it():
    torch.manual_seed(0)
    module = nn.GRU(11, 7).double()
    dense = module.weight_ih_l0.detach().clone()
    for name in ("weight_ih_l0", "weight_hh_l0"):
        factorized(module, name, factorization="tt", rank="full", n_gates=3)
    parametrize.register_parametrization(module, "weight_ih_l0", Doubled())
    assert_close(module.weight_ih_l0, 2 * dense, atol=1e-12, rtol=0)
    module.weight_ih_l0 = dense
    assert_close(module.weight_ih_l0, dense, atol=1e-12, rtol=0)
    assert len(originals(module, "weight_ih_l0")) == len(originals(module, "weight_hh_l0")) == 2
    refused(
        (ValueError, r"^weight_ih_l0 must not be parametrized yet; got \['FactorizedParametrization', 'Doubled'\]", lambda: factorized(module, "weight_ih_l0", rank=1)),
        (ValueError, "weight must not be parametrized yet", lambda: factorized(nn.utils.parametrizations.weight_norm(nn.Linear(5, 3)), rank=1)),
    )  # fmt: skip


def test_torch_compile_in_one_graph():
    torch.manual_seed(0)
    module = factorized(nn.Conv1d(5, 7, 3), factorization="ht", rank=2)
    x = torch.randn(2, 5, 6)
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    results = [torch.autograd.grad(run(x).sin().sum(), list(module.parameters())) for run in (compiled, module)]
    assert_close(*results, atol=1e-5, rtol=1e-5)


def test_a_transformer_runs_in_both_modes():
    torch.manual_seed(0)
    dense = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0).double()
    layer = copy.deepcopy(dense)
    factorized(layer.self_attn, "in_proj_weight", factorization="tt", rank="full", n_gates=3)
    factorized(layer.linear1, factorization="ht", rank="full")
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    for mode in (True, False):
        with torch.no_grad():
            assert_close(layer.train(mode)(x), dense.train(mode)(x), atol=1e-10, rtol=0)


def broken(weight):
    module = nn.Module()
    module.register_buffer("weight", weight)
    return module


WRONG = (
    (TypeError, "module must be a torch.nn.Module; got Tensor", lambda: torch.zeros(3, 4), {}),
    (ValueError, r"name must be .* of Linear with at least two axes; expected one of \['weight'\], got 'kernel'", None, {"name": "kernel"}),
    (ValueError, r"name must be .* got 'bias' of shape \(4,\)", None, {"name": "bias"}),
    (ValueError, r"name must be .* expected one of \[\], got 'weight'", lambda: FactorizedLinear(6, 4), {}),
    (ValueError, "factorization must be known", None, {"factorization": "cp"}),
    (ValueError, r"start must be known; expected one of \('weight', 'random'\), got 'normal'", None, {"start": "normal"}),
    (ValueError, "rank must give the sizes of the factors with start='random'; expected a rank, got n_param", None, {"start": "random", "n_param": 30}),
    (ValueError, "n_gates must divide the rows; expected a divisor of 4, got 3", None, {"n_gates": 3}),
    (ValueError, "n_gates must be a positive integer", None, {"n_gates": 0}),
    (ValueError, "gate_mode must be known", None, {"gate_mode": "stack"}),
    (ValueError, "out_modes must multiply to the size or more; expected a product of at least 4, got 2", None, {"out_modes": (2, 1)}),
    (ValueError, "out_modes and in_modes must pair up", None, {"out_modes": (2, 2), "in_modes": (6,)}),
    (ValueError, "n_param must be the only budget", None, {"rank": 2, "n_param": 30}),
    (ValueError, "n_param=2 must leave room for rank 1", None, {"n_param": 2}),
    (ValueError, "rank must be a positive integer", None, {"rank": 0}),
    (TypeError, "", None, {"speed": "high"}),
    (ValueError, "matrix must be finite", lambda: broken(torch.full((3, 4), math.nan)), {}),
    (TypeError, "matrix must be real floating point", lambda: broken(torch.ones(3, 4, dtype=torch.int64)), {}),
)  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "match", "make", "changes"), WRONG, ids=lambda value: getattr(value, "__name__", str(value))[:40]
)
def test_wrong_arguments_are_errors(kind, match, make, changes):
    module = make() if make else nn.Linear(6, 4)
    before = repr(module)
    with pytest.raises(kind, match=f"^{match}"):
        factorized(module, **{"name": "weight", "factorization": "tt", **changes})
    assert repr(module) == before
