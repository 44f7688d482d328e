"""The network with its large weights in factors: decomposed, calibrated, healed and measured."""

from __future__ import annotations

import copy
import io
import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import nn
from torch.nn.utils import parametrize

import tensorly_rnn as tlr
from pronunciation.network import Pronouncer
from pronunciation.words import END, START, Words, error_rates
from tensorly_rnn.decomposition import calibrate
from tensorly_rnn.formats import FactorizedMatrix

# The other four per cent of the parameters, the letters' and the phonemes' vectors and the biases, stay as they are.
COMPRESSED = (*(f"{layer}.weight_{kind}_l0" for layer in ("encoder", "decoder") for kind in ("ih", "hh")), "head.weight")
SVD = "svd"


@dataclass(frozen=True)
class Reading:
    """Words as a network reads them, with the phonemes that the dense network writes.

    Attributes
    ----------
    letters : Tensor of shape (words, letters)
    lengths : Tensor of shape (words,)
    before : Tensor of shape (words, steps)
        ``<s>`` and the phonemes before each step.
    counted : Tensor of shape (words, steps), bool
        Steps up to ``</s>``.
    """

    letters: torch.Tensor
    lengths: torch.Tensor
    before: torch.Tensor
    counted: torch.Tensor

    @classmethod
    def by(cls, network: Pronouncer, words: Words) -> Reading:
        """Let a network pronounce words."""
        letters, lengths = words.letters()
        written = network.write(letters, lengths)
        before = torch.cat([torch.full((len(words), 1), START), written[:, :-1]], dim=1)
        return cls(letters, lengths, before, ((written == END).cumsum(dim=1) - (written == END).long()) == 0)

    def __getitem__(self, index: torch.Tensor) -> Reading:
        return Reading(self.letters[index], self.lengths[index], self.before[index], self.counted[index])


@torch.no_grad()
def inputs_of_weights(network: Pronouncer, read: Reading) -> dict[str, torch.Tensor]:
    """Return what each large weight of a dense network is multiplied with, rows of shape (steps, hidden)."""
    letters = network.letters(read.letters)
    seen = torch.arange(letters.shape[1]) < read.lengths[:, None]
    states, _ = network.encoder(letters)
    start = network.read(read.letters, read.lengths)
    phonemes = network.phonemes(read.before)
    written, _ = network.decoder(phonemes, start)
    rows = (letters, previous(torch.zeros_like(start), states), phonemes, previous(start, written), written)
    return {name: found[seen if name[0] == "e" else read.counted] for name, found in zip(COMPRESSED, rows, strict=True)}


def previous(start: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """Return the state before each step, shape (words, steps, hidden)."""
    return torch.cat([start[0][:, None], states[:, :-1]], dim=1)


def decompose(
    network: Pronouncer, form: str, ratio: float, inputs: Mapping[str, torch.Tensor] | None
) -> dict[str, FactorizedMatrix]:
    """Return the large weights in a format with so many times fewer parameters, refitted to inputs if there are any.

    The truncated singular value decomposition is a train with one mode for the rows and one for the columns.
    """
    found = {}
    for name in COMPRESSED:
        weight = network.get_parameter(name).detach()
        rows, columns = weight.shape
        format, modes = ("tt", tlr.separate_modes((rows,), (columns,))) if form == SVD else (form, None)
        f = tlr.factorize(weight, format, modes, compression_ratio=ratio)
        found[name] = f if inputs is None else calibrate(f, weight, inputs[name])
    return found


class Reconstruction(nn.Module):
    """Parametrization of torch that makes a weight from the factors of a matrix, which are the parameters."""

    def __init__(self, f: FactorizedMatrix) -> None:
        super().__init__()
        self.f = f

    def forward(self, *factors: torch.Tensor) -> torch.Tensor:
        """Return the weight."""
        return self.f.in_format(self.f.format, factors, self.f.shape).to_matrix().contiguous()

    def right_inverse(self, weight: torch.Tensor) -> list[torch.Tensor]:
        """Return the factors."""
        return list(self.f.factors)


def in_factors(network: Pronouncer, found: Mapping[str, FactorizedMatrix]) -> Pronouncer:
    """Return a copy of a network with weights in factors."""
    student = copy.deepcopy(network)
    for name, f in found.items():
        layer, _, weight = name.partition(".")
        parametrize.register_parametrization(student.get_submodule(layer), weight, Reconstruction(f))
    return student


@dataclass(frozen=True)
class Healing:
    """The task of answering like the dense network, as `trials.Lesson`: no pronunciations are needed.

    Attributes
    ----------
    teacher : Pronouncer
    words, watched : Words
        To learn from, and to take the phoneme error on after every epoch.
    """

    teacher: Pronouncer
    words: Words
    watched: Words

    @property
    def n_samples(self) -> int:
        """Number of words."""
        return len(self.words)

    @cached_property
    def read(self) -> Reading:
        """The words with the teacher's pronunciations."""
        return Reading.by(self.teacher, self.words)

    def loss(self, model: nn.Module, share: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Return the mean divergence of the scores from the teacher's, in nats, and mean square distance of the states."""
        part = self.read[share]
        with torch.no_grad():
            wanted, states = self.teacher(part.letters, part.lengths, part.before)
        scores, own = model(part.letters, part.lengths, part.before)
        divergence = nn.functional.kl_div(scores.log_softmax(-1), wanted.log_softmax(-1), reduction="none", log_target=True)
        return (divergence.sum(dim=-1) + (own - states).square().mean(dim=-1))[part.counted].mean()

    def watch(self, model: nn.Module) -> float:
        """Return the phoneme error rate in per cent."""
        return errors(model, self.watched)[0]


def errors(network: nn.Module, words: Words) -> tuple[float, float]:
    """Return the phoneme and word error rates in per cent."""
    with parametrize.cached():
        return error_rates(words, network.pronounce(words))


def measure(network: Pronouncer, words: Words, repetitions: int) -> dict[str, float]:
    """Return error rates on words, the number of parameters, the size of a file and the time for one word and for 64.

    The time is the median over repetitions, in milliseconds; weights in factors are rebuilt once for each.
    """
    phoneme_error, word_error = errors(network, words)
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    times = {}
    for count in (1, 64):
        letters, seconds = words[range(min(count, len(words)))].letters(), []
        for _ in range(repetitions):
            begun = time.perf_counter()
            with parametrize.cached():
                network.write(*letters)
            seconds.append(time.perf_counter() - begun)
        times[f"milliseconds_{count}"] = 1000 * statistics.median(seconds)
    return {
        "phoneme_error": phoneme_error,
        "word_error": word_error,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "file_bytes": file.tell(),
        **times,
    }
