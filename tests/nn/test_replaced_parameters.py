"""Parameters that torch's tools or users replace by other tensors: every layer computes as torch's dense module does."""

import copy
import functools
import importlib

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils import parametrizations, parametrize, prune, weight_norm
from torch.testing import assert_close

from tensorly_rnn import nn as factorized
from tests.strategies import in_pairs

# Class, arguments of torch's, shape of x.
KINDS = {
    "linear": ("Linear", (7, 5), {}, (3, 7)),
    "relu": ("RNN", (7, 5), {"nonlinearity": "relu", "bidirectional": True}, (4, 3, 7)),
    "gru": ("GRU", (7, 5), {"num_layers": 2}, (4, 3, 7)),
    "lstm": ("LSTM", (7, 5), {"proj_size": 3}, (4, 3, 7)),
    "rnn cell": ("RNNCell", (7, 5), {}, (3, 7)),
    "lstm cell": ("LSTMCell", (7, 5), {}, (3, 7)),
}
CONVERSIONS = {"Linear": "linear", "RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}
EXACT = {"atol": 1e-12, "rtol": 0}


class Bent(nn.Module):
    def forward(self, value):
        return 1.5 * value + value.sin()


def bare(value):
    """A module whose result is one parameter, under the name `p`."""
    module = nn.Module()
    module.register_parameter("p", nn.Parameter(value.detach().clone()))
    module.forward = lambda: module.p
    return module


# Each replaces a parameter of a module and returns the tensor that a user then changes.


def pruned(module, name):
    mask = (torch.arange(getattr(module, name).numel()) % 3 > 0).reshape(getattr(module, name).shape)
    prune.custom_from_mask(module, name, mask)
    return getattr(module, f"{name}_orig")


def parametrized(module, name):
    parametrize.register_parametrization(module, name, Bent())
    return module.parametrizations[name].original


def parametrized_by_nothing(module, name):
    parametrize.register_parametrization(module, name, nn.Identity())
    return module.parametrizations[name].original


def normalized(module, name):
    parametrizations.weight_norm(module, name)
    return module.parametrizations[name].original1


def normalized_by_hook(module, name):
    weight_norm(module, name)
    return getattr(module, f"{name}_g")


def own_tensor(module, name):
    value = 1.5 * getattr(module, name).detach()
    delattr(module, name)
    setattr(module, name, value.requires_grad_())
    return value


def buffer(module, name):
    value = 1.5 * getattr(module, name).detach()
    delattr(module, name)
    module.register_buffer(name, value.requires_grad_())
    return value


def other_parameter(module, name):
    setattr(module, name, nn.Parameter(1.5 * getattr(module, name).detach()))
    return getattr(module, name)


REPLACED = (pruned, parametrized, parametrized_by_nothing, normalized, normalized_by_hook, own_tensor, buffer, other_parameter)


def functional(module, path):
    value = (1.5 * module.get_parameter(path).detach()).requires_grad_()
    return lambda x: functional_call(module, {path: value}, (x,)), value


def replicated(module, path):
    # As DataParallel does at every call, without devices.
    tools = importlib.import_module("torch.nn.parallel.replicate")

    def call(x):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tools, "_get_device_index", lambda device, optional: device)
            patch.setattr(tools, "_broadcast_coalesced_reshape", lambda tensors, *_, **__: [[one.clone() for one in tensors]])
            return tools.replicate(module, ["cpu"])[0](x)

    return call, module.get_parameter(path)


def outputs(result):
    return [result] if isinstance(result, torch.Tensor) else [one for part in result for one in outputs(part)]


def as_dense(dense, layer, path, value):
    """Function from x to the outputs of torch's module, for which one parameter of the layer in factors is `value()`."""
    place, _, number = path.partition(".factors.")

    def call(x):
        if not number:
            return functional_call(dense, {path: value()}, (x,))
        weight = layer.get_submodule(place)
        factors = list(weight.factors)
        factors[int(number)] = value()
        gated = weight._weight().with_factors(factors)
        both = isinstance(layer, factorized.FactorizedLinear) or len(weight.widths) == 1
        names = [place] if both else [place.replace("weight", name) for name in ("weight_ih", "weight_hh")]
        return functional_call(dense, dict(zip(names, gated.matrices())), (x,))

    return call


@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated:FutureWarning")
@in_pairs(
    kind=KINDS,
    way=(*REPLACED, functional, replicated),
    implementation=["factorized", "reconstructed"],
    decompose=["input", "layerwise", "full"],
    gradients=[False, True],
    slow=lambda kind, way, *_: kind in ("gru", "rnn cell") or way is normalized,
)
def test_replaced_parameters(kind, way, implementation, decompose, gradients):
    name, sizes, settings, shape = KINDS[kind]
    torch.manual_seed(0)
    dense = getattr(nn, name)(*sizes, **settings, dtype=torch.float64).eval()
    options = {} if kind == "linear" else {"decompose": decompose}
    ours, end = getattr(factorized, f"Factorized{name}"), CONVERSIONS.get(name, "cell")
    layer = getattr(ours, f"from_{end}")(dense, factorization="tt", rank="full", implementation=implementation, **options)
    x = torch.randn(shape, dtype=torch.float64)
    for path in [path for path, _ in layer.named_parameters() if not path.endswith((".1", ".2"))]:
        changed = copy.deepcopy(layer)
        if way in REPLACED:
            owner, _, own = path.rpartition(".")
            call, leaf = changed, way(changed.get_submodule(owner), own)
            value = bare(layer.get_parameter(path))
            of_value = way(value, "p")
        else:
            call, leaf = way(changed, path)
            of_value = leaf.detach().clone().requires_grad_()
            value = functools.partial(torch.clone, of_value)
        wanted_of = as_dense(dense, layer, path, value)
        for _ in range(2):
            with torch.set_grad_enabled(gradients):
                found, wanted = outputs(call(x)), outputs(wanted_of(x))
            assert_close(found, wanted, **EXACT)
            if gradients:
                pairs = ((found, leaf), (wanted, of_value))
                sums = [torch.autograd.grad(sum(one.sin().sum() for one in of), to)[0] for of, to in pairs]
                assert_close(*sums, **EXACT)
            elif call is changed:
                assert_close(outputs(getattr(changed, f"to_{end}")()(x)), wanted, **EXACT)
            with torch.no_grad():
                leaf.mul_(1.25)
                of_value.mul_(1.25)
