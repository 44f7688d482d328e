"""The Parameters of a docstring are those of the signature: for all that users can call, and all that says so besides."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

import tensorly_rnn
from tests.test_imports import PUBLIC

PACKAGE = Path(tensorly_rnn.__file__).parent
SECTION = re.compile(r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", flags=re.DOTALL | re.MULTILINE)


def documented(docstring):
    """Names of the section Parameters, or None without one."""
    found = SECTION.search(inspect.cleandoc(docstring or ""))
    if found is None:
        return None
    heads = [line for line in found[1].splitlines() if line and not line[0].isspace()]
    return [name.strip() for head in heads for name in head.partition(" : ")[0].split(",")]


def signed(callable):
    """Names of a signature as numpydoc writes them."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    return [stars.get(one.kind, "") + one.name for one in inspect.signature(callable).parameters.values()]


def agree(names, signature):
    """Whether the names are those of the signature; what goes into ``**options`` may be named one by one."""
    if len(set(names)) < len(names):
        return False
    options = {name for name in signature if name.startswith("**")}
    if options and not options & set(names):
        return set(signature) - options < set(names)
    return set(names) == set(signature) or (bool(options) and set(signature) < set(names))


def callables():
    """Functions, classes and methods of the package, with their full names and signatures, where they are defined."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        own = [one for one in vars(module).items() if getattr(one[1], "__module__", None) == name]
        for called, value in own:
            if inspect.isfunction(value):
                yield f"{name}.{called}", value, signed(value)
            elif inspect.isclass(value) and not issubclass(value, BaseException):
                yield f"{name}.{called}", value, signed(value)
                for method, raw in vars(value).items():
                    function = getattr(raw, "__func__", raw)
                    if inspect.isfunction(function):
                        without_self = signed(function)[not isinstance(raw, staticmethod) :]
                        yield f"{name}.{called}.{method}", function, without_self


def public():
    """Functions and classes that packages list as theirs."""
    for suffix in PUBLIC:
        module = importlib.import_module(f"tensorly_rnn{suffix}")
        for name in module.__all__:
            value = getattr(module, name)
            if inspect.isfunction(value) or inspect.isclass(value):
                yield f"{module.__name__}.{name}", value


def test_the_parser_reads_numpydoc():
    text = """Do it.

    Parameters
    ----------
    one, two : int
        Numbers : both.
    three
    **options
        More.

    Returns
    -------
    four : int
    """
    assert documented(text) == ["one", "two", "three", "**options"]
    assert documented("Do it.") is None

    def function(one, two=1, *, three, **options): ...

    assert signed(function) == ["one", "two", "three", "**options"]


@pytest.mark.parametrize(
    ("names", "signature", "expected"),
    [
        (["a", "b"], ["b", "a"], True),
        (["a"], ["a", "b"], False),
        (["a", "b"], ["a"], False),
        (["a", "a"], ["a"], False),
        (["a", "**o"], ["a", "**o"], True),
        (["a", "b"], ["a", "**o"], True),
        (["a", "b", "**o"], ["a", "**o"], True),
        (["b", "**o"], ["a", "**o"], False),
        (["a"], ["a", "**o"], False),
    ],
)
def test_what_agrees(names, signature, expected):
    assert agree(names, signature) is expected


def test_sections_match_signatures():
    sections = {name: (documented(value.__doc__), signature) for name, value, signature in callables()}
    said = {name: pair for name, pair in sections.items() if pair[0] is not None}
    assert {name: pair for name, pair in said.items() if not agree(*pair)} == {}
    assert len(said) > 100


def test_all_that_is_public_says_what_it_takes():
    """A class may leave it to the base whose constructor it has; results, which users do not make, have attributes."""

    def says(value):
        where = [value]
        if inspect.isclass(value):
            made = next(one for one in value.__mro__ if "__init__" in vars(one))
            where += value.__mro__[: value.__mro__.index(made) + 1]
        return any(documented(one.__doc__) is not None for one in where)

    missing = {name for name, value in public() if signed(value) and not dataclasses.is_dataclass(value) and not says(value)}
    assert not missing
    assert all(value.__doc__ for _, value in public())
