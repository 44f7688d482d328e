"""Frames of video files: decoded by PyAV once, scaled down and kept on files, read back clip by clip."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from running.checkpoint import replacing
from running.parallel import run_jobs
from video.clips import Clip

WIDTH, HEIGHT, CHANNELS = 160, 120, 3
INPUTS = WIDTH * HEIGHT * CHANNELS
CLIPS_PER_FILE = 50
FEWEST_FILES = 5  # to decode in processes of their own


def sample_frames(path: Path, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw frames of a video at random, in one pass however long it is, and scale them.

    Parameters
    ----------
    path : Path
    count : int
        Of a shorter video, frames are repeated.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (count, WIDTH, HEIGHT, CHANNELS), uint8
        In the order of the video. Columns come first, as in the papers' 160 x 120 x 3.

    Raises
    ------
    ValueError
        If the file is no video with at least one frame.
    """
    kept: list[tuple[int, av.VideoFrame]] = []
    try:
        with av.open(str(path)) as container:
            for number, frame in enumerate(container.decode(video=0)):
                # Every set of `count` frames is as likely as any other (Vitter's reservoir).
                if number < count:
                    kept.append((number, frame))
                elif (place := rng.integers(number + 1)) < count:
                    kept[place] = (number, frame)
            scaled = [
                frame.to_ndarray(format="rgb24", width=WIDTH, height=HEIGHT)
                for _, frame in sorted(kept, key=lambda entry: entry[0])
            ]
    except (av.FFmpegError, IndexError) as error:
        raise ValueError(f"{path} is not a readable video: {error}") from None
    if not scaled:
        raise ValueError(f"{path} has no video frame")
    order = np.arange(count) * len(scaled) // count
    return np.stack(scaled)[order].transpose(0, 2, 1, 3)


def fingerprint(clips: tuple[Clip, ...], count: int) -> str:
    """Return a name of the frames of some clips: of the files' names and sizes and of all that decides which frames."""
    found = hashlib.sha256(f"{av.__version__} {WIDTH} {HEIGHT} {count}".encode())
    for clip in clips:
        found.update(f"\n{clip.name} {clip.label} {clip.group} {clip.training} {clip.path.stat().st_size}".encode())
    return found.hexdigest()


class Frames:
    """The kept frames of clips, read when asked for.

    Parameters
    ----------
    files : sequence of Path
        Each with the frames of ``CLIPS_PER_FILE`` clips, the last with those of the rest.
    """

    def __init__(self, files: list[Path]) -> None:
        self.files = files
        self.opened: list[np.ndarray] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "opened": None}  # another process opens the files itself

    def __getitem__(self, index: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return the frames of clips at positions ``index``: (clips, frames, WIDTH, HEIGHT, CHANNELS), uint8."""
        if self.opened is None:
            self.opened = [np.load(path, mmap_mode="r") for path in self.files]
        places = [divmod(int(number), CLIPS_PER_FILE) for number in index]
        return torch.from_numpy(np.stack([self.opened[file][row] for file, row in places]))


def frame_files(clips: tuple[Clip, ...], count: int, folder: Path) -> list[Path]:
    """Return the files for the frames of some clips; decoding puts them there."""
    name = fingerprint(clips, count)[:16]
    return [folder / f"{name}-{number:03}.npy" for number in range(-(-len(clips) // CLIPS_PER_FILE))]


def decode_clips(clips: tuple[Clip, ...], count: int, folder: Path, report: Callable[[int], None]) -> Frames:
    """Draw and keep the frames of clips, unless an earlier run has.

    Parameters
    ----------
    clips : tuple of Clip
    count : int
        Frames of each.
    folder : Path
    report : callable
        Told how many clips were added.

    Raises
    ------
    ValueError
        If a file is not a readable video.
    """
    files = frame_files(clips, count, folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in set(folder.iterdir()) - set(files):
        old.unlink()
    jobs = []
    for number, path in enumerate(files):
        part = range(number * CLIPS_PER_FILE, min((number + 1) * CLIPS_PER_FILE, len(clips)))
        if path.exists():
            report(len(part))
        else:
            jobs.append(partial(decode_part, [(place, clips[place].path) for place in part], count, path))
    run_jobs(jobs, report, torch.device("cpu"), fewest=FEWEST_FILES)
    return Frames(files)


def decode_part(part: list[tuple[int, Path]], count: int, path: Path, report: Callable[[int], None]) -> None:
    """Decode some clips, given with their numbers, and write their frames on a file."""
    frames = np.stack([sample_frames(clip, count, np.random.default_rng(number)) for number, clip in part])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, frames)
    report(len(part))
