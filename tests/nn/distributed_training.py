"""Launched by tests/nn/test_distributed.py: two processes train to the same result as one process on the whole batch.

``python -m torch.distributed.run --standalone --nproc-per-node 2 -m tests.nn.distributed_training``
"""

import os
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from tensorly_rnn.nn import FactorizedGRU, FactorizedLinear, FactorizedLSTM, parameter_groups

# Of order 3 and uneven ranks: first axes of 1, which one process of two holds alone, of 3 and of 5.
SETTINGS = {
    "tt": {"factorization": "tt", "rank": (1, 2, 3, 1), "decompose": "full", "implementation": "factorized"},
    "tr": {"factorization": "tr", "rank": (2, 3, 2, 2), "decompose": "layerwise", "implementation": "reconstructed"},
    "bt": {"factorization": "bt", "rank": (3, 2), "decompose": "input"},
    "ht": {"factorization": "ht", "rank": 3, "decompose": "full", "implementation": "reconstructed"},
}
MODES = {"input_modes": (2, 3, 3), "hidden_modes": (2, 2, 2)}


class Model(nn.Module):
    def __init__(self, settings, device=None):
        super().__init__()
        where = {"device": device, "dtype": torch.float64}
        self.lstm = FactorizedLSTM(11, 7, bidirectional=True, forget_bias=1.5, **settings, **MODES, **where)
        self.gru = FactorizedGRU(
            14,
            5,
            factorization=settings["factorization"],
            rank=settings["rank"],
            gate_mode="first",
            input_modes=(3, 5, 1),
            hidden_modes=(5, 1, 1),
            **where,
        )
        self.head = FactorizedLinear(5, 3, factorization="ht", rank=2, **where)

    def forward(self, x):
        return self.head(self.gru(self.lstm(x)[0])[0][-1])


def made(settings, seed=0):
    torch.manual_seed(seed)
    return Model(settings)


def sharded(model):
    for layer in model.children():
        fully_shard(layer, mesh=MESH)
    return fully_shard(model, mesh=MESH)


def trained(model, x, y, steps=3):
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()
    return model


def whole(parameters):
    return [parameter.full_tensor() if hasattr(parameter, "full_tensor") else parameter for parameter in parameters]


def assert_same(model, other):
    assert_close(whole(model.parameters()), list(other.parameters()), atol=1e-10, rtol=0)


def refused(call, words):
    try:
        call()
    except (ValueError, RuntimeError) as error:
        assert words in str(error), error
    else:
        raise AssertionError(f"not refused: {words}")


def test_training(settings):
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((3, 6, 11), (6, 3)))
    own = slice(3 * RANK, 3 * RANK + 3)
    before = made(settings)
    one = trained(made(settings), x, y)
    parallel = trained(DistributedDataParallel(made(settings)), x[:, own], y[own])
    assert_same(parallel.module, one)
    split = trained(sharded(made(settings)), x[:, own], y[own])
    assert_same(split, one)
    assert all(hasattr(parameter, "full_tensor") for parameter in split.parameters())
    with torch.no_grad():
        assert_close(split(x), one(x), atol=1e-10, rtol=0)
    # The model moved by more than what is compared.
    assert max((p - q).abs().max() for p, q in zip(one.parameters(), before.parameters())) > 1e-3


def test_sharded_layers_outside_forward(settings):
    one, split = made(settings, seed=3), sharded(made(settings, seed=3))
    x = torch.randn(3, 2, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    assert repr(split.lstm.extra_repr()) == repr(one.lstm.extra_repr())
    assert [weight.n_param for weight in split.lstm._factorized()] == [weight.n_param for weight in one.lstm._factorized()]
    assert_close(split.lstm.to_lstm()(x), one.lstm.to_lstm()(x), atol=1e-12, rtol=0)
    assert_close(split.head.to_linear().weight, one.head.to_linear().weight, atol=1e-12, rtol=0)
    refused(lambda: split.head.weight.matrix(), "factors must be complete where gradients are recorded")
    refused(
        lambda: split.head.weight.load_matrices(torch.ones(3, 5).double()),
        "factors must not be sharded when they are replaced",
    )
    rates, wanted = (
        {one: group["lr"] for group in parameter_groups(model, 0.1) for one in group["params"]} for model in (split, one)
    )
    assert_close([rates[p] for p in split.parameters()], [wanted[p] for p in one.parameters()], atol=0, rtol=1e-12)
    # A state dict goes from the whole model to the split one and back.
    saved = {name: parameter.full_tensor() for name, parameter in split.state_dict().items()}
    assert_close(saved, dict(one.state_dict()), atol=0, rtol=0)
    fresh = sharded(made(settings, seed=4))
    fresh.load_state_dict(split.state_dict())
    assert_same(fresh, one)


def test_starts(settings):
    # Deferred: no process holds the model before it is split. Each draws after another seed; the first's counts.
    with torch.device("meta"):
        split = sharded(Model(settings))
    split.to_empty(device="cpu")
    torch.manual_seed(5 + RANK)
    one = made(settings, seed=5)
    torch.manual_seed(5 + RANK)
    for layer in split.children():
        layer.reset_parameters()
    assert_same(split, one)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    RANK, MESH = dist.get_rank(), init_device_mesh("cpu", (2,))
    for name in sys.argv[1:] or SETTINGS:
        for test in (test_training, test_sharded_layers_outside_forward, test_starts):
            test(SETTINGS[name])
            if RANK == 0:
                print(name, test.__name__, flush=True)
    dist.barrier()
    # Not by return: threads of the process group now and then abort a process that takes itself apart.
    os._exit(0)
