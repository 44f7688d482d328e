"""A convolutional front end: it turns single frames into features, which are kept on files; trained here or given."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from learning.comparison import Split
from learning.own_network import make_own_network
from learning.training import Training
from learning.trials import Report, Settings, train
from running.checkpoint import Checkpoints, replacing
from video.clips import Clips
from video.frames import Frames

FEATURES = 2048
FRAMES_PER_BATCH = 64
LEARNING_RATE = 1e-3
WATCHED_CLIPS = 64


class SmallFrontEnd(nn.Module):
    """Three strided convolutions, and means over 4 x 8 fields of the last one's 64 maps: 2048 features a frame."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.Sequential(
            nn.Conv2d(3, 16, 7, stride=4, padding=3),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d((4, 8)),
            nn.Flatten(),
        )

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames of shape (n, 3, height, width), between 0 and 1, to features of shape (n, FEATURES)."""
        return self.maps(frames)


class FrontEndWithHead(nn.Module):
    """The front end with a classifier of single frames, to train it."""

    def __init__(self, front_end: nn.Module, classes: int) -> None:
        super().__init__()
        self.front_end = front_end
        self.head = nn.Linear(FEATURES, classes)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Map frames to scores of shape (n, classes)."""
        return self.head(self.front_end(frames))


def check_front_end(text: str) -> None:
    """See whether the network that ``module:factory`` names can serve as the front end.

    Raises
    ------
    ValueError
        If it does not map frames of shape (n, 3, height, width), between 0 and 1, to features of shape (n, FEATURES).
    """
    network = make_own_network(text)
    try:
        with torch.no_grad():
            shape = tuple(network(torch.zeros(1, 3, 120, 160)).shape)
    except Exception as error:  # whatever code of somebody else's raises
        raise ValueError(f"--front-end must map frames of shape (n, 3, 120, 160); {text} fails with {error!r}") from None
    if shape != (1, FEATURES):
        raise ValueError(f"--front-end must map one frame to shape (1, {FEATURES}), got {shape} from {text}")


def images_of(frames: torch.Tensor) -> torch.Tensor:
    """Map bytes of shape (..., width, height, channels) to images of shape (n, channels, height, width) from 0 to 1."""
    return frames.flatten(0, -4).permute(0, 3, 2, 1).float() / 255


class Features:
    """The features of all frames of all clips, read when asked for.

    Parameters
    ----------
    path : Path
        Of an array of shape (clips, frames, FEATURES).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.opened: np.ndarray | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "opened": None}  # another process opens the file itself

    def __getitem__(self, index: torch.Tensor | np.ndarray) -> torch.Tensor:
        """Return the features of clips at positions ``index``."""
        if self.opened is None:
            self.opened = np.load(self.path, mmap_mode="r")
        return torch.from_numpy(self.opened[np.asarray(index)])


@dataclass(frozen=True)
class FrameRecognition:
    """The training task of the small front end, as `trials.Lesson`: the class of a single frame."""

    frames: Frames
    clips: Clips
    split: Split

    @property
    def per_clip(self) -> int:
        """Frames of a clip."""
        return self.frames[self.split.train_index[:1]].shape[1]

    @property
    def n_samples(self) -> int:
        """Frames of all training clips."""
        return len(self.split.train_index) * self.per_clip

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean cross-entropy of some frames."""
        per_clip = self.per_clip
        index = torch.from_numpy(self.split.train_index)[share // per_clip]
        chosen = self.frames[index][torch.arange(len(share)), share % per_clip]
        return nn.functional.cross_entropy(model(images_of(chosen)), torch.from_numpy(self.clips.targets)[index])

    def watch(self, model: nn.Module) -> float:
        """Return the share of the frames of some test clips that are recognized."""
        watched = np.random.default_rng(self.split.seed).permutation(self.split.test_index)[:WATCHED_CLIPS]
        predicted = model(images_of(self.frames[watched])).argmax(dim=1).reshape(len(watched), -1)
        return (predicted == torch.from_numpy(self.clips.targets)[watched][:, None]).float().mean().item()


def train_front_end(lesson: FrameRecognition, epochs: int, checkpoints: Checkpoints, report: Report) -> nn.Module:
    """Train the small front end for some epochs, of as many frames each as there are training clips."""
    seed = lesson.split.seed
    torch.manual_seed(seed)
    model = FrontEndWithHead(SmallFrontEnd(), len(lesson.clips.class_names))
    settings = Settings(
        epochs, FRAMES_PER_BATCH, LEARNING_RATE, torch.device("cpu"), samples_per_epoch=len(lesson.split.train_index)
    )
    training = Training(model, settings.optimizer(model, None), torch.Generator().manual_seed(seed))
    name, what = f"front-end-{seed}", f"front end, seed {seed}"
    train(lesson, training, settings, checkpoints, name, lambda more: report((what, more)))
    return model.front_end.eval()


@torch.no_grad()
def obtain_features(
    frames: Frames,
    clips: Clips,
    split: Split,
    front_end: str | None,
    epochs: int,
    folder: Path,
    checkpoints: Checkpoints,
    report: Report,
) -> tuple[Features, int]:
    """Put the features of all frames on a file, unless an earlier run has.

    Every feature is standardized by its mean and deviation on the training clips.

    Parameters
    ----------
    frames : Frames
    clips : Clips
    split : Split
    front_end : str or None
        "module:factory"; None for the small one, which is trained.
    epochs : int
        Of that training.
    folder : Path
    checkpoints : Checkpoints
    report : callable
        Told what is being trained and how many epochs of that were added.

    Returns
    -------
    features : Features
    parameters : int
        Of the front end.
    """
    made = make_own_network(front_end) if front_end else SmallFrontEnd()
    parameters = sum(parameter.numel() for parameter in made.parameters())
    asked = hashlib.sha256(repr(sorted(checkpoints.fingerprint.items())).encode()).hexdigest()
    path = folder / f"{asked[:16]}-{split.seed}.npy"
    if path.exists():
        report((f"front end, seed {split.seed}", epochs))
        return Features(path), parameters
    if not front_end:
        with torch.enable_grad():
            made = train_front_end(FrameRecognition(frames, clips, split), epochs, checkpoints, report)
    parts = torch.arange(len(clips.clips)).split(FRAMES_PER_BATCH)
    features = torch.cat([made(images_of(frames[part])).reshape(len(part), -1, FEATURES) for part in parts])
    training = features[torch.from_numpy(split.train_index)].flatten(0, 1)
    deviation = training.std(dim=0)
    deviation[deviation == 0] = 1
    features = (features - training.mean(dim=0)) / deviation
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.save(file, features.numpy())
    return Features(path), parameters
