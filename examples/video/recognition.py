"""Tell what clips show: the task of the programs that recognize something in videos."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import torch
from sklearn.metrics import accuracy_score
from torch import nn

from learning.comparison import Split
from learning.systems import System, make_recurrent
from learning.training import SequenceClassifier, Training, predict, score
from video.clips import Clips, split_clips

EVALUATION_CLIPS = 32  # as many frames as fit into memory at 57600 numbers each
PERMUTED = "permuted"
NOISE_SCORE = "accuracy_at_noise_"


class Sequences(Protocol):
    """The sequences of all clips, fetched by their positions; every worker opens files itself."""

    def __getitem__(self, index: torch.Tensor, /) -> torch.Tensor:
        """Return the sequences at some positions, of shape (positions, steps, ...)."""


@dataclass(frozen=True)
class Recipe:
    """How clips are turned into scores, and how the scores are tested.

    Attributes
    ----------
    hidden : int
        Size of the LSTM's state.
    input_size : int
        Inputs a step, after ``Pixels`` if the sequences are frames.
    watched_clips : int
        Of the test clips, those on which the curves are taken.
    dropout : float
    noise_levels : tuple of float
        Standard deviations of the noise under which the trained model is tested, white being 1.
    pixels : bool
        Whether the sequences are frames of bytes.
    """

    hidden: int
    input_size: int
    watched_clips: int
    dropout: float
    noise_levels: tuple[float, ...] = ()
    pixels: bool = False


@dataclass(frozen=True)
class Recognition:
    """The task, as `trials.Task` wants it.

    Attributes
    ----------
    sequences : Sequences
    clips : Clips
    split : Split
    recipe : Recipe
    device : torch.device
    permuted : bool
        Whether the pixels of every frame come in one random order.
    """

    sequences: Sequences
    clips: Clips
    split: Split
    recipe: Recipe
    device: torch.device
    permuted: bool = False

    @property
    def n_samples(self) -> int:
        """Number of training clips."""
        return len(self.split.train_index)

    def make_model(self, system: System | None) -> SequenceClassifier:
        """Put an untrained classifier on an untrained recurrent layer."""
        recipe = self.recipe
        recurrent = make_recurrent(system, recipe.input_size, recipe.hidden, self.device)
        head = nn.Linear(recipe.hidden, len(self.clips.class_names), device=self.device)
        return SequenceClassifier(recurrent, head, self.make_pixels() if recipe.pixels else None, recipe.dropout)

    def make_pixels(self) -> Pixels:
        """Make the preparation of frames, from some of the training clips."""
        seed = self.split.seed
        some = np.random.default_rng(seed).permutation(self.split.train_index)[:EVALUATION_CLIPS]
        mean = self.sequences[torch.from_numpy(some)].float().mean(dim=(0, 1, 2, 3))
        order = torch.randperm(self.recipe.input_size, generator=torch.Generator().manual_seed(seed))
        return Pixels(mean, order if self.permuted else None)

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the LSTM."""
        return cast(SequenceClassifier, model).recurrent

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean cross-entropy of some training clips."""
        index = torch.from_numpy(self.split.train_index)[share.cpu()]
        targets = torch.from_numpy(self.clips.targets)[index]
        return nn.functional.cross_entropy(model(self.sequences[index].to(self.device)), targets.to(self.device))

    def watch(self, model: nn.Module) -> float:
        """Return the accuracy on a sample of the test clips that is always the same."""
        shuffled = np.random.default_rng(self.split.seed).permutation(self.split.test_index)
        return self.accuracy(model, shuffled[: self.recipe.watched_clips])

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return the accuracies on all test clips, also under noise."""
        model, split = training.model, self.split
        predicted = predict(model, self.noisy(0.0), split.test_index, EVALUATION_CLIPS)
        sizes = {"train_clips": len(split.train_index), "test_clips": len(split.test_index), "chance": split.chance}
        noise = {noise_score(level): self.accuracy(model, split.test_index, level) for level in self.recipe.noise_levels}
        return sizes | dataclasses.asdict(score(split.test_targets, predicted)) | noise, []

    def accuracy(self, model: nn.Module, index: np.ndarray, noise: float = 0.0) -> float:
        """Return the share of the clips at some positions that are recognized."""
        return float(accuracy_score(self.clips.targets[index], predict(model, self.noisy(noise), index, EVALUATION_CLIPS)))

    def noisy(self, level: float) -> Callable[[torch.Tensor], torch.Tensor]:
        """Return a function that fetches sequences, and adds noise to their bytes if there is to be any."""
        generator = torch.Generator().manual_seed(0)

        def fetch(index: torch.Tensor) -> torch.Tensor:
            found = self.sequences[index]
            if level:
                found = found + 255 * level * torch.randn(found.shape, generator=generator)
            return found.to(self.device)

        return fetch


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


def noise_score(level: float) -> str:
    """Return the name of the accuracy under noise."""
    return f"{NOISE_SCORE}{level:g}"


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
