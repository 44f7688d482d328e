"""A fifth format is one file: all that the library derives, and a decomposition, work for it, and the laws find its faults."""

import importlib
import re
import sys
from functools import partial
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from numpy.testing import assert_allclose

import tensorly_rnn as tlr
from tensorly_rnn.formats import _registry, register
from tensorly_rnn.testing import LAWS, Subject, assert_format_laws, assert_tensor_laws, check_law, get_backend
from tests.backends import BACKENDS
from tests.expected_failures import EXPECTED_FAILURES
from tests.strategies import refused, slow_but_one

ROOT = Path(__file__).parent.parent
SHAPE = ((2, 3, 5), (5, 2, 3))
# The file, the test in five lines, and the test against a reference of one's own.
PAGE = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "fifth_format.md").read_text(), flags=re.DOTALL)


def names_of(code):
    names = {}
    exec(compile(code, "fifth_format.md", "exec"), names)
    return names


@pytest.fixture
def cp(monkeypatch):
    """The class of the example, known to the library for one test."""
    monkeypatch.syspath_prepend(ROOT / "examples")
    before = dict(_registry._FORMATS)
    yield importlib.import_module("cp_format").CPMatrix
    del sys.modules["cp_format"]
    _registry._FORMATS.clear()
    _registry._FORMATS.update(before)


def test_everything_is_derived(cp):
    assert tlr.available_formats() == ("bt", "cp", "ht", "tr", "tt")
    f = cp.random(SHAPE, 3, random_state=0)
    dense = np.einsum("air,bjr,ckr->abcijk", *f.factors).reshape(30, 30)
    assert_allclose(f.to_matrix(), dense, atol=1e-13)
    assert np.sqrt(np.mean(dense**2)) == pytest.approx(1.0)
    assert tlr.n_param("cp", SHAPE, 3) == 3 * (10 + 6 + 15)
    x = np.random.default_rng(0).normal(size=(2, 30))
    assert_allclose(f.apply(x), x @ dense.T, atol=1e-12)
    blocks = tlr.BTMatrix([np.ones((3, 1, 1, 1)), *(np.moveaxis(one, -1, 0)[..., None] for one in f.factors)])
    assert_allclose(blocks.to_matrix(), dense, atol=1e-13)


@pytest.mark.slow
def test_it_decomposes_by_generic_alternating_least_squares(cp):
    recovered = 0
    for seed in range(10):
        dense = cp.random(SHAPE, 2, random_state=seed).to_matrix()
        found = tlr.factorize(dense, "cp", SHAPE, 2, n_iter_max=500, tol=1e-14, random_state=seed + 100)
        assert found.rank == 2
        recovered += found.relative_error(dense) < 1e-6
    assert recovered >= 8


@pytest.mark.slow
def test_the_page_shows_the_example_and_its_tests_pass(cp):
    file, *tests = PAGE
    assert file == (ROOT / "examples" / "cp_format.py").read_text()
    assert len(tests) == 2 and len(tests[0].replace("\n\n", "\n").strip().splitlines()) == 5
    for test in tests:
        names = names_of(test)
        (run,) = (value for name, value in names.items() if name.startswith("test_"))
        names["assert_format_laws"] = partial(assert_format_laws, max_examples=5)
        run()


@pytest.mark.parametrize("backend", slow_but_one(BACKENDS), ids=str)
def test_it_keeps_the_laws_on_every_backend(cp, backend):
    # Where every shape is compiled, all laws of one more format would take longer than they tell.
    limits = {row.law for row in EXPECTED_FAILURES if row.backend == backend.name}
    for law in ("apply", "gradients", "refusals") if backend.slow else set(LAWS) - limits:
        check_law(law, Subject(cp, backend), max_examples=5)


# The law that finds it, the attribute that is broken, and what stands in its place, given the class that keeps all laws.
BROKEN = (
    ("reconstruction", "indices", lambda cp: lambda self, order: tuple((i, j, r) for j, i, r in cp.indices(self, order))),
    ("reconstruction", "to_matrix", lambda cp: lambda f: cp.to_matrix(f) * (1 + 1e-8)),
    ("reconstruction", "to_tensor", lambda cp: lambda f: cp.to_tensor(f).swapaxes(0, -1).reshape(cp.to_tensor(f).shape)),
    ("apply", "apply", lambda cp: lambda f, x: cp.apply(f, x) * (1 + 1e-8)),
    ("apply", "apply", lambda cp: lambda f, x: cp.apply(f, x.reshape(-1, f.shape[1]))),
    ("products", "__matmul__", lambda cp: lambda f, x: -cp.__matmul__(f, x)),
    ("products", "T", lambda cp: property(lambda f: f)),
    ("gradients", "gradients", lambda cp: lambda f, x, dy: ([-one for one in cp.gradients(f, x, dy)[0]], dy @ f)),
    ("gradients", "gradients", lambda cp: lambda f, x, dy: (cp.gradients(f, x, dy)[0], -(dy @ f))),
    ("gradients", "vjp", lambda cp: lambda f, x: (cp.vjp(f, x)[0], lambda dy: (f.factors, dy @ f))),
    ("lstsq_grad", "lstsq_grad", lambda cp: lambda f, *a, **options: tuple(2 * one for one in cp.lstsq_grad(f, *a, **options))),
    ("lstsq_grad", "lstsq_grad", lambda cp: lambda f, target, return_loss, mask: cp.lstsq_grad(f, target, return_loss)),
    ("many_modes", "to_matrix", lambda cp: lambda f: cp.to_matrix(f) * (1.0 if f.order < 5 else 1.01)),
    ("half_precision", "apply", lambda cp: lambda f, x: cp.apply(f, x) * 1.05),
    ("half_precision", "to_matrix", lambda cp: lambda f: cp.to_matrix(f).astype(float)),
    ("linearity", "to_matrix", lambda cp: lambda f: cp.to_matrix(f) + 1.0),
    ("padding", "compression_ratio", lambda cp: property(lambda f: 1.0)),
    ("padding", "gradients", lambda cp: lambda f, x, dy: ([2.0 * one for one in cp.gradients(f, x, dy)[0]], dy @ f)),
    ("arithmetic", "inner", lambda cp: lambda f, other: cp.inner(f, f)),
    ("arithmetic", "__add__", lambda cp: lambda f, other: cp.__add__(f, f)),
    ("arithmetic", "norm", lambda cp: lambda f: cp.norm(f) ** 2),
    ("recovery", "full", lambda cp: lambda self, sizes, stack=1: 1),
    ("count", "rank_from_sizes", lambda cp: lambda self, size, order: size["r"] + 1),
    ("count", "n_param", lambda cp: property(lambda f: cp.n_param.fget(f) + 1)),
    ("ranks", "rank_from_sizes", lambda cp: lambda self, size, order: size["r"] + 1),
    ("ranks", "explicit_rank", lambda cp: lambda self, tensorized_shape, rank, root_rank=None: abs(int(rank or 1)) or 1),
    ("random", "random", lambda cp: classmethod(lambda cls, *a, **options: cp.random.__func__(cls, *a, **options) * 1.01)),
    ("random", "random", lambda cp: classmethod(lambda cls, m, k, std, seed, like: cp.random.__func__(cls, m, k, std, 0, like))),
    ("dtypes", "apply", lambda cp: lambda f, x: cp.apply(f, x).astype(float)),
    ("untouched", "apply", lambda cp: lambda f, x: cp.apply(f, np.add(x, 1.0, out=x))),
    ("untouched", "to_matrix", lambda cp: lambda f: cp.to_matrix(f) * f.factors[0].__imul__(1.5).size),
    ("pickling", "__reduce__", lambda cp: lambda f: (type(f), ([-one for one in f.factors], f.shape))),
    ("refusals", "_check_operand", lambda cp: lambda f, *arguments: f.backend),
)  # fmt: skip


@pytest.fixture
def broken(cp, monkeypatch):
    # That it is red counts here, not the smallest example.
    used = hypothesis.settings.get_current_profile_name()
    hypothesis.settings.register_profile("red", hypothesis.settings.get_profile(used), phases=(hypothesis.Phase.generate,))
    hypothesis.settings.load_profile("red")

    def make(attribute, value):
        # Attributes of the format are broken in its value, others in the class of matrices.
        kind = type(cp.format)
        names = {"name": "broken", "__module__": __name__}
        if hasattr(cp, attribute):
            own = {attribute: value(cp), "format": type("BrokenFormat", (kind,), names)()}
        else:
            own = {"format": type("BrokenFormat", (kind,), {**names, attribute: value(kind)})()}
        cls = type("Broken", (cp,), {**own, "__module__": __name__})
        # Pickles find classes by name.
        for one in (cls, type(own["format"])):
            monkeypatch.setattr(sys.modules[__name__], one.__name__, one, raising=False)
        return register(cls)

    yield make
    hypothesis.settings.load_profile(used)


@pytest.mark.parametrize("law, attribute, value", BROKEN, ids=[f"{law}-{attribute}" for law, attribute, _ in BROKEN])
def test_a_law_is_red_where_it_is_broken(broken, law, attribute, value):
    cls, reference = broken(attribute, value), names_of(PAGE[2])["reference"]
    message = f"the law {law!r} does not hold for Broken on the backend numpy: "
    with pytest.raises(AssertionError, match=message):
        check_law(law, Subject(cls, get_backend("numpy"), reference))


def test_every_law_is_seen_red():
    assert {law for law, *_ in BROKEN} == set(LAWS)


@pytest.mark.slow
def test_a_wrong_count_and_a_write_to_what_is_read_only_are_red(cp, broken):
    with pytest.raises(
        AssertionError, match="the law 'count' does not hold for CPMatrix on the backend numpy: the count of rank"
    ):
        assert_format_laws(cp, count=lambda sizes, rank: rank * sum(sizes) + 1)
    written = broken("apply", lambda cp: lambda f, x: (cp.apply(f, x), np.add(x, 0.0, out=x))[0])
    assert_format_laws(written, max_examples=5)
    with pytest.raises(AssertionError, match="'apply' does not hold for Broken on the backend numpy_read_only: .*read-only"):
        assert_format_laws(written, backends=("numpy_read_only",))


def test_what_cannot_be_tested_is_refused(cp):
    class Unknown(cp):
        format = type("UnknownFormat", (type(cp.format),), {"name": "unknown"})()

    with pytest.raises(
        ValueError, match=r"cls must be registered; expected one of .*, got Unknown named 'unknown'. Decorate it"
    ):
        assert_format_laws(Unknown)
    for wrong in (cp.random(SHAPE, 1), "cp", tlr.BTTensor):
        with pytest.raises(TypeError, match="^cls must be a class of a matrix format; expected a Factorized"):
            assert_format_laws(wrong)
    refused(
        (TypeError, "^cls must be a class of factorized tensors", lambda: assert_tensor_laws(cp)),
        (ValueError, "^backends must be known; expected one of .*'paddle'.*, got 'mxnet'", lambda: assert_format_laws(cp, backends=("mxnet",))),
        (ValueError, "^max_examples must be a positive integer; expected at least 1, got 0", lambda: assert_format_laws(cp, max_examples=0)),
        (ValueError, "^law must be known; expected one of .*'apply'.*, got 'linear'", lambda: check_law("linear", Subject(cp, get_backend("numpy")))),
        (ValueError, "^max_examples must be a positive integer; expected at least 1, got -1", lambda: check_law("apply", Subject(cp, get_backend("numpy")), max_examples=-1)),
        (TypeError, "^max_examples must be a positive integer; expected int, got 2.5", lambda: assert_tensor_laws(tlr.BTTensor, max_examples=2.5)),
    )  # fmt: skip
