"""Arguments of the constructors of layers, read from their attributes."""

import inspect
from collections.abc import Mapping
from typing import Any, get_args

from torch import nn
from torch.nn.utils import parametrize

from tensorly_rnn.nn.conversion.selection import CONVERSIONS

#: Arguments for the place of the parameters.
PLACE = {"device", "dtype"}


def argument_names(cls: type) -> dict[str, bool]:
    """Return the names of the arguments of a constructor, and whether each is by keyword only."""
    names: dict[str, bool] = {}
    for one in inspect.signature(cls).parameters.values():
        if one.kind is one.VAR_KEYWORD:
            # Unpack[Options] lists the names; plain **kwargs do not.
            options = next(iter(get_args(one.annotation)), None)
            names |= dict.fromkeys(getattr(options, "__annotations__", {}), True)
        elif one.kind is not one.VAR_POSITIONAL and not one.name.startswith("_"):
            names[one.name] = one.kind is one.KEYWORD_ONLY
    return names


def layer_arguments(layer: nn.Module) -> dict[str, Any]:
    """Return the arguments of the constructor of a layer that are its attributes, without device and dtype."""
    cls = parametrize.type_before_parametrizations(layer)
    # The recurrent layers of torch hide their arguments, which ours have too.
    names = [name for name in argument_names(CONVERSIONS.get(cls, cls)) if name not in PLACE and hasattr(layer, name)]
    found = {name: getattr(layer, name) for name in names}
    # An argument that is a flag may be an attribute that holds the parameter.
    return found | ({"bias": found["bias"] is not None and found["bias"] is not False} if "bias" in found else {})


def make_layer(cls: type[nn.Module], arguments: Mapping[str, Any]) -> nn.Module:
    """Return a layer on the meta device; dropout is set afterwards, as constructors may warn about it."""
    given = {name: value for name, value in arguments.items() if name != "dropout"}
    if "device" in argument_names(CONVERSIONS.get(cls, cls)):
        given["device"] = "meta"
    layer = cls(**given)
    if "dropout" in arguments:
        layer.dropout = arguments["dropout"]
    return layer
