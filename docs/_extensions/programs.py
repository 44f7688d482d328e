"""The gallery: each program of examples/ runs as its users run it, and its page shows what it printed and drew."""

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

EXAMPLES = Path(__file__).parents[2] / "examples"
#: The environment variable that chooses what runs: `all`, `none`, or names between commas.
CHOICE = "GALLERY"
#: The programs that run by default: five minutes of one core in total.
DEFAULT_PROGRAMS = ("paper_counts", "numpy_training", "recover_weight", "image_generation", "decompose_matrix", "indian_pines")
#: Seconds of one core with `--quick`, for the order of the gallery.
SECONDS = {
    "paper_counts": 5,
    "numpy_training": 5,
    "recover_weight": 30,
    "image_generation": 50,
    "cnn_features": 60,
    "action_recognition": 70,
    "decompose_matrix": 60,
    "captioning": 75,
    "compress_g2p": 80,
    "indian_pines": 125,
}


def all_programs() -> list[str]:
    """Return the names of the files in examples/ that are programs: those with a guard of `__main__`."""
    return sorted(path.stem for path in EXAMPLES.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8"))


def ignored() -> str:
    """Return a regular expression of all files but the programs, by name or path."""
    return rf"(?:^|[\\/])(?!(?:{'|'.join(map(re.escape, all_programs()))})\.py$)[^\\/]+$"


def to_run(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the programs that run in this build; the pages of the others show what they are, without results."""
    programs = all_programs()
    chosen = environment.get(CHOICE, ",".join(DEFAULT_PROGRAMS))
    names = {"all": programs, "none": []}.get(chosen, chosen.split(","))
    for name in names:
        if name not in programs:
            raise ValueError(f"{CHOICE} must be 'all', 'none' or names of programs: {', '.join(programs)}; got {name!r}.")
    return names


def pattern(names: Iterable[str]) -> str:
    """Return a regular expression of the files of these names, and of no file where there are none."""
    return rf"(?:^|[\\/])(?:{'|'.join(map(re.escape, names)) or '(?!)'})\.py$"


def shortest_first(name: str) -> tuple[float, str]:
    """Return what a program's place in the gallery is sorted by."""
    stem = Path(name).stem
    return SECONDS.get(stem, float("inf")), stem


def quick_arguments(gallery: Mapping[str, Any], script: Mapping[str, Any]) -> list[str]:
    """Return a program's arguments: the small size, and a new folder of its own for what it writes."""
    # Worker processes import the module that they were started from by its path. Without these two they would
    # take the gallery's stand-in of `__main__` for the interpreter's own, and not find the program's functions.
    script["example_globals"]["__spec__"] = None
    script["example_globals"]["__file__"] = script["src_file"]
    folder = output(gallery, script)
    shutil.rmtree(folder, ignore_errors=True)
    # The gallery runs a program where it lies. Relative, for the page says where the results are.
    return ["--quick", "--output", os.path.relpath(folder, Path(script["src_file"]).parent)]


def written_pictures(block: Any, script: Mapping[str, Any], gallery: Mapping[str, Any]) -> str:
    """Return the reStructuredText of the pictures that a program wrote."""
    shown = []
    for written, path in zip(sorted(output(gallery, script).glob("*.png")), script["image_path_iterator"]):
        written.replace(path)
        shown.append(path)
    return figure_rst(shown, gallery["src_dir"]) if shown else ""


def output(gallery: Mapping[str, Any], script: Mapping[str, Any]) -> Path:
    """Return the folder that a program writes to."""
    return Path(gallery["src_dir"]) / "gallery" / "output" / Path(script["src_file"]).stem
