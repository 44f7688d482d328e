"""How much less error the outputs of a compressed layer have when its factors are refitted to inputs.

    python -m tests.benchmarks.calibration --seeds 3

Data: scikit-learn's digits, 1797 real scans of 8 x 8 pixels; 1200 to train on, 597 held out. A network of 64, 256, 64 and 10
units is trained by Adam for 30 epochs; its first two weights are decomposed at even ranks to a sixteenth of their parameters, and refitted to the
training images alone. `plain` and `refitted` are ||X (W - f)^T|| / ||X W^T|| over what the held-out images are in front of the
layer. The accuracy is that of the whole network on the held-out images with both weights compressed.
"""

import argparse
import copy
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import tensorly_rnn as tlr
from tensorly_rnn.decomposition import calibrate
from tests.benchmarks.tables import table

TRAINING, EPOCHS, RATIO = 1200, 30, 16
LAYERS = {0: ((8, 8, 4), (4, 4, 4)), 2: ((4, 4, 4), (8, 8, 4))}


@dataclass(frozen=True)
class Row:
    """One layer in one format."""

    format: str
    layer: str
    n_param: int
    plain: float
    refitted: float
    accuracy: tuple[float, float, float]


@cache
def trained(seed: int) -> tuple[nn.Sequential, Tensor, Tensor, Tensor]:
    """Return the network, training images, held-out images and held-out classes."""
    pixels, classes = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(pixels))
    x, y = torch.tensor(pixels[order] / 16, dtype=torch.float32), torch.tensor(classes[order])
    with torch.enable_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), 1e-3)
        for _ in range(EPOCHS):
            for batch in torch.randperm(TRAINING).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
                optimizer.step()
    return model, x[:TRAINING], x[TRAINING:], y[TRAINING:]


@torch.no_grad()
def measured(format: str, seed: int) -> list[Row]:
    """Compress both layers, with calibration and without."""
    model, training, x, y = trained(seed)
    plain, refitted = copy.deepcopy(model), copy.deepcopy(model)
    rows = []
    for number, modes in LAYERS.items():
        weight, before, after = model[number].weight.detach(), model[:number](training), model[:number](x)
        f = tlr.factorize(weight, format, modes, rank=1 / RATIO, n_iter_max=20)
        g = calibrate(f, weight, before)
        wanted = after @ weight.T
        errors = [(torch.linalg.norm(wanted - one.apply(after)) / torch.linalg.norm(wanted)).item() for one in (f, g)]
        plain[number].weight.copy_(f.to_matrix())
        refitted[number].weight.copy_(g.to_matrix())
        rows.append((f"{number}.weight", f.n_param, *errors))
    accuracy = tuple((one(x).argmax(1) == y).float().mean().item() for one in (model, plain, refitted))
    return [Row(format, *row, accuracy) for row in rows]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    lines = []
    for format in tlr.available_formats():
        for rows in zip(*(measured(format, seed) for seed in range(options.seeds))):
            plain, refitted, count = (
                float(np.mean([getattr(row, name) for row in rows])) for name in ("plain", "refitted", "n_param")
            )
            least = min(1 - row.refitted / row.plain for row in rows)
            accuracy = ", ".join(f"{100 * one:.1f}" for one in np.mean([row.accuracy for row in rows], axis=0))
            lines.append((format, rows[0].layer, f"{count:.0f}", f"{plain:.3f}", f"{refitted:.3f}", f"{least:.0%}", accuracy))
    heads = ("format", "weight", "parameters", "plain", "refitted", "less", "accuracy: dense, plain, refitted")
    print(table(heads, lines))
    print(f"Means over {options.seeds} seeds; `less` is the least reduction of the error among them.")


if __name__ == "__main__":
    main()
