"""Cache of arrays computed from parameters, valid until a parameter changes."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from tensorly_rnn.nn._torch_context import is_traced

#: Largest number of entries of one cache; entries for other shapes of the input share their arrays.
MAX_ENTRIES = 64


class WeightCache:
    """Results of functions of parameters; copies and unpickled instances are empty.

    A parameter has changed if it is another object, or has another version or memory address.
    """

    def __init__(self) -> None:
        self.times_cleared = 0
        self.clear()

    def clear(self) -> None:
        """Remove all entries."""
        self.times_cleared += 1
        # One assignment, so that threads never combine arrays with other parameters.
        self._entry: tuple[list[Any], list[Any], dict[Hashable, Any]] = ([], [], {})

    def get(
        self, key: Hashable, parameters: Sequence[Tensor], make: Callable[[], Any], sources: Sequence["WeightCache"] = ()
    ) -> Any:
        """Return the entry of a key, computed without gradients if it is missing or a parameter or source has changed."""
        marks: list[Any] = [(id(one), one._version, one.data_ptr()) for one in parameters]
        marks += [source.times_cleared for source in sources]
        entry = self._entry
        if marks != entry[1]:
            # References to the parameters keep their ids from being reused.
            self._entry = entry = (list(parameters), marks, {})
        made = entry[2]
        if key not in made:
            if len(made) >= MAX_ENTRIES:
                made.clear()
            # Inference tensors cannot be used outside of inference mode.
            with torch.inference_mode(False), torch.no_grad():
                made[key] = make()
        return made[key]

    def __reduce__(self) -> tuple[type["WeightCache"], tuple[()]]:
        return WeightCache, ()


class CachingModule(nn.Module):
    """A module with a cache, which is cleared by every change of mode, device, dtype or state."""

    def __init__(self) -> None:
        super().__init__()
        self._cache = WeightCache()

    def clear_cache(self) -> None:
        """Clear the cached dense weights; needed after changes of the factors that torch does not record."""
        for module in self.modules():
            if isinstance(module, CachingModule):
                module._cache.clear()

    def train(self, mode: bool = True) -> Self:
        """Set the mode and clear the cache."""
        self.clear_cache()
        return super().train(mode)

    def _apply(self, *args: Any, **kwargs: Any) -> Self:
        self.clear_cache()
        return super()._apply(*args, **kwargs)  # type: ignore[no-untyped-call]

    def __prepare_scriptable__(self) -> None:
        raise TypeError(
            f"module must not be compiled by torch.jit.script, which cannot read contractions; got {type(self).__name__}. "
            "Use torch.jit.trace(module, x) or torch.export.export(module, (x,)), or script the dense layer that to_linear(), "
            "to_lstm(), to_gru(), to_rnn() or to_cell() returns."
        )

    def _load_from_state_dict(self, *args: Any) -> None:
        self.clear_cache()
        super()._load_from_state_dict(*args)


def may_cache(module: nn.Module, parameters: Sequence[Tensor]) -> bool:
    """Return whether a module may cache results: in evaluation mode, without gradients, tracing, transforms or capture.

    Parameters of other types are excluded, and so are modules under `fully_shard`, which overwrites the parameters in every
    forward pass without a change of their version.
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
