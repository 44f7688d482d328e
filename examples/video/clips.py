"""Video data sets in the folders they are published in: which clips there are, of which class, and how to split them.

A group holds clips that were cut from one source video, so no group may be in training and in testing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

VIDEO_SUFFIXES = (".mpg", ".mpeg", ".avi", ".mp4", ".mov", ".mkv")
YOUTUBE_NAME = re.compile(r"\d+_(?P<video>\d+)_\d+_(?P<subject>.+)")
NUMBERS_OF_HMDB51_SPLITS = {"1": True, "2": False}  # a line of a split file: training, testing; 0 is left out


@dataclass(frozen=True)
class Clip:
    """A video file.

    Attributes
    ----------
    path : Path
    name : str
        The path within the data set.
    label : str
        Its class.
    group : str
        The source, among those of its class.
    training : bool or None
        Where the data set's own split has it; None if it has none.
    """

    path: Path
    name: str
    label: str
    group: str
    training: bool | None = None


@dataclass(frozen=True)
class Clips:
    """The clips of a data set, in the order of their names.

    Attributes
    ----------
    clips : tuple of Clip
    class_names : tuple of str
    targets : ndarray of shape (clips,), int64
        Positions in ``class_names``.
    """

    clips: tuple[Clip, ...]
    class_names: tuple[str, ...]
    targets: np.ndarray


def find_ucf11(folder: Path) -> list[Clip]:
    """Find the clips of UCF11: ``basketball/v_shooting_01/v_shooting_01_01.mpg``, at any depth below the folder.

    A class folder's other contents, such as ``Annotation``, are passed over. Groups go by the number that ends their name.
    """
    found = []
    for path in video_files(folder):
        group = re.fullmatch(r"v_.+_(\d+)", path.parent.name)
        if group:
            found.append(Clip(path, str(path.relative_to(folder)), path.parent.parent.name, group[1]))
    return found


def find_youtube(folder: Path) -> list[Clip]:
    """Find the clips of Youtube Celebrities: ``0057_01_002_al_gore.avi``, at any depth below the folder.

    The numbers are the clip's in the data set, the video's it was cut from among those of its subject, and the clip's
    in that video. The video is the group.
    """
    found = []
    for path in video_files(folder):
        parts = YOUTUBE_NAME.fullmatch(path.stem)
        if parts:
            found.append(Clip(path, str(path.relative_to(folder)), parts["subject"].lower(), parts["video"]))
    return found


def find_hmdb51(folder: Path) -> list[Clip]:
    """Find the clips of HMDB51: ``brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi``, at any depth below the folder.

    The group is the source, the part of the name before the class's. The first of the official splits is taken up
    where its files, such as ``brush_hair_test_split1.txt``, are anywhere below the folder; clips that it does not use are then
    left out.
    """
    official: dict[tuple[str, str], str] = {}
    for path in sorted(folder.rglob("*_test_split1.txt")):
        label = path.name.removesuffix("_test_split1.txt")
        for line in path.read_text(encoding="utf-8").splitlines():
            if len(parts := line.rsplit(maxsplit=1)) == 2:
                official[label, parts[0]] = parts[1]
    found = []
    for path in video_files(folder):
        label = path.parent.name
        group, separator, _ = path.stem.rpartition(f"_{label}_")
        if not separator:
            continue
        training = NUMBERS_OF_HMDB51_SPLITS.get(official.get((label, path.name), "0"))
        if training is not None or not official:
            found.append(Clip(path, str(path.relative_to(folder)), label, group, training))
    return found


FINDERS: dict[str, Callable[[Path], list[Clip]]] = {
    "ucf11": find_ucf11,
    "youtube": find_youtube,
    "hmdb51": find_hmdb51,
}
LAYOUTS = {
    "ucf11": "CLASS/v_GROUP_01/v_GROUP_01_01.mpg",
    "youtube": "0001_01_001_first_last.avi",
    "hmdb51": "CLASS/SOURCE_CLASS_..._0.avi",
}


def video_files(folder: Path) -> list[Path]:
    """Return the video files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)


def find_clips(task: str, folder: Path) -> Clips:
    """Find the clips of a data set.

    Parameters
    ----------
    task : str
        "ucf11", "youtube" or "hmdb51".
    folder : Path

    Raises
    ------
    ValueError
        If there are no two classes of clips in the layout of that data set.
    """
    clips = sorted(FINDERS[task](folder), key=lambda clip: clip.name) if folder.is_dir() else []
    class_names = tuple(sorted({clip.label for clip in clips}))
    if len(class_names) < 2:
        raise ValueError(
            f"--data must be a folder of {task} with video files in at least two classes, named as in {LAYOUTS[task]}; "
            f"found {len(clips)} such files of {len(class_names)} classes in {folder}"
        )
    return Clips(tuple(clips), class_names, np.array([class_names.index(clip.label) for clip in clips]))


def split_clips(clips: Clips, share: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Divide clips into training and testing, as the data set says or by whole groups.

    In every class about that share of the groups is tested on, at least one; a class of one group is only trained on. Groups
    of the same name in several classes go together, as far as the classes' numbers of groups allow.

    Parameters
    ----------
    clips : Clips
    share : float
        Of the groups, to test on.
    rng : numpy.random.Generator

    Returns
    -------
    train_index, test_index : ndarray
        Ascending positions in ``clips``.
    """
    if all(clip.training is not None for clip in clips.clips):
        training = np.array([bool(clip.training) for clip in clips.clips])
        return np.flatnonzero(training), np.flatnonzero(~training)
    names = np.array([clip.group for clip in clips.clips])
    order = rng.permutation(np.unique(names))
    training = np.ones(len(names), dtype=bool)
    for target in range(len(clips.class_names)):
        members = clips.targets == target
        groups = order[np.isin(order, names[members])]
        tested = min(max(1, round(share * len(groups))), len(groups) - 1)
        training[members & np.isin(names, groups[:tested])] = False
    return np.flatnonzero(training), np.flatnonzero(~training)
