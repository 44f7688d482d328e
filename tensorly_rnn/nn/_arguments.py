"""Checks of what torch layers are given, in torch's manner."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from tensorly_rnn._checks import positive_int


def autocasts(tensor: Tensor) -> bool:
    """Whether autocast is on where a tensor lies; the meta device knows none."""
    return torch.amp.is_autocast_available(tensor.device.type) and torch.is_autocast_enabled(tensor.device.type)


def check_place(device: Any, dtype: Any) -> None:
    """Refuse what torch takes for no device, and what is no dtype of parameters; whether there is such a device it tells."""
    try:
        if device is not None:
            torch.device(device)
    except (OverflowError, RuntimeError, TypeError, ValueError) as reason:
        raise TypeError(f"device must be torch's; expected 'cpu' or 'cuda:0', got {device!r}: {reason}.") from None
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype must be floating-point and torch's; expected torch.float32, got {dtype!r}.")


def check_alike(argument: str, tensor: Tensor, weight: Tensor) -> None:
    """Refuse a tensor of another device or dtype than the weight's; autocast may change the dtype."""
    if tensor.device != weight.device:
        raise ValueError(
            f"{argument} must be on the device of the weights; expected {weight.device}, got {tensor.device}. "
            "Move one of them."
        )
    if tensor.dtype != weight.dtype and not (autocasts(tensor) and tensor.dtype.is_floating_point):
        raise TypeError(
            f"{argument} dtype {tensor.dtype} does not match weight dtype {weight.dtype}. "
            f"Convert {argument}: {argument}.to({weight.dtype}), or convert model: model.to({tensor.dtype})."
        )


def check_features(input: Any, input_size: int, axes: tuple[int, ...], form: str, weight: Tensor) -> None:
    """Refuse what is no tensor of `input_size` features, with one of the numbers of axes, like the weight."""
    if not isinstance(input, Tensor):
        raise TypeError(f"input must be a tensor; got {type(input).__name__}.")
    if input.layout is not torch.strided:
        raise TypeError(f"input must be dense; expected strided, got {input.layout}. Call input.to_dense().")
    shape = tuple(input.shape)
    if len(shape) not in axes:
        wanted = " or ".join(map(str, axes))
        raise ValueError(f"input must have {wanted} axes; expected {form}, got {shape}.")
    if shape[-1] != input_size:
        raise ValueError(f"input must have input_size features; expected {input_size}, got {shape[-1]} in shape {shape}.")
    check_alike("input", input, weight)


def check_sequence(input: Any, input_size: int, batch_first: bool, weight: Tensor) -> None:
    """Refuse what is no sequence, padded or packed, of `input_size` features with at least one step, like the weight."""
    if isinstance(input, PackedSequence):
        check_features(input.data, input_size, (2,), "packed (sum of lengths, H_in)", weight)
        return
    form = "(N, L, H_in) or (L, H_in)" if batch_first else "(L, N, H_in) or (L, H_in)"
    check_features(input, input_size, (2, 3), form, weight)
    shape = tuple(input.shape)
    if shape[1 if batch_first and len(shape) == 3 else 0] == 0:
        raise ValueError(f"input must have at least one time step; got shape {shape}.")


def of_every_layer(argument: str, value: Any, num_layers: int, required: bool = False) -> list[Any]:
    """Return one entry a layer: a mapping's by the layer's number, None where it has none, or the same for all."""
    if not isinstance(value, Mapping):
        return [value] * num_layers
    missing = [layer for layer in range(num_layers) if layer not in value] if required else []
    if missing or any(layer not in range(num_layers) for layer in value):
        rule = "have an entry for each layer" if required else "have layers' numbers for keys"
        raise ValueError(f"{argument} must {rule}; expected {list(range(num_layers))}, got {list(value)}.")
    return [value.get(layer) for layer in range(num_layers)]


def checked_dropout(dropout: Any, num_layers: int) -> float:
    """Return the probability, and warn where it does nothing."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be a probability; expected a number in [0, 1], got {dropout!r}.")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout acts between layers; with dropout={dropout} and num_layers=1 it does nothing.",
            UserWarning,
            stacklevel=4,
        )
    return float(dropout)


def checked_proj_size(proj_size: Any, hidden_size: int) -> int:
    """Return the size of the projected h, 0 for none."""
    size = 0 if isinstance(proj_size, int) and proj_size == 0 else positive_int("proj_size", proj_size)
    if size >= hidden_size:
        raise ValueError(f"proj_size must be smaller than hidden_size; expected less than {hidden_size}, got {size}.")
    return size
