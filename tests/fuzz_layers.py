"""Ways to call what `recurrent`, `nn` and `testing` make public; registered beside those of `tests/fuzz_ways.py`."""

from typing import Any

import torch

import tensorly_rnn as tlr
from tensorly_rnn import nn, recurrent, testing
from tests.fuzz_ways import MODES, given, method, modes, normal, rank, seed, tensors, way

# Recurrent layers on any backend.

for kind, gates in ((recurrent.RNN, 1), (recurrent.GRU, 3), (recurrent.LSTM, 4)):
    called = kind.__name__
    weights = {"weight_ih": given(normal(gates * 4, 5)), "weight_hh": given(normal(gates * 4, 3 if gates == 4 else 4))}
    biases = {"bias_ih": given(normal(gates * 4)), "bias_hh": given(normal(gates * 4))}
    more = {1: {"nonlinearity": given("relu")}, 3: {}, 4: {"weight_hr": given(normal(3, 4))}}[gates]
    way(called, kind, **weights, **biases, **more)
    way(f"{called} (weight)", kind, weight=given(normal(gates * 4, 9)))

    def made(kind: Any = kind) -> Any:
        return kind.random(5, 4, random_state=0, proj_size=3) if kind is recurrent.LSTM else kind.random(5, 4, random_state=0)

    placed = {"factorization": given("tt"), "rank": rank, "decompose": given("layerwise")}
    placed |= {"input_modes": given((5, 1)), "hidden_modes": given((2, 2)), "gate_mode": given("last")}
    projected = {"proj_size": given(3)} if gates == 4 else {}
    drawn = {
        "input_size": given(5),
        "hidden_size": given(4),
        "bias": given(True),
        "random_state": seed,
        "like": given(normal(1)),
    }
    way(f"{called}.random", kind.random, **drawn, **placed, **projected)
    method(f"{called}.factorized", made, **placed, n_iter_max=given(3))
    state = (normal(2, 3), normal(2, 4)) if gates == 4 else normal(2, 4)
    method(f"{called}.forward", made, x=given(normal(3, 2, 5)), hx=given(state))
    one = made()
    tape = one.forward(normal(3, 2, 5))[2]
    output = given(normal(3, 2, 3 if gates == 4 else 4))
    method(f"{called}.backward", lambda one=one: one, tape=given(tape), d_output=output, d_state=given(state))
    method(f"{called}.with_vec", made, vector=lambda made=made: made().to_vec())
    method(f"{called}.with_parameters", made, parameters=lambda made=made: dict(made().parameters))
    for name in ("dense", "matrices", "to_vec"):
        method(f"{called}.{name}", made)
gradients = one.backward(tape, output())
method("Gradients.to_vec", given(gradients))

layout = given(recurrent.Layout(3, ((0, 5),), (2, 2), (3, 2), 2, "last"))
gated = {"out_modes": given((2, 2)), "in_modes": given((3, 2)), "n_gates": given(2), "gate_mode": given("last")}
sizes = {"rows": given(3), "widths": given((5,))}
way("make_layout", recurrent.make_layout, **sizes, format=given(tlr.TTMatrix), **gated)


def weight() -> recurrent.GatedWeight:
    return recurrent.GatedWeight.random(3, (5,), factorization="tt", rank=2, n_gates=2, gate_mode="last", random_state=0)


asked = {"factorization": given("tt"), "rank": rank, "std": given(0.5), "random_state": seed, "like": given(normal(1))}
way("GatedWeight.random", recurrent.GatedWeight.random, **sizes, **asked, **gated)
way("GatedWeight.dense", recurrent.GatedWeight.dense, matrix=given(normal(6, 5)), widths=given((3, 2)))
random_matrix = {"matrix": lambda: tlr.TTMatrix.random(MODES, 2, random_state=0)}
way("GatedWeight.of_format", recurrent.GatedWeight.of_format, **random_matrix, widths=given((9, 6)))
parts = {"parts": given([normal(6, 5)]), "layout": layout, "factorization": given("tt"), "rank": rank}
way("GatedWeight.from_matrices", recurrent.GatedWeight.from_matrices, **parts, inputs=given([normal(4, 5)]), random_state=seed)
method("GatedWeight.apply", weight, x=given(normal(2, 5)), part=given(0))
method("GatedWeight.vjp", weight, x=given(normal(2, 5)))
for name in ("matrix", "matrix_vjp"):
    method(f"GatedWeight.{name}", weight, part=given(0))
for name in ("matrices", "squared_norm"):
    method(f"GatedWeight.{name}", weight)


# torch's layers.

options = {"factorization": given("tt"), "rank": rank, "decompose": given("layerwise"), "gate_mode": given("last")}
options |= {"input_modes": given((5, 1)), "hidden_modes": given((2, 2)), "implementation": given("factorized")}
options |= {"device": given("cpu"), "dtype": given(torch.float32)}
sizes = {"input_size": given(5), "hidden_size": given(4), "bias": given(True)}
converted = {name: options[name] for name in ("factorization", "rank", "decompose", "gate_mode", "implementation")}
for name in ("RNN", "GRU", "LSTM"):
    kind, cell = getattr(nn, f"Factorized{name}"), getattr(nn, f"Factorized{name}Cell")
    own = {"RNN": {"nonlinearity": given("relu")}, "GRU": {}, "LSTM": {"forget_bias": given(1.0)}}[name]
    layered = {"num_layers": given(1), "batch_first": given(False), "dropout": given(0.0), "bidirectional": given(True)}
    projected = {"proj_size": given(3)} if name == "LSTM" else {}
    way(kind.__name__, kind, **sizes, **layered, **own, **projected, **options)
    way(cell.__name__, cell, **sizes, **own, **options)
    lower = name.lower()
    dense, dense_cell = getattr(torch.nn, name), getattr(torch.nn, f"{name}Cell")
    whole = {**converted, "input_modes": given((5, 1)), "hidden_modes": given((2, 2))}
    way(f"{kind.__name__}.from_{lower}", getattr(kind, f"from_{lower}"), **{lower: lambda dense=dense: dense(5, 4)}, **whole)
    way(f"{cell.__name__}.from_cell", cell.from_cell, cell=lambda dense_cell=dense_cell: dense_cell(5, 4), **whole)

    def module(kind: Any = kind) -> Any:
        return kind(5, 4, factorization="tt", rank=2)

    def small(cell: Any = cell) -> Any:
        return cell(5, 4, factorization="tt", rank=2)

    state = (tensors(1, 2, 4), tensors(1, 2, 4)) if name == "LSTM" else tensors(1, 2, 4)
    method(f"{kind.__name__}.forward", module, input=given(tensors(3, 2, 5)), hx=given(state))
    state = (tensors(2, 4), tensors(2, 4)) if name == "LSTM" else tensors(2, 4)
    method(f"{cell.__name__}.forward", small, input=given(tensors(2, 5)), hx=given(state))
    for one in (f"to_{lower}", "flatten_parameters"):
        method(f"{kind.__name__}.{one}", module)
    method(f"{cell.__name__}.to_cell", small)
    for one, make in ((kind, module), (cell, small)):
        for called in ("extra_repr", "clear_cache", "reset_parameters"):
            method(f"{one.__name__}.{called}", make)
        method(f"{one.__name__}.train", make, mode=given(True))

modes_of = {"in_modes": given((3, 5)), "out_modes": given((2, 3))}
linear = {"in_features": given(15), "out_features": given(6), "bias": given(True), "factorization": given("tt"), "rank": rank}
placed = {"implementation": given("factorized"), "device": given("cpu"), "dtype": given(torch.float32)}
way("FactorizedLinear", nn.FactorizedLinear, **linear, **modes_of, **placed)
from_linear = {"linear": lambda: torch.nn.Linear(15, 6), "factorization": given("tt"), "rank": rank, **modes_of}
way("FactorizedLinear.from_linear", nn.FactorizedLinear.from_linear, **from_linear, implementation=given("factorized"))


def factorized_linear() -> nn.FactorizedLinear:
    return nn.FactorizedLinear(15, 6, factorization="tt", rank=2)


method("FactorizedLinear.forward", factorized_linear, input=given(tensors(2, 15)))
for name in ("extra_repr", "clear_cache", "reset_parameters", "to_linear"):
    method(f"FactorizedLinear.{name}", factorized_linear)
method("FactorizedLinear.train", factorized_linear, mode=given(True))

of_weight = {"rows": given(3), "widths": given((5,)), **gated, **{"factorization": given("tt"), "rank": rank}, **placed}
way("FactorizedWeight", nn.FactorizedWeight, **of_weight)


def factorized_weight() -> nn.FactorizedWeight:
    made = nn.FactorizedWeight(3, (5,), factorization="tt", rank=2, n_gates=2)
    made.reset(1.0)
    return made


method("FactorizedWeight.forward", factorized_weight, x=given(tensors(2, 5)), part=given(0), bias=given(tensors(6)))
for name in ("matrix", "cached_matrix"):
    method(f"FactorizedWeight.{name}", factorized_weight, part=given(0))
for name in ("matrices", "extra_repr", "clear_cache"):
    method(f"FactorizedWeight.{name}", factorized_weight)
method("FactorizedWeight.reset", factorized_weight, std=given(0.5))
method("FactorizedWeight.train", factorized_weight, mode=given(True))
method("FactorizedWeight.load", factorized_weight, found=lambda: factorized_weight()._weight())
WAY_OF_PARTS = {"parts": given(tensors(6, 5)), "rank": rank}
method("FactorizedWeight.load_matrices", lambda: _Loading(factorized_weight()), **WAY_OF_PARTS)


class _Loading:
    """`load_matrices` with its positional argument under its name."""

    def __init__(self, made: nn.FactorizedWeight) -> None:
        self.made = made

    def load_matrices(self, parts: Any, **options: Any) -> None:
        self.made.load_matrices(parts, **options)


def model() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Linear(15, 6), torch.nn.Tanh(), torch.nn.Linear(6, 2))


asked = {
    "factorization": given("tt"),
    "rank": rank,
    "eps": given(None),
    "n_param": given(None),
    "compression_ratio": given(None),
}
selected = {"pattern": given("0"), "decompose": given("input"), "min_size": given(10), "calibration": given(tensors(3, 15))}
once = {"executor": given(None), "inplace": given(False), "implementation": given("auto"), "n_iter_max": given(3)}
way("factorize_module", nn.factorize_module, model=model, **selected, **asked, **once)
parametrized = {"module": lambda: torch.nn.Linear(15, 6), "name": given("weight"), "start": given("weight"), **modes_of}
way("factorized", nn.factorized, **parametrized, **asked, n_gates=given(1), gate_mode=given("first"))
way("parameter_groups", nn.parameter_groups, model=factorized_linear, lr=given(0.1))
way("tune", nn.tune, module=factorized_linear, rows=given(4), count=given(2), repeats=given(1))


# For tests of formats.

kind = given(tlr.TTMatrix)
for name, cls in (("matrices", tlr.TTMatrix), ("pairs", tlr.TTMatrix), ("tensors", tlr.BTTensor)):
    own = {"tensors": {"shape": given(testing.tensor_shapes())}}.get(
        name, {"tensorized_shape": given(testing.tensorized_shapes()), "ranks": given(None), "padded": given(True)}
    )
    way(f"factorized_{name}", getattr(testing, f"factorized_{name}"), cls=given(cls), backend=given("numpy"), **own)
for name in ("tensor_shapes", "tensorized_shapes"):
    way(name, getattr(testing, name), min_order=given(1), max_order=given(3))
way("canonical_ranks", testing.canonical_ranks, cls=kind, tensorized_shape=modes, max_size=given(3))
laws = {"backends": given(("numpy",)), "max_examples": given(1)}
more = {"reference": given(None), "count": given(None), "ranks": given(None), "recovery": given(None)}
way("assert_format_laws", testing.assert_format_laws, cls=kind, **laws, **more)
way("assert_tensor_laws", testing.assert_tensor_laws, cls=given(tlr.BTTensor), **laws)
subject = given(testing.Subject(tlr.TTMatrix, testing.get_backend("numpy")))
way("check_law", testing.check_law, law=given("linearity"), subject=subject, max_examples=given(1))
way("get_backend", testing.get_backend, name=given("numpy"))
way("installed_backends", testing.installed_backends)
