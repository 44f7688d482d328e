"""Train and score sequence classifiers, and count the parameters of their recurrent layers."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from processes import averaging_gradients, mean_over_processes, own_share
from sklearn.metrics import accuracy_score, cohen_kappa_score, recall_score
from torch import nn

EVALUATION_BATCH = 512


class SequenceClassifier(nn.Module):
    """A recurrent layer (batch first) and a linear head on its last output."""

    def __init__(self, recurrent: nn.Module, head: nn.Linear) -> None:
        super().__init__()
        self.recurrent = recurrent
        self.head = head

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """Map sequences of shape (batch, steps, inputs) to scores of shape (batch, classes)."""
        output, _ = self.recurrent(sequences)
        return self.head(output[:, -1])


@dataclass(frozen=True)
class Samples:
    """Sequences of shape (samples, steps, inputs) with their classes, of shape (samples,)."""

    sequences: torch.Tensor
    targets: torch.Tensor


@dataclass(frozen=True)
class Epoch:
    """What one epoch of training came to; ``accuracy`` is that on the samples watched."""

    epoch: int
    loss: float
    accuracy: float
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
        Shuffles the samples, alike in all processes; nothing else is drawn at random.
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
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
        }

    def load(self, state: dict[str, Any]) -> None:
        """Return to a state."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]


def count_parameters(recurrent: nn.Module) -> ParameterCount:
    """Count the weights of a recurrent layer, dense or factorized, without biases."""
    sizes = {name: parameter.numel() for name, parameter in recurrent.named_parameters() if "bias" not in name}
    input_hidden = sum(size for name, size in sizes.items() if name.startswith("weight_ih_l0"))
    return ParameterCount(input_hidden or None, sum(sizes.values()))


def train(
    training: Training,
    samples: Samples,
    watched: Samples,
    *,
    epochs: range,
    batch_size: int,
    after_epoch: Callable[[], None],
) -> None:
    """Train a classifier on cross-entropy and watch its accuracy on other samples.

    Parameters
    ----------
    training : Training
        Its history grows.
    samples, watched : Samples
    epochs : range
        The numbers that the epochs are to have; those in the history already are left out.
    batch_size : int
        Samples a step, divided among the processes.
    after_epoch : callable
        Called after every epoch.
    """
    done = {epoch.epoch for epoch in training.history}
    for number in epochs:
        if number in done:
            continue
        start = time.perf_counter()
        loss = train_one_epoch(training, samples, batch_size)
        seconds = time.perf_counter() - start
        predicted = predict(training.model, watched.sequences.__getitem__, np.arange(len(watched.targets)))
        accuracy = float(accuracy_score(watched.targets.cpu(), predicted))
        training.history.append(Epoch(number, loss, accuracy, seconds))
        after_epoch()


def train_one_epoch(training: Training, samples: Samples, batch_size: int) -> float:
    """Pass once over the shuffled samples and return their mean loss."""
    training.model.train()
    device = samples.targets.device
    total = torch.zeros((), device=device)
    for batch in torch.randperm(len(samples.targets), generator=training.generator).split(batch_size):
        share, weight = own_share(batch.to(device))
        scores = training.divided(samples.sequences[share])
        loss = weight * nn.functional.cross_entropy(scores, samples.targets[share])
        training.optimizer.zero_grad()
        loss.backward()
        training.optimizer.step()
        total += loss.detach() * len(batch)
    # item() waits for the device, so that the clock is right.
    return mean_over_processes(total).item() / len(samples.targets)


@torch.no_grad()
def predict(model: nn.Module, sequences_at: Callable[[torch.Tensor], torch.Tensor], index: np.ndarray) -> np.ndarray:
    """Return the class predicted for every entry of ``index``, fetching the sequences batch by batch."""
    model.eval()
    batches = torch.from_numpy(index).split(EVALUATION_BATCH)
    return torch.cat([model(sequences_at(batch)).argmax(dim=1).cpu() for batch in batches]).numpy()


def score(targets: np.ndarray, predicted: np.ndarray) -> Scores:
    """Compare predictions with the true classes; classes without a true sample do not count."""
    return Scores(
        accuracy=float(accuracy_score(targets, predicted)),
        average_accuracy=float(recall_score(targets, predicted, labels=np.unique(targets), average="macro")),
        kappa=float(cohen_kappa_score(targets, predicted)),
    )
