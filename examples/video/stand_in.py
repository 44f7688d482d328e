"""Stand-ins for the video data sets: MPEG files in the same layout, of sprites that move over textured backgrounds.

The sprites are scikit-learn's handwritten digits. The classes, in place of UCF11's actions, are eleven ways to
move; in place of Youtube Celebrities' faces, 47 sprites with their colours; in place of HMDB51's actions, 51 pairs of a digit,
which has a hue of its own, and a way to move. Clips of a group share background and, but for the faces, sprite.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import av
import numpy as np
import torch
from scipy.ndimage import affine_transform, zoom
from sklearn.datasets import load_digits

from running.checkpoint import replacing
from running.parallel import run_jobs

WIDTH, HEIGHT, FRAMES, RATE = 320, 240, 24, 30
DRAWN_WIDTH, DRAWN_HEIGHT = 160, 120  # of the drawing, which is scaled up to the size of the video
SPRITE_SIZE = 48
SPAN = 0.27  # how far a sprite goes from its middle, as a share of the height
CLIPS = {"ucf11": 1600, "youtube": 47 * 6 * 2, "hmdb51": 51 * 10 * 2}
GROUPS = {"ucf11": 25, "youtube": 6, "hmdb51": 10}
MOTIONS = ("left", "right", "up", "down", "diagonal", "circle", "bounce", "sway", "rotate", "approach", "recede")
SUBJECTS, PAIRS = 47, 51
CLIPS_PER_PART, FEWEST_PARTS = 40, 5  # a part a job; fewer need no processes of their own


@dataclass(frozen=True)
class Film:
    """A clip to be made.

    Attributes
    ----------
    name : str
        The path within the data set.
    motion : str
    background : tuple of int
        Seed of the texture.
    sprite : tuple of int
        Seed of the digit and its colour.
    seed : tuple of int
        Of where and how fast it moves.
    digit : int or None
        Which digit the sprite is, and with that its hue; any if None.
    size, reach : float
        How large it is and how far it moves, in those of the others.
    """

    name: str
    motion: str
    background: tuple[int, ...]
    sprite: tuple[int, ...]
    seed: tuple[int, ...]
    digit: int | None = None
    size: float = 1.0
    reach: float = 1.0


def films(task: str, count: int) -> Iterator[Film]:
    """Yield the clips of a stand-in, so many in total, in equal numbers for classes and groups as far as possible."""
    classes = {"ucf11": len(MOTIONS), "youtube": SUBJECTS, "hmdb51": PAIRS}[task]
    groups = GROUPS[task]
    for number in range(count):
        target, turn = number % classes, number // classes
        group, take = turn % groups, turn // groups
        seed = (target, group, take)
        if task == "ucf11":
            motion = MOTIONS[target]
            name = f"{motion}/v_{motion}_{group + 1:02}/v_{motion}_{group + 1:02}_{take + 1:02}.mpg"
            yield Film(name, motion, (1, group), (2, group), seed)
        elif task == "youtube":
            name = f"{number + 1:04}_{group + 1:02}_{take + 1:03}_subject_{target + 1:02}.avi"
            motion = MOTIONS[np.random.default_rng(seed).integers(len(MOTIONS))]
            # Faces fill more of the frame and move less. A background tells nothing of the subject.
            yield Film(name, motion, (3, group), (4, target), seed, size=2.0, reach=0.3)
        else:
            # 10 digits and 11 ways to move have no common divisor, so that the pairs differ.
            digit, motion = target % 10, MOTIONS[target % len(MOTIONS)]
            label = f"digit_{digit}_{motion}"
            name = f"{label}/source_{group + 1}_{label}_u_nm_np1_fr_med_{take}.avi"
            yield Film(name, motion, (5, group), (6, group), seed, digit)


def trajectory(motion: str, reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return where a sprite is in every frame.

    Returns
    -------
    x, y : ndarray of shape (FRAMES,)
        The middle of the sprite, in heights of the drawing.
    size : ndarray of shape (FRAMES,)
        In sizes of the sprite.
    angle : ndarray of shape (FRAMES,)
        In radians.
    """
    time = np.linspace(0, 1, FRAMES)
    span = reach * SPAN * rng.uniform(0.8, 1.1)
    middle = np.array([DRAWN_WIDTH / DRAWN_HEIGHT / 2, 0.5]) + rng.uniform(-0.08, 0.08, size=2)
    swing, wave, turn = span * (2 * time - 1), span * np.sin(4 * np.pi * time), 2 * np.pi * time + rng.uniform(0, 2 * np.pi)
    still = np.zeros(FRAMES)
    moves = {
        "left": (-swing, still), "right": (swing, still), "up": (still, -swing), "down": (still, swing),
        "diagonal": (swing, swing), "circle": (span * np.cos(turn), span * np.sin(turn)), "bounce": (still, wave),
        "sway": (wave, still),
    }  # fmt: skip
    x, y = moves.get(motion, (still, still))
    growth = {"approach": 1.0, "recede": -1.0}.get(motion, 0.0)
    angle = rng.uniform(-0.2, 0.2) + (2 * np.pi * time if motion == "rotate" else still)
    return middle[0] + x, middle[1] + y, 2 ** (reach * growth * (2 * time - 1)), angle


def texture(rng: np.random.Generator) -> np.ndarray:
    """Draw a background of shape (DRAWN_HEIGHT, DRAWN_WIDTH, 3), between 0 and 1, darker than the sprites."""
    rough = sum(
        weight * zoom(rng.normal(size=(DRAWN_HEIGHT // grain, DRAWN_WIDTH // grain, 3)), (grain, grain, 1), order=1)
        for grain, weight in ((4, 0.05), (20, 0.1))
    )
    return np.clip(rng.uniform(0.2, 0.4, size=3) + rough, 0, 1)


def drawing(film: Film, digits: dict[int, np.ndarray]) -> Iterator[np.ndarray]:
    """Yield the frames of a clip: (DRAWN_HEIGHT, DRAWN_WIDTH, 3), uint8."""
    background = texture(np.random.default_rng(film.background))
    rng = np.random.default_rng(film.sprite)
    digit = rng.integers(10) if film.digit is None else film.digit
    sprite = rng.choice(digits[digit])
    hue = rng.uniform() if film.digit is None else (film.digit + rng.uniform(-0.3, 0.3)) / 10
    color = np.array(colorsys.hsv_to_rgb(hue, rng.uniform(0.1, 0.8) if film.digit is None else 0.8, 1.0))
    rng = np.random.default_rng((7, *film.seed))
    light = rng.uniform(0.85, 1.1)
    background = np.roll(background, rng.integers(-6, 7, size=2), axis=(0, 1))
    for x, y, size, angle in zip(*trajectory(film.motion, film.reach, rng)):
        scale = len(sprite) / (SPRITE_SIZE * film.size * size)
        matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        middle = np.array([y, x]) * DRAWN_HEIGHT
        offset = (len(sprite) - 1) / 2 - matrix @ middle
        cover = affine_transform(sprite, matrix, offset, (DRAWN_HEIGHT, DRAWN_WIDTH), order=1)[..., None]
        image = light * (background * (1 - cover) + color * cover)
        yield (255 * image.clip(0, 1)).astype(np.uint8)


def write_film(film: Film, digits: dict[int, np.ndarray], path: Path) -> None:
    """Encode a clip, as MPEG-2 in a .mpg file, as MPEG-4 in a .avi file."""
    container_format, codec = {".mpg": ("mpeg", "mpeg2video"), ".avi": ("avi", "mpeg4")}[path.suffix]
    with replacing(path) as temporary, av.open(str(temporary), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 2_000_000
        for image in drawing(film, digits):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(WIDTH, HEIGHT, "yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def write_films(chosen: list[Film], folder: Path, report: Callable[[int], None]) -> None:
    """Write clips that are not there yet; each is there whole or not at all."""
    images, targets = load_digits(return_X_y=True)
    digits = {digit: images[targets == digit].reshape(-1, 8, 8) / 16 for digit in range(10)}
    for film in chosen:
        path = folder / film.name
        if not path.exists():
            write_film(film, digits, path)
        report(1)


def write_stand_in(task: str, count: int, folder: Path, report: Callable[[int], None]) -> None:
    """Write the clips of a stand-in that are not there yet.

    Parameters
    ----------
    task : str
        "ucf11", "youtube" or "hmdb51".
    count : int
    folder : Path
    report : callable
        Told how many clips were added.
    """
    chosen = list(films(task, count))
    missing = [film for film in chosen if not (folder / film.name).exists()]
    report(count - len(missing))
    # Small parts, so that the cores end together.
    parts = [missing[start : start + CLIPS_PER_PART] for start in range(0, len(missing), CLIPS_PER_PART)]
    run_jobs([partial(write_films, part, folder) for part in parts], report, torch.device("cpu"), fewest=FEWEST_PARTS)
