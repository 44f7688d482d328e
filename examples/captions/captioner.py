"""A caption generator in the manner of Show and Tell (Vinyals et al., 2015), and its beam search."""

from __future__ import annotations

import torch
from torch import nn

from captions.vocabulary import END, PADDING, START

State = tuple[torch.Tensor, torch.Tensor]


class Captioner(nn.Module):
    """Words after words from the features of an image.

    Every step's input is the embedding of the image's features beside that of the word before.

    Parameters
    ----------
    recurrent : torch.nn.Module
        As `torch.nn.LSTM`, batch first, of one layer; its inputs are two embeddings.
    features, embedding, hidden, words : int
        Features of an image, size of an embedding and of the recurrent layer's state, number of words.
    """

    def __init__(self, recurrent: nn.Module, features: int, embedding: int, hidden: int, words: int) -> None:
        super().__init__()
        self.of_image = nn.Linear(features, embedding)
        self.of_word = nn.Embedding(words, embedding, padding_idx=PADDING)
        self.recurrent = recurrent
        self.head = nn.Linear(hidden, words)

    def forward(self, features: torch.Tensor, words: torch.Tensor) -> torch.Tensor:
        """Return scores of the words that may come next.

        Parameters
        ----------
        features : Tensor, shape (batch, features)
        words : Tensor of int, shape (batch, steps)

        Returns
        -------
        Tensor, shape (batch, steps, number of words)
        """
        return self.go_on(self.of_image(features), words, None)[0]

    def go_on(self, image: torch.Tensor, words: torch.Tensor, state: State | None) -> tuple[torch.Tensor, State]:
        """Return scores and the state after some words, given the embedding of the image."""
        image = image.unsqueeze(1).expand(-1, words.shape[1], -1)
        output, state = self.recurrent(torch.cat([image, self.of_word(words)], dim=2), state)
        return self.head(output), state


@torch.no_grad()
def beam_search(model: Captioner, features: torch.Tensor, width: int, longest: int) -> torch.Tensor:
    """Find likely captions, keeping so many beginnings of each at every step; of width 1 it is greedy.

    Parameters
    ----------
    model : Captioner
    features : Tensor, shape (batch, features)
    width, longest : int

    Returns
    -------
    Tensor of int, shape (batch, at most longest)
        The numbers of the words, each caption filled up with ends.
    """
    batch, device = len(features), features.device
    image = model.of_image(features).repeat_interleave(width, dim=0)
    captions = torch.full((batch, width, 1), START, device=device)
    # All beginnings of an image are alike at first: the first alone counts.
    likelihood = torch.full((batch, width), -torch.inf, device=device)
    likelihood[:, 0] = 0
    state: State | None = None
    for _ in range(longest):
        scores, state = model.go_on(image, captions[:, :, -1].reshape(-1, 1), state)
        steps = scores[:, 0].log_softmax(dim=1).view(batch, width, -1)
        steps[:, :, [PADDING, START]] = -torch.inf
        ended = captions[:, :, -1] == END
        steps = steps.masked_fill(ended.unsqueeze(2), -torch.inf)
        steps[:, :, END] = steps[:, :, END].masked_fill(ended, 0)
        likelihood, best = (likelihood.unsqueeze(2) + steps).flatten(1).topk(width)
        beginning, word = best // steps.shape[2], best % steps.shape[2]
        captions = torch.cat([captions.gather(1, beginning.unsqueeze(2).expand_as(captions)), word.unsqueeze(2)], dim=2)
        kept = (torch.arange(batch, device=device).unsqueeze(1) * width + beginning).flatten()
        state = (state[0][:, kept], state[1][:, kept])
        if (word == END).all():
            break
    return captions[:, 0, 1:]
