"""FactorizedRNNCell, FactorizedGRUCell and FactorizedLSTMCell against torch's cells."""

import copy
import math
import pickle

import pytest
import torch
from torch.func import functional_call
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedGRU, FactorizedGRUCell, FactorizedLSTMCell, FactorizedRNNCell
from tests.strategies import in_pairs, refused

CELLS = {
    "tanh": (FactorizedRNNCell, torch.nn.RNNCell, {}),
    "relu": (FactorizedRNNCell, torch.nn.RNNCell, {"nonlinearity": "relu"}),
    "gru": (FactorizedGRUCell, torch.nn.GRUCell, {}),
    "lstm": (FactorizedLSTMCell, torch.nn.LSTMCell, {}),
}

every_cell = pytest.mark.parametrize("cell", CELLS)
every_format = pytest.mark.parametrize("factorization", tlr.available_formats())
every_way = pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
both_implementations = pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])


def dense_cell(cell, **settings):
    torch.manual_seed(0)
    _, theirs, own = CELLS[cell]
    return theirs(11, 7, dtype=torch.float64, **own, **settings)


def inputs(cell, *batch):
    generator = torch.Generator().manual_seed(1)
    draw = lambda size: torch.randn(*batch, size, generator=generator, dtype=torch.float64, requires_grad=True)  # noqa: E731
    x, state = draw(11), (draw(7), draw(7))
    return x, state if cell == "lstm" else state[0]


def listed(state):
    return list(state) if isinstance(state, tuple) else [state]


@in_pairs(
    cell=CELLS,
    decompose=["input", "layerwise", "full"],
    factorization=tlr.available_formats(),
    implementation=["factorized", "reconstructed"],
    bias=[True, False],
)
def test_full_rank_reproduces_steps_and_gradients(cell, decompose, factorization, implementation, bias):
    theirs = dense_cell(cell, bias=bias)
    options = {"factorization": factorization, "decompose": decompose, "implementation": implementation}
    ours = CELLS[cell][0].from_cell(theirs, rank="full", **options)
    for batch in ((4,), (1,), (0,), ()):
        results, gradients = [], []
        for one in (ours, theirs):
            x, hx = inputs(cell, *batch)
            first = one(x, hx)
            second = listed(one(x.flip(-1), first))
            results.append([*listed(first), *second, *listed(one(x))])
            sum((k + 1) * part.sin().sum() for k, part in enumerate(second)).backward()
            dense = [parameter for name, parameter in one.named_parameters() if "bias" in name]
            gradients.append([leaf.grad for leaf in (x, *listed(hx), *dense)])
            one.zero_grad()
        assert_close(*results, atol=1e-10, rtol=0)
        assert_close(*gradients, atol=1e-10, rtol=0)
    back = ours.to_cell()
    assert repr(back) == repr(theirs)
    assert_close(dict(back.named_parameters()), dict(theirs.named_parameters()), atol=1e-12, rtol=0)


@both_implementations
@pytest.mark.parametrize("factorization, decompose", [("bt", "full"), ("ht", "full"), ("tr", "layerwise"), ("tt", "input")])
@every_cell
def test_gradcheck_and_the_dense_cell_of_its_weights(cell, factorization, decompose, implementation):
    torch.manual_seed(0)
    ours, _, own = CELLS[cell]
    options = {"factorization": factorization, "decompose": decompose, "rank": 2, "implementation": implementation}
    layer = ours(11, 7, **own, **options, dtype=torch.float64)
    x, hx = inputs(cell, 3)
    assert_close(layer(x, hx), layer.to_cell()(x, hx), atol=1e-12, rtol=0)
    names = [name for name, _ in layer.named_parameters()]
    states = listed(hx)

    def run(x, *others):
        state, parameters = others[: len(states)], others[len(states) :]
        return functional_call(layer, dict(zip(names, parameters)), (x, state if len(state) > 1 else state[0]))

    arguments = (x, *states, *layer.parameters())
    assert torch.autograd.gradcheck(run, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(run, arguments, fast_mode=True)


@every_way
def test_a_cell_makes_the_steps_of_a_layer(decompose):
    torch.manual_seed(0)
    layer = FactorizedGRU(11, 7, factorization="ht", rank=2, decompose=decompose, dtype=torch.float64)
    cell = FactorizedGRUCell(11, 7, factorization="ht", rank=2, decompose=decompose, dtype=torch.float64)
    cell.load_state_dict({name.replace("_l0", ""): value for name, value in layer.state_dict().items()})
    x = torch.randn(5, 3, 11, dtype=torch.float64)
    h, steps = None, []
    for step in x:
        h = cell(step, h)
        steps.append(h)
    assert_close(layer(x), (torch.stack(steps), h[None]), atol=1e-12, rtol=0)


@in_pairs(cell=CELLS, decompose=["input", "layerwise", "full"], factorization=tlr.available_formats())
def test_start_names_and_copies(cell, decompose, factorization):
    torch.manual_seed(0)
    ours, theirs, own = CELLS[cell]
    layer = ours(11, 7, **own, factorization=factorization, decompose=decompose, rank=3, dtype=torch.float64)
    for weight in layer.children():
        parts = torch.cat([weight.matrix(part) for part in range(len(weight.widths))], dim=1)
        assert parts.square().mean().sqrt().item() == pytest.approx(1 / math.sqrt(3 * 7), rel=1e-6)
    names = {name.split(".factors.")[0] for name, _ in layer.named_parameters()}
    wanted = {name for name, _ in theirs(11, 7).named_parameters()}
    assert names == (wanted if decompose != "full" else {"weight", "bias_ih", "bias_hh"})
    x, hx = inputs(cell, 3)
    for same in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert_close(same(x, hx), layer(x, hx), atol=0, rtol=0)
    assert f"factorization='{factorization}', decompose='{decompose}', compression_ratio=" in repr(layer)


@every_cell
def test_autocast_gives_torchs_dtypes(cell):
    theirs = dense_cell(cell).float()
    for implementation in ("factorized", "reconstructed"):
        ours = CELLS[cell][0].from_cell(theirs, rank="full", decompose="layerwise", implementation=implementation)
        x = torch.randn(3, 11)
        with torch.autocast("cpu", torch.bfloat16):
            found, wanted = listed(ours(x)), listed(theirs(x))
        assert [part.dtype for part in found] == [part.dtype for part in wanted]
        assert_close(found, wanted, atol=0.02, rtol=0.02)


def test_forget_bias():
    cell = FactorizedLSTMCell(11, 7, forget_bias=2.0, rank=1)
    assert_close((cell.bias_ih + cell.bias_hh)[7:14], torch.full((7,), 2.0), atol=0, rtol=0)
    assert ((cell.bias_ih + cell.bias_hh)[:7].abs() < 2 / math.sqrt(7)).all()


@every_way
@every_cell
def test_cells_without_units_are_torchs(cell, decompose):
    ours, theirs, own = CELLS[cell]
    dense = theirs(11, 0, **own)
    for empty in (ours(11, 0, decompose=decompose, **own), ours.from_cell(dense, decompose=decompose)):
        for x in (torch.ones(3, 11, requires_grad=True), torch.ones(11, requires_grad=True)):
            found, wanted = listed(empty(x)), listed(dense(x))
            assert_close(found, wanted)
            assert_close(torch.autograd.grad(found[0].sum(), x), torch.autograd.grad(wanted[0].sum(), x))
        assert {name: one.shape for name, one in empty.named_parameters()} == {
            name: one.shape for name, one in dense.named_parameters()
        }
        assert repr(empty.to_cell()) == repr(dense) and "compression_ratio=1" in repr(empty)
    for size, error in ((-1, ValueError), (False, TypeError), (0.0, TypeError)):
        with pytest.raises(error, match="^hidden_size must be a positive integer"):
            ours(11, size)


def test_bad_arguments_are_refused():
    cell = FactorizedLSTMCell(11, 7, rank=2)
    x, h = torch.zeros(3, 11), torch.zeros(3, 7)
    refused(
        (ValueError, r"^input must have 1 or 2 axes; expected \(N, H_in\) or \(H_in,\), got \(1, 3, 11\)", lambda: cell(x[None])),
        (ValueError, r"input must have input_size features; expected 11, got 10 in shape \(3, 10\)", lambda: cell(x[:, 1:])),
        (TypeError, "input must be a tensor; got list", lambda: cell([0.0] * 11)),
        (TypeError, "input dtype torch.float64 does not match weight dtype torch.float32", lambda: cell(x.double())),
        (ValueError, "input must be on the device of the weights; expected cpu, got meta. Move one of them", lambda: cell(x.to("meta"))),
        (ValueError, "c must be on the device of the weights; expected cpu, got meta", lambda: cell(x, (h, h.to("meta")))),
        (TypeError, "h dtype torch.float64 does not match weight dtype torch.float32", lambda: cell(x, (h.double(), h))),
        (ValueError, r"h must fit the input; expected shape \(7,\), got \(1, 7\)", lambda: cell(x[0], (h[:1], h[0]))),
    )  # fmt: skip
    shapes = r"torch.Size\(\[.*\]\) from checkpoint, the shape in current model is torch.Size\(\[.*\]\)"
    refused(
        (RuntimeError, f"size mismatch for weight_ih.factors.*{shapes}", lambda: FactorizedLSTMCell(11, 7, rank=3).load_state_dict(cell.state_dict())),
        (TypeError, r"hx must be a pair of tensors \(h, c\); got Tensor", lambda: cell(x, h)),
        (ValueError, r"c must fit the input; expected shape \(3, 7\), got \(2, 7\)", lambda: cell(x, (h, h[1:]))),
        (TypeError, r"^hx must be a tensor h; got tuple", lambda: FactorizedGRUCell(11, 7, rank=2)(x, (h,))),
        (ValueError, "^nonlinearity must be known", lambda: FactorizedRNNCell(11, 7, nonlinearity="sine")),
        (TypeError, "^cell must be a torch.nn.GRUCell; got LSTMCell", lambda: FactorizedGRUCell.from_cell(torch.nn.LSTMCell(11, 7))),
        (TypeError, "^n_gates must be an argument", lambda: FactorizedGRUCell(5, 3, n_gates=2)),
    )  # fmt: skip
