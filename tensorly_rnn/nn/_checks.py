"""Checks of what torch layers are given, in torch's manner."""

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tensorly_rnn._checks import positive_int


def check_dtype(caller: str, argument: str, tensor: Tensor, weight: Tensor) -> None:
    """Refuse a tensor of another dtype than the weight's, unless autocast is at work."""
    if tensor.dtype != weight.dtype and not torch.is_autocast_enabled(tensor.device.type):
        raise TypeError(
            f"{caller}: {argument} dtype {tensor.dtype} does not match weight dtype {weight.dtype}. "
            f"Convert {argument}: {argument}.to({weight.dtype}), or convert model: model.to({tensor.dtype})."
        )


def check_sequence(name: str, input: Any, input_size: int, batch_first: bool, weight: Tensor) -> None:
    """Refuse what is no sequence of `input_size` features with at least one time step, of the weight's dtype."""
    if isinstance(input, PackedSequence):
        raise TypeError(f"{name}: input must be a tensor; packed sequences are not taken. Pad it with pad_packed_sequence.")
    if not isinstance(input, Tensor):
        raise TypeError(f"{name}: input must be a tensor; got {type(input).__name__}.")
    shape = tuple(input.shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"{name}: input must have 2 or 3 axes; expected (L, N, H_in) or (L, H_in), got {shape}.")
    if shape[-1] != input_size:
        raise ValueError(
            f"{name}: input must have input_size features; expected {input_size}, got {shape[-1]} in shape {shape}."
        )
    if shape[1 if batch_first and len(shape) == 3 else 0] == 0:
        raise ValueError(f"{name}: input must have at least one time step; got shape {shape}.")
    check_dtype(name, "input", input, weight)


def checked_dropout(name: str, dropout: Any, num_layers: int) -> float:
    """Return the probability, and warn where it does nothing."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(f"{name}: dropout must be a probability; expected a number in [0, 1], got {dropout!r}.")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"{name}: dropout acts between layers; with dropout={dropout} and num_layers=1 it does nothing.",
            UserWarning,
            stacklevel=3,
        )
    return float(dropout)


def checked_proj_size(name: str, proj_size: Any, hidden_size: int) -> int:
    """Return the size of the projected h, 0 for none."""
    size = positive_int(name, "proj_size", proj_size) if proj_size != 0 else 0
    if size >= hidden_size:
        raise ValueError(f"{name}: proj_size must be smaller than hidden_size; expected less than {hidden_size}, got {size}.")
    return size
