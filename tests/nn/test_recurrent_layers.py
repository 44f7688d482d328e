"""FactorizedRNN, FactorizedGRU and FactorizedLSTM against torch's, in every cell, direction, way of computing and packing."""

import copy
import io
import itertools
import math
import pickle
import re
import warnings

import pytest
import torch
from tensorly.backend import BackendManager
from torch.func import functional_call
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.network.operations import to_matrix
from tensorly_rnn.nn import FactorizedGRU, FactorizedLSTM, FactorizedLSTMCell, FactorizedRNN
from tests.strategies import in_pairs, refused, slow_but_one

FORMATS = tlr.available_formats()
DECOMPOSE = ("input", "layerwise", "full")
# Our class, torch's, the way there and back, and torch's settings.
CELLS = {
    "tanh": (FactorizedRNN, torch.nn.RNN, "rnn", {}),
    "relu": (FactorizedRNN, torch.nn.RNN, "rnn", {"nonlinearity": "relu"}),
    "gru": (FactorizedGRU, torch.nn.GRU, "gru", {}),
    "lstm": (FactorizedLSTM, torch.nn.LSTM, "lstm", {}),
    "projected": (FactorizedLSTM, torch.nn.LSTM, "lstm", {"proj_size": 3}),
}
PLACES = [(name, mode) for name in FORMATS for mode in tlr.get_format(name).format.gate_modes]
LENGTHS = {"padded": None, "sorted": (5, 3, 3, 1), "unsorted": (2, 5, 1, 4), "equal": (5, 5, 5, 5)}
SHAPES = {
    "plain": {},
    "deep both ways": {"num_layers": 2, "bidirectional": True},
    "no bias, batch first": {"num_layers": 2, "bias": False, "batch_first": True},
}

every_cell = pytest.mark.parametrize("cell", CELLS)
every_format = pytest.mark.parametrize("factorization", FORMATS)
every_way = pytest.mark.parametrize("decompose", DECOMPOSE)
both_implementations = pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])


def dense_module(cell, **settings):
    generator = torch.Generator().manual_seed(0)
    _, theirs, _, own = CELLS[cell]
    module = theirs(11, 7, dtype=torch.float64, **own, **settings)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3)
    return module


def made(cell, *layers, **options):
    torch.manual_seed(3)
    ours, _, _, own = CELLS[cell]
    return ours(11, 7, *layers, **{"dtype": torch.float64, **own, **options})


def from_dense(cell, module, **options):
    ours, _, name, _ = CELLS[cell]
    return getattr(ours, f"from_{name}")(module, **options)


def inputs(module, packing="padded", batch=4, steps=5):
    generator = torch.Generator().manual_seed(1)

    def draw(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    x = draw(batch, steps, 11) if module.batch_first else draw(steps, batch, 11)
    count = module.num_layers * (2 if module.bidirectional else 1)
    sizes = (module.proj_size or 7, 7) if "LSTM" in type(module).__name__ else (7,)
    state = tuple(draw(count, batch, size) for size in sizes)
    lengths = LENGTHS[packing]
    fed = x
    if lengths:
        fed = pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=module.batch_first, enforce_sorted=packing == "sorted"
        )
    return fed, state if len(state) > 1 else state[0], (x, *state)


def tensors(result):
    output, state = result
    return [output.data if isinstance(output, PackedSequence) else output, *(state if isinstance(state, tuple) else (state,))]


def loss_of(result):
    # Uneven weights, so that no two entries can be exchanged unseen.
    return sum(
        (part * torch.linspace(0.3, 1.7, part.numel(), dtype=part.dtype).reshape(part.shape)).sin().sum()
        for part in tensors(result)
    )


def compare(layer, module, packing):
    found_x, found_hx, found_leaves = inputs(module, packing)
    wanted_x, wanted_hx, wanted_leaves = inputs(module, packing)
    found, wanted = layer(found_x, found_hx), module(wanted_x, wanted_hx)
    if packing != "padded":
        for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
            one, other = getattr(found[0], name), getattr(wanted[0], name)
            assert (one is None) == (other is None)
            assert one is None or torch.equal(one, other)
    assert type(found[1]) is type(wanted[1])
    assert_close(tensors(found), tensors(wanted), atol=1e-10, rtol=0)
    loss_of(found).backward()
    loss_of(wanted).backward()
    assert_close([leaf.grad for leaf in found_leaves], [leaf.grad for leaf in wanted_leaves], atol=1e-10, rtol=0)
    dense = dict(module.named_parameters())
    for name, parameter in layer.named_parameters():
        if ".factors." not in name:
            assert_close(parameter.grad, dense[name].grad, atol=1e-10, rtol=0)


@in_pairs(
    cell=CELLS,
    factorization=FORMATS,
    implementation=["factorized", "reconstructed"],
    packing=LENGTHS,
    shape=SHAPES,
    decompose=DECOMPOSE,
)
def test_full_rank_reproduces_outputs_states_and_gradients(cell, factorization, implementation, packing, shape, decompose):
    module = dense_module(cell, **SHAPES[shape])
    options = {"factorization": factorization, "rank": "full", "decompose": decompose}
    layer = from_dense(cell, module, **options, implementation=implementation)
    compare(layer, module, packing)
    x, hx, _ = inputs(module)
    axis = 0 if module.batch_first else 1
    one_state = tuple(part[:, 0] for part in hx) if isinstance(hx, tuple) else hx[:, 0]
    for case in ((x,), (x.select(axis, 0),), (x.select(axis, 0), one_state), (x.narrow(axis, 0, 1),), (x.narrow(axis, 0, 0),)):
        assert_close(layer(*case), module(*case), atol=1e-10, rtol=0)
    packed, _, _ = inputs(module, "sorted")
    assert_close(tensors(layer(packed)), tensors(module(packed)), atol=1e-10, rtol=0)


@in_pairs(cell=CELLS, factorization=FORMATS, decompose=DECOMPOSE, implementation=["factorized", "reconstructed"])
def test_gradients_of_the_factors_are_those_through_the_dense_weights(cell, factorization, decompose, implementation):
    module = dense_module(cell)
    options = {"factorization": factorization, "rank": "full", "decompose": decompose, "implementation": implementation}
    layer = from_dense(cell, module, **options)
    x, hx, _ = inputs(module, "unsorted")
    loss_of(layer(x, hx)).backward()
    factors = [parameter for name, parameter in layer.named_parameters() if ".factors." in name]
    found = [factor.grad.clone() for factor in factors]
    layer.zero_grad()
    if decompose == "full":
        weights = {"weight_ih_l0": layer.weight_l0.matrix(0), "weight_hh_l0": layer.weight_l0.matrix(1)}
    else:
        weights = {"weight_ih_l0": layer.weight_ih_l0.matrix()}
        if decompose == "layerwise":
            weights["weight_hh_l0"] = layer.weight_hh_l0.matrix()
    x, hx, _ = inputs(module, "unsorted")
    loss_of(functional_call(module, weights, (x, hx))).backward()
    assert_close(found, [factor.grad for factor in factors], atol=1e-10, rtol=0)
    assert all(gradient.abs().max() > 1e-3 for gradient in found)


def as_function(layer):
    """A function of input, states and parameters over a packed sequence, and what to call it with."""
    names = [name for name, _ in layer.named_parameters()]
    sizes = (layer.state_size, layer.hidden_size)[: len(layer.cell.states)]
    leaves = [(3, 2, layer.input_size), *((2, 2, size) for size in sizes)]
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in leaves]

    def run(x, *others):
        packed = pack_padded_sequence(x, torch.tensor([1, 3]), enforce_sorted=False)
        hx, parameters = others[: len(sizes)], others[len(sizes) :]
        return tuple(tensors(functional_call(layer, dict(zip(names, parameters)), (packed, hx if len(hx) > 1 else hx[0]))))

    return run, (*leaves, *layer.parameters())


@both_implementations
@every_cell
def test_gradients_of_gradients(cell, implementation):
    torch.manual_seed(0)
    ours, _, _, own = CELLS[cell]
    proj = {"proj_size": 2} if "proj_size" in own else own
    options = {"factorization": "bt", "rank": (2, 1), "decompose": "full", "implementation": implementation}
    run, arguments = as_function(ours(4, 3, bidirectional=True, **proj, **options, dtype=torch.float64))
    assert torch.autograd.gradgradcheck(run, arguments, fast_mode=True)


@both_implementations
@every_cell
def test_strided_inputs_and_states_and_a_single_sequence(cell, implementation):
    module = dense_module(cell, num_layers=2, bidirectional=True, batch_first=True)
    layer = from_dense(cell, module, factorization="ht", rank="full", decompose="layerwise", implementation=implementation)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(8, 5, 22, dtype=torch.float64, generator=generator)[::2, :, ::2]
    sizes = (module.proj_size or 7, 7)[: len(layer.cell.states)]
    state = [torch.randn(4, 4, 2 * size, dtype=torch.float64, generator=generator).transpose(0, 1)[..., ::2] for size in sizes]
    assert not any(part.is_contiguous() for part in (x, *state))
    hx = state if len(state) > 1 else state[0]
    assert_close(layer(x, hx), module(x, hx), atol=1e-10, rtol=0)
    one = tuple(part[:, :1] for part in state)
    for fed in (pack_sequence([x[0]]), pack_sequence([x[0, :1]])):
        found, wanted = (run(fed, one if len(one) > 1 else one[0]) for run in (layer, module))
        assert_close(tensors(found), tensors(wanted), atol=1e-10, rtol=0)


@in_pairs(cell=CELLS, shape=SHAPES, decompose=DECOMPOSE, factorization=FORMATS)
def test_round_trip(cell, shape, decompose, factorization):
    module = dense_module(cell, **SHAPES[shape]).eval()
    before, state = {name: value.clone() for name, value in module.state_dict().items()}, torch.get_rng_state()
    layer = from_dense(cell, module, factorization=factorization, rank="full", decompose=decompose)
    back = getattr(layer, f"to_{CELLS[cell][2]}")()
    assert repr(back) == repr(module)
    assert not back.training and not layer.training
    assert torch.equal(torch.get_rng_state(), state)
    for (name, one), (same_name, other) in zip(back.named_parameters(), module.named_parameters()):
        assert name == same_name and one.data_ptr() != other.data_ptr()
        assert_close(one, other, atol=1e-12, rtol=0)
    names = {re.sub("_ih|_hh", "", name) if decompose == "full" and "weight" in name else name for name in before}
    assert {name.split(".factors.")[0] for name, _ in layer.named_parameters()} == names
    assert all(parameter.is_leaf for parameter in layer.parameters())
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(1.0)
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name])


@in_pairs(cell=CELLS, factorization=FORMATS, decompose=DECOMPOSE, implementation=["factorized", "reconstructed", "auto"])
def test_a_layer_of_low_rank_is_the_dense_layer_of_its_weights(cell, factorization, decompose, implementation):
    options = {"factorization": factorization, "rank": 2, "decompose": decompose, "implementation": implementation}
    layer = made(cell, 2, bidirectional=True, **options)
    x, hx, _ = inputs(layer)
    assert_close(layer(x, hx), getattr(layer, f"to_{CELLS[cell][2]}")()(x, hx), atol=1e-12, rtol=0)


@in_pairs(cell=CELLS, place=PLACES, decompose=DECOMPOSE)
def test_every_place_of_the_gates_gives_the_same_layer(cell, place, decompose):
    factorization, gate_mode = place
    options = {"factorization": factorization, "decompose": decompose, "gate_mode": gate_mode, "rank": "full"}
    module = dense_module(cell)
    layer = from_dense(cell, module, **options, hidden_modes=(2, 2, 2), input_modes=(3, 3, 3))
    x, hx, _ = inputs(module)
    assert_close(layer(x, hx), module(x, hx), atol=1e-10, rtol=0)


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
def test_full_weight_has_x_first_h_last_and_zeros_between(factorization):
    module, modes = dense_module("lstm"), {"input_modes": (5, 5), "hidden_modes": (7, 1), "gate_mode": "first"}
    weight = from_dense("lstm", module, factorization=factorization, rank="full", decompose="full", **modes).weight_l0
    dense = to_matrix(BackendManager.load_backend("pytorch"), weight.network, list(weight.factors))
    zeros = torch.zeros(28, 7, dtype=torch.float64)
    assert_close(dense, torch.cat([module.weight_ih_l0.data, zeros, module.weight_hh_l0.data], 1), atol=1e-12, rtol=0)


@both_implementations
def test_settings_of_each_layer(implementation):
    settings = {"input_modes": {0: (4, 3), 1: (2, 7)}, "hidden_modes": {1: (7, 1)}, "rank": {0: 2, 1: (1, 3, 1)}}
    layer = FactorizedGRU(11, 7, 2, bidirectional=True, factorization="tt", **settings, implementation=implementation)
    assert layer.weight_ih_l0.in_modes == layer.weight_ih_l0_reverse.in_modes == (4, 3)
    assert (layer.weight_ih_l1.in_modes, layer.weight_ih_l1_reverse.out_modes) == ((2, 7), (7, 1))
    assert (layer.weight_ih_l0.rank, layer.weight_ih_l1_reverse.rank) == ((1, 2, 1), (1, 3, 1))
    x = torch.randn(5, 4, 11)
    assert_close(layer(x), layer.to_gru()(x), atol=1e-6, rtol=1e-5)
    ranks = {0: "full", 1: 1}
    found = FactorizedGRU.from_gru(layer.to_gru(), factorization="tt", rank=ranks, input_modes=(4, 3))
    assert_close(found.weight_ih_l0.matrix(), layer.weight_ih_l0.matrix(), atol=1e-6, rtol=1e-5)
    assert found.weight_ih_l1.rank == (1, 1, 1)
    one = FactorizedGRU(11, 7, 2, factorization="tt", input_modes=(4, 3))
    assert (one.weight_ih_l0.in_modes, one.weight_ih_l1.in_modes) == ((4, 3), one.weight_ih_l1.layout.in_modes)


@every_way
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_conversion_asks_for_an_error_or_a_number_of_parameters(cell, decompose):
    module = dense_module(cell)
    layer = from_dense(cell, module, factorization="ht", decompose=decompose, eps=0.4)
    pairs = [(layer.weight_l0, 0), (layer.weight_l0, 1)] if decompose == "full" else [(layer.weight_ih_l0, 0)]
    wanted = [module.weight_ih_l0, module.weight_hh_l0]
    error = sum((weight.matrix(part) - dense).square().sum() for (weight, part), dense in zip(pairs, wanted))
    norm = sum(dense.square().sum() for _, dense in zip(pairs, wanted))
    assert 0.05 < (error / norm).sqrt() <= 0.4 + 1e-9
    assert from_dense(cell, module, factorization="tt", decompose=decompose, n_param=150).compression_ratio > 1
    weights = [w for w in from_dense(cell, module, factorization="tt", decompose=decompose, n_param=150).children()]
    assert all(weight.n_param <= 150 for weight in weights)


def test_a_compression_ratio_is_of_the_true_entries_where_modes_are_padded():
    modes = {"input_modes": (4, 4), "hidden_modes": (3, 3)}
    weight = from_dense("gru", dense_module("gru"), factorization="tt", compression_ratio=2, **modes).weight_ih_l0
    assert weight.n_param <= 3 * 7 * 11 / 2 and weight.compression_ratio >= 2
    with pytest.raises(ValueError, match="compression_ratio must be a positive number; got 'two'"):
        from_dense("gru", dense_module("gru"), factorization="tt", compression_ratio="two", **modes)


@in_pairs(cell=CELLS, decompose=DECOMPOSE, factorization=FORMATS, padded=[False, True])
def test_every_weight_starts_with_exactly_the_standard_deviation_of_torch(cell, decompose, factorization, padded):
    rank = {"bt": (2, 3), "ht": (2, 3)}.get(factorization, 5)
    modes = {"input_modes": {0: (3, 7, 1), 1: (5, 7, 1)}, "hidden_modes": (3, 2, 2)} if padded else {}
    options = {"factorization": factorization, "decompose": decompose, "rank": rank, "bidirectional": True, **modes}
    layer = made(cell, 2, **options)
    assert_close([*layer.parameters()], [*made(cell, 2, **options).parameters()], atol=0, rtol=0)
    weights = [module for module in layer.children()]
    assert len(weights) == (8 if decompose == "layerwise" else 4)
    for weight in weights:
        parts = torch.cat([weight.matrix(part) for part in range(len(weight.widths))], dim=1)
        assert parts.square().mean().sqrt().item() == pytest.approx(1 / math.sqrt(3 * 7), rel=1e-6)
    others = torch.cat([parameter.flatten() for parameter in layer.parameters(recurse=False)])
    assert others.abs().max() <= 1 / math.sqrt(7)
    assert others.std().item() == pytest.approx(1 / math.sqrt(3 * 7), rel=0.15)


def test_forget_bias_and_reset():
    torch.manual_seed(0)
    layer = FactorizedLSTM(11, 7, 2, bidirectional=True, factorization="tt", rank=2, forget_bias=1.5)

    def biases():
        return [
            (getattr(layer, f"bias_ih{suffix}"), getattr(layer, f"bias_hh{suffix}"))
            for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse")
        ]

    start = [one.clone() for pair in biases() for one in pair]
    layer.reset_parameters()
    for of_x, of_h in biases():
        assert_close((of_x + of_h)[7:14], torch.full((7,), 1.5), atol=0, rtol=0)
        assert (of_x[:7].abs() <= 1 / math.sqrt(7)).all() and (of_x[14:] != 1.5).all()
    assert not torch.equal(start[0], layer.bias_ih_l0)
    torch.manual_seed(0)
    plain = FactorizedLSTM(11, 7, factorization="tt", rank=2)
    assert (plain.bias_ih_l0.abs() <= 1 / math.sqrt(7)).all() and plain.forget_bias is None
    with pytest.raises(ValueError, match="forget_bias must be None with bias=False; expected None, got 1.0"):
        FactorizedLSTM(11, 7, bias=False, forget_bias=1.0)
    with pytest.raises(ValueError, match="forget_bias must be a number; expected a finite number or None, got 'one'"):
        FactorizedLSTM(11, 7, forget_bias="one")


@in_pairs(cell=CELLS, packing=("padded", "unsorted", "sorted"), implementation=["factorized", "reconstructed"], p=[0.4, 1.0])
def test_dropout_draws_what_torch_draws(cell, packing, implementation, p):
    shape = {"bidirectional": True, "bias": False} if packing == "sorted" else {}
    module = dense_module(cell, num_layers=3, dropout=p, batch_first=packing == "sorted", **shape)
    layer = from_dense(cell, module, factorization="tt", rank="full", implementation=implementation)
    assert layer.dropout == p
    x, hx, _ = inputs(module, packing)
    results = []
    for one in (layer, module):
        torch.manual_seed(5)
        results.append(tensors(one(x, hx)))
    assert_close(*results, atol=1e-10, rtol=0)
    assert_close(tensors(layer.eval()(x, hx)), tensors(module.eval()(x, hx)), atol=1e-10, rtol=0)


def test_dropout_warns_as_torch_where_the_layer_is_made():
    for make in (FactorizedRNN, FactorizedGRU, FactorizedLSTM):
        with pytest.warns(UserWarning, match="dropout=0.5 and num_layers=1 it has no effect") as caught:
            make(11, 7, dropout=0.5)
        assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = torch.nn.LSTM(11, 7, dropout=0.5)
    # The user was told when making the dense one.
    assert FactorizedLSTM.from_lstm(module, rank=1).to_lstm().dropout == 0.5


@every_cell
@both_implementations
def test_single_precision_and_autocast_give_torchs_dtypes(cell, implementation):
    _, _, _, own = CELLS[cell]
    if own.get("proj_size"):
        return  # oneDNN has no projections and says so in a warning
    module = dense_module(cell, num_layers=2, bidirectional=True).float()
    options = {"factorization": "tr", "rank": "full", "decompose": "full", "gate_mode": "last"}
    layer = from_dense(cell, module, **options, implementation=implementation)
    x, hx, _ = inputs(module)
    x, hx = x.float(), tuple(part.float() for part in hx) if isinstance(hx, tuple) else hx.float()
    assert_close(layer(x, hx), module(x, hx), atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", torch.bfloat16):
        found, wanted = tensors(layer(x)), tensors(module(x))
    assert [part.dtype for part in found] == [part.dtype for part in wanted]
    assert_close(found, wanted, atol=0.05, rtol=0.05)


def test_dtypes_and_the_meta_device():
    layer = made("lstm", factorization="ht", rank=2)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float64}
    assert layer.float()(torch.zeros(2, 3, 11))[0].dtype == torch.float32
    assert all(parameter.is_meta for parameter in made("lstm", factorization="ht", rank=2, device="meta").parameters())
    half = from_dense("lstm", torch.nn.LSTM(11, 7, dtype=torch.bfloat16), factorization="ht", rank="full")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


@every_way
def test_default_modes_fit_any_size(decompose):
    for sizes in ((1, 1), (2, 1), (1, 9), (97, 13), (1009, 101)):
        layer = FactorizedLSTM(*sizes, factorization="tt", rank=1, decompose=decompose)
        assert layer(torch.zeros(2, 3, sizes[0]))[0].shape == (2, 3, sizes[1])


@every_way
@every_cell
def test_copies_and_state_dicts(cell, decompose):
    ours, dense_class, _, own = CELLS[cell]
    settings = {**own, "factorization": "ht", "decompose": decompose, "num_layers": 2, "dtype": torch.float64}
    layer, other = made(cell, rank=2, **settings), ours(11, 7, rank=2, **settings)
    x = torch.randn(5, 4, 11, dtype=torch.float64)
    buffer = io.BytesIO()
    torch.save(layer.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    for same in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(same(x), layer(x), atol=0, rtol=0)
        assert repr(same) == repr(layer)
    shapes = r"torch.Size\(\[.*\]\) from checkpoint, the shape in current model is torch.Size\(\[.*\]\)"
    for rank in (1, 3):
        with pytest.raises(RuntimeError, match=f"size mismatch for weight.*{shapes}"):
            ours(11, 7, rank=rank, **settings).load_state_dict(layer.state_dict())
    dense = dense_class(11, 7, 2, **own).state_dict()
    with pytest.raises(RuntimeError, match=r"(?s)Missing key.*weight_?\w*_l0.factors.0.*Unexpected key.*weight_ih_l0"):
        layer.load_state_dict({name: value.double() for name, value in dense.items()})
    with pytest.raises(RuntimeError, match=r"factors"):
        ours(11, 7, rank=2, **{**settings, "factorization": "tt"}).load_state_dict(layer.state_dict())


def ranks_of(layer):
    """Rank of every weight, in the form that constructors take."""
    found = {}
    for name, weight in layer.named_children():
        kind, _, place = name.partition("_l")
        number, _, reverse = place.partition("_")
        key = kind.removeprefix("weight_") + ("_reverse" if reverse else "")
        found.setdefault(int(number or 0), {})[key] = weight.rank
    return found


@in_pairs(cell=["relu", "gru", "lstm"], factorization=["tt", "ht"], decompose=DECOMPOSE, shape=["plain", "deep both ways"])
def test_ranks_of_a_compression_make_the_layer_again(cell, factorization, decompose, shape):
    # With the gates' default the modes are the constructor's.
    options = {"factorization": factorization, "decompose": decompose, "compression_ratio": 2, "gate_mode": None}
    small = from_dense(cell, dense_module(cell, **SHAPES[shape]), **options)
    ranks = ranks_of(small)
    assert (cell, decompose) != ("lstm", "layerwise") or len(
        {str(rank) for of_layer in ranks.values() for rank in of_layer.values()}
    ) > 1
    settings = {**CELLS[cell][3], **SHAPES[shape], "factorization": factorization, "decompose": decompose}
    again = CELLS[cell][0](11, 7, **settings, rank=ranks, dtype=torch.float64)
    again.load_state_dict(small.state_dict())
    assert ranks_of(again) == ranks
    x = inputs(small)[0]
    assert_close(tensors(again(x)), tensors(small(x)), atol=1e-14, rtol=0)


def test_ranks_by_weight():
    options = {"factorization": "tt", "decompose": "layerwise"}
    layer = FactorizedGRU(12, 8, 2, bidirectional=True, rank={"ih": 2, "hh": 3, "hh_reverse": 1}, **options)
    assert ranks_of(layer) == {
        k: {"ih": (1, 2, 1), "hh": (1, 3, 1), "ih_reverse": (1, 2, 1), "hh_reverse": (1, 1, 1)} for k in (0, 1)
    }
    converted = FactorizedGRU.from_gru(torch.nn.GRU(12, 8, 2), rank={0: {"ih": 2, "hh": 3}, 1: 4}, **options)
    assert ranks_of(converted) == {0: {"ih": (1, 2, 1), "hh": (1, 3, 1)}, 1: {"ih": (1, 4, 1), "hh": (1, 4, 1)}}
    assert FactorizedLSTMCell(12, 8, rank={"ih": 2, "hh": 3}, **options).weight_hh.rank == (1, 3, 1)
    for rank, message in (
        ({"ih": 2}, r"expected \['ih', 'hh'\], got \['ih'\]"),
        ({"ih": 2, "hh": 2, "ih_reverse": 2}, r"expected \['ih', 'hh'\], got \['ih', 'hh', 'ih_reverse'\]"),
    ):
        with pytest.raises(ValueError, match=f"^rank must have an entry for each weight in factors; {message}"):
            FactorizedGRU(12, 8, rank=rank, **options)


@every_format
@every_way
def test_a_clipped_rank_loads_into_a_fresh_layer_of_the_rank_that_was_asked(factorization, decompose):
    module = dense_module("gru", num_layers=2)
    options = {"factorization": factorization, "rank": 40, "decompose": decompose}
    with pytest.warns(UserWarning, match="rank was clipped"):
        layer = from_dense("gru", module, **options)
    fresh = FactorizedGRU(11, 7, 2, **options, dtype=torch.float64)
    parameters = list(fresh.parameters())
    fresh.load_state_dict(layer.state_dict())
    assert [weight.rank for weight in fresh.children()] == [weight.rank for weight in layer.children()]
    # An optimizer that was made before keeps what it holds.
    assert all(one is other for one, other in zip(parameters, fresh.parameters()))
    x, hx, _ = inputs(module)
    assert_close(fresh(x, hx), layer(x, hx), atol=0, rtol=0)


@in_pairs(cell=CELLS, shape=SHAPES, decompose=DECOMPOSE)
def test_all_weights_and_mode_are_those_of_torch(cell, shape, decompose):
    module = dense_module(cell, **SHAPES[shape])
    layer = from_dense(cell, module, factorization="tt", rank="full", decompose=decompose)
    assert layer.mode == module.mode
    assert_close(layer.all_weights, module.all_weights, atol=1e-13, rtol=0)
    assert_close(layer._flat_weights, module._flat_weights, atol=1e-13, rtol=0)
    with pytest.raises(AttributeError, match="all_weights"):
        layer.all_weights = []


def test_repr_shows_format_rank_and_compression():
    options = {"factorization": "tt", "rank": 3, "decompose": "layerwise", "device": "meta"}
    layer = FactorizedRNN(576, 64, nonlinearity="relu", batch_first=True, **options)
    counts = [sum(p.numel() for p in module.parameters()) for module in (torch.nn.RNN(576, 64, device="meta"), layer)]
    assert layer.compression_ratio == counts[0] / counts[1]
    text = repr(layer)
    shown = "576, 64, nonlinearity=relu, batch_first=True, factorization='tt', decompose='layerwise'"
    assert f"{shown}, compression_ratio={counts[0] / counts[1]:.4g}" in text
    assert "tt, shape=(64, 576)" in text and "rank=(1, 3, 3, 1)" in text
    assert layer.flatten_parameters() is None


@pytest.mark.parametrize("cell", ["tanh", "gru", "lstm"])
def test_bad_inputs_are_refused(cell):
    ours, theirs, way, _ = CELLS[cell]
    other = torch.nn.LSTM if cell != "lstm" else torch.nn.GRU
    layer, broken = ours(11, 7, 2, bidirectional=True, factorization="tt", rank=2), theirs(11, 7)
    broken.weight_ih_l0.data[0, 0] = math.nan
    x, h, pair = torch.zeros(5, 4, 11), torch.zeros(4, 4, 7), cell == "lstm"
    state = lambda *parts: parts if pair else parts[0]  # noqa: E731
    wrong, message = (h, r"a pair of tensors \(h_0, c_0\); got Tensor") if pair else ((h, h), "a tensor h_0; got tuple")
    refused(
        (ValueError, r"^input must have input_size features; expected 11, got 10 in shape \(5, 4, 10\)", lambda: layer(x[..., 1:])),
        (ValueError, r"^input must have input_size features; expected 11, got 10 in shape \(9, 10\)", lambda: layer(pack_sequence([torch.zeros(5, 10), torch.zeros(4, 10)]))),
        (ValueError, r"^input must have 2 or 3 axes; expected \(L, N, H_in\) or \(L, H_in\), got \(11,\)", lambda: layer(x[0, 0])),
        (ValueError, "input must have at least one time step", lambda: layer(x[:0])),
        (TypeError, "input must be a tensor; got ndarray", lambda: layer(x.numpy())),
        (ValueError, "input must be on the device of the weights; expected cpu, got meta. Move one of them", lambda: layer(x.to("meta"))),
        (ValueError, "input must be on the device of the weights; expected cpu, got meta", lambda: layer(pack_sequence([torch.zeros(5, 11, device="meta")]))),
        (ValueError, "h_0 must be on the device of the weights; expected cpu, got meta", lambda: layer(x, state(h.to("meta"), h))),
        (TypeError, "input dtype torch.float64 does not match weight dtype torch.float32. Convert input", lambda: layer(x.double())),
        (TypeError, "input dtype torch.float64 does not match weight dtype torch.float32. Convert input", lambda: layer(pack_sequence([torch.zeros(5, 11).double()]))),
        (TypeError, "input dtype torch.int64 does not match weight dtype torch.float32", lambda: layer(x.long())),
        (ValueError, r"h_0 must fit the input; expected shape \(4, 4, 7\), got \(4, 3, 7\)", lambda: layer(x, state(h[:, :3], h))),
        (ValueError, r"h_0 must fit the input; expected shape \(4, 2, 7\), got \(4, 4, 7\)", lambda: layer(pack_sequence([torch.zeros(5, 11), torch.zeros(4, 11)]), state(h, h))),
        (ValueError, r"h_0 must fit the input; expected shape \(4, 7\), got \(4, 4, 7\)", lambda: layer(x[:, 0], state(h, h))),
        (TypeError, "h_0 dtype torch.float16 does not match weight dtype torch.float32. Convert h_0", lambda: layer(pack_sequence([torch.zeros(5, 11)]), state(h[:, :1].half(), h[:, :1]))),
        (TypeError, f"^hx must be {message}", lambda: layer(x, wrong)),
        (RuntimeError, "must be sorted in decreasing order when `enforce_sorted` is True", lambda: layer(pack_padded_sequence(x, torch.tensor([2, 5, 1, 4])))),
        (TypeError, f"^{way} must be a torch.nn.{theirs.__name__}; got {other.__name__}", lambda: getattr(ours, f"from_{way}")(other(11, 7))),
        (ValueError, "matrix must be finite", lambda: from_dense(cell, broken, rank=2)),
    )  # fmt: skip
    if pair:
        refused(
            (ValueError, r"c_0 must fit the input; expected shape \(4, 7\), got \(4, 8\)", lambda: layer(x[:, 0], (h[:, 0], torch.zeros(4, 8)))),
            (TypeError, "c_0 dtype torch.float64 does not match weight dtype torch.float32", lambda: layer(x, (h, h.double()))),
        )  # fmt: skip


BAD_SETTINGS = [
    (dict(factorization="cp"), ValueError, r"^factorization must be known; expected one of \('bt', 'ht', 'tr', 'tt'\), got 'cp'"),
    (dict(decompose="hidden"), ValueError, r"decompose must be known; expected one of \('input', 'layerwise', 'full'\), got 'hidden'"),
    (dict(factorisation="tt"), TypeError, r"^factorisation must be an argument of FactorizedLSTM; expected one of \('factorization', .*\), got factorisation='tt'\. Did you mean factorization\?"),
    (dict(compression_ratio=20), TypeError, r"got compression_ratio=20\. A decomposition of given weights takes it: .* from_\.\.\., or factorize_module"),
    (dict(factorization="tt", gate_mode="stack"), ValueError, r"gate_mode must be known; expected one of \('first', 'last'\), got 'stack'"),
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
    (dict(rank={0: 2}, num_layers=2), ValueError, r"^rank must have an entry for each layer; expected \[0, 1\], got"),
    (dict(rank={0: 2, 1: 2, 2: 2}, num_layers=2), ValueError, r"^rank must have an entry for each layer; expected \[0, 1\], got"),
    (dict(hidden_modes={2: (7, 1)}, num_layers=2), ValueError, r"hidden_modes must have the numbers of layers as keys; expected \[0, 1\], got \[2\]"),
    (dict(speed="high"), TypeError, "speed"),
    (dict(proj_size=-1), ValueError, "proj_size must be a positive integer"),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "error", "message"), BAD_SETTINGS, ids=lambda value: str(value)[:40])
def test_bad_settings_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        FactorizedLSTM(11, 7, **settings)


def test_settings_of_other_cells_are_refused():
    refused(
        (ValueError, r"^nonlinearity must be known; expected one of \('tanh', 'relu'\), got 'sine'", lambda: FactorizedRNN(11, 7, nonlinearity="sine")),
        (ValueError, "^proj_size must be 0 except for an LSTM; expected 0, got 3", lambda: FactorizedRNN(11, 7, proj_size=3)),
        (ValueError, "^proj_size must be 0 except for an LSTM; expected 0, got 3", lambda: FactorizedGRU(11, 7, proj_size=3)),
    )  # fmt: skip


@pytest.mark.parametrize(
    "ours, implementation",
    slow_but_one(itertools.product([FactorizedRNN, FactorizedGRU, FactorizedLSTM], ["factorized", "reconstructed"]), 1),
)
def test_torch_compile_in_one_graph_and_export(ours, implementation):
    torch.manual_seed(0)
    layer = ours(11, 7, bidirectional=True, factorization="ht", rank=2, decompose="full", implementation=implementation)
    x = torch.randn(3, 2, 11)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, wanted = (
        [*tensors(run(x)), *torch.autograd.grad(loss_of(run(x)), list(layer.parameters()))] for run in (compiled, layer)
    )
    assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    if implementation == "factorized":
        exported = torch.export.export(layer.eval(), (x,)).module()
        assert_close(tensors(exported(x)), tensors(layer(x)), atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_a_layer_learns_as_well_as_a_dense_one():
    # The first bit of a sequence of noise is asked for at its end.
    generator = torch.Generator().manual_seed(0)
    lengths = torch.randint(4, 8, (64,), generator=generator)
    x = torch.randn(7, 64, 12, generator=generator)
    target = (x[0, :, 0] > 0).long()
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)

    def trained(make):
        torch.manual_seed(0)
        layer = make()
        readout = torch.nn.Linear(8, 2)
        optimizer = torch.optim.Adam([*layer.parameters(), *readout.parameters()], lr=0.02)
        losses = []
        for _ in range(120):
            state = layer(packed)[1]
            h = (state[0] if isinstance(state, tuple) else state)[-1]
            loss = torch.nn.functional.cross_entropy(readout(h), target)
            losses.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return losses[0], losses[-1]

    for ours, theirs, *_ in (CELLS[cell] for cell in ("tanh", "gru", "lstm")):
        dense_first, dense_last = trained(lambda theirs=theirs: theirs(12, 8))
        for factorization, decompose in (("tt", "input"), ("ht", "full"), ("tr", "layerwise"), ("bt", "full")):
            options = {"factorization": factorization, "decompose": decompose, "rank": 4}
            first, last = trained(lambda ours=ours, options=options: ours(12, 8, **options))
            assert abs(first - dense_first) < 0.1
            assert last < dense_last + 0.05
