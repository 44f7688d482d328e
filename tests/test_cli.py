"""The command line as users run it: what it prints and writes, and one line for whatever goes wrong."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import tensorly_rnn as tlr
from tensorly_rnn._version import __version__
from tensorly_rnn.cli import compress
from tensorly_rnn.cli.entry import main
from tensorly_rnn.files import load_factorized
from tests.test_files import without

COMMAND = [sys.executable, "-m", "tensorly_rnn"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def model(folder):
    """A file with matrices of rank 3, others, and what is no matrix."""
    torch.manual_seed(0)
    f = tlr.TTMatrix.random(((8, 8), (10, 8)), 3, random_state=0)
    weight = torch.from_numpy(f.to_matrix())
    tensors = {
        "encoder.0.weight": weight.float(),
        "encoder.0.bias": torch.randn(64),
        "encoder.1.weight": weight.T.contiguous().double(),
        "half.weight": weight.half(),
        "brain.weight": weight.bfloat16(),
        "tiny.weight": torch.randn(2, 3),
        "ids": torch.arange(80).reshape(8, 10),
        "eight": torch.randn(8, 8).to(torch.float8_e4m3fn),
        "kernel": torch.randn(3, 3, 3),
    }
    safetensors.torch.save_file(tensors, "model.safetensors", metadata={"format": "pt"})
    return tensors


def run(capsys, *arguments):
    status = main([str(one) for one in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def refused(capsys, *arguments, status=2):
    """The one line of standard error."""
    found, out, err = run(capsys, *arguments)
    assert (found, out) == (status, "")
    assert err.startswith("tensorly-rnn: error: ") and err.endswith("\n") and err.count("\n") == 1
    return err.removeprefix("tensorly-rnn: error: ").rstrip("\n")


def cells(out):
    """Rows of a printed table by their first word."""
    return {row[0]: row for row in (re.split(r"  +", line.strip()) for line in out.splitlines()) if row[0]}


def test_plan_prints_counts_costs_and_estimates(capsys):
    status, out, err = run(capsys, "plan", 512, 784, "--budget", 8000, "--batch", 10)
    assert (status, err) == (0, "")
    lines = [re.split(r"  +", line.strip()) for line in out.splitlines()]
    rows = [line for line in lines if line[0] in tlr.available_formats()]
    dense = next(line for line in lines if line[0] == "dense")
    assert dense[1:] == ["401,408", "1.0", f"{2 * 10 * 512 * 784:,}", dense[4], "1.00"]
    assert {row[0] for row in rows} == set(tlr.available_formats())
    modes = tlr.factorize_size(512, 3), tlr.factorize_size(784, 3)
    for name, rank, parameters, ratio, flops, ms, times in rows:
        network = tlr.get_format(name).format.make_network(modes, eval(rank))
        assert parameters == f"{network.n_param:,}" and network.n_param <= 8000
        assert ratio == f"{512 * 784 / network.n_param:,.1f}" and flops == f"{network.cost(10).forward.flops:,}"
        assert float(times) == pytest.approx(float(dense[4]) / float(ms), rel=0.02)
    # The first group has all formats at their largest ranks, the fastest first.
    first = rows[:6]
    assert sorted(row[0] for row in first) == ["bt", "bt", "bt", "ht", "tr", "tt"]
    times = [float(row[5]) for row in first]
    assert times == sorted(times)
    for name, rank, *_ in first:
        blocks = {"n_blocks": eval(rank)[0]} if name == "bt" else {}
        assert eval(rank) == tlr.get_format(name).format.rank_at_most(modes, 8000, **blocks)
    assert all(int(row[2].replace(",", "")) <= 4000 for row in rows[6:])
    assert "estimates, forward only" in out and "140 Gflop/s" in out


def test_plan_takes_a_ratio_an_order_and_formats(capsys):
    status, out, _ = run(capsys, "plan", 256, 256, "--ratio", 64, "--order", 4, "--formats", "tt,ht")
    assert status == 0 and "(4 x 4 x 4 x 4) x (4 x 4 x 4 x 4): at most 1,024 parameters; 64 rows" in out
    assert {row[0] for row in cells(out).values()} & {"tt", "tr", "bt", "ht"} == {"tt", "ht"}
    assert all(
        float(line.split(")")[-1].split()[1].replace(",", "")) >= 64
        for line in out.splitlines()
        if line.startswith((" tt", " ht"))
    )


def test_plan_without_room(capsys):
    message = refused(capsys, "plan", 512, 784, "--budget", 10)
    least = min(tlr.n_param(name, ((8, 8, 8), (14, 8, 7)), 1) for name in tlr.available_formats())
    assert message.startswith(f"the budget must leave room for rank 1; expected at least {least} parameters, got 10")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "the following arguments are required: COMMAND"),
        ("solve", "invalid choice: 'solve'"),
        ("plan 512", "required: COLS"),
        ("plan 0 5", "argument ROWS: expected an integer from 1 to 1,000,000,000, got '0'"),
        ("plan 5 1e3", "argument COLS: expected an integer"),
        ("plan ² 3", "argument ROWS: expected an integer"),
        (f"plan {'9' * 5000} 3", "argument ROWS: expected an integer"),
        ("plan 5 5 --budget 3 --ratio 2", "not allowed with argument --budget"),
        ("plan 5 5 --ratio nan", "argument --ratio: expected a positive number, got 'nan'"),
        ("plan 5 5 --ratio inf", "argument --ratio: expected a positive number"),
        ("plan 5 5 --order 17", "argument --order: expected an integer from 1 to 16, got '17'"),
        ("plan 5 5 --formats tt,xx", "argument --formats: expected one of bt, ht, tr, tt, got 'xx'"),
        ("plan 5 5 --rat 3", "unrecognized arguments: --rat 3"),
        ("compress a b --format tt", "one of the arguments --eps --rank --ratio --budget is required"),
        ("compress a b --eps 0.1", "required: --format"),
        ("compress a b --format tt --eps 1", "argument --eps: expected a relative error between 0 and 1, got '1'"),
        ("compress a b --format tt --rank 0", "argument --rank: expected an integer, a share"),
        ("compress a b --format tt --rank 1,x", "argument --rank: expected an integer, a share"),
        ("compress a b --format tt --rank 1 --eps 0.1", "argument --eps: not allowed with argument --rank"),
        ("compress a b --format tt --rank 1 --min-size -1", "argument --min-size: expected"),
        ("inspect none.safetensors", "none.safetensors: No such file or directory"),
        ("inspect .", ". is a folder; expected a safetensors file"),
        ("compress none.safetensors out.safetensors --format tt --rank 2", "none.safetensors: No such file"),
    ],
)
def test_a_command_typed_wrongly_gets_one_line(arguments, message, capsys, folder):
    assert message in refused(capsys, *arguments.split())
    assert not os.listdir()


def test_version_and_help(capsys):
    assert run(capsys, "--version") == (0, f"tensorly-rnn {__version__}\n", "")
    for arguments in ((), ("plan",), ("compress",), ("inspect",)):
        status, out, err = run(capsys, *arguments, "--help")
        assert (status, err) == (0, "") and out.startswith("usage: tensorly-rnn") and "Exit status" in out


def test_compress_writes_factors_and_all_else_bit_for_bit(capsys, model):
    before = Path("model.safetensors").read_bytes()
    status, out, err = run(capsys, "compress", "model.safetensors", "small.safetensors", "--format", "tt", "--eps", 0.01)
    assert (status, err) == (0, "")
    assert Path("model.safetensors").read_bytes() == before and sorted(os.listdir()) == [
        "model.safetensors",
        "small.safetensors",
    ]
    saved = safetensors.torch.load_file("small.safetensors")
    found = load_factorized("small.safetensors")
    compressed = {"encoder.0.weight", "encoder.1.weight", "half.weight", "brain.weight"}
    assert set(found) == compressed
    for name, tensor in model.items():
        if name not in compressed:
            assert saved[name].dtype == tensor.dtype and saved[name].shape == tensor.shape
            assert bytes(saved[name].view(torch.uint8).numpy()) == bytes(tensor.view(torch.uint8).numpy())
    with safe_open("small.safetensors", framework="numpy") as file:
        assert file.metadata()["format"] == "pt"
    rows = cells(out)
    for name in compressed:
        dense = model[name].double().numpy()
        f = found[name]
        exact = type(f)([factor.astype(float) for factor in f.factors]).to_matrix()
        error = np.linalg.norm(exact - dense) / np.linalg.norm(dense)
        _, shape, rank, n_before, n_after, ratio, printed = rows[name][:7]
        assert shape == f"{dense.shape[0]} x {dense.shape[1]}" and eval(rank) == f.rank == (1, 3, 1)
        assert (n_before, n_after, ratio) == ("5,120", f"{f.n_param:,}", f"{f.compression_ratio:.4g}")
        assert float(printed) == pytest.approx(error, rel=0.02, abs=2e-7) and error < 0.01
        factors = [saved[f"{name}.factors.{k}"] for k in range(len(f.factors))]
        assert all(one.dtype == model[name].dtype for one in factors)
        assert all(np.array_equal(one.double().numpy(), two) for one, two in zip(factors, f.factors))
    assert rows["tiny.weight"][2] == "kept" and "no smaller" in rows["tiny.weight"][-1]
    total = sum(tensor.numel() for tensor in model.values())
    after = sum(tensor.numel() for tensor in saved.values())
    assert f"{after:,} numbers in {os.path.getsize('small.safetensors'):,} bytes" in out and f"fewer than {total:,}." in out


@pytest.mark.parametrize("name", tlr.available_formats())
def test_a_compressed_model_goes_into_factorized_layers(name, capsys, folder):
    from tensorly_rnn.nn import FactorizedLinear

    torch.manual_seed(0)
    dense = torch.nn.Sequential(torch.nn.Linear(60, 50), torch.nn.Tanh(), torch.nn.Linear(50, 40))
    safetensors.torch.save_file(dense.state_dict(), "dense.safetensors")
    assert run(capsys, "compress", "dense.safetensors", "small.safetensors", "--format", name, "--ratio", 3)[0] == 0
    found = load_factorized("small.safetensors")
    assert all(f.compression_ratio >= 3 and f.name == name for f in found.values()) and len(found) == 2
    layers = [
        FactorizedLinear(
            *sizes, factorization=name, rank=f.rank, out_modes=f.tensorized_shape[0], in_modes=f.tensorized_shape[1]
        )
        for sizes, f in (((60, 50), found["0.weight"]), ((50, 40), found["2.weight"]))
    ]
    small = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1])
    loaded = small.load_state_dict(safetensors.torch.load_file("small.safetensors"))
    assert loaded.missing_keys == loaded.unexpected_keys == []
    for key, layer in (("0.weight", layers[0]), ("2.weight", layers[1])):
        np.testing.assert_allclose(layer.weight.matrix().detach().numpy(), found[key].to_matrix(), atol=1e-6)


@pytest.mark.parametrize(
    ("options", "names", "rank"),
    [
        (["--layer", "encoder.*", "--rank", "2"], ["encoder.0.weight", "encoder.1.weight"], (1, 2, 1)),
        (["--layer", "*.1.*", "--layer", "half*", "--rank", "1,2,1"], ["encoder.1.weight", "half.weight"], (1, 2, 1)),
        (["--layer", "[be]*", "--min-size", "5120", "--budget", "400"], None, (1, 2, 1)),
        (["--layer", "encoder.0.weight", "--rank", "0.09", "--order", "2"], ["encoder.0.weight"], (1, 3, 1)),
        (["--layer", "encoder.0.weight", "--rank", "2", "--order", "3"], ["encoder.0.weight"], (1, 2, 2, 1)),
    ],
)
def test_which_matrices_and_how_far(options, names, rank, capsys, model):
    assert run(capsys, "compress", "model.safetensors", "small.safetensors", "--format", "tt", *options)[0] == 0
    found = load_factorized("small.safetensors")
    assert sorted(found) == (names or ["brain.weight", "encoder.0.weight", "encoder.1.weight"])
    assert {f.rank for f in found.values()} == {rank}
    if "--order" in options:
        assert found["encoder.0.weight"].order == int(options[-1])


def test_notes_say_what_was_not_as_asked(capsys, model):
    arguments = ["compress", "model.safetensors", "small.safetensors", "--format", "tt", "--layer", "brain*"]
    assert "more than --eps as BF16" in run(capsys, *arguments, "--eps", 1e-3)[1]
    assert "rank clipped" in run(capsys, *arguments, "--order", 3, "--rank", "1,3,99,1", "--force")[1]
    assert "rank clipped" not in run(capsys, *arguments, "--order", 3, "--rank", "1,3,16,1", "--force")[1]
    assert "more than" not in run(capsys, *arguments, "--eps", 0.02, "--force")[1]


def test_a_compressed_file_can_be_compressed_further(capsys, model):
    arguments = ["--format", "ht", "--rank", "3"]
    assert run(capsys, "compress", "model.safetensors", "one.safetensors", "--layer", "half*", *arguments)[0] == 0
    assert run(capsys, "compress", "one.safetensors", "one.safetensors", "--layer", "brain*", "--force", *arguments)[0] == 0
    assert sorted(load_factorized("one.safetensors")) == ["brain.weight", "half.weight"]
    message = refused(capsys, "compress", "one.safetensors", "two.safetensors", "--layer", "half*", *arguments)
    assert message.startswith("--layer must match a matrix; expected some of") and message.endswith("got 'half*'.")


def test_inspect_shows_tensors_factors_and_totals(capsys, model):
    status, out, _ = run(capsys, "inspect", "model.safetensors")
    assert status == 0
    rows = cells(out)
    assert rows["brain.weight"] == ["brain.weight", "BF16", "64 x 80", "5,120"]
    assert rows["eight"][1] == "F8_E4M3" and rows["kernel"][2] == "3 x 3 x 3"
    total = sum(tensor.numel() for tensor in model.values())
    assert f"9 tensors in {os.path.getsize('model.safetensors'):,} bytes; 0 factorized matrices." in out
    assert out.endswith(f"\n{total:,} parameters.\n")
    assert (
        run(capsys, "compress", "model.safetensors", "s.safetensors", "--format", "bt", "--rank", "3,2", "--layer", "e*")[0]
        == 0
    )
    status, out, _ = run(capsys, "inspect", "s.safetensors")
    f = load_factorized("s.safetensors")["encoder.0.weight"]
    ratio = f"{f.compression_ratio:.4g}"
    assert cells(out)["encoder.0.weight"] == [
        *("encoder.0.weight", "F32", "64 x 80", f"{f.n_param:,}", ratio, "bt", "(3, (2, 2))", "(8 x 8) (10 x 8)")
    ]
    now = total - 2 * 5120 + 2 * f.n_param
    assert "2 factorized matrices" in out and f"{now:,} parameters in place of {total:,}: {total / now:.4g} times" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer", "decoder*", "--rank", "2"], "--layer must match a matrix; expected some of "),
        (["--layer", "encoder*", "--layer", "ids", "--rank", "2"], "got 'ids'"),
        (["--min-size", "5121", "--rank", "2"], "--min-size must leave a matrix; expected at most 5,120, got 5,121"),
        (["--layer", "encoder.0*", "--rank", "1,2"], "encoder.0.weight: rank must"),
        (["--layer", "encoder.0*", "--rank", "2,2,2"], "encoder.0.weight: rank must be 1 at the ends"),
        (["--layer", "encoder.0*", "--budget", "7"], "none of 1 matrices became smaller, and nothing was written"),
        (["--layer", "encoder.0*", "--rank", "full"], "its factors are no smaller: 9,216 parameters"),
    ],
)
def test_what_cannot_be_compressed(options, message, capsys, model):
    arguments = ["compress", "model.safetensors", "small.safetensors", "--format", "tt", *options]
    assert message in refused(capsys, *arguments)
    assert os.listdir() == ["model.safetensors"]


def test_a_weight_that_is_not_finite_is_named(capsys, folder):
    weight = np.ones((8, 9))
    weight[3, 4] = np.nan
    save_file({"good": np.ones((8, 9)), "bad": weight, "good.factors.0": np.ones(1)}, "m.safetensors")
    arguments = ["compress", "m.safetensors", "o.safetensors", "--format", "tt", "--rank", "1", "--layer"]
    assert refused(capsys, *arguments, "bad").startswith("bad: matrix must be finite")
    assert refused(capsys, *arguments, "good") == "good: the name of a factor is taken: good.factors.0."
    save_file({"ids": np.arange(6).reshape(2, 3)}, "m.safetensors")
    assert refused(capsys, *arguments, "ids").startswith("the file has no matrix to compress")
    assert os.listdir() == ["m.safetensors"]


def test_outputs_that_are_not_written_over(capsys, model):
    def arguments(output, *more):
        return ["compress", "model.safetensors", output, "--format", "tt", "--rank", "2", "--layer", "half*", *more]

    Path("there").write_text("precious")
    os.mkdir("folder")
    os.mkfifo("pipe")
    assert refused(capsys, *arguments("there")) == "there exists already; replace it with --force."
    assert refused(capsys, *arguments("folder", "--force")) == "folder is not a regular file."
    assert refused(capsys, *arguments("pipe", "--force")) == "pipe is not a regular file."
    assert refused(capsys, *arguments("none/out.safetensors")) == "none/out.safetensors: its folder does not exist."
    assert Path("there").read_text() == "precious" and sorted(os.listdir()) == ["folder", "model.safetensors", "pipe", "there"]
    assert run(capsys, *arguments("there", "--force"))[0] == 0 and len(load_factorized("there")) == 1


@pytest.mark.parametrize("suffix", ["pt", "pth", "bin", "safetensors"])
def test_a_pickle_is_never_loaded(suffix, capsys, folder):
    class Payload:
        def __reduce__(self):
            return os.mkdir, ("pwned",)

    name = f"m.{suffix}"
    for legacy in (False, True):
        torch.save({"w": Payload()}, name, _use_new_zipfile_serialization=not legacy)
        for arguments in (("inspect", name), ("compress", name, "o.safetensors", "--format", "tt", "--rank", "2")):
            message = refused(capsys, *arguments)
            assert message.startswith(f"{name} is a pickle") and "never loaded" in message
    assert os.listdir() == [name]


@pytest.mark.parametrize("nested", [False, True])
def test_the_advice_converts_a_pickle_and_an_archive_of_numpy(nested, capsys, folder):
    weight = torch.arange(12.0).reshape(3, 4)
    state = {"tied": weight, "w": weight, "turned": weight.T}
    torch.save({"model": state, "epoch": 3} if nested else state, "m.pt")
    message = refused(capsys, "inspect", "m.pt")
    load, save = message.partition("Python: ")[2].partition(". If the tensors")[0].split("; ")
    take = re.search(r"state = state\['model'\]", message)[0] if nested else ""
    exec("\n".join([load, take, save]), {"torch": torch, "safetensors": safetensors})
    assert {name: one.tolist() for name, one in load_file("m.safetensors").items()} == {
        name: one.tolist() for name, one in state.items()
    }
    np.savez("m.npz", **{name: one.numpy() for name, one in state.items()})
    Path("m.npz").rename(path := Path("n.safetensors" if nested else "n.npz"))
    message = refused(capsys, "inspect", path)
    assert message.startswith(f"{path} is an archive of NumPy; expected a safetensors file.")
    exec(message.partition("Python: ")[2], {"numpy": np, "safetensors": safetensors})
    assert run(capsys, "inspect", "n.safetensors")[0] == 0
    with zipfile.ZipFile("other.zip", "w") as archive:
        archive.writestr("text", "text")
    assert "path must be a safetensors file; got 'other.zip'" in refused(capsys, "inspect", "other.zip", status=1)


def test_broken_files(capsys, model):
    whole = Path("model.safetensors").read_bytes()
    for content, words in ((b"", "header too small"), (whole[:-1], "not fully covered"), (b"{}" * 99, "header too large")):
        Path("broken.safetensors").write_bytes(content)
        message = refused(capsys, "inspect", "broken.safetensors", status=1)
        assert message.startswith("path must be a safetensors file; got 'broken.safetensors'") and words in message
    parts = [f"model-{k}-of-7.safetensors" for k in range(1, 8)]
    index = {"metadata": {}, "weight_map": {f"w{k}": part for k, part in enumerate(parts * 2)}}
    Path("model.safetensors.index.json").write_text(json.dumps(index))
    for command, *options in (["inspect"], ["compress", "o.safetensors", "--format", "tt", "--rank", "2"]):
        message = refused(capsys, command, "model.safetensors.index.json", *options, status=1)
        assert message == (
            "path must be a safetensors file; got 'model.safetensors.index.json', an index of 7 files. Give one at a time: "
            f"{', '.join(parts[:5])} and 2 more."
        )
    Path("model.safetensors.index.json").write_text('{"weight_map": [1]}')
    assert "header too large" in refused(capsys, "inspect", "model.safetensors.index.json", status=1)
    save_file({"w": np.ones(2)}, "broken.safetensors", metadata={"tensorly_rnn": "{"})
    assert "metadata of tensorly_rnn" in refused(capsys, "inspect", "broken.safetensors", status=1)
    # A header of 640 bytes begins as a pickle does.
    save_file({"w": np.ones(2)}, "long.safetensors", metadata={"m": "x" * 557})
    assert Path("long.safetensors").read_bytes()[:2] == b"\x80\x02"
    assert run(capsys, "inspect", "long.safetensors")[0] == 0


def test_described_factors_that_are_missing(capsys, model):
    assert (
        run(capsys, "compress", "model.safetensors", "s.safetensors", "--format", "tt", "--rank", "2", "--layer", "half*")[0]
        == 0
    )
    with safe_open("s.safetensors", framework="numpy") as file:
        metadata = file.metadata()
    save_file({"half.weight.factors.0": np.ones(2)}, "s.safetensors", metadata=metadata)
    assert "factors that are not there: half.weight.factors.1" in refused(capsys, "inspect", "s.safetensors", status=1)


def test_names_cannot_command_the_terminal(capsys, folder):
    save_file({"\x1b[2J[bold]w": np.ones((2, 3))}, "m.safetensors")
    status, out, _ = run(capsys, "inspect", "m.safetensors")
    assert status == 0 and "\\x1b[2J[bold]w" in out and "\x1b" not in out
    message = refused(capsys, "compress", "m.safetensors", "o", "--format", "tt", "--rank", "1,2,3", "--layer", "*")
    assert "\x1b" not in message


@pytest.mark.parametrize(
    ("library", "arguments"), [("rich", ["plan", "256", "256"]), ("safetensors", ["inspect", "model.safetensors"])]
)
def test_a_missing_library_is_named(library, arguments, capsys, model, monkeypatch):
    if library == "rich":
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    else:
        without(monkeypatch, library)
    assert f"{library} must be installed; run pip install 'tensorly-rnn[cli]'" in refused(capsys, *arguments, status=1)


def test_memory_and_interruption(capsys, model, monkeypatch):
    arguments = ["compress", "model.safetensors", "o.safetensors", "--format", "tt", "--rank", "2"]

    def fails(error):
        def factorize(*_, **__):
            raise error

        monkeypatch.setattr(compress, "factorize", factorize)

    fails(MemoryError())
    assert "not enough memory" in refused(capsys, *arguments, status=1)
    fails(KeyboardInterrupt())
    assert run(capsys, *arguments) == (130, "", "")
    fails(OSError(5, "Input/output error"))
    assert refused(capsys, *arguments, status=1) == "o.safetensors: Input/output error"
    assert os.listdir() == ["model.safetensors"]


def test_a_full_disk(model):
    # By a shell: a function of Python's between fork and exec is not safe beside the threads of other libraries.
    limited = ["sh", "-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh"]
    arguments = ["compress", "model.safetensors", "small.safetensors", "--format", "tt", "--rank", "2"]
    done = subprocess.run([*limited, *COMMAND, *arguments], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "tensorly-rnn: error: small.safetensors: File too large\n"
    assert os.listdir() == ["model.safetensors"]


def test_in_a_process_of_its_own(model):
    done = subprocess.run([*COMMAND, "inspect", "model.safetensors"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "brain.weight" in done.stdout
    code = "import sys; from tensorly_rnn.cli.entry import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    arguments = ["compress", "model.safetensors", "o.safetensors", "--format", "tt", "--rank", "2", "--layer", "brain*"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("\nFalse\n")
    # Whoever reads may stop, and whatever reads may be full.
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, "inspect", "model.safetensors"], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, "inspect", "model.safetensors"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "tensorly-rnn: error: No space left on device\n")


def test_control_c_ends_quietly(folder):
    rng = np.random.default_rng(0)
    save_file({f"w{k}": rng.normal(size=(256, 256)) for k in range(200)}, "model.safetensors")
    arguments = ["compress", "model.safetensors", "o.safetensors", "--format", "bt", "--rank", "2,5"]
    # A job in the background ignores the signal, and so would what it starts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 60
    # The new file is open as soon as the work begins.
    while len(os.listdir()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2)  # libraries that are imported as the work begins have ways of their own with signals
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "")
    assert os.listdir() == ["model.safetensors"]


def test_the_bar_shows_where_there_is_a_terminal(model, capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich's word for a terminal
    arguments = ["compress", "model.safetensors", "o.safetensors", "--format", "tt", "--rank", "2", "--layer", "brain*"]
    status, _, err = run(capsys, *arguments)
    assert status == 0 and "brain.weight" in err and "1/1" in err


def test_the_numbers_of_a_plain_file_are_read_by_numpy_alone(capsys, folder):
    save_file({"w": np.random.default_rng(0).normal(size=(16, 16))}, "m.safetensors")
    assert run(capsys, "compress", "m.safetensors", "o.safetensors", "--format", "tr", "--rank", "2")[0] == 0
    assert set(load_file("o.safetensors")) == {"w.factors.0", "w.factors.1"}
