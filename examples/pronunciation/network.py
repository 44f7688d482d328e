"""The network of ``g2p_en``: a GRU reads the letters of a word, another one writes its phonemes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from pronunciation.words import END, LETTERS, LONGEST, PHONEMES, START, Words, shipped_file

HIDDEN = 256
# Names of the parameters in the file, by those of the layers here.
NAMES = {
    "letters.weight": "enc_emb",
    "phonemes.weight": "dec_emb",
    "head.weight": "fc_w",
    "head.bias": "fc_b",
    **{f"encoder.{kind}_l0": f"enc_{kind[0]}_{kind[-2:]}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
    **{f"decoder.{kind}_l0": f"dec_{kind[0]}_{kind[-2:]}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")},
}


class Pronouncer(nn.Module):
    """A GRU over the letters of a word, and a GRU over its phonemes that begins with the last state of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(len(LETTERS), HIDDEN)
        self.phonemes = nn.Embedding(len(PHONEMES), HIDDEN)
        self.encoder = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.decoder = nn.GRU(HIDDEN, HIDDEN, batch_first=True)
        self.head = nn.Linear(HIDDEN, len(PHONEMES))

    def read(self, letters: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the state after the last letter of every word, shape (1, words, hidden)."""
        states, _ = self.encoder(self.letters(letters))
        return states[torch.arange(len(letters)), lengths - 1][None]

    def forward(
        self, letters: torch.Tensor, lengths: torch.Tensor, phonemes: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return scores of the phonemes that follow the given ones, and the decoder's states.

        Parameters
        ----------
        letters : Tensor of shape (words, letters)
        lengths : Tensor of shape (words,)
        phonemes : Tensor of shape (words, steps)
            ``<s>`` and the phonemes before each step.

        Returns
        -------
        Tensor of shape (words, steps, phonemes), Tensor of shape (words, steps, hidden)
        """
        states, _ = self.decoder(self.phonemes(phonemes), self.read(letters, lengths))
        return self.head(states), states

    @torch.no_grad()
    def write(self, letters: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the numbers of the likeliest phonemes, one after the other, shape (words, steps); ``</s>`` ends a word."""
        state, written = self.read(letters, lengths), [torch.full((len(letters),), START)]
        for _ in range(LONGEST):
            out, state = self.decoder(self.phonemes(written[-1])[:, None], state)
            written.append(self.head(out[:, 0]).argmax(dim=1))
            if (torch.stack(written) == END).any(dim=0).all():
                break
        return torch.stack(written[1:], dim=1)

    def pronounce(self, words: Words, batch_size: int = 512) -> list[list[str]]:
        """Return the phonemes of words."""
        guessed = []
        for start in range(0, len(words), batch_size):
            part = words[range(start, min(start + batch_size, len(words)))]
            for row in self.write(*part.letters()).tolist():
                guessed.append([PHONEMES[k] for k in row[: row.index(END) if END in row else None]])
        return guessed


def load_pronouncer() -> Pronouncer:
    """Return the network with the weights that the wheel ``g2p_en`` ships. The package is not imported."""
    with np.load(shipped_file("g2p_en", "checkpoint20.npz"), allow_pickle=False) as weights:
        found: dict[str, Any] = {own: torch.from_numpy(weights[theirs].astype(np.float32)) for own, theirs in NAMES.items()}
    network = Pronouncer()
    network.load_state_dict(found)
    return network.eval()
