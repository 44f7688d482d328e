"""Action recognition runs as its users run it, on a stand-in and on files in the real layouts."""

from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.example_runs import assert_not_blank, kill_at, run, start, table, wrong_flag

PROGRAM = "action_recognition.py"
SMALL = [
    "--systems",
    "tt,bt",
    "--seeds",
    "1",
    "--clips",
    "132",
    "--epochs",
    "4",
    "--clips-per-epoch",
    "80",
    "--batch-size",
    "8",
    "--watched-clips",
    "22",
]


def write_video(path, images, size=(64, 48)):
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format={".mpg": "mpeg", ".avi": "avi"}[path.suffix]) as container:
        stream = container.add_stream({".mpg": "mpeg2video", ".avi": "mpeg4"}[path.suffix], rate=30)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = *size, "yuv420p", 2_000_000
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def greys(levels, size=(64, 48)):
    return [np.full((size[1], size[0], 3), level, dtype=np.uint8) for level in levels]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """What a run writes that was killed, and missed a file of frames as if decoding had been interrupted too."""
    folder = tmp_path_factory.mktemp("action")
    kill_at(folder / "checkpoints" / "tt-0.pt", start(PROGRAM, *SMALL, "--output", folder))
    assert not (folder / "results.csv").exists()
    next((folder / "frames").glob("*.npy")).unlink()
    printed = run(PROGRAM, *SMALL, "--output", folder)
    assert "going on with the interrupted run" in printed and not (folder / "checkpoints").exists()
    return folder, printed, table(folder / "results.csv")


@pytest.mark.slow
def test_compact_systems_learn_and_have_the_published_counts(small):
    _, _, rows = small
    assert [(row["system"], row["pixels"]) for row in rows] == [
        ("TT-LSTM", "in order"), ("BT-LSTM", "in order"), ("TT-LSTM", "permuted"), ("BT-LSTM", "permuted"),
    ]  # fmt: skip
    for row in rows:
        assert row["data"] == "stand-in (132 MPEG files of moving digits, in the layout of ucf11)"
        assert float(row["chance"]) == pytest.approx(1 / 11) and row["test_clips"] == "22"
        assert row["input_hidden_parameters"] == {"TT-LSTM": "3360", "BT-LSTM": "3392"}[row["system"]]
        assert float(row["input_hidden_ratio"]) == pytest.approx(58_982_400 / int(row["input_hidden_parameters"]))
        assert float(row["accuracy"]) > 1.5 / 11
        assert float(row["accuracy_at_noise_2"]) < float(row["accuracy"])


@pytest.mark.slow
def test_loss_falls_and_curves_and_pictures_are_complete(small):
    folder, _, rows = small
    for name in ("clips", "training_curves", "accuracy_against_parameters", "sensitivity"):
        assert_not_blank(folder / f"{name}.png")
    curves = table(folder / "curves.csv")
    for row in rows:
        own = [line for line in curves if (line["system"], line["pixels"]) == (row["system"], row["pixels"])]
        assert [int(line["epoch"]) for line in own] == [1, 2, 3, 4]
        assert float(own[-1]["loss"]) < 0.85 * float(own[0]["loss"])


@pytest.mark.slow
def test_the_last_lines_say_what_is_reproduced(small):
    folder, printed, rows = small
    lines = printed.strip().splitlines()
    claims = table(folder / "claims.csv")
    assert lines[-len(claims) - 1] == "Orderings of the papers on this data, one seed:"
    for line, claim in zip(lines[-len(claims) :], claims, strict=True):
        assert line.startswith(f"{claim['verdict']}: {claim['claim']}: ")
    tt, bt = (float(row["accuracy"]) for row in rows[:2])
    assert claims[0]["claim"] == "BT-LSTM is more accurate than TT-LSTM"
    assert claims[0]["verdict"] == ("reproduced" if bt > tt else "not reproduced" if bt < tt else "undecided")
    assert [claim["claim"].split()[0] for claim in claims] == ["BT-LSTM", "early", "noise", "permuted"]


@pytest.mark.slow
def test_real_files_of_youtube_celebrities_with_the_dense_lstm(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(8):
        name = f"{number + 1:04}_{number % 2 + 1:02}_{number // 2 + 1:03}_{('al_gore', 'jet_li')[number // 4]}.avi"
        write_video(tmp_path / "ytcelebrity" / name, greys(rng.integers(255, size=8)))
    printed = run(
        PROGRAM,
        "--task",
        "youtube",
        "--data",
        tmp_path,
        "--systems",
        "dense,ht",
        "--seeds",
        1,
        "--epochs",
        1,
        "--clips-per-epoch",
        4,
        "--output",
        tmp_path / "out",
    )
    assert f"data: real (youtube, 8 clips of {tmp_path})" in printed
    dense, ht = table(tmp_path / "out" / "results.csv")
    assert [dense["recurrent_parameters"], ht["input_hidden_parameters"]] == ["59244544", "810"]
    assert [dense["train_clips"], dense["test_clips"], dense["published_accuracy"]] == ["4", "4", "0.332"]


def test_layouts(examples, tmp_path):
    from video.clips import find_clips

    names = {
        "ucf11": ["UCF11_updated_mpg/basketball/v_shooting_01/v_shooting_01_01.mpg", "UCF11_updated_mpg/golf_swing/v_golf_25/v_golf_25_05.mpg",
                  "UCF11_updated_mpg/golf_swing/Annotation/v_golf_25_05.xgtf", "UCF11_updated_mpg/readme/other.mpg"],
        "youtube": ["0057_01_002_al_gore.avi", "0845_03_015_Hugh_Grant.avi", "readme_al_gore.avi"],
        "hmdb51": ["brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi", "wave/50_FIRST_DATES_wave_u_cm_np1_fr_goo_30.avi",
                   "wave/unused_wave_u_cm_np1_fr_goo_1.avi", "wave/other.avi"],
    }  # fmt: skip
    for task, paths in names.items():
        for path in paths:
            (tmp_path / task / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / task / path).touch()
    found = {task: [(clip.label, clip.group) for clip in find_clips(task, tmp_path / task).clips] for task in names}
    assert found["ucf11"] == [("basketball", "01"), ("golf_swing", "25")]
    assert found["youtube"] == [("al_gore", "01"), ("hugh_grant", "03")]
    assert found["hmdb51"] == [("brush_hair", "April_09"), ("wave", "50_FIRST_DATES"), ("wave", "unused")]
    splits = tmp_path / "hmdb51" / "testTrainMulti_7030_splits"
    splits.mkdir()
    (splits / "brush_hair_test_split1.txt").write_text("April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 \n")
    (splits / "wave_test_split1.txt").write_text(
        "50_FIRST_DATES_wave_u_cm_np1_fr_goo_30.avi 2 \nunused_wave_u_cm_np1_fr_goo_1.avi 0 \n"
    )
    clips = find_clips("hmdb51", tmp_path / "hmdb51").clips
    assert [(clip.group, clip.training) for clip in clips] == [("April_09", True), ("50_FIRST_DATES", False)]
    with pytest.raises(ValueError, match=r"--data must be a folder of ucf11 .* found 0 such files of 0 classes"):
        find_clips("ucf11", tmp_path / "youtube")


def test_the_stand_in_has_what_was_published(examples):
    from video.clips import YOUTUBE_NAME
    from video.stand_in import CLIPS, films

    made = list(films("ucf11", CLIPS["ucf11"]))
    assert len({film.name for film in made}) == 1600 and len({film.motion for film in made}) == 11
    groups = {tuple(film.name.split("/")[:2]) for film in made}
    assert len(groups) == 11 * 25
    assert min(sum(film.name.startswith(f"{label}/{group}/") for film in made) for label, group in groups) >= 4
    subjects = {YOUTUBE_NAME.fullmatch(Path(film.name).stem)["subject"] for film in films("youtube", CLIPS["youtube"])}
    assert len(subjects) == 47
    assert len({film.name.split("/")[0] for film in films("hmdb51", CLIPS["hmdb51"])}) == 51


@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_trained_and_tested_on(examples, seed):
    from video.clips import Clip, Clips, split_clips

    kinds = [(label, f"{group:02}") for label in "abc" for group in range(1, 11) for _ in range(4)] + [("d", "01")] * 3
    clips = tuple(Clip(Path(), str(number), *kind) for number, kind in enumerate(kinds))
    targets = np.array(["abcd".index(label) for label, _ in kinds])
    train, test = split_clips(Clips(clips, tuple("abcd"), targets), 0.2, np.random.default_rng(seed))
    assert sorted([*train, *test]) == list(range(len(clips)))
    assert not {kinds[index] for index in train} & {kinds[index] for index in test}
    assert np.bincount(targets[test], minlength=4).tolist() == [8, 8, 8, 0]
    assert len({kinds[index][1] for index in test}) == 2  # the same groups of all classes


def test_frames_are_drawn_in_order_and_scaled(examples, tmp_path):
    from video.frames import sample_frames

    write_video(tmp_path / "clip.mpg", greys(range(0, 240, 8)))
    drawn = [sample_frames(tmp_path / "clip.mpg", 6, np.random.default_rng(seed)) for seed in range(40)]
    assert drawn[0].shape == (6, 160, 120, 3) and drawn[0].dtype == np.uint8
    numbers = np.array([frames.mean(axis=(1, 2, 3)) / 8 for frames in drawn]).round().astype(int)
    assert (np.diff(numbers) > 0).all()
    counts = np.bincount(numbers.ravel(), minlength=30)
    assert counts.sum() == 240 and (counts[:15].sum() > 90) and (counts[15:].sum() > 90) and np.count_nonzero(counts) >= 28
    write_video(tmp_path / "short.avi", greys([0, 200]))
    assert (
        sample_frames(tmp_path / "short.avi", 6, np.random.default_rng(0)).mean(axis=(1, 2, 3)).round(-1).tolist()
        == [0] * 3 + [200] * 3
    )
    (tmp_path / "text.avi").write_text("no video")
    with pytest.raises(ValueError, match=r"text.avi is not a readable video"):
        sample_frames(tmp_path / "text.avi", 6, np.random.default_rng(0))


def test_columns_come_first_and_permuted_pixels_are_the_same_pixels(examples):
    from video.recognition import Pixels

    frames = torch.arange(2 * 3 * 4 * 5 * 3, dtype=torch.uint8).reshape(2, 3, 4, 5, 3)
    mean = torch.tensor([1.0, 2.0, 3.0])
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    inputs = Pixels(mean)(frames)
    torch.testing.assert_close(inputs, ((frames.float() - mean) / 255).flatten(2))
    torch.testing.assert_close(Pixels(mean, order)(frames), inputs[..., order])


def test_verdicts(examples):
    from video.claims import Claim

    cases = {"reproduced": [(2, 1), (4, 3)], "not reproduced": [(1, 2), (3, 4)], "undecided": [(1, 2), (4, 3)]}
    for verdict, pairs in cases.items():
        larger, smaller = map(list, zip(*pairs))
        assert Claim("", larger, smaller, "%", "").verdict == verdict
    assert Claim("", [1], [1], "%", "").verdict == "undecided"


@pytest.mark.slow
def test_an_unreadable_video_gives_one_clear_line(examples, tmp_path, capsys):
    for name in ("a/v_a_01/v_a_01_01.mpg", "a/v_a_02/v_a_02_01.mpg", "b/v_b_01/v_b_01_01.mpg", "b/v_b_02/v_b_02_01.mpg"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("no video")
    error = wrong_flag("action_recognition", ["--data", tmp_path, "--output", tmp_path / "out"], capsys)
    assert "error: " in error and "v_a_01_01.mpg is not a readable video" in error
