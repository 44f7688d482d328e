"""FactorizedLSTM against torch.nn.LSTM."""

import copy
import io
import math
import pickle

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLSTM
from tests.strategies import in_pairs

FORMATS = tlr.available_formats()
DECOMPOSE = ("input", "layerwise", "full")
VARIANTS = {
    "plain": {},
    "stacked both ways": {"num_layers": 2, "bidirectional": True, "batch_first": True},
    "projected": {"num_layers": 2, "proj_size": 3, "bias": False},
}

every_format = pytest.mark.parametrize("factorization", FORMATS)
every_way = pytest.mark.parametrize("decompose", DECOMPOSE)
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def dense_lstm(seed=0, **settings):
    generator = torch.Generator().manual_seed(seed)
    lstm = torch.nn.LSTM(11, 7, dtype=torch.float64, **settings)
    with torch.no_grad():
        for parameter in lstm.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    return lstm


def sequence(lstm, batch=4, steps=5, seed=1):
    generator = torch.Generator().manual_seed(seed)
    directions = lstm.num_layers * (2 if lstm.bidirectional else 1)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    x = draw(batch, steps, 11) if lstm.batch_first else draw(steps, batch, 11)
    return x, (draw(directions, batch, lstm.proj_size or 7), draw(directions, batch, 7))


def loss_of(result):
    output, (h, c) = result
    # Uneven weights, so that no two entries can be exchanged unseen.
    weights = [
        torch.arange(1.0, part.numel() + 1, dtype=part.dtype).reshape(part.shape) / part.numel() for part in (output, h, c)
    ]
    return sum((weight * part).sin().sum() for weight, part in zip(weights, (output, h, c)))


@in_pairs(factorization=FORMATS, decompose=DECOMPOSE, variant=VARIANTS)
def test_full_rank_reproduces_outputs_states_and_gradients(factorization, decompose, variant):
    lstm = dense_lstm(**VARIANTS[variant])
    layer = FactorizedLSTM.from_lstm(lstm, factorization=factorization, rank="full", decompose=decompose)
    found_inputs, wanted_inputs = sequence(lstm), sequence(lstm)
    found, wanted = layer(*found_inputs), lstm(*wanted_inputs)
    assert_close(found, wanted, atol=1e-10, rtol=0)
    loss_of(found).backward()
    loss_of(wanted).backward()
    for one, other in zip((found_inputs[0], *found_inputs[1]), (wanted_inputs[0], *wanted_inputs[1])):
        assert_close(one.grad, other.grad, atol=1e-10, rtol=0)
    dense = dict(lstm.named_parameters())
    for name, parameter in layer.named_parameters():
        if ".factors." not in name:
            assert_close(parameter.grad, dense[name].grad, atol=1e-10, rtol=0)


@every_format
@every_way
def test_gradients_of_the_factors_are_those_through_the_dense_weights(factorization, decompose):
    lstm = dense_lstm()
    layer = FactorizedLSTM.from_lstm(lstm, factorization=factorization, rank="full", decompose=decompose)
    x, hx = sequence(lstm)
    loss_of(layer(x, hx)).backward()
    found = [factor.grad.clone() for name, factor in layer.named_parameters() if ".factors." in name]
    layer.zero_grad()
    if decompose == "full":
        weights = {"weight_ih_l0": layer.weight_l0.matrix(0), "weight_hh_l0": layer.weight_l0.matrix(1)}
    else:
        weights = {"weight_ih_l0": layer.weight_ih_l0.matrix()}
        if decompose == "layerwise":
            weights["weight_hh_l0"] = layer.weight_hh_l0.matrix()
    loss_of(functional_call(lstm, weights, (x, hx))).backward()
    wanted = [factor.grad for name, factor in layer.named_parameters() if ".factors." in name]
    assert_close(found, wanted, atol=1e-10, rtol=0)
    assert all(gradient.abs().max() > 1e-3 for gradient in found)


@in_pairs(factorization=FORMATS, decompose=DECOMPOSE, variant=VARIANTS)
def test_round_trip(factorization, decompose, variant):
    lstm = dense_lstm(**VARIANTS[variant])
    back = FactorizedLSTM.from_lstm(lstm, factorization=factorization, rank="full", decompose=decompose).to_lstm()
    assert repr(back) == repr(lstm)
    for (name, one), (same_name, other) in zip(back.named_parameters(), lstm.named_parameters()):
        assert name == same_name
        assert one.data_ptr() != other.data_ptr()
        assert_close(one, other, atol=1e-12, rtol=0)


@every_format
@every_way
def test_low_rank_layer_equals_the_dense_layer_of_its_weights(factorization, decompose):
    torch.manual_seed(0)
    layer = FactorizedLSTM(
        11, 7, 2, bidirectional=True, factorization=factorization, rank=2, decompose=decompose, dtype=torch.float64
    )
    x, hx = sequence(layer)
    assert_close(layer(x, hx), layer.to_lstm()(x, hx), atol=1e-12, rtol=0)


@in_pairs(factorization=FORMATS, decompose=DECOMPOSE, gate_mode=["first", "last", "stack"])
def test_every_place_of_the_gates_gives_the_same_layer(factorization, decompose, gate_mode):
    lstm = dense_lstm()
    settings = {"factorization": factorization, "rank": "full", "decompose": decompose, "gate_mode": gate_mode}
    if gate_mode not in tlr.get_format(factorization).format.gate_modes:
        with pytest.raises(ValueError, match=r"gate_mode must be known; expected one of \('.*', '.*'\), got 'stack'"):
            FactorizedLSTM.from_lstm(lstm, **settings)
        return
    layer = FactorizedLSTM.from_lstm(lstm, **settings, hidden_modes=(2, 2, 2), input_modes=(3, 3, 3))
    x, hx = sequence(lstm)
    assert_close(layer(x, hx), lstm(x, hx), atol=1e-10, rtol=0)


@every_format
@every_way
def test_unbatched_default_state_and_edges_of_batch(factorization, decompose):
    lstm = dense_lstm(num_layers=2, bidirectional=True)
    layer = FactorizedLSTM.from_lstm(lstm, factorization=factorization, rank="full", decompose=decompose)
    x, (h, c) = sequence(lstm)
    assert_close(layer(x), lstm(x), atol=1e-10, rtol=0)
    assert_close(layer(x[:, 0]), lstm(x[:, 0]), atol=1e-10, rtol=0)
    unbatched = (h[:, 0], c[:, 0])
    assert_close(layer(x[:, 0], unbatched), lstm(x[:, 0], unbatched), atol=1e-10, rtol=0)
    assert_close(layer(x[:, :1]), lstm(x[:, :1]), atol=1e-10, rtol=0)
    assert_close(layer(x[:1]), lstm(x[:1]), atol=1e-10, rtol=0)
    empty, (h_n, _) = layer(x[:, :0])
    assert empty.shape == (5, 0, 14)
    assert h_n.shape == (4, 0, 7)
    strided = torch.randn(5, 4, 22, dtype=torch.float64, generator=torch.Generator().manual_seed(0))[:, ::2, ::2]
    assert_close(layer(strided), lstm(strided), atol=1e-10, rtol=0)


@in_pairs(
    factorization=FORMATS,
    decompose=DECOMPOSE,
    sizes=[(11, 7, None, None), (13, 5, (2, 7, 3), (3, 2, 1)), (16, 4, (4, 4), (2, 2))],
)
def test_reset_gives_exactly_the_standard_deviation_of_torch(factorization, decompose, sizes):
    input_size, hidden_size, input_modes, hidden_modes = sizes
    if input_modes == (4, 4) and decompose == "full":
        input_modes = (5, 4)
    torch.manual_seed(3)
    layer = FactorizedLSTM(
        input_size,
        hidden_size,
        factorization=factorization,
        rank=2,
        decompose=decompose,
        input_modes=input_modes,
        hidden_modes=hidden_modes,
        dtype=torch.float64,
    )
    dense = layer.to_lstm()
    std = 1 / math.sqrt(3 * hidden_size)
    if decompose == "full":
        weights = [torch.cat([dense.weight_ih_l0, dense.weight_hh_l0], dim=1)]
    else:
        weights = [dense.weight_ih_l0, dense.weight_hh_l0][: 2 if decompose == "layerwise" else 1]
    for weight in weights:
        assert weight.square().mean().sqrt().item() == pytest.approx(std, rel=1e-6)
    bound = 1 / math.sqrt(hidden_size)
    others = torch.cat([p.flatten() for name, p in layer.named_parameters() if ".factors." not in name])
    assert others.abs().max() <= bound
    assert others.std().item() == pytest.approx(std, rel=0.35)


def test_reset_follows_torchs_seed():
    def start(seed):
        torch.manual_seed(seed)
        return [p.clone() for p in FactorizedLSTM(11, 7, factorization="ht", rank=2).parameters()]

    assert_close(start(0), start(0), atol=0, rtol=0)
    assert not torch.equal(start(0)[0], start(1)[0])


@pytest.mark.parametrize("decompose", DECOMPOSE)
@every_format
def test_ways_of_computing_agree(factorization, decompose):
    lstm = dense_lstm()
    x, hx = sequence(lstm)
    results = []
    for implementation in ("factorized", "reconstructed", "auto"):
        layer = FactorizedLSTM.from_lstm(
            lstm, factorization=factorization, rank=2, decompose=decompose, implementation=implementation
        )
        results.append(layer(x, hx))
    assert_close(results[0], results[1], atol=1e-12, rtol=0)
    assert_close(results[0], results[2], atol=1e-12, rtol=0)


@every_way
def test_input_of_all_steps_is_projected_in_one_call(decompose):
    layer = FactorizedLSTM(11, 7, 2, factorization="tt", rank=2, decompose=decompose, implementation="factorized")
    calls = []
    for name, module in layer.named_children():
        module.register_forward_hook(lambda module, args, result, name=name: calls.append((name, tuple(args[0].shape))))
    layer(torch.zeros(9, 4, 11))
    middle = "" if decompose == "full" else "_ih"
    assert calls == [(f"weight{middle}_l0", (9, 4, 11)), (f"weight{middle}_l1", (9, 4, 7))]


@every_format
@every_way
def test_gradcheck(factorization, decompose):
    torch.manual_seed(0)
    settings = {"factorization": factorization, "rank": 2, "decompose": decompose, "dtype": torch.float64}
    layer = FactorizedLSTM(5, 3, **settings)
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *parameters):
        output, state = functional_call(layer, dict(zip(names, parameters)), (x,))
        return output, *state

    x = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(run, (x, *layer.parameters()), fast_mode=True)


@every_format
@every_way
def test_state_dict_pickle_and_copies(factorization, decompose):
    torch.manual_seed(0)
    settings = {"factorization": factorization, "rank": 2, "decompose": decompose, "num_layers": 2}
    layer, other = FactorizedLSTM(11, 7, **settings), FactorizedLSTM(11, 7, **settings)
    x = torch.randn(5, 4, 11)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(same(x), layer(x), atol=0, rtol=0)
    wider = FactorizedLSTM(11, 7, **{**settings, "rank": 3})
    with pytest.raises(RuntimeError, match="size mismatch for weight"):
        wider.load_state_dict(layer.state_dict())


@every_format
def test_full_weight_has_x_first_h_last_and_zeros_between(factorization):
    from tensorly.backend import BackendManager

    from tensorly_rnn.network.operations import to_matrix

    lstm = dense_lstm()
    settings = {"input_modes": (5, 5), "hidden_modes": (7, 1), "gate_mode": "first"}
    layer = FactorizedLSTM.from_lstm(lstm, factorization=factorization, rank="full", decompose="full", **settings)
    weight = layer.weight_l0
    dense = to_matrix(BackendManager.load_backend("pytorch"), weight.network, list(weight.factors))
    assert_close(dense[:, :11], lstm.weight_ih_l0.data, atol=1e-12, rtol=0)
    assert_close(dense[:, 18:], lstm.weight_hh_l0.data, atol=1e-12, rtol=0)
    assert dense[:, 11:18].abs().max() < 1e-12


def test_names_are_torchs():
    settings = {"num_layers": 2, "bidirectional": True, "proj_size": 3}
    dense = {name for name, _ in torch.nn.LSTM(11, 7, **settings).named_parameters()}
    layer = FactorizedLSTM(11, 7, factorization="tt", rank=2, **settings)
    assert {name.split(".factors.")[0] for name, _ in layer.named_parameters()} == dense
    full = FactorizedLSTM(11, 7, factorization="tt", rank=2, decompose="full")
    assert {name.split(".factors.")[0] for name, _ in full.named_parameters()} == {"weight_l0", "bias_ih_l0", "bias_hh_l0"}


def test_training_while_the_global_backend_is_numpy():
    import tensorly

    assert tensorly.get_backend() == "numpy"
    torch.manual_seed(0)
    layer = FactorizedLSTM(12, 8, factorization="bt", rank=(2, 2), decompose="full")
    x, target = torch.randn(6, 16, 12), torch.randn(16, 8).tanh()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
    losses = []
    for _ in range(150):
        loss = (layer(x)[0][-1] - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_dropout_acts_between_layers_in_training_only():
    torch.manual_seed(0)
    layer = FactorizedLSTM(11, 7, 2, dropout=0.5, factorization="tt", rank=2)
    x = torch.randn(5, 4, 11)
    layer.eval()
    assert_close(layer(x), layer(x), atol=0, rtol=0)
    assert_close(layer(x), layer.to_lstm()(x), atol=1e-6, rtol=1e-5)
    layer.train()
    assert not torch.equal(layer(x)[0], layer(x)[0])
    everything = FactorizedLSTM(11, 7, 2, dropout=1.0, factorization="tt", rank=2)
    everything.bias_ih_l1.data.zero_()
    everything.bias_hh_l1.data.zero_()
    assert (everything(x)[0] == 0).all()
    with pytest.warns(UserWarning, match=r"dropout=0.5 and num_layers=1 it has no effect"):
        FactorizedLSTM(11, 7, dropout=0.5)


def test_dtype_device_and_half_precision():
    layer = FactorizedLSTM(11, 7, factorization="ht", rank=2, dtype=torch.float64)
    assert {p.dtype for p in layer.parameters()} == {torch.float64}
    assert layer.float()(torch.zeros(2, 3, 11))[0].dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        output, _ = layer(torch.randn(2, 3, 11))
    assert output.isfinite().all()
    on_meta = FactorizedLSTM(11, 7, factorization="ht", rank=2, device="meta")
    assert all(p.is_meta for p in on_meta.parameters())
    half = FactorizedLSTM.from_lstm(torch.nn.LSTM(11, 7, dtype=torch.bfloat16), factorization="ht", rank="full")
    assert {p.dtype for p in half.parameters()} == {torch.bfloat16}


def test_conversion_keeps_settings_and_leaves_the_source_alone():
    lstm = dense_lstm(num_layers=2, bidirectional=True, batch_first=True, dropout=0.25).eval()
    before = {name: value.clone() for name, value in lstm.state_dict().items()}
    layer = FactorizedLSTM.from_lstm(lstm, factorization="tr", rank=3)
    assert (layer.num_layers, layer.bidirectional, layer.batch_first, layer.dropout) == (2, True, True, 0.25)
    assert not layer.training
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)
    for name, value in lstm.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(parameter.grad_fn for parameter in layer.parameters())


def test_repr_shows_what_differs_from_torchs_defaults_and_the_compression():
    text = repr(FactorizedLSTM(57600, 256, batch_first=True, factorization="tt", rank=4, device="meta"))
    assert "57600, 256, batch_first=True, factorization='tt', decompose='input'" in text
    assert "tt, shape=(1024, 57600)" in text and "rank=(1, 4, 4, 4, 4, 1)" in text and "compression_ratio=" in text


def test_defaults_fit_any_size():
    for input_size, hidden_size in ((1, 1), (2, 1), (1, 9), (97, 13), (1009, 101)):
        for decompose in DECOMPOSE:
            layer = FactorizedLSTM(input_size, hidden_size, factorization="tt", rank=1, decompose=decompose)
            assert layer(torch.zeros(2, 3, input_size))[0].shape == (2, 3, hidden_size)


BAD_SETTINGS = [
    (dict(factorization="cp"), ValueError, r"^factorization must be known; expected one of \('bt', 'ht', 'tr', 'tt'\), got 'cp'"),
    (dict(decompose="hidden"), ValueError, r"decompose must be known; expected one of \('input', 'layerwise', 'full'\), got 'hidden'"),
    (dict(factorisation="tt"), TypeError, r"^factorisation must be an argument; expected one of \('factorization', .*\), got factorisation='tt'\."),
    (dict(implementation="fast"), ValueError, "implementation must be known"),
    (dict(input_modes=(2, 5), hidden_modes=(7, 1)), ValueError, "^input_modes must multiply to the size or more; expected a product of at least 11, got 10"),
    (dict(input_modes=(11, 1), hidden_modes=(3, 2)), ValueError, "hidden_modes must multiply to the size or more; expected a product of at least 7, got 6"),
    (dict(input_modes=(4, 4), hidden_modes=(7, 1), decompose="full"), ValueError, "input_modes must multiply .* at least 18, got 16"),
    (dict(input_modes=(11,), hidden_modes=(7, 1)), ValueError, "hidden_modes and input_modes must pair up; .*separate_modes"),
    (dict(input_modes=(11, 0)), ValueError, r"input_modes\[1\] must be a positive integer; expected at least 1, got 0"),
    (dict(input_modes=11), TypeError, "input_modes must be a sequence of positive integers"),
    (dict(rank=0), ValueError, "rank must be a positive integer"),
    (dict(num_layers=0), ValueError, "num_layers must be a positive integer"),
    (dict(dropout=1.5), ValueError, r"dropout must be a probability; expected a number in \[0, 1\], got 1.5"),
    (dict(proj_size=7), ValueError, "proj_size must be smaller than hidden_size; expected less than 7, got 7"),
    (dict(proj_size=-1), ValueError, "proj_size must be a positive integer"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "error", "message"), BAD_SETTINGS, ids=lambda value: str(value)[:40])
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        FactorizedLSTM(11, 7, **settings)


def test_bad_inputs_are_refused():
    layer = FactorizedLSTM(11, 7, factorization="tt", rank=2)
    x = torch.zeros(5, 4, 11)
    with pytest.raises(ValueError, match=r"input must have input_size features; expected 11, got 10 in shape \(5, 4, 10\)"):
        layer(x[..., 1:])
    with pytest.raises(ValueError, match="input must have 2 or 3 axes"):
        layer(x[0, 0])
    with pytest.raises(ValueError, match="input must have at least one time step"):
        layer(x[:0])
    with pytest.raises(TypeError, match=r"input dtype torch.float64 does not match weight dtype torch.float32. Convert input"):
        layer(x.double())
    with pytest.raises(TypeError, match="input must be a tensor; got ndarray"):
        layer(x.numpy())
    with pytest.raises(ValueError, match=r"h_0 must fit the input; expected shape \(1, 4, 7\), got \(1, 3, 7\)"):
        layer(x, (torch.zeros(1, 3, 7), torch.zeros(1, 4, 7)))
    with pytest.raises(ValueError, match=r"c_0 must fit the input; expected shape \(1, 7\), got \(1, 8\)"):
        layer(x[:, 0], (torch.zeros(1, 7), torch.zeros(1, 8)))
    with pytest.raises(TypeError, match=r"hx must be a pair of tensors \(h_0, c_0\); got Tensor"):
        layer(x, torch.zeros(1, 4, 7))
    with pytest.raises(TypeError, match="c_0 dtype torch.float64 does not match weight dtype torch.float32"):
        layer(x, (torch.zeros(1, 4, 7), torch.zeros(1, 4, 7, dtype=torch.float64)))
    with pytest.raises(TypeError, match="^lstm must be a torch.nn.LSTM; got GRU"):
        FactorizedLSTM.from_lstm(torch.nn.GRU(11, 7))
    broken = torch.nn.LSTM(11, 7)
    broken.weight_ih_l0.data[0, 0] = float("nan")
    with pytest.raises(ValueError, match="matrix must be finite"):
        FactorizedLSTM.from_lstm(broken, rank=2)
