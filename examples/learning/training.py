"""Train any model epoch by epoch; train and score sequence classifiers, and count the parameters of their recurrent layers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score
from torch import nn

from running.processes import averaging_gradients, mean_over_processes, own_share

EVALUATION_BATCH = 512


class SequenceClassifier(nn.Module):
    """A recurrent layer (batch first) and a linear head on its last output.

    Parameters
    ----------
    recurrent : torch.nn.Module
    head : torch.nn.Linear
    prepare : torch.nn.Module, optional
        Makes sequences of shape (batch, steps, inputs) of what the model is given, which is taken as such by default.
    dropout : float
        Of the last output, in training.
    """

    def __init__(self, recurrent: nn.Module, head: nn.Linear, prepare: nn.Module | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = head
        self.prepare = prepare or nn.Identity()
        self.dropout = nn.Dropout(dropout)

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Map sequences of shape (batch, steps, inputs) to scores of shape (batch, classes)."""
        output, _ = self.recurrent(self.prepare(sequences))
        return self.head(self.dropout(output[:, -1]))


@dataclass(frozen=True)
class Samples:
    """Sequences of shape (samples, steps, inputs) with their classes, of shape (samples,)."""

    sequences: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Epoch:
    """The result of one epoch of training; ``watched`` is a monitored value, such as the accuracy on other samples."""

    epoch: int
    loss: float
    watched: float
    seconds: float


@dataclass(frozen=True)
class Scores:
    """Share of samples classified rightly, its mean over the classes, and Cohen's kappa."""

    accuracy: float
    average_accuracy: float
    kappa: float


@dataclass(frozen=True)
class ParameterCount:
    """Weights of a recurrent layer without its biases; ``input_hidden`` is None where one weight serves both parts."""

    input_hidden: int | None
    recurrent: int


@dataclass
class Training:
    """A model and what its training has come to.

    Attributes
    ----------
    model : torch.nn.Module
    optimizer : torch.optim.Optimizer
    generator : torch.Generator
        Shuffles the samples, alike in all processes.
    history : list of Epoch
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    history: list[Epoch] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.divided = averaging_gradients(self.model)

    def state(self) -> dict[str, Any]:
        """Return all that the next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "dropout": torch.get_rng_state(),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Return to a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["dropout"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]


def count_parameters(recurrent: nn.Module) -> ParameterCount:
    """Count the weights of a recurrent layer or cell, of one layer and direction, dense or factorized, without biases."""
    sizes = {name: parameter.numel() for name, parameter in recurrent.named_parameters() if "bias" not in name}
    input_hidden = sum(size for name, size in sizes.items() if name.startswith("weight_ih"))
    return ParameterCount(input_hidden or None, sum(sizes.values()))


def fit(
    training: Training,
    n_samples: int,
    loss_of: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    watch: Callable[[], float],
    *,
    epochs: range,
    batch_size: int,
    after_epoch: Callable[[], None],
    device: torch.device | None = None,
    samples_per_epoch: int | None = None,
) -> None:
    """Train a model on any loss.

    Parameters
    ----------
    training : Training
        Its history grows.
    n_samples : int
    loss_of : callable
        Maps the model and the numbers of some samples, of shape (share of a batch,), to their mean loss.
    watch : callable
        Returns what is watched after every epoch.
    epochs : range
        The numbers that the epochs are to have; those in the history already are left out.
    batch_size : int
        Samples a step, divided among the processes.
    after_epoch : callable
        Called after every epoch.
    device : torch.device, optional
        Where the numbers of samples are to be, the CPU by default.
    samples_per_epoch : int, optional
        Drawn anew for every epoch; all by default.
    """
    done = {epoch.epoch for epoch in training.history}
    for number in epochs:
        if number in done:
            continue
        start = time.perf_counter()
        loss = fit_one_epoch(training, n_samples, loss_of, batch_size, device, samples_per_epoch)
        seconds = time.perf_counter() - start
        training.history.append(Epoch(number, loss, watch(), seconds))
        after_epoch()


def fit_one_epoch(
    training: Training,
    n_samples: int,
    loss_of: Callable[[nn.Module, torch.Tensor], torch.Tensor],
    batch_size: int,
    device: torch.device | None = None,
    samples_per_epoch: int | None = None,
) -> float:
    """Pass once over the shuffled samples, or so many of them, and return their mean loss."""
    training.model.train()
    total = torch.zeros((), device=device)
    order = torch.randperm(n_samples, generator=training.generator)[:samples_per_epoch]
    for batch in order.split(batch_size):
        share, weight = own_share(batch.to(device))
        loss = weight * loss_of(training.divided, share)
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        total += loss.detach() * len(batch)
    # item() waits for the device, so that the clock is right.
    return mean_over_processes(total).item() / len(order)


def train(
    training: Training,
    samples: Samples,
    watched: Samples,
    *,
    epochs: range,
    batch_size: int,
    after_epoch: Callable[[], None],
) -> None:
    """Train a classifier on cross-entropy, as `fit` does, and watch its accuracy on other samples."""

    def loss_of(model: nn.Module, share: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(model(samples.sequences[share]), samples.targets[share])

    def accuracy() -> float:
        predicted = predict(training.model, watched.sequences.__getitem__, np.arange(len(watched.targets)))
        return float(accuracy_score(watched.targets.cpu(), predicted))

    fit(
        training,
        len(samples.targets),
        loss_of,
        accuracy,
        epochs=epochs,
        batch_size=batch_size,
        after_epoch=after_epoch,
        device=samples.targets.device,
    )


@torch.no_grad()
def predict(
    model: nn.Module,
    sequences_at: Callable[[torch.Tensor], torch.Tensor],
    index: np.ndarray,
    batch_size: int = EVALUATION_BATCH,
) -> np.ndarray:
    """Return the class predicted for every entry of ``index``, fetching the sequences batch by batch."""
    model.eval()
    batches = torch.from_numpy(index).split(batch_size)
    return torch.cat([model(sequences_at(batch)).argmax(dim=1).cpu() for batch in batches]).numpy()


def score(targets: np.ndarray, predicted: np.ndarray) -> Scores:
    """Compare predictions with the true classes; classes without a true sample do not count."""
    return Scores(
        accuracy=float(accuracy_score(targets, predicted)),
        average_accuracy=float(recall_score(targets, predicted, labels=np.unique(targets), average="macro")),
        kappa=float(cohen_kappa_score(targets, predicted)),
    )
