"""How time and arithmetic of a linear layer grow with its input, its order and its rank."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

import tensorly_rnn as tlr
from tensorly_rnn.nn import FactorizedLinear
from tests.benchmarks.speed.cases import started
from tests.benchmarks.speed.timing import Row, Setting, infer, sampled, step

ROWS = 32
MEASURES = ("forward", "training", "flops")


@dataclass(frozen=True)
class Sweep:
    """Layers along one variable."""

    name: str
    says: str
    values: tuple[int, ...]

    def sizes(self, value: int) -> tuple[int, int, int, int]:
        """Return in_features, out_features, order and rank."""
        return {"input size": (value, 256, 4, 4), "order": (4096, 4096, value, 2), "rank": (4096, 4096, 3, value)}[self.name]


SWEEPS = (
    Sweep("input size", "to 256, order 4, rank 4", tuple(2**k for k in range(10, 21, 2))),
    Sweep("order", "4096 to 4096, rank 2", (2, 3, 4, 6, 8, 12)),
    Sweep("rank", "4096 to 4096, order 3", (2, 4, 8, 16, 32)),
)


def measured(setting: Setting, quick: bool) -> list[Row]:
    """Measure all sweeps; the layers contract x with the factors, whatever else would be faster."""
    rows = []
    for sweep in SWEEPS:
        for value in sweep.values[:3] if quick else sweep.values:
            size, out, order, rank = sweep.sizes(value)
            modes = {"in_modes": tlr.factorize_size(size, order), "out_modes": tlr.factorize_size(out, order)}
            options: dict[str, Any] = {"rank": rank, "implementation": "factorized", **modes}
            layers = {
                format: started(FactorizedLinear, size, out, factorization=format, **options).to(setting.device)
                for format in tlr.available_formats()
            }
            x = torch.randn(ROWS, size, device=setting.device)
            times = {}
            for measure, call in (("forward", infer), ("training", step)):
                calls = {name: partial(call, layer, x, setting) for name, layer in layers.items()}
                times[measure] = sampled(calls, setting)
            for format, layer in layers.items():
                found = {measure: float(np.median(one[format])) for measure, one in times.items()}
                flops = layer.weight.network.cost(ROWS).forward.flops
                rows.append({"sweep": sweep.name, "value": value, "format": format, **found, "flops": flops})
    return rows


def slope(rows: list[Row], measure: str) -> float:
    """Return the slope of log(measure) over log(value) by least squares."""
    return float(np.polyfit(*([math.log(row[key]) for row in rows] for key in ("value", measure)), 1)[0])


def slopes(rows: list[Row]) -> dict[tuple[str, str], dict[str, float]]:
    """Return the slopes of every sweep and format by measure."""
    found = {}
    for row in rows:
        key = (row["sweep"], row["format"])
        own = [one for one in rows if (one["sweep"], one["format"]) == key]
        found[key] = {measure: slope(own, measure) for measure in MEASURES}
    return found
