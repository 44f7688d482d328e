"""The gradient of the squared distance to a dense array: formulas, differences, autograd, TensorLy's own; masks and padding."""

import jax
import numpy as np
import pytest
import tensorly
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from tensorly.cp_tensor import cp_lstsq_grad
from tensorly.tr_tensor import TRTensor
from tensorly.tt_tensor import TTTensor

import tensorly_rnn as tlr
from tests import paper_gradients, reference
from tests.backends import every_backend
from tests.cases import every_format
from tests.strategies import factorized
from tests.test_gradients import close

of_tensors = pytest.mark.parametrize("name", ["bt", "ht", "tt", "tr"])


def loss_of(dense, target, mask=1.0):
    return 0.5 * float(np.sum((mask * (dense - target)) ** 2))


def by_differences(reconstruct, factors, target, mask):
    return reference.differences(lambda moved: loss_of(reconstruct(moved), target, mask), factors)


def masks(shape, seed=0):
    rng = np.random.default_rng(seed)
    row, column = shape[1:], (*shape[:-1], 1)
    return (
        None,
        rng.random(shape) < 0.5,
        rng.integers(0, 3, shape),
        rng.normal(size=shape),
        rng.random(row) < 0.5,
        rng.normal(size=column),
    )


# One tensor of each kind; its class is TensorLy's for trains and rings.
SHAPE = (3, 4, 5)
TENSORS = {
    "bt": lambda rng: tlr.BTTensor([rng.normal(size=s) for s in ((2, 2, 1, 3), (2, 3, 2), (2, 4, 1), (2, 5, 3))]),
    "ht": lambda rng: tlr.HTTensor(
        [rng.normal(size=s) for s in ((1, 2, 3), (2, 3, 1), (3, 5), (3, 3), (1, 4))], tree=((0, 1), 2)
    ),
    "tt": lambda rng: TTTensor([rng.normal(size=s) for s in ((1, 3, 2), (2, 4, 3), (3, 5, 1))]),
    "tr": lambda rng: TRTensor([rng.normal(size=s) for s in ((2, 3, 3), (3, 4, 1), (1, 5, 2))]),
}
DENSE = {
    "bt": lambda factors: np.einsum("nabc,nia,njb,nkc->ijk", *factors),
    "ht": lambda factors: np.einsum("zab,acd,bk,ci,dj->ijk", *factors),
    "tt": lambda factors: np.einsum("aib,bjc,cka->ijk", *factors),
    "tr": lambda factors: np.einsum("aib,bjc,cka->ijk", *factors),
}


def tensor_and_target(name):
    rng = np.random.default_rng(3)
    t = TENSORS[name](rng)
    return t, rng.normal(size=SHAPE)


def lstsq_grad(name, *arguments, **options):
    return getattr(tlr, f"{name}_lstsq_grad")(*arguments, **options)


@every_format
@given(data=st.data(), which=st.integers(0, 5), seed=st.integers(0, 1000))
def test_matrices_by_the_papers_formulas(case, data, which, seed):
    f = data.draw(factorized(case))
    dense = case.reference(f.factors)
    target = np.random.default_rng(seed).normal(size=dense.shape)
    mask = masks(dense.shape, seed)[which]
    weights = np.ones(dense.shape) if mask is None else mask * np.ones(dense.shape)
    gradient, loss = f.lstsq_grad(target, return_loss=True, mask=mask)
    assert type(gradient) is type(f)
    assert (gradient.shape, gradient.rank, gradient.tensorized_shape) == (f.shape, f.rank, f.tensorized_shape)
    assert float(loss) == pytest.approx(loss_of(dense, target, weights), rel=1e-9, abs=1e-12)
    for formula in paper_gradients.FORMULAS[case.name]:
        close(gradient.factors, formula(f.factors, weights**2 * (dense - target)))
    close(f.lstsq_grad(target, mask=mask).factors, gradient.factors)
    close(lstsq_grad(case.name, f, target, mask=mask).factors, gradient.factors)


@of_tensors
def test_tensors_by_differences_and_autograd(name):
    t, target = tensor_and_target(name)
    kind = type(t)
    for mask in masks(SHAPE):
        weights = 1.0 if mask is None else 1.0 * mask
        gradient, loss = lstsq_grad(name, t, target, return_loss=True, mask=mask)
        assert isinstance(gradient, kind) and gradient.rank == t.rank and gradient.shape == t.shape
        assert float(loss) == pytest.approx(loss_of(DENSE[name](t.factors), target, weights))
        expected = by_differences(DENSE[name], t.factors, target, weights)
        close(gradient.factors, expected)
        alone = lstsq_grad(name, t, target, mask=mask)
        assert isinstance(alone, kind)
        close(alone.factors, expected)
        if name != "ht":  # whose bare factors stand on the balanced tree
            close(lstsq_grad(name, t.factors, target, mask=mask).factors, expected)


@of_tensors
def test_masked_entries_do_not_matter(name):
    t, target = tensor_and_target(name)
    mask = np.random.default_rng(5).random(SHAPE) < 0.7
    expected, loss = lstsq_grad(name, t, target, return_loss=True, mask=mask)
    for missing in (np.nan, np.inf, 1e300):
        holed = np.where(mask, target, missing)
        found, same = lstsq_grad(name, t, holed, return_loss=True, mask=mask)
        assert float(same) == float(loss)
        close(found.factors, expected.factors)
    nothing, zero = lstsq_grad(name, t, target, return_loss=True, mask=np.zeros(SHAPE, dtype=bool))
    assert float(zero) == 0.0 and not any(one.any() for one in nothing.factors)


def test_rank_one_blocks_are_tensorlys_cp():
    rng = np.random.default_rng(6)
    cp = (rng.normal(size=3), [rng.normal(size=(size, 3)) for size in SHAPE])
    target, mask = rng.normal(size=SHAPE), rng.random(SHAPE) < 0.6
    t = tlr.BTTensor.from_cp(cp)
    for chosen in (None, mask):
        expected, loss = cp_lstsq_grad(tensorly.cp_tensor.CPTensor(cp), target, return_loss=True, mask=chosen)
        gradient, found = tlr.bt_lstsq_grad(t, target, return_loss=True, mask=chosen)
        assert float(found) == pytest.approx(float(loss))
        close(gradient.to_cp().factors, expected.factors)
        # TensorLy leaves the weights out.
        residual = (1.0 if chosen is None else chosen) * (np.einsum("n,in,jn,kn->ijk", cp[0], *cp[1]) - target)
        close([gradient.to_cp().weights], [np.einsum("ijk,in,jn,kn->n", residual, *cp[1])])


@every_backend
@of_tensors
def test_every_backend(name, backend):
    t, target = tensor_and_target(name)
    mask = np.random.default_rng(7).random(SHAPE) < 0.7
    expected, loss = lstsq_grad(name, t, target, return_loss=True, mask=mask)
    cores = [backend.array(factor) for factor in t.factors]
    g = type(t)(cores, tree=t.tree) if name == "ht" else cores
    given_ = np.where(mask, target, np.nan)
    found, same = lstsq_grad(name, g, backend.array(given_), return_loss=True, mask=backend.array(mask))
    assert all(isinstance(one, backend.kind) for one in found.factors)
    assert tuple(same.shape) == () and same.dtype == found.factors[0].dtype
    assert float(same) == pytest.approx(float(loss))
    close(found.factors, expected.factors)


def test_second_derivatives_pass_through():
    t, target = tensor_and_target("bt")
    mask = np.random.default_rng(8).random(SHAPE) < 0.7
    holed = np.where(mask, target, np.nan)

    def loss(factors):
        return tlr.bt_lstsq_grad(factors, jax.numpy.asarray(holed), return_loss=True, mask=jax.numpy.asarray(mask))[1]

    close(jax.grad(loss)([jax.numpy.asarray(one) for one in t.factors]), tlr.bt_lstsq_grad(t, target, mask=mask).factors)
    leaves = [torch.tensor(one, requires_grad=True) for one in t.factors]
    gradient = tlr.bt_lstsq_grad(leaves, torch.tensor(holed), mask=torch.tensor(mask))
    sum((one**2).sum() for one in gradient.factors).backward()

    def squares(factors):
        return sum(float(np.sum(one**2)) for one in tlr.bt_lstsq_grad(factors, target, mask=mask).factors)

    for leaf, wanted in zip(leaves, reference.differences(squares, t.factors, step=1e-5)):
        assert_allclose(leaf.grad.numpy(), wanted, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_reckoned_in_single(dtype):
    f = tlr.TTMatrix.random(((20, 20), (20, 20)), 2, std=3.0, random_state=0, like=torch.zeros(1, dtype=dtype))
    target = torch.zeros(400, 400, dtype=dtype)
    gradient, loss = f.lstsq_grad(target, return_loss=True, mask=torch.ones(400, 400, dtype=bool))
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(0.5 * 9.0 * 400 * 400, rel=0.02)  # beyond float16's largest number
    double = tlr.TTMatrix([factor.double() for factor in f.factors]).lstsq_grad(target.double())
    for one, other in zip(gradient.factors, double.factors):
        assert one.dtype == dtype
        assert float((one.double() - other).norm() / other.norm()) < 0.01
