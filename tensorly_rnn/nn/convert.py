"""Dense layers inside any model replaced by layers in factors."""

import copy
import inspect
import math
import numbers
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor, nn

from tensorly_rnn._checks import BudgetError, one_of, spoken_by
from tensorly_rnn.decomposition._decompose import Settings
from tensorly_rnn.nn.calibration import Names, collect_inputs
from tensorly_rnn.nn.linear import FactorizedLinear
from tensorly_rnn.nn.recurrent import FactorizedGRU, FactorizedLSTM, FactorizedRNN
from tensorly_rnn.nn.recurrent_cells import FactorizedGRUCell, FactorizedLSTMCell, FactorizedRNNCell
from tensorly_rnn.nn.report import ConversionReport, WeightReport
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.starts import DECOMPOSE
from tensorly_rnn.recurrent.weight import GatedWeight

#: torch's class -> ours and the name of its method that takes torch's. Subclasses are left alone: they may do otherwise.
CONVERSIONS: dict[type[nn.Module], tuple[type[nn.Module], str]] = {
    nn.Linear: (FactorizedLinear, "from_linear"),
    nn.RNN: (FactorizedRNN, "from_rnn"),
    nn.GRU: (FactorizedGRU, "from_gru"),
    nn.LSTM: (FactorizedLSTM, "from_lstm"),
    nn.RNNCell: (FactorizedRNNCell, "from_cell"),
    nn.GRUCell: (FactorizedGRUCell, "from_cell"),
    nn.LSTMCell: (FactorizedLSTMCell, "from_cell"),
}
SETTINGS = tuple(Settings.__dataclass_fields__)
PARTS = ("weight_ih", "weight_hh")
HOOKS = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")


def factorize_module(
    model: nn.Module,
    pattern: Any = None,
    *,
    factorization: str = "ht",
    rank: Any = None,
    eps: float | None = None,
    n_param: int | None = None,
    compression_ratio: float | None = None,
    decompose: str = "input",
    min_size: int = 0,
    calibration: Any = None,
    executor: Executor | None = None,
    inplace: bool = False,
    **options: Any,
) -> tuple[nn.Module, ConversionReport]:
    """Replace the linear and recurrent layers and cells inside a model by those with their weights in factors.

    Parameters
    ----------
    model : nn.Module
        Any model, or one layer.
    pattern : str, re.Pattern or sequence of these, optional
        Which layers, by their names in ``model.named_modules()``: a str as in a shell (``"encoder.*"``), a compiled regular
        expression searched for. Default: all.
    factorization : str
        Name of the format.
    rank, eps, n_param, compression_ratio
        What is asked of each weight, as in `tensorly_rnn.factorize`; one of them, or eps with a rank.
    decompose : {'input', 'layerwise', 'full'}
        Which weights of a recurrent layer or cell.
    min_size : int
        Layers with fewer parameters are left alone.
    calibration : Tensor, tuple, dict or callable, optional
        Typical inputs of the model, to whose effect in each layer the factors are refitted
        (`tensorly_rnn.decomposition.calibrate`): its argument, its arguments by position or by name, or a function that is
        called with the model and runs it as often as it likes. An eps holds before the refit.
    executor : concurrent.futures.Executor, optional
        Where the weights are decomposed, side by side: a pool of threads or processes, Dask's ``client.get_executor()``.
        They travel as NumPy arrays; results are those of no executor.
    inplace : bool
        Whether to replace the layers in `model` itself. Otherwise it is copied, without the weights that are replaced;
        a pruned model, which torch cannot copy, only goes so.
    **options
        Of the layers (``implementation``, ``gate_mode``, ``in_modes``, ...; each class gets those that it has) and of the
        decomposition (``n_starts``, ``n_iter_max``, ``random_state``, ...).

    Returns
    -------
    (nn.Module, ConversionReport)
        The model with the same modes, devices, dtypes and ``requires_grad``; what was replaced, and what was kept and why.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong form, or a weight is not finite; `model` is then unchanged.

    Notes
    -----
    A layer is kept if the budget leaves no room for rank 1, or if its factors would be no smaller (unless
    ``rank='full'``); if it has hooks, or weights computed from others (weight norm, pruning); and if it shares a parameter
    with another layer. A module that stands in several places is replaced once, by one module.

    Calibration takes the products of the inputs of every weight: rows times columns of up to twice its width, in double
    precision. Inputs are those of the dense model.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> small, report = factorize_module(model, factorization="tt", compression_ratio=4, min_size=1000)
    >>> type(small[0]).__name__, type(small[2]).__name__
    ('FactorizedLinear', 'Linear')
    >>> [(row.name, row.n_param_before) for row in report]
    [('0.weight', 4096)]
    """
    function = "factorize_module"
    if not isinstance(model, nn.Module):
        raise TypeError(f"{function}: model must be a torch.nn.Module; got {type(model).__name__}.")
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(f"{function}: executor must be a concurrent.futures.Executor; got {type(executor).__name__}.")
    if isinstance(min_size, bool) or not isinstance(min_size, numbers.Integral) or min_size < 0:
        raise ValueError(f"{function}: min_size must be an integer of at least 0; got {min_size!r}.")
    if not (calibration is None or isinstance(calibration, (Tensor, tuple, dict)) or callable(calibration)):
        raise TypeError(
            f"{function}: calibration must be what the model takes; expected a Tensor, a tuple or dict of arguments, or a "
            f"function of the model, got {type(calibration).__name__}."
        )
    budget = {"rank": rank, "eps": eps, "n_param": n_param, "compression_ratio": compression_ratio}
    asked, layer_options = _asked(function, budget, {"decompose": decompose, **options})
    layers, rows = [], {}
    shared = _shared_parameters(model)
    for name, module in _selected(function, model, pattern, int(min_size)):
        note = _why_not(module, shared)
        if note:
            rows[name] = [_kept(name, module, note)]
            continue
        with _of_layer(function, name):
            layers.append(_Layer(name, module, _empty(module, factorization, layer_options)))
    inputs = None
    if calibration is not None:
        inputs = collect_inputs(model, calibration, {one.module: list(one.weights) for one in layers})
    replacements: dict[int, nn.Module] = {}
    for layer, found in zip(layers, _decomposed(function, layers, asked, inputs, executor)):
        rows[layer.name], replacement = _finished(layer, found, inputs, exact=isinstance(rank, str) and rank == "full")
        if replacement is not None:
            replacements[id(layer.module)] = replacement
    order = {name: number for number, (name, _) in enumerate(model.named_modules())}
    before = sum(parameter.numel() for parameter in model.parameters())
    converted = _replaced(model, replacements, inplace)
    after = sum(parameter.numel() for parameter in converted.parameters())
    in_order = (row for name in sorted(rows, key=order.__getitem__) for row in rows[name])
    return converted, ConversionReport(tuple(in_order), before, after)


@dataclass
class _Layer:
    """A dense layer, what is to take its place, and the dense weights that each of its factorized weights stands for."""

    name: str
    module: nn.Module
    empty: nn.Module
    weights: dict[Names, FactorizedWeight] = field(init=False)

    def __post_init__(self) -> None:
        # A weight of two parts stands for that of x and that of h.
        self.weights = {
            (name,) if len(weight.widths) == 1 else tuple(name.replace("weight", part) for part in PARTS): weight
            for name, weight in self.empty.named_children()
            if isinstance(weight, FactorizedWeight)
        }

    def dense(self, names: Names) -> list[np.ndarray]:
        """The dense weights of these names."""
        return [_array(getattr(self.module, name)) for name in names]


def _asked(function: str, budget: dict[str, Any], options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split what was asked into arguments of the decomposition and options of layers."""
    given = {name: value for name, value in budget.items() if value is not None}
    if not given or (len(given) > 1 and set(given) != {"rank", "eps"}):
        raise ValueError(
            f"{function}: rank, eps, n_param or compression_ratio must be given, and one of them only (or eps with a rank); "
            f"got {given or 'none'}."
        )
    ratio = given.get("compression_ratio", 1.0)
    if isinstance(ratio, bool) or not isinstance(ratio, numbers.Real) or not 0 < float(ratio) < math.inf:
        raise ValueError(f"{function}: compression_ratio must be a positive number; got {ratio!r}.")
    seed = options.get("random_state", 0)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(
            f"{function}: random_state must be an int or None; got {type(seed).__name__}, whose draws would depend on the "
            "order of the weights."
        )
    one_of(function, "decompose", options["decompose"], DECOMPOSE)
    known = {name for ours, _ in CONVERSIONS.values() for name in _keywords(ours)}
    for name, value in options.items():
        if name not in (*SETTINGS, *known):
            raise TypeError(f"{function}: {name} must be an option of a layer or a decomposition; got {name}={value!r}.")
    settings = {name: value for name, value in options.items() if name in SETTINGS}
    return {**given, **settings}, {name: value for name, value in options.items() if name not in SETTINGS}


def _keywords(cls: type) -> tuple[str, ...]:
    """Options of a layer that a conversion does not set itself."""
    taken = ("factorization", "rank", "forget_bias", "device", "dtype")
    names: list[str] = []
    for one in inspect.signature(cls).parameters.values():
        if one.kind is one.KEYWORD_ONLY:
            names.append(one.name)
        elif one.kind is one.VAR_KEYWORD:
            names += get_args(one.annotation)[0].__annotations__
    return tuple(name for name in names if name not in taken)


def _selected(function: str, model: nn.Module, pattern: Any, min_size: int) -> Iterator[tuple[str, nn.Module]]:
    """Layers to be replaced, each once, by the first of its names."""
    patterns = () if pattern is None else (pattern,) if isinstance(pattern, (str, re.Pattern)) else pattern
    if not isinstance(patterns, Sequence) or not all(isinstance(one, (str, re.Pattern)) for one in patterns):
        raise TypeError(
            f"{function}: pattern must be a name pattern; expected str, re.Pattern or a sequence of these, got {pattern!r}."
        )

    def matches(name: str) -> bool:
        return any(fnmatchcase(name, one) if isinstance(one, str) else bool(one.search(name)) for one in patterns)

    names: dict[nn.Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        if type(module) in CONVERSIONS:
            names.setdefault(module, []).append(name)
    chosen = [(own[0], module) for module, own in names.items() if pattern is None or any(map(matches, own))]
    if pattern is not None and not chosen:
        known = [name for own in names.values() for name in own]
        raise ValueError(f"{function}: pattern must match a layer; expected some of {known}, got {pattern!r}.")
    for name, module in chosen:
        if sum(parameter.numel() for parameter in module.parameters()) >= min_size:
            yield name, module


def _shared_parameters(model: nn.Module) -> set[int]:
    """Parameters that two modules hold."""
    held = Counter(id(one) for module in model.modules() for one in module._parameters.values() if one is not None)
    return {one for one, times in held.items() if times > 1}


def _why_not(module: nn.Module, shared: set[int]) -> str:
    """Why a layer cannot be replaced, or nothing."""
    own = PARTS if isinstance(module, nn.RNNCellBase) else getattr(module, "_flat_weights_names", ("weight",))
    if not all(name in module._parameters for name in own):
        return "its weights are computed from others"
    if any(getattr(module, kind) for kind in HOOKS):
        return "it has hooks"
    if any(id(parameter) in shared for parameter in module.parameters()):
        return "it shares a parameter with another layer"
    if any(parameter.is_meta for parameter in module.parameters()):
        return "its weights are on the meta device"
    return ""


def _empty(module: nn.Module, factorization: str, options: dict[str, Any]) -> nn.Module:
    """The layer in factors that is to take a dense one's place, of rank 1 and on the meta device."""
    ours, method = CONVERSIONS[type(module)]
    shapes = {
        id(one): nn.Parameter(torch.empty_like(one, device="meta"), requires_grad=one.requires_grad)
        for one in module.parameters()
    }
    own = {name: value for name, value in options.items() if name in _keywords(ours)}
    return getattr(ours, method)(copy.deepcopy(module, shapes), factorization=factorization, rank=1, **own)


def _decomposed(
    function: str, layers: list[_Layer], asked: dict[str, Any], inputs: dict[Any, np.ndarray] | None, executor: Executor | None
) -> Iterator[dict[Names, GatedWeight] | str]:
    """Decompose the weights of all layers; in place of a layer's weights the reason where the budget does not suffice."""
    executor = executor or _Serial()
    jobs = []
    for layer in layers:
        for names, weight in layer.weights.items():
            rows = None if inputs is None else inputs.get((layer.module, names))
            parts = None if rows is None else np.split(rows, np.cumsum(weight.widths)[:-1], axis=1)
            rank, settings = _of_weight(weight, asked)
            arguments = (layer.dense(names), weight.layout, weight.format.name, rank, parts)
            jobs.append(executor.submit(GatedWeight.from_matrices, *arguments, **settings))
    try:
        remaining = iter(jobs)
        for layer in layers:
            found: dict[Names, GatedWeight] = {}
            reason = ""
            for names, job in zip(layer.weights, remaining):
                try:
                    with _of_layer(function, layer.name):
                        found[names] = job.result()
                except BudgetError as error:
                    least = re.search(r"(at least \d+ parameters).*(, got \d+)", str(error))
                    reason = f"expected {least[1]}{least[2]}" if least else str(error)
            yield reason or found
    finally:
        for job in jobs:
            job.cancel()


class _Serial(Executor):
    """One job after the other, at once."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future:
        future: Future = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except (TypeError, ValueError) as error:
            future.set_exception(error)
        return future


@contextmanager
def _of_layer(function: str, name: str) -> Iterator[None]:
    """Let errors from within name the function and the layer."""
    try:
        with spoken_by(function):
            yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error} (at layer {name!r})") from None


def _of_weight(weight: FactorizedWeight, asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Rank and other arguments of the decomposition of one weight."""
    settings = dict(asked)
    rank = settings.pop("rank", None)
    if isinstance(rank, numbers.Integral) and not isinstance(rank, bool) and int(rank) > 0:
        # One rank for weights of all sizes: where it is more than a weight can have, the report says so.
        rank = weight.format.uniform_rank(weight.tensorized_shape, int(rank), **weight.layout.rank_options)
    return rank, settings


def _finished(
    layer: _Layer, found: dict[Names, GatedWeight] | str, inputs: dict[Any, np.ndarray] | None, exact: bool
) -> tuple[list[WeightReport], nn.Module | None]:
    """Rows of the report, and the layer in factors with its numbers, or None where the dense one is kept."""
    if isinstance(found, str):
        return [_kept(layer.name, layer.module, f"the budget is too small: {found}")], None
    before = sum(math.prod(weight.shape) for weight in layer.weights.values())
    after = sum(weight.network.n_param for weight in found.values())
    if after >= before and not exact:
        return [_kept(layer.name, layer.module, f"no smaller: {after:,} parameters in place of {before:,}")], None
    rows = []
    like = next(layer.module.parameters())
    replacement = layer.empty.to_empty(device=like.device)
    for names, weight in layer.weights.items():
        one = found[names]
        dense = layer.dense(names)
        sample = None if inputs is None else inputs.get((layer.module, names))
        error, output_error = _errors(dense, [one.matrix(part) for part in range(len(dense))], sample)
        weight.load(one.with_factors([torch.tensor(factor) for factor in one.factors]))
        for factor in weight.factors:
            factor.requires_grad_(any(getattr(layer.module, name).requires_grad for name in names))
        own = next(name for name, child in replacement.named_children() if child is weight)
        rows.append(
            WeightReport(
                f"{layer.name}.{own}".lstrip("."),
                math.prod(weight.shape),
                weight.n_param,
                weight.format.name,
                weight.rank,
                error,
                output_error,
                "" if inputs is None or sample is not None else "the calibration does not reach it",
            )
        )
    with torch.no_grad():
        for name, parameter in replacement.named_parameters():
            if ".factors." not in name:
                given = getattr(layer.module, name)
                parameter.copy_(given)
                parameter.requires_grad_(given.requires_grad)
    return rows, replacement.train(layer.module.training)


def _errors(dense: list[np.ndarray], found: list[np.ndarray], sample: np.ndarray | None) -> tuple[float, float | None]:
    matrix, other = (np.concatenate(parts, axis=1).astype(np.float64) for parts in (dense, found))

    def relative(difference: np.ndarray, whole: np.ndarray) -> float:
        norm = float(np.linalg.norm(whole))
        return float(np.linalg.norm(difference)) / norm if norm else 0.0

    outputs = None if sample is None else relative(sample @ (matrix - other).T, sample @ matrix.T)
    return relative(matrix - other, matrix), outputs


def _kept(name: str, module: nn.Module, note: str) -> WeightReport:
    n_param = sum(parameter.numel() for parameter in module.parameters())
    return WeightReport(name or type(module).__name__, n_param, n_param, note=note)


def _replaced(model: nn.Module, replacements: dict[int, nn.Module], inplace: bool) -> nn.Module:
    if not inplace:
        # What is in the memo counts as copied: nothing of the replaced layers is.
        return copy.deepcopy(model, dict(replacements))
    for parent in list(model.modules()):
        for name, child in parent._modules.items():
            parent._modules[name] = replacements.get(id(child), child)
    return replacements.get(id(model), model)


def _array(parameter: Tensor) -> np.ndarray:
    given = parameter.detach().cpu()
    # NumPy has no bfloat16.
    return (given.float() if given.dtype == torch.bfloat16 else given).numpy()
