"""Whether compact LSTMs start and converge as well as a dense one, at which learning rate of Adam, and from which start.

    python -m tests.benchmarks.starts --output folder     # starts.json, starts.png; a second call goes on; minutes
    python -m tests.benchmarks.starts --quick             # one seed, few steps, half the systems

Data: the Indian Pines scene that ships with TensorLy. A pixel's 5 x 5 neighbourhood is a sequence of 10 steps of 20 bands, 500 inputs
a step; a tenth of every class, drawn at random, is trained on, and 1000 other pixels are tested on. LSTMs of 64 hidden units are
trained for 6 epochs of 16 steps, each system at every learning rate; at one rate only from other starts than ours.

Rates: `one` for all parameters, or `groups`: those of `tensorly_rnn.nn.parameter_groups`, and for the dense LSTM's W_ih the rate that
the rule is derived from, lr * hidden / inputs. Starts: `ours`; `torch`, every factor uniform as torch.nn.LSTM resets its own
parameters; `tensorly`, every factor uniform in [0, 1) as TensorLy draws cores.

`first loss` and `gradient` are the loss and the norm of its gradient before the first step, on a quarter of the pixels; `loss` is the
mean over the last two epochs. The best learning rate of a system is that of the lowest loss, a mean over the seeds: the choice looks
at the training loss alone.
"""

import argparse
import json
import math
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorly.datasets import load_indian_pines
from torch import Tensor, nn

from tensorly_rnn.nn import FactorizedLSTM, FactorizedWeight, parameter_groups

WINDOW, STEPS, HIDDEN, BATCH, BATCHES, TESTED = 5, 10, 64, 64, 16, 1000
MODES = {"input_modes": (4, 5, 5, 5), "hidden_modes": (4, 4, 2, 2)}
SYSTEMS: dict[str, dict[str, Any]] = {
    "dense": {},
    "tt": {"factorization": "tt", "rank": 4, **MODES},
    "tr": {"factorization": "tr", "rank": 4, **MODES},
    "bt": {"factorization": "bt", "rank": (2, 4), **MODES},
    "ht": {"factorization": "ht", "rank": (4, 5), **MODES},
    "fdht": {"factorization": "ht", "rank": (10, 10), "decompose": "full", **MODES, "input_modes": (4, 4, 6, 6)},
}
LEARNING_RATES = (3e-3, 1e-2, 3e-2, 1e-1)
VARIANTS = (("ours", "one"), ("ours", "groups"), ("torch", "one"), ("tensorly", "one"))
OF_OTHER_STARTS = (1e-2,)


@dataclass(frozen=True)
class Job:
    """One training."""

    system: str
    start: str
    rates: str
    lr: float
    seed: int
    epochs: int


@dataclass(frozen=True)
class Outcome:
    """The result of a run; `curve` has the mean loss of every epoch."""

    compression: float
    first_loss: float
    gradient: float
    loss: float
    accuracy: float
    curve: tuple[float, ...]


@cache
def data(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Sequences, shape (pixels, STEPS, 500), and classes to train on, and those to test on."""
    scene, generator = load_indian_pines(), np.random.default_rng(seed)
    labels = np.asarray(scene.ticks[0]).ravel()
    cube = np.asarray(scene.tensor, np.float32)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels[labels > 0])]
    training = np.concatenate([generator.choice(of, max(1, round(len(of) / 10)), replace=False) for of in members])
    others = np.setdiff1d(np.flatnonzero(labels), training)
    testing = generator.choice(others, TESTED, replace=False)
    pixels = cube.reshape(-1, cube.shape[2])[training]
    margins = (WINDOW // 2, WINDOW // 2)
    padded = np.pad((cube - pixels.mean(axis=0)) / pixels.std(axis=0), (margins, margins, (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW), axis=(0, 1))  # rows, columns, bands, 5, 5

    def cut(index: np.ndarray) -> tuple[Tensor, Tensor]:
        found = windows[index // cube.shape[1], index % cube.shape[1]]
        return torch.from_numpy(found.reshape(len(index), STEPS, -1)), torch.from_numpy(labels[index].astype(np.int64) - 1)

    return *cut(training), *cut(testing)


def make(job: Job, inputs: int) -> nn.LSTM | FactorizedLSTM:
    """The layer at its start."""
    if job.system == "dense":
        return nn.LSTM(inputs, HIDDEN, batch_first=True)
    layer = FactorizedLSTM(inputs, HIDDEN, batch_first=True, **SYSTEMS[job.system])
    bound = 1 / math.sqrt(HIDDEN)
    for weight in factorized(layer):
        for factor in weight.factors:
            if job.start == "torch":
                nn.init.uniform_(factor, -bound, bound)
            elif job.start == "tensorly":
                nn.init.uniform_(factor)
    return layer


def factorized(layer: nn.Module) -> list[FactorizedWeight]:
    """Weights in factors."""
    return [module for module in layer.modules() if isinstance(module, FactorizedWeight)]


def groups(job: Job, model: nn.ModuleList) -> Any:
    """Parameters as the optimizer takes them."""
    if job.rates == "one":
        return model.parameters()
    if job.system != "dense":
        return parameter_groups(model, job.lr)
    weight = model[0].weight_ih_l0
    others = [parameter for parameter in model.parameters() if parameter is not weight]
    return [{"params": others}, {"params": [weight], "lr": job.lr * HIDDEN / weight.shape[1]}]


def trained(job: Job) -> Outcome:
    """Train once."""
    torch.set_num_threads(1)
    x, y, x_test, y_test = data(job.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        model = nn.ModuleList([make(job, x.shape[2]), nn.Linear(HIDDEN, int(y.max()) + 1)])

        def scores(x: Tensor) -> Tensor:
            return model[1](model[0](x)[0][:, -1])

        loss = nn.functional.cross_entropy(scores(x[::4]), y[::4])  # pixels lie class by class
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        first, gradient = loss.item(), math.sqrt(sum(one.square().sum().item() for one in gradients))
        optimizer = torch.optim.Adam(groups(job, model), job.lr)
        losses = []
        for _ in range(job.epochs):
            for batch in torch.randperm(len(y)).split(BATCH)[:BATCHES]:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(scores(x[batch]), y[batch])
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
    with torch.no_grad():
        accuracy = (scores(x_test).argmax(1) == y_test).float().mean().item()
    curve = np.mean(np.reshape(losses, (job.epochs, -1)), axis=1)
    compression = max((weight.compression_ratio for weight in factorized(model)), default=1.0)
    return Outcome(compression, first, gradient, float(curve[-2:].mean()), accuracy, tuple(map(float, curve)))


@dataclass(frozen=True)
class Result:
    """A system, from one start with one kind of rates: an outcome for every learning rate and seed."""

    system: str
    start: str
    rates: str
    outcomes: dict[float, list[Outcome]]

    def mean(self, name: str, lr: float) -> float:
        """Mean over the seeds; infinite if training ran away."""
        found = float(np.mean([getattr(outcome, name) for outcome in self.outcomes[lr]]))
        return found if math.isfinite(found) else math.inf

    @property
    def best(self) -> float:
        """The learning rate of the lowest loss."""
        return min(self.outcomes, key=lambda lr: self.mean("loss", lr))

    def epochs_to(self, loss: float) -> str:
        """How many epochs it takes, at the best learning rate, to reach a loss."""
        curve = np.mean([outcome.curve for outcome in self.outcomes[self.best]], axis=0)
        reached = np.flatnonzero(curve <= loss)
        return str(reached[0] + 1) if len(reached) else "-"


def table(results: list[Result], rates: Sequence[float]) -> str:
    """All results, in Markdown."""
    heads = ["system", "start", "rates", "smaller", "first loss", "gradient", *(f"loss at {lr:g}" for lr in rates)]
    lines = [[*heads, "best", "accuracy", "spread", "epochs"], ["---"] * 3 + ["--:"] * (len(heads) + 1)]
    dense = results[0].mean("loss", results[0].best)
    for one in results:
        accuracies = [100 * outcome.accuracy for outcome in one.outcomes[one.best]]
        cells = [one.system, one.start, one.rates, f"{one.mean('compression', one.best):.0f}x"]
        cells += [f"{one.mean('first_loss', one.best):.3g}", f"{one.mean('gradient', one.best):.2g}"]
        cells += [f"{one.mean('loss', lr):.3g}" if lr in one.outcomes else "" for lr in rates]
        lines.append(
            [*cells, f"{one.best:g}", f"{np.mean(accuracies):.1f}", f"{np.ptp(accuracies):.1f}", one.epochs_to(dense)]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def run(jobs: list[Job], workers: int, path: Path | None) -> dict[Job, Outcome]:
    """Train what the file does not have yet; every training is written to the file as soon as it has ended."""
    known = json.loads(path.read_text()) if path and path.exists() else []
    done = {Job(**job): Outcome(**outcome) for job, outcome in known}
    left = [job for job in jobs if job not in done]
    with ProcessPoolExecutor(workers) as executor:
        for job, outcome in zip(left, executor.map(trained, left)):
            done[job] = outcome
            if path:
                path.write_text(json.dumps([(asdict(job), asdict(outcome)) for job, outcome in done.items()], indent=1))
    return done


def draw(path: Path, results: list[Result]) -> None:
    """Loss against the learning rate, with one rate and with groups; and of one rate, epoch by epoch, from every start."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    colors = dict(zip(SYSTEMS, ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")))
    lines = {"ours": "-", "torch": "--", "tensorly": ":"}
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.8), sharey=True, layout="constrained")
    for one in results:
        if one.start == "ours":
            axis, rates = axes[int(one.rates == "groups")], list(one.outcomes)
            axis.plot(rates, [one.mean("loss", lr) for lr in rates], "o-", color=colors[one.system], label=one.system)
        if one.rates == "one":
            curve = np.mean([outcome.curve for outcome in one.outcomes[OF_OTHER_STARTS[0]]], axis=0)
            axes[2].plot(np.arange(len(curve)) + 1, curve, lines[one.start], color=colors[one.system])
    for axis, title in zip(axes, ("one rate for all", "parameter_groups")):
        axis.set(xscale="log", xlabel="learning rate", ylabel="training loss, epochs 5 and 6")
        axis.set_title(title, fontsize=10)
    axes[2].set(xlabel="epoch", ylabel=f"training loss at {OF_OTHER_STARTS[0]:g}")
    axes[2].set_title("starts: ours (-), torch's (--), in [0, 1) (:)", fontsize=10)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#e5e5e5")
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--output", type=Path, help="folder for starts.json and starts.png")
    options = parser.parse_args()
    systems, rates, seeds, epochs = list(SYSTEMS), LEARNING_RATES, options.seeds, 6
    if options.quick:
        systems, rates, seeds, epochs = ["dense", "tt", "ht"], (1e-2,), 1, 3
    runs = [(system, *variant) for variant in VARIANTS for system in systems if system != "dense" or variant[0] == "ours"]
    tried = {one: [lr for lr in rates if one[1] == "ours" or lr in OF_OTHER_STARTS] for one in runs}
    jobs = [Job(*one, lr, seed, epochs) for seed in range(seeds) for one in runs for lr in tried[one]]
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
    outcomes = run(jobs, options.workers, options.output and options.output / "starts.json")
    results = [
        Result(*one, {lr: [outcomes[Job(*one, lr, seed, epochs)] for seed in range(seeds)] for lr in tried[one]})
        for one in runs
    ]
    print(table(results, rates))
    print(
        f"\nMeans over {seeds} seeds; `spread` is the largest accuracy minus the smallest. `epochs`, at the best rate, until the"
    )
    print("mean loss of an epoch is what the dense LSTM with one rate ends with.")
    if options.output:
        draw(options.output / "starts.png", results)


if __name__ == "__main__":
    main()
