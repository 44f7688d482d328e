"""Selection of the layers of a model to replace."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from tensorly_rnn.nn._sharded import is_sharded
from tensorly_rnn.nn.linear import FactorizedLinear
from tensorly_rnn.nn.recurrent import FactorizedGRU, FactorizedLSTM, FactorizedRNN
from tensorly_rnn.nn.recurrent_cells import FactorizedGRUCell, FactorizedLSTMCell, FactorizedRNNCell
from tensorly_rnn.recurrent.initialization import DENSE_NAMES

#: Class of torch -> class in factors. Subclasses may behave differently and are excluded.
CONVERSIONS: dict[type[nn.Module], type[nn.Module]] = {
    nn.Linear: FactorizedLinear,
    nn.RNN: FactorizedRNN,
    nn.GRU: FactorizedGRU,
    nn.LSTM: FactorizedLSTM,
    nn.RNNCell: FactorizedRNNCell,
    nn.GRUCell: FactorizedGRUCell,
    nn.LSTMCell: FactorizedLSTMCell,
}
#: Dtypes of weights that can be decomposed.
FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def select_layers(model: nn.Module, pattern: Any, min_size: int) -> Iterator[tuple[str, nn.Module]]:
    """Yield the selected layers, each once, with the first of its names."""
    patterns = () if pattern is None else (pattern,) if isinstance(pattern, (str, re.Pattern)) else pattern
    if not isinstance(patterns, Sequence) or not all(isinstance(one, (str, re.Pattern)) for one in patterns):
        raise TypeError(f"pattern must be a name pattern; expected str, re.Pattern or a sequence of these, got {pattern!r}.")

    def matches(name: str) -> bool:
        return any(fnmatchcase(name, one) if isinstance(one, str) else bool(one.search(name)) for one in patterns)

    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if _is_dense_layer(module):
            names.setdefault(module, []).append(name)
    chosen = [(own[0], module) for module, own in names.items() if pattern is None or any(map(matches, own))]
    if pattern is not None and not chosen:
        known = [name for own in names.values() for name in own]
        raise ValueError(f"pattern must match a layer; expected some of {known}, got {pattern!r}.")
    for name, module in chosen:
        if count_parameters(module) >= min_size:
            yield name, module


def count_parameters(module: nn.Module) -> int:
    """Return the number of entries of all parameters that are initialized."""
    return sum(parameter.numel() for parameter in module.parameters() if not is_lazy(parameter))


def shared_parameters(model: nn.Module) -> set[int]:
    """Return the ids of parameters that belong to several modules."""
    owned = [one for module in model.modules() for one in module._parameters.values() if one is not None]
    return {one for one, count in Counter(map(id, owned)).items() if count > 1}


def reason_to_keep(module: nn.Module, shared: set[int]) -> str:
    """Return the reason why a layer cannot be replaced, or an empty str."""
    if isinstance(module, torch.jit.ScriptModule):
        return "it is compiled by TorchScript: convert the model before"
    parameters = list(module.parameters())
    if any(map(is_lazy, parameters)):
        return "its parameters are not initialized: run the model once before"
    if any(name not in module._parameters for name in _parameter_names(module)):
        return "its weights are computed from others"
    if type(module) not in CONVERSIONS:
        return f"its class {type(module).__name__} may compute something else"
    if any(getattr(module, kind) for kind in HOOKS):
        return "it has hooks"
    if any(id(parameter) in shared for parameter in parameters):
        return "it shares a parameter with another layer"
    if any(parameter.is_meta for parameter in parameters):
        return "its weights are on the meta device"
    if any(map(is_sharded, parameters)):
        return "its weights are sharded: convert the model before fully_shard"
    if any(parameter.layout is not torch.strided or parameter.dtype not in FLOATS for parameter in parameters):
        first = parameters[0]
        return f"its weights are {first.layout if first.layout is not torch.strided else first.dtype}"
    if any(parameter.numel() == 0 for parameter in parameters):
        return "a weight has no entries"
    return ""


def _is_dense_layer(module: nn.Module) -> bool:
    """Return whether a module is a layer of torch to replace or to report, also of a subclass or compiled by TorchScript."""
    compiled = isinstance(module, torch.jit.ScriptModule) and any(
        getattr(module, "original_name", "") == one.__name__ for one in CONVERSIONS
    )
    return compiled or isinstance(module, tuple(CONVERSIONS))


def _parameter_names(module: nn.Module) -> Sequence[str]:
    """Return the names of the parameters of a layer of torch, as its constructor registers them."""
    if isinstance(module, nn.RNNCellBase):
        return (*DENSE_NAMES, "bias_ih", "bias_hh")
    names: Sequence[str] = getattr(module, "_flat_weights_names", ("weight", "bias"))
    return names
