"""Arrays made of parameters, kept as long as nothing is recorded and no parameter has changed."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from tensorly_rnn.nn._arguments import autocasts

#: Results that one object keeps, of which those for inputs of other shapes share their arrays.
MOST = 64


class Kept:
    """What functions of some parameters have given; a copy, and what is read back from a file, starts empty.

    A parameter has changed where another is in its place, or its version or its memory is another.
    """

    def __init__(self) -> None:
        self.times_cleared = 0
        self.clear()

    def clear(self) -> None:
        """Forget all of it."""
        self.times_cleared += 1
        # Replaced as one, so that threads never see the arrays of one another's parameters.
        self._entry: tuple[list[Any], list[Any], dict[Hashable, Any]] = ([], [], {})

    def get(self, key: Hashable, parameters: Sequence[Tensor], make: Callable[[], Any], sources: Sequence["Kept"] = ()) -> Any:
        """Return what is kept under a key for these parameters, or make it, perhaps of what others keep: without gradients."""
        marks: list[Any] = [(id(one), one._version, one.data_ptr()) for one in parameters]
        marks += [source.times_cleared for source in sources]
        entry = self._entry
        if marks != entry[1]:
            # The parameters are held, so that no other takes over the number of one.
            self._entry = entry = (list(parameters), marks, {})
        made = entry[2]
        if key not in made:
            if len(made) >= MOST:
                made.clear()
            # What inference mode makes cannot be used outside of it.
            with torch.inference_mode(False), torch.no_grad():
                made[key] = make()
        return made[key]

    def __reduce__(self) -> tuple[type["Kept"], tuple[()]]:
        return Kept, ()


class Keeping(nn.Module):
    """A module that keeps what it makes of its parameters in evaluation, until something is done to it."""

    def __init__(self) -> None:
        super().__init__()
        self._kept = Kept()

    def clear_cache(self) -> None:
        """Forget the dense weights kept in evaluation: for changes of the factors that torch does not record."""
        for module in self.modules():
            if isinstance(module, Keeping):
                module._kept.clear()

    def train(self, mode: bool = True) -> Self:
        """Set the mode, and forget what is kept."""
        self.clear_cache()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self.clear_cache()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _load_from_state_dict(self, *args: Any) -> None:
        self.clear_cache()
        super()._load_from_state_dict(*args)


def keeps(module: nn.Module, parameters: Sequence[Tensor]) -> bool:
    """Whether a module may keep what it makes of its parameters: in evaluation, without gradients, run as it is.

    Not what traces, transforms or captures would take for a constant, and no parameters but plain ones of the module's own:
    `fully_shard` fills its own anew in each forward pass, of which their version tells nothing.
    """
    return not (
        module.training
        or torch.is_grad_enabled()
        or is_traced()
        or torch._C._len_torch_dispatch_stack()
        or "_is_fsdp_managed_module" in module.__dict__
        or any(type(one) is not nn.Parameter or one.is_inference() for one in parameters)
        or (parameters[0].is_cuda and torch.cuda.is_current_stream_capturing())
    )


def precision(like: Tensor) -> torch.dtype | None:
    """Precision of what is multiplied out under autocast on the device of a tensor; None without."""
    return torch.get_autocast_dtype(like.device.type) if autocasts(like) else None


def is_traced() -> bool:
    """Whether something else than this program's own run takes its steps in."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or is_transformed()  # type: ignore[attr-defined, no-untyped-call]


def is_transformed() -> bool:
    """Whether a transform of `torch.func` or forward-mode differentiation runs the program."""
    return torch._C._are_functorch_transforms_active() or torch.autograd.forward_ad._current_level >= 0
