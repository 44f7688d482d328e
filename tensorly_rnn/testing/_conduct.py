"""Laws of counts, ranks, random draws, dtypes, unchanged arguments and refused ones."""

import math
import pickle
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tensorly_rnn.decomposition import factorize
from tensorly_rnn.formats.counts import n_param
from tensorly_rnn.testing.subject import Subject

SHAPE = ((2, 3), (3, 5))


def count(subject: Subject, draw: st.DrawFn) -> None:
    """`n_param` equals the formula and the sum of the factors' sizes, also without factors."""
    f = draw(subject.matrices())
    total = sum(math.prod(factor.shape) for factor in f.factors)
    assert f.n_param == total, f"n_param: expected the sum of sizes {total}, got {f.n_param}"
    found = n_param(f.format.name, f.tensorized_shape, f.rank)
    assert found == total, f"n_param without factors: expected {total}, got {found}"
    assert f.compression_ratio == math.prod(f.shape) / total
    if subject.count is not None:
        formula = subject.count([m * n for m, n in zip(*f.tensorized_shape)], f.rank)
        assert formula == total, f"the count of rank {f.rank}: expected the sum of sizes {total}, got {formula}"


def ranks(subject: Subject, draw: st.DrawFn) -> None:
    """A rank determines the size of every rank index; its forms agree; a share is an upper bound."""
    cls, f = subject.cls, draw(subject.matrices())
    shape, order = f.tensorized_shape, len(f.tensorized_shape[0])
    size = {index: n for names, one in zip(cls.format.indices(order), f.factors) for index, n in zip(names, one.shape)}
    stated = cls.format.rank_sizes(f.rank)
    assert {index: size[index] for index in stated} == stated, f"rank {f.rank} of factors with the sizes {size}"
    assert cls.format.rank_from_sizes(size, order) == f.rank == cls.format.validate_rank(shape, f.rank)
    wide = ((4, 3, 2), (5, 3, 4))
    assert cls.format.validate_rank(wide, np.int64(2)) == cls.format.validate_rank(wide, 2)
    assert cls.format.validate_rank(wide, "same") == cls.format.validate_rank(wide, 1.0)
    share = draw(st.floats(0.2, 1.0))
    assert n_param(cls.format.name, wide, share) <= share * 24 * 60
    for wrong in (0, -2, True, None, "half", math.nan, -0.5, 1e-9):
        refuses((TypeError, ValueError), "rank", partial(cls.format.validate_rank, wide, wrong))
    refuses(TypeError, "must be an option of the format", lambda: cls.format.validate_rank(wide, 2, no_option=3))


def random(subject: Subject, draw: st.DrawFn) -> None:
    """`random` has the given root mean square in every draw, and repeats with its seed on the backend of `like`."""
    cls, array = subject.cls, subject.backend.array
    shape = draw(st.sampled_from([SHAPE, ((2, 3, 1), (5, 1, 2))])) if not subject.backend.slow else SHAPE
    std, seed = draw(st.sampled_from([1.0, 0.02, 1e-6, 300.0])), draw(st.integers(0, 2**32 - 2))
    for options in subject.options:
        like = array(np.zeros(1))
        first, second, other = (cls.random(shape, 2, std, one, like, **options) for one in (seed, seed, seed + 1))
        found = math.sqrt(np.mean(subject.backend.to_numpy(first.to_matrix()) ** 2))
        np.testing.assert_allclose(found, std, rtol=1e-6, err_msg="root mean square")
        for one, same, different in zip(*map(subject.numpy_factors, (first, second, other))):
            assert (one == same).all() and (one != different).any(), "the seed decides the factors"
    refuses(ValueError, "std must be", lambda: cls.random(shape, 2, std=-1.0))
    seed_of_text: Any = "5"
    refuses(TypeError, "random_state must be", lambda: cls.random(shape, 2, random_state=seed_of_text))


def dtypes(subject: Subject, draw: st.DrawFn) -> None:
    """Results have the backend and dtype of the factors, in double and single precision."""
    number = draw(st.integers(0, 100))
    # A shape of the pool.
    shape = ((2, 3), (3, 2))
    for dtype in ("float64", "float32"):
        like = subject.backend.array(np.zeros(1, dtype))
        f = subject.cls.random(shape, 2, random_state=number, like=like)
        x = subject.backend.array(np.ones((2, 6), dtype))
        of_factors, of_x = f.gradients(x, x)
        found = factorize(subject.backend.array(np.ones((6, 6), dtype)), f.format.name, shape, 1)
        results: list[Any] = [*f.factors, *found.factors, *of_factors, of_x, f.to_matrix(), f.apply(x), *(f + f).factors]
        for one in results:
            assert isinstance(one, subject.backend.kind), f"expected {subject.backend.kind}, got {type(one)}"
            assert one.dtype == like.dtype, f"expected {like.dtype}, got {one.dtype}"


def half_precision(subject: Subject, draw: st.DrawFn) -> None:
    """In half precision all results are accurate to its digits, and have its dtype."""
    shape, half = ((2, 3), (3, 2)), np.dtype("float16")
    f = subject.cls.random(shape, 2, random_state=draw(st.integers(0, 100)), like=subject.backend.array(np.zeros(1, half)))
    # Other laws check double precision.
    wide = type(f)([factor.astype(float) for factor in subject.numpy_factors(f)])
    x, dy = np.ones((2, 6)), np.full((2, 6), 0.5)
    like = subject.backend.array(np.zeros(1, half))
    of_factors, of_x = f.gradients(subject.backend.array(x.astype(half)), subject.backend.array(dy.astype(half)))
    dense = subject.dense(wide)
    pairs = [
        (f.to_matrix(), dense),
        (f.apply(subject.backend.array(x.astype(half))), x @ dense.T),
        (of_x, dy @ dense),
        *zip(of_factors, wide.gradients(x, dy)[0]),
    ]
    for found, expected in pairs:
        assert found.dtype == like.dtype, f"expected {like.dtype}, got {found.dtype}"
        largest = np.abs(expected).max() + 0.1
        np.testing.assert_allclose(subject.backend.to_numpy(found) / largest, expected / largest, atol=0.02)


def untouched(subject: Subject, draw: st.DrawFn) -> None:
    """Factors, operands and the caller's lists are not changed; factors are not copied."""
    whole = draw(subject.matrices())
    given = list(whole.factors)
    f = type(whole)(given)
    assert f.factors is not given and all(one is two for one, two in zip(f.factors, given))
    (x, _), (dy, _), (matrix, _) = subject.array(2, f.shape[1]), subject.array(2, f.shape[0]), subject.array(*f.shape)
    watched = {**{f"factors[{k}]": one for k, one in enumerate(given)}, "x": x, "dy": dy, "matrix": matrix}
    before = {name: np.array(subject.backend.to_numpy(one)) for name, one in watched.items()}
    f.to_matrix(), f.to_tensor(), f.apply(x), f.gradients(x, dy), dy @ f, f.T, f + f, 2 * f, f.inner(f), f.norm()
    f.relative_error(matrix)
    modes = [list(side) for side in f.tensorized_shape]
    options: dict[str, Any] = {"root_rank": f.stack} if "root_rank" in f.format.options else {}
    factorize(matrix, f.format.name, modes, 1, n_iter_max=2, **options)
    assert tuple(map(tuple, modes)) == f.tensorized_shape, "the caller's lists were changed"
    for name, one in watched.items():
        assert (subject.backend.to_numpy(one) == before[name]).all(), f"{name} was written to"


def pickling(subject: Subject, draw: st.DrawFn) -> None:
    """A copy by pickle has the same class, shape, rank and entries."""
    f = draw(subject.matrices(padded=True))
    g = pickle.loads(pickle.dumps(f))
    # Which contains the shape, the modes and the rank.
    assert type(g) is type(f) and repr(g) == repr(f)
    assert all((one == two).all() for one, two in zip(*map(subject.numpy_factors, (f, g))))


def refusals(subject: Subject, draw: st.DrawFn) -> None:
    """Factors and operands that do not fit are refused by name."""
    array, cls = subject.backend.array, subject.cls
    f = cls.random(SHAPE, 2, random_state=draw(st.integers(0, 100)), like=array(np.zeros(1)))
    factors = f.factors

    # An operand of another backend: an array of NumPy, or a list for NumPy itself.
    def foreign(values: np.ndarray) -> Any:
        return values.tolist() if subject.backend.kind is np.ndarray else values

    numbers = subject.numpy_factors(f)
    refuses(ValueError, "must not be empty", lambda: cls([]))
    refuses(TypeError, "factors must be a sequence of arrays", lambda: cls("factors"))
    refuses(ValueError, r"factors\[0\]", lambda: cls([factors[0][0], *factors[1:]]))
    # Along an axis shared with another factor: other axes give a valid matrix of another shape.
    doubled = array(np.concatenate([numbers[-1]] * 2, axis=_shared_axis(cls)))
    refuses(ValueError, "must agree on the size of index", lambda: cls([*factors[:-1], doubled]))
    refuses(TypeError, "same backend", lambda: cls([*factors[:-1], foreign(numbers[-1])]))
    refuses(TypeError, "one dtype", lambda: cls([*factors[:-1], array(numbers[-1].astype(np.float32))]))
    refuses(ValueError, "must hold the whole matrix", lambda: cls(factors, shape=(6, 16)))
    x, dy = np.ones((2, 15)), np.ones((2, 6))
    refuses(ValueError, "x must have 15 entries", lambda: f.apply(array(x[:, 1:])))
    refuses(TypeError, "dtype", lambda: f.apply(array(x.astype(np.float32))))
    refuses(TypeError, "same backend", lambda: f.apply(foreign(x)))
    refuses(ValueError, "dy must have 6 entries", lambda: f.gradients(array(x), array(dy[:, 1:])))
    refuses(ValueError, "dy must have the leading shape of x", lambda: f.gradients(array(x), array(dy[1:])))
    refuses(ValueError, "matrix must have the shape of f", lambda: f.relative_error(array(np.ones((15, 6)))))
    refuses(TypeError, "the other operand must be", lambda: f @ None)


def refuses(error: type[Exception] | tuple[type[Exception], ...], message: str, call: Callable[[], object]) -> None:
    """Assert that a call raises an error of that type whose message matches the pattern."""
    try:
        result = call()
    except error as raised:
        assert re.search(message, str(raised)), f"expected an error about {message!r}, got {raised}"
    else:
        raise AssertionError(f"expected an error about {message!r}, got {result!r}")


def _shared_axis(cls: type) -> int:
    """Return the axis of the last factor whose index occurs in the other factors too."""
    *others, last = cls.format.indices(2)  # type: ignore[attr-defined]
    shared = {index for indices in others for index in indices}
    return next(axis for axis, index in enumerate(last) if index in shared)
