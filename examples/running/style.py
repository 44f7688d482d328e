"""How the examples' pictures look: colours, markers, axes."""

from __future__ import annotations

from typing import Any

import matplotlib

matplotlib.use("Agg")

# Okabe and Ito's colours, which stay apart for colour-blind readers.
SYSTEM_COLORS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SYSTEM_MARKERS = ("s", "o", "^", "v", "D", "P", "X")
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e5e5",
    "legend.frameon": False,
    "savefig.dpi": 150,
}
