"""Compressed models in folders and files: what is loaded is what was saved, and every other content gets one message."""

import json
import math
import os
from fnmatch import fnmatchcase

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import tensorly_rnn as tlr
from tensorly_rnn import files
from tensorly_rnn.files import _replacing
from tensorly_rnn.nn import (
    FactorizedGRUCell,
    FactorizedLinear,
    FactorizedLSTM,
    FactorizedWeight,
    factorize_module,
    factorized,
    load_factorized,
    save_factorized,
    structure_of,
    with_structure,
)
from tensorly_rnn.nn.conversion.structure import LAYERS
from tests.strategies import examples, in_pairs, slow_but_one

pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN:UserWarning")


class Tagger(nn.Module):
    """Tied embedding and head, a nested recurrent layer, a linear layer in two places, buffers."""

    def __init__(self, kind="LSTM", proj_size=0, **settings):
        super().__init__()
        projection = {"proj_size": proj_size} if proj_size else {}
        self.embedding = nn.Embedding(40, 20)
        self.encoder = nn.ModuleDict({"rnn": getattr(nn, kind)(20, 12, 2, bidirectional=True, **projection, **settings)})
        self.first = nn.Linear(2 * (proj_size or 12), 2 * (proj_size or 12))
        self.again = self.first
        self.norm = nn.BatchNorm1d(2 * (proj_size or 12))
        self.last = nn.Linear(2 * (proj_size or 12), 20)
        self.head = nn.Linear(20, 40, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, tokens):
        steps = self.encoder["rnn"](self.embedding(tokens))[0]
        return self.head(self.last(self.norm(self.again(self.first(steps))[-1])))


def tokens():
    return torch.arange(35).reshape(7, 5)


def made(make):
    torch.manual_seed(0)
    return make()


def assert_same(found, wanted):
    """The same parameters and buffers, bit for bit."""
    state = found.state_dict()
    assert list(state) == list(wanted.state_dict())
    for name, tensor in wanted.state_dict().items():
        assert state[name].dtype == tensor.dtype and torch.equal(state[name], tensor), name


@in_pairs(
    factorization=tlr.available_formats(),
    decompose=("input", "layerwise", "full"),
    kind=("RNN", "GRU", "LSTM", "projected"),
    dtype=(torch.float32, torch.float64, torch.bfloat16),
    slow=lambda factorization, *_: factorization in ("bt", "ht"),
)
def test_what_is_saved_is_loaded_into_the_dense_class(factorization, decompose, kind, dtype, tmp_path):
    settings = {"kind": "LSTM", "proj_size": 6} if kind == "projected" else {"kind": kind}
    small = made(lambda: Tagger(**settings))
    asked, width = {"factorization": factorization, "rank": 2}, small.first.in_features
    rnn, sizes = LAYERS[f"Factorized{settings.pop('kind')}"], {"num_layers": 2, "bidirectional": True}
    small.encoder["rnn"] = rnn(20, 12, decompose=decompose, **sizes, **settings, **asked)
    small.first = small.again = FactorizedLinear(width, width, **asked)
    small.last = FactorizedLinear(width, 20, **asked)
    small.to(dtype)
    small.encoder.requires_grad_(False)
    save_factorized(small, tmp_path / "new" / "folder")
    assert sorted(os.listdir(tmp_path / "new" / "folder")) == ["model.safetensors", "structure.json"]
    torch.manual_seed(1)
    dense = Tagger(rnn.__name__.removeprefix("Factorized"), **settings).to(dtype).eval()
    dense.encoder.requires_grad_(False)
    before, drawn = {name: one.clone() for name, one in dense.state_dict().items()}, torch.get_rng_state()
    found = load_factorized(tmp_path / "new" / "folder", dense)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert_same(found, small)
    assert found.first is found.again and found.head.weight is found.embedding.weight and not found.first.training
    assert {name: one.requires_grad for name, one in found.named_parameters()} == {
        name: one.requires_grad for name, one in small.named_parameters()
    }
    assert all(torch.equal(one, before[name]) for name, one in dense.state_dict().items())
    with torch.no_grad():
        assert torch.equal(found(tokens()), small.eval()(tokens()))
    # The tied weight is in the file once.
    assert "head.weight" not in files._container.read(tmp_path / "new" / "folder" / "model.safetensors")[0]


layers = st.fixed_dictionaries(
    {
        "name": st.sampled_from(sorted(LAYERS)),
        "factorization": st.sampled_from(tlr.available_formats()),
        "rank": st.integers(1, 4) | st.sampled_from(["full", 0.7]),
        "decompose": st.sampled_from(["input", "layerwise", "full"]),
        "bias": st.booleans(),
        "implementation": st.sampled_from(["auto", "factorized"]),
        "bidirectional": st.booleans(),
        "num_layers": st.integers(1, 2),
        "gate_mode": st.sampled_from(["first", "last", None]),
        "input_modes": st.sampled_from([None, (5, 3)]),
    }
)


def drawn_layer(name, **options):
    """A layer with those of the options that its class has, of padded sizes."""
    cls = LAYERS[name]
    torch.manual_seed(0)
    if cls is FactorizedLinear:
        names = ("factorization", "rank", "bias", "implementation")
        return cls(13, 7, **{one: options[one] for one in names}, in_modes=options["input_modes"])
    if "Cell" in name:
        options = {one: value for one, value in options.items() if one not in ("bidirectional", "num_layers")}
    if options["decompose"] == "full":
        options["input_modes"] = None
    return cls(13, 6, **options)


@examples(6)
@given(layers, st.sampled_from([torch.float32, torch.float64, torch.bfloat16]))
def test_layers_in_sequence_need_no_model(tmp_path_factory, options, dtype):
    folder = tmp_path_factory.mktemp("saved")
    layer = drawn_layer(**options).to(dtype)
    parts = nn.Sequential(nn.Embedding(9, 13), nn.Dropout(0.25), nn.Sequential(layer, nn.LayerNorm(7)), nn.LSTM(3, 2, 2))
    for model in (layer, factorized_embedding(parts.to(dtype))):
        save_factorized(model, folder)
        found = load_factorized(folder)
        assert_same(found, model)
        assert repr(found) == repr(model) and not any(one.is_meta for one in found.parameters())
        assert structure_of(found) == structure_of(model)


def factorized_embedding(model):
    factorized(model[0], factorization="tt", rank=2)
    return model


def test_ranks_of_one_layer_that_no_argument_expresses_come_back(tmp_path):
    lstm = made(lambda: nn.LSTM(40, 64))
    small, _ = factorize_module(lstm, factorization="tt", compression_ratio=20, decompose="layerwise")
    assert small.weight_ih_l0.rank != small.weight_hh_l0.rank
    again = with_structure(nn.LSTM(40, 64), json.loads(json.dumps(structure_of(small))))
    assert str(again.load_state_dict(small.state_dict())) == "<All keys matched successfully>"
    assert_same(again, small)
    # A layer in factors of other ranks takes the place of the dense one.
    other = FactorizedLSTM(40, 64, factorization="ht", rank=2, decompose="layerwise")
    save_factorized(small, tmp_path)
    assert_same(load_factorized(tmp_path, other), small)
    assert_same(load_factorized(str(tmp_path)), small)


class Holder(nn.Module):
    """A weight in factors, a cell and a parametrized convolution in a class of its own."""

    def __init__(self, rank):
        super().__init__()
        self.weight = FactorizedWeight(6, (10,), factorization="tr", rank=rank)
        self.weight.reset(1.0)
        self.cell = FactorizedGRUCell(4, 6, factorization="tt", rank=rank)
        self.conv = factorized(nn.Conv2d(8, 6, 3), factorization="ht", rank=rank)


def test_weights_of_other_modules_are_rebuilt_too(tmp_path):
    wanted = made(lambda: Holder(3))
    save_factorized(wanted, tmp_path)
    assert_same(load_factorized(tmp_path, Holder(2)), wanted)
    with pytest.raises(ValueError, match=r"^model must be given for .*Call load_factorized\(path, model\)"):
        load_factorized(tmp_path)


def write_factors(path, model, factorization, pattern, order=2):
    """Write the state of a model as the command line does, with factors drawn for the matrices that match; return these."""
    state = {name: one.detach().numpy() for name, one in model.state_dict().items()}
    matrices = {
        name: tlr.get_format(factorization).random(
            tuple(tlr.factorize_size(size, order) for size in state[name].shape), 2, std=0.2, random_state=0, like=state[name]
        )
        for name in sorted(state)
        if state[name].ndim == 2 and fnmatchcase(name, pattern)
    }
    # A layer in two places is in a file once.
    matrices, state = ({n: one for n, one in of.items() if not n.startswith("again.")} for of in (matrices, state))
    files.save_factorized(path, matrices, {name: one for name, one in state.items() if name not in matrices})
    return matrices


@in_pairs(
    factorization=tlr.available_formats(),
    kind=("RNN", "GRU", "LSTM", "projected"),
    pattern=("*", "*weight_ih*", "*weight_hh*", "*hh_l1*", "*h[ri]*", "*hr*", "[eh]*"),
    slow=lambda factorization, *_: factorization in ("bt", "ht"),
)
def test_a_file_of_the_command_line_goes_into_layers_in_factors(factorization, kind, pattern, tmp_path):
    settings = {"kind": "LSTM", "proj_size": 6} if kind == "projected" else {"kind": kind}
    model = made(lambda: Tagger(**settings)).eval()
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    matrices = write_factors(tmp_path / "f.safetensors", model, factorization, pattern)
    found = load_factorized(tmp_path / "f.safetensors", model)
    fewer = sum(one.n_param - math.prod(one.shape) for one in matrices.values())
    assert sum(one.numel() for one in found.parameters()) == sum(one.numel() for one in model.parameters()) + fewer
    assert found.again is found.first and not set(matrices) & set(found.state_dict())
    expected = model.state_dict() | {name: torch.from_numpy(one.to_matrix()) for name, one in matrices.items()}
    expected |= {"again.weight": expected["first.weight"]}
    model.load_state_dict(expected)
    with torch.no_grad():
        torch.testing.assert_close(found(tokens()), model(tokens()), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("factorization", slow_but_one(tlr.available_formats(), kept=3))
def test_matrices_of_a_file_are_those_of_cells_linear_layers_and_embeddings(factorization, tmp_path):
    model = made(lambda: nn.ModuleList([nn.Embedding(24, 30), nn.Linear(30, 50), nn.LSTMCell(30, 8)])).double()
    matrices = write_factors(tmp_path / "f", model, factorization, "*", order=3)
    found = load_factorized(tmp_path / "f", model)
    weights = {"0.weight": found[0].weight, "1.weight": found[1].weight.matrix()}
    weights |= {f"2.{name}": getattr(found[2], name).matrix() for name in ("weight_ih", "weight_hh")}
    assert set(weights) == set(matrices) and found[0].parametrizations.weight[0].rank == matrices["0.weight"].rank
    for name, weight in weights.items():
        np.testing.assert_allclose(weight.detach().numpy(), matrices[name].to_matrix(), atol=1e-12)
    # The gates are known where the modes allow it: learning rates depend on them.
    assert found[2].weight_ih.n_gates == 4 and found[1].weight.rank == matrices["1.weight"].rank
    with pytest.raises(ValueError, match="^model must be given for '.*f'"):
        load_factorized(tmp_path / "f")


def test_a_file_with_another_tree_is_refused(tmp_path):
    other = tlr.HTMatrix.random(((2, 2, 2), (3, 2, 2)), 2, tree=((0, 2), 1), random_state=0)
    files.save_factorized(tmp_path / "f", {"weight": other})
    with pytest.raises(ValueError, match=r"path must hold factors of HT\(tree=None\); got HT.* at 'weight'"):
        load_factorized(tmp_path / "f", nn.Linear(12, 8, bias=False))


def saved(folder, change=lambda structure: structure):
    """A folder with a compressed layer, whose structure is changed afterwards."""
    small = FactorizedLinear(12, 8, factorization="tt", rank=2)
    save_factorized(nn.ModuleDict({"layer": small}), folder)
    structure = json.loads((folder / "structure.json").read_text())
    (folder / "structure.json").write_text(json.dumps(change(structure)))
    return nn.ModuleDict({"layer": nn.Linear(12, 8)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {**s, "version": 2}, "structure must be of version 1; got 2. Update tensorly_rnn"),
        (lambda s: [], "structure must be the result of structure_of; got list"),
        (lambda s: {"version": 1}, "structure must be the result of structure_of; got dict"),
        (lambda s: {**s, "weights": {"layer.weight": {}}}, "expected .* at 'layer.weight', got {}"),
        (lambda s: s["weights"]["layer.weight"].update(rank=[1, 3, 1]) or s, "model must be .*size mismatch"),
        (
            lambda s: s["weights"]["layer.weight"].update(rank=[2, 2, 1]) or s,
            "rank must be 1 at the ends.*at layer 'layer.weight'",
        ),
        (
            lambda s: s["weights"]["layer.weight"].update(rows=9) or s,
            r"expected shape \(9, 12\) at 'layer.weight', got shape \(8, 12\)",
        ),
        (lambda s: s["modules"]["layer"].update({"class": "FactorizedGRU"}) or s, "expected a GRU at 'layer', got a Linear"),
        (
            lambda s: s["modules"].update(other=s["modules"]["layer"]) or s,
            "expected a module or parameter at 'other', got none",
        ),
        (
            lambda s: s["modules"]["layer"]["arguments"].update(size=3) or s,
            "unexpected keyword argument 'size'.*at layer 'layer'",
        ),
    ],
)
def test_a_structure_that_does_not_fit_gets_one_message(change, message, tmp_path):
    model = saved(tmp_path, change)
    with pytest.raises((TypeError, ValueError), match=message) as caught:
        load_factorized(tmp_path, model)
    assert "\n" not in str(caught.value) and type(model["layer"]) is nn.Linear


def test_another_model_or_missing_file_gets_one_message(tmp_path):
    model = saved(tmp_path)
    for other, message in (
        (nn.ModuleDict({"layer": nn.Linear(12, 9)}), r"expected shape \(8, 12\) at 'layer.weight', got shape \(9, 12\)"),
        (nn.ModuleDict({"other": nn.Linear(12, 8)}), "expected a module or parameter at 'layer', got none"),
        (nn.ModuleDict({"layer": nn.Linear(12, 8, bias=False)}), "Unexpected key.*layer.bias"),
        (nn.ModuleDict({"layer": nn.Linear(12, 8), "more": nn.Linear(2, 2)}), "Missing key.*more.weight"),
    ):
        with pytest.raises(ValueError, match=f"^model must be of the class .*{message}"):
            load_factorized(tmp_path, other)
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got dict"):
        load_factorized(tmp_path, {})
    with pytest.raises(ValueError, match="^model must be in memory; got parameters on the meta device"):
        load_factorized(tmp_path, model.to("meta"))
    model = nn.ModuleDict({"layer": nn.Linear(12, 8)})
    with pytest.raises(TypeError, match="path must be a path; expected a str or a pathlib.Path"):
        load_factorized(3, model)
    for name in ("structure.json", "model.safetensors"):
        (tmp_path / name).rename(tmp_path / "away")
        with pytest.raises(FileNotFoundError, match=f"path must be a folder of save_factorized; expected {name} in it"):
            load_factorized(tmp_path, model)
        (tmp_path / "away").rename(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_factorized(tmp_path / "nowhere", model)
    (tmp_path / "structure.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match="^path must have a structure as save_factorized writes it; got '.*structure.json'"):
        load_factorized(tmp_path, model)


def test_what_cannot_be_saved_is_refused_and_nothing_is_half_written(tmp_path, monkeypatch):
    saved(tmp_path)
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
    with pytest.raises(TypeError, match="model must be a torch.nn.Module; got int"):
        save_factorized(3, tmp_path)
    with pytest.raises(TypeError, match="model must have a state of tensors .*got torch.complex128 on cpu at 'weight'"):
        save_factorized(nn.Linear(2, 2, dtype=torch.complex128), tmp_path)
    twice = factorized(nn.Linear(8, 8), factorization="tt", rank=1)
    nn.utils.parametrize.register_parametrization(twice, "weight", nn.Identity())
    with pytest.raises(ValueError, match="no other parametrizations of a weight in factors; got .*Identity.* at 'weight'"):
        save_factorized(twice, tmp_path)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_replacing.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_factorized(nn.Linear(3, 3), tmp_path)
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
