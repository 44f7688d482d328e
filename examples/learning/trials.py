"""Train every system with every seed on one task, side by side, or go on with what an interrupted program left of that."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import torch
from rich.console import Console
from torch import nn

from learning.systems import DENSE, System
from learning.training import Epoch, ParameterCount, Training, count_parameters, fit
from running.checkpoint import Checkpoints
from running.parallel import run_jobs
from running.report import make_progress

Report = Callable[[tuple[str, int]], None]


class Lesson(Protocol):
    """A training task of a model."""

    n_samples: int

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean loss of the samples of these numbers; whatever is drawn at random is drawn from the generator."""

    def watch(self, model: nn.Module) -> float:
        """Return what is watched after every epoch."""


class Task(Lesson, Protocol):
    """The data and the scores of a comparison; it can be pickled."""

    def make_model(self, system: System | None) -> nn.Module:
        """Make an untrained model with a compact recurrent layer, or the dense one."""

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the layer or cell in which the systems differ."""

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return scores by name, and plain data to show: numbers and strings in lists."""


@dataclass(frozen=True)
class Settings:
    """How every system is trained.

    Attributes
    ----------
    epochs, batch_size : int
    learning_rate : float
        Of Adam.
    device : torch.device
    dense_learning_rate : float, optional
        That of the dense LSTM, if it has another.
    weight_decay : float
        L2 coefficient of Adam.
    samples_per_epoch : int, optional
        Drawn anew for every epoch; all by default.
    fused : bool
        Whether Adam's steps are: with the 59 million weights of a dense LSTM they would take as long as the gradients.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    device: torch.device
    dense_learning_rate: float | None = None
    weight_decay: float = 0.0
    samples_per_epoch: int | None = None
    fused: bool = False

    def fingerprint(self) -> dict[str, Any]:
        """Return what of this decides the results, as plain data."""
        return dataclasses.asdict(self) | {"device": self.device.type}

    def optimizer(self, model: nn.Module, system: System | None) -> torch.optim.Adam:
        """Make the optimizer of a system's model."""
        rate = self.learning_rate if system or self.dense_learning_rate is None else self.dense_learning_rate
        return torch.optim.Adam(model.parameters(), lr=rate, weight_decay=self.weight_decay, fused=self.fused)


@dataclass(frozen=True)
class Trial:
    """A system, None for the dense LSTM, and the seed that starts its weights, shuffles its samples and draws its noise.

    ``variant`` is a word for what else sets a trial apart.
    """

    system: System | None
    seed: int
    variant: str = ""

    @property
    def title(self) -> str:
        """The system's name for people."""
        return self.system.title if self.system else DENSE

    @property
    def full_title(self) -> str:
        """The same with the variant."""
        return ", ".join(filter(None, (self.title, self.variant)))

    @property
    def name(self) -> str:
        """The trial's name for files."""
        return "-".join(filter(None, (self.system.name if self.system else "dense", self.variant, str(self.seed))))


@dataclass(frozen=True)
class Outcome:
    """The result of a trial.

    Attributes
    ----------
    trial : Trial
    parameters : ParameterCount
        Of the recurrent layer, without its biases.
    model_parameters : int
        Of the whole model, with its biases.
    history : list of Epoch
    scores : dict of str to float
    shown : list
        Plain data for pictures.
    """

    trial: Trial
    parameters: ParameterCount
    model_parameters: int
    history: list[Epoch] = field(repr=False)
    scores: dict[str, float]
    shown: list[Any] = field(repr=False)

    def state(self) -> dict[str, Any]:
        """Return all but the trial."""
        state = dataclasses.asdict(self)
        del state["trial"]
        return state

    @classmethod
    def from_state(cls, trial: Trial, state: dict[str, Any]) -> Outcome:
        """Return the outcome whose ``state`` this was."""
        history = [Epoch(**epoch) for epoch in state["history"]]
        return cls(trial, **state | {"parameters": ParameterCount(**state["parameters"]), "history": history})

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of an epoch of training."""
        return statistics.median(epoch.seconds for epoch in self.history)

    def epochs_to(self, goal: float) -> int | None:
        """Return the first epoch after which what is watched was as high as a goal."""
        return next((epoch.epoch for epoch in self.history if epoch.watched >= goal), None)


def of(outcomes: Sequence[Outcome], title: str, variant: str = "") -> list[Outcome]:
    """Return the outcomes of one system, seed by seed."""
    return [one for one in outcomes if (one.trial.title, one.trial.variant) == (title, variant)]


def run_trial(task: Task, trial: Trial, settings: Settings, checkpoints: Checkpoints, report: Report) -> Outcome:
    """Train one system with one seed and score it; the checkpoints receive the state after every epoch, and the outcome.

    ``report`` is told what is being trained and how many epochs of that were added.
    """
    what = f"{trial.full_title}, seed {trial.seed}"
    finished = checkpoints.load(f"{trial.name}-outcome")
    if finished is not None:
        report((what, settings.epochs))
        return Outcome.from_state(trial, finished)
    torch.manual_seed(trial.seed)
    model = task.make_model(trial.system).to(settings.device)
    training = Training(model, settings.optimizer(model, trial.system), torch.Generator().manual_seed(trial.seed))
    train(task, training, settings, checkpoints, trial.name, lambda epochs: report((what, epochs)))
    model.eval()
    with torch.no_grad():
        scores, shown = task.finish(training)
    size = sum(values.numel() for values in model.parameters())
    outcome = Outcome(trial, count_parameters(task.recurrent(model)), size, training.history, scores, shown)
    checkpoints.save(f"{trial.name}-outcome", outcome.state())
    checkpoints.remove(trial.name)  # a dense LSTM's weights and Adam's moments can be 0.7 GB
    return outcome


def train(
    lesson: Lesson,
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
        return lesson.loss(model, share, training.generator)

    def watch() -> float:
        training.model.eval()
        with torch.no_grad():
            return float(lesson.watch(training.model))  # not a number of NumPy's, which a checkpoint does not hold

    def after_epoch() -> None:
        checkpoints.save(name, training.state())
        report(1)

    fit(
        training,
        lesson.n_samples,
        loss_of,
        watch,
        epochs=range(1, settings.epochs + 1),
        batch_size=settings.batch_size,
        after_epoch=after_epoch,
        device=settings.device,
        samples_per_epoch=settings.samples_per_epoch,
    )


def run_trials(
    trials: Sequence[tuple[Trial, Task]], settings: Settings, checkpoints: Checkpoints, console: Console
) -> list[Outcome]:
    """Run trials, each on its task, and show the progress; the outcomes come in their order."""
    jobs = [partial(run_trial, task, trial, settings, checkpoints) for trial, task in trials]
    with make_progress(console) as progress:
        bar = progress.add_task("starting", total=len(jobs) * settings.epochs)

        def show(report: tuple[str, int]) -> None:
            what, epochs = report
            progress.update(bar, advance=epochs, description=what)

        return run_jobs(jobs, show, settings.device)
