"""Factorized layers in torch's ecosystem: safetensors, torch.export, ONNX, gradient checkpointing, dynamic torch.compile."""

import itertools
from collections import Counter

import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, load_model, save_file, save_model
from torch.export import Dim
from torch.testing import assert_close
from torch.utils.checkpoint import checkpoint

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, FactorizedRNN
from tests.strategies import slow_but_one

FORMATS = tlr.available_formats()
DECOMPOSE = ("input", "layerwise", "full")
# Our class and torch's settings, and what one kernel of it is called.
CELLS = {
    "tanh": (FactorizedRNN, {}, "rnn_tanh.input"),
    "relu": (FactorizedRNN, {"nonlinearity": "relu"}, "rnn_relu.input"),
    "gru": (FactorizedGRU, {}, "gru.input"),
    "lstm": (FactorizedLSTM, {}, "lstm.input"),
    "projected": (FactorizedLSTM, {"proj_size": 3}, "lstm.input"),
}

every_cell = pytest.mark.parametrize("cell", CELLS)
every_format = pytest.mark.parametrize("factorization", FORMATS)
every_way = pytest.mark.parametrize("decompose", DECOMPOSE)
both_implementations = pytest.mark.parametrize("implementation", ["factorized", "reconstructed"])
# The exporter's own use of what torch has deprecated, and torch's remark on its own kernel.
ignoring_the_exporter = [
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),
    pytest.mark.filterwarnings("ignore:_check_is_size will be removed:FutureWarning"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning"),
]


def layer_of(cell, implementation="auto", dtype=torch.float64, **settings):
    """Formats and ways of decomposing are spread over cells and implementations such that all of them occur."""
    place = list(CELLS).index(cell) + (implementation == "reconstructed")
    ours, own, _ = CELLS[cell]
    options = {"factorization": FORMATS[place % 4], "decompose": DECOMPOSE[place % 3], "implementation": implementation}
    torch.manual_seed(0)
    return ours(11, 7, 2, bidirectional=True, rank=2, dtype=dtype, **own, **{**options, **settings}).eval()


def arguments(layer, batch):
    dtype = next(layer.parameters()).dtype
    generator = torch.Generator().manual_seed(batch)
    sizes = (layer.proj_size or 7, 7) if isinstance(layer, FactorizedLSTM) else (7,)
    x, *state = (
        torch.randn(*shape, generator=generator, dtype=dtype)
        for shape in [(2, batch, 11), *((4, batch, size) for size in sizes)]
    )
    return x, tuple(state) if len(state) > 1 else state[0]


def tensors(result):
    output, state = result
    return [output, *(state if isinstance(state, tuple) else (state,))]


def any_batch(layer):
    batch = {1: Dim("batch")}
    return batch, (batch, batch) if isinstance(layer, FactorizedLSTM) else batch


@every_way
@every_format
def test_safetensors_take_a_state_dict_also_of_clipped_ranks(factorization, decompose, tmp_path):
    torch.manual_seed(0)
    lstm = torch.nn.LSTM(5, 3, num_layers=2, bidirectional=True)
    rank = (2, 40) if factorization == "bt" else 40
    settings = {"factorization": factorization, "rank": rank, "decompose": decompose}
    with pytest.warns(UserWarning, match="rank"):
        layer = FactorizedLSTM.from_lstm(lstm, **settings)
    assert all(parameter.is_contiguous() for parameter in layer.parameters())
    # A piece of a larger array would be saved, pickled and kept as all of it.
    assert all(parameter.untyped_storage().nbytes() == parameter.nbytes for parameter in layer.parameters())
    save_file(layer.state_dict(), tmp_path / "layer.safetensors")
    fresh = FactorizedLSTM(5, 3, num_layers=2, bidirectional=True, **settings)
    fresh.load_state_dict(load_file(tmp_path / "layer.safetensors"))
    assert_close(fresh.state_dict(), layer.state_dict(), atol=0, rtol=0)
    x = torch.randn(4, 2, 5)
    assert_close(fresh(x), layer(x), atol=0, rtol=0)


@every_cell
def test_safetensors_take_a_whole_model_with_a_layer_in_two_places(cell, tmp_path):
    def made():
        layer, linear = layer_of(cell), FactorizedLinear(11, 5, factorization="ht", rank=2, dtype=torch.float64)
        return torch.nn.ModuleDict({"one": layer, "same": layer, "linear": linear})

    model, fresh = made(), made()
    for parameter in fresh.parameters():
        torch.nn.init.zeros_(parameter)
    save_model(model, tmp_path / "model.safetensors")
    assert load_model(fresh, tmp_path / "model.safetensors") == (set(), [])
    assert_close(fresh.state_dict(), model.state_dict(), atol=0, rtol=0)
    assert fresh["one"] is fresh["same"]


@pytest.mark.parametrize(
    "factorization, implementation", slow_but_one(itertools.product(FORMATS, ["auto", "factorized", "reconstructed"]))
)
def test_export_of_a_linear_layer_for_any_leading_sizes(factorization, implementation):
    torch.manual_seed(0)
    layer = FactorizedLinear(33, 13, factorization=factorization, rank=2, implementation=implementation, dtype=torch.float64)
    sizes = {0: Dim("batch"), 1: Dim("steps")}
    program = torch.export.export(layer, (torch.ones(3, 5, 33, dtype=torch.float64),), dynamic_shapes=(sizes,))
    for leading in ((2, 7), (3, 5), (11, 2)):
        x = torch.randn(*leading, 33, dtype=torch.float64)
        assert_close(program.module()(x), layer(x), atol=1e-13, rtol=0)


def run_onnx(program, inputs):
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString())
    names = [one.name for one in session.get_inputs()]
    return [torch.from_numpy(output) for output in session.run(None, {name: one.numpy() for name, one in zip(names, inputs)})]


@pytest.mark.parametrize("cell, implementation", slow_but_one(itertools.product(CELLS, ["factorized", "reconstructed"])))
def test_export_and_onnx_for_any_batch(cell, implementation):
    layer = layer_of(cell, implementation, dtype=torch.float32)
    program = torch.export.export(layer, arguments(layer, 3), dynamic_shapes=any_batch(layer))
    in_onnx = torch.onnx.export(program, dynamo=True, verbose=False)
    for batch in (3, 8):
        x, state = arguments(layer, batch)
        wanted = tensors(layer(x, state))
        assert_close(tensors(program.module()(x, state)), wanted, atol=1e-6, rtol=1e-6)
        assert_close(run_onnx(in_onnx, tensors((x, state))), wanted, atol=1e-6, rtol=1e-5)
    # Each layer is one node where weights are multiplied out; each step is several where not. ONNX knows no projection.
    whole = implementation == "reconstructed" and cell != "projected"
    calls = Counter(str(node.target).removeprefix("aten.") for node in program.graph.nodes)
    assert calls[CELLS[cell][2]] == (2 if whole else 0)
    kernels = Counter(node.op_type for node in in_onnx.model.graph)[cell.upper()]
    assert kernels == (2 if whole and cell in ("gru", "lstm") else 0)


@pytest.mark.slow
def test_onnx_of_linear_layers_in_every_format():
    torch.manual_seed(0)
    layers = [FactorizedLinear(33, 33, factorization=name, rank=2, implementation="factorized") for name in FORMATS]
    model = torch.nn.Sequential(*layers).eval()
    exported = torch.export.export(model, (torch.ones(3, 33),), dynamic_shapes=({0: Dim("batch")},))
    # Not optimized, which would multiply constants out.
    program = torch.onnx.export(exported, dynamo=True, optimize=False, verbose=False)
    saved = sum(
        value.const_value.size for value in program.model.graph.initializers.values() if value.dtype.is_floating_point()
    )
    assert saved == sum(parameter.numel() for parameter in model.parameters()) < 4 * 33 * 34
    x = torch.randn(7, 33)
    assert_close(run_onnx(program, [x]), [model(x)], atol=1e-6, rtol=1e-5)


for test in (
    test_export_of_a_linear_layer_for_any_leading_sizes,
    test_export_and_onnx_for_any_batch,
    test_onnx_of_linear_layers_in_every_format,
):
    test.pytestmark = [*getattr(test, "pytestmark", []), *ignoring_the_exporter]


@both_implementations
@every_cell
def test_checkpointing_gives_the_same_outputs_and_gradients(cell, implementation):
    layer = layer_of(cell, implementation, dropout=0.5).train()
    results = []
    for run in (layer, lambda *inputs: checkpoint(layer, *inputs, use_reentrant=False)):
        x, state = arguments(layer, 4)
        leaves = [x.requires_grad_(), *(part.requires_grad_() for part in (state if isinstance(state, tuple) else (state,)))]
        torch.manual_seed(1)
        outputs = tensors(run(x, state))
        loss = sum(((k + 1) * output.sin()).sum() for k, output in enumerate(outputs))
        results.append([*outputs, *torch.autograd.grad(loss, [*leaves, *layer.parameters()])])
    assert_close(results[0], results[1], atol=1e-13, rtol=0)
    torch.manual_seed(2)
    assert not torch.equal(layer(x, state)[0], results[0][0])  # There was something to preserve.


@pytest.mark.parametrize(("factorization", "dynamic"), zip(FORMATS, [None, True, None, True]))
@pytest.mark.slow
def test_torch_compile_takes_all_batch_sizes_in_one_graph(factorization, dynamic):
    torch.manual_seed(0)
    settings = {"factorization": factorization, "rank": 2, "dtype": torch.float64}
    model = torch.nn.ModuleList([FactorizedLSTM(33, 7, decompose="full", **settings), FactorizedLinear(7, 5, **settings)])

    def run(x):
        return model[1](model[0](x)[0][-1])

    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compiled = torch.compile(run, fullgraph=True, backend=backend, dynamic=dynamic)
    for batch in (3, *range(2, 12)):
        x = torch.randn(2, batch, 33, dtype=torch.float64)
        found, wanted = ([y, *torch.autograd.grad(y.sin().sum(), list(model.parameters()))] for y in (compiled(x), run(x)))
        assert_close(found, wanted, atol=1e-13, rtol=0)
    # Unless told, torch takes the first size for the only one.
    assert len(graphs) == (1 if dynamic else 2)
