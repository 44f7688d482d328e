"""Compare a dense LSTM with compact ones, each trained from scratch and compressed from the dense one."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from training import (
    Epoch,
    ParameterCount,
    Samples,
    Scores,
    SequenceClassifier,
    count_parameters,
    predict,
    score,
    train,
)

from tensorly_rnn.nn import FactorizedLSTM

SCRATCH = "scratch"
COMPRESSED = "compressed"


@dataclass(frozen=True)
class System:
    """A compact LSTM: the words that ``FactorizedLSTM`` takes, and a name for the command line."""

    name: str
    title: str
    factorization: str
    rank: int | tuple[int, ...]
    decompose: str
    input_modes: tuple[int, ...]
    hidden_modes: tuple[int, ...]

    def options(self, hidden: int) -> dict[str, Any]:
        """Return the keyword arguments of the layer; it chooses the modes where those of the table do not fit."""
        fits = math.prod(self.hidden_modes) == hidden
        return {
            "factorization": self.factorization,
            "rank": self.rank,
            "decompose": self.decompose,
            "input_modes": self.input_modes if fits else None,
            "hidden_modes": self.hidden_modes if fits else None,
        }


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
    """What a trained model came to; ``system`` is None for the dense LSTM.

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

    @property
    def title(self) -> str:
        """The system's name for people."""
        return self.system.title if self.system else "dense LSTM"

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of an epoch of training."""
        return statistics.median(epoch.seconds for epoch in self.history)


def make_dense(input_size: int, settings: Settings) -> nn.LSTM:
    """Make the dense recurrent layer."""
    return nn.LSTM(input_size, settings.hidden, batch_first=True, device=settings.device)


def make_compact(system: System, input_size: int, settings: Settings) -> FactorizedLSTM:
    """Make a compact recurrent layer with random factors."""
    options = system.options(settings.hidden)
    return FactorizedLSTM(input_size, settings.hidden, batch_first=True, device=settings.device, **options)


class Comparison:
    """Trains the systems on one task.

    Parameters
    ----------
    task : Task
    settings : Settings
    after_epoch : callable
        Told after every epoch what is being trained.
    """

    def __init__(self, task: Task, settings: Settings, after_epoch: Callable[[str], None]) -> None:
        self.task = task
        self.settings = settings
        self.after_epoch = after_epoch
        self.before_compression = range(1, settings.epochs + 1)
        self.after_compression = range(settings.epochs + 1, settings.total_epochs + 1)

    def run(self, systems: list[System]) -> list[Run]:
        """Train the dense LSTM, then every compact one from scratch and from the dense one's snapshot."""
        dense, snapshot = self.train_dense()
        runs = [dense]
        for system in systems:
            runs += [self.train_from_scratch(system), self.compress(system, snapshot)]
        return runs

    def train_dense(self) -> tuple[Run, SequenceClassifier]:
        """Train the dense LSTM and return it with a copy of what it was before the last ``fine_tune`` epochs."""
        torch.manual_seed(self.task.split.seed)
        model = self.with_new_head(make_dense(self.task.input_size, self.settings))
        train_for = self.trainer(model, "dense LSTM")
        history = train_for(self.before_compression)
        snapshot = copy.deepcopy(model)
        history += train_for(self.after_compression)
        return self.finish(model, None, SCRATCH, history, self.task.score(snapshot).accuracy), snapshot

    def train_from_scratch(self, system: System) -> Run:
        """Train a compact LSTM with random factors for all epochs."""
        torch.manual_seed(self.task.split.seed)
        model = self.with_new_head(make_compact(system, self.task.input_size, self.settings))
        train_for = self.trainer(model, f"{system.title} from scratch")
        return self.finish(model, system, SCRATCH, train_for(range(1, self.settings.total_epochs + 1)))

    def compress(self, system: System, snapshot: SequenceClassifier) -> Run:
        """Compress the dense LSTM and train on for the epochs that are left."""
        torch.manual_seed(self.task.split.seed)
        dense = cast(nn.LSTM, snapshot.recurrent)
        recurrent = FactorizedLSTM.from_lstm(dense, **system.options(self.settings.hidden))
        model = SequenceClassifier(recurrent, copy.deepcopy(snapshot.head))
        before = self.task.score(model).accuracy
        train_for = self.trainer(model, f"{system.title} compressed")
        return self.finish(model, system, COMPRESSED, train_for(self.after_compression), before)

    def with_new_head(self, recurrent: nn.Module) -> SequenceClassifier:
        """Put an untrained classifier on a recurrent layer."""
        head = nn.Linear(self.settings.hidden, self.task.n_classes, device=self.settings.device)
        return SequenceClassifier(recurrent, head)

    def trainer(self, model: SequenceClassifier, what: str) -> Callable[[range], list[Epoch]]:
        """Return a function that trains a model for a range of epochs, with one optimizer from call to call."""
        optimizer = torch.optim.Adam(model.parameters(), lr=self.settings.learning_rate)
        generator = torch.Generator().manual_seed(self.task.split.seed)

        def train_for(epochs: range) -> list[Epoch]:
            return train(
                model,
                optimizer,
                self.task.training,
                self.task.watched,
                epochs=epochs,
                batch_size=self.settings.batch_size,
                generator=generator,
                after_epoch=lambda: self.after_epoch(what),
            )

        return train_for

    def finish(
        self,
        model: SequenceClassifier,
        system: System | None,
        how: str,
        history: list[Epoch],
        before: float | None = None,
    ) -> Run:
        """Classify with a trained model and score it on the test samples."""
        split = self.task.split
        index = self.task.shown_index if how == SCRATCH else split.test_index
        predicted = predict(model, self.task.sequences_at, index)
        scores = score(split.test_targets, predicted[np.isin(index, split.test_index)])
        return Run(split, system, how, count_parameters(model.recurrent), history, scores, predicted, before)
