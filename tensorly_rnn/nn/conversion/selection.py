"""Selection of the layers of a model to replace."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

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
        if type(module) in CONVERSIONS:
            names.setdefault(module, []).append(name)
    chosen = [(own[0], module) for module, own in names.items() if pattern is None or any(map(matches, own))]
    if pattern is not None and not chosen:
        known = [name for own in names.values() for name in own]
        raise ValueError(f"pattern must match a layer; expected some of {known}, got {pattern!r}.")
    for name, module in chosen:
        if sum(parameter.numel() for parameter in module.parameters()) >= min_size:
            yield name, module


def shared_parameters(model: nn.Module) -> set[int]:
    """Return the ids of parameters that belong to several modules."""
    owners = Counter(id(one) for module in model.modules() for one in module._parameters.values() if one is not None)
    return {one for one, count in owners.items() if count > 1}


def reason_to_keep(module: nn.Module, shared: set[int]) -> str:
    """Return the reason why a layer cannot be replaced, or an empty str."""
    own = DENSE_NAMES if isinstance(module, nn.RNNCellBase) else getattr(module, "_flat_weights_names", ("weight",))
    if not all(name in module._parameters for name in own):
        return "its weights are computed from others"
    if any(getattr(module, kind) for kind in HOOKS):
        return "it has hooks"
    if any(id(parameter) in shared for parameter in module.parameters()):
        return "it shares a parameter with another layer"
    if any(parameter.is_meta for parameter in module.parameters()):
        return "its weights are on the meta device"
    return ""
