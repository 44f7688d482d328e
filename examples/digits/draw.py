"""DRAW without attention (Gregor et al., 2015): an image is drawn on a canvas in several glimpses.

The encoder reads the image, what the canvas lacks of it and the decoder's state; the decoder is told a latent vector, drawn
at random around what the encoder found, and adds to the canvas. Latent vectors from the prior draw a new image.
"""

from __future__ import annotations

import torch
from torch import nn


def encoder_inputs(pixels: int, hidden: int) -> int:
    """Return the number of inputs of the encoder: the image, the error image and the decoder's state."""
    return 2 * pixels + hidden


class Draw(nn.Module):
    """The network around an encoder.

    Parameters
    ----------
    encoder : torch.nn.Module
        A cell as `torch.nn.LSTMCell`, of `encoder_inputs` inputs.
    pixels, hidden, latent : int
        Pixels of an image, size of the states of encoder and decoder, size of the latent vector of a glimpse.
    """

    def __init__(self, encoder: nn.Module, pixels: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.encoder = encoder
        self.posterior = nn.Linear(hidden, 2 * latent)
        self.decoder = nn.LSTMCell(latent, hidden)
        self.write = nn.Linear(hidden, pixels)
        self.blank = nn.Parameter(torch.zeros(pixels))

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the two parts of the negative variational bound on the log-likelihood of images.

        Parameters
        ----------
        images : Tensor, shape (batch, pixels)
            Between 0 and 1.
        noise : Tensor, shape (glimpses, batch, latent)
            Standard normal.

        Returns
        -------
        reconstruction, divergence : Tensor, shape (batch,)
            In nats: what it takes to correct the final canvas, and to tell the latent vectors of all glimpses.
        """
        canvas, code, state = self.start(images.shape[0])
        divergence = images.new_zeros(images.shape[0])
        for step in noise:
            error = images - torch.sigmoid(canvas)
            code = self.encoder(torch.cat([images, error, state[0]], dim=1), code)
            mean, log_deviation = self.posterior(code[0]).chunk(2, dim=1)
            deviation = log_deviation.exp()
            divergence = divergence + 0.5 * (mean.square() + deviation.square() - 1).sum(dim=1) - log_deviation.sum(dim=1)
            canvas, state = self.draw(mean + deviation * step, canvas, state)
        loss = nn.functional.binary_cross_entropy_with_logits(canvas, images, reduction="none")
        return loss.sum(dim=1), divergence

    @torch.no_grad()
    def generate(self, noise: torch.Tensor) -> torch.Tensor:
        """Draw new images, given standard normal numbers.

        Parameters
        ----------
        noise : Tensor, shape (glimpses, batch, latent)

        Returns
        -------
        Tensor, shape (glimpses, batch, pixels)
            The canvas after every glimpse, between 0 and 1.
        """
        canvas, _, state = self.start(noise.shape[1])
        canvases = []
        for latent in noise:
            canvas, state = self.draw(latent, canvas, state)
            canvases.append(torch.sigmoid(canvas))
        return torch.stack(canvases)

    def start(self, batch: int) -> tuple[torch.Tensor, tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """Return the empty canvas and the states of encoder and decoder before the first glimpse."""
        zeros = self.blank.new_zeros(batch, self.hidden)
        return self.blank.expand(batch, -1), (zeros, zeros), (zeros, zeros)

    def draw(
        self, latent: torch.Tensor, canvas: torch.Tensor, state: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """Return the canvas and the decoder's state after one more glimpse."""
        state = self.decoder(latent, state)
        return canvas + self.write(state[0]), state
