"""Checkpoints of a training, from which a program that was killed continues."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tensorly
import torch

import tensorly_rnn
from running import processes

State = dict[str, Any]


class Checkpoints:
    """States by name in a folder: dicts of tensors, numbers, strings, lists and dicts.

    Of several processes, the first alone reads and writes; all call `load` together.

    Parameters
    ----------
    folder : Path
        Made by the first state saved.
    fingerprint : mapping of str to plain data
        All that decides what the program computes: options, data, versions. A file of another fingerprint is not loaded.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint = dict(fingerprint)

    def check(self) -> list[str]:
        """Return a line to print if there is a run to continue.

        Raises
        ------
        ValueError
            If a file has another fingerprint.
        """
        found = sorted(self.folder.glob("*.pt"))
        for path in found:
            theirs = read(path)["fingerprint"]
            if theirs != self.fingerprint:
                other = [key for key in theirs | self.fingerprint if theirs.get(key) != self.fingerprint.get(key)]
                raise ValueError(
                    f"{self.folder} is of an interrupted run that differs in {', '.join(other)}; go on with that one, choose "
                    "another --output, or discard it with --fresh"
                )
        return [f"going on with the interrupted run in {self.folder} (--fresh starts anew)"] if found else []

    def load(self, name: str) -> State | None:
        """Return a state, on the CPU; None where there is none, or none of this fingerprint."""
        path = self.path(name)
        content = processes.from_first(lambda: read(path) if path.exists() else None)
        return content["state"] if content and content["fingerprint"] == self.fingerprint else None

    def save(self, name: str, state: State) -> None:
        """Replace the state of that name, in one step: a program killed meanwhile leaves the old one."""
        if processes.rank() == 0:
            with replacing(self.path(name)) as temporary:
                torch.save({"fingerprint": self.fingerprint, "state": state}, temporary)

    def remove(self, name: str) -> None:
        """Remove a state, if there is one."""
        if processes.rank() == 0:
            self.path(name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the folder."""
        if processes.rank() == 0:
            shutil.rmtree(self.folder, ignore_errors=True)

    def path(self, name: str) -> Path:
        """Return the file of a state."""
        return self.folder / f"{name}.pt"


def open_checkpoints(folder: Path, fingerprint: Mapping[str, Any], *, fresh: bool) -> tuple[Checkpoints, list[str]]:
    """Return the checkpoints of a run, with versions added to the fingerprint, and `Checkpoints.check` of them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder, {**fingerprint, **versions()})
    if fresh:
        checkpoints.discard()
    for left in folder.glob("*.new"):
        left.unlink(missing_ok=True)
    return checkpoints, checkpoints.check()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file, which replaces a file at the end of the block.

    Every call has a file of its own: processes of a program just killed may still write beside those of its next start.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read(path: Path) -> State:
    """Return the fingerprint and the state in a file; nothing in it is executed."""
    return torch.load(path, map_location="cpu", weights_only=True)


def versions() -> dict[str, str]:
    """Return the versions of the libraries that compute, for a fingerprint."""
    return {module.__name__: str(module.__version__) for module in (np, tensorly, tensorly_rnn, torch)}


def digest(*arrays: np.ndarray) -> str:
    """Return a hash of arrays, for a fingerprint."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
