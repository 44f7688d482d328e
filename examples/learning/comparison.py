"""Compare a dense LSTM with compact ones, each trained from scratch and compressed from the dense one."""

from __future__ import annotations

import copy
import dataclasses
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from learning.systems import DENSE, System, make_recurrent
from learning.training import (
    Epoch,
    ParameterCount,
    Samples,
    Scores,
    SequenceClassifier,
    Training,
    count_parameters,
    predict,
    score,
    train,
)
from running.checkpoint import Checkpoints
from tensorly_rnn.nn import FactorizedLSTM

SCRATCH = "scratch"
COMPRESSED = "compressed"


@dataclass(frozen=True)
class Settings:
    """How large the layers are and how they are trained."""

    hidden: int
    epochs: int
    fine_tune: int
    batch_size: int
    learning_rate: float
    device: torch.device

    @property
    def total_epochs(self) -> int:
        """Epochs that every system gets, compressed or not."""
        return self.epochs + self.fine_tune


@dataclass(frozen=True)
class Split:
    """Which samples of a data set are trained on and which are tested on, for one seed.

    Attributes
    ----------
    name : str
    seed : int
        Also starts the weights and shuffles the samples.
    train_index, test_index : ndarray of int
    test_targets : ndarray of shape (test samples,)
    left_out : tuple of str
        Classes without a test sample.
    """

    name: str
    seed: int
    train_index: np.ndarray
    test_index: np.ndarray
    test_targets: np.ndarray
    left_out: tuple[str, ...]

    @property
    def chance(self) -> float:
        """Accuracy of always answering with the largest class."""
        return float(np.bincount(self.test_targets).max() / len(self.test_targets))


@dataclass(frozen=True)
class Task:
    """A split with its data.

    Attributes
    ----------
    split : Split
    input_size, n_classes : int
    training : Samples
    watched : Samples
        The test samples on which the training curves are taken.
    sequences_at : callable
        Maps positions such as those in ``split.test_index`` to sequences.
    shown_index : ndarray of int
        Ascending positions that the models trained from scratch classify in the end, the test samples among them.
    """

    split: Split
    input_size: int
    n_classes: int
    training: Samples
    watched: Samples
    sequences_at: Callable[[torch.Tensor], torch.Tensor]
    shown_index: np.ndarray

    def score(self, model: nn.Module) -> Scores:
        """Score a model on all test samples."""
        return score(self.split.test_targets, predict(model, self.sequences_at, self.split.test_index))


@dataclass(frozen=True)
class Run:
    """The result of a trained model; ``system`` is None for the dense LSTM.

    ``predicted`` has the classes at the task's ``shown_index`` or, once compressed, of the test samples. ``before`` is
    the accuracy right after compression or, for the dense LSTM, when it was handed over for that.
    """

    split: Split
    system: System | None
    how: str
    parameters: ParameterCount
    history: list[Epoch]
    scores: Scores
    predicted: np.ndarray
    before: float | None = None

    def state(self) -> dict[str, Any]:
        """Return what there is to know beside the split, the system and how it was obtained."""
        return {
            "parameters": dataclasses.asdict(self.parameters),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "scores": dataclasses.asdict(self.scores),
            "predicted": torch.from_numpy(self.predicted),
            "before": self.before,
        }

    @classmethod
    def from_state(cls, split: Split, system: System | None, how: str, state: dict[str, Any]) -> Run:
        """Return the run whose ``state`` this was."""
        return cls(
            split,
            system,
            how,
            ParameterCount(**state["parameters"]),
            [Epoch(**epoch) for epoch in state["history"]],
            Scores(**state["scores"]),
            state["predicted"].numpy(),
            state["before"],
        )

    @property
    def title(self) -> str:
        """The system's name for people."""
        return self.system.title if self.system else DENSE

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of an epoch of training."""
        return statistics.median(epoch.seconds for epoch in self.history)


class Comparison:
    """Trains the systems on one task, or goes on with what an interrupted program left of that.

    Parameters
    ----------
    task : Task
    settings : Settings
    checkpoints : Checkpoints
        Receive the state after every epoch, and every run.
    report : callable
        Told what is being trained and how many epochs of that were added.
    """

    def __init__(self, task: Task, settings: Settings, checkpoints: Checkpoints, report: Callable[[str, int], None]) -> None:
        self.task = task
        self.settings = settings
        self.checkpoints = checkpoints
        self.report = report
        self.all_epochs = range(1, settings.total_epochs + 1)
        self.before_compression = self.all_epochs[: settings.epochs]
        self.after_compression = self.all_epochs[settings.epochs :]

    def run(self, systems: list[System]) -> list[Run]:
        """Train the dense LSTM, then every compact one from scratch and from the dense one's snapshot."""
        dense = self.start(self.with_new_head(None))
        self.train(dense, DENSE, "dense-snapshot", self.before_compression)
        snapshot = copy.deepcopy(dense.model)
        runs = [self.obtain(None, SCRATCH, partial(self.handed_over, dense, snapshot), self.after_compression)]
        for system in systems:
            runs += [
                self.obtain(system, SCRATCH, partial(self.from_scratch, system), self.all_epochs),
                self.obtain(system, COMPRESSED, partial(self.compressed, system, snapshot), self.after_compression),
            ]
        return runs

    def handed_over(self, dense: Training, snapshot: SequenceClassifier) -> tuple[Training, float]:
        """Return the dense LSTM as it was handed over for compression, with its accuracy then."""
        return dense, self.task.score(snapshot).accuracy

    def from_scratch(self, system: System) -> tuple[Training, None]:
        """Return a compact LSTM with random factors."""
        return self.start(self.with_new_head(system)), None

    def compressed(self, system: System, snapshot: SequenceClassifier) -> tuple[Training, float]:
        """Return a compressed copy of the dense LSTM, with its accuracy."""
        torch.manual_seed(self.task.split.seed)
        dense = cast(nn.LSTM, snapshot.recurrent)
        recurrent = FactorizedLSTM.from_lstm(dense, **system.options(self.settings.hidden))
        model = SequenceClassifier(recurrent, copy.deepcopy(snapshot.head))
        return self.start(model), self.task.score(model).accuracy

    def with_new_head(self, system: System | None) -> SequenceClassifier:
        """Put an untrained classifier on an untrained recurrent layer."""
        torch.manual_seed(self.task.split.seed)
        recurrent = make_recurrent(system, self.task.input_size, self.settings.hidden, self.settings.device)
        head = nn.Linear(self.settings.hidden, self.task.n_classes, device=self.settings.device)
        return SequenceClassifier(recurrent, head)

    def start(self, model: SequenceClassifier) -> Training:
        """Make the optimizer and the shuffling of a model."""
        optimizer = torch.optim.Adam(model.parameters(), lr=self.settings.learning_rate)
        return Training(model, optimizer, torch.Generator().manual_seed(self.task.split.seed))

    def obtain(self, system: System | None, how: str, make: Callable[[], tuple[Training, float | None]], epochs: range) -> Run:
        """Train what ``make`` returns and score it, unless that was done before."""
        split = self.task.split
        what = f"{system.title} {'from scratch' if how == SCRATCH else how}" if system else DENSE
        name = f"{system.name if system else 'dense'}-{how}"
        finished = self.load(f"{name}-run")
        if finished is not None:
            self.report(what, len(epochs))
            return Run.from_state(split, system, how, finished)
        training, before = make()
        self.train(training, what, name, epochs)
        index = self.task.shown_index if how == SCRATCH else split.test_index
        predicted = predict(training.model, self.task.sequences_at, index)
        scores = score(split.test_targets, predicted[np.isin(index, split.test_index)])
        parameters = count_parameters(training.model.recurrent)
        run = Run(split, system, how, parameters, training.history, scores, predicted, before)
        self.save(f"{name}-run", run.state())
        return run

    def train(self, training: Training, what: str, name: str, epochs: range) -> None:
        """Train for the epochs, those left out that the checkpoint of that name has seen."""
        state = self.load(name)
        if state is not None:
            training.load(state)

        def after_epoch() -> None:
            self.save(name, training.state())
            self.report(what, 1)

        self.report(what, sum(epoch.epoch in epochs for epoch in training.history))
        train(
            training,
            self.task.training,
            self.task.watched,
            epochs=epochs,
            batch_size=self.settings.batch_size,
            after_epoch=after_epoch,
        )

    def load(self, name: str) -> dict[str, Any] | None:
        """Return the checkpoint of that name for this task."""
        return self.checkpoints.load(f"{self.task.split.name}-{self.task.split.seed}-{name}")

    def save(self, name: str, state: dict[str, Any]) -> None:
        """Write the checkpoint of that name for this task."""
        self.checkpoints.save(f"{self.task.split.name}-{self.task.split.seed}-{name}", state)
