"""Train every system with every seed on one task, side by side, or go on with what an interrupted program left of that."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from checkpoint import Checkpoints
from comparison import System
from parallel import run_jobs
from report import make_progress
from rich.console import Console
from torch import nn
from training import Epoch, Training, fit

DENSE = "dense LSTM"
Report = Callable[[tuple[str, int]], None]


class Task(Protocol):
    """What the systems are trained on and scored by; it can be pickled."""

    n_samples: int

    def make_model(self, system: System | None) -> nn.Module:
        """Make an untrained model with a compact recurrent layer, or the dense one."""

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the layer or cell in which the systems differ."""

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean loss of the samples of these numbers; whatever is drawn at random is drawn from the generator."""

    def watch(self, model: nn.Module) -> float:
        """Return what is watched after every epoch."""

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return scores by name, and plain data to show: numbers and strings in lists."""


@dataclass(frozen=True)
class Settings:
    """How every system is trained."""

    epochs: int
    batch_size: int
    learning_rate: float
    device: torch.device


@dataclass(frozen=True)
class Trial:
    """A system, None for the dense LSTM, and the seed that starts its weights, shuffles its samples and draws its noise."""

    system: System | None
    seed: int

    @property
    def title(self) -> str:
        """The system's name for people."""
        return self.system.title if self.system else DENSE

    @property
    def name(self) -> str:
        """The trial's name for files."""
        return f"{self.system.name if self.system else 'dense'}-{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes
    ----------
    trial : Trial
    input_hidden, total : int
        Parameters in place of the input-hidden matrix, and of the whole model with its biases.
    history : list of Epoch
    scores : dict of str to float
    shown : list
        Plain data for pictures.
    """

    trial: Trial
    input_hidden: int
    total: int
    history: list[Epoch] = field(repr=False)
    scores: dict[str, float]
    shown: list[Any] = field(repr=False)

    def state(self) -> dict[str, Any]:
        """Return all but the trial."""
        content = {key: getattr(self, key) for key in ("input_hidden", "total", "scores", "shown")}
        return content | {"history": [dataclasses.asdict(epoch) for epoch in self.history]}

    @classmethod
    def from_state(cls, trial: Trial, state: dict[str, Any]) -> Outcome:
        """Return the outcome whose ``state`` this was."""
        return cls(trial, **state | {"history": [Epoch(**epoch) for epoch in state["history"]]})

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of an epoch of training."""
        return statistics.median(epoch.seconds for epoch in self.history)


def input_hidden_parameters(recurrent: nn.Module) -> int:
    """Count what a layer or cell of one layer has in place of its input-hidden matrix, dense or factorized."""
    return sum(values.numel() for name, values in recurrent.named_parameters() if name.startswith("weight_ih"))


def run_trial(task: Task, trial: Trial, settings: Settings, checkpoints: Checkpoints, report: Report) -> Outcome:
    """Train one system with one seed and score it; the checkpoints receive the state after every epoch, and the outcome.

    ``report`` is told what is being trained and how many epochs of that were added.
    """
    what = f"{trial.title}, seed {trial.seed}"
    finished = checkpoints.load(f"{trial.name}-outcome")
    if finished is not None:
        report((what, settings.epochs))
        return Outcome.from_state(trial, finished)
    torch.manual_seed(trial.seed)
    model = task.make_model(trial.system).to(settings.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    training = Training(model, optimizer, torch.Generator().manual_seed(trial.seed))
    train(task, training, settings, checkpoints, trial.name, partial(_report_epochs, report, what))
    model.eval()
    with torch.no_grad():
        scores, shown = task.finish(training)
    total = sum(values.numel() for values in model.parameters())
    outcome = Outcome(trial, input_hidden_parameters(task.recurrent(model)), total, training.history, scores, shown)
    checkpoints.save(f"{trial.name}-outcome", outcome.state())
    return outcome


def train(
    task: Task,
    training: Training,
    settings: Settings,
    checkpoints: Checkpoints,
    name: str,
    report: Callable[[int], None],
) -> None:
    """Train a model for the epochs that the checkpoint of that name has not seen."""
    state = checkpoints.load(name)
    if state is not None:
        training.load(state)
    report(len(training.history))

    def loss_of(model: nn.Module, share: torch.Tensor) -> torch.Tensor:
        return task.loss(model, share, training.generator)

    def watch() -> float:
        training.model.eval()
        with torch.no_grad():
            return float(task.watch(training.model))  # not a number of NumPy's, which a checkpoint does not hold

    def after_epoch() -> None:
        checkpoints.save(name, training.state())
        report(1)

    fit(
        training,
        task.n_samples,
        loss_of,
        watch,
        epochs=range(1, settings.epochs + 1),
        batch_size=settings.batch_size,
        after_epoch=after_epoch,
        device=settings.device,
    )


def _report_epochs(report: Report, what: str, epochs: int) -> None:
    report((what, epochs))


def run_trials(
    task: Task,
    systems: Sequence[System | None],
    seeds: int,
    settings: Settings,
    checkpoints: Checkpoints,
    console: Console,
) -> list[Outcome]:
    """Run a trial for every system and seed and show the progress; the outcomes come seed by seed."""
    trials = [Trial(system, seed) for seed in range(seeds) for system in systems]
    jobs = [partial(run_trial, task, trial, settings, checkpoints) for trial in trials]
    with make_progress(console) as progress:
        bar = progress.add_task("starting", total=len(trials) * settings.epochs)

        def show(report: tuple[str, int]) -> None:
            what, epochs = report
            progress.update(bar, advance=epochs, description=what)

        return run_jobs(jobs, show, settings.device)
