"""Plain tables, and the versions of packages."""

import importlib.metadata
from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """Set words to the left and numbers to the right; the first column is of words."""
    cells = [tuple(heads), *(tuple(map(str, line)) for line in lines)]
    widths = [max(len(line[k]) for line in cells) for k in range(len(heads))]
    texts = (
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:]))]).rstrip() for line in cells
    )
    return "\n".join(texts)


def version(package: str) -> str | None:
    """Return the version that is installed, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
