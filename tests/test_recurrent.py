"""Recurrent networks without autograd: against loops over every unit, torch's layers, differences, and jax.grad."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import tensorly_rnn as tlr
from tensorly_rnn import recurrent
from tensorly_rnn.contraction.cost_model import CALL, OPERATION, WRITTEN, seconds
from tensorly_rnn.network.network import Network, apply_plan, tensor_plan
from tensorly_rnn.nn import FactorizedLSTM
from tensorly_rnn.recurrent import cost, gated_weight
from tests.backends import BACKENDS, to_numpy
from tests.strategies import in_pairs, refused, slow_but_one

FORMATS = tlr.available_formats()
DECOMPOSE = ("input", "layerwise", "full")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# Layer, torch's own settings, the settings of ours.
KINDS = {
    "lstm": ("LSTM", {}, {}),
    "lstm without bias": ("LSTM", {"bias": False}, {}),
    "projected lstm": ("LSTM", {"proj_size": 3}, {}),
    "gru": ("GRU", {}, {}),
    "gru without bias": ("GRU", {"bias": False}, {}),
    "tanh": ("RNN", {}, {}),
    "relu": ("RNN", {"nonlinearity": "relu"}, {"nonlinearity": "relu"}),
}

every_kind = pytest.mark.parametrize("kind", KINDS)
every_format = pytest.mark.parametrize("factorization", FORMATS)
every_way = pytest.mark.parametrize("decompose", DECOMPOSE)


def close(found, wanted, atol=1e-10):
    np.testing.assert_allclose(to_numpy(found), to_numpy(wanted), rtol=0, atol=atol)


def as_tuple(state):
    return state if isinstance(state, tuple) else (state,)


def as_state(arrays):
    return tuple(arrays) if len(arrays) > 1 else arrays[0]


def draws(layer, leading=(5, 4), seed=1):
    """x, the initial state, and weights of a loss on the output and on the last state."""
    generator = np.random.default_rng(seed)
    sizes = (layer.state_size, layer.hidden_size)[: len(layer.cell.states)]
    draw = generator.normal
    x, d_output = draw(size=(*leading, layer.input_size)), draw(size=(*leading, layer.state_size))
    states = [as_state([draw(size=(*leading[1:], size)) for size in sizes]) for _ in range(2)]
    return x, states[0], d_output, states[1]


# Where the gates, padding and parts lie.


@pytest.mark.parametrize("gate_mode", ["first", "last", "stack"])
def test_the_layout_is_what_it_says(gate_mode):
    # Two gates of 5 rows padded to 6; 7 columns of x, 3 of padding, 4 of h.
    layout = recurrent.Layout(5, ((0, 7), (10, 14)), (2, 3), (7, 2), 2, gate_mode)
    generator = np.random.default_rng(0)
    parts = [generator.normal(size=(10, 7)), generator.normal(size=(10, 4))]
    wanted = np.zeros((12, 14))
    for gate in range(2):
        for row in range(5):
            inside = 2 * row + gate if gate_mode == "last" else 6 * gate + row
            wanted[inside, :7] = parts[0][5 * gate + row]
            wanted[inside, 10:] = parts[1][5 * gate + row]
    backend = tlr.TTMatrix([np.zeros((1, 1, 1, 1))]).backend
    padded = layout.padded_matrix(backend, parts)
    assert np.array_equal(padded, wanted)
    assert np.array_equal(layout.gate_major(backend, padded, 0)[:, 10:], parts[1])
    # The way back is the transpose of the way there, on any axis.
    for axis, shape in ((0, (3, 2)), (1, (3, 2)), (2, (3, 2))):
        there = generator.normal(size=(*shape[:axis], 12, *shape[axis:]))
        back = generator.normal(size=(*shape[:axis], 10, *shape[axis:]))
        found = (layout.gate_major(backend, there, axis) * back).sum()
        assert found == pytest.approx((there * layout.ungated(backend, back, axis)).sum(), rel=1e-12)


# torch's own layers: outputs, states, and all gradients through autograd.


def torch_layer(kind, seed=0):
    name, settings, ours = KINDS[kind]
    layer = getattr(torch.nn, name)(11, 7, dtype=torch.float64, **settings)
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.tensor(generator.normal(size=tuple(parameter.shape)) / 2))
    arrays = {key.removesuffix("_l0"): parameter.detach().numpy() for key, parameter in layer.named_parameters()}
    return layer, getattr(recurrent, name)(**arrays, **ours)


def through_torch(layer, x, hx, d_output, d_state):
    """Output, state and gradients of x, of the state and of the parameters by torch's names; hx may be None."""
    x = torch.tensor(x, requires_grad=True)
    states = None if hx is None else [torch.tensor(part)[None].requires_grad_() for part in as_tuple(hx)]
    output, state = layer(x, None if states is None else as_state(states))
    loss = (output * torch.tensor(d_output)).sum()
    loss = loss + sum((part * torch.tensor(d)[None]).sum() for part, d in zip(as_tuple(state), as_tuple(d_state)))
    loss.backward()
    parameters = {name: parameter.grad for name, parameter in layer.named_parameters()}
    return output, [part[0] for part in as_tuple(state)], x.grad, [part.grad[0] for part in states or ()], parameters


@every_kind
@pytest.mark.parametrize("leading", [(5, 4), (1, 4), (5, 1), (5, 0), (5,)], ids=str)
@pytest.mark.parametrize("given", [True, False])
def test_equal_to_torch(kind, leading, given):
    theirs, ours = torch_layer(kind)
    x, hx, d_output, d_state = draws(ours, leading)
    hx = hx if given else None
    parameters = compare(ours, theirs, x, hx, d_output, d_state)
    for name, gradient in parameters.items():
        unused = 0 in leading or (name == "weight_hh_l0" and leading[0] == 1 and not given)
        assert (abs(to_numpy(gradient)).max(initial=0) > 1e-3) != unused


def compare(ours, theirs, x, hx, d_output, d_state):
    """Assert that outputs, last state and all gradients are those of a torch layer; return its gradients by name."""
    output, state, x_grad, state_grads, parameters = through_torch(theirs, x, hx, d_output, d_state)
    found, last, tape = ours.forward(x, hx)
    gradients = ours.backward(tape, d_output, d_state)
    close(found, output)
    close(gradients.x, x_grad)
    for one, other in zip((*as_tuple(last), gradients.h_0, gradients.c_0), (*state, *state_grads)):
        close(one, other)
    assert len(parameters) == sum(len(of) for of in gradients.parameters.values())
    for name, gradient in parameters.items():
        name, _, number = name.replace("_l0", "").partition(".factors.")
        close(gradients.parameters[name][int(number or 0)], gradient)
    return parameters


# The torch layer in factors, wherever the gates are.


def twin(layer):
    """The recurrent layer of a torch layer's own factors."""

    def weight(module):
        if isinstance(module, torch.nn.Parameter):
            return module.detach().numpy()
        return recurrent.GatedWeight(module.layout, module.network, [factor.detach().numpy() for factor in module.factors])

    parts = {**dict(layer.named_children()), **dict(layer.named_parameters(recurse=False))}
    return recurrent.LSTM(**{name.removesuffix("_l0"): weight(part) for name, part in parts.items()})


PLACES = [(name, mode) for name in FORMATS for mode in tlr.get_format(name).format.gate_modes]

SIZES = {"plain": (11, 7, {}), "padded": (17, 6, {}), "even": (6, 6, {}), "projected": (11, 7, {"proj_size": 3})}


@in_pairs(place=PLACES, decompose=DECOMPOSE, sizes=SIZES, rebuilds=[False, True])
def test_equal_to_the_torch_layer_in_factors(place, decompose, sizes, rebuilds, monkeypatch):
    factorization, gate_mode = place
    monkeypatch.setattr(recurrent.GatedWeight, "rebuilding_is_cheaper", lambda self, batch, use=None: rebuilds)
    input_size, hidden_size, settings = SIZES[sizes]
    padded = {"hidden_modes": (2, 2, 2), "input_modes": (3, 4, 3)} if hidden_size == 7 else {}
    settings = {**settings, **padded, "rank": 2, "gate_mode": gate_mode}
    torch.manual_seed(0)
    theirs = FactorizedLSTM(
        input_size, hidden_size, factorization=factorization, decompose=decompose, dtype=torch.float64, **settings
    )
    ours = twin(theirs)
    x, hx, d_output, d_state = draws(ours, (3, 2))
    compare(ours, theirs, x, hx, d_output, d_state)


# Slopes along random directions, for what torch has no layer of ours for.


def check_slopes(layer, leading=(2, 2)):
    """Assert that central differences of the loss agree with the gradients of parameters, x and the initial state."""
    x, hx, d_output, d_state = draws(layer, leading)
    gradients = layer.backward(layer.forward(x, hx)[2], d_output, d_state)
    arrays, found = (layer.to_vec(), x, hx), (gradients.to_vec(), gradients.x, gradients.h_0)

    def loss(vector, x, hx):
        output, state, _ = layer.with_vec(vector).forward(x, hx)
        return (output * d_output).sum() + (state * d_state).sum()

    for seed in range(4):
        generator = np.random.default_rng(seed)
        # All together, and then each alone.
        moves = [generator.normal(size=one.shape) * (seed in (0, k)) for k, one in enumerate(arrays, start=1)]
        sides = [loss(*(one + step * move for one, move in zip(arrays, moves))) for step in (1e-6, -1e-6)]
        slope = sum((gradient * move).sum() for gradient, move in zip(found, moves))
        assert slope == pytest.approx((sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-8)


@every_format
@every_way
@pytest.mark.parametrize(("name", "settings"), [("GRU", {}), ("RNN", {}), ("RNN", {"nonlinearity": "relu"})])
def test_gradients_are_slopes(factorization, decompose, name, settings):
    where = {"factorization": factorization, "decompose": decompose, "rank": 1 if settings else 2, "random_state": 2}
    layer = getattr(recurrent, name).random(5, 3, **where, **settings)
    check_slopes(layer.with_vec(1.5 * layer.to_vec()))


@every_format
def test_a_factorized_matrix_is_a_weight_as_it_is(factorization):
    f_ih = tlr.get_format(factorization).random(((4, 5), (3, 4)), rank=2, random_state=0)
    f_ih = type(f_ih)(f_ih.factors, shape=(18, 11))
    w_hh = np.random.default_rng(1).normal(size=(18, 6)) / 3
    layer, dense = recurrent.GRU(f_ih, w_hh), recurrent.GRU(f_ih.to_matrix(), w_hh)
    x, hx, *_ = draws(layer)
    close(layer.forward(x, hx)[0], dense.forward(x, hx)[0])
    assert [of.shape for of in layer.parameters["weight_ih"]] == [factor.shape for factor in f_ih.factors]
    check_slopes(layer)


def test_a_stack_and_one_matrix_over_x_and_h():
    # The gates of FDHT: a stack, its columns x and h without padding between.
    f = tlr.HTMatrix.random(((2, 3), (3, 4)), (2, 2), root_rank=4, random_state=0)
    layer, dense = recurrent.LSTM(weight=f), recurrent.LSTM(f.to_matrix()[:, :6], f.to_matrix()[:, 6:])
    x, hx, d_output, d_state = draws(layer)
    close(layer.forward(x, hx)[0], dense.forward(x, hx)[0])
    assert (layer.input_size, layer.hidden_size) == (6, 6)
    both = recurrent.LSTM(weight=f.to_matrix())
    found, wanted = (one.backward(one.forward(x, hx)[2], d_output, d_state) for one in (both, dense))
    close(found.weight, np.concatenate([wanted.weight_ih, wanted.weight_hh], axis=1))


def test_the_norm_of_a_padded_stack_leaves_the_padding_out():
    f = tlr.HTMatrix.random(((2, 3), (3, 4)), (2, 2), root_rank=4, random_state=0)
    f = type(f)(f.factors, shape=(20, 11))
    weight = recurrent.GatedWeight.of_format(f)
    assert weight.squared_norm() == pytest.approx((f.to_matrix() ** 2).sum(), rel=1e-12)
    assert weight.layout.tensorized_shape == f.tensorized_shape


def test_the_weight_is_rebuilt_only_where_that_takes_less_time():
    modes = {"factorization": "tt", "rank": 1, "out_modes": (16, 16), "in_modes": (16, 16), "random_state": 0}
    weight = recurrent.GatedWeight.random(256, (256,), **modes)
    training, kept = cost.Use(), cost.Use(backward=False, cached=True)
    assert not any(weight.rebuilding_is_cheaper(batch, training) for batch in (1, 100))
    # A matrix that is there already costs its own product only, until there are so many rows that its arithmetic counts.
    assert weight.rebuilding_is_cheaper(1, kept)
    large = recurrent.GatedWeight.random(2048, (2048,), factorization="tt", rank=2, random_state=0)
    assert not large.rebuilding_is_cheaper(1000, kept)
    # The products of many modes take a while however small they are.
    modes = {"factorization": "tr", "rank": 2, "out_modes": (2,) * 6, "in_modes": (2,) * 6, "random_state": 0}
    many = recurrent.GatedWeight.random(64, (64,), **modes)
    assert many.rebuilding_is_cheaper(20, kept)
    assert weight.rebuilding_is_cheaper(100, training._replace(steps=35))


@pytest.mark.parametrize("gate_mode", ["first", "last", "stack"])
def test_parts_rebuilt_at_once_are_the_parts(gate_mode):
    modes = {"out_modes": (3, 2), "in_modes": (3, 5), "n_gates": 4, "gate_mode": gate_mode, "random_state": 0}
    for widths in ((7, 3), (11,)):
        weight = recurrent.GatedWeight.random(5, widths, factorization="ht", rank=2, **modes)
        assert len(weight.matrices()) == len(widths)
        for part, matrix in enumerate(weight.matrices()):
            np.testing.assert_allclose(matrix, weight.matrix(part), atol=1e-14)


def test_estimates_count_products_and_gradients():
    # One step each way: x (7, 3) times the matrix (5, 3), which is the only factor and need not be rebuilt.
    network = recurrent.GatedWeight.dense(np.ones((5, 3))).network
    for use, wanted in ((cost.Use(False), (0, 0)), (cost.Use(True, False), (0, 1)), (cost.Use(), (1, 1))):
        assert cost.factorized_seconds(network, 7, use) == seconds(apply_plan(network, 7), wanted)
        once = CALL + 2 * 7 * 3 * 5 * OPERATION + 7 * (3 + 5) * WRITTEN + 3 * 5 * cost.READ_ONCE[0][1]
        assert cost.rebuilt_seconds(network, 7, use) == pytest.approx((1 + sum(wanted)) * once, rel=1e-12)
    in_python = 4 * cost.IN_PYTHON[True][0] + 7 * 5 * cost.IN_PYTHON[True][1]
    every = seconds(apply_plan(network, 7), (1, 1))
    assert cost.factorized_seconds(network, 7, cost.Use(steps=4)) == pytest.approx(every + in_python, rel=1e-12)
    low = Network((("j1", "r"), ("r", "i1")), ("j1",), ("i1",), (("i1", 3), ("j1", 5), ("r", 2)))
    for backward in (False, True):
        once, again = (cost.rebuilt_seconds(low, 7, cost.Use(backward, cached=kept)) for kept in (False, True))
        assert once - again == pytest.approx(seconds(tensor_plan(low), (backward,) * 2), rel=1e-9)
    # Three products there, and three more back: one for each side but x.
    assert seconds(tensor_plan(low), (True, True)) >= 3 * seconds(tensor_plan(low), (False, False)) > 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_ways_to_the_norm_agree(dtype, monkeypatch):
    weight = recurrent.GatedWeight.random(
        5, (7, 3), factorization="ht", rank=2, n_gates=4, gate_mode="stack", random_state=0, like=np.ones(1, dtype)
    )
    exact = sum((weight.matrix(part).astype(np.float64) ** 2).sum() for part in (0, 1))
    for summed in (True, False):
        monkeypatch.setattr(cost, "summing_is_cheaper", lambda data, summed=summed: summed)
        for piece in (1, 20, 10**6):
            monkeypatch.setattr(gated_weight, "LARGEST_PIECE", piece)
            assert weight.squared_norm() == pytest.approx(exact, rel=1e-6 if dtype == np.float32 else 1e-12)
    monkeypatch.undo()
    wide = Network((("r", "j1", "s"), ("s", "i1", "r")), ("j1",), ("i1",), (("i1", 4), ("j1", 4), ("r", 60), ("s", 60)))
    thin = Network((("j1", "r"), ("r", "i1")), ("j1",), ("i1",), (("i1", 4000), ("j1", 4000), ("r", 2)))
    assert cost.summing_is_cheaper(wide.data) and not cost.summing_is_cheaper(thin.data)


# Backends.


ON_BACKENDS = (
    ("LSTM", {"factorization": "ht", "decompose": "full", "hidden_modes": (2, 2), "input_modes": (4, 3)}),
    ("GRU", {"factorization": "tt", "decompose": "full", "gate_mode": "last"}),
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {"factorization": "tr", "decompose": "layerwise", "proj_size": 2, "bias": False}),
    ("GRU", {"factorization": "bt", "rank": "full"}),
    ("RNN", {"factorization": "bt", "decompose": "layerwise", "hidden_modes": (2, 2)}),
)
CASES = [
    pytest.param(backend, *case, marks=pytest.mark.slow if backend.slow else ())
    for backend in BACKENDS
    for case in ON_BACKENDS[: 3 if backend.slow else None]
]


@pytest.mark.parametrize(("backend", "name", "settings"), CASES, ids=str)
def test_every_backend(backend, name, settings):
    rank = {"rank": 2} if "factorization" in settings else {}
    layer = getattr(recurrent, name).random(5, 3, **{**rank, **settings}, random_state=0)
    arrays = draws(layer, (3, 2))
    output, state, tape = layer.forward(*arrays[:2])
    wanted = layer.backward(tape, *arrays[2:])
    parameters = {key: [backend.array(array) for array in of] for key, of in layer.parameters.items()}
    x, hx, d_output, d_state = (as_state([backend.array(part) for part in as_tuple(array)]) for array in arrays)
    other = layer.with_parameters(parameters)
    found, last, tape = other.forward(x, hx)
    assert isinstance(found, backend.kind)
    close(found, output, 1e-13)
    for one, two in zip(as_tuple(last), as_tuple(state)):
        close(one, two, 1e-13)
    gradients = other.backward(tape, d_output, d_state)
    close(gradients.x, wanted.x, 1e-13)
    close(gradients.h_0, wanted.h_0, 1e-13)
    close(gradients.to_vec(), wanted.to_vec(), 1e-12)
    assert all(isinstance(of, backend.kind) for named in gradients.parameters.values() for of in named)
    close(other.backward(tape, d_output=d_output).x + other.backward(tape, d_state=d_state).x, wanted.x, 1e-13)
    single = other.with_vec(other.to_vec() * 1)
    close(single.forward(x, hx)[0], output, 1e-13)


def test_single_precision_and_like():
    for array in (torch.zeros(1, dtype=torch.float32), np.zeros(1, np.float32)):
        layer = recurrent.GRU.random(5, 3, factorization="tt", rank=2, random_state=0, like=array)
        dtypes = {str(one.dtype) for of in layer.parameters.values() for one in of}
        x = array[0] + layer.parameters["bias_ih"][0][:5].reshape(1, 5)
        output, _, tape = layer.forward(x)
        gradients = layer.backward(tape, output)
        dtypes |= {str(one.dtype) for of in gradients.parameters.values() for one in of}
        assert dtypes | {str(output.dtype), str(gradients.x.dtype), str(gradients.h_0.dtype)} == {str(array.dtype)}
        assert type(output) is type(array)


@pytest.mark.parametrize("name", slow_but_one(["LSTM", "GRU"]))
def test_jax_agrees_and_compiles(name):
    settings = {"factorization": "ht", "rank": 2, "decompose": "full", "random_state": 0}
    layer = getattr(recurrent, name).random(5, 3, **settings, like=jnp.zeros(1))
    x, hx, d_output, d_state = (as_state([jnp.asarray(part) for part in as_tuple(array)]) for array in draws(layer, (3, 2)))

    def loss(parameters, x, hx):
        output, state, _ = layer.with_parameters(parameters).forward(x, hx)
        return (output * d_output).sum() + sum((a * b).sum() for a, b in zip(as_tuple(state), as_tuple(d_state)))

    @jax.jit
    def ours(parameters, x, hx):
        other = layer.with_parameters(parameters)
        gradients = other.backward(other.forward(x, hx)[2], d_output, d_state)
        first = (gradients.h_0,) if gradients.c_0 is None else (gradients.h_0, gradients.c_0)
        return gradients.parameters, gradients.x, as_state(first)

    wanted = jax.jit(jax.grad(loss, (0, 1, 2)))(layer.parameters, x, hx)
    found = ours(layer.parameters, x, hx)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted)):
        close(one, other, 1e-12)


# Starts, conversions, parameters.


@in_pairs(factorization=FORMATS, decompose=DECOMPOSE, name=GATES)
def test_random_has_exactly_the_standard_deviation_of_torch(factorization, decompose, name):
    for sizes, modes in (((11, 7), {}), ((13, 5), {"input_modes": (2, 7, 3), "hidden_modes": (3, 2, 1)})):
        settings = {"factorization": factorization, "rank": 2, "decompose": decompose, **modes}
        layer = getattr(recurrent, name).random(*sizes, **settings, random_state=3)
        w_ih, w_hh = layer.matrices()
        assert (w_ih.shape, w_hh.shape) == ((GATES[name] * sizes[1], sizes[0]), (GATES[name] * sizes[1], sizes[1]))
        drawn = {"full": [np.concatenate([w_ih, w_hh], axis=1)], "layerwise": [w_ih, w_hh], "input": [w_ih]}[decompose]
        for weight in drawn:
            assert math.sqrt((weight**2).mean()) == pytest.approx(1 / math.sqrt(3 * sizes[1]), rel=1e-9)
        assert abs(layer.bias_ih).max() <= 1 / math.sqrt(sizes[1])
        again = getattr(recurrent, name).random(*sizes, **settings, random_state=3)
        assert np.array_equal(layer.to_vec(), again.to_vec())
        assert layer.n_param == layer.to_vec().shape[0]


@in_pairs(factorization=FORMATS, decompose=DECOMPOSE, proj_size=[0, 2])
def test_random_has_the_factors_of_the_torch_layer(factorization, decompose, proj_size):
    settings = {"factorization": factorization, "rank": 2, "decompose": decompose, "proj_size": proj_size}
    theirs = FactorizedLSTM(11, 7, **settings)
    found = [array.shape for of in recurrent.LSTM.random(11, 7, **settings).parameters.values() for array in of]
    # torch registers the parameters of modules after a module's own.
    assert sorted(found) == sorted(tuple(parameter.shape) for parameter in theirs.parameters())


@every_format
@every_way
def test_round_trip(factorization, decompose):
    _, dense = torch_layer("projected lstm")
    x, hx, d_output, d_state = draws(dense)
    layer = dense.factorized(factorization, "full", decompose=decompose, hidden_modes=(2, 2, 2), input_modes=(3, 3, 3))
    close(layer.forward(x, hx)[0], dense.forward(x, hx)[0])
    for one, other in zip(layer.dense().matrices(), dense.matrices(), strict=True):
        close(one, other)
    found, wanted = (one.backward(one.forward(x, hx)[2], d_output, d_state) for one in (layer.dense(), dense))
    close(found.to_vec(), wanted.to_vec())
    rough = dense.factorized(factorization, eps=0.5, decompose=decompose)
    assert rough.n_param < layer.n_param
    matrices = [np.concatenate(one.matrices(), axis=1) for one in (rough, dense)]
    assert np.linalg.norm(matrices[0] - matrices[1]) <= 0.5 * np.linalg.norm(matrices[1]) * (1 + 1e-9)
    assert np.array_equal(rough.weight_hr, dense.weight_hr)


def test_parameters_are_live_and_ordered_as_torchs():
    theirs, layer = torch_layer("projected lstm")
    assert list(layer.parameters) == [name.removesuffix("_l0") for name, _ in theirs.named_parameters()]
    assert layer.parameters["bias_hh"][0] is layer.bias_hh
    vector = np.arange(layer.n_param, dtype=float)
    moved = layer.with_vec(vector)
    assert np.array_equal(moved.to_vec(), vector)
    assert np.array_equal(moved.parameters["weight_ih"][0], np.arange(28 * 11.0).reshape(28, 11))
    assert not np.array_equal(layer.to_vec(), vector)
    assert repr(layer).startswith("LSTM(11, 7, weight_ih=[(28, 11)], weight_hh=[(28, 3)], bias_ih=[(28,)]")


@every_way
def test_the_recurrent_weight_is_built_once_and_x_projected_once(decompose, monkeypatch):
    layer = recurrent.LSTM.random(57, 6, factorization="tt", rank=2, decompose=decompose, random_state=0)
    calls = []
    for method in ("vjp", "matrix_vjp"):
        original = getattr(recurrent.GatedWeight, method)

        def counted(self, argument, original=original, method=method):
            calls.append((method, getattr(argument, "shape", argument)))
            return original(self, argument)

        monkeypatch.setattr(recurrent.GatedWeight, method, counted)
    monkeypatch.setattr(recurrent.GatedWeight, "rebuilding_is_cheaper", lambda self, batch, use=None: False)
    layer.forward(np.ones((9, 4, 57)))
    assert calls == [("vjp", (36, 57)), ("matrix_vjp", 1 if decompose == "full" else 0)]


def test_large_gates_saturate_without_warning():
    layer = recurrent.LSTM.random(3, 2, random_state=0)
    output, _, tape = layer.forward(1e6 * np.ones((3, 1, 3)))
    assert np.isfinite(output).all() and (abs(output) <= 1).all()
    assert np.isfinite(layer.backward(tape, output).to_vec()).all()


# Wrong arguments.


def weights(rows=12, inputs=5, hidden=3, dtype=np.float64):
    return np.zeros((rows, inputs), dtype), np.zeros((rows, hidden), dtype)


W_IH, W_HH = weights()
TT = tlr.TTMatrix.random(((4, 3), (5, 1)), 2, random_state=0)
BAD_LAYERS = [
    ("LSTM", dict(), TypeError, r"^weights must be weight_ih and weight_hh, or weight over \[x; h\] alone; got none"),
    ("LSTM", dict(weight_ih=W_IH), TypeError, r"alone; got \('weight_ih',\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH, weight=W_IH), TypeError, r"got \('weight', 'weight_ih', 'weight_hh'\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH[:11]), ValueError, "weight_hh must have as many rows for each of its 4 gates; expected a multiple of 4, got 11"),
    ("LSTM", dict(weight_ih=W_IH[:8], weight_hh=W_HH), ValueError, r"weight_ih must fit the layer; expected shape \(12, 5\), got \(8, 5\)"),
    ("GRU", dict(weight_ih=W_IH, weight_hh=W_HH), ValueError, r"^weight_hh must fit the layer; expected shape \(12, 4\), got \(12, 3\)"),
    ("LSTM", dict(weight_ih=W_IH[0], weight_hh=W_HH), ValueError, r"weight_ih must be a matrix; expected 2 axes, got shape \(5,\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH, bias_hh=np.zeros(11)), ValueError, r"bias_hh must fit the layer; expected shape \(12,\), got \(11,\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH, weight_hr=np.zeros((2, 3))), ValueError, r"weight_hh must fit the layer; expected shape \(12, 2\), got \(12, 3\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH, weight_hr=np.zeros((3, 2))), ValueError, r"weight_hr must fit the layer; expected shape \(3, 3\), got \(3, 2\)"),
    ("LSTM", dict(weight_ih=W_IH[:, :0], weight_hh=W_HH), ValueError, r"^weight_ih must not be empty; expected a row and a column or more, got shape \(12, 0\)"),
    ("LSTM", dict(weight_ih=W_IH[:0], weight_hh=W_HH[:0, :0]), ValueError, r"^weight_hh must not be empty; .* got shape \(0, 0\)"),
    ("LSTM", dict(weight=W_HH), ValueError, "weight must have a column for x and 3 for h; expected at least 4, got 3"),
    ("LSTM", dict(weight=recurrent.GatedWeight.dense(W_IH, (5,))), ValueError, r"weight must have its columns in these parts; expected widths \(2, 3\), got \(5,\)"),
    ("LSTM", dict(weight_ih=recurrent.GatedWeight.dense(W_IH, (2, 3)), weight_hh=W_HH), ValueError, r"weight_ih must have its columns in these parts; expected widths \(5,\), got \(2, 3\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH, weight_hr=np.zeros(3)), ValueError, r"weight_hr must be a matrix; expected 2 axes, got shape \(3,\)"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=W_HH.astype(np.float32)), TypeError, "weight_hh must have the dtype of weight_ih; expected float64, got float32"),
    ("LSTM", dict(weight_ih=TT, weight_hh=W_HH.astype(np.float32)), TypeError, r"weight_hh must have the dtype of weight_ih.factors\[0\]"),
    ("LSTM", dict(weight_ih=W_IH, weight_hh=torch.zeros(12, 3)), TypeError, "weight_hh must be of the same backend as weight_ih; expected numpy, got pytorch"),
    ("LSTM", dict(weight_ih=W_IH.astype(int), weight_hh=W_HH.astype(int)), TypeError, "weight_ih must hold real floating-point numbers; got int64"),
    ("LSTM", dict(weight_ih=W_IH.tolist(), weight_hh=W_HH), TypeError, "weight_ih must be an array of a TensorLy backend; .* got list"),
    ("RNN", dict(weight_ih=W_HH, weight_hh=W_HH, nonlinearity="sine"), ValueError, r"nonlinearity must be known; expected one of \('tanh', 'relu'\), got 'sine'"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "error", "message"), BAD_LAYERS, ids=lambda value: str(value)[:30])
def test_wrong_parameters_are_refused(name, arguments, error, message):
    with pytest.raises(error, match=message):
        getattr(recurrent, name)(**arguments)


def test_wrong_arrays_of_a_gated_weight_are_refused(monkeypatch):
    weight = recurrent.GatedWeight.random(3, (5,), factorization="tt", rank=2, n_gates=4, random_state=0)
    with pytest.raises(ValueError, match=r"^weight_ih must have the factors of its network; expected \[\(1, 8, 3, 2\)"):
        recurrent.LSTM(weight.with_factors(weight.factors[::-1]), W_HH)
    with pytest.raises(ValueError, match=r"^parts must be one matrix each; expected shapes \[\(12, 5\)\]"):
        recurrent.GatedWeight.from_matrices([W_HH], weight.layout, "tt")
    for message, x in ((r"expected \(..., 5\), got \(2, 4\)", np.zeros((2, 4))), (r"got \(\)", np.array(1.0))):
        with pytest.raises(ValueError, match=rf"^x must have 5 columns; .*{message}"):
            weight.apply(x)
    with pytest.raises(ValueError, match="^matrix must be finite"):
        recurrent.LSTM(W_IH + np.nan, W_HH).factorized("tt", 2)
    with pytest.raises(TypeError, match=r"^x must be of the same backend as factors\[0\]; expected numpy, got pytorch"):
        weight.apply(torch.zeros(2, 5))
    fits = r"must be a matrix that fits; expected shape \(%s, %s\), got \(%s\)"
    for rebuilds in (True, False):
        monkeypatch.setattr(
            recurrent.GatedWeight, "rebuilding_is_cheaper", lambda self, batch, use=None, rebuilds=rebuilds: rebuilds
        )
        # Of three axes the middle one would pass for the columns.
        for shape in ((3, 5, 5), (5,), (2, 4)):
            with pytest.raises(ValueError, match="^x " + fits % ("'batch'", 5, str(shape)[1:-1])):
                weight.vjp(np.zeros(shape))
        _, pull_back = weight.vjp(np.ones((2, 5)))
        with pytest.raises(ValueError, match="^dy " + fits % (2, 12, "12, 2")):
            pull_back(np.ones((12, 2)))
        with pytest.raises(TypeError, match=r"dy must have the dtype of factors\[0\]; expected float64, got float32"):
            pull_back(np.ones((2, 12), "float32"))
    with pytest.raises(ValueError, match="^d_matrix " + fits % (12, 5, "5, 12")):
        weight.matrix_vjp()[1](np.ones((5, 12)))
    refused(
        (ValueError, r"^matrix must be a matrix; expected 2 axes, got shape \(5,\)", lambda: recurrent.GatedWeight.dense(W_IH[0])),
        (ValueError, r"^matrix must not be empty; .* got shape \(12, 0\)", lambda: recurrent.GatedWeight.dense(W_IH[:, :0])),
        (TypeError, "^matrix must be an array of a TensorLy backend", lambda: recurrent.GatedWeight.dense([[1.0]])),
        (ValueError, r"^widths must add up to the columns; expected 5, got 4: \(2, 2\)", lambda: recurrent.GatedWeight.dense(W_IH, (2, 2))),
        (ValueError, r"^widths must add up to the columns; expected 5, got 9: \(9,\)", lambda: recurrent.GatedWeight.of_format(TT, (9,))),
        (TypeError, "^matrix must be a factorized matrix; got ndarray. Use dense", lambda: recurrent.GatedWeight.of_format(W_IH)),
    )  # fmt: skip
    for std in (-1.0, math.nan, "1"):
        with pytest.raises(ValueError, match="^std must be a finite number of at least 0; got"):
            recurrent.GatedWeight.random(3, (5,), factorization="tt", std=std)
    with pytest.raises(ValueError, match="^widths must have one or two entries; expected 1 or 2, got 3"):
        recurrent.make_layout(3, (1, 2, 3), tlr.TTMatrix)


def test_ranks_by_weight():
    options = {"factorization": "tt", "decompose": "layerwise", "rank": {"ih": 2, "hh": 3}}
    drawn = recurrent.LSTM.random(12, 8, random_state=0, **options)
    found = drawn.dense().factorized(**options)
    for layer in (drawn, found):
        assert [layer.parameters[name][0].shape[-1] for name in ("weight_ih", "weight_hh")] == [2, 3]
    close(found.matrices()[1], drawn.matrices()[1], 1e-13)
    with pytest.raises(ValueError, match=r"^rank must have an entry for each weight in factors; expected \['weight'\], got"):
        drawn.factorized("tt", {"ih": 2, "hh": 3}, decompose="full")


def test_a_missing_half_of_a_state_is_zero():
    layer = recurrent.LSTM.random(5, 3, random_state=0)
    x, (h_0, _), _, (d_h, _) = draws(layer)
    zeros = np.zeros_like(h_0)
    output, _, tape = layer.forward(x, (h_0, None))
    wanted, _, same_tape = layer.forward(x, (h_0, zeros))
    assert np.array_equal(output, wanted)
    found = layer.backward(tape, d_state=(d_h, None)).to_vec()
    assert np.array_equal(found, layer.backward(same_tape, d_state=(d_h, zeros)).to_vec())


def test_wrong_sequences_and_parameters_are_refused():
    lstm, gru = recurrent.LSTM.random(5, 3, random_state=0), recurrent.GRU.random(5, 3, random_state=0)
    x, state = np.zeros((4, 2, 5)), np.zeros((2, 3))
    refused(
        (ValueError, r"^x must have input_size features; expected 5, got 4 in shape \(4, 2, 4\)", lambda: lstm.forward(x[..., 1:])),
        (ValueError, r"x must have 2 or 3 axes; expected \(L, N, 5\) or \(L, 5\), got \(5,\)", lambda: lstm.forward(x[0, 0])),
        (ValueError, r"x must have at least one step; got shape \(0, 2, 5\)", lambda: lstm.forward(x[:0])),
        (TypeError, "x must be of the same backend as the parameters; expected numpy, got pytorch", lambda: lstm.forward(torch.zeros(4, 2, 5))),
        (TypeError, "x must have the dtype of the parameters; expected float64, got float32", lambda: lstm.forward(x.astype(np.float32))),
        (TypeError, r"hx must be a pair \(h_0, c_0\); expected 2 arrays, got ndarray", lambda: lstm.forward(x, state)),
        (TypeError, r"hx must be a pair \(h_0, c_0\); expected 2 arrays, got 1 entries", lambda: lstm.forward(x, (state,))),
        (ValueError, r"c_0 must fit the layer; expected shape \(2, 3\), got \(1, 3\)", lambda: lstm.forward(x, (state, state[:1]))),
        (ValueError, r"^h_0 must fit the layer; expected shape \(3,\), got \(2, 3\)", lambda: gru.forward(x[:, 0], state)),
        (TypeError, "h_0 must have the dtype of the parameters; expected float64, got float32", lambda: gru.forward(x, state.astype(np.float32))),
        (TypeError, "h_0 must be of the same backend as the parameters", lambda: gru.forward(x, torch.zeros(2, 3))),
    )  # fmt: skip
    output, _, tape = gru.forward(x)
    refused(
        (TypeError, "^d_output or d_state must be given; expected one of them, got None for both", lambda: gru.backward(tape)),
        (ValueError, r"tape must come from this layer's own forward; expected that of GRU\(5, 3, .* got that of GRU\(5, 3", lambda: gru.with_vec(gru.to_vec()).backward(tape, output)),
        (TypeError, "tape must come from forward; expected Tape, got ndarray", lambda: gru.backward(output, output)),
        (ValueError, r"d_output must fit the layer; expected shape \(4, 2, 3\), got \(2, 3\)", lambda: gru.backward(tape, output[0])),
        (ValueError, r"h_n must fit the layer; expected shape \(2, 3\), got \(4, 2, 3\)", lambda: gru.backward(tape, output, output)),
        (TypeError, "d_output must have the dtype of the parameters", lambda: gru.backward(tape, output.astype(np.float32))),
        (TypeError, "d_output must be of the same backend as the parameters", lambda: gru.backward(tape, torch.zeros(4, 2, 3))),
    )  # fmt: skip
    on_cpu = recurrent.GRU.random(5, 3, like=torch.zeros(1, dtype=torch.float64), random_state=0)
    there = torch.zeros(4, 2, 5, dtype=torch.float64, device="meta")
    refused(
        (ValueError, r"^parameters must have as many arrays by name; .* got \{'weight_ih': 1\}", lambda: gru.with_parameters({"weight_ih": gru.parameters["weight_ih"]})),
        (TypeError, "^parameters must be lists of arrays by name; .* got list", lambda: gru.with_parameters([gru.parameters["weight_ih"]])),
        (ValueError, r"bias_hh must fit the layer; expected shape \(9,\), got \(8,\)", lambda: gru.with_parameters({**gru.parameters, "bias_hh": [np.zeros(8)]})),
        (ValueError, r"^vector must fit the layer; expected shape \(90,\), got \(89,\)", lambda: gru.with_vec(np.zeros(89))),
        (TypeError, "vector must have the dtype of the parameters", lambda: gru.with_vec(np.zeros(90, np.float32))),
        (ValueError, "^x must be on the device of the parameters; expected cpu, got meta", lambda: on_cpu.forward(there)),
        (ValueError, "h_0 must be on the device of the parameters; expected cpu, got meta", lambda: on_cpu.forward(torch.zeros(4, 2, 5).double(), there[0, :, :3])),
        (ValueError, "bias_hh must be on the device of weight_ih; expected cpu, got meta", lambda: recurrent.GRU(on_cpu.matrices()[0], on_cpu.matrices()[1], on_cpu.bias_ih, on_cpu.bias_hh.to("meta"))),
    )  # fmt: skip


BAD_STARTS = [
    (dict(factorization="cp"), ValueError, "^factorization must be known"),
    (dict(decompose="half"), ValueError, r"^decompose must be known; expected one of \('input', 'layerwise', 'full'\), got 'half'"),
    (dict(factorization="tt", gate_mode="stack"), ValueError, "^gate_mode must be known"),
    (dict(factorization="tt", input_modes=(2, 2)), ValueError, "^input_modes must multiply to the size or more; expected a product of at least 5, got 4"),
    (dict(factorization="tt", hidden_modes=(2, 1), input_modes=(5, 1)), ValueError, "hidden_modes must multiply .* at least 3, got 2"),
    (dict(factorization="tt", rank="some"), ValueError, "^rank must be known; expected 'full', 'same' or numbers, got 'some'"),
    (dict(factorization="tt", like=[1.0]), TypeError, "^like must be an array of a TensorLy backend; .* got list"),
    (dict(factorization="tt", like=np.zeros(1, int)), TypeError, "^like must be an array of real floating-point numbers; got dtype int64"),
    (dict(like=np.zeros(1, int)), TypeError, "^like must be an array of real floating-point numbers; got dtype int64"),
    *((dict([option]), ValueError, "^factorization must be given together with rank, decompose, modes or gate_mode") for option in (("rank", 4), ("decompose", "full"), ("input_modes", (5, 1)), ("hidden_modes", (3, 1)), ("gate_mode", "last"))),
    (dict(proj_size=3), ValueError, "proj_size must be smaller than hidden_size; expected less than 3, got 3"),
    (dict(random_state=-1), TypeError, "random_state must be a seed or a generator"),
    (dict(hidden_size=0), ValueError, "hidden_size must be a positive integer"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), BAD_STARTS, ids=lambda value: str(value)[:30])
def test_wrong_starts_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        recurrent.LSTM.random(**{"input_size": 5, "hidden_size": 3, **arguments})


def test_wrong_starts_of_other_layers_are_refused():
    refused(
        (ValueError, "^proj_size must be 0 except for an LSTM; expected 0, got 2", lambda: recurrent.GRU.random(5, 3, proj_size=2)),
        (ValueError, "^factorization must be known", lambda: recurrent.LSTM.random(5, 3, random_state=0).factorized("cp")),
    )  # fmt: skip
