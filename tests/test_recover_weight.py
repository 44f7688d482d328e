"""A picture recovered through its matrix, run as users run it; what is written is read back."""

import numpy as np
import pytest

from tests.example_runs import assert_not_blank, kill_at, run, start, table, wrong_flag

PROGRAM = "recover_weight.py"
# As the BT paper counts its block terms in fig. 9, and the other formats next to it.
COUNTS = {
    "b": {"dense": 4096},
    "c": {"bt": 129, "tt": 128, "tr": 128, "ht": 129},
    "d": {"bt": 528, "tt": 512, "tr": 512, "ht": 528},
    "e": {"bt": 258, "tt": 256, "tr": 256, "ht": 260},
    "f": {"bt": 384, "tt": 384, "tr": 384, "ht": 376},
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recover_weight")
    return folder, run(PROGRAM, "--quick", "--output", folder)


@pytest.fixture
def recovery(examples):
    from papers import recovery

    return recovery


def by_case(folder, column):
    return {(row["panel"], row["format"]): float(row[column]) for row in table(folder / "results.csv")}


@pytest.mark.slow
def test_counts_are_the_papers(quick):
    found = {}
    for (panel, name), count in by_case(quick[0], "parameters").items():
        found.setdefault(panel, {})[name] = count
    assert found == COUNTS
    assert {row["data"] for row in table(quick[0] / "results.csv")} == {
        "stand-in (ring and cross made here; the paper does not give its picture)"
    }
    assert "data: stand-in (ring and cross" in quick[1]
    assert not (quick[0] / "checkpoints").exists()
    assert_not_blank(quick[0] / "recovered.png")


@pytest.mark.slow
def test_errors_are_near_those_of_decompositions_and_of_singular_values(quick, recovery):
    errors, direct = by_case(quick[0], "error"), by_case(quick[0], "decomposition_error")
    assert errors["b", "dense"] < 0.03
    for case, error in errors.items():
        if case[0] != "b":
            # With two modes nothing is better than the decomposition, with four a little may be.
            assert direct[case] * (1 if case[0] in "cde" else 0.98) - 1e-4 < error < direct[case] + 0.05
    rearranged = recovery.make_picture().reshape(8, 8, 8, 8).transpose(0, 2, 1, 3).reshape(64, 64)
    squares = np.linalg.svd(rearranged, compute_uv=False) ** 2
    # Two modes are the same in every format.
    for panel, rank in (("c", 1), ("e", 2), ("d", 4)):
        for name in COUNTS[panel]:
            assert direct[panel, name] == pytest.approx(np.sqrt(squares[rank:].sum() / squares.sum()), abs=1e-4)
    assert direct["f", "bt"] - direct["f", "tr"] > 0.1
    # The paper's order of its panels: more ranks, or blocks, are better; four modes lose against two.
    assert errors["d", "bt"] < errors["f", "bt"] < errors["c", "bt"]
    assert errors["d", "bt"] < errors["e", "bt"] < errors["c", "bt"]


@pytest.mark.slow
def test_curves_fall_and_are_complete(quick):
    curves = {}
    for row in table(quick[0] / "curves.csv"):
        curves.setdefault((row["panel"], row["format"], row["seed"]), []).append(row)
    assert len(curves) == 17
    for rows in curves.values():
        assert [int(row["epoch"]) for row in rows] == list(range(1, 21))
        assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
        assert float(rows[-1]["error"]) < float(rows[0]["error"])


def test_samples_are_what_the_paper_draws(recovery):
    w = recovery.make_picture().astype(np.float64)
    noisy, y = (one.numpy().astype(np.float64) for one in recovery.make_samples(w, 20_000, 0.1, 0))
    assert noisy.var() == pytest.approx(0.5 + 0.1**2, rel=0.01)
    # y is of x without the noise: least squares on the noisy x shrink W by 0.5 / (0.5 + 0.1^2).
    found = np.linalg.lstsq(noisy, y, rcond=None)[0].T
    assert np.sum(found * w) / np.sum(w * w) == pytest.approx(0.5 / 0.51, abs=0.003)
    again = recovery.make_samples(w, 20_000, 0.1, 0)[0].numpy()
    assert np.array_equal(again.astype(np.float64), noisy)
    assert not np.allclose(recovery.make_samples(w, 20_000, 0.1, 1)[0].numpy(), again)


@pytest.mark.slow
def test_a_killed_run_goes_on_with_a_matrix_of_ones_own(tmp_path, recovery, capsys):
    w = np.kron(np.arange(64.0).reshape(8, 8), np.eye(8))  # one block term of rank 1 holds it
    np.save(tmp_path / "w0.npy", w)
    small = ["--epochs", 4, "--samples", 512, "--seeds", 2, "--learning-rate", 0.01, "--data", tmp_path / "w0.npy"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    printed = run(PROGRAM, *small, "--output", whole)
    assert f"data: real ({tmp_path / 'w0.npy'})" in printed.replace("\n", "")
    assert {row["seed"] for row in table(whole / "results.csv")} == {"0", "1"}
    assert by_case(whole, "decomposition_error")["c", "bt"] < 1e-6

    kill_at(killed / "checkpoints" / "tr-d-0.pt", start(PROGRAM, *small, "--output", killed))
    assert not (killed / "results.csv").exists()
    assert "differs in noise" in wrong_flag("recover_weight", [*small, "--noise", 0.1, "--output", killed], capsys)
    from running.checkpoint import read as read_checkpoint

    outcomes = [path.stem.split("-")[:3] for path in (killed / "checkpoints").glob("*-outcome.pt")]
    before = {
        (case, name, seed): read_checkpoint(killed / "checkpoints" / f"{name}-{case}-{seed}-outcome.pt")["state"]["history"]
        for name, case, seed in outcomes
    }
    assert "going on with the interrupted run" in run(PROGRAM, *small, "--output", killed)
    for name in ("results.csv", "curves.csv"):
        assert table(killed / name, {"seconds"}) == table(whole / name, {"seconds"})
    # Trained before it was killed, not anew: the clock's readings are the same.
    shown = {(row["panel"], row["format"], row["seed"], row["epoch"]): row["seconds"] for row in table(killed / "curves.csv")}
    assert before
    for trial, epochs in before.items():
        assert len(epochs) == 4
        assert all(float(shown[(*trial, str(epoch["epoch"]))]) == epoch["seconds"] for epoch in epochs)


@pytest.mark.parametrize(
    "array",
    [np.zeros((64, 64)), np.ones((63, 64)), np.full((64, 64), np.nan), np.ones((64, 64), complex)],
    ids=["zeros", "shape", "nan", "complex"],
)
def test_a_matrix_that_does_not_fit_is_refused(recovery, tmp_path, array):
    np.save(tmp_path / "w0.npy", array)
    with pytest.raises(ValueError, match="--data must hold a 64 x 64 matrix of finite numbers, not all zero; got"):
        recovery.load_picture(tmp_path / "w0.npy")
