"""The front end and the recurrent layers behind it, run as their users run them."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.example_runs import run, table, wrong_flag
from tests.test_action_recognition import greys, write_video

FRONT_END = """
import torch
class Means(torch.nn.Module):
    def forward(self, frames):
        return torch.nn.functional.adaptive_avg_pool2d(frames, (32, 64))[:, 0].flatten(1)
class Few(torch.nn.Module):
    def forward(self, frames):
        return frames.flatten(1)[:, :7]
"""


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cnn")
    (folder / "my_front_ends.py").write_text(FRONT_END)
    splits = folder / "hmdb51" / "splits"
    splits.mkdir(parents=True)
    for brightness, label in ((60, "dive"), (180, "wave")):
        names = [f"film_{number}_{label}_u_nm_np1_fr_med_0.avi" for number in range(20)]
        for number, name in enumerate(names):
            write_video(folder / "hmdb51" / label / name, greys(brightness + np.arange(7) + number))
        lines = [f"{name} {1 if number < 12 else 2 if number < 18 else 0}\n" for number, name in enumerate(names)]
        (splits / f"{label}_test_split1.txt").write_text("".join(lines))
    arguments = [
        "--task", "hmdb51", "--data", folder / "hmdb51", "--systems", "dense,fdht", "--seeds", "1", "--batch-size", "6",
        "--front-end", "my_front_ends:Means", "--epochs", "2", "--clips-per-epoch", "24", "--output", folder / "out",
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
        printed = run("cnn_features.py", *arguments)
    return folder / "out", printed, table(folder / "out" / "results.csv")


@pytest.mark.slow
def test_ones_own_front_end_feeds_the_systems(small):
    _, printed, rows = small
    dense, fdht = rows
    assert [dense["recurrent_parameters"], fdht["recurrent_parameters"]] == ["33554432", "8416"]
    assert float(fdht["recurrent_ratio"]) == pytest.approx(3987, abs=1)
    assert fdht["total_parameters"] == "8416" and fdht["front_end_parameters"] == "0"
    assert [dense["published_accuracy"], fdht["published_accuracy"]] == ["0.629", "0.642"]
    assert {(row["train_clips"], row["test_clips"]) for row in rows} == {("24", "12")}  # as the split files say
    assert min(float(row["accuracy"]) for row in rows) > 0.8  # 0.5 by chance
    assert "front end: 0 weights here" in printed and "FDHT-LSTM is more accurate than dense LSTM" in printed


@pytest.mark.slow
def test_pictures_and_curves_are_there(small):
    folder, _, _ = small
    curves = table(folder / "curves.csv")
    assert [int(row["epoch"]) for row in curves] == [1, 2, 1, 2]
    assert float(curves[-1]["loss"]) < float(curves[2]["loss"])
    assert all((folder / f"{name}.png").stat().st_size > 20_000 for name in ("accuracy_against_parameters", "training_curves"))
    assert not (folder / "checkpoints").exists()


class FewClips:
    """Frames that show their class by their brightness."""

    def __init__(self):
        self.targets = np.arange(24) % 3
        noise = np.random.default_rng(0).integers(40, size=(24, 2, 160, 120, 3))
        self.frames = torch.from_numpy((noise + 80 * self.targets[:, None, None, None, None]).astype(np.uint8))

    def __getitem__(self, index):
        return self.frames[torch.as_tensor(index)]


@pytest.fixture
def few(examples):
    from learning.comparison import Split
    from video.clips import Clip, Clips

    frames = FewClips()
    clips = Clips(tuple(Clip(Path(), str(n), "", str(n)) for n in range(24)), tuple("abc"), frames.targets)
    return frames, clips, Split("groups", 0, np.arange(15), np.arange(15, 24), frames.targets[15:], ())


@pytest.mark.slow
def test_the_small_front_end_learns_and_goes_on_where_it_was(few, tmp_path):
    from running.checkpoint import Checkpoints
    from video.front_end import obtain_features

    class Killed(Exception):
        pass

    seen = []

    def kill_at_second(report):
        seen.append(report)
        if len(seen) == 3:
            raise Killed

    whole = Checkpoints(tmp_path / "whole", {"run": 1})
    wanted, parameters = obtain_features(*few, None, 6, tmp_path / "a", whole, lambda report: None)
    history = whole.load("front-end-0")["history"]
    assert history[-1]["loss"] < history[0]["loss"] and parameters == 25_504
    broken = Checkpoints(tmp_path / "broken", {"run": 1})
    with pytest.raises(Killed):
        obtain_features(*few, None, 6, tmp_path / "b", broken, kill_at_second)
    assert not (tmp_path / "b").exists()
    reports = []
    found, _ = obtain_features(*few, None, 6, tmp_path / "b", broken, reports.append)
    assert reports[0] == ("front end, seed 0", 2)
    index = np.arange(24)
    assert torch.equal(found[index], wanted[index]) and found[index].shape == (24, 2, 2048)
    training = wanted[np.arange(15)].flatten(0, 1)
    torch.testing.assert_close(training.mean(dim=0), torch.zeros(2048), rtol=0, atol=1e-4)
    assert ((training.std(dim=0) - 1).abs() < 1e-3).float().mean() > 0.5  # the others never fire


def test_images_are_upright(examples):
    from video.front_end import images_of

    frames = torch.zeros(2, 6, 160, 120, 3, dtype=torch.uint8)
    frames[1, 2, 150, 7, 1] = 255  # column 150, row 7, green
    images = images_of(frames)
    assert images.shape == (12, 3, 120, 160)
    assert images[8, 1, 7, 150] == 1 and images.sum() == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("my_front_ends:Few", r"must map one frame to shape \(1, 2048\), got \(1, 7\)"),
        ("my_front_ends:Nothing", "must be module:factory; my_front_ends:Nothing fails with AttributeError"),
        ("nowhere", "nowhere fails with ModuleNotFoundError"),
    ],
)
def test_a_wrong_front_end_gives_one_clear_line(examples, monkeypatch, capsys, tmp_path, text, message):
    (tmp_path / "my_front_ends.py").write_text(FRONT_END)
    monkeypatch.syspath_prepend(str(tmp_path))
    error = wrong_flag("cnn_features", ["--front-end", text, "--output", tmp_path / "out"], capsys)
    assert re.search(message, error)
