"""Replacement of the dense layers inside any model."""

import itertools
import math
import numbers
from concurrent.futures import Executor
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from tensorly_rnn._checks import meant, one_of
from tensorly_rnn.decomposition._decompose import Settings
from tensorly_rnn.nn._arguments import check_module
from tensorly_rnn.nn.conversion.allocation import model_budgets
from tensorly_rnn.nn.conversion.dense_layers import DenseLayer, decompose_layers, empty_layer, errors_at_layer, layer_options
from tensorly_rnn.nn.conversion.layer_inputs import collect_inputs
from tensorly_rnn.nn.conversion.replacement import dense_row, make_replacement, quality, replace_layers
from tensorly_rnn.nn.conversion.report import ConversionReport
from tensorly_rnn.nn.conversion.selection import (
    CONVERSIONS,
    count_parameters,
    reason_to_keep,
    select_layers,
    shared_parameters,
)
from tensorly_rnn.nn.mode_choice import modes_to_try
from tensorly_rnn.recurrent.initialization import checked_decompose

SETTINGS = tuple(Settings.__dataclass_fields__)


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
    scope: str = "weight",
    min_size: int = 0,
    calibration: Any = None,
    executor: Executor | None = None,
    inplace: bool = False,
    **options: Any,
) -> tuple[nn.Module, ConversionReport]:
    """Replace the linear and recurrent layers and cells inside a model by layers with their weights in factors.

    Parameters
    ----------
    model : nn.Module
        Any model, or one layer.
    pattern : str, re.Pattern or sequence of these, optional
        Names of the layers in ``model.named_modules()``: shell patterns (``"encoder.*"``) or compiled regular expressions, for
        which names are searched. Default: all.
    factorization : str
        Name of the format.
    rank, eps, n_param, compression_ratio
        Budget of each weight, as in `tensorly_rnn.factorize`, or of the whole model; one of them, or eps with a rank.
    decompose : {'input', 'layerwise', 'full'}
        Weights in factors of a recurrent layer or cell.
    scope : {'weight', 'model'}
        ``'model'``: `n_param` or `compression_ratio` is that of the whole model, with all its parameters. They are distributed
        over the weights where the sum of the relative squared errors of truncated singular value decompositions falls most for
        a parameter; of the outputs, if there is a calibration. Linear layers for which nothing is gained stay dense.
    min_size : int
        Layers with fewer parameters are skipped.
    calibration : Tensor, tuple, dict or callable, optional
        Typical inputs of the model, on which the factors of each layer are refitted (`tensorly_rnn.decomposition.calibrate`):
        its argument, its arguments by position or by name, or a function that is called with the model and runs it any number
        of times. An eps holds before the refit.
    executor : concurrent.futures.Executor, optional
        Decomposes the weights in parallel: a pool of threads or processes, or Dask's ``client.get_executor()``. Weights are
        passed as NumPy arrays; the results do not depend on the executor.
    inplace : bool
        Whether to replace the layers in `model` itself. Otherwise it is copied, without the weights that are replaced.
        torch cannot copy a pruned model, which requires ``inplace=True``.
    **options
        Arguments of the layers (``implementation``, ``gate_mode``, ``in_modes``, ...; each class gets those that it has) and
        of the decomposition (``n_starts``, ``n_iter_max``, ``random_state``, ...).

    Returns
    -------
    (nn.Module, ConversionReport)
        The model with the same modes, devices, dtypes and ``requires_grad``, and a report of replaced and kept layers.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value, or a weight is not finite; `model` is then unchanged.

    Notes
    -----
    A layer is kept, with the reason in the report, if the budget is too small for rank 1, if its factors would not be smaller
    (unless ``rank='full'``), if it has hooks or weights computed from others (weight norm, pruning), if it shares a parameter
    with another layer, if it is a subclass, compiled, sharded or not initialized, or if its weights are empty or of a dtype
    other than a real floating-point one of 16 bits or more. A module with several names is replaced once, by one module.

    Calibration needs memory for the inputs of every weight, reduced to at most twice as many rows as it has columns, in double
    precision. The inputs are those of the dense model.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    >>> small, report = factorize_module(model, factorization="tt", compression_ratio=4, min_size=1000)
    >>> type(small[0]).__name__, type(small[2]).__name__
    ('FactorizedLinear', 'Linear')
    >>> [(row.name, row.n_param_before) for row in report]
    [('0.weight', 4096)]
    """
    check_module("model", model)
    if isinstance(model, torch.jit.ScriptModule):
        kind = type(model).__name__
        raise TypeError(f"model must be a torch.nn.Module of Python; got a {kind}. Convert it before TorchScript does.")
    if executor is not None and not hasattr(executor, "submit"):
        raise TypeError(f"executor must be a concurrent.futures.Executor; got {type(executor).__name__}.")
    if isinstance(min_size, bool) or not isinstance(min_size, numbers.Integral) or min_size < 0:
        raise ValueError(f"min_size must be an integer of at least 0; got {min_size!r}.")
    if not (calibration is None or isinstance(calibration, (Tensor, tuple, dict)) or callable(calibration)):
        raise TypeError(
            f"calibration must be inputs of the model; expected a Tensor, a tuple or dict of arguments, or a "
            f"function of the model, got {type(calibration).__name__}."
        )
    budget = {"rank": rank, "eps": eps, "n_param": n_param, "compression_ratio": compression_ratio}
    settings, own_options = _split_options(budget, scope, {"decompose": decompose, **options})
    layers, rows = [], {}
    shared = shared_parameters(model)
    for name, module in select_layers(model, pattern, int(min_size)):
        # A row for each layer now, so that all are in the order of the model.
        reason = reason_to_keep(module, shared)
        rows[name] = [dense_row(name, module, reason)]
        if not reason:
            with errors_at_layer(name):
                for modes in modes_to_try(module, factorization, rank, {**settings, **own_options}) or ({},):
                    layers.append(DenseLayer(name, module, empty_layer(module, factorization, {**own_options, **modes})))
    inputs = None
    if calibration is not None:
        inputs = collect_inputs(model, calibration, {one.module: list(one.weights) for one in layers})
    exact = isinstance(rank, str) and rank == "full"
    budgets: dict[Any, int] | None = None
    if scope == "model":
        budgets = model_budgets(count_parameters(model), layers, inputs, n_param, compression_ratio)
        dense = {layer.name: layer for layer in layers if not all((layer.module, names) in budgets for names in layer.weights)}
        for name, layer in dense.items():
            rows[name] = [dense_row(name, layer.module, "the whole model gains more elsewhere")]
        layers = [layer for layer in layers if layer.name not in dense]
    replacements: dict[int, nn.Module] = {}
    decomposed = zip(layers, decompose_layers(layers, settings, inputs, executor, budgets))
    for name, tried in groupby(decomposed, key=lambda pair: pair[0].name):
        layer, found = min(tried, key=lambda pair: quality(*pair, inputs, eps))
        rows[name], replacement = make_replacement(layer, found, inputs, exact)
        if replacement is not None:
            replacements[id(layer.module)] = replacement
    before, converted = count_parameters(model), replace_layers(model, replacements, inplace)
    return converted, ConversionReport(tuple(itertools.chain(*rows.values())), before, count_parameters(converted))


def _split_options(budget: dict[str, Any], scope: str, options: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the decomposition and the arguments of the layers, after checks."""
    known = {*SETTINGS, *(name for ours in CONVERSIONS.values() for name in layer_options(ours))}
    for name, value in options.items():
        if name not in known:
            like = meant(name, [*known, *(factorize_module.__kwdefaults__ or ())])
            raise TypeError(f"{name} must be an option of a layer or a decomposition; got {name}={value!r}.{like}")
    given = {name: value for name, value in budget.items() if value is not None}
    if not given or (len(given) > 1 and set(given) != {"rank", "eps"}):
        raise ValueError(
            f"rank, eps, n_param or compression_ratio must be given, and only one of them (or eps with a rank); "
            f"got {given or 'none'}."
        )
    if one_of("scope", scope, ("weight", "model")) == "model" and given.keys() & {"rank", "eps"}:
        raise ValueError(f"scope must be 'weight' for a rank or an error; expected n_param or compression_ratio, got {given}.")
    ratio = given.get("compression_ratio", 1.0)
    if isinstance(ratio, bool) or not isinstance(ratio, numbers.Real) or not 0 < float(ratio) < math.inf:
        raise ValueError(f"compression_ratio must be a positive number; got {ratio!r}.")
    seed = options.get("random_state", 0)
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, numbers.Integral)):
        raise TypeError(
            f"random_state must be an int or None; got {type(seed).__name__}, whose draws would depend on the "
            "order of the weights."
        )
    checked_decompose(options["decompose"])
    settings = {name: value for name, value in options.items() if name in SETTINGS}
    return {**given, **settings}, {name: value for name, value in options.items() if name not in SETTINGS}
