"""The task of captioning, as `trials.Task`: features of images and the numbers of their captions' words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from captions.captioner import Captioner, beam_search
from captions.coco import CaptionedImage
from captions.scores import score_captions
from captions.vocabulary import PADDING, Vocabulary
from learning.systems import System, make_recurrent
from learning.training import Training

EMBEDDING, HIDDEN = 256, 256
INPUTS = 2 * EMBEDDING
LONGEST = 20  # words of a caption; the rest is cut off
EVALUATION_BATCH = 256


@dataclass(frozen=True)
class Captions:
    """Captions and the images they belong to.

    Attributes
    ----------
    features : ndarray of shape (images, features), float32
    words : ndarray of shape (captions, LONGEST + 2), int64
    image : ndarray of shape (captions,), int64
        The image of each caption.
    """

    features: np.ndarray
    words: np.ndarray
    image: np.ndarray


@dataclass(frozen=True)
class Captioning:
    """The task.

    Attributes
    ----------
    training, test : Captions
    references : sequence of sequence of str
        The test images' captions as they are.
    vocabulary : Vocabulary
    beam : int
        Width of the search for captions.
    device : torch.device
    """

    training: Captions
    test: Captions
    references: Sequence[Sequence[str]]
    vocabulary: Vocabulary
    beam: int
    device: torch.device

    @property
    def n_samples(self) -> int:
        """Number of training captions."""
        return len(self.training.words)

    def make_model(self, system: System | None) -> Captioner:
        """Make an untrained caption generator with a compact LSTM or the dense one."""
        recurrent = make_recurrent(system, INPUTS, HIDDEN)
        return Captioner(recurrent, self.training.features.shape[1], EMBEDDING, HIDDEN, len(self.vocabulary))

    def recurrent(self, model: nn.Module) -> nn.Module:
        """Return the LSTM."""
        return cast(Captioner, model).recurrent

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean cross-entropy of the words of some captions, in nats."""
        return self.cross_entropy(model, self.training, share.cpu().numpy(), "mean")

    def watch(self, model: nn.Module) -> float:
        """Return the mean cross-entropy of the words of the test captions, in nats."""
        index = np.arange(len(self.test.words))
        parts = range(0, len(index), EVALUATION_BATCH)
        total = sum(
            self.cross_entropy(model, self.test, index[start : start + EVALUATION_BATCH], "sum").item() for start in parts
        )
        return total / int(np.count_nonzero(self.test.words[:, 1:] != PADDING))

    def finish(self, training: Training) -> tuple[dict[str, float], list[Any]]:
        """Return the scores of the captions found for the test images, and the captions."""
        model = cast(Captioner, training.model)
        captions: list[str] = []
        for start in range(0, len(self.test.features), EVALUATION_BATCH):
            features = torch.from_numpy(self.test.features[start : start + EVALUATION_BATCH]).to(self.device)
            found = beam_search(model, features, self.beam, LONGEST)
            captions += [self.vocabulary.decode(numbers) for numbers in found.tolist()]
        return {"test_loss": self.watch(model)} | score_captions(captions, self.references), captions

    def cross_entropy(self, model: nn.Module, data: Captions, index: np.ndarray, reduction: str) -> torch.Tensor:
        """Return the mean or the sum over the words of some captions, their ends included, their starts not."""
        words = data.words[index]
        words = words[:, : np.count_nonzero(words != PADDING, axis=1).max()]
        numbers = torch.from_numpy(words).to(self.device)
        scores = model(torch.from_numpy(data.features[data.image[index]]).to(self.device), numbers[:, :-1])
        targets = numbers[:, 1:].flatten()
        return nn.functional.cross_entropy(scores.flatten(0, 1), targets, ignore_index=PADDING, reduction=reduction)


def make_captions(images: Sequence[CaptionedImage], features: np.ndarray, vocabulary: Vocabulary) -> Captions:
    """Put the features of images and the numbers of their captions' words together."""
    words = vocabulary.encode([caption for one in images for caption in one.captions], LONGEST)
    return Captions(features, words, np.repeat(np.arange(len(images)), [len(one.captions) for one in images]))
