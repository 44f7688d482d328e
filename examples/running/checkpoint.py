"""The state of a training on files, so that a program that was killed goes on where it was."""

from __future__ import annotations

import hashlib
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorly
import torch

import tensorly_rnn
from running import processes
from running.atomic import replacing

State = dict[str, Any]
DIGEST_SIZE = hashlib.sha256().digest_size


class Checkpoints:
    """States by name in a folder: dicts of tensors, numbers, strings, lists and dicts.

    A file holds the SHA-256 digest of the rest, then a ``torch.save`` of the fingerprint and the state; it is written whole
    or not at all. Nothing in a file is run when it is loaded, and a file of another fingerprint is never taken up. Of several
    processes, the first alone reads and writes; all call the methods together.

    Parameters
    ----------
    folder : Path
        Made by the first state saved.
    fingerprint : mapping of str to plain data
        All that decides what the program computes: options, data, versions.
    """

    def __init__(self, folder: Path, fingerprint: Mapping[str, Any]) -> None:
        self.folder = folder
        self.fingerprint = dict(fingerprint)

    def check(self) -> list[str]:
        """Remove damaged files.

        Returns
        -------
        list of str
            A line for people, about each damaged file and about what there is to go on from.

        Raises
        ------
        ValueError
            If a file has another fingerprint; it stays.
        """
        lines = []
        found = sorted(self.folder.glob("*.pt"))
        for path in found:
            content = read(path)
            if content is None:
                lines.append(f"{path} is damaged: that part is trained anew")
                path.unlink()
            elif content["fingerprint"] != self.fingerprint:
                theirs = content["fingerprint"]
                other = [key for key in theirs | self.fingerprint if theirs.get(key) != self.fingerprint.get(key)]
                raise ValueError(
                    f"{self.folder} is of an interrupted run that differs in {', '.join(other)}; go on with that one, choose "
                    "another --output, or discard it with --fresh"
                )
        if len(found) > len(lines):
            lines.append(f"going on with the interrupted run in {self.folder} (--fresh starts anew)")
        return lines

    def load(self, name: str) -> State | None:
        """Return a state, on the CPU; None where there is none, or none of this fingerprint."""
        content = processes.from_first(lambda: read(self.path(name)))
        return content["state"] if content and content["fingerprint"] == self.fingerprint else None

    def save(self, name: str, state: State) -> None:
        """Put a state in the place of the one of that name."""
        if processes.rank() == 0:
            buffer = io.BytesIO()
            torch.save({"fingerprint": self.fingerprint, "state": state}, buffer)
            self.folder.mkdir(parents=True, exist_ok=True)
            with replacing(self.path(name)) as file:
                file.write(hashlib.sha256(buffer.getbuffer()).digest())
                file.write(buffer.getbuffer())

    def remove(self, name: str) -> None:
        """Remove a state that is no longer needed, if there is one."""
        if processes.rank() == 0:
            self.path(name).unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the folder."""
        if processes.rank() == 0 and self.folder.exists():
            shutil.rmtree(self.folder)

    def path(self, name: str) -> Path:
        """Return the file of a state."""
        return self.folder / f"{name}.pt"


def open_checkpoints(folder: Path, fingerprint: Mapping[str, Any], *, fresh: bool) -> tuple[Checkpoints, list[str]]:
    """Return the checkpoints of a run in a folder, beside its results, and the lines for people about what is there.

    Parameters
    ----------
    folder : Path
        The folder above it is made.
    fingerprint : mapping of str to plain data
        Without the versions of what computes.
    fresh : bool
        Whether to discard what is there.

    Raises
    ------
    ValueError
        If there are checkpoints of another run.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints = Checkpoints(folder, {**fingerprint, **versions()})
    if fresh:
        checkpoints.discard()
    return checkpoints, checkpoints.check()


def read(path: Path) -> State | None:
    """Return what a checkpoint file holds, None if there is no such file or it is damaged."""
    if not path.exists():
        return None
    content = path.read_bytes()
    digest, payload = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
    if hashlib.sha256(payload).digest() != digest:
        return None
    return torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)


def versions() -> dict[str, str]:
    """Return the versions of what computes, for a fingerprint."""
    return {module.__name__: str(module.__version__) for module in (np, tensorly, tensorly_rnn, torch)}


def digest(*arrays: np.ndarray) -> str:
    """Return a name of the contents of arrays, for a fingerprint."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{array.dtype} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
