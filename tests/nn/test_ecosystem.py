"""Factorized layers in torch's ecosystem: the table of docs/ecosystem.md, and its tools on all cells, directions and formats."""

import copy
import io
import itertools
import pickle
from collections import Counter
from pathlib import Path

import onnxruntime
import pytest
import torch
from safetensors.torch import load, load_file, load_model, save, save_file, save_model
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


class Model(torch.nn.Module):
    """An LSTM and a linear layer: torch's own, or factorized ones of an implementation."""

    def __init__(self, implementation=None):
        super().__init__()
        torch.manual_seed(0)
        self.implementation, self.lstm, self.head = implementation, torch.nn.LSTM(11, 7), torch.nn.Linear(7, 5)
        if implementation:
            settings = {"factorization": "tt", "rank": 2, "implementation": implementation}
            self.lstm = FactorizedLSTM.from_lstm(self.lstm, **settings)
            self.head = FactorizedLinear.from_linear(self.head, **settings)

    def forward(self, x):
        return self.head(self.lstm(x)[0])


def reloaded(model, x):
    other = Model(model.implementation).eval()
    torch.nn.init.zeros_(next(other.parameters()))
    other.load_state_dict(load(save(model.state_dict())))
    return other


def autocast(model, x):
    def run(x):
        with torch.autocast("cpu", torch.bfloat16):
            return model(x)

    return run


def compiled(model, x):
    torch._dynamo.reset()
    return torch.compile(model, fullgraph=True, backend="aot_eager")


def exported(model, x, **axes):
    return torch.export.export(model, (x,), dynamic_shapes=({axis: Dim(name) for name, axis in axes.items()},))


def run_onnx(file):
    session = onnxruntime.InferenceSession(file)
    names = [one.name for one in session.get_inputs()]

    def run(*inputs):
        found = session.run(None, {name: one.numpy() for name, one in zip(names, inputs)})
        return [torch.from_numpy(one) for one in found] if len(found) > 1 else torch.from_numpy(found[0])

    return run


def onnx_of_a_program(program):
    return run_onnx(torch.onnx.export(program, dynamo=True, verbose=False).model_proto.SerializeToString())


def onnx_of_a_trace(model, x):
    file = io.BytesIO()
    torch.onnx.export(model, (x,), file, dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "steps", 1: "batch"}})
    return run_onnx(file.getvalue())


def quantized(model, x):
    found = torch.ao.quantization.quantize_dynamic(model)
    changed = [type(one) is not type(other) for one, other in zip(found.modules(), model.modules())]
    return "quantized" if any(changed) else "not changed"


def jagged(model, x):
    def run(x):
        nested = torch.nested.nested_tensor(list(model.lstm(x)[0].unbind(1)), layout=torch.jagged)
        return torch.stack(list(model.head(nested).unbind()), 1)

    return run


TOOLS = {
    "`state_dict`, safetensors": reloaded,
    "`pickle`, `copy.deepcopy`": lambda model, x: pickle.loads(pickle.dumps(copy.deepcopy(model))),
    "`torch.autocast`": autocast,
    "gradient checkpointing": lambda model, x: lambda x: checkpoint(model, x, use_reentrant=False),
    "`torch.compile`, `fullgraph=True`": compiled,
    "`torch.export`, `Dim` for the batch": lambda model, x: exported(model, x, batch=1).module(),
    "`torch.export`, `Dim` for batch and steps": lambda model, x: exported(model, x, batch=1, steps=0).module(),
    "ONNX, `dynamo=True`": lambda model, x: onnx_of_a_program(exported(model, x, batch=1)),
    "ONNX, `dynamo=False`": onnx_of_a_trace,
    "`torch.jit.trace`": lambda model, x: torch.jit.trace(model, (x,)),
    "`torch.jit.script`": lambda model, x: torch.jit.script(model),
    "`quantize_dynamic`": quantized,
    "jagged nested tensors, linear layer": jagged,
    "jagged nested tensors, LSTM": lambda model, x: (
        lambda x: model.lstm(torch.nested.nested_tensor(list(x.unbind(1)), layout=torch.jagged))
    ),
}

PAGE = Path(__file__).parents[2] / "docs" / "ecosystem.md"
IMPLEMENTATIONS = (None, "reconstructed", "factorized")
ROWS = [[cell.strip() for cell in row.split("|")[1:5]] for row in PAGE.read_text().splitlines() if row.startswith("|")][2:]
# Those whose code cheaper tests of the default tier run.
SLOW = ("compile", "export", "ONNX", "trace")


def agrees(run, model, *shape):
    x = torch.randn(*shape, 11, generator=torch.Generator().manual_seed(1))
    try:
        found = run(x)
    except Exception:  # Any error; a wrong result is none.
        return False
    tolerance = 0.05 if found.dtype == torch.bfloat16 else 1e-5
    assert_close(found.float(), model(x), atol=tolerance, rtol=tolerance)
    return True


def outcome(tool, model):
    try:
        run = TOOLS[tool](model, torch.randn(5, 3, 11))
    except Exception:
        return "an error"
    if isinstance(run, str):
        return run
    taken = [agrees(run, model, *shape) for shape in ((5, 3), (5, 8), (7, 2))]
    return {(True,) * 3: "all sizes", (True, True, False): "all batches", (False,) * 3: "an error"}[tuple(taken)]


def test_the_table_has_every_tool():
    assert [row[0] for row in ROWS] == list(TOOLS)


@pytest.mark.filterwarnings("ignore")  # those of exporters, of tracing and of what torch has deprecated
@pytest.mark.parametrize(
    ("tool", "implementation", "said"),
    [
        pytest.param(tool, implementation, said, marks=pytest.mark.slow if any(name in tool for name in SLOW) else ())
        for tool, *cells in ROWS
        for implementation, said in zip(IMPLEMENTATIONS, cells)
    ],
)
def test_the_table_says_what_a_tool_does(tool, implementation, said):
    assert outcome(tool, Model(implementation).eval()) == said


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


@pytest.mark.parametrize("cell, implementation", slow_but_one(itertools.product(CELLS, ["factorized", "reconstructed"])))
def test_export_and_onnx_for_any_batch(cell, implementation):
    layer = layer_of(cell, implementation, dtype=torch.float32)
    program = torch.export.export(layer, arguments(layer, 3), dynamic_shapes=any_batch(layer))
    in_onnx = torch.onnx.export(program, dynamo=True, verbose=False)
    run = run_onnx(in_onnx.model_proto.SerializeToString())
    for batch in (3, 8):
        x, state = arguments(layer, batch)
        wanted = tensors(layer(x, state))
        assert_close(tensors(program.module()(x, state)), wanted, atol=1e-6, rtol=1e-6)
        assert_close(run(*tensors((x, state))), wanted, atol=1e-6, rtol=1e-5)
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
    assert_close(run_onnx(program.model_proto.SerializeToString())(x), model(x), atol=1e-6, rtol=1e-5)


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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factorization", "decompose", "dynamic"), [*zip(FORMATS, (*DECOMPOSE, "full"), [None, True, None, True])]
)
def test_torch_compile_takes_all_sizes_in_one_graph_without_the_steps(factorization, decompose, dynamic):
    torch.manual_seed(0)
    settings = {"factorization": factorization, "rank": 2, "dtype": torch.float64}
    model = torch.nn.ModuleList([FactorizedLSTM(33, 7, decompose=decompose, **settings), FactorizedLinear(7, 5, **settings)])

    def run(x):
        return model[1](model[0](x)[0])

    torch._dynamo.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append([str(node.target) for node in graph.graph.nodes])
        return graph.forward

    compiled = torch.compile(run, fullgraph=True, backend=backend, dynamic=dynamic)
    for steps, batch in ((2, 3), (4, 5), (7, 2), (3, 9)):
        x = torch.randn(steps, batch, 33, dtype=torch.float64)
        found, wanted = ([y, *torch.autograd.grad(y.sin().sum(), list(model.parameters()))] for y in (compiled(x), run(x)))
        assert_close(found, wanted, atol=1e-13, rtol=0)
    # Unless told, torch takes the first sizes for the only ones.
    assert [sum("unroll" in target for target in targets) for targets in graphs] == [1] * (1 if dynamic else 2)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("ours", [FactorizedGRU, FactorizedLSTM])
def test_torch_compile_under_autocast(ours, dtype):
    torch.manual_seed(0)
    layer, x = ours(11, 7, factorization="tt", rank=2, implementation="factorized"), torch.randn(4, 3, 11, dtype=dtype)
    torch._dynamo.reset()
    compiled = torch.compile(layer, fullgraph=True, backend="eager")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found, wanted = compiled(x)[0], layer(x)[0]
    assert found.dtype == wanted.dtype
    assert_close(found, wanted, atol=0.02, rtol=0)


@pytest.mark.slow
def test_an_export_of_any_number_of_steps_is_saved_and_loaded():
    layer = layer_of("lstm", "factorized")
    axes = {0: Dim("steps"), 1: Dim("batch")}
    file = io.BytesIO()
    torch.export.save(torch.export.export(layer, (arguments(layer, 3)[0],), dynamic_shapes=(axes,)), file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    x = torch.randn(9, 4, 11, dtype=torch.float64)
    found, wanted = (
        [*tensors(y), *torch.autograd.grad(y[0].sin().sum(), list(owner.parameters()))]
        for owner, y in ((loaded, loaded(x)), (layer, layer(x)))
    )
    assert_close(found, wanted, atol=1e-13, rtol=0)


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore:.*torch.jit.trace:DeprecationWarning")
@pytest.mark.parametrize("cell, implementation", slow_but_one(itertools.product(CELLS, ["factorized", "reconstructed"]), 6))
def test_a_trace_takes_all_sizes_with_a_state(cell, implementation):
    layer = layer_of(cell, implementation)
    traced = torch.jit.trace(layer, arguments(layer, 3))
    for steps, batch in ((2, 3), (1, 8), (5, 1)):
        x, state = arguments(layer, batch)
        x = torch.cat([x, x, x])[:steps]
        assert_close(tensors(traced(x, state)), tensors(layer(x, state)), atol=1e-13, rtol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("layer", [FactorizedLinear(4, 3), FactorizedLSTM(4, 3)])
def test_scripting_is_refused_with_the_ways_that_work(layer):
    with pytest.raises(TypeError, match=r"torch.jit.script.*torch.jit.trace\(module, x\).*to_linear\(\)"):
        torch.jit.script(torch.nn.Sequential(layer))
