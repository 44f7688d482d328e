"""Digits of 28 x 28 black and white pixels: MNIST's own files, or scikit-learn's digits scaled up."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import zoom
from sklearn.datasets import load_digits

SIDE = 28
PIXELS = SIDE * SIDE
MARGIN = 4  # MNIST's digits were fitted into 20 x 20 pixels
THRESHOLD = 0.5
TEST_SHARE = 0.2
UNSIGNED_BYTES = 8  # IDX's code for the type of the numbers
MNIST_FILES = ("train-images-idx3-ubyte", "t10k-images-idx3-ubyte")


@dataclass(frozen=True)
class Digits:
    """Images of shape (images, PIXELS), uint8, 0 or 1, and what to say about where they come from."""

    train: np.ndarray
    test: np.ndarray
    source: str


def load_images(folder: Path | None, most_train: int | None = None, most_test: int | None = None) -> Digits:
    """Load MNIST from a folder, or scikit-learn's digits; the first so many images of both sets.

    Raises
    ------
    ValueError
        If a file is missing or is not what it should be.
    """
    if folder is None:
        train, test = scaled_up_digits()
        source = f"stand-in (scikit-learn's 8 x 8 digits scaled up, {SIDE} x {SIDE} with MNIST's margin, black and white)"
    else:
        train, test = (read_idx(find(folder, name)) for name in MNIST_FILES)
        source = f"real (MNIST in {folder}, black and white)"
    return Digits(as_rows(train)[:most_train], as_rows(test)[:most_test], source)


def scaled_up_digits() -> tuple[np.ndarray, np.ndarray]:
    """Scale scikit-learn's digits up and divide them at random, always alike, into training and test images."""
    images = load_digits().images / 16
    inner = SIDE - 2 * MARGIN
    scaled = zoom(images, (1, inner / images.shape[1], inner / images.shape[2]), order=1, mode="nearest", grid_mode=True)
    scaled = np.pad(scaled, ((0, 0), (MARGIN, MARGIN), (MARGIN, MARGIN)))
    order = np.random.default_rng(0).permutation(len(scaled))
    test, train = np.split(scaled[order], [round(TEST_SHARE * len(scaled))])
    return train, test


def as_rows(images: np.ndarray) -> np.ndarray:
    """Return images with values from 0 to 1 as rows of black and white pixels."""
    return (images > THRESHOLD).astype(np.uint8).reshape(len(images), PIXELS)


def find(folder: Path, name: str) -> Path:
    """Return the file of that name in a folder, compressed or not, with "." or "-" before "idx3"."""
    names = [name, f"{name}.gz", name.replace("-idx3", ".idx3"), f"{name.replace('-idx3', '.idx3')}.gz"]
    for path in (folder / one for one in names):
        if path.is_file():
            return path
    raise ValueError(f"--data must be a folder with MNIST's files; {name} or {name}.gz is not in {folder}")


def read_idx(path: Path) -> np.ndarray:
    """Read the images of an IDX file, compressed or not, with values from 0 to 1.

    Raises
    ------
    ValueError
        If it is not a whole IDX file of images of 28 x 28 bytes.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    header = 4 * 4  # two zero bytes, the type and the number of axes; then the sizes, four bytes each
    if len(content) < header or content[:4] != bytes([0, 0, UNSIGNED_BYTES, 3]):
        raise ValueError(f"{path} is not an IDX file of images (three axes of unsigned bytes)")
    shape = tuple(np.frombuffer(content, ">u4", count=3, offset=4).tolist())
    if shape[0] == 0 or shape[1:] != (SIDE, SIDE):
        raise ValueError(f"{path} must hold images of {SIDE} x {SIDE} pixels; got shape {shape}")
    if len(content) != header + math.prod(shape):
        raise ValueError(f"{path} must have {header + math.prod(shape)} bytes for shape {shape}; got {len(content)}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape) / np.float32(255)
