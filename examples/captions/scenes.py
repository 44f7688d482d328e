"""Pictures of two coloured shapes with five captions each, rendered and written to disk in the layout of MSCOCO."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from captions.coco import TEST, TRAIN, YEARS

SIDE = 64
YEAR = YEARS[0]
COLORS = {
    "red": (214, 39, 40), "green": (44, 160, 44), "blue": (31, 99, 200), "yellow": (240, 210, 40),
    "purple": (148, 80, 190), "orange": (255, 127, 14),
}  # fmt: skip
BACKGROUNDS = {"dark": 45, "grey": 130, "light": 225}
# Corners on a circle of radius 1, the first to the right; angles in turns.
SHAPES = {
    "square": [(np.sqrt(2) * 0.85, (k + 0.5) / 4) for k in range(4)],
    "triangle": [(1.1, k / 3 + 0.75) for k in range(3)],
    "star": [(1.15 if k % 2 == 0 else 0.45, k / 10 + 0.75) for k in range(10)],
    "circle": [(0.95, k / 40) for k in range(40)],
}
# Where the second thing lies, seen from the first, rows downwards; and how one says so, from the first and from the second.
# The first is always the upper or the left one, so that an image tells which captions it has.
RELATIONS = {(1, 0): ("above", "below"), (0, 1): ("to the left of", "to the right of")}
CAPTIONS = (
    "A {first} {relation} a {second}.",
    "There is a {second} {inverse} a {first}.",
    "A {first} and a {second} on a {background} background.",
    "The {second} is {inverse} the {first}.",
    "On a {background} background a {first} is {relation} a {second}.",
)


@dataclass(frozen=True)
class Scene:
    """Two things, each a colour and a shape, where the second lies seen from the first, and the background."""

    first: tuple[str, str]
    second: tuple[str, str]
    direction: tuple[int, int]
    background: str

    def captions(self) -> list[str]:
        """Return the captions."""
        relation, inverse = RELATIONS[self.direction]
        things = {"first": " ".join(self.first), "second": " ".join(self.second)}
        captions = [one.format(relation=relation, inverse=inverse, background=self.background, **things) for one in CAPTIONS]
        return [re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", caption) for caption in captions]


def draw_scene(rng: np.random.Generator) -> Scene:
    """Draw a scene at random, of two different things."""
    things = [(color, shape) for color in COLORS for shape in SHAPES]
    first, second = rng.choice(len(things), 2, replace=False)
    directions, backgrounds = list(RELATIONS), list(BACKGROUNDS)
    direction, background = directions[rng.integers(len(directions))], backgrounds[rng.integers(len(backgrounds))]
    return Scene(things[first], things[second], direction, background)


def render(scene: Scene, rng: np.random.Generator) -> Image.Image:
    """Render a scene with the things' places and sizes drawn at random, on a noisy background."""
    noise = rng.normal(BACKGROUNDS[scene.background], 12, (SIDE, SIDE, 3))
    image = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for (color, shape), side in ((scene.first, -1), (scene.second, 1)):
        centre = SIDE / 2 + side * SIDE / 4 * np.array(scene.direction) + rng.uniform(-4, 4, 2)
        radius = rng.uniform(9, 12)
        length, angle = np.array(SHAPES[shape]).T
        turn = 2 * np.pi * angle
        corners = centre[::-1] + radius * length[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        pen.polygon([(float(x), float(y)) for x, y in corners], fill=COLORS[color])
    return image


def write_scenes(folder: Path, train: int, test: int) -> None:
    """Write so many training and test images with their captions, always the same ones, unless they are there.

    The folder appears when all is written.
    """
    info = {"description": f"rendered scenes, {train} and {test}"}
    last = folder / "annotations" / f"captions_{TEST}{YEAR}.json"
    if last.is_file() and json.loads(last.read_text(encoding="utf-8"))["info"] == info:
        return
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        for part, count, seed in ((TRAIN, train, 0), (TEST, test, 1)):
            write_part(temporary, part, count, np.random.default_rng(seed), info)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_part(folder: Path, part: str, count: int, rng: np.random.Generator, info: dict[str, str]) -> None:
    """Write the images and captions of the training or test part."""
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    (folder / f"{part}{YEAR}").mkdir()
    images, annotations = [], []
    for number in range(1, count + 1):
        scene = draw_scene(rng)
        name = f"COCO_{part}{YEAR}_{number:012}.png"
        render(scene, rng).save(folder / f"{part}{YEAR}" / name)
        images.append({"id": number, "file_name": name, "height": SIDE, "width": SIDE})
        for caption in scene.captions():
            annotations.append({"id": len(annotations) + 1, "image_id": number, "caption": caption})
    content = {"info": info, "images": images, "annotations": annotations, "licenses": []}
    (folder / "annotations" / f"captions_{part}{YEAR}.json").write_text(json.dumps(content), encoding="utf-8")
