"""Matrices that decompositions stumble over: repeated and vanishing singular values, in every precision and at every scale."""

import math

import numpy as np
import pytest
import torch

import tensorly_rnn as tlr
from tests.cases import CASES, every_format, slow_with_loops
from tests.strategies import in_pairs

MODES, SIDE = ((2, 3, 2), (3, 2, 2)), 12
NORMAL = np.random.default_rng(0).normal(size=(SIDE, SIDE))
MATRICES = {
    "zero": np.zeros((SIDE, SIDE)),
    "constant": np.ones((SIDE, SIDE)),
    "identity": np.eye(SIDE),
    "orthogonal": np.linalg.qr(NORMAL)[0],
    "one entry": np.eye(SIDE)[:, [3]] @ np.eye(SIDE)[[5]],
    "rank 1": np.outer(NORMAL[0], NORMAL[1]),
    "equal blocks": np.kron(np.eye(4), np.ones((3, 3))),
}
#: The error that rounding may leave in a decomposition at full rank.
TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5, np.float16: 1e-2}


@in_pairs(
    case=CASES,
    dtype=TOLERANCE,
    name=MATRICES,
    # Where singular values are equal, a fit with loops takes all its steps.
    slow=lambda case, dtype, name: case.bound is None and name in ("orthogonal", "equal blocks"),
)
def test_repeated_and_vanishing_singular_values(case, name, dtype):
    matrix = MATRICES[name].astype(dtype)
    for asked in ({"rank": "full"}, {"rank": 2}, {"eps": 0.3}):
        found = tlr.factorize(matrix, case.name, MODES, n_iter_max=20, **asked)
        assert all(factor.dtype == dtype and np.isfinite(factor).all() for factor in found.factors)
        error = found.relative_error(matrix)
        allowed = {"full": TOLERANCE[dtype], 2: 1 + TOLERANCE[dtype]}.get(asked.get("rank"), 0.3 * (1 + TOLERANCE[dtype]))
        assert error <= allowed, asked
        if name in ("zero", "constant", "one entry") and asked.get("rank") == 2:
            assert error <= TOLERANCE[dtype]


@slow_with_loops
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float32, 1e-30), (np.float32, 1e30), (np.float64, 1e-150), (np.float64, 1e150), (np.float16, 1e-3)],
)
def test_a_decomposition_is_that_of_the_matrix_times_its_scale(case, dtype, scale):
    for asked in ({"rank": 2}, {"eps": 0.3}, {"n_param": 60}):
        plain = tlr.factorize(NORMAL, case.name, MODES, n_iter_max=20, **asked)
        matrix = (NORMAL * scale).astype(dtype)
        found = tlr.factorize(matrix, case.name, MODES, n_iter_max=20, **asked)
        assert all(np.isfinite(factor).all() for factor in found.factors)
        tolerance = 0.05 if dtype == np.float16 else 1e-3
        assert found.relative_error(matrix) == pytest.approx(plain.relative_error(NORMAL), abs=tolerance)
        assert float(found.norm()) == pytest.approx(scale * float(plain.norm()), rel=tolerance)
        assert math.isfinite(found.round(1).relative_error(matrix))


@every_format
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_products_are_as_good_as_their_precision(case, dtype):
    kind = tlr.get_format(case.name)
    f = kind.random(MODES, 2, random_state=0, like=torch.zeros(1, dtype=dtype))
    exact = kind([factor.double() for factor in f.factors])
    x = torch.from_numpy(NORMAL[:5]).to(dtype)
    for found, wanted in ((f.to_matrix(), exact.to_matrix()), (f.apply(x), exact.apply(x.double()))):
        assert found.dtype == dtype
        assert torch.linalg.norm(found.double() - wanted) <= 4 * torch.finfo(dtype).eps * torch.linalg.norm(wanted)


@every_format
@pytest.mark.parametrize("name", MATRICES)
def test_gradients_are_finite(case, name):
    matrix = torch.from_numpy(MATRICES[name])
    found = tlr.factorize(matrix, case.name, MODES, rank="full", n_iter_max=20)
    for measure in (
        lambda f: f.norm(),
        lambda f: (f - f).norm(),
        lambda f: f.inner(f),
        lambda f: f.to_matrix().square().sum(),
        lambda f: f.apply(matrix).square().sum(),
        lambda f: (f.to_matrix() - matrix).square().sum(),
    ):
        factors = [factor.clone().requires_grad_() for factor in found.factors]
        measure(type(found)(factors)).backward()
        assert all(torch.isfinite(factor.grad).all() for factor in factors)
