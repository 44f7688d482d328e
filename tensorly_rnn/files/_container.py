"""Read and write a safetensors file as named tensors of bytes, memory-mapped, so that any dtype passes through unchanged."""

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from tensorly_rnn._checks import instance_of

METADATA = "__metadata__"
#: Most names of files in a message.
LISTED = 5


@dataclass(frozen=True)
class Stored:
    """A tensor as stored in a file: name of its dtype, such as ``"F32"``, shape, and bytes, little-endian and row-major."""

    dtype: str
    shape: tuple[int, ...]
    data: Any

    @property
    def n_param(self) -> int:
        """Number of entries."""
        return math.prod(self.shape)


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return the tensors of a file, in the order of the file, and its metadata; another kind of file is a ValueError.

    safetensors checks the file. It supports neither bfloat16 nor 8-bit floats in NumPy, so the bytes are read by the offsets
    of the checked header.
    """
    path = checked_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"path must be a file; got the folder {str(path)!r}.")
    library = safetensors()
    # Opened by Python first, which has clearer errors.
    with path.open("rb") as file:
        try:
            with library.safe_open(path, framework="numpy"):
                pass
        except library.SafetensorError as error:
            raise ValueError(f"path must be a safetensors file; got {str(path)!r}{_parts(path) or f': {error}'}.") from None
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
        # An empty part of a file cannot be mapped.
        filled = os.fstat(file.fileno()).st_size > 8 + length
        whole = np.memmap(file, dtype=np.uint8, mode="r", offset=8 + length) if filled else np.empty(0, np.uint8)
    metadata = header.pop(METADATA, None) or {}
    in_order = sorted(header.items(), key=lambda item: item[1]["data_offsets"])
    return {
        name: Stored(one["dtype"], tuple(one["shape"]), whole[slice(*one["data_offsets"])]) for name, one in in_order
    }, metadata


def _parts(path: Path) -> str:
    """Return the files that an index of a model in parts names, for a message; empty for other files."""
    if path.suffix != ".json":
        return ""
    try:
        names = sorted(set(json.loads(path.read_bytes())["weight_map"].values()))
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError):
        return ""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f", an index of {len(names)} files. Give one at a time: {', '.join(map(str, names[:LISTED]))}{more}"


def write(file: IO[bytes], tensors: Mapping[str, Stored], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file, one tensor after the other; large entries first, so that all are aligned.

    The function of safetensors takes all tensors at once, and its signature differs between releases.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].data.nbytes / max(tensors[name].n_param, 1), name))
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    start = 0
    for name in names:
        one = tensors[name]
        header[name] = {"dtype": one.dtype, "shape": list(one.shape), "data_offsets": [start, start + one.data.nbytes]}
        start += one.data.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in names:
        file.write(tensors[name].data.data)


def as_path(argument: str, path: Any) -> Path:
    """Return a path."""
    instance_of(argument, path, (str, os.PathLike), "a path; expected a str or a pathlib.Path")
    return Path(path)


def checked_path(path: Any) -> Path:
    """Return the path of a file."""
    path = as_path("path", path)
    if not path.name:
        raise ValueError(f"path must name a file; got {str(path)!r}.")
    return path


def safetensors() -> Any:
    """Import safetensors, or raise an error with the command to install it."""
    try:
        import safetensors
    except ImportError:
        raise ImportError("safetensors must be installed; run pip install 'tensorly-rnn[cli]'.") from None
    return safetensors
