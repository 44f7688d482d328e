"""Checks of the arguments of torch layers."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tensorly_rnn.nn._torch_context import is_autocast


def check_device_and_dtype(device: Any, dtype: Any) -> None:
    """Raise for a device that torch does not accept, or a dtype that parameters cannot have."""
    try:
        if device is not None:
            torch.device(device)
    except (OverflowError, RuntimeError, TypeError, ValueError) as reason:
        raise TypeError(f"device must be a device of torch; expected 'cpu' or 'cuda:0', got {device!r}: {reason}.") from None
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise TypeError(f"dtype must be a floating-point dtype of torch; expected torch.float32, got {dtype!r}.")


def check_module(argument: str, module: Any) -> None:
    """Raise if an argument is not a module."""
    if not isinstance(module, nn.Module):
        raise TypeError(f"{argument} must be a torch.nn.Module; got {type(module).__name__}.")


def check_like_weight(argument: str, tensor: Tensor, weight: Tensor) -> None:
    """Raise if a tensor has another device or dtype than the weight; under autocast the dtype may differ."""
    if tensor.device != weight.device:
        raise ValueError(
            f"{argument} must be on the device of the weights; expected {weight.device}, got {tensor.device}. "
            "Move one of them."
        )
    if tensor.dtype != weight.dtype and not (is_autocast(tensor) and tensor.dtype.is_floating_point):
        raise TypeError(
            f"{argument} dtype {tensor.dtype} does not match weight dtype {weight.dtype}. "
            f"Convert {argument}: {argument}.to({weight.dtype}), or convert model: model.to({tensor.dtype})."
        )


def check_tensor(argument: str, tensor: Any) -> None:
    """Raise if an argument is not a dense tensor."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{argument} must be a tensor; got {type(tensor).__name__}.")
    if tensor.is_nested or tensor.layout is not torch.strided:
        nested = "nested tensor of layout " if tensor.is_nested else ""
        cure = f"torch.nested.to_padded_tensor({argument}, 0.0)" if nested else f"{argument}.to_dense()"
        raise TypeError(f"{argument} must be dense; expected strided, got {nested}{tensor.layout}. Call {cure}.")


def check_features(input: Any, input_size: int, axes: tuple[int, ...], form: str, weight: Tensor) -> None:
    """Raise if an input is not a dense tensor with `input_size` features and one of the numbers of axes, like the weight."""
    check_tensor("input", input)
    shape = tuple(input.shape)
    if len(shape) not in axes:
        expected = " or ".join(map(str, axes))
        raise ValueError(f"input must have {expected} axes; expected {form}, got {shape}.")
    if shape[-1] != input_size:
        raise ValueError(f"input must have input_size features; expected {input_size}, got {shape[-1]} in shape {shape}.")
    check_like_weight("input", input, weight)


def check_sequences(input: Any, input_size: int, batch_first: bool, weight: Tensor) -> None:
    """Raise if an input is not padded or packed sequences of `input_size` features with at least one step."""
    if isinstance(input, PackedSequence):
        check_features(input.data, input_size, (2,), "packed (sum of lengths, H_in)", weight)
        return
    form = "(N, L, H_in) or (L, H_in)" if batch_first else "(L, N, H_in) or (L, H_in)"
    check_features(input, input_size, (2, 3), form, weight)
    shape = tuple(input.shape)
    if shape[1 if batch_first and len(shape) == 3 else 0] == 0:
        raise ValueError(f"input must have at least one time step; got shape {shape}.")
