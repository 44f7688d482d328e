"""Words as numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

PADDING, START, END, UNKNOWN = range(4)
SPECIAL = ("<padding>", "<start>", "<end>", "<unknown>")


def words_of(text: str) -> list[str]:
    """Return the words of a text, without capitals and punctuation."""
    return re.findall(r"[\w']+", text.lower())


class Vocabulary:
    """The words that occur at least so many times in some texts, the frequent ones first, after the special ones.

    Parameters
    ----------
    texts : iterable of str
    least : int
    """

    def __init__(self, texts: Iterable[str], least: int) -> None:
        counts = Counter(word for text in texts for word in words_of(text))
        frequent = sorted((word for word, count in counts.items() if count >= least), key=lambda word: (-counts[word], word))
        self.words = [*SPECIAL, *frequent]
        self.numbers = {word: number for number, word in enumerate(self.words)}

    def __len__(self) -> int:
        return len(self.words)

    def encode(self, texts: Sequence[str], longest: int) -> np.ndarray:
        """Return the words' numbers, shape (texts, longest + 2): a start, at most so many words, an end, padding."""
        encoded = np.full((len(texts), longest + 2), PADDING)
        for row, text in zip(encoded, texts, strict=True):
            numbers = [self.numbers.get(word, UNKNOWN) for word in words_of(text)[:longest]]
            row[: len(numbers) + 2] = [START, *numbers, END]
        return encoded

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the words of numbers, up to the end."""
        found = []
        for number in numbers:
            if number == END:
                break
            found.append(self.words[number])
        return " ".join(found)
