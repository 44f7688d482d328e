"""Features of images from a convolutional network: one given by name, or a small one trained here on the captions' words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import nn

from learning.training import Training
from learning.trials import Settings, train
from running.checkpoint import Checkpoints

# The channel means, and their deviations, that networks trained on ImageNet expect.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GRID, CHANNELS = 4, 128
WIDTH = CHANNELS * GRID * GRID  # 2048, as Inception-v3's
CHUNK = 512  # images computed and kept at a time
EVALUATION_BATCH = 64
BATCH, LEARNING_RATE = 32, 1e-3  # of the training of the small network


def read_images(paths: Sequence[Path], side: int) -> np.ndarray:
    """Read images as squares: shape (images, side, side, 3), uint8.

    Raises
    ------
    ValueError
        If a file is not an image.
    """
    images = np.empty((len(paths), side, side, 3), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            with Image.open(path) as file:
                image[:] = file.convert("RGB").resize((side, side), Image.Resampling.BILINEAR)
        except (UnidentifiedImageError, OSError) as error:
            raise ValueError(f"{path} is not a readable image: {error}") from None
    return images


def as_input(images: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return images as networks take them: shape (images, 3, side, side), the channel means taken off."""
    values = torch.from_numpy(images).to(device, torch.float32) / 255
    mean, deviation = (torch.tensor(one, device=device) for one in (MEAN, DEVIATION))
    return ((values - mean) / deviation).permute(0, 3, 1, 2).contiguous()


def make_small_network() -> nn.Sequential:
    """Make the small network; its features are the last maps, averaged in GRID x GRID fields, so that they tell where."""
    layers: list[nn.Module] = []
    for before, after, stride in ((3, 32, 2), (32, 64, 2), (64, CHANNELS, 2), (CHANNELS, CHANNELS, 1)):
        convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(GRID), nn.Flatten())


@dataclass(frozen=True)
class WordDetection:
    """The training task of the small network, as `trials.Lesson`: which words occur in an image's captions.

    Attributes
    ----------
    images : ndarray of shape (images, side, side, 3), uint8
    words : ndarray of shape (images, number of words), bool
    device : torch.device
    """

    images: np.ndarray
    words: np.ndarray
    device: torch.device

    @property
    def n_samples(self) -> int:
        """Number of images."""
        return len(self.images)

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean cross-entropy of some images, in nats a word."""
        index = share.cpu().numpy()
        words = torch.from_numpy(self.words[index]).to(self.device, torch.float32)
        return nn.functional.binary_cross_entropy_with_logits(model(as_input(self.images[index], self.device)), words)

    def watch(self, model: nn.Module) -> float:
        """Return nothing that matters."""
        return 0.0


def train_small_network(
    lesson: WordDetection, epochs: int, checkpoints: Checkpoints, report: Callable[[tuple[str, int]], None]
) -> None:
    """Train the small network; the checkpoint ``front-end`` has it after every epoch."""
    settings = Settings(epochs, BATCH, LEARNING_RATE, lesson.device)
    torch.manual_seed(0)
    model = nn.Sequential(make_small_network(), nn.Linear(WIDTH, lesson.words.shape[1])).to(settings.device)
    training = Training(model, settings.optimizer(model, None), torch.Generator().manual_seed(0))
    train(lesson, training, settings, checkpoints, "front-end", lambda more: report(("image features", more)))


def trained_small_network(checkpoints: Checkpoints) -> nn.Module:
    """Return the network that `train_small_network` trained."""
    state = checkpoints.load("front-end")
    if state is None:
        raise RuntimeError("the small network is to be trained first")
    network = make_small_network()
    own = {name.removeprefix("0."): value for name, value in state["model"].items() if name.startswith("0.")}
    network.load_state_dict(own)
    return network


@torch.no_grad()
def compute_features(
    network: nn.Module, paths: Sequence[Path], side: int, device: torch.device, kept: Checkpoints, name: str
) -> np.ndarray:
    """Return the features of images, shape (images, features), float32: computed chunk by chunk, or kept from before.

    Raises
    ------
    ValueError
        If the network does not give a row or more of numbers for an image.
    """
    network = network.to(device).eval()
    chunks = []
    for start in range(0, len(paths), CHUNK):
        state = kept.load(f"{name}-{start:06}")
        if state is None:
            images = read_images(paths[start : start + CHUNK], side)
            batches = torch.from_numpy(np.arange(len(images))).split(EVALUATION_BATCH)
            found = [network(as_input(images[batch.numpy()], device)) for batch in batches]
            if not all(isinstance(one, torch.Tensor) and len(one) == len(batch) for one, batch in zip(found, batches)):
                raise ValueError("--front-end must give a tensor with one entry for each image of a batch")
            state = {"features": torch.cat([one.flatten(1).cpu() for one in found])}
            kept.save(f"{name}-{start:06}", state)
        chunks.append(state["features"].numpy())
    return np.concatenate(chunks)
