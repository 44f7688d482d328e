"""The steps of the torch layers: their gradient by hand, its own derivative, and what else differentiates or traces them."""

import itertools
import math
import warnings

import pytest
import torch
from torch.autograd import forward_ad, gradcheck, gradgradcheck
from torch.testing import assert_close

from tensorly_rnn.nn import FactorizedGRU, FactorizedLSTM, FactorizedRNN, unroll
from tensorly_rnn.nn.unroll import UnrolledCell
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS
from tests.strategies import in_pairs

CELLS = {"tanh": RNN_CELLS["tanh"], "relu": RNN_CELLS["relu"], "gru": GRU_CELL, "lstm": LSTM_CELL}
PADDED, PACKED, EMPTY = (2, 3), [4, 4, 2, 1, 1], (2, 0)
HIDDEN, PROJECTED = 3, 2

every_cell = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
both_directions = pytest.mark.parametrize("reverse", [False, True])


def arguments(cell, sizes, projected=False, bias=True):
    """Tensors of (L, N) steps and sequences, or of packed ones, a list of how many reach each step."""
    generator = torch.Generator().manual_seed(1)
    gates, size = cell.n_gates * HIDDEN, PROJECTED if projected else HIDDEN
    rows = (sum(sizes), gates) if isinstance(sizes, list) else (*sizes, gates)
    shapes = [rows, (gates, size), (gates,) if bias else None, (size, HIDDEN) if projected else None]
    batch = sizes[0] if isinstance(sizes, list) else sizes[1]
    shapes += [(batch, size), (batch, HIDDEN)][: len(cell.states)]
    draw = lambda shape: torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()  # noqa: E731
    return [None if shape is None else draw(shape) for shape in shapes]


def run_by_hand(cell, sizes, reverse):
    batch_sizes = torch.tensor(sizes) if isinstance(sizes, list) else None

    def run(from_x, recurrent, bias, projection, *state):
        output, last = unroll.unroll(cell, from_x, batch_sizes, state, recurrent, bias, projection, reverse)
        return output, *last

    return run


@in_pairs(
    name=CELLS,
    sizes=[PADDED, PACKED, EMPTY, (1, 1), [1]],
    reverse=[False, True],
    slow=lambda name, sizes, reverse: name in ("gru", "lstm") and (sizes == PACKED or (sizes == PADDED and reverse)),
)
def test_first_and_second_derivatives(name, sizes, reverse):
    cell = CELLS[name]
    for projected, bias in ((False, True), (True, False))[: 2 if cell is LSTM_CELL else 1]:
        given = arguments(cell, sizes, projected, bias)
        run = run_by_hand(cell, sizes, reverse)
        assert type(run(*given)[0].grad_fn).__name__ == "UnrolledCellBackward"
        assert gradcheck(run, given)
        assert gradgradcheck(run, given)


@in_pairs(
    name=CELLS,
    sizes=[PADDED, PACKED, (1, 1), [1]],
    reverse=[False, True],
    projected=[False, True],
    checked=[False, True],
    slow=lambda *row: row[-1],
)
def test_the_operator_for_compilers_is_the_steps(name, sizes, reverse, projected, checked):
    cell = CELLS[name]
    given = arguments(cell, sizes, projected and cell is LSTM_CELL, not projected)
    batch_sizes = torch.tensor(sizes) if isinstance(sizes, list) else None
    if checked:
        torch.library.opcheck(unroll._unroll, (cell.name, batch_sizes, reverse, True, *given[:4], given[4:]))
    results = []
    for output, state in (
        unroll._unroll_operator(cell, batch_sizes, reverse, *given),
        unroll._unroll_steps(cell, unroll._sizes(batch_sizes), reverse, *given),
    ):
        loss = sum((one.sin() * (k + 1)).sum() for k, one in enumerate((output, *state)))
        wanted = [one for one in given if one is not None]
        results.append(
            [output, *state, *torch.autograd.grad(loss, wanted, retain_graph=True), *torch.autograd.grad(output.sum(), wanted)]
        )
    assert_close(*results, atol=1e-12, rtol=0)


@every_cell
@both_directions
def test_the_gradient_by_hand_is_that_of_the_steps(cell, reverse):
    given = arguments(cell, PACKED)
    by_hand = run_by_hand(cell, PACKED, reverse)(*given)
    steps = unroll._unroll_steps(cell, PACKED, reverse, *given)
    steps = (steps[0], *steps[1])
    wanted = [tensor for tensor in given if tensor is not None]
    for one, other in zip(by_hand, steps):
        assert_close(one, other, atol=0, rtol=0)
        # The other outputs are not used: their gradients are missing.
        assert_close(
            *(torch.autograd.grad(y.square().sum(), wanted, retain_graph=True, materialize_grads=True) for y in (one, other))
        )


def test_relu_has_torchs_slope_at_zero_and_keeps_what_is_no_number():
    values = torch.tensor([[[-1.0, -0.0, 0.0], [2.0, math.inf, math.nan]]], dtype=torch.float64)
    for run in (unroll._unroll_steps, UnrolledCell.apply):
        cell, _, recurrent, bias, projection, state = (
            CELLS["relu"],
            *[None if one is None else torch.zeros_like(one) for one in arguments(CELLS["relu"], (1, 2))],
        )
        given, wanted = values.clone().requires_grad_(), values.clone().requires_grad_()
        output = run(cell, None, False, given, recurrent, bias, projection, state)[0]
        assert_close(output, torch.relu(wanted), atol=0, rtol=0, equal_nan=True)
        for one in (output, torch.relu(wanted)):
            one[:, :, :2].sum().backward()
        assert_close(given.grad[:, :, :2], wanted.grad[:, :, :2], atol=0, rtol=0)
        assert wanted.grad[0, 0, 1] == given.grad[0, 0, 2] == 0


@every_cell
def test_only_what_needs_a_gradient_gets_one(cell):
    given = arguments(cell, PADDED)
    for chosen in itertools.combinations([0, 1, 2, 4], 2):
        frozen = [None if one is None else one.detach().requires_grad_(k in chosen) for k, one in enumerate(given)]
        sum(part.sum() for part in run_by_hand(cell, PADDED, False)(*frozen)).backward()
        assert [k for k, one in enumerate(frozen) if one is not None and one.grad is not None] == list(chosen)


@every_cell
def test_arrays_kept_are_few_however_long_the_sequence(cell):
    packs = []
    for steps in (3, 30):
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor) or tensor, lambda tensor: tensor
        ):
            run_by_hand(cell, (steps, 2), False)(*arguments(cell, (steps, 2)))
        packs.append(len(kept))
    assert packs[0] == packs[1] <= 12


# torch's own vmap and forward mode script their decompositions.
@pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("ours", [FactorizedRNN, FactorizedGRU, FactorizedLSTM])
def test_torch_func_and_forward_mode_go_through_a_layer(ours):
    torch.manual_seed(0)
    layer = ours(5, 3, factorization="tt", rank=2, decompose="full", implementation="factorized", dtype=torch.float64)
    parameters = dict(layer.named_parameters())
    x = torch.randn(4, 2, 5, dtype=torch.float64)

    def loss(parameters, x):
        return torch.func.functional_call(layer, parameters, (x,))[0].square().sum()

    wanted = dict(zip(parameters, torch.autograd.grad(loss(parameters, x), parameters.values())))
    assert_close(torch.func.grad(loss)(parameters, x), wanted)
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, torch.stack([x, 2 * x]))
    assert_close({name: value[0] for name, value in each.items()}, wanted)
    direction = torch.randn_like(x)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(loss(parameters, forward_ad.make_dual(x, direction))).tangent
    x.requires_grad_()
    assert_close(tangent, (torch.autograd.grad(loss(parameters, x), x)[0] * direction).sum())


@pytest.mark.parametrize("ours", [FactorizedRNN, FactorizedGRU, FactorizedLSTM])
def test_autocast_and_traces_take_the_single_steps(ours):
    torch.manual_seed(0)
    layer = ours(5, 3, factorization="tt", rank=2, implementation="factorized")
    x, wanted = torch.randn(4, 2, 5), list(layer.parameters())
    exact = torch.autograd.grad(layer(x)[0].square().sum(), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)[0]
    assert type(y.grad_fn).__name__ != "UnrolledCellBackward"
    found = torch.autograd.grad(y.float().square().sum(), wanted)
    assert_close(found, exact, atol=0.03, rtol=0.03)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own, on tracing
        traced = torch.jit.trace(layer, (x,))
    again = torch.randn(4, 2, 5)
    assert_close(traced(again), layer(again))


@pytest.mark.parametrize("ours", [FactorizedRNN, FactorizedGRU, FactorizedLSTM])
@pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
def test_second_derivatives_of_a_layer_called_twice_with_its_own_state(ours, decompose):
    # The state depends on the weights that it meets again.
    torch.manual_seed(0)
    settings = {"factorization": "tt", "rank": 2, "implementation": "factorized", "dtype": torch.float64}
    layer = ours(5, 3, decompose=decompose, **settings)
    x, leaves = torch.randn(3, 2, 5, dtype=torch.float64), list(layer.parameters())

    def gradients(*leaves, create_graph=True):
        called = lambda *given: torch.func.functional_call(layer, dict(zip(names, leaves)), given)  # noqa: E731
        y = called(x, called(x)[1])[0]
        return torch.autograd.grad(y.square().sum(), leaves, create_graph=create_graph)

    names = list(dict(layer.named_parameters()))
    # Those to be differentiated again are computed another way.
    assert_close(gradients(*leaves), gradients(*leaves, create_graph=False))
    assert gradcheck(gradients, leaves, fast_mode=True)


@every_cell
def test_nothing_is_kept_where_no_gradient_is_recorded(cell, monkeypatch):
    monkeypatch.setattr(unroll.recurrence, "make_trace", None)
    given = arguments(cell, PACKED)
    with torch.no_grad():
        found = run_by_hand(cell, PACKED, False)(*given)
    wanted = unroll._unroll_steps(cell, PACKED, False, *given)
    assert_close(list(found), [wanted[0], *wanted[1]], atol=0, rtol=0)


@pytest.mark.parametrize("kind", ["tanh", "gru", "lstm"])  # relu needs an order
def test_gradients_of_complex_numbers(kind):
    given = [
        None if one is None else torch.complex(one, one.flip(0)).detach().requires_grad_()
        for one in arguments(CELLS[kind], PADDED)
    ]
    assert gradcheck(run_by_hand(CELLS[kind], PADDED, False), given)


@pytest.mark.parametrize("ours", [FactorizedRNN, FactorizedGRU, FactorizedLSTM])
@pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])
def test_shapes_without_numbers(ours, implementation):
    layer = ours(5, 3, implementation=implementation, device="meta")
    output, _ = layer(torch.empty(4, 2, 5, device="meta"))
    assert output.is_meta and output.shape == (4, 2, 3)
    output.sum().backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in layer.parameters())
    with pytest.raises(TypeError, match=r"input dtype torch.float64 does not match weight dtype torch.float32"):
        layer(torch.empty(4, 2, 5, device="meta", dtype=torch.float64))
