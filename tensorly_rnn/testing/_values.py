"""Laws of values: a factorized matrix computes the results of its dense matrix."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tensorly_rnn._backend import backend_of, most_axes
from tensorly_rnn.decomposition import factorize
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.testing._conduct import refuses
from tensorly_rnn.testing.subject import Subject

Loss = Callable[[list[np.ndarray]], float]

LEADING = ((), (0,), (1,), (3,), (2, 3), (2, 0))


def reconstruction(subject: Subject, draw: st.DrawFn) -> None:
    """`to_matrix` and `to_tensor` equal the reference; `relative_error` is 0 for it and 1/2 for its double."""
    f = draw(subject.matrices())
    dense = subject.dense(f)
    assert f.shape == dense.shape, f"shape: expected {dense.shape}, got {f.shape}"
    subject.equal(f.to_matrix(), dense, "to_matrix")
    out_modes, in_modes = f.tensorized_shape
    stack = (f.stack,) if f.stack > 1 else ()
    subject.equal(f.to_tensor(), dense.reshape(*stack, *out_modes, *in_modes), "to_tensor")
    errors = [f.relative_error(subject.backend.array(scale * dense)) for scale in (1.0, 2.0)]
    np.testing.assert_allclose(errors, [0.0, 0.5], atol=1e-10, err_msg="relative_error")


def apply(subject: Subject, draw: st.DrawFn) -> None:
    """``f.apply(x) = x W^T`` for x of any leading shape and memory order."""
    f = draw(subject.matrices())
    leading = draw(st.sampled_from(((), (3,)) if subject.backend.slow else LEADING))
    x, values = subject.array(*leading, f.shape[1])
    expected = values @ subject.dense(f).T
    subject.equal(f.apply(x), expected, f"apply of shape {values.shape}")
    backend = backend_of("x", x)
    # The same numbers in the opposite memory order.
    axes = tuple(reversed(range(values.ndim)))
    turned = backend.transpose(subject.backend.array(np.ascontiguousarray(values.transpose(axes))), axes)
    subject.equal(f.apply(turned), expected, "apply of a transposed array")


def products(subject: Subject, draw: st.DrawFn) -> None:
    """``f @ x``, ``y @ f`` and the transpose are those of the dense matrix."""
    f = draw(subject.matrices(padded=True))
    dense = subject.dense(f)
    (x, x_values), (y, y_values) = subject.array(2, f.shape[1]), subject.array(2, f.shape[0], seed=1)
    columns = subject.backend.array(x_values.T)
    subject.equal(f @ columns, dense @ x_values.T, "f @ x")
    subject.equal(y @ f, y_values @ dense, "y @ f")
    subject.equal(x @ f.T, x_values @ dense.T, "x @ f.T")
    subject.equal(f.T @ y[0], dense.T @ y_values[0], "f.T @ y")
    assert f.T.shape == dense.T.shape
    subject.equal(f.T.to_matrix(), dense.T, "f.T.to_matrix")
    subject.equal(f.T.T.to_matrix(), dense, "f.T.T.to_matrix")
    if isinstance(f.T, type(f)):
        assert f.T.tensorized_shape == f.tensorized_shape[::-1] and f.T.n_param == f.n_param


def gradients(subject: Subject, draw: st.DrawFn) -> None:
    """Gradients are the central differences of ``sum(dy * (x W^T))``, which is linear in each factor: exact at any step."""
    f = draw(subject.matrices(padded=True))
    leading = draw(st.sampled_from(((2,),) if subject.backend.slow else LEADING))
    (x, x_values), (dy, dy_values) = subject.array(*leading, f.shape[1]), subject.array(*leading, f.shape[0], seed=1)
    of_factors, of_x = f.gradients(x, dy)
    factors, dense = subject.numpy_factors(f), subject.dense(f)
    subject.equal(of_x, dy_values @ dense, "gradient of x")
    assert len(of_factors) == len(factors)
    y, pull_back = f.vjp(x)
    subject.equal(y, x_values @ dense.T, "vjp")
    # Twice, because the partial results are kept.
    for again in (pull_back(dy), pull_back(dy)):
        subject.equal(again[1], dy_values @ dense, "gradient of x by vjp")
        for one, other in zip(again[0], of_factors):
            subject.equal(one, subject.backend.to_numpy(other), "gradient by vjp")
    _are_differences(
        subject, of_factors, factors, lambda moved: np.sum(dy_values * (x_values @ subject.dense_with(f, moved).T))
    )


def lstsq_grad(subject: Subject, draw: st.DrawFn) -> None:
    """`lstsq_grad` is the central difference of its loss, which is quadratic in each factor: exact at any step."""
    f = draw(subject.matrices(padded=True))
    target, values = subject.array(*f.shape)
    mask = np.random.default_rng(1).integers(0, 2, f.shape) if draw(st.booleans()) else None
    weights = np.ones(f.shape) if mask is None else mask.astype(float)
    factors = subject.numpy_factors(f)

    def loss(moved: list[np.ndarray]) -> float:
        return 0.5 * float(np.sum((weights * (subject.dense_with(f, moved) - values)) ** 2))

    result: Any = f.lstsq_grad(target, return_loss=True, mask=None if mask is None else subject.backend.array(weights))
    of, found = result
    np.testing.assert_allclose(float(found), loss(factors), rtol=1e-9, atol=1e-9, err_msg="loss")
    assert type(of) is type(f) and of.shape == f.shape
    _are_differences(subject, of.factors, factors, loss)


def many_modes(subject: Subject, draw: st.DrawFn) -> None:
    """Results are right for five modes and more; a tensor of more axes than the backend supports is refused."""
    order = draw(st.integers(5, 6)) if not subject.backend.slow else 5
    modes = ((2, 1, 3, 1, 2, 1)[:order], (1, 2, 1, 3, 1, 2)[:order])
    f = subject.cls.random(modes, 2, random_state=draw(st.integers(0, 100)), like=subject.backend.array(np.zeros(1)))
    dense = _computes(subject, f)
    subject.equal(f.T.to_matrix(), dense.T, "f.T.to_matrix")
    if 2 * order <= most_axes(f.backend):
        subject.equal(f.to_tensor(), dense.reshape(*modes[0], *modes[1]), "to_tensor")
    else:
        refuses(ValueError, "tensorized_shape must have no more axes", f.to_tensor)


def linearity(subject: Subject, draw: st.DrawFn) -> None:
    """The matrix is linear in each factor."""
    f = draw(subject.matrices())
    number = draw(st.integers(0, len(f.factors) - 1))
    other, _ = subject.array(*f.factors[number].shape, seed=6)

    def with_factor(factor: object) -> np.ndarray:
        factors = [factor if k == number else one for k, one in enumerate(f.factors)]
        return subject.backend.to_numpy(type(f)(factors).to_matrix())

    combined = f.factors[number] * 2.0 - other * 3.0
    expected = 2.0 * with_factor(f.factors[number]) - 3.0 * with_factor(other)
    np.testing.assert_allclose(with_factor(combined), expected, rtol=1e-9, atol=1e-10)


def padding(subject: Subject, draw: st.DrawFn) -> None:
    """A matrix smaller than its modes is the crop of theirs: reconstructed, applied, differentiated."""
    whole = draw(subject.matrices())
    rows, columns = max(1, whole.shape[0] // whole.stack - 1), max(1, whole.shape[1] - 2)
    f = type(whole)(whole.factors, shape=(whole.stack * rows, columns))
    assert f.shape == (whole.stack * rows, columns) and f.compression_ratio == math.prod(f.shape) / f.n_param
    _computes(subject, f)


def arithmetic(subject: Subject, draw: st.DrawFn) -> None:
    """Sums, multiples, inner products and norms are those of the dense matrices."""
    f, g = draw(subject.pairs())
    a, b = subject.dense(f), subject.dense(g)
    scalar = subject.backend.array(np.array(1.5))
    for what, found, expected in (
        ("f + g", f + g, a + b),
        ("f - g", f - g, a - b),
        ("-f", -f, -a),
        ("2 f", 2 * f, 2 * a),
        ("f * array", f * scalar, 1.5 * a),
        ("f / 4", f / 4, a / 4),
    ):
        assert type(found) is type(f) and found.shape == f.shape and found.dtype == f.dtype, what
        subject.equal(found.to_matrix(), expected, what)
    for what, one, wanted in (
        ("inner", f.inner(g), np.sum(a * b)),
        ("inner with itself", f.inner(f), np.sum(a * a)),
        ("norm", f.norm(), np.linalg.norm(a)),
    ):
        assert tuple(one.shape) == () and one.dtype == f.dtype, what
        np.testing.assert_allclose(float(one), wanted, rtol=1e-9, atol=1e-9, err_msg=what)


def recovery(subject: Subject, draw: st.DrawFn) -> None:
    """`factorize` at full rank reproduces any matrix, also one smaller than its modes; a fit may need another start."""
    shape = draw(subject.shapes())
    cls, seed = subject.cls, draw(st.integers(0, 1000))
    padded = (math.prod(shape[0]), math.prod(shape[1]))
    for options in subject.options:
        for rows, columns in (padded, tuple(max(1, n - 1) for n in padded)):
            matrix, dense = subject.array(options.get("root_rank", 1) * rows, columns, seed=seed)
            for start, init in enumerate(("svd", "random", "random")):
                f = factorize(matrix, cls.format.name, shape, "full", init=init, random_state=start, **options)
                error = np.linalg.norm(subject.backend.to_numpy(f.to_matrix()) - dense) / np.linalg.norm(dense)
                if error <= (subject.recovery or 0.0):
                    break
            assert type(f) is cls and f.shape == dense.shape
            assert f.rank == cls.format.validate_rank(shape, "full", **options)
            assert error <= (subject.recovery or 0.0), f"factorize at full rank: error {error:.1e}, allowed {subject.recovery}"


def _computes(subject: Subject, f: FactorizedMatrix) -> np.ndarray:
    """Assert that a matrix reconstructs, multiplies and differentiates as the reference, which is returned."""
    dense = subject.dense(f)
    (x, x_values), (dy, dy_values) = subject.array(2, f.shape[1]), subject.array(2, f.shape[0], seed=1)
    subject.equal(f.to_matrix(), dense, "to_matrix")
    subject.equal(f.apply(x), x_values @ dense.T, "apply")
    of_factors, of_x = f.gradients(x, dy)
    subject.equal(of_x, dy_values @ dense, "gradient of x")
    # The loss is linear in each factor: its value is the factor times its gradient.
    along = [np.sum(one * subject.backend.to_numpy(of)) for one, of in zip(subject.numpy_factors(f), of_factors)]
    np.testing.assert_allclose(along, np.sum(dy_values * (x_values @ dense.T)), rtol=1e-9, atol=1e-9)
    return dense


def _are_differences(subject: Subject, gradients: Sequence[Any], factors: list[np.ndarray], loss: Loss) -> None:
    """Assert that gradients are the central differences of a loss that is at most quadratic in each factor."""
    generator = np.random.default_rng(2)
    for number, (factor, gradient) in enumerate(zip(factors, gradients)):
        assert tuple(gradient.shape) == factor.shape
        direction = generator.normal(size=factor.shape)
        steps = (factor + direction, factor - direction)
        up, down = (loss([step if k == number else one for k, one in enumerate(factors)]) for step in steps)
        along = np.sum(subject.backend.to_numpy(gradient) * direction)
        # Rounding errors of the two losses.
        atol = 1e-8 + 1e-9 * (abs(up) + abs(down))
        np.testing.assert_allclose(along, (up - down) / 2, rtol=1e-8, atol=atol, err_msg=f"gradient {number}")
