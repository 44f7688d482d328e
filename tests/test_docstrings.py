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


def described():
    """Names that sections give and those of the signatures, for all functions, classes and methods that have a section."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        module = importlib.import_module(name)
        found = {}
        for called, value in vars(module).items():
            if getattr(value, "__module__", None) == name and (inspect.isfunction(value) or inspect.isclass(value)):
                found[called] = value
                if inspect.isclass(value):
                    found |= {f"{called}.{own}": one for own, one in vars(value).items()}
        for called, value in found.items():
            function = getattr(value, "__func__", value)
            names = documented(function.__doc__) if inspect.isfunction(function) or inspect.isclass(function) else None
            if names is not None:
                # Of a method without what it is bound to.
                bound = "." in called and not isinstance(value, staticmethod) and inspect.isfunction(function)
                yield f"{name}.{called}", names, signed(function)[bound:]


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
    sections = list(described())
    assert [one for one in sections if not agree(*one[1:])] == []
    assert len(sections) > 100


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
