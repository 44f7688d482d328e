"""Whole models: what is replaced, what is kept, by whom it is decomposed, and what a model's inputs are good for."""

import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import torch
import torch.nn.utils.prune
from torch import nn
from torch.testing import assert_close

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLinear, FactorizedLSTM, FactorizedLSTMCell, FactorizedWeight, factorize_module
from tensorly_rnn.nn.conversion.layer_inputs import collect_inputs
from tensorly_rnn.nn.conversion.selection import CONVERSIONS
from tests.strategies import slow_but_one

every_format = pytest.mark.parametrize("factorization", tlr.available_formats())
every_cell = pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])


class Tagger(nn.Module):
    """Embedding, LSTM, a linear layer in two places, a head and a buffer."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 12)
        self.encoder = nn.ModuleDict({"lstm": nn.LSTM(12, 8, 2, batch_first=True, bidirectional=True, dropout=0.5)})
        self.first = nn.Linear(16, 16)
        self.again = self.first
        self.head = nn.Linear(16, 5, bias=False)
        self.norm = nn.BatchNorm1d(5)

    def forward(self, tokens):
        steps, _ = self.encoder["lstm"](self.embedding(tokens))
        return self.norm(self.head(self.again(torch.relu(self.first(steps[:, -1])))))


@pytest.fixture
def tagger():
    torch.manual_seed(0)
    return Tagger().double()


def tokens():
    return torch.arange(21).reshape(7, 3) % 11


def arrays(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@every_format
@pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
def test_full_rank_keeps_what_a_model_computes_and_the_model_itself(tagger, factorization, decompose):
    before, modes = arrays(tagger), [module.training for module in tagger.modules()]
    # The default start of a ring and of blocks need not be exact: only the direct formats are held to it.
    exact = factorization in ("tt", "ht")
    small, report = factorize_module(tagger, factorization=factorization, rank="full", decompose=decompose)
    assert type(small) is Tagger and small.first is small.again and small.first is not tagger.first
    assert isinstance(small.encoder["lstm"], FactorizedLSTM) and isinstance(small.head, FactorizedLinear)
    assert [module.training for module in tagger.modules()] == modes and small.first.training and small.training
    for name, value in tagger.state_dict().items():
        assert torch.equal(value, before[name])
    own = {parameter.data_ptr() for parameter in tagger.parameters()}
    assert not own & {parameter.data_ptr() for parameter in small.parameters()}
    if exact:
        assert_close(small.eval()(tokens()), tagger.eval()(tokens()), atol=1e-11, rtol=0)
        assert all(row.error < 1e-11 for row in report)
    weights = {"input": 4, "layerwise": 8, "full": 4}[decompose]
    assert len(report) == len(report.replaced) == weights + 2


def test_pattern_and_size_choose(tagger):
    asked = {"factorization": "tt", "rank": 2}
    assert type(factorize_module(tagger, "encoder.*", **asked)[0].head) is nn.Linear
    small, report = factorize_module(tagger, ["again", re.compile("^hea")], **asked)
    assert [row.name for row in report] == ["first.weight", "head.weight"]
    assert type(small.encoder["lstm"]) is nn.LSTM and small.first is small.again
    assert [row.name for row in factorize_module(tagger, min_size=17 * 16, **asked)[1]][-1] == "first.weight"
    assert [row.name for row in factorize_module(tagger, "[fh]*", min_size=17 * 16 + 1, **asked)[1]] == []
    with pytest.raises(
        ValueError, match=r"pattern must match a layer; expected some of \['encoder.lstm', 'first', 'again', 'head'\]"
    ):
        factorize_module(tagger, "decoder*", **asked)


def test_inplace_changes_the_model_and_one_layer_is_a_model(tagger):
    norm, head = tagger.norm, tagger.head
    small, report = factorize_module(tagger, "head", factorization="tt", rank=1, inplace=True)
    assert small is tagger and small.norm is norm and isinstance(small.head, FactorizedLinear) and len(report) == 1
    for inplace in (False, True):
        layer, report = factorize_module(head, factorization="tt", rank=1, inplace=inplace)
        assert isinstance(layer, FactorizedLinear) and type(head) is nn.Linear and report.rows[0].name == "weight"


def test_numbers_of_the_report_are_those_of_the_model(tagger):
    small, report = factorize_module(tagger, factorization="ht", compression_ratio=2, decompose="layerwise")
    assert report.n_param_before == sum(one.numel() for one in tagger.parameters())
    assert report.n_param == sum(one.numel() for one in small.parameters())
    for row in report.replaced:
        layer, _, name = row.name.rpartition(".")
        weight = getattr(small.get_submodule(layer), name)
        dense = getattr(tagger.get_submodule(layer), name)
        error = (torch.linalg.norm(dense - weight.matrix()) / torch.linalg.norm(dense)).item()
        assert row.error == pytest.approx(error, rel=1e-9) and 0 < error < 1
        assert row.n_param_before == dense.numel() and row.rank == weight.rank
        assert row.n_param == sum(one.numel() for one in weight.factors) <= dense.numel() / 2
    assert report.replaced and report.n_param_before - report.n_param == sum(
        row.n_param_before - row.n_param for row in report
    )


def test_the_report_prints_as_a_table(tagger):
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    _, report = factorize_module(model, factorization="tt", compression_ratio=30)
    row, kept = report
    assert (row.n_param, row.rank, row.compression_ratio) == (128, (1, 1, 1), 32) and not kept.replaced
    assert str(report).splitlines() == [
        "weight        format        before       after    ratio    error  rank",
        f"0.weight      tt             4,096         128       32{row.error:>9.4f}  (1, 1, 1)",
        "2             kept             130         130        1  the budget is too small: expected at least 24 parameters",
        "all of these                 4,226         258    16.38",
        "whole model                  4,290         322    13.32",
    ]


def test_what_cannot_be_compressed_is_kept_and_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 64))
    embedding = nn.Embedding(64, 64)
    model[2].weight = embedding.weight
    model.add_module("embedding", embedding)
    model.add_module("hooked", nn.Linear(8, 8))
    model.hooked.register_forward_hook(lambda *_: None)
    nn.utils.prune.l1_unstructured(model[4], "weight", 0.5)
    model.add_module("parametrized", nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)))
    model.add_module("attention", nn.MultiheadAttention(8, 2))
    # torch itself does not copy a pruned model.
    kinds = {name: type(module) for name, module in model.named_modules()}
    small, report = factorize_module(model, factorization="tt", compression_ratio=10, inplace=True)
    assert {row.name: row.note for row in report.kept} == {
        "0": "the budget is too small: expected at least 6 parameters",
        "2": "it shares a parameter with another layer",
        "4": "its weights are computed from others",
        "hooked": "it has hooks",
        "parametrized": "its weights are computed from others",
        "attention.out_proj": "its class NonDynamicallyQuantizableLinear may compute something else",
    }
    assert [row.name for row in report.replaced] == ["1.weight", "3.weight"]
    for kept in ("0", "2", "4", "hooked", "parametrized", "attention.out_proj"):
        assert type(small.get_submodule(kept)) is kinds[kept]
    assert small[2].weight is small.embedding.weight
    row = factorize_module(nn.Linear(7, 5), factorization="tt", eps=1e-9)[1].rows[0]
    assert row.note.startswith("no smaller: ") and row.name == "Linear" and not row.replaced
    meta = factorize_module(nn.Linear(7, 5, device="meta"), factorization="tt", rank=1)[1].rows[0]
    assert meta.note == "its weights are on the meta device"


#: Makers of layers that are not supported, and the reason in the report.
UNSUPPORTED = {
    "complex": (lambda: nn.Linear(8, 8, dtype=torch.complex64), "its weights are torch.complex64"),
    "float8_gru": (lambda: nn.GRU(8, 8).to(torch.float8_e5m2), "its weights are torch.float8_e5m2"),
    "float8": (lambda: nn.Linear(8, 8).to(torch.float8_e4m3fn), "its weights are torch.float8_e4m3fn"),
    "lazy": (lambda: nn.LazyLinear(5), "its parameters are not initialized: run the model once before"),
    "empty": (lambda: holding(torch.empty(5, 0)), "a weight has no entries"),
    "no_output": (lambda: holding(torch.empty(0, 5)), "a weight has no entries"),
    "normed": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(8, 8)), "its weights are computed from others"),
    "spectral": (lambda: nn.utils.parametrizations.spectral_norm(nn.LSTMCell(8, 8), "weight_hh"), "its weights are computed from others"),
    "normed_gru": (lambda: nn.utils.parametrizations.weight_norm(nn.GRU(8, 8), "weight_hh_l0"), "its weights are computed from others"),
    "subclass": (lambda: type("Mine", (nn.Linear,), {})(8, 8), "its class Mine may compute something else"),
    "script": (lambda: torch.jit.script(nn.Linear(8, 8)), "it is compiled by TorchScript: convert the model before"),
    "sparse": (lambda: holding(torch.eye(8).to_sparse()), "its weights are torch.sparse_coo"),
    "pruned_bias": (lambda: nn.utils.prune.identity(nn.LSTMCell(8, 8), "bias_ih"), "its weights are computed from others"),
}  # fmt: skip


def holding(weight):
    linear = nn.Linear(8, 8)
    linear.weight = nn.Parameter(weight)
    return linear


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated:DeprecationWarning")
def test_a_layer_that_is_not_supported_is_a_row():
    torch.manual_seed(0)
    model = nn.ModuleDict({name: make() for name, (make, _) in UNSUPPORTED.items()})
    model["supported"] = nn.Linear(16, 16)
    _, report = factorize_module(model, factorization="tt", rank=1, inplace=True)
    assert {row.name: row.note for row in report.kept} == {name: note for name, (_, note) in UNSUPPORTED.items()}
    assert [row.name for row in report.replaced] == ["supported.weight"] and isinstance(model["supported"], FactorizedLinear)
    assert report.n_param == sum(one.numel() for name, one in model.named_parameters() if name.split(".")[0] != "lazy")
    for name, (make, note) in UNSUPPORTED.items():
        if name != "script":
            assert [row.note for row in factorize_module(make(), factorization="tt", rank=1, inplace=True)[1]] == [note]
    with pytest.raises(
        TypeError,
        match="^model must be a torch.nn.Module of Python; got a RecursiveScriptModule. Convert it before TorchScript does",
    ):
        factorize_module(UNSUPPORTED["script"][0](), factorization="tt", rank=1)


def test_frozen_parameters_modes_and_dtypes_stay(tagger):
    tagger.head.requires_grad_(False)
    tagger.first.bias.requires_grad_(False)
    tagger.first.to(torch.bfloat16).eval()
    tagger.head.half()
    small, _ = factorize_module(tagger, factorization="tt", rank=2)
    assert not any(one.requires_grad for one in small.head.parameters())
    assert all(one.requires_grad for one in small.first.weight.factors) and not small.first.bias.requires_grad
    assert small.first.weight.factors[0].dtype == torch.bfloat16 and small.head.weight.factors[0].dtype == torch.float16
    assert not small.first.training and small.encoder["lstm"].training
    assert torch.equal(small.first.bias, tagger.first.bias)


def test_a_transformer_runs_in_both_modes():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    model = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).double()
    small, _ = factorize_module(model, "*.linear?", factorization="tt", rank="full")
    x = torch.randn(3, 5, 16, dtype=torch.float64)
    for mode in (True, False):
        for one in (model, small):
            one.train(mode)
        with torch.no_grad():
            assert_close(small(x), model(x), atol=1e-10, rtol=0)


@pytest.fixture(scope="module")
def dask_executor():
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        with distributed.Client(cluster) as client:
            yield client.get_executor()


def spawned():
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.mark.parametrize("pool", slow_but_one(["threads", "processes", "dask"]))
def test_an_executor_gives_the_same_factors(tagger, pool, request):
    asked = {"factorization": "tr", "compression_ratio": 2, "decompose": "layerwise", "calibration": tokens()}
    serial, report = factorize_module(tagger, **asked)
    if pool == "dask":
        other, again = factorize_module(tagger, executor=request.getfixturevalue("dask_executor"), **asked)
    else:
        with ThreadPoolExecutor(2) if pool == "threads" else spawned() as executor:
            other, again = factorize_module(tagger, executor=executor, **asked)
    assert str(again) == str(report) and len(report.replaced) >= 5
    for name, value in serial.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name


def steps_of(module, x, state):
    """Return the inputs that each weight multiplies, one step of one sequence after the other, by cells."""
    cell_of = {nn.RNN: nn.RNNCell, nn.GRU: nn.GRUCell, nn.LSTM: nn.LSTMCell}[type(module)]
    found = {}
    for layer in range(module.num_layers):
        outputs = []
        for direction in range(1 + module.bidirectional):
            suffix = f"_l{layer}" + ("_reverse" if direction else "")
            cell = cell_of(x.shape[1], module.hidden_size).double()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                setattr(cell, name, getattr(module, name + suffix))
            number = layer * (1 + module.bidirectional) + direction
            now = tuple(one[number] for one in state)
            hidden = []
            for step in reversed(x) if direction else x:
                found.setdefault(f"weight_ih{suffix}", []).append(step)
                found.setdefault(f"weight_hh{suffix}", []).append(now[0])
                now = cell(step, now if len(now) > 1 else now[0])
                now = now if isinstance(now, tuple) else (now,)
                hidden.append(now[0])
            outputs.append(torch.stack(hidden[::-1] if direction else hidden))
        x = torch.cat(outputs, dim=1)
    return found


@every_cell
@pytest.mark.parametrize("given", ["packed", "batch_first", "unbatched"])
@torch.no_grad()
def test_the_inputs_of_recurrent_weights_are_those_of_a_loop(name, given):
    torch.manual_seed(0)
    module = getattr(nn, name)(3, 4, 2, bidirectional=True, batch_first=given == "batch_first").double()
    lengths = {"packed": (2, 5, 3), "batch_first": (4, 4), "unbatched": (4,)}[given]
    sequences = [torch.randn(length, 3, dtype=torch.float64) for length in lengths]
    state = tuple(torch.randn(4, len(lengths), 4, dtype=torch.float64) for _ in range(1 + (name == "LSTM")))
    inputs = {
        "packed": lambda: nn.utils.rnn.pack_sequence(sequences, enforce_sorted=False),
        "batch_first": lambda: torch.stack(sequences),
        "unbatched": lambda: sequences[0],
    }[given]()
    hx = state if given != "unbatched" else tuple(one[:, 0] for one in state)
    names = [(f"weight_ih{s}", f"weight_hh{s}") for s in ("_l0", "_l1_reverse")] + [
        ("weight_hh_l1",),
        ("weight_ih_l0_reverse",),
    ]
    found = collect_inputs(module, (inputs, hx if name == "LSTM" else hx[0]), {module: names})
    assert module.training and not module._forward_pre_hooks
    expected = {}
    for number, x in enumerate(sequences):
        for key, rows in steps_of(module, x, tuple(one[:, number] for one in state)).items():
            expected.setdefault(key, []).extend(rows)
    for group in names:
        rows = torch.cat([torch.stack(expected[key]) for key in group], dim=1).numpy()
        np.testing.assert_allclose(found[module, group].T @ found[module, group], rows.T @ rows, atol=1e-12)


@every_format
def test_calibration_lowers_the_error_of_the_outputs(tagger, factorization):
    asked = {"factorization": factorization, "compression_ratio": 3}
    torch.manual_seed(1)
    linear = nn.Sequential(nn.Linear(32, 48), nn.Tanh(), nn.Linear(48, 32)).double()
    x = torch.randn(300, 32, dtype=torch.float64) * 0.8 ** torch.arange(32)
    plain = factorize_module(linear, **asked)[0]
    refitted, report = factorize_module(linear, calibration=x[:200], **asked)
    assert report.rows[0].output_error < 0.7 * report.rows[0].error
    inner = linear[1](linear[0](x[200:]))
    for number, held_out in ((0, x[200:]), (2, inner)):
        errors = [(one[number](held_out) - linear[number](held_out)).norm().item() for one in (refitted, plain)]
        assert errors[0] < 0.8 * errors[1]


def test_calibration_takes_a_loop_or_arguments_and_says_what_it_did_not_reach(tagger):
    asked = {"factorization": "tt", "rank": 2}
    results = [
        factorize_module(tagger, calibration=given, **asked)
        for given in (tokens(), (tokens(),), {"tokens": tokens()}, lambda model: [model(part) for part in tokens().split(3)])
    ]
    for other, _ in results[1:]:
        assert_close(other.state_dict(), results[0][0].state_dict(), atol=1e-5, rtol=1e-4)
    tagger.add_module("unused", nn.Linear(16, 16, dtype=torch.float64))
    report = factorize_module(tagger, calibration=tokens(), **asked)[1]
    unused = next(row for row in report if row.name == "unused.weight")
    assert unused.note == "the calibration does not reach it" and unused.output_error is None and "-  (1," in str(report)
    assert "outputs" in str(report).splitlines()[0]
    full = factorize_module(tagger, "encoder*", calibration=tokens(), factorization="ht", rank=2, decompose="full")[1]
    assert len(full) == 4 and all(0 < row.output_error < 1 for row in full)


def test_every_class_of_torch_has_ours():
    assert {nn.RNNCell, nn.GRUCell, nn.LSTMCell} < set(CONVERSIONS)
    for theirs, ours in CONVERSIONS.items():
        assert ours.__name__ == f"Factorized{theirs.__name__}"


def test_wrong_arguments_are_errors(tagger):
    def refused(kind, match, *args, **changes):
        with pytest.raises(kind, match=match):
            factorize_module(*(args or (tagger,)), **{"factorization": "tt", "rank": 2, **changes})

    refused(TypeError, "model must be a torch.nn.Module; got list", [])
    refused(ValueError, "rank, eps, n_param or compression_ratio must be given, and only one of them.*got none", rank=None)
    refused(ValueError, "only one of them", n_param=5)
    refused(ValueError, "compression_ratio must be a positive number; got 0", rank=None, compression_ratio=0)
    refused(ValueError, "eps must be a relative error.*at layer 'encoder.lstm'", rank=None, eps=2)
    refused(ValueError, "rank.*at layer 'encoder.lstm'", rank=(1, 2, 1, 1, 1))
    refused(ValueError, "factorization must be", factorization="tucker")
    refused(ValueError, "decompose must be known", decompose="all")
    refused(TypeError, "pattern must be a name pattern; expected str, re.Pattern or a sequence", pattern=3)
    refused(ValueError, "min_size must be an integer of at least 0; got -1", min_size=-1)
    refused(TypeError, "executor must be a concurrent.futures.Executor; got int", executor=2)
    refused(TypeError, "calibration must be inputs of the model.*got int", calibration=3)
    refused(
        TypeError, r"modes must be an option of a layer or a decomposition; got modes=3\. Did you mean .*modes\?$", modes=3
    )
    refused(TypeError, r"got compresion_ratio=4\. Did you mean compression_ratio\?$", compresion_ratio=4, rank=None)
    refused(TypeError, r"got factorisation='tt'\. Did you mean factorization\?$", factorisation="tt", rank=None)
    refused(TypeError, "random_state must be an int or None; got Generator", random_state=np.random.default_rng(0))
    refused(ValueError, "in_modes must multiply to the size or more.*at layer 'first'", in_modes=(2, 2), out_modes=(4, 4))
    before = arrays(tagger)
    with torch.no_grad():
        tagger.head.weight[0, 0] = float("nan")
    refused(ValueError, r"^.* must be finite.*\(at layer 'head'\)", inplace=True)
    assert type(tagger.first) is nn.Linear and torch.equal(tagger.first.weight, before["first.weight"])


def test_a_projected_lstm_is_calibrated_too():
    torch.manual_seed(0)
    lstm = nn.LSTM(24, 16, proj_size=6).double()
    x = torch.randn(9, 40, 24, dtype=torch.float64) * 0.8 ** torch.arange(24)
    asked = {"factorization": "tt", "compression_ratio": 3, "decompose": "layerwise"}
    plain, refitted = (factorize_module(lstm, calibration=given, **asked)[0] for given in (None, x[:, :30]))
    # The products of the weights, in front of the gates, are refitted.
    dense, held_out = lstm.weight_ih_l0, x[:, 30:]
    errors = [(held_out @ (one.weight_ih_l0.matrix() - dense).T).norm().item() for one in (plain, refitted)]
    assert errors[1] < 0.9 * errors[0]


@every_cell
@pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
def test_every_recurrent_layer_is_replaced(name, decompose):
    torch.manual_seed(0)
    settings = {"nonlinearity": "relu"} if name == "RNN" else {}
    model = nn.ModuleDict({"layer": getattr(nn, name)(5, 6, 2, batch_first=True, bidirectional=True, **settings)}).double()
    x = torch.randn(3, 7, 5, dtype=torch.float64)
    calls = []
    small, report = factorize_module(
        model,
        factorization="ht",
        rank="full",
        decompose=decompose,
        implementation="reconstructed",
        calibration=lambda model: calls.append(model["layer"](x)),
    )
    assert len(report.replaced) == (8 if decompose == "layerwise" else 4) and len(calls) == 1
    assert {one.implementation for one in small.modules() if isinstance(one, FactorizedWeight)} == {"reconstructed"}
    outputs, state = small["layer"](x)
    assert_close(outputs, model["layer"](x)[0], atol=1e-10, rtol=0)
    assert_close(state, model["layer"](x)[1], atol=1e-10, rtol=0)


class Stepwise(nn.Module):
    """A cell over the steps of a sequence, from zeros or from a state that is given."""

    def __init__(self, name, **settings):
        super().__init__()
        self.cell = getattr(nn, f"{name}Cell")(5, 6, **settings)

    def forward(self, x, given=False):
        state = x.new_ones(x.shape[1], 6) / 2
        state = (state, state) if isinstance(self.cell, (nn.LSTMCell, FactorizedLSTMCell)) else state
        state, steps = state if given else None, []
        for step in x:
            state = self.cell(step, state)
            steps.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(steps)


@every_cell
@pytest.mark.parametrize("decompose", ["input", "layerwise", "full"])
def test_every_cell_is_replaced_and_calibrated(name, decompose):
    torch.manual_seed(0)
    model = Stepwise(name, **({"nonlinearity": "relu"} if name == "RNN" else {}), bias=decompose != "full").double()
    x = torch.randn(7, 3, 5, dtype=torch.float64)
    asked = {"factorization": "ht", "decompose": decompose, "implementation": "factorized"}
    small, report = factorize_module(model, rank="full", **asked)
    assert (
        [row.name for row in report] == ["cell.weight"]
        if decompose == "full"
        else ["cell.weight_ih", "cell.weight_hh"][: len(report)]
    )
    assert len(report.replaced) == 1 + (decompose == "layerwise") and type(small.cell).__name__ == f"Factorized{name}Cell"
    assert small.cell.bias == (decompose != "full")
    for given in (False, True):
        assert_close(small(x, given), model(x, given), atol=1e-10, rtol=0)
    names = [("weight_ih", "weight_hh"), ("weight_hh",)]
    found = collect_inputs(model, lambda model: [model(x), model(x[:, :1], given=True)], {model.cell: names})
    with torch.no_grad():
        of_h = [
            torch.cat([x.new_zeros(1, 3, 6), model(x)[:-1]]),
            torch.cat([x.new_ones(1, 1, 6) / 2, model(x[:, :1], True)[:-1]]),
        ]
    rows = torch.cat([torch.cat([one, h], dim=2).flatten(0, 1) for one, h in zip((x, x[:, :1]), of_h)]).numpy()
    np.testing.assert_allclose(found[model.cell, names[0]].T @ found[model.cell, names[0]], rows.T @ rows, atol=1e-12)
    np.testing.assert_allclose(
        found[model.cell, names[1]].T @ found[model.cell, names[1]], rows[:, 5:].T @ rows[:, 5:], atol=1e-12
    )
    report = factorize_module(model, rank=1, calibration=x, **asked)[1]
    plain = factorize_module(model, rank=1, **asked)[1]
    assert all(row.error > other.error and row.output_error < 1 for row, other in zip(report, plain))


def test_a_pruned_cell_and_an_unbatched_step():
    torch.manual_seed(0)
    cell = nn.LSTMCell(8, 8)
    unbatched = factorize_module(
        cell, factorization="tt", rank=1, decompose="full", calibration=lambda cell: cell(torch.ones(8))
    )[1]
    assert unbatched.rows[0].output_error < 1
    nn.utils.prune.l1_unstructured(cell, "weight_hh", 0.5)
    row = factorize_module(cell, factorization="tt", rank=1, inplace=True)[1].rows[0]
    assert (row.name, row.note) == ("LSTMCell", "its weights are computed from others")
