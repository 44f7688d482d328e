"""Laws of factorized tensors."""

import math
import pickle

import numpy as np
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from tensorly_rnn.testing.subject import TensorSubject


def reconstruction(subject: TensorSubject, draw: st.DrawFn) -> None:
    """`to_tensor`, `to_vec`, `to_unfolded` and `as_matrix` agree with the tensor by the index names."""
    t = draw(subject.tensors())
    dense = subject.dense(t)
    subject.equal(t.to_tensor(), dense, "to_tensor")
    subject.equal(t.to_vec(), dense.ravel(), "to_vec")
    subject.equal(t.as_matrix().to_matrix(), dense.reshape(-1, 1), "as_matrix")
    for mode in range(t.order):
        unfolded = np.moveaxis(dense, mode, 0).reshape(dense.shape[mode], -1)
        subject.equal(t.to_unfolded(mode), unfolded, f"to_unfolded({mode})")
    errors = [t.relative_error(subject.backend.array(scale * dense)) for scale in (1.0, 2.0)]
    assert_allclose(errors, [0.0, 0.5], atol=1e-10, err_msg="relative_error")


def count(subject: TensorSubject, draw: st.DrawFn) -> None:
    """`n_param` is the sum of the factors' sizes."""
    t = draw(subject.tensors())
    assert t.n_param == sum(math.prod(factor.shape) for factor in t.factors)
    assert t.compression_ratio == math.prod(t.shape) / t.n_param


def arithmetic(subject: TensorSubject, draw: st.DrawFn) -> None:
    """Sums, multiples, inner products and norms are those of the dense tensors."""
    t = draw(subject.tensors())
    u = t * 0.5 + t
    a = subject.dense(t)
    for what, found, expected in (("sum", u, 1.5 * a), ("difference", t - u, -0.5 * a), ("multiple", 2 * t, 2 * a)):
        assert type(found) is type(t) and found.shape == t.shape, what
        subject.equal(found.to_tensor(), expected, what)
    numbers = [float(one) for one in (t.inner(u), t.norm())]
    assert_allclose(numbers, [1.5 * np.sum(a * a), np.linalg.norm(a)], rtol=1e-9, atol=1e-9)


def random(subject: TensorSubject, draw: st.DrawFn) -> None:
    """`random` has the given root mean square in every draw, and repeats with its seed."""
    seed, like = draw(st.integers(0, 2**32 - 2)), subject.backend.array(np.zeros(1))
    first, second, other = (subject.cls.random((2, 3, 5), 2, 0.3, one, like) for one in (seed, seed, seed + 1))
    values = [subject.backend.to_numpy(t.to_tensor()) for t in (first, second, other)]
    assert_allclose(math.sqrt(np.mean(values[0] ** 2)), 0.3, rtol=1e-6)
    assert (values[0] == values[1]).all() and (values[0] != values[2]).any()


def pickling(subject: TensorSubject, draw: st.DrawFn) -> None:
    """A copy by pickle has the same class, shape, rank and entries."""
    t = draw(subject.tensors())
    u = pickle.loads(pickle.dumps(t))
    assert type(u) is type(t) and repr(u) == repr(t)
    subject.equal(u.to_tensor(), subject.dense(t), "the copy")
