"""Factorized matrices in safetensors files: what is written is read again, and nothing else is believed."""

import builtins
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import tensorly_rnn as tlr
from tensorly_rnn.files import _replacing as replacing_room
from tensorly_rnn.files import load_factorized, save_factorized
from tensorly_rnn.files._container import Stored, read, write
from tensorly_rnn.files._numbers import DTYPES, to_array, to_stored

MODES = ((2, 3, 4), (5, 2, 3))
every_format = pytest.mark.parametrize("name", tlr.available_formats())


def drawn(name, **options):
    like = np.zeros((), options.pop("dtype", np.float64))
    return tlr.get_format(name).random(MODES, 2, random_state=0, like=np.atleast_1d(like), **options)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@every_format
def test_what_is_saved_is_loaded(name, dtype, tmp_path):
    whole = drawn(name, dtype=dtype)
    cropped = type(whole)(whole.factors, shape=(22, 29))
    save_factorized(tmp_path / "f.safetensors", {"whole": whole, "cropped": cropped}, {"bias": np.arange(3, dtype=np.int8)})
    found = load_factorized(tmp_path / "f.safetensors")
    assert list(found) == ["whole", "cropped"]
    for key, wanted in (("whole", whole), ("cropped", cropped)):
        one = found[key]
        assert type(one) is type(wanted) and one.shape == wanted.shape and one.rank == wanted.rank
        assert one.tensorized_shape == wanted.tensorized_shape and one.dtype == dtype
        assert all(np.array_equal(a, b) for a, b in zip(one.factors, wanted.factors))
    # The reference reader agrees, and what is loaded is the caller's own.
    assert np.array_equal(load_file(tmp_path / "f.safetensors")["bias"], np.arange(3))
    found["whole"].factors[0][...] = 0
    assert np.array_equal(load_factorized(tmp_path / "f.safetensors")["whole"].factors[0], whole.factors[0])


def test_trees_and_stacks_come_back(tmp_path):
    other = drawn("ht", tree=((0, 2), 1))
    stack = drawn("ht", root_rank=4)
    save_factorized(tmp_path / "f.safetensors", {"other": other, "stack": stack})
    found = load_factorized(tmp_path / "f.safetensors")
    assert found["other"].tree == ((0, 2), 1) and found["stack"].tree is None
    assert found["stack"].stack == 4 and found["stack"].shape == (96, 30)
    for key, wanted in (("other", other), ("stack", stack)):
        assert np.array_equal(found[key].to_matrix(), wanted.to_matrix())


def test_factors_of_torch_are_saved_without_their_graph(tmp_path):
    f = tlr.TTMatrix([torch.ones(1, 2, 2, 1, requires_grad=True)])
    save_factorized(tmp_path / "f.safetensors", {"w": f})
    assert load_factorized(tmp_path / "f.safetensors")["w"].factors[0].tolist() == [[[[1.0], [1.0]], [[1.0], [1.0]]]]


@every_format
def test_factors_are_named_as_in_the_state_dict_of_a_layer(name, tmp_path):
    from tensorly_rnn.nn import FactorizedLinear

    torch.manual_seed(0)
    dense = torch.nn.Linear(60, 50)
    modes = (tlr.factorize_size(50, 2), tlr.factorize_size(60, 2))
    f = tlr.factorize(dense.weight.detach().numpy(), name, modes, n_param=600)
    save_factorized(tmp_path / "f.safetensors", {"layer.weight": f}, {"layer.bias": dense.bias.detach().numpy()})
    model = torch.nn.ModuleDict({"layer": FactorizedLinear(60, 50, factorization=name, rank=f.rank)})
    loaded = model.load_state_dict(safetensors.torch.load_file(tmp_path / "f.safetensors"))
    assert loaded.missing_keys == loaded.unexpected_keys == []
    x = np.random.default_rng(0).normal(size=(3, 60)).astype(np.float32)
    wanted = f.apply(x) + dense.bias.detach().numpy()
    np.testing.assert_allclose(model["layer"](torch.from_numpy(x)).detach().numpy(), wanted, atol=1e-5)


@pytest.mark.parametrize("name", [*DTYPES, "BF16", "F8_E4M3"])
def test_every_dtype_passes_through_bit_for_bit(name, tmp_path):
    size = {"BF16": 2, "F8_E4M3": 1}.get(name) or np.dtype(DTYPES[name]).itemsize
    data = np.random.default_rng(0).integers(0, 2, size=6 * size).astype(np.uint8)
    others = {"odd": Stored("U8", (3,), np.arange(3, dtype=np.uint8)), "none": Stored("F32", (0, 2), np.empty(0, np.uint8))}
    with (tmp_path / "f").open("wb") as file:
        write(file, {"x": Stored(name, (2, 3), data), **others}, {"format": "pt", "é": "ü\n"})
    with safe_open(tmp_path / "f", framework="numpy") as file:
        assert file.get_slice("x").get_dtype() == name and file.get_slice("x").get_shape() == [2, 3]
        assert file.metadata() == {"format": "pt", "é": "ü\n"}
    tensors, metadata = read(tmp_path / "f")
    assert metadata == {"format": "pt", "é": "ü\n"}
    assert np.array_equal(tensors["x"].data, data) and tensors["none"].n_param == 0
    if name in DTYPES:
        again = to_stored("x", to_array(tensors["x"]))
        assert again.dtype == name and np.array_equal(again.data, data)
        assert np.array_equal(load_file(tmp_path / "f")["x"], to_array(tensors["x"]))


def test_bfloat16_rounds_as_torch_does():
    rng = np.random.default_rng(0)
    values = (rng.normal(size=(40, 50)) * 10.0 ** rng.integers(-30, 30, size=(40, 50))).astype(np.float32)
    # In the middle between two neighbours, below and above.
    values[0, :4] = [1 + 2**-8, 1 + 3 * 2**-8, 1 + 2**-8 + 2**-20, -(1 + 2**-8)]
    stored = to_stored("x", values, "BF16")
    wanted = torch.from_numpy(values).to(torch.bfloat16)
    assert stored.dtype == "BF16" and stored.data.nbytes == 4000
    assert np.array_equal(stored.data.view(np.uint16).reshape(40, 50), wanted.view(torch.uint16).numpy())
    assert np.array_equal(to_array(stored), wanted.float().numpy())


def test_a_big_endian_array_is_saved_as_what_it_is(tmp_path):
    save_factorized(tmp_path / "f", {}, {"x": np.arange(3, dtype=">i4")})
    assert load_file(tmp_path / "f")["x"].tolist() == [0, 1, 2]
    assert load_factorized(tmp_path / "f") == {}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "f.safetensors"
    save_factorized(path, {"w": drawn("tt")})
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(replacing_room.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_factorized(path, {"w": drawn("ht")})
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["f.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"w": np.ones((2, 2))},), TypeError, r"matrices\['w'\] must be a factorized matrix.*got ndarray"),
        (([1],), TypeError, "matrices must be a dict of names; got list"),
        (({1: drawn("tt")},), TypeError, "matrices must be a dict of names"),
        (({"w": drawn("tt")}, {"w.factors.0": np.ones(1)}), ValueError, "names of their own; got 'w.factors.0' twice"),
        (({}, {"__metadata__": np.ones(1)}), ValueError, "leave the name '__metadata__'"),
        (({}, {"x": np.array(["a"])}), TypeError, r"tensors\['x'\] must be of a dtype that safetensors has.*got <U1"),
    ],
)
def test_what_cannot_be_saved_is_refused(arguments, error, message, tmp_path):
    with pytest.raises(error, match=message):
        save_factorized(tmp_path / "f", *arguments)
    assert not os.listdir(tmp_path)


def described(**changes):
    one = {"format": "tt", "shape": [24, 30], "tensorized_shape": [[2, 3, 4], [5, 2, 3]], "rank": [1, 2, 2, 1], "n_factors": 3}
    return json.dumps({"version": 1, "matrices": {"w": {**one, **changes}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("[" * 100_000, "RecursionError|JSONDecodeError"),
        ('{"version": 2, "matrices": {}}', "expected version 1, got 2"),
        ('{"version": 1, "matrices": {"w": {}}}', "missing 5 required"),
        (described(format="zz"), "expected a format of .*got 'zz'"),
        (described(shape=7), "got 7"),
        (described(n_factors="3"), "expected a number of factors, got '3'"),
        (described(n_factors=4), "there is no tensor 'w.factors.3'"),
        (described(n_factors=2), "'w' does not fit"),
        (described(shape=[25, 30]), "'w' does not fit"),
        (described(rank=[1, 2, 3, 1]), "'w' does not fit"),
        (described(tensorized_shape=[[24], [30]]), "'w' does not fit"),
        (described(format="bt"), "'w' does not fit"),
        (described(tree=[0, [1, 2]]), "'w' does not fit"),
        (described(other=1), "unexpected keyword"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(text, message, tmp_path):
    factors = {f"w.factors.{k}": factor for k, factor in enumerate(drawn("tt").factors)}
    save_file(factors, tmp_path / "f", metadata={"tensorly_rnn": described()})
    assert load_factorized(tmp_path / "f")["w"].rank == (1, 2, 2, 1)
    save_file(factors, tmp_path / "f", metadata={"tensorly_rnn": text})
    with pytest.raises(ValueError, match=f"^path must.*({message})"):
        load_factorized(tmp_path / "f")


def test_integers_are_no_factors(tmp_path):
    factors = {f"w.factors.{k}": np.ones(factor.shape, np.int32) for k, factor in enumerate(drawn("tt").factors)}
    save_file(factors, tmp_path / "f", metadata={"tensorly_rnn": described()})
    with pytest.raises(ValueError, match="'w.factors.0' is of dtype I32"):
        load_factorized(tmp_path / "f")


def test_what_is_no_safetensors_file_is_refused(tmp_path):
    (tmp_path / "f").write_bytes(b"not at all" * 10)
    with pytest.raises(ValueError, match="^path must be a safetensors file; got .*header too large"):
        load_factorized(tmp_path / "f")
    with pytest.raises(IsADirectoryError, match="got the folder"):
        load_factorized(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_factorized(tmp_path / "none")


def test_a_file_without_factors_is_refused(tmp_path):
    save_file({"weight": np.ones((2, 3)), "bias": np.ones(2)}, tmp_path / "f", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match="^path must hold factorized matrices; got '.*f' with 2 tensors, none of them described"
    ):
        load_factorized(tmp_path / "f")


def test_without_safetensors_the_error_says_what_to_install(tmp_path, monkeypatch):
    save_factorized(tmp_path / "f", {"w": drawn("tt")})
    without(monkeypatch, "safetensors")
    with pytest.raises(ImportError, match=r"^safetensors must be installed; run pip install 'tensorly-rnn\[cli\]'"):
        load_factorized(tmp_path / "f")


def without(monkeypatch, library):
    real = builtins.__import__

    def imported(name, *args):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", imported)


def test_files_need_no_framework_but_numpy(tmp_path):
    save_factorized(tmp_path / "f", {"w": drawn("ht")})
    code = (
        "import sys; from tensorly_rnn.files import load_factorized; f = load_factorized(sys.argv[1])['w']; f.to_matrix(); "
        "print(sorted({'torch', 'jax', 'tensorflow', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "f"], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
