"""State of torch that decides how a layer runs: autocast, tracing and transforms."""

import torch
from torch import Tensor


def is_autocast(tensor: Tensor) -> bool:
    """Return whether autocast is enabled on the device of a tensor; it is not available on the meta device."""
    return torch.amp.is_autocast_available(tensor.device.type) and torch.is_autocast_enabled(tensor.device.type)


def autocast_dtype(tensor: Tensor) -> torch.dtype | None:
    """Return the dtype of products under autocast on the device of a tensor, None without autocast."""
    return torch.get_autocast_dtype(tensor.device.type) if is_autocast(tensor) else None


def is_traced() -> bool:
    """Return whether a compiler, `torch.jit.trace`, a transform of `torch.func` or forward-mode differentiation is active."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed()  # type: ignore[attr-defined, no-untyped-call]


def is_transformed() -> bool:
    """Return whether a transform of `torch.func` or forward-mode differentiation is active."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
