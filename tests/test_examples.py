"""The examples run as their users run them; what they write is read back."""

import csv
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
COLUMNS = [
    "data", "split", "seed", "system", "factorization", "rank", "decompose", "how", "epochs", "train_pixels", "test_pixels",
    "left_out", "chance", "input_hidden_parameters", "input_hidden_ratio", "recurrent_parameters", "recurrent_ratio",
    "accuracy_before_fine_tuning", "accuracy", "average_accuracy", "kappa", "seconds_per_epoch",
]  # fmt: skip
SYSTEMS = {"dense LSTM", "TT-LSTM", "TR-LSTM", "BT-LSTM", "HT-LSTM", "FDHT-LSTM"}


def run(*arguments, program="indian_pines.py"):
    command = [sys.executable, str(EXAMPLES / program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indian_pines")
    done = run("--quick", "--output", folder)
    assert done.returncode == 0, done.stderr
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return folder, done.stdout, rows


@pytest.mark.slow
def test_results_have_every_system_on_both_splits(quick):
    _, _, rows = quick
    assert list(rows[0]) == COLUMNS
    for split in ("random", "blocked"):
        for how in ("scratch", "compressed"):
            found = {row["system"] for row in rows if (row["split"], row["how"]) == (split, how)}
            assert found == (SYSTEMS if how == "scratch" else SYSTEMS - {"dense LSTM"})
    assert len(rows) == 22
    assert {(row["train_pixels"], row["test_pixels"]) for row in rows} == {("1025", "2000")}
    assert {row["data"] for row in rows} == {"real (AVIRIS Indian Pines, shipped with TensorLy)"}


@pytest.mark.slow
def test_every_system_is_better_than_chance(quick):
    _, _, rows = quick
    for row in rows:
        if row["how"] == "scratch" or row["split"] == "random":
            margin = 0.05 if row["split"] == "random" else 0.0
            assert float(row["accuracy"]) > float(row["chance"]) + margin, row
            assert float(row["kappa"]) > 0, row


@pytest.mark.slow
def test_counts_are_those_of_the_layers(quick):
    _, _, rows = quick
    by_system = {row["system"]: row for row in rows}
    dense = by_system["dense LSTM"]
    assert int(dense["input_hidden_parameters"]) == 4 * 64 * 1620
    assert int(dense["recurrent_parameters"]) == 4 * 64 * (1620 + 64)
    for name, row in by_system.items():
        assert float(row["recurrent_ratio"]) == pytest.approx(4 * 64 * 1684 / int(row["recurrent_parameters"]))
        if name == "FDHT-LSTM":
            assert row["input_hidden_parameters"] == ""
        else:
            assert int(row["recurrent_parameters"]) - int(row["input_hidden_parameters"]) == 4 * 64 * 64


@pytest.mark.slow
def test_blocked_split_names_what_falls_out(quick):
    _, printed, rows = quick
    left_out = {row["left_out"] for row in rows if row["split"] == "blocked"}
    assert len(left_out) == 1 and "Oats" in left_out.pop()
    assert {row["left_out"] for row in rows if row["split"] == "random"} == {""}
    assert "Oats" in " ".join(printed.split())


@pytest.mark.slow
def test_pictures_are_not_blank(quick):
    folder, printed, _ = quick
    for name in ("accuracy_against_parameters", "training_curves", "classified_map"):
        pixels = matplotlib.image.imread(folder / f"{name}.png")[..., :3]
        assert min(pixels.shape[:2]) > 400
        colors = np.unique((pixels.reshape(-1, 3) * 15).round(), axis=0)
        assert len(colors) > 30
        assert 0.03 < np.mean((pixels < 0.9).any(axis=-1)) < 0.9
    assert "written to" in printed


@pytest.mark.slow
def test_curves_cover_every_epoch(quick):
    folder, _, rows = quick
    with (folder / "curves.csv").open() as file:
        curves = list(csv.DictReader(file))
    assert list(curves[0]) == ["split", "seed", "system", "how", "epoch", "loss", "accuracy", "seconds"]
    for row in rows:
        key = [row[name] for name in ("split", "seed", "system", "how")]
        epochs = [int(line["epoch"]) for line in curves if [line[name] for name in ("split", "seed", "system", "how")] == key]
        assert epochs == list(range(6 if row["how"] == "compressed" else 1, 9))
    assert all(float(line["loss"]) > 0 for line in curves)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--systems", "tt,cp"], "unknown name 'cp', expected some of tt, tr, bt, ht, fdht, layerwise"),
        (["--rank", "tt=0"], "rank of tt must be positive integers as in tt=4, got 'tt=0'"),
        (["--rank", "bt=3"], "rank of bt must be positive integers as in bt=2,4, got 'bt=3'"),
        (["--rank", "xx=3"], "unknown system 'xx'"),
        (["--device", "abacus"], "device 'abacus' is unknown or not available here"),
        (["--seeds", "0"], "expected a positive integer, got '0'"),
        (["--splits", "half"], "unknown name 'half', expected some of random, blocked"),
        (["--data", "missing.npz"], "missing.npz is not a readable .npz file"),
        (["--colour", "red"], "unrecognized arguments: --colour red"),
    ],
)
def test_a_wrong_flag_gives_one_clear_line(arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def hyperspectral(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import hyperspectral

    return hyperspectral


@pytest.mark.parametrize("seed", range(5))
def test_no_blocked_test_window_overlaps_a_training_window(hyperspectral, seed):
    labels = hyperspectral.load_scene().labels
    train, test = hyperspectral.blocked_split(labels, 0.1, hyperspectral.OVERLAP_RADIUS, np.random.default_rng(seed))
    rows, columns = np.divmod(np.concatenate([train, test]), labels.shape[1])
    split = len(train)
    apart = np.maximum(abs(rows[:split, None] - rows[None, split:]), abs(columns[:split, None] - columns[None, split:]))
    assert apart.min() == 9
    assert (labels.ravel()[train] > 0).all() and (labels.ravel()[test] > 0).all()
    assert 0.095 < len(train) / np.count_nonzero(labels) < 0.105
    assert len(test) > 1500


def test_random_split_takes_a_tenth_of_every_class(hyperspectral):
    labels = hyperspectral.load_scene().labels
    train, test = hyperspectral.random_split(labels, 0.1, np.random.default_rng(0))
    assert np.intersect1d(train, test).size == 0
    assert len(train) + len(test) == np.count_nonzero(labels) == 10249
    for label in range(1, 17):
        members = np.count_nonzero(labels == label)
        assert np.count_nonzero(labels.ravel()[train] == label) == max(1, round(0.1 * members))


def test_windows_are_the_neighbourhoods(hyperspectral):
    import torch

    scene = hyperspectral.load_scene()
    train = np.arange(0, 21025, 7)
    windows = hyperspectral.Windows(scene.cube, train, torch.device("cpu"))
    mean, deviation = (f(scene.cube.reshape(-1, 200)[train], axis=0) for f in (np.mean, np.std))
    standard = (scene.cube - mean) / deviation
    found = windows(torch.tensor([50 * 145 + 60, 0]))
    assert found.shape == (2, 10, 1620)
    inside = standard[46:55, 56:65].transpose(2, 0, 1).reshape(10, 1620)
    np.testing.assert_allclose(found[0].numpy(), inside, atol=1e-5)
    reflected = np.pad(standard[:9, :9], ((4, 0), (4, 0), (0, 0)), mode="reflect")[:9, :9]
    np.testing.assert_allclose(found[1].numpy(), reflected.transpose(2, 0, 1).reshape(10, 1620), atol=1e-5)


@pytest.mark.slow
def test_a_matrix_is_decomposed_in_all_formats(tmp_path):
    done = run("--quick", "--output", tmp_path, program="decompose_matrix.py")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("data: real (AVIRIS Indian Pines, shipped with TensorLy); 1296 x 40")
    assert "ht: " in done.stderr and "bt: " in done.stderr
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["format"] for row in rows} == {"tt", "tr", "bt", "ht"}
    errors = [float(row["relative error"]) for row in rows]
    assert errors == sorted(errors) and errors[-1] < 0.7
    assert all(int(row["parameters"]) <= 1296 * 40 / 100 for row in rows)
    for picture in ("formats.png", "cuts.png"):
        assert np.ptp(matplotlib.image.imread(tmp_path / picture)) > 0.5


@pytest.mark.slow
def test_a_matrix_of_ones_own_is_decomposed(tmp_path):
    matrix = np.random.default_rng(0).normal(size=(36, 30)).astype(np.float32)
    np.save(tmp_path / "weight.npy", matrix)
    done = run("--data", tmp_path / "weight.npy", "--ratio", 4, "--output", tmp_path, program="decompose_matrix.py")
    assert done.returncode == 0, done.stderr
    (tmp_path / "text.npy").write_text("no array")
    for arguments, message in (
        (("--data", tmp_path / "text.npy"), "--data must be a readable .npy file"),
        (("--ratio", "-1"), "expected a positive number, got '-1'"),
    ):
        failed = run(*arguments, program="decompose_matrix.py")
        assert failed.returncode != 0
        assert message in failed.stderr and "Traceback" not in failed.stderr


def test_a_compact_lstm_is_trained_without_torch(tmp_path):
    program = EXAMPLES / "numpy_training.py"
    checked = (
        f"import runpy, sys; sys.path.insert(0, {str(EXAMPLES)!r}); sys.argv = ['x', '--quick', '--output', {str(tmp_path)!r}]\n"
        f"runpy.run_path({str(program)!r}, run_name='__main__')\n"
        "assert not {'torch', 'jax', 'tensorflow', 'paddle'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", checked], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "data: real digits" in done.stdout and "HT-LSTM" in done.stdout
    with (tmp_path / "results.csv").open() as file:
        rows = {row["system"]: row for row in csv.DictReader(file)}
    assert {name: int(row["parameters"]) for name, row in rows.items()} == {
        "dense LSTM": 17536, "TT-LSTM": 576, "TR-LSTM": 650, "BT-LSTM": 416, "HT-LSTM": 456,
    }  # fmt: skip
    # What guessing gives is log(10) = 2.3.
    assert all(float(row["loss"]) < 1.9 for row in rows.values())
    assert float(rows["dense LSTM"]["training accuracy"]) > 0.9
    pixels = matplotlib.image.imread(tmp_path / "cued_recall.png")[..., :3]
    assert min(pixels.shape[:2]) > 400 and len(np.unique((pixels.reshape(-1, 3) * 15).round(), axis=0)) > 30
    failed = run("--decay", "-1", program="numpy_training.py")
    assert failed.returncode == 2 and "expected a positive number, got '-1'" in failed.stderr
