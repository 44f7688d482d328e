"""The main example in the processes of torchrun, killed and started again."""

import os
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.example_runs import kill_at, run, start, table

PROGRAM = "indian_pines.py"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
# 58 training pixels: the last batch of an epoch is one pixel, which leaves the second process without a share.
SMALL = [
    "--splits",
    "random",
    "--seeds",
    "1",
    "--systems",
    "ht",
    "--hidden",
    "8",
    "--epochs",
    "8",
    "--fine-tune",
    "8",
    "--batch-size",
    "19",
    "--learning-rate",
    "0.001",
]
TIMES = {"seconds", "seconds_per_epoch"}


def arguments(data, output, *more):
    return [*SMALL, "--data", data, "--output", output, *more]


def killed_at(path, data, output, launcher=()):
    """Start the program and kill it as soon as there is such a checkpoint."""
    kill_at(output / "checkpoints" / path, start(PROGRAM, *arguments(data, output), launcher=launcher))
    assert not (output / "results.csv").exists()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    labels = np.ones((24, 24), dtype=int)
    labels[12:], labels[6:18, 8:16] = 2, 3
    cube = rng.normal(size=(4, 40))[labels] + rng.normal(size=(24, 24, 40))
    path = tmp_path_factory.mktemp("data") / "scene.npz"
    np.savez(path, cube=cube, labels=labels)
    return path


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    run(PROGRAM, *arguments(data, folder))
    assert sorted(path.suffix for path in folder.iterdir()) == [".csv"] * 2 + [".png"] * 3
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on(data, uninterrupted, tmp_path):
    checkpoints = tmp_path / "checkpoints"
    killed_at("random-0-ht-scratch.pt", data, tmp_path)
    printed = " ".join(run(PROGRAM, *arguments(data, tmp_path)).split())
    assert f"going on with the interrupted run in {checkpoints}" in printed
    for name in ("results.csv", "curves.csv"):
        assert table(tmp_path / name, TIMES) == table(uninterrupted / name, TIMES)
    assert not checkpoints.exists()


@pytest.mark.slow
def test_two_processes_killed_and_started_again_come_to_what_one_comes_to(data, uninterrupted, tmp_path):
    killed_at("random-0-dense-snapshot.pt", data, tmp_path, TORCHRUN)
    printed = run(PROGRAM, *arguments(data, tmp_path), launcher=TORCHRUN)
    assert [printed.count(line) for line in ("going on", "seed 0", "written to")] == [1, 1, 1]
    wanted, found = (table(folder / "curves.csv", TIMES) for folder in (uninterrupted, tmp_path))
    losses = [[float(row.pop("loss")) for row in rows] for rows in (wanted, found)]
    assert found == wanted and len(found) == 40
    np.testing.assert_allclose(losses[1], losses[0], rtol=0, atol=1e-5)
    assert table(tmp_path / "results.csv", TIMES) == table(uninterrupted / "results.csv", TIMES)


@pytest.mark.slow
def test_a_wrong_flag_gives_one_message_for_all_processes(data, tmp_path):
    process = start(PROGRAM, *arguments(data, tmp_path, "--seeds", "0"), launcher=TORCHRUN)
    printed, errors = process.communicate()
    assert process.returncode != 0
    assert (printed + errors).count("expected a positive integer, got '0'") == 1
    assert "exitcode  : 2" in errors  # of the process that ended first; torchrun may end the other before it does


@pytest.fixture
def checkpoint(examples):
    from running import checkpoint

    return checkpoint


STATE = {"weight": torch.arange(6.0).reshape(2, 3).double(), "history": [{"loss": 0.1, "epoch": 3}], "before": None}


def test_a_state_comes_back_exactly(checkpoint, tmp_path):
    states = checkpoint.Checkpoints(tmp_path / "new" / "folder", {"rank": (2, 4), "rate": 0.1})
    assert states.check() == [] and states.load("a") is None
    states.save("a", {"weight": 0})
    states.save("a", STATE)
    found = states.load("a")
    assert torch.equal(found.pop("weight"), STATE["weight"])
    assert found == {name: value for name, value in STATE.items() if name != "weight"}
    assert [path.name for path in states.folder.iterdir()] == ["a.pt"]
    assert len(states.check()) == 1
    states.discard()
    states.discard()
    assert not states.folder.exists()


def test_the_first_process_alone_writes_and_discards(checkpoint, tmp_path, monkeypatch):
    states = checkpoint.Checkpoints(tmp_path / "states", {})
    monkeypatch.setattr(checkpoint.processes, "rank", lambda: 1)
    states.save("a", STATE)
    assert not states.folder.exists()
    monkeypatch.setattr(checkpoint.processes, "rank", lambda: 0)
    states.save("a", STATE)
    monkeypatch.setattr(checkpoint.processes, "rank", lambda: 1)
    states.discard()
    assert states.path("a").exists()


def test_a_state_is_replaced_whole_or_not_at_all(checkpoint, tmp_path):
    states = checkpoint.Checkpoints(tmp_path, {})
    states.save("a", {"epoch": 1})
    with pytest.raises(Exception, match="pickle"):
        states.save("a", {"weight": torch.zeros(9), "function": lambda: None})
    assert states.load("a") == {"epoch": 1} and len(states.check()) == 1


def test_programs_that_save_at_once_leave_a_state_of_one_of_them(checkpoint, tmp_path, monkeypatch):
    states = checkpoint.Checkpoints(tmp_path, {})
    save, written = torch.save, iter([{"epoch": 4, "weight": torch.ones(999)}])

    def save_between(content, path):
        """Save, and let the other program save before this one has closed its file."""
        with path.open("wb") as file:
            file.write(b"half")
            for state in written:
                states.save("a", state)
            file.seek(0)
            save(content, file)

    monkeypatch.setattr(torch, "save", save_between)
    states.save("a", {"epoch": 3, "weight": torch.zeros(999)})
    assert states.load("a")["epoch"] == 3 and not states.load("a")["weight"].any()
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_process_of_a_pool_ends_when_its_parent_had_gone_before_it_looked(examples, monkeypatch):
    from running import processes

    ended = threading.Event()
    monkeypatch.setattr(processes.os, "_exit", lambda code: ended.set())
    monkeypatch.setattr(processes.multiprocessing, "parent_process", lambda: SimpleNamespace(join=lambda: None))
    processes.end_with_parent()
    assert ended.wait(10)


def test_foreign_files_are_left_alone(checkpoint, tmp_path):
    checkpoint.Checkpoints(tmp_path, {"rate": 0.1, "data": "a", "seeds": 2}).save("a", STATE)
    other = checkpoint.Checkpoints(tmp_path, {"rate": 0.2, "data": "a", "new": 1})
    assert other.load("a") is None
    with pytest.raises(ValueError, match=r"interrupted run that differs in rate, seeds, new; .* --fresh"):
        other.check()
    assert (tmp_path / "a.pt").exists()


def test_other_options_are_refused_until_told_to_discard(examples, data, tmp_path, capsys):
    import indian_pines

    def plan(*more):
        return indian_pines.make_plan([*SMALL, "--data", str(data), "--output", str(tmp_path), *more])

    plan().checkpoints.save("a", STATE)
    assert plan().checkpoint_lines == [
        f"going on with the interrupted run in {tmp_path / 'checkpoints'} (--fresh starts anew)"
    ]
    for more, differs in (
        (("--learning-rate", "0.1"), "learning_rate"),
        (("--seeds", "2", "--rank", "ht=3,3"), "systems, seeds"),
        (("--test-pixels", "9"), "test_pixels"),
    ):
        with pytest.raises(SystemExit, match="2"):
            plan(*more)
        message = f"checkpoints is of an interrupted run that differs in {differs}; go on with that one"
        assert message in capsys.readouterr().err
    cube, labels = np.load(data).values()
    np.savez(tmp_path / "other.npz", cube=cube + 1e-6, labels=labels)
    with pytest.raises(SystemExit, match="2"):
        plan("--data", str(tmp_path / "other.npz"))
    assert "differs in data; go on" in capsys.readouterr().err
    assert plan("--learning-rate", "0.1", "--fresh").checkpoint_lines == []
    assert not (tmp_path / "checkpoints").exists()


def test_a_digest_names_contents_types_and_shapes(checkpoint):
    one, other = np.arange(6), np.arange(6).reshape(2, 3)
    cases = [(one,), (other,), (other.T,), (other.astype(np.uint64),), (one, one), (one, other), (one + 1,), ()]
    assert len({checkpoint.digest(*arrays) for arrays in cases}) == len(cases)
    assert checkpoint.digest(np.asfortranarray(other)) == checkpoint.digest(other)


class Trap:
    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_no_code_in_a_file_is_run(checkpoint, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    states = checkpoint.Checkpoints(tmp_path, {})
    states.save("trap", {"trap": Trap()})
    with pytest.raises(Exception, match="Weights only load failed"):
        states.load("trap")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_shares_make_up_the_mean_of_the_batch(examples, monkeypatch, count, size):
    from running import processes

    monkeypatch.setattr(processes, "count", lambda: count)
    losses = torch.linspace(-1, 3, 11, dtype=torch.float64) ** 3
    batch = torch.arange(2, 2 + size)
    means = []
    for rank in range(count):
        monkeypatch.setattr(processes, "rank", lambda rank=rank: rank)
        share, weight = processes.own_share(batch)
        assert len(share) >= 1
        means.append(weight * losses[share].mean())
    torch.testing.assert_close(sum(means) / count, losses[2 : 2 + size].mean(), rtol=0, atol=1e-14)
