"""Write files whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


@contextmanager
def replacing(path: Path, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a file that takes the place of ``path`` when the block ends without an error.

    Whoever reads ``path`` finds what was there before or all that was written, even if the program is killed meanwhile.

    Parameters
    ----------
    path : Path
    mode : str
        "wb" or "w".
    **options
        The other arguments of ``open``.
    """
    # In the same folder, for only within a file system is replacing one step; each process has a name of its own.
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
