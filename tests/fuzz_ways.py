"""A way to call every public name: valid arguments, made anew each time, so that one or two of them can be made hostile."""

import functools
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot
from matplotlib.figure import Figure
from tensorly.cp_tensor import CPTensor
from tensorly.tucker_tensor import TuckerTensor

import tensorly_rnn as tlr
from tensorly_rnn import decomposition, files, formats, plot
from tensorly_rnn.nn import factorize_module

#: The function and its valid arguments.
Way = Callable[[], tuple[Callable[..., Any], dict[str, Any]]]

MODES = ((2, 3), (3, 5))
SHAPE = (3, 4, 5)

#: Methods that a format's author defines and the library calls, with arguments that `validate_rank` and constructors have checked.
HOOKS = (
    *("expand", "families", "fields", "for_order", "full", "in_format", "rank_names", "useful", "with_options"),
    *("canonical_rank", "explicit_rank", "format", "full_rank", "indices", "make_network", "nodes", "order_of"),
    *(
        "make_tensor_network",
        "network_of_shapes",
        "rank_at_most",
        "rank_from_sizes",
        "rank_share",
        "rank_sizes",
        "rank_within",
    ),
    *("tensor_indices", "tensor_network_of_shapes", "uniform_rank"),
)
#: Results, which the library makes and users read; abstract classes; what laws are written with; plain data of layers.
NOT_MADE_BY_USERS = (
    *(
        "Cost",
        "Format",
        "Pass",
        "FormatComparison",
        "ConversionReport",
        "WeightReport",
        "Gradients",
        "FactorizedMatrix",
        "FactorizedTensor",
    ),
    *("Tree", "Backend", "Subject", "TensorSubject", "GatedWeight", "Layout"),
)
#: Methods between `recurrent`'s own parts, on arrays of padded matrices that no user has.
INNER = (
    *(f"Layout.{name}" for name in ("boxes", "gate_major", "padded_columns", "padded_matrix", "ungated")),
    *(f"GatedWeight.{name}" for name in ("part_network", "rebuilding_is_cheaper", "with_factors")),
    "FactorizedWeight.reconstructs",
    *(f"Subject.{name}" for name in ("array", "dense", "dense_with", "equal", "matrices", "numpy_factors", "pairs", "shapes")),
    *(f"TensorSubject.{name}" for name in ("dense", "equal", "numpy_factors", "tensors")),
)


def public(module: ModuleType) -> set[str]:
    """Names of the functions, constructors and methods that a package makes public."""
    found = set()
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value):
            found |= {name, *methods(name, value)}
        elif callable(value):
            found.add(name)
    return {name for name in found if name not in (*NOT_MADE_BY_USERS, *INNER) and name.rpartition(".")[2] not in HOOKS}


def methods(name: str, cls: type) -> set[str]:
    """Names of a class's public methods that this library defines; those of abstract classes go with their subclasses."""
    if name in ("FactorizedMatrix", "FactorizedTensor"):
        return set()
    own = [base for base in cls.__mro__ if base.__module__.startswith("tensorly_rnn.")]
    names = {one for base in own for one in vars(base) if not one.startswith("_")}
    return {f"{name}.{one}" for one in names if inspect.isroutine(getattr(cls, one, None))}


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def tensors(*shape: int) -> torch.Tensor:
    return torch.tensor(normal(*shape), dtype=torch.float32)


WAYS: dict[str, Way] = {}


def way(name: str, function: Callable[..., Any], /, **arguments: Callable[[], Any]) -> None:
    """Register a function, found anew where it is a method, by makers of its arguments."""
    WAYS[name] = lambda: (function, {argument: make() for argument, make in arguments.items()})


def method(name: str, make: Callable[[], Any], /, **arguments: Callable[[], Any]) -> None:
    """Register a method of an object that is made anew each time."""
    WAYS[name] = lambda: (
        getattr(make(), name.rpartition(".")[2]),
        {argument: make_one() for argument, make_one in arguments.items()},
    )


def given(value: Any) -> Callable[[], Any]:
    return lambda: value


modes, rank, seed = given(MODES), given(2), given(0)
dense = given(normal(6, 15))
x, dy = given(normal(2, 15)), given(normal(2, 6))


# The formats' matrices and tensors.

for one in ("bt", "ht", "tr", "tt"):
    kind = tlr.get_format(one)

    def make(kind: Any = kind) -> Any:
        return kind.random(MODES, 2, random_state=0)

    def other(kind: Any = kind) -> Any:
        return kind.random(MODES, 2, random_state=1)

    called = kind.__name__
    tree = {"tree": given((0, 1))} if one == "ht" else {}
    way(called, kind, factors=lambda make=make: make().factors, shape=given((5, 14)), **tree)
    stack = {"tree": given((0, 1)), "root_rank": given(2)} if one == "ht" else {}
    way(
        f"{called}.random",
        kind.random,
        **{"tensorized_shape": modes, "rank": rank, "std": given(0.5), "random_state": seed, "like": given(normal(1))},
        **stack,
    )
    way(f"Format.validate_rank ({one})", kind.format.validate_rank, tensorized_shape=modes, rank=rank, **stack)
    method(f"{called}.plan", make, batch=given(3))
    for name in ("apply", "vjp", "__rmatmul__", "__matmul__"):
        operand = {"__rmatmul__": given(normal(2, 6)), "__matmul__": given(normal(15, 2))}.get(name, x)
        method(f"{called}.{name}", make, **{"other" if name.startswith("__") else "x": operand})
    method(f"{called}.gradients", make, x=x, dy=dy)
    method(f"{called}.relative_error", make, matrix=dense)
    method(f"{called}.lstsq_grad", make, target=dense, return_loss=given(True), mask=given(normal(6, 15) > 0))
    for name in ("__add__", "__sub__", "inner"):
        method(f"{called}.{name}", make, other=other)
    for name in ("__mul__", "__truediv__"):
        method(f"{called}.{name}", make, scalar=given(2.0))
    method(f"{called}.round", make, rank=rank, eps=given(0.5))
    for name in ("norm", "to_matrix", "to_tensor", "singular_values"):
        method(f"{called}.{name}", make)


MATRIX_OF = {
    tlr.TTTensor: tlr.TTMatrix,
    tlr.TRTensor: tlr.TRMatrix,
    tlr.BTTensor: tlr.BTMatrix,
    tlr.HTTensor: tlr.HTMatrix,
}
for kind in MATRIX_OF:

    def make(kind: Any = kind) -> Any:
        return kind.random(SHAPE, 2, random_state=0)

    def other(kind: Any = kind) -> Any:
        return kind.random(SHAPE, 2, random_state=1)

    called = kind.__name__
    tree = {"tree": given(((0, 1), 2))} if kind is tlr.HTTensor else {}
    way(called, kind, factors=lambda make=make: make().factors, **({"tree": given((0, (1, 2)))} if tree else {}))
    way(
        f"{called}.random",
        kind.random,
        **{"shape": given(SHAPE), "rank": rank, "std": given(0.5), "random_state": seed, "like": given(normal(1))},
        **tree,
    )
    way(f"{called}.of_matrix", kind.of_matrix, matrix=lambda kind=kind: MATRIX_OF[kind].random(MODES, 2, random_state=0))
    method(f"{called}.relative_error", make, tensor=given(normal(*SHAPE)))
    method(f"{called}.lstsq_grad", make, target=given(normal(*SHAPE)), return_loss=given(True), mask=given(normal(*SHAPE) > 0))
    for name in ("__add__", "__sub__", "inner"):
        method(f"{called}.{name}", make, other=other)
    for name in ("__mul__", "__truediv__"):
        method(f"{called}.{name}", make, scalar=given(2.0))
    method(f"{called}.round", make, rank=rank, eps=given(0.5))
    method(f"{called}.to_unfolded", make, mode=given(1))
    for name in ("norm", "to_tensor", "to_vec", "as_matrix", "singular_values"):
        method(f"{called}.{name}", make)
    if hasattr(kind, "to_unfolding"):
        method(f"{called}.to_unfolding", make, mode=given(1))
        method(f"{called}.mode_dot", make, matrix_or_tensor=given(normal(2, 4)), mode=given(1))

blocks = given([TuckerTensor((normal(2, 2), [normal(3, 2), normal(4, 2)])) for _ in range(2)])
way("BTTensor.from_blocks", tlr.BTTensor.from_blocks, blocks=blocks)
way("BTTensor.from_tucker", tlr.BTTensor.from_tucker, tucker=lambda: blocks()[0])
way("BTTensor.from_cp", tlr.BTTensor.from_cp, cp=given(CPTensor((None, [normal(3, 2), normal(4, 2)]))))
ll1 = {"first": given(normal(3, 4)), "second": given(normal(4, 4)), "third": given(normal(5, 2))}
way("BTTensor.from_ll1", tlr.BTTensor.from_ll1, **ll1)
for name, bt_rank in (("to_blocks", (2, 2)), ("to_cp", (2, 1)), ("to_ll1", (2, (2, 2, 1))), ("to_tucker", 2)):
    method(f"BTTensor.{name}", lambda bt_rank=bt_rank: tlr.BTTensor.random(SHAPE, bt_rank, random_state=0))
method("HTTensor.to_tt", lambda: tlr.HTTensor.random(SHAPE, 2, random_state=0))
way("HTTensor.from_tt", tlr.HTTensor.from_tt, tt_tensor=given([normal(1, 3, 2), normal(2, 4, 1)]))

for one, kind in (("bt", tlr.BTTensor), ("ht", tlr.HTTensor)):

    def make(kind: Any = kind) -> Any:
        return kind.random(SHAPE, 2, random_state=0)

    tree = {"tree": given(((0, 1), 2))} if one == "ht" else {}
    way(f"{one}_n_param", getattr(tlr, f"{one}_n_param"), tensor_shape=given(SHAPE), rank=rank, **tree)
    way(f"validate_{one}_rank", getattr(tlr, f"validate_{one}_rank"), tensor_shape=given(SHAPE), rank=rank, **tree)
    random = {"shape": given(SHAPE), "rank": rank, "full": given(False), "std": given(0.5), "random_state": seed}
    way(f"random_{one}", getattr(tlr, f"random_{one}"), **random, like=given(normal(1)), **tree)
    for name, more in (("tensor", {}), ("unfolded", {"mode": given(1)}), ("vec", {})):
        way(f"{one}_to_{name}", getattr(tlr, f"{one}_to_{name}"), **{f"{one}_tensor": make}, **more)

for one, factors in (
    ("bt", lambda: tlr.random_bt(SHAPE, 2, random_state=0)),
    ("ht", lambda: tlr.random_ht(SHAPE, 2, random_state=0)),
    ("tt", lambda: [normal(1, 3, 2), normal(2, 4, 2), normal(2, 5, 1)]),
    ("tr", lambda: [normal(2, 3, 2), normal(2, 4, 2), normal(2, 5, 2)]),
):
    target = {"tensor": given(normal(*SHAPE)), "return_loss": given(True), "mask": given(normal(*SHAPE) > 0)}
    way(f"{one}_lstsq_grad", getattr(tlr, f"{one}_lstsq_grad"), **{f"{one}_tensor": factors}, **target)


# Functions.

ht_options = {"root_rank": given(2), "tree": given((0, 1))}
way("n_param", tlr.n_param, format=given("ht"), tensorized_shape=modes, rank=rank, **ht_options)
costed = {"batch": given(3), "contraction_order": given("input_first"), **ht_options}
way("cost", tlr.cost, format=given("ht"), tensorized_shape=modes, rank=rank, **costed)
way("available_formats", tlr.available_formats)
way("get_format", tlr.get_format, name=given("tt"))
way("register", formats.register, cls=given(tlr.TTMatrix))
way("balanced_tree", tlr.balanced_tree, order=given(3))
way("linear_tree", tlr.linear_tree, order=given(3))
way("factorize_size", tlr.factorize_size, size=given(60), order=given(3))
way("separate_modes", tlr.separate_modes, out_modes=given((2, 3)), in_modes=given((3, 5)))
asked = {"matrix": dense, "format": given("bt"), "tensorized_shape": modes}
way(
    "factorize",
    tlr.factorize,
    **asked,
    rank=rank,
    eps=given(None),
    **{"n_param": given(None), "compression_ratio": given(None), "method": given("auto"), "init": given("svd")},
    **{"n_starts": given(1), "n_iter_max": given(3), "tol": given(1e-6), "random_state": seed, "verbose": given(False)},
    callback=given(None),
)
way("factorize (eps)", tlr.factorize, **{**asked, "format": given("tt")}, eps=given(0.5))
way("factorize (n_param)", tlr.factorize, **{**asked, "format": given("ht")}, n_param=given(60), root_rank=given(2))
way("factorize (compression_ratio)", tlr.factorize, **{**asked, "format": given("tr")}, compression_ratio=given(2.0))
compared = {"n_starts": given(1), "n_iter_max": given(3), "random_state": seed, "formats": given(("tt", "bt"))}
way("best_format", tlr.best_format, matrix=dense, tensorized_shape=modes, n_param=given(70), **compared)
way("best_format (eps)", tlr.best_format, matrix=dense, eps=given(0.5), **compared)
way("best_format (ratio)", tlr.best_format, matrix=dense, compression_ratio=given(2.0), **compared)
for name, settings in (
    ("tensor_train", {}),
    ("tensor_ring", {"n_iter_max": given(3), "tol": given(1e-6), "init": given("svd"), "random_state": seed}),
    ("block_term", {"n_iter_max": given(3), "n_starts": given(1), "callback": given(None), "verbose": given(False)}),
    ("hierarchical_tucker", {"tree": given((0, (1, 2)))}),
):
    capital = "".join(map(str.capitalize, name.split("_")))
    kind = getattr(decomposition, capital)
    way(name, getattr(decomposition, name), tensor=given(normal(*SHAPE)), rank=rank, **settings)
    way(f"{name} (eps)", getattr(decomposition, name), tensor=given(normal(*SHAPE)), eps=given(0.5))
    # The settings are checked when there is a tensor.
    way(capital, lambda kind=kind, **settings: kind(**settings).fit_transform(normal(*SHAPE)), rank=rank, **settings)
    method(f"{capital}.fit_transform", lambda kind=kind: kind(2), tensor=given(normal(*SHAPE)))
refitted = {"matrix": dense, "inputs": given(normal(4, 15)), "ridge": given(0.1), "n_iter_max": given(2)}
way("calibrate", decomposition.calibrate, f=lambda: tlr.TTMatrix.random(MODES, 2, random_state=0), **refitted)
named_indices = {"factors": given((("j1", "r"), ("r", "i1"))), "outputs": given(("j1",)), "inputs": given(("i1",))}
way("Network", tlr.Network, **named_indices, sizes=given((("i1", 5), ("j1", 3), ("r", 2))))
method("Network.cost", lambda: make_network(), batch=given(3), contraction_order=given("planned"))
method("Network.resized", lambda: make_network(), sizes=given({"r1": 3}))


def make_network() -> tlr.Network:
    return tlr.TTMatrix.random(MODES, 2, random_state=0).network.resized({})


# Pictures, on axes that no window shows; what is drawn on others is closed.


def drawn(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def draw(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        finally:
            pyplot.close("all")

    return draw


def converted() -> Any:
    model = torch.nn.Sequential(torch.nn.Linear(15, 6), torch.nn.Linear(2, 2))
    return factorize_module(model, factorization="tt", rank=1)[1]


ax = {"ax": lambda: Figure().subplots()}
train = {"factorized": lambda: tlr.TTMatrix.random(MODES, 2, random_state=0)}
points = [(10, 0.5), (20, 0.25)]
way("network", drawn(plot.network), **train, **ax)
way("singular_values", drawn(plot.singular_values), **train, **ax, eps=given(0.5))
curves = {"curves": given({"tt": points, "svd": points}), "marked": given(points)}
way("error_against_parameters", drawn(plot.error_against_parameters), **curves, **ax)
way("compression_report", drawn(plot.compression_report), report=converted, **ax)
way("FormatComparison.plot", drawn(tlr.best_format(normal(6, 15), n_param=70, formats=["tt"]).plot), **ax)


# Files. There is nothing to read, and no folder to write to: an OSError is the right answer.

way("load_factorized", files.load_factorized, path=given("/dev/null"))
matrices = {"a": tlr.TTMatrix.random(MODES, 2, random_state=0)}
way(
    "save_factorized",
    files.save_factorized,
    path=given("/dev/null/nothing"),
    matrices=given(matrices),
    tensors=given({"b": normal(2)}),
)
