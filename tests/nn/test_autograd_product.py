"""The product with factors and its gradient by hand: as by autograd, whatever is wanted of it, with nothing kept in vain."""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import tensorly_rnn as tlr
from tensorly_rnn._memoize import clear_caches
from tensorly_rnn.network import operations
from tensorly_rnn.network.row_blocks import row_blocks
from tensorly_rnn.nn import FactorizedLinear, autograd
from tensorly_rnn.nn.autograd import BACKEND
from tests.cases import CASES, every_format
from tests.strategies import slow_but_one

SHAPE = ((5, 3, 2), (2, 7, 3))


@pytest.fixture(autouse=True)
def by_hand(monkeypatch):
    """However small."""
    monkeypatch.setattr(autograd, "LEAST_SECONDS", 0.0)
    clear_caches()
    yield
    clear_caches()


def drawn(case, leading, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    rank = (2, 2) if case.name == "bt" else 2
    f = tlr.get_format(case.name).random(SHAPE, rank, random_state=0)
    factors = [torch.tensor(factor, dtype=dtype, requires_grad=True) for factor in f.factors]
    return f.network, factors, torch.randn(*leading, 42, dtype=dtype, generator=generator)


@pytest.mark.parametrize("most", [2**20, 100, 1])
@pytest.mark.parametrize("leading", [(), (0,), (1,), (13,), (3, 4)], ids=str)
@every_format
def test_values_and_gradients_are_autograds(case, leading, most, monkeypatch):
    network, factors, x = drawn(case, leading)
    wanted = operations.apply(BACKEND, network, factors, x)
    dy = torch.randn(wanted.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    of_wanted = torch.autograd.grad(wanted, factors, dy)
    monkeypatch.setattr(operations, "row_blocks", lambda network, rows: row_blocks(network, rows, most))
    y = autograd.apply(BACKEND, network, factors, x)
    assert type(y.grad_fn).__name__ == "FactorizedProductBackward"
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(y, factors, dy), of_wanted, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case, most", slow_but_one(itertools.product(CASES, [20, 2**20])), ids=str)
def test_first_and_second_derivatives_are_differences(case, most, monkeypatch):
    network, factors, x = drawn(case, (3,))
    monkeypatch.setattr(operations, "row_blocks", lambda network, rows: row_blocks(network, rows, most))

    def function(x, *factors):
        return autograd.apply(BACKEND, network, factors, x)

    assert gradcheck(function, (x.requires_grad_(), *factors))
    assert gradgradcheck(function, (x, *factors))


@pytest.mark.parametrize("on_a_cpu", [True, False])
@every_format
def test_the_gradient_of_x_is_taken_only_where_it_is_wanted_and_nothing_twice(case, on_a_cpu, monkeypatch):
    network, factors, x = drawn(case, (5,))
    # Elsewhere all rows go at once.
    monkeypatch.setattr(operations, "in_system_memory", lambda array: on_a_cpu)
    counted = []
    multiply = BACKEND.matmul
    monkeypatch.setattr(BACKEND, "matmul", lambda a, b: counted.append(1) or multiply(a, b))
    taken = {}
    for wanted in (False, True):
        y = autograd.apply(BACKEND, network, factors, x.requires_grad_(wanted))
        counted.clear()
        y.sum().backward()
        taken[wanted] = len(counted)
        assert (x.grad is not None) == wanted
    assert taken[False] < taken[True] == 2 * len(row_blocks(network, 5).plans[0].steps)


def test_a_factor_in_two_places_counts_twice():
    network = tlr.TTMatrix.random(((3, 3), (2, 2)), 1, random_state=0).network
    core = torch.randn(1, 3, 2, 1, dtype=torch.float64, requires_grad=True)
    x = torch.randn(4, 4, dtype=torch.float64)
    (found,) = torch.autograd.grad(autograd.apply(BACKEND, network, [core, core], x).square().sum(), core, create_graph=True)
    (wanted,) = torch.autograd.grad(
        operations.apply(BACKEND, network, [core, core], x).square().sum(), core, create_graph=True
    )
    torch.testing.assert_close(found, wanted)
    second = [torch.autograd.grad(one.square().sum(), core)[0] for one in (found, wanted)]
    torch.testing.assert_close(*second)


def test_without_gradients_and_where_it_is_traced_the_plain_product_runs():
    network, factors, x = drawn(CASES[0], (3,))
    with torch.no_grad():
        assert autograd.apply(BACKEND, network, factors, x).grad_fn is None
    detached = [factor.detach() for factor in factors]
    assert autograd.apply(BACKEND, network, detached, x).grad_fn is None
    jacobian = torch.func.jacrev(lambda x: autograd.apply(BACKEND, network, detached, x))(x[0])
    torch.testing.assert_close(jacobian @ x[0], autograd.apply(BACKEND, network, detached, x[0]))
    complex_y = autograd.apply(BACKEND, network, [factor.to(torch.complex128) for factor in factors], x.to(torch.complex128))
    assert type(complex_y.grad_fn).__name__ != "FactorizedProductBackward"


def test_small_products_are_autograds_own(monkeypatch):
    network, factors, x = drawn(CASES[0], (3,))
    monkeypatch.setattr(autograd, "LEAST_SECONDS", 0.2e-3)
    clear_caches()
    assert type(autograd.apply(BACKEND, network, factors, x).grad_fn).__name__ != "FactorizedProductBackward"
    many = x[:1].expand(20_000, -1)
    assert type(autograd.apply(BACKEND, network, factors, many).grad_fn).__name__ == "FactorizedProductBackward"


def test_large_results_of_blocks_are_not_kept():
    """The block terms of the papers: most of what their products write is computed again rather than kept."""
    shape, rank = ((16, 4, 4, 4), (8, 20, 20, 18)), (2, (4, 4, 4, 4))
    network = tlr.get_format("bt").format.make_network(shape, rank)
    blocks = row_blocks(network, 96)
    (first, *_), numbers = blocks.plans, range(7, 11)
    assert len(blocks.plans) > 1
    sizes = {n: math.prod(step.shape) for n, step in zip(range(6, 11), first.steps)}
    large = [n for n in numbers if n not in blocks.shared and sizes[n] > 2**19]
    assert not set(large) & set(blocks.kept)
    layer = FactorizedLinear(57600, 1024, factorization="bt", rank=rank, in_modes=shape[1], out_modes=shape[0])
    y = layer.weight(torch.ones(96, 57600))
    # Blocks share the results of factors alone.
    held = {one.data_ptr(): one.numel() for one in y.grad_fn.saved_tensors}
    assert sum(held.values()) - 96 * 57600 - layer.weight.n_param < sum(sizes.values()) < len(blocks.plans) * sizes[6]
