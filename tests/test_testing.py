"""The draws of the public strategies, the loops that the laws compare with, and backends by name."""

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import tensorly_rnn as tlr
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.testing import (
    assert_format_laws,
    canonical_ranks,
    factorized_matrices,
    factorized_pairs,
    factorized_tensors,
    get_backend,
    installed_backends,
    tensor_shapes,
    tensorized_shapes,
)
from tensorly_rnn.testing.reference import matrix_by_definition
from tensorly_rnn.testing.strategies import pool, rank_indices
from tests.backends import BACKENDS, to_numpy
from tests.cases import every_format, slow_formats
from tests.test_backends import run


def format_of(case) -> type[FactorizedMatrix]:
    return tlr.get_format(case.name)


@given(modes=tensorized_shapes() | st.tuples(tensor_shapes(), st.just(())))
def test_modes_are_distinct_primes_and_ones(modes):
    both = [mode for side in modes for mode in side]
    large = [mode for mode in both if mode > 1]
    assert set(both) <= {1, 2, 3, 5, 7} and len(large) == len(set(large)) and math.prod(both) <= 210
    assert 1 <= len(modes[0]) <= 4 and len(modes[1]) in (0, len(modes[0]))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_every_order_is_drawn(order):
    assert len(find(tensorized_shapes(), lambda modes: len(modes[0]) == order)[1]) == order
    assert len(find(tensor_shapes(order, order), lambda shape: math.prod(shape) > 5)) == order


@slow_formats("bt", "ht")
def test_free_rank_indices_take_every_size_and_the_others_are_one(case):
    cls, shape = format_of(case), ((2, 3, 1), (5, 1, 7))
    free, single = rank_indices(cls, 3)
    for index in free:
        for size in (1, 2, 3):
            found = find(canonical_ranks(cls, shape), lambda rank, i=index, n=size: cls.format.rank_sizes(rank)[i] == n)
            assert all(cls.format.rank_sizes(found).get(one, 1) == 1 for one in single)
    # Each on its own: any two may differ.
    for one, two in itertools.pairwise(free):
        find(
            canonical_ranks(cls, shape),
            lambda rank, a=one, b=two: cls.format.rank_sizes(rank)[a] > cls.format.rank_sizes(rank)[b],
        )


@every_format
@given(data=st.data())
def test_drawn_ranks_are_canonical(case, data):
    cls, shape = format_of(case), data.draw(tensorized_shapes())
    rank = data.draw(canonical_ranks(cls, shape, max_size=4))
    assert cls.format.validate_rank(shape, rank) == rank
    assert max(cls.format.rank_sizes(rank).values()) <= 4
    assert tlr.n_param(case.name, shape, rank) == case.count([m * n for m, n in zip(*shape)], rank)


@every_format
@settings(max_examples=15)
@given(data=st.data())
def test_the_default_reference_equals_explicit_loops(case, data):
    f = data.draw(factorized_matrices(format_of(case)))
    np.testing.assert_allclose(matrix_by_definition(type(f), f.factors), case.reference(f.factors), atol=1e-11)


@every_format
def test_pools_are_uneven(case):
    cls = format_of(case)
    assert [len(shape[0]) for shape in pool(cls)] == [1, 2, 3]
    for shape, rank in pool(cls).items():
        assert cls.format.validate_rank(shape, rank) == rank
        sizes = [cls.format.rank_sizes(rank)[index] for index in rank_indices(cls, len(shape[0]))[0]]
        assert len(sizes) < 2 or len(set(sizes)) > 1


@every_format
@given(data=st.data())
def test_arguments_of_the_strategies_count(case, data):
    cls, modes = format_of(case), ((2, 3), (5, 1))
    shape, ranks = st.just(modes), lambda shape: st.just(2 if shape == modes else None)
    f, g = data.draw(factorized_pairs(cls, "numpy_read_only", shape, ranks, padded=True))
    assert f.tensorized_shape == g.tensorized_shape == modes and f.rank == g.rank == cls.format.validate_rank(modes, 2)
    assert f.shape == g.shape and f.shape[0] <= 6 and f.shape[1] <= 5
    assert not any(one.flags.writeable for one in (*f.factors, *g.factors))


@every_format
def test_some_are_smaller_than_their_modes_where_asked(case):
    find(factorized_matrices(format_of(case), padded=True), lambda f: f.shape != f.network.shape)


@given(data=st.data(), kind=st.sampled_from([tlr.BTTensor, tlr.HTTensor]))
def test_tensors_take_a_shape(data, kind):
    assert data.draw(factorized_tensors(kind, shape=st.just((2, 5, 3)))).shape == (2, 5, 3)


@pytest.mark.parametrize("backend", BACKENDS, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
def test_arrays_go_to_a_backend_and_back(backend, dtype, shape):
    values = np.random.default_rng(0).normal(size=shape).astype(dtype)
    array = backend.array(values)
    assert isinstance(array, backend.kind) and tuple(array.shape) == shape
    for back in (backend.to_numpy(array), to_numpy(array)):
        assert isinstance(back, np.ndarray) and back.dtype == dtype and (back == values).all()
    assert get_backend(backend.name) is backend and backend.name in installed_backends()


def test_the_callers_array_is_not_shared():
    values = np.zeros(3)
    for backend in BACKENDS:
        array = backend.array(values)
        values += 1.0
        assert (to_numpy(array) == values - 1.0).all(), backend


@pytest.mark.parametrize(
    "name, error, message",
    [
        ("mxnet", ValueError, "name must be known; expected one of .*'numpy_read_only', 'pytorch'.*, got 'mxnet'"),
        (3, TypeError, "name must be a name; expected one of .*, got 3"),
    ],
)
def test_unknown_backends_are_refused(name, error, message):
    with pytest.raises(error, match=message):
        get_backend(name)
    with pytest.raises(error, match=f"^backends{message[len('name') :]}"):
        assert_format_laws(tlr.TTMatrix, backends=(name,))


@pytest.mark.parametrize(
    ("imports", "call", "printed"),
    [
        ("import sys; sys.modules['cupy'] = None; from tensorly_rnn.testing import get_backend", "get_backend('cupy')", "name must be an installed backend; got 'cupy' and .*"),
        ("import jax; from tensorly_rnn.testing import get_backend", "get_backend('jax')", ".*expected float64, got JAX in float32.*"),
        ("import sys, tensorly_rnn, tensorly_rnn.nn; assert 'hypothesis' not in sys.modules; sys.modules['hypothesis'] = None", "import tensorly_rnn.testing", r"hypothesis must be installed; run pip install 'tensorly-rnn\[testing\]'\."),
        ("import sys, tensorly_rnn.testing", "print([name for name in ('torch', 'jax', 'tensorflow', 'paddle', 'pytest') if name in sys.modules])", r"\[\]"),
        ("import jax, tensorly_rnn.testing", "print(jax.config.jax_enable_x64)", "False"),
    ],
    ids=["no CuPy", "JAX in single precision", "no Hypothesis", "no framework", "JAX left as it is"],
)  # fmt: skip
def test_in_a_process_of_its_own(imports, call, printed):
    code = f"{imports}\ntry:\n    {call}\nexcept (ImportError, ValueError) as error:\n    print(error)"
    assert re.fullmatch(printed, run(code), flags=re.DOTALL)
