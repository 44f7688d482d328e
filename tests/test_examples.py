"""The examples run as their users run them; what they write is read back."""

import subprocess
import sys

import matplotlib.image
import numpy as np
import pytest

from tests.example_runs import EXAMPLES, run, start, table, wrong_flag

COLUMNS = [
    "data", "split", "seed", "system", "factorization", "rank", "decompose", "how", "epochs", "train_pixels", "test_pixels",
    "left_out", "chance", "input_hidden_parameters", "input_hidden_ratio", "recurrent_parameters", "recurrent_ratio",
    "accuracy_before_fine_tuning", "accuracy", "average_accuracy", "kappa", "seconds_per_epoch",
]  # fmt: skip
# One that is decomposed directly, one that is fitted, and one that holds both matrices.
SYSTEMS = {"dense LSTM", "TT-LSTM", "BT-LSTM", "FDHT-LSTM"}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("indian_pines")
    printed = run("indian_pines.py", "--quick", "--systems", "tt,bt,fdht", "--output", folder)
    return folder, printed, table(folder / "results.csv")


@pytest.mark.slow
def test_results_have_every_system_on_both_splits(quick):
    _, _, rows = quick
    assert list(rows[0]) == COLUMNS
    for split in ("random", "blocked"):
        for how in ("scratch", "compressed"):
            found = {row["system"] for row in rows if (row["split"], row["how"]) == (split, how)}
            assert found == (SYSTEMS if how == "scratch" else SYSTEMS - {"dense LSTM"})
    assert len(rows) == 14
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
    curves = table(folder / "curves.csv")
    assert list(curves[0]) == ["split", "seed", "system", "how", "epoch", "loss", "accuracy", "seconds"]
    for row in rows:
        key = [row[name] for name in ("split", "seed", "system", "how")]
        epochs = [int(line["epoch"]) for line in curves if [line[name] for name in ("split", "seed", "system", "how")] == key]
        assert epochs == list(range(6 if row["how"] == "compressed" else 1, 9))
    assert all(float(line["loss"]) > 0 for line in curves)


@pytest.mark.parametrize(
    ("program", "arguments", "message"),
    [
        ("indian_pines", "--systems tt,cp", "unknown name 'cp', expected some of tt, tr, bt, ht, fdht, layerwise"),
        ("indian_pines", "--rank tt=0", "rank of tt must be positive integers as in tt=4, got 'tt=0'"),
        ("indian_pines", "--rank bt=3", "rank of bt must be positive integers as in bt=2,4, got 'bt=3'"),
        ("indian_pines", "--rank xx=3", "unknown system 'xx'"),
        ("indian_pines", "--device abacus", "device 'abacus' is unknown or not available here"),
        ("indian_pines", "--seeds 0", "expected a positive integer, got '0'"),
        ("indian_pines", "--splits half", "unknown name 'half', expected some of random, blocked"),
        ("indian_pines", "--data missing.npz", "missing.npz is not a readable .npz file"),
        ("indian_pines", "--colour red", "unrecognized arguments: --colour red"),
        ("action_recognition", "--systems cp", "unknown name 'cp', expected some of dense, tt, tr, bt, ht, fdht, layerwise"),
        ("action_recognition", "--rank bt=0,1", "rank of bt must be positive integers as in bt=2,4, got 'bt=0,1'"),
        ("action_recognition", "--dropout 1", "expected a number from 0 up and below 1, got '1'"),
        ("action_recognition", "--task kinetics", "invalid choice: 'kinetics'"),
        ("action_recognition", "--systems tt --data nowhere", "--data must be a folder of ucf11"),
        (
            "captioning",
            "--data missing",
            "--data must be a folder in MSCOCO's layout; annotations/captions_train2014.json is not",
        ),
        (
            "captioning",
            "--front-end nowhere:make",
            "--front-end must be module:factory; nowhere:make fails with ModuleNotFound",
        ),
        ("captioning", "--front-end torch", "--front-end must be module:factory; torch fails with AttributeError"),
        ("captioning", "--rank tt=4,4", "rank of tt must be positive integers as in tt=6, got 'tt=4,4'"),
        ("captioning", "--systems ht", "unknown name 'ht', expected some of dense, tt, bt"),
        ("captioning", "--beam 0", "expected a positive integer, got '0'"),
        ("image_generation", "--data missing", "--data must be a folder with MNIST's files; train-images-idx3-ubyte or"),
        ("image_generation", "--rank bt=4", "rank of bt must be positive integers as in bt=1,4, got 'bt=4'"),
        ("image_generation", "--systems cp", "unknown name 'cp', expected some of dense, bt, tt, tr, ht"),
        ("image_generation", "--output /dev/null/x", "cannot write to the folder /dev/null/x: Not a directory"),
        ("recover_weight", "--noise -1", "expected a positive number, got '-1'"),
        ("recover_weight", "--data missing.npy", "--data must be a readable .npy file"),
        ("recover_weight", "--output /dev/null/x", "cannot write to the folder"),
        ("paper_counts", "--seeds 3", "unrecognized arguments: --seeds 3"),
        ("paper_counts", "--output /dev/null/x", "cannot write to the folder"),
        ("numpy_training", "--decay -1", "expected a positive number, got '-1'"),
        ("decompose_matrix", "--ratio -1", "expected a positive number, got '-1'"),
    ],
)
def test_a_wrong_flag_gives_one_clear_line(examples, program, arguments, message, tmp_path, capsys):
    error = wrong_flag(program, ["--output", tmp_path / "out", *arguments.split()], capsys)
    assert message in error.splitlines()[-1]


@pytest.fixture
def hyperspectral(examples):
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
    process = start("decompose_matrix.py", "--quick", "--output", tmp_path)
    printed, progress = process.communicate()
    assert process.returncode == 0, progress
    assert printed.startswith("data: real (AVIRIS Indian Pines, shipped with TensorLy); 576 x 20")
    assert "ht: " in progress and "bt: " in progress
    rows = table(tmp_path / "results.csv")
    assert {row["format"] for row in rows} == {"tt", "tr", "bt", "ht"}
    errors = [float(row["relative error"]) for row in rows]
    assert errors == sorted(errors) and errors[-1] < 0.7
    assert all(int(row["parameters"]) <= 576 * 20 / 40 for row in rows)
    for picture in ("formats.png", "cuts.png"):
        assert np.ptp(matplotlib.image.imread(tmp_path / picture)) > 0.5


@pytest.mark.slow
def test_a_matrix_of_ones_own_is_decomposed(examples, tmp_path):
    import decompose_matrix

    matrix = np.random.default_rng(0).normal(size=(16, 16)).astype(np.float32)
    np.save(tmp_path / "weight.npy", matrix)
    decompose_matrix.main(["--quick", "--data", str(tmp_path / "weight.npy"), "--ratio", "3", "--output", str(tmp_path)])
    assert {row["format"] for row in table(tmp_path / "results.csv")} == {"tt", "tr", "bt", "ht"}
    (tmp_path / "text.npy").write_text("no array")
    with pytest.raises(SystemExit, match="--data must be a readable .npy file"):
        decompose_matrix.main(["--data", str(tmp_path / "text.npy"), "--output", str(tmp_path)])


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
    rows = {row["system"]: row for row in table(tmp_path / "results.csv")}
    assert {name: int(row["parameters"]) for name, row in rows.items()} == {
        "dense LSTM": 17536, "TT-LSTM": 576, "TR-LSTM": 650, "BT-LSTM": 416, "HT-LSTM": 456,
    }  # fmt: skip
    # Guessing gives log(10) = 2.3.
    assert all(float(row["loss"]) < 1.9 for row in rows.values())
    assert float(rows["dense LSTM"]["training accuracy"]) > 0.9
    pixels = matplotlib.image.imread(tmp_path / "cued_recall.png")[..., :3]
    assert min(pixels.shape[:2]) > 400 and len(np.unique((pixels.reshape(-1, 3) * 15).round(), axis=0)) > 30
