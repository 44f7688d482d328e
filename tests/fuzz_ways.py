"""A valid call of every public name, from a table of objects and one of arguments by name, so that some can be made hostile."""

import copy
import importlib
import inspect
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from tensorly.cp_tensor import CPTensor
from tensorly.tucker_tensor import TuckerTensor

import tensorly_rnn as tlr
from tensorly_rnn import decomposition, nn, recurrent, testing
from tests.test_imports import PUBLIC

MODES, SHAPE = ((2, 3), (3, 5)), (3, 4, 5)

#: Methods that a format's author defines and the library calls, with arguments that `validate_rank` and constructors have checked.
HOOKS = (
    "expand families fields for_order full in_format rank_names useful with_options explicit_rank format full_rank indices"
    " canonical_rank make_network nodes order_of make_tensor_network network_of_shapes rank_at_most rank_from_sizes rank_share rank_sizes"
    " rank_within tensor_indices tensor_network_of_shapes uniform_rank"
).split()
#: Results, which the library makes and users read; abstract classes; what laws are written with; plain data of layers; methods
#: between `recurrent`'s own parts, on arrays of padded matrices that no user has.
NOT_CALLED_BY_USERS = (
    "Cost Format Pass FormatComparison ConversionReport WeightReport Gradients FactorizedMatrix FactorizedTensor Tree Backend"
    " Subject TensorSubject GatedWeight Layout Layout.boxes Layout.gate_major Layout.padded_columns Layout.padded_matrix"
    " Layout.ungated GatedWeight.part_network GatedWeight.rebuilding_is_cheaper GatedWeight.with_factors"
    " FactorizedWeight.reconstructs Subject.array Subject.dense Subject.dense_with Subject.equal Subject.matrices"
    " Subject.numpy_factors Subject.pairs Subject.shapes TensorSubject.dense TensorSubject.equal TensorSubject.numpy_factors"
    " TensorSubject.tensors"
).split()


def public(module: ModuleType) -> dict[str, Any]:
    """Return the functions, classes and methods that a package makes public, by name."""
    found = {}
    for name in module.__all__:
        value = getattr(module, name)
        if callable(value):
            found[name] = value
        if inspect.isclass(value) and name not in ("FactorizedMatrix", "FactorizedTensor"):
            # Those that this library defines; those of abstract classes go with their subclasses.
            own = {one for base in value.__mro__ if base.__module__.startswith("tensorly_rnn.") for one in vars(base)}
            methods = {one for one in own if not one.startswith("_") and inspect.isroutine(getattr(value, one, None))}
            found |= {f"{name}.{one}": getattr(value, one) for one in sorted(methods)}
    return {key: value for key, value in found.items() if key not in NOT_CALLED_BY_USERS and key.split(".")[-1] not in HOOKS}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def tensors(*shape: int) -> torch.Tensor:
    return torch.tensor(normal(*shape), dtype=torch.float32)


MATRICES = {kind.__name__: kind for kind in map(tlr.get_format, tlr.available_formats())}
TENSORS = {name: getattr(tlr, name) for name in ("BTTensor", "HTTensor", "TRTensor", "TTTensor")}
RECURRENT = {"RNN": (recurrent.RNN, 1), "GRU": (recurrent.GRU, 3), "LSTM": (recurrent.LSTM, 4)}


def random(kind: Any, seed: int = 0) -> Any:
    return kind.random(SHAPE if kind in TENSORS.values() else MODES, 2, random_state=seed)


def layer(kind: Any) -> Any:
    return kind.random(5, 4, random_state=0, **({"proj_size": 3} if kind is recurrent.LSTM else {}))


def weight() -> nn.FactorizedWeight:
    made = nn.FactorizedWeight(3, (5,), factorization="tt", rank=2, n_gates=2)
    made.reset(1.0)
    return made


def linear() -> nn.FactorizedLinear:
    return nn.FactorizedLinear(15, 6, factorization="tt", rank=2)


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(15, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


#: What the methods of a class are called on, of the last pattern that fits; made anew each time, as arguments are.
OBJECTS: dict[str, Callable[[], Any]] = {
    **{f"{name}.*": partial(random, kind) for name, kind in (MATRICES | TENSORS).items()},
    **{f"{name}.*": partial(layer, kind) for name, (kind, _) in RECURRENT.items()},
    **{f"Factorized{name}{cell}.*": partial(getattr(nn, f"Factorized{name}{cell}"), 5, 4, factorization="tt", rank=2)
       for name in RECURRENT for cell in ("", "Cell")},
    **{f"{kind.__name__}.*": partial(kind, 2) for kind in map(decomposition.__dict__.get, ("TensorTrain", "TensorRing", "BlockTerm", "HierarchicalTucker"))},
    **{f"BTTensor.{name}": partial(tlr.BTTensor.random, SHAPE, rank, random_state=0)
       for name, rank in (("to_blocks", (2, 2)), ("to_cp", (2, 1)), ("to_ll1", (2, (2, 2, 1))))},
    "FactorizedLinear.*": linear, "FactorizedWeight.*": weight, "GatedWeight.*": partial(recurrent.GatedWeight.random, 3, (5,), factorization="tt", rank=2, n_gates=2, random_state=0),
    "Network.*": lambda: random(tlr.TTMatrix).network,
    "FormatComparison.*": lambda: tlr.best_format(normal(6, 15), n_param=70, formats=["tt"]),
    "Gradients.*": lambda: (one := layer(recurrent.LSTM)).backward(one.forward(normal(3, 2, 5))[2], normal(3, 2, 3)),
    **{f"Format.validate_rank ({kind.format.name})": lambda kind=kind: kind.format for kind in MATRICES.values()},
}  # fmt: skip

TWO_BLOCKS = [TuckerTensor((normal(2, 2), [normal(3, 2), normal(4, 2)])) for _ in range(2)]
POINTS = [(10, 0.5), (20, 0.25)]
#: Valid arguments: of all names, then of names that fit a pattern, the last of which counts. Functions make what they give;
#: other values are copied; an argument of ``...`` is left out. Names of `**options` are given with a pattern.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "*": {
        **dict.fromkeys(("names", "argument", "product", "tune", "self", "kind", "proj_size"), ...),
        "rank": 2, "eps": None, "n_param": None, "compression_ratio": None, "tensorized_shape": MODES, "format": "bt",
        "method": "auto", "init": "svd", "n_starts": 1, "n_iter_max": 3, "tol": 1e-6, "random_state": 0, "verbose": False,
        "callback": None, "formats": ("tt", "bt"), "ridge": 0.1, "std": 0.5, "like": normal(1), "full": False, "batch": 3,
        "contraction_order": "input_first", "tree": (0, (1, 2)), "shape": SHAPE, "tensor_shape": SHAPE, "scalar": 2.0,
        "matrix": normal(6, 15), "tensor": normal(*SHAPE), "x": normal(2, 15), "dy": normal(2, 6), "inputs": normal(4, 15),
        "target": normal(6, 15), "mask": normal(6, 15) > 0, "return_loss": True, "mode": 1, "order": 3, "size": 60,
        "cls": tlr.TTMatrix, "f": partial(random, tlr.TTMatrix), "factorized": partial(random, tlr.TTMatrix),
        "bt_tensor": partial(random, tlr.BTTensor), "ht_tensor": partial(random, tlr.HTTensor),
        "tt_tensor": [normal(1, 3, 2), normal(2, 4, 2), normal(2, 5, 1)],
        "tr_tensor": [normal(2, 3, 2), normal(2, 4, 2), normal(2, 5, 2)],
        "blocks": TWO_BLOCKS, "tucker": TWO_BLOCKS[0], "cp": CPTensor((None, [normal(3, 2), normal(4, 2)])),
        "matrix_or_tensor": normal(2, 4), "first": normal(3, 4), "second": normal(4, 4), "third": normal(5, 2),
        # Layers.
        "factorization": "tt", "decompose": "layerwise", "scope": "weight", "gate_mode": "last", "input_modes": (5, 1), "hidden_modes": (2, 2),
        "implementation": "factorized", "device": "cpu", "dtype": torch.float32, "input_size": 5, "hidden_size": 4,
        "in_features": 15, "out_features": 6, "in_modes": (3, 5), "out_modes": (2, 3), "bias": True, "num_layers": 1,
        "batch_first": False, "dropout": 0.0, "bidirectional": True, "nonlinearity": "relu", "forget_bias": 1.0,
        "rows": 3, "widths": (5,), "n_gates": 2, "part": 0, "parts": [normal(6, 5)], "linear": partial(torch.nn.Linear, 15, 6),
        "layout": recurrent.Layout(3, ((0, 5),), (2, 2), (3, 2), 2, "last"), "input": tensors(3, 2, 5), "model": model,
        "rnn": partial(torch.nn.RNN, 5, 4), "gru": partial(torch.nn.GRU, 5, 4), "lstm": partial(torch.nn.LSTM, 5, 4),
        "found": lambda: weight()._weight(), "module": linear, "tape": None, "lr": 0.1, "count": 2, "repeats": 1, "start": "weight",
        "pattern": "0", "min_size": 10, "calibration": tensors(3, 15), "executor": None, "inplace": False,
        # Pictures, on axes that no window shows. Files: there is nothing to read, and no folder to write to.
        "ax": lambda: Figure().subplots(), "curves": {"tt": POINTS, "svd": POINTS}, "marked": POINTS,
        "report": lambda: nn.factorize_module(model(), factorization="tt", rank=1)[1], "path": "/dev/null/nothing", "folder": "/dev/null/nothing",
        "structure": {"version": 1, "modules": {}, "weights": {}},
        "matrices": {"a": random(tlr.TTMatrix)}, "tensors": {"b": normal(2)},
        # For tests of formats.
        "name": "tt", "backend": "numpy", "backends": ("numpy",), "law": "linearity", "max_examples": 1, "ranks": None,
        "reference": None, "recovery": None, "padded": True, "min_order": 1, "max_order": 3, "max_size": 3,
        "subject": lambda: testing.Subject(tlr.TTMatrix, testing.get_backend("numpy")),
    },
    **{f"{name}*": {"other": partial(random, kind, 1), "tree": (0, 1)} for name, kind in MATRICES.items()},
    **{f"{name}*": {"other": partial(random, kind, 1)} for name, kind in TENSORS.items()},
    **{name: {"factors": random(kind).factors} for name, kind in (MATRICES | TENSORS).items()},
    "??Matrix": {"shape": (5, 14)}, "*.round": {"eps": 0.5},
    "*.__rmatmul__": {"other": normal(2, 6)}, "*.__matmul__": {"other": normal(15, 2)},
    **{key: {"tree": (0, 1), "root_rank": 2} for key in ("HTMatrix.random", "Format.validate_rank (ht)")},
    **{key: {"format": "ht", "tree": (0, 1), "root_rank": 2} for key in ("n_param", "cost")},
    "HTTensor.random": {"tree": ((0, 1), 2)}, "??Tensor.lstsq_grad": {"target": normal(*SHAPE), "mask": normal(*SHAPE) > 0},
    "??_lstsq_grad": {"mask": normal(*SHAPE) > 0},
    **{f"{name}Tensor.of_matrix": {"matrix": partial(random, MATRICES[f"{name}Matrix"])} for name in ("BT", "HT", "TR", "TT")},
    "* (eps)": {"rank": None, "eps": 0.5}, "factorize (eps)": {"format": "tt"}, "best_format": {"n_param": 70},
    "factorize (n_param)": {"format": "ht", "rank": None, "n_param": 60, "root_rank": 2},
    "factorize (ratio)": {"format": "tr", "rank": None, "compression_ratio": 2.0}, "best_format (ratio)": {"compression_ratio": 2.0},
    "singular_values": {"eps": 0.5}, "load_factorized": {"path": "/dev/null"}, "Network.resized": {"sizes": {"r1": 3}},
    "Network": {"factors": (("j1", "r"), ("r", "i1")), "outputs": ("j1",), "inputs": ("i1",), "sizes": (("i1", 5), ("j1", 3), ("r", 2))},
    **{name: {"weight_ih": normal(gates * 4, 5), "weight_hh": normal(gates * 4, 3 if gates == 4 else 4), "weight": None,
              "bias_ih": normal(gates * 4), "bias_hh": normal(gates * 4), "weight_hr": normal(3, 4)} for name, (_, gates) in RECURRENT.items()},
    **{f"{name} (weight)": {"weight": normal(gates * 4, 9), **dict.fromkeys(("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr"))}
       for name, (_, gates) in RECURRENT.items()},
    **{key: {"x": normal(3, 2, 5), "d_output": normal(3, 2, 4), **dict.fromkeys(("hx", "d_state"), normal(2, 4))} for key in ("RNN.*", "GRU.*")},
    **{f"{name}.with_*": {"vector": layer(kind).to_vec(), "parameters": dict(layer(kind).parameters)} for name, (kind, _) in RECURRENT.items()},
    "LSTM.*": {"x": normal(3, 2, 5), "d_output": normal(3, 2, 3), **dict.fromkeys(("hx", "d_state"), (normal(2, 3), normal(2, 4)))},
    "LSTM.random": {"proj_size": 3}, "FactorizedLSTM": {"proj_size": 3}, "*.factorized": {"n_iter_max": 3},
    "GatedWeight.*": {"x": normal(2, 5), "inputs": [normal(4, 5)]}, "GatedWeight.from_matrices": {"random_state": 0},
    "GatedWeight.dense": {"matrix": normal(6, 5), "widths": (3, 2)},
    "GatedWeight.of_format": {"matrix": partial(random, tlr.TTMatrix), "widths": (9, 6)},
    **{key: {"in_modes": (3, 2), "out_modes": (2, 2), "format": tlr.TTMatrix} for key in ("make_layout", "GatedWeight.random", "FactorizedWeight")},
    "FactorizedWeight.*": {"x": tensors(2, 5), "bias": tensors(6), "parts": tensors(6, 5)},
    "Factorized*.forward": {"hx": tensors(1, 2, 4)}, "FactorizedLSTM.forward": {"hx": (tensors(1, 2, 4), tensors(1, 2, 4))},
    "Factorized*Cell.forward": {"input": tensors(2, 5), "hx": tensors(2, 4)}, "FactorizedLinear.forward": {"input": tensors(2, 15)},
    "FactorizedLSTMCell.forward": {"hx": (tensors(2, 4), tensors(2, 4))},
    **{f"Factorized{name}Cell.from_cell": {"cell": partial(getattr(torch.nn, f"{name}Cell"), 5, 4)} for name in RECURRENT},
    "*.train": {"mode": True}, "parameter_groups": {"model": linear}, "tune": {"rows": 4}, "factorize_module": {"decompose": "input"},
    "factorized": {"module": partial(torch.nn.Linear, 15, 6), "name": "weight", "n_gates": 1},
    "factorized_tensors": {"cls": tlr.BTTensor, "shape": testing.tensor_shapes}, "assert_tensor_laws": {"cls": tlr.BTTensor},
    "factorized_matrices": {"tensorized_shape": testing.tensorized_shapes}, "factorized_pairs": {"tensorized_shape": testing.tensorized_shapes},
    "get_backend": {"name": "numpy"}, "assert_format_laws": {"count": None},
}  # fmt: skip
#: Options of `**options`, beside those of signatures.
OF_LAYERS = "factorization rank decompose gate_mode input_modes hidden_modes implementation"
OPTIONS = {
    "HTMatrix.random": "tree root_rank", "Format.validate_rank (ht)": "tree root_rank", "HTTensor.random": "tree", "cost": "tree root_rank",
    "n_param": "tree root_rank", "factorize (n_param)": "root_rank", "tensor_*(eps)": "eps", "block_term (eps)": "eps", "hierarchical_tucker (eps)": "eps",
    **dict.fromkeys(("tensor_ring", "TensorRing"), "n_iter_max tol init random_state"), "HierarchicalTucker": "tree",
    **dict.fromkeys(("block_term", "BlockTerm"), "n_iter_max n_starts callback verbose"), "*.factorized": "n_iter_max",
    "GatedWeight.random": "in_modes out_modes n_gates gate_mode", "GatedWeight.from_matrices": "random_state",
    **{f"Factorized{name}{cell}": f"{OF_LAYERS} device dtype" for name in RECURRENT for cell in ("", "Cell")},
    **{f"Factorized{name}.from_*": OF_LAYERS for name in ("RNN", "GRU", "LSTM", "???Cell", "LSTMCell")},
    "FactorizedLinear.from_linear": "in_modes out_modes implementation", "FactorizedWeight.load_matrices": "parts rank",
    "factorize_module": "implementation n_iter_max factorization rank", "factorized": "factorization rank",
}  # fmt: skip


def drawn(function: Callable[..., Any]) -> Callable[..., Any]:
    """Close what is drawn on axes of its own."""

    def draw(**named: Any) -> Any:
        try:
            return function(**named)
        finally:
            pyplot.close("all")

    return draw


def fitted(cls: type, **settings: Any) -> Any:
    """Return a result: the settings are checked when there is a tensor."""
    return cls(**settings).fit_transform(normal(*SHAPE))


def arguments_of(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    """Return valid arguments of a function by a name, made anew."""
    fitting = [given for pattern, given in ARGUMENTS.items() if fnmatchcase(name, pattern)]
    values = {key: value for given in fitting for key, value in given.items()}
    named = [one.name for one in inspect.signature(function).parameters.values() if one.kind in (1, 3)]
    named += [one for pattern, options in OPTIONS.items() if fnmatchcase(name, pattern) for one in options.split()]
    made = {key: values[key] for key in dict.fromkeys(named) if values[key] is not ...}
    return {
        key: value() if isinstance(value, (FunctionType, partial)) else copy.deepcopy(value) for key, value in made.items()
    }


def way(name: str, value: Callable[..., Any]) -> tuple[Callable[..., Any], dict[str, Any]]:
    """Return the function of a public name, of an object where it is a method, and its valid arguments."""
    owner, _, attribute = name.partition(" ")[0].rpartition(".")
    function, made = value, None
    if owner and not inspect.ismethod(value):
        made = [make for pattern, make in OBJECTS.items() if fnmatchcase(name, pattern)][-1]()
        function = getattr(made, attribute)
    given = arguments_of(name, function)
    if attribute == "backward":
        given["tape"] = made.forward(normal(3, 2, 5))[2]
    elif attribute == "load_matrices":
        function = lambda parts, **options: made.load_matrices(parts, **options)  # noqa: E731
    elif hasattr(value, "fit_transform"):
        function = partial(fitted, value)
    elif "ax" in given:
        function = drawn(function)
    return function, given


NAMED = {name: value for room in PUBLIC for name, value in public(importlib.import_module(f"tensorly_rnn{room}")).items()}
for name, kind in (MATRICES | TENSORS).items():
    operators = ("add", "sub", "mul", "truediv", *(("matmul", "rmatmul") if name in MATRICES else ()))
    NAMED |= {f"{name}.__{one}__": getattr(kind, f"__{one}__") for one in operators}
NAMED |= {f"Format.validate_rank ({kind.format.name})": NAMED["Format.validate_rank"] for kind in MATRICES.values()}
del NAMED["Format.validate_rank"]
for name, others in {
    "factorize": ("eps", "n_param", "ratio"), "best_format": ("eps", "ratio"), "tensor_train": ("eps",), "tensor_ring": ("eps",),
    "block_term": ("eps",), "hierarchical_tucker": ("eps",), "RNN": ("weight",), "GRU": ("weight",), "LSTM": ("weight",),
}.items():  # fmt: skip
    NAMED |= {f"{name} ({one})": NAMED[name] for one in others}
#: Makers of a function and of its valid arguments.
WAYS = {name: partial(way, name, value) for name, value in NAMED.items()}
