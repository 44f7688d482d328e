"""Labelled hyperspectral scenes as sequences: loading, splits into training and test pixels, neighbourhood windows."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.ndimage import maximum_filter
from tensorly.datasets import load_indian_pines

WINDOW = 9  # rows and columns of the neighbourhood of a pixel
BANDS_PER_STEP = 20
INPUTS_PER_STEP = BANDS_PER_STEP * WINDOW * WINDOW
OVERLAP_RADIUS = WINDOW - 1  # two windows share pixels when their centres are at most this far apart
TRAINING_SHARE = 0.1
BLOB_PIXELS = 30

INDIAN_PINES_CLASSES = (
    "Alfalfa", "Corn-notill", "Corn-mintill", "Corn", "Grass-pasture", "Grass-trees", "Grass-pasture-mowed",
    "Hay-windrowed", "Oats", "Soybean-notill", "Soybean-mintill", "Soybean-clean", "Wheat", "Woods",
    "Buildings-Grass-Trees", "Stone-Steel-Towers",
)  # fmt: skip


@dataclass(frozen=True)
class Scene:
    """An image cube with a class for some of its pixels.

    Attributes
    ----------
    cube : ndarray of shape (rows, columns, bands), float32
    labels : ndarray of shape (rows, columns), int64
        0 where a pixel has no label, else 1 to ``len(class_names)``.
    class_names : tuple of str
    source : str
        What to say about where the data come from.
    """

    cube: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    source: str

    @property
    def targets(self) -> np.ndarray:
        """Classes from 0 up of all pixels in a row, -1 where there is no label."""
        return self.labels.ravel() - 1

    @property
    def labelled(self) -> np.ndarray:
        """Ascending positions of the pixels with a label."""
        return np.flatnonzero(self.labels)


def load_scene(path: Path | None = None) -> Scene:
    """Load the Indian Pines scene that ships with TensorLy, or the arrays ``cube`` and ``labels`` of an .npz file.

    Raises
    ------
    ValueError
        If the file is not such an archive or its arrays do not fit together.
    """
    if path is None:
        pines = load_indian_pines()
        source = "real (AVIRIS Indian Pines, shipped with TensorLy)"
        cube, labels = np.asarray(pines.tensor, np.float32), np.asarray(pines.ticks[0], np.int64)
        return Scene(cube, labels, INDIAN_PINES_CLASSES, source)
    try:
        with np.load(path, allow_pickle=False) as archive:
            cube, labels = archive["cube"], archive["labels"]
    except KeyError as error:
        raise ValueError(f"{path} must hold the arrays 'cube' and 'labels': {error.args[0]}") from None
    except (OSError, ValueError, TypeError, AttributeError, IndexError, EOFError, zipfile.BadZipFile):
        raise ValueError(f"{path} is not a readable .npz file") from None
    check_arrays(path, cube, labels)
    class_names = tuple(f"class {number}" for number in range(1, int(labels.max()) + 1))
    return Scene(cube.astype(np.float32), labels.astype(np.int64), class_names, str(path))


def check_arrays(path: Path, cube: np.ndarray, labels: np.ndarray) -> None:
    """Raise a ValueError unless the two arrays make a scene that can be cut into windows and steps."""
    smallest = WINDOW // 2 + 1
    if cube.ndim != 3 or labels.shape != cube.shape[:2]:
        raise ValueError(
            f"{path}: cube must have shape (rows, columns, bands) and labels (rows, columns); "
            f"got {cube.shape} and {labels.shape}"
        )
    if min(labels.shape) < smallest or cube.shape[2] == 0 or cube.shape[2] % BANDS_PER_STEP:
        raise ValueError(
            f"{path}: cube must have at least {smallest} rows and columns and a multiple of {BANDS_PER_STEP} bands; "
            f"got {cube.shape}"
        )
    if cube.dtype.kind not in "fiu" or not np.isfinite(cube).all():
        raise ValueError(f"{path}: cube must hold finite real numbers")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or len(np.unique(labels[labels > 0])) < 2:
        raise ValueError(f"{path}: labels must be integers, 0 for unlabelled, with at least two classes from 1 up")


def random_split(labels: np.ndarray, fraction: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw a share of every class for training and keep the other labelled pixels for testing.

    Neighbouring pixels land on both sides, so that training and test windows overlap.

    Parameters
    ----------
    labels : ndarray of shape (rows, columns)
    fraction : float
    rng : numpy.random.Generator

    Returns
    -------
    train_index, test_index : ndarray
        Positions in ``labels.ravel()``, in ascending order.
    """
    flat = labels.ravel()
    training = np.zeros(flat.size, dtype=bool)
    for label in np.unique(flat[flat > 0]):
        members = np.flatnonzero(flat == label)
        training[rng.choice(members, training_count(members.size, fraction), replace=False)] = True
    return np.flatnonzero(training), np.flatnonzero((flat > 0) & ~training)


def blocked_split(labels: np.ndarray, fraction: float, radius: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Grow compact training regions in every class and test only on pixels well away from all of them.

    A region holds the pixels of its class that are nearest to a seed pixel drawn at random; a class gets a region for
    every ``BLOB_PIXELS`` training pixels. A class that lies close together may have no test pixel left.

    Parameters
    ----------
    labels : ndarray of shape (rows, columns)
    fraction : float
        Share of every class to train on.
    radius : int
        Every test pixel is further than this from every training pixel, in rows or in columns (Chebyshev distance).
    rng : numpy.random.Generator

    Returns
    -------
    train_index, test_index : ndarray
        Positions in ``labels.ravel()``, in ascending order.
    """
    training = np.zeros(labels.shape, dtype=bool)
    for label in np.unique(labels[labels > 0]):
        free = np.argwhere(labels == label)
        wanted = training_count(len(free), fraction)
        for region in np.array_split(np.arange(wanted), max(1, round(wanted / BLOB_PIXELS))):
            distance = np.square(free - free[rng.integers(len(free))]).sum(axis=1)
            order = np.argsort(distance, kind="stable")
            training[tuple(free[order[: region.size]].T)] = True
            free = free[order[region.size :]]
    near_training = maximum_filter(training, size=2 * radius + 1, mode="constant")
    return np.flatnonzero(training), np.flatnonzero((labels > 0) & ~near_training)


def training_count(members: int, fraction: float) -> int:
    """Return how many pixels of a class to train on: the share asked for, and at least one."""
    return max(1, round(fraction * members))


class Windows:
    """The neighbourhoods of a scene's pixels as sequences, cut out when asked for.

    All windows of Indian Pines at once would take 660 MB, the padded cube behind them 19 MB.

    Parameters
    ----------
    cube : ndarray of shape (rows, columns, bands)
    train_index : ndarray
        The pixels whose mean and standard deviation in each band standardize the cube.
    device : torch.device
    """

    def __init__(self, cube: np.ndarray, train_index: np.ndarray, device: torch.device) -> None:
        pixels = cube.reshape(-1, cube.shape[2])[train_index]
        deviation = pixels.std(axis=0)
        deviation[deviation == 0] = 1
        standardized = (cube - pixels.mean(axis=0)) / deviation
        margin = WINDOW // 2
        padded = np.pad(standardized, ((margin, margin), (margin, margin), (0, 0)), mode="reflect")
        self.columns = cube.shape[1]
        self.steps = cube.shape[2] // BANDS_PER_STEP
        self.device = device
        # A strided view of shape (rows, columns, bands, WINDOW, WINDOW): no window is copied yet.
        self.view = torch.from_numpy(padded).to(device).unfold(0, WINDOW, 1).unfold(1, WINDOW, 1)

    def __call__(self, index: torch.Tensor) -> torch.Tensor:
        """Return the windows around the pixels at flat positions ``index``: (pixels, steps, INPUTS_PER_STEP)."""
        index = index.to(self.device)
        windows = self.view[index // self.columns, index % self.columns]
        return windows.reshape(len(index), self.steps, INPUTS_PER_STEP)
