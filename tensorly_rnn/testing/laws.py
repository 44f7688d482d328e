"""Check the laws that every format must obey on every backend."""

import numbers
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tensorly_rnn._checks import instance_of, one_of, positive_int
from tensorly_rnn.formats import FactorizedMatrix, FactorizedTensor, available_formats, get_format
from tensorly_rnn.testing import _conduct, _tensors, _values
from tensorly_rnn.testing.backends import MODULES, Backend, get_backend
from tensorly_rnn.testing.strategies import Ranks
from tensorly_rnn.testing.subject import Count, Reference, Subject, TensorSubject

#: The laws by name: ``law(subject, draw)`` raises an error if one example, drawn with `draw`, violates it.
LAWS: dict[str, Callable[[Subject, st.DrawFn], None]] = {
    law.__name__: law
    for law in (
        *(_values.reconstruction, _values.apply, _values.products, _values.gradients, _values.lstsq_grad, _values.linearity),
        *(_values.many_modes, _values.padding, _values.arithmetic, _values.recovery),
        *(_conduct.count, _conduct.ranks, _conduct.random, _conduct.dtypes, _conduct.half_precision, _conduct.untouched),
        *(_conduct.pickling, _conduct.refusals),
    )
}
#: The laws of factorized tensors by name.
TENSOR_LAWS: dict[str, Callable[[TensorSubject, st.DrawFn], None]] = {
    law.__name__: law
    for law in (_tensors.reconstruction, _tensors.count, _tensors.arithmetic, _tensors.random, _tensors.pickling)
}

# Most examples in all, and on backends that compile every shape.
MOST_EXAMPLES, EXAMPLES_WHERE_SLOW = 1_000_000, 2


def check_law(law: str, subject: Subject | TensorSubject, max_examples: int = 25) -> None:
    """Check one law on drawn examples.

    Parameters
    ----------
    law : str
        One of `LAWS`, or of `TENSOR_LAWS` for a `TensorSubject`.
    subject : Subject or TensorSubject
    max_examples : int
        Examples to draw; at most 2 on a backend that compiles every shape.

    Raises
    ------
    AssertionError
        If an example violates the law; the message names the law, the format and the backend.
    TypeError, ValueError
        If there is no such law, or `max_examples` is no positive integer.

    Examples
    --------
    >>> from tensorly_rnn import TTMatrix
    >>> check_law("apply", Subject(TTMatrix, get_backend("numpy")))
    """
    instance_of("subject", subject, (Subject, TensorSubject), "a Subject or a TensorSubject")
    laws: dict[str, Callable[[Any, st.DrawFn], None]] = {**(TENSOR_LAWS if isinstance(subject, TensorSubject) else LAWS)}
    check_example = laws[one_of("law", law, tuple(laws))]
    max_examples = positive_int("max_examples", max_examples, most=MOST_EXAMPLES)

    # Without a database, in which Hypothesis would mix the examples of all laws.
    @settings(
        max_examples=min(max_examples, EXAMPLES_WHERE_SLOW) if subject.backend.slow else max_examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
    )
    @given(st.data())
    def check(data: st.DataObject) -> None:
        check_example(subject, data.draw)  # type: ignore[arg-type]

    try:
        check()
    except Exception as error:
        raise AssertionError(
            f"the law {law!r} does not hold for {subject.cls.__name__} on the backend {subject.backend}: {error}"
        ) from error


def assert_format_laws(
    cls: type[FactorizedMatrix],
    *,
    backends: Sequence[str] = ("numpy",),
    reference: Reference | None = None,
    count: Count | None = None,
    ranks: Ranks | None = None,
    recovery: float | None = 1e-6,
    max_examples: int = 25,
) -> None:
    r"""Assert that a matrix format obeys all `LAWS` on some backends.

    Parameters
    ----------
    cls : class of a matrix format
        It must be registered.
    backends : sequence of str
        See `get_backend`; ``'numpy_read_only'`` detects writes to arguments.
    reference : callable, optional
        Returns the dense matrix ``W`` of shape (stack * prod(out_modes), prod(in_modes)) for a list of NumPy factors. Default:
        one loop over all indices that the format declares, which does not check the declaration itself.
    count : callable, optional
        Returns the number of parameters for the sizes ``[m_k n_k]`` and a canonical rank.
    ranks : callable, optional
        Returns a Hypothesis strategy of ranks for a tensorized shape. Default: `canonical_ranks`.
    recovery : float, optional
        Relative error that `factorize` must reach at full rank; None skips that law.
    max_examples : int
        Examples for each law; fewer where every shape is compiled.

    Raises
    ------
    AssertionError
        If a law does not hold; the message names the law, the format and the backend. The notes of its cause contain the
        smallest example that Hypothesis found.
    TypeError, ValueError, ImportError
        If `cls` is no registered format, or a backend is not known or not installed.

    Examples
    --------
    >>> from tensorly_rnn import TTMatrix
    >>> assert_format_laws(TTMatrix, count=lambda sizes, rank: sum(map(int.__mul__, sizes, map(int.__mul__, rank, rank[1:]))))
    """
    if not (isinstance(cls, type) and issubclass(cls, FactorizedMatrix)):
        raise TypeError(f"cls must be a class of a matrix format; expected a FactorizedMatrix, got {cls!r}.")
    name = cls.format.name
    if name not in available_formats() or get_format(name) is not cls:
        raise ValueError(
            f"cls must be registered; expected one of {available_formats()}, got {cls.__name__} named "
            f"{name!r}. Decorate it with tensorly_rnn.formats.register."
        )
    if recovery is not None and (isinstance(recovery, bool) or not isinstance(recovery, numbers.Real) or not recovery > 0):
        raise TypeError(f"recovery must be a positive relative error or None; got {recovery!r}.")
    for argument, value in (("reference", reference), ("count", count), ("ranks", ranks)):
        if value is not None and not callable(value):
            raise TypeError(f"{argument} must be callable; expected a function, got {type(value).__name__}.")
    laws = [law for law in LAWS if law != "recovery" or recovery is not None]
    _check_laws(laws, lambda backend: Subject(cls, backend, reference, count, ranks, recovery), backends, max_examples)


def assert_tensor_laws(cls: type[FactorizedTensor], *, backends: Sequence[str] = ("numpy",), max_examples: int = 25) -> None:
    """Assert that a class of factorized tensors obeys all `TENSOR_LAWS` on some backends; see `assert_format_laws`.

    Parameters
    ----------
    cls : class of a factorized tensor
    backends : sequence of str
    max_examples : int

    Examples
    --------
    >>> from tensorly_rnn import BTTensor
    >>> assert_tensor_laws(BTTensor, max_examples=5)
    """
    if not (isinstance(cls, type) and issubclass(cls, FactorizedTensor)):
        raise TypeError(f"cls must be a class of factorized tensors; expected for example BTTensor, got {cls!r}.")
    _check_laws(TENSOR_LAWS, lambda backend: TensorSubject(cls, backend), backends, max_examples)


def _check_laws(laws: Iterable[str], on: Callable[[Backend], Any], backends: Any, max_examples: int) -> None:
    """Check laws of a subject on each backend."""
    if isinstance(backends, str) or not isinstance(backends, Sequence):
        raise TypeError(f"backends must be a sequence of names; expected for example ('numpy',), got {backends!r}.")
    max_examples = positive_int("max_examples", max_examples, most=MOST_EXAMPLES)
    for name in [one_of("backends", name, tuple(MODULES)) for name in backends]:
        subject = on(get_backend(name))
        for law in laws:
            check_law(law, subject, max_examples)
