"""Compressed models in folders, their structure as JSON beside their state, and files of the command line in layers."""

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tensorly_rnn import files
from tensorly_rnn.files import _numbers
from tensorly_rnn.files._container import Stored, as_path, read, write
from tensorly_rnn.files._replacing import replacing
from tensorly_rnn.formats import FactorizedMatrix, TTMatrix
from tensorly_rnn.nn._arguments import check_module
from tensorly_rnn.nn._sharded import gather_full
from tensorly_rnn.nn.conversion.selection import CONVERSIONS
from tensorly_rnn.nn.conversion.structure import (
    VERSION,
    described,
    find,
    joined,
    skeleton,
    structure_of,
    with_structure,
)
from tensorly_rnn.nn.recurrent_module import RecurrentModule
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.initialization import DENSE_NAMES
from tensorly_rnn.recurrent.layout import Layout

#: Files of a folder.
STRUCTURE, TENSORS = "structure.json", "model.safetensors"
#: Names of dtypes in safetensors -> in torch.
DTYPES: dict[str, torch.dtype] = {
    **{name: torch.from_numpy(np.empty(0, numpy)).dtype for name, numpy in _numbers.DTYPES.items()},
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}


def save_factorized(model: nn.Module, folder: str | os.PathLike[str]) -> None:
    """Write a compressed model to a folder, from which `load_factorized` makes it again.

    The folder has two files: ``structure.json`` with the result of `structure_of`, and ``model.safetensors`` with the state
    dict. Tensors that are one in the model are written once.

    Parameters
    ----------
    model : nn.Module
        For example the result of `factorize_module`. Not changed.
    folder : str or path
        Made if it does not exist; files in it are replaced once the new ones are complete.

    Raises
    ------
    OSError
        If a file cannot be written.
    TypeError, ValueError
        If an argument has a wrong type, the state has entries other than tensors of a dtype of safetensors, or a weight in
        factors has other parametrizations besides.

    See Also
    --------
    load_factorized

    Examples
    --------
    >>> import tempfile
    >>> from tensorly_rnn.nn import factorize_module
    >>> small, _ = factorize_module(nn.LSTM(40, 64), factorization="tt", compression_ratio=20, decompose="layerwise")
    >>> folder = tempfile.mkdtemp()
    >>> save_factorized(small, folder)
    >>> again = load_factorized(folder)
    >>> all(torch.equal(one, again.state_dict()[name]) for name, one in small.state_dict().items())
    True
    """
    check_module("model", model)
    folder, structure = as_path("folder", folder), structure_of(model)
    state = model.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, Tensor) or tensor.dtype not in DTYPES.values() or tensor.is_meta:
            got = f"{tensor.dtype} on {tensor.device}" if isinstance(tensor, Tensor) else type(tensor).__name__
            raise TypeError(f"model must have a state of tensors in memory, of dtypes of safetensors; got {got} at {name!r}.")
    tensors = {name: _to_stored(state[name]) for name in dict.fromkeys(_first_names(state).values())}
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / TENSORS) as file, replacing(folder / STRUCTURE) as text:
        write(file, tensors, {"format": "pt"})
        text.write(json.dumps(structure, indent=1).encode())


def load_factorized(path: str | os.PathLike[str], model: nn.Module | None = None) -> nn.Module:
    """Load a compressed model that `save_factorized` wrote, or a file of ``tensorly-rnn compress`` into layers in factors.

    Parameters
    ----------
    path : str or path
        A folder of `save_factorized`, or a safetensors file with factors of the weights of `model`.
    model : nn.Module, optional
        A dense model of the class that was compressed. Not changed. Not needed for a folder whose model is one layer, or
        layers of torch and of this package in `torch.nn.Sequential`.

    Returns
    -------
    nn.Module
        A copy of `model` with its devices, dtypes, modes and ``requires_grad``, and with the structure and the state that
        were saved; without `model` with the dtypes that were saved, on the CPU.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    OSError
        If a file cannot be read or is missing.
    TypeError, ValueError
        If an argument has a wrong type, a file has other content, `model` is needed, or is not of the class and the sizes
        that were compressed.

    Notes
    -----
    Nothing in the files is executed: they contain numbers and JSON only. Layers of a file become layers in factors
    (`torch.nn.LSTM` a `FactorizedLSTM`); all other weights, such as those of embeddings, are parametrized by `factorized`.
    Where a recurrent layer needs a weight in factors that is dense in the file, it has one factor, the matrix.

    See Also
    --------
    save_factorized, with_structure
    """
    path = as_path("path", path)
    if model is not None:
        check_module("model", model)
        if any(parameter.is_meta for parameter in model.parameters()):
            raise ValueError("model must be in memory; got parameters on the meta device. Call model.to_empty(device='cpu').")
    if path.is_dir():
        structure, state = _read_folder(path)
        start = skeleton(structure) if model is None else model
    else:
        matrices, state, start = files.load_factorized(path), _read_state(path), model
        if start is not None:
            structure, state = _of_matrices(start, matrices, state)
    if start is None:
        raise ValueError(
            f"model must be given for {str(path)!r}; expected a new, dense model of the class that was compressed, got None. "
            "Call load_factorized(path, model)."
        )
    loaded = with_structure(start, structure)
    try:
        loaded.load_state_dict(_state_for(loaded, structure, state), assign=model is None)
    except RuntimeError as reason:
        raise ValueError(
            f"model must be of the class and the sizes that were compressed, to hold what {str(path)!r} does: "
            f"{' '.join(str(reason).split())}"
        ) from None
    return loaded


def _read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the structure and the state of a folder."""
    for name in (STRUCTURE, TENSORS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"path must be a folder of save_factorized; expected {name} in it, got {str(folder)!r}.")
    try:
        structure = json.loads((folder / STRUCTURE).read_bytes())
    except (RecursionError, ValueError) as reason:
        raise ValueError(
            f"path must have a structure as save_factorized writes it; got {str(folder / STRUCTURE)!r}: {reason}."
        ) from None
    return structure, _read_state(folder / TENSORS)


def _read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file."""
    return {name: _to_tensor(name, one) for name, one in read(path)[0].items()}


def _of_matrices(
    model: nn.Module, given: Mapping[str, FactorizedMatrix], state: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the structure of a model with layers in factors for matrices in factors, and its state."""
    state, matrices = dict(state), dict(given)
    modules: dict[str, Any] = {}
    for parent in dict.fromkeys(path.rpartition(".")[0] for path in given):
        ours = CONVERSIONS.get(type(find(model, parent)))
        if ours is None:
            continue
        entry = {"class": ours.__name__, "arguments": {}}
        if issubclass(ours, RecurrentModule):
            layerwise = any(one.startswith(joined(parent, DENSE_NAMES[1])) for one in given)
            entry["arguments"] = {"decompose": "layerwise" if layerwise else "input"}
            needed = tuple(joined(parent, one) for one in DENSE_NAMES[: 1 + layerwise])
            for dense in [one for one in state if one.startswith(needed) and ".factors." not in one]:
                matrices[dense] = TTMatrix([state.pop(dense)[None, :, :, None]])
                state[f"{dense}.factors.0"] = matrices[dense].factors[0]
        modules[parent] = entry
    weights = {}
    for path, matrix in matrices.items():
        if matrix.format != type(matrix).format:
            raise ValueError(f"path must hold factors of {type(matrix).format}; got {matrix.format} at {path!r}.")
        parent, _, name = path.rpartition(".")
        cell = getattr(CONVERSIONS.get(type(find(model, parent))), "cell", None)
        n_gates = cell.n_gates if cell and name.startswith(DENSE_NAMES) else 1
        layout = _with_gates(GatedWeight.of_format(matrix).layout, n_gates)
        weights[path] = described(matrix.name, matrix.rank, layout)
    return {"version": VERSION, "modules": modules, "weights": weights}, state


def _with_gates(layout: Layout, n_gates: int) -> Layout:
    """Return an equal layout with the gates on the first mode, if that mode and the rows are divisible by them."""
    first, *others = layout.out_modes
    if layout.n_gates > 1 or first % n_gates or math.prod(layout.out_modes) > layout.rows:
        return layout
    return dataclasses.replace(layout, rows=layout.rows // n_gates, out_modes=(first // n_gates, *others), n_gates=n_gates)


def _first_names(state: Mapping[str, Tensor]) -> dict[str, str]:
    """Return for every name of a state the first name of the same tensor."""
    first: dict[Any, str] = {}
    keys = {
        # Empty tensors and those on the meta device have no address.
        name: (one.data_ptr(), one.dtype, one.shape, one.stride()) if isinstance(one, Tensor) and one.data_ptr() else name
        for name, one in state.items()
    }
    return {name: first.setdefault(key, name) for name, key in keys.items()}


def _state_for(model: nn.Module, structure: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state with factors of parametrized weights under the names of torch, and tensors that are one by all names."""
    names = {name: name for name in state}
    for path in structure["weights"]:
        parent, _, own = path.rpartition(".")
        if parametrize.is_parametrized(find(model, parent), own):
            prefix = joined(parent, f"parametrizations.{own}.original")
            names |= {name: prefix + name.rpartition(".")[2] for name in state if name.startswith(f"{path}.factors.")}
    found = {names[name]: tensor for name, tensor in state.items()}
    first = _first_names(model.state_dict())
    given = {first[name]: found[name] for name in found if name in first}
    return found | {name: given[one] for name, one in first.items() if one in given and name not in found}


def _to_stored(tensor: Tensor) -> Stored:
    flat = gather_full(tensor.detach()).cpu().contiguous().reshape(-1)
    name = next(name for name, dtype in DTYPES.items() if dtype == flat.dtype)
    return Stored(name, tuple(tensor.shape), flat.view(torch.uint8).numpy())


def _to_tensor(name: str, stored: Stored) -> Tensor:
    if stored.dtype not in DTYPES:
        raise ValueError(f"path must hold tensors of {tuple(DTYPES)}; got {stored.dtype} at {name!r}.")
    return torch.from_numpy(np.array(stored.data)).view(DTYPES[stored.dtype]).reshape(stored.shape)
