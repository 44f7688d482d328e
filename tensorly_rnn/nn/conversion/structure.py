"""The structure of a compressed model as plain data, and dense models converted to it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tensorly_rnn._checks import plain
from tensorly_rnn.files.factorized import as_tuples
from tensorly_rnn.nn._arguments import check_module
from tensorly_rnn.nn.conversion.arguments import PLACE, argument_names, layer_arguments, make_layer
from tensorly_rnn.nn.conversion.dense_layers import DenseLayer, errors_at_layer
from tensorly_rnn.nn.conversion.replacement import replace_layers
from tensorly_rnn.nn.conversion.selection import CONVERSIONS
from tensorly_rnn.nn.parametrize import FactorizedParametrization, factorized
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.layout import Layout

VERSION = 1
#: Class in factors by its public name, and the class of torch of each.
LAYERS = {ours.__name__: ours for ours in CONVERSIONS.values()}
DENSE = {ours: dense for dense, ours in CONVERSIONS.items()}
#: Entries of a weight: its sizes, and what `factorized` takes.
SIZES, OPTIONS = ("rows", "widths"), ("factorization", "rank", "n_gates", "gate_mode", "out_modes", "in_modes")

#: Tables of a structure, and what their entries have.
ENTRIES = {"modules": {"class", "arguments"}, "weights": {*SIZES, *OPTIONS}}


def structure_of(model: nn.Module) -> dict[str, Any]:
    """Return the structure of a compressed model as plain data that JSON can hold.

    Parameters
    ----------
    model : nn.Module
        With layers in factors, with weights that `factorized` parametrizes, or dense.

    Returns
    -------
    dict
        ``version``; ``modules``: for the path of every layer in factors its class and the arguments of its constructor;
        ``weights``: for the path of every weight in factors its format, rank, modes and gates. If the model is a layer, or
        layers of torch and of this package in `torch.nn.Sequential`, ``modules`` has all of them.

    Raises
    ------
    TypeError, ValueError
        If `model` is not a module, or a weight has other parametrizations besides `factorized`.

    See Also
    --------
    with_structure, save_factorized

    Examples
    --------
    >>> from tensorly_rnn.nn import FactorizedLinear
    >>> structure = structure_of(FactorizedLinear(12, 8, factorization="tt", rank=2))
    >>> structure["modules"]
    {'': {'class': 'FactorizedLinear', 'arguments': {'in_features': 12, 'out_features': 8, 'bias': True}}}
    >>> structure["weights"]["weight"]["rank"], structure["weights"]["weight"]["in_modes"]
    ((1, 2, 1), (4, 3))
    """
    check_module("model", model)
    modules: dict[str, Any] = {}
    weights: dict[str, Any] = {}
    alone = _is_rebuildable(model) and not _shares_parameters(model)
    for path, module in model.named_modules():
        if isinstance(module, FactorizedWeight):
            weights[path] = {
                **described(module.format.name, module.rank, module.layout),
                "implementation": module.implementation,
            }
        cls = parametrize.type_before_parametrizations(module)
        if cls in DENSE or (alone and _is_rebuildable(module)):
            modules[path] = {"class": cls.__name__, "arguments": layer_arguments(module)}
        for name, found in _parametrizations(path, module).items():
            weights[joined(path, name)] = described(found.format.name, found.rank, found.layout)
    return {"version": VERSION, "modules": modules, "weights": weights}


def with_structure(model: nn.Module, structure: Mapping[str, Any]) -> nn.Module:
    """Return a copy of a dense model with the structure of a compressed one, whose ``state_dict`` it then loads.

    Parameters
    ----------
    model : nn.Module
        Of the class of the compressed model, dense or with layers in factors of any rank. Not changed.
    structure : mapping
        Result of `structure_of` for the compressed model, also after a conversion to JSON and back.

    Returns
    -------
    nn.Module
        With the devices, dtypes, modes and ``requires_grad`` of `model`; the factors are not initialized.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type, or `model` has no layer or weight of the same class and shape at a path.

    See Also
    --------
    structure_of, load_factorized

    Examples
    --------
    >>> from tensorly_rnn.nn import factorize_module
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> small, _ = factorize_module(model, factorization="tt", compression_ratio=4)
    >>> again = with_structure(model, structure_of(small))
    >>> again.load_state_dict(small.state_dict())
    <All keys matched successfully>
    """
    check_module("model", model)
    modules, weights = _checked(structure)
    layers = []
    for path, entry in modules.items():
        ours = LAYERS.get(entry["class"])
        module = find(model, path)
        if ours is not None and parametrize.type_before_parametrizations(module) is not ours:
            if CONVERSIONS.get(type(module)) is not ours:
                raise _unlike(path, f"a {entry['class'].removeprefix('Factorized')}", f"a {type(module).__name__}")
            with errors_at_layer(path):
                arguments = {**entry["arguments"], **layer_arguments(module)}
                like = next(module.parameters())
                empty = make_layer(ours, {**arguments, "rank": 1, "dtype": like.dtype}).to_empty(device=like.device)
                layers.append(DenseLayer(path, module, empty))
    for layer in layers:
        layer.copy_flags()
    converted = replace_layers(model, {id(layer.module): layer.empty for layer in layers}, inplace=False)
    for path, entry in weights.items():
        with errors_at_layer(path):
            _set_weight(converted, path, entry)
    return converted


def skeleton(structure: Mapping[str, Any]) -> nn.Module | None:
    """Return a dense model of the modules of a structure, on the meta device; None if the structure does not have them all."""
    modules = _checked(structure)[0]
    if "" not in modules:
        return None
    made: dict[str, nn.Module] = {}
    for path, entry in modules.items():
        with errors_at_layer(path):
            ours = LAYERS.get(entry["class"])
            cls = getattr(nn, entry["class"], None) if ours is None else DENSE[ours]
            if not isinstance(cls, type) or not issubclass(cls, nn.Module):
                raise ValueError(f"structure must have modules of torch.nn; got {entry['class']!r}.")
            names = argument_names(ours or cls)
            own = {name: value for name, value in entry["arguments"].items() if ours is None or not names[name]}
            made[path] = make_layer(cls, own)
        if path:
            parent, _, name = path.rpartition(".")
            made[parent].add_module(name, made[path])
    return made[""]


def described(factorization: str, rank: Any, layout: Layout) -> dict[str, Any]:
    """Return the arguments of `FactorizedWeight` for a weight."""
    own = {"factorization": factorization, "rank": plain(rank)}
    return own | {name: getattr(layout, name) for name in (*SIZES, *OPTIONS) if name not in own}


def find(model: nn.Module, path: str) -> Any:
    """Return the module, parameter or buffer of a model at a path."""
    found: Any = model
    for name in path.split(".") if path else ():
        found = getattr(found, name, None)
        if not isinstance(found, (nn.Module, Tensor)):
            raise _unlike(path, "a module or parameter", "none")
    return found


def joined(path: str, name: str) -> str:
    """Return the path of a name in the module at a path."""
    return f"{path}.{name}" if path else name


def _set_weight(model: nn.Module, path: str, entry: Mapping[str, Any]) -> None:
    """Put a weight in factors in place of a weight of the same shape, in factors or dense, without values."""
    parent, _, name = path.rpartition(".")
    owner = find(model, parent)
    if parametrize.is_parametrized(owner, name):
        parametrize.remove_parametrizations(owner, name)
    old = find(model, path)
    if not isinstance(old, (FactorizedWeight, Tensor)) or not isinstance(owner, nn.Module):
        raise _unlike(path, "a weight", f"a {type(old).__name__}")
    expected, got = (entry["n_gates"] * entry["rows"], sum(entry["widths"])), tuple(old.shape)
    if expected != (*got[:1], math.prod(got[1:])):
        raise _unlike(path, f"shape {expected}", f"shape {got}")
    if isinstance(old, FactorizedWeight):
        like = old.first_factor
        new = FactorizedWeight(**entry, device=like.device, dtype=like.dtype).requires_grad_(like.requires_grad)
        setattr(owner, name, new.train(old.training))
        return
    # On the meta device nothing is decomposed or drawn.
    empty = torch.empty_like(old, device="meta")
    setattr(owner, name, nn.Parameter(empty, old.requires_grad) if isinstance(old, nn.Parameter) else empty)
    factorized(owner, name, **{one: value for one, value in entry.items() if one in OPTIONS})
    _chains(owner)[name].to_empty(device=old.device).train(owner.training)


def _unlike(path: str, expected: str, got: str) -> ValueError:
    return ValueError(f"model must be of the class that was compressed; expected {expected} at {path!r}, got {got}.")


def _checked(structure: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the modules and the weights of a structure, lists as tuples."""
    if not isinstance(structure, Mapping) or not {"version", *ENTRIES} <= set(structure):
        raise TypeError(f"structure must be the result of structure_of; got {type(structure).__name__}.")
    if structure["version"] != VERSION:
        raise ValueError(f"structure must be of version {VERSION}; got {structure['version']!r}. Update tensorly_rnn.")
    for table, needed in ENTRIES.items():
        given = structure[table]
        for path, entry in given.items() if isinstance(given, dict) else [("", given)]:
            if not isinstance(path, str) or not isinstance(entry, dict) or not needed <= set(entry):
                raise ValueError(
                    f"structure must be the result of structure_of; expected {sorted(needed)} in {table} at {path!r}, "
                    f"got {entry!r}."
                )
    return as_tuples(structure["modules"]), as_tuples(structure["weights"])


def _parametrizations(path: str, module: nn.Module) -> dict[str, FactorizedParametrization]:
    """Return the weights of a module that `factorized` parametrizes, by name."""
    found = {}
    for name, chain in _chains(module).items():
        if any(isinstance(one, FactorizedParametrization) for one in chain):
            if len(chain) > 1:
                kinds = [type(one).__name__ for one in chain]
                raise ValueError(
                    f"model must have no other parametrizations of a weight in factors; got {kinds} at {joined(path, name)!r}."
                )
            found[name] = chain[0]
    return found


def _chains(module: nn.Module) -> dict[str, Any]:
    """Return the parametrizations of every parametrized tensor of a module, by name."""
    chains: Any = module.parametrizations if parametrize.is_parametrized(module) else {}
    return dict(chains.items())


def _is_rebuildable(module: nn.Module) -> bool:
    """Return whether a module can be made from its class and plain arguments."""
    if type(module) is nn.Sequential:
        return all(map(_is_rebuildable, module.children()))
    if type(module) in DENSE:
        return True
    cls = parametrize.type_before_parametrizations(module)
    children = {name for name, _ in module.named_children()} - {"parametrizations"}
    if getattr(nn, cls.__name__, None) is not cls or children or len(_parametrizations("", module)) < len(_chains(module)):
        return False
    needed = argument_names(CONVERSIONS.get(cls, cls)).items()
    found = layer_arguments(module)
    try:
        json.dumps(found)
    except TypeError:
        return False
    return all(name in found or name in PLACE or (by_keyword and cls in CONVERSIONS) for name, by_keyword in needed)


def _shares_parameters(model: nn.Module) -> bool:
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    return len(names) > len(list(model.parameters()))
