"""Images with captions in the layout of MSCOCO: ``annotations/captions_train2014.json``, ``train2014/*.jpg`` and so on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

TRAIN, TEST = "train", "val"  # the captions of MSCOCO's own test images are not public
YEARS = (2014, 2017)


@dataclass(frozen=True)
class CaptionedImage:
    """The file of an image, and its captions."""

    path: Path
    captions: tuple[str, ...]


def load_captions(folder: Path, part: str, most: int | None = None) -> list[CaptionedImage]:
    """Read what a data set's folder says about its images, in the order of their numbers.

    The images of a year are in ``train2014`` or in ``images/train2014``.

    Parameters
    ----------
    folder : Path
    part : {"train", "val"}
    most : int, optional
        How many images to take, all by default.

    Raises
    ------
    ValueError
        If a file is missing or is not what it should be.
    """
    year, content = read_annotations(folder, part)
    try:
        captions: dict[int, list[str]] = {}
        for annotation in sorted(content["annotations"], key=lambda one: one["id"]):
            captions.setdefault(annotation["image_id"], []).append(str(annotation["caption"]))
        files = {image["id"]: str(image["file_name"]) for image in content["images"]}
        numbers = sorted(captions.keys() & files.keys())[:most]
    except (KeyError, TypeError) as error:
        raise ValueError(f"the captions of {part}{year} in {folder} are not in MSCOCO's format: {error!r}") from None
    if not numbers:
        raise ValueError(f"the captions of {part}{year} in {folder} are of no image")
    places = [folder / f"{part}{year}", folder / "images" / f"{part}{year}"]
    place = next((place for place in places if place.is_dir()), None)
    if place is None:
        raise ValueError(f"--data must hold the images in {part}{year} or images/{part}{year}; neither is in {folder}")
    missing = next((files[number] for number in numbers if not (place / files[number]).is_file()), None)
    if missing:
        raise ValueError(f"the image {missing} is not in {place}")
    return [CaptionedImage(place / files[number], tuple(captions[number])) for number in numbers]


def read_annotations(folder: Path, part: str) -> tuple[int, dict[str, list[dict]]]:
    """Return the year of the captions in a folder, and what their file holds."""
    for year in YEARS:
        path = folder / "annotations" / f"captions_{part}{year}.json"
        if path.is_file():
            try:
                return year, json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise ValueError(f"{path} is not a JSON file: {error}") from None
    raise ValueError(f"--data must be a folder in MSCOCO's layout; annotations/captions_{part}2014.json is not in {folder}")
