"""Train one sequence classifier on one split of a video data set and test it, from checkpoint to checkpoint."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from checkpoint import Checkpoints
from comparison import Settings, Split, System, make_compact, make_dense
from sklearn.metrics import accuracy_score
from torch import nn
from training import Epoch, ParameterCount, Scores, SequenceClassifier, Training, count_parameters, fit, predict, score
from video import Clips, split_clips

Report = Callable[[tuple[str, int]], None]
EVALUATION_CLIPS = 32  # as many frames as fit into memory at 57600 numbers each


class Sequences(Protocol):
    """The sequences of all clips, fetched by their positions; every worker opens files itself."""

    def __getitem__(self, index: torch.Tensor, /) -> torch.Tensor:
        """Return the sequences at some positions, of shape (positions, steps, ...)."""


@dataclass(frozen=True)
class Data:
    """What is to be recognized.

    Attributes
    ----------
    sequences : Sequences
    clips : Clips
    input_size : int
        Inputs a step, after ``Pixels`` if the sequences are frames.
    """

    sequences: Sequences
    clips: Clips
    input_size: int


@dataclass(frozen=True)
class Recipe:
    """How every system is trained.

    Attributes
    ----------
    settings : Settings
        Its learning rate is that of compact layers.
    dense_learning_rate : float
    clips_per_epoch, watched_clips : int
        Drawn from the training clips for every epoch; of the test clips, those on which the curves are taken.
    dropout, weight_decay : float
    noise_levels : tuple of float
        Standard deviations of the noise under which the trained model is tested, white being 1.
    pixels : bool
        Whether the sequences are frames of bytes.
    """

    settings: Settings
    dense_learning_rate: float
    clips_per_epoch: int
    watched_clips: int
    dropout: float
    weight_decay: float
    noise_levels: tuple[float, ...] = ()
    pixels: bool = False


@dataclass(frozen=True)
class Result:
    """What a trained model came to; ``system`` is None for the dense LSTM.

    ``noise`` has the accuracy at every noise level of the recipe, ``permuted`` says whether the pixels were.
    """

    split: Split
    system: System | None
    permuted: bool
    parameters: ParameterCount
    history: list[Epoch]
    scores: Scores
    noise: list[float]

    def state(self) -> dict[str, Any]:
        """Return what there is to know beside the split, the system and the order of pixels."""
        return {
            "parameters": dataclasses.asdict(self.parameters),
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "scores": dataclasses.asdict(self.scores),
            "noise": self.noise,
        }

    @property
    def title(self) -> str:
        """The system's name for people."""
        return title_of(self.system)

    @property
    def seconds_per_epoch(self) -> float:
        """Median time of an epoch of training."""
        return statistics.median(epoch.seconds for epoch in self.history)

    def epochs_to(self, accuracy: float) -> int | None:
        """Return the first epoch that reached an accuracy on the watched clips."""
        return next((epoch.epoch for epoch in self.history if epoch.watched >= accuracy), None)


class Pixels(nn.Module):
    """Make inputs of frames: bytes to numbers around 0, in one row, in another order if one is given.

    Parameters
    ----------
    mean : Tensor of shape (channels,)
        Of the bytes, on the training clips.
    order : Tensor of shape (inputs,), optional
    """

    def __init__(self, mean: torch.Tensor, order: torch.Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("order", order, persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames of shape (batch, steps, width, height, channels) to (batch, steps, inputs)."""
        inputs = frames.flatten(2)
        if self.order is not None:
            inputs = inputs[..., self.order]
        mean = self.mean.repeat(inputs.shape[-1] // len(self.mean))
        return (inputs.float() - (mean if self.order is None else mean[self.order])).mul_(1 / 255)


def title_of(system: System | None) -> str:
    """Return a system's name for people."""
    return system.title if system else "dense LSTM"


def make_split(clips: Clips, share: float, seed: int) -> Split:
    """Divide clips into training and testing, by whole groups unless the data set has a split of its own.

    Raises
    ------
    ValueError
        If one of the two would be empty.
    """
    train_index, test_index = split_clips(clips, share, np.random.default_rng(seed))
    if not train_index.size or not test_index.size:
        raise ValueError(
            f"--data leaves {train_index.size} clips for training and {test_index.size} for testing; both need some"
        )
    left_out = sorted(set(range(len(clips.class_names))) - set(clips.targets[test_index].tolist()))
    names = tuple(clips.class_names[target] for target in left_out)
    return Split("groups", seed, train_index, test_index, clips.targets[test_index], names)


def make_model(data: Data, split: Split, system: System | None, recipe: Recipe, permuted: bool) -> SequenceClassifier:
    """Put an untrained classifier on an untrained recurrent layer."""
    torch.manual_seed(split.seed)
    settings = recipe.settings
    recurrent = make_compact(system, data.input_size, settings) if system else make_dense(data.input_size, settings)
    head = nn.Linear(settings.hidden, len(data.clips.class_names), device=settings.device)
    prepare = None
    if recipe.pixels:
        some = np.random.default_rng(split.seed).permutation(split.train_index)[:EVALUATION_CLIPS]
        mean = data.sequences[torch.from_numpy(some)].float().mean(dim=(0, 1, 2, 3))
        order = torch.randperm(data.input_size, generator=torch.Generator().manual_seed(split.seed)) if permuted else None
        prepare = Pixels(mean, order).to(settings.device)
    return SequenceClassifier(recurrent, head, prepare, recipe.dropout)


def recognize(
    data: Data,
    split: Split,
    system: System | None,
    recipe: Recipe,
    checkpoints: Checkpoints,
    report: Report,
    *,
    permuted: bool = False,
) -> Result:
    """Train a system and test it, or go on with what an interrupted program left of that.

    Parameters
    ----------
    data : Data
    split : Split
    system : System or None
        None for the dense LSTM.
    recipe : Recipe
    checkpoints : Checkpoints
        Receive the state after every epoch, and the result.
    report : callable
        Told what is being trained and how many epochs of that were added.
    permuted : bool
        Whether the pixels of every frame come in one random order.
    """
    settings = recipe.settings
    what = f"{title_of(system)}{', permuted' if permuted else ''}, seed {split.seed}"
    name = f"{system.name if system else 'dense'}{'-permuted' if permuted else ''}-{split.seed}"
    finished = checkpoints.load(f"{name}-result")
    if finished is not None:
        report((what, settings.epochs))
        return result_of(split, system, permuted, finished)

    model = make_model(data, split, system, recipe, permuted)
    rate = settings.learning_rate if system else recipe.dense_learning_rate
    # Fused, for the dense LSTM's 59 million weights would take Adam as long as its gradients.
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, weight_decay=recipe.weight_decay, fused=True)
    training = Training(model, optimizer, torch.Generator().manual_seed(split.seed))
    if (state := checkpoints.load(name)) is not None:
        training.load(state)
        report((what, len(training.history)))
    targets = torch.from_numpy(data.clips.targets)
    watched = np.random.default_rng(split.seed).permutation(split.test_index)[: recipe.watched_clips]

    def loss_of(model: nn.Module, share: torch.Tensor) -> torch.Tensor:
        index = torch.from_numpy(split.train_index)[share]
        sequences = data.sequences[index].to(settings.device)
        return nn.functional.cross_entropy(model(sequences), targets[index].to(settings.device))

    def accuracy(index: np.ndarray, noise: float = 0.0) -> float:
        predicted = predict(model, noisy(data.sequences, noise, settings.device), index, EVALUATION_CLIPS)
        return float(accuracy_score(data.clips.targets[index], predicted))

    def after_epoch() -> None:
        checkpoints.save(name, training.state())
        report((what, 1))

    fit(
        training,
        len(split.train_index),
        loss_of,
        lambda: accuracy(watched),
        epochs=range(1, settings.epochs + 1),
        batch_size=settings.batch_size,
        after_epoch=after_epoch,
        samples_per_epoch=recipe.clips_per_epoch,
    )
    predicted = predict(model, noisy(data.sequences, 0.0, settings.device), split.test_index, EVALUATION_CLIPS)
    result = Result(
        split,
        system,
        permuted,
        count_parameters(model.recurrent),
        training.history,
        score(split.test_targets, predicted),
        [accuracy(split.test_index, level) for level in recipe.noise_levels],
    )
    checkpoints.save(f"{name}-result", result.state())
    checkpoints.remove(name)  # of the dense LSTM 0.7 GB
    return result


def noisy(sequences: Sequences, level: float, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a function that fetches sequences, and adds noise to their bytes if there is to be any."""
    generator = torch.Generator().manual_seed(0)

    def fetch(index: torch.Tensor) -> torch.Tensor:
        found = sequences[index]
        if level:
            found = found + 255 * level * torch.randn(found.shape, generator=generator)
        return found.to(device)

    return fetch


def result_of(split: Split, system: System | None, permuted: bool, state: dict[str, Any]) -> Result:
    """Return the result whose ``state`` this was."""
    return Result(
        split,
        system,
        permuted,
        ParameterCount(**state["parameters"]),
        [Epoch(**epoch) for epoch in state["history"]],
        Scores(**state["scores"]),
        state["noise"],
    )


def of(results: Sequence[Result], title: str, permuted: bool = False) -> list[Result]:
    """Return the results of one system, seed by seed."""
    return [result for result in results if (result.title, result.permuted) == (title, permuted)]
