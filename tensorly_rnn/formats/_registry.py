"""Registry of formats by name; the module of each format registers its matrix class."""

from typing import TypeVar

from tensorly_rnn._checks import one_of
from tensorly_rnn.formats.format import Format
from tensorly_rnn.formats.matrix import FactorizedMatrix

MatrixClass = TypeVar("MatrixClass", bound=type[FactorizedMatrix])

_FORMATS: dict[str, type[FactorizedMatrix]] = {}


def register(cls: MatrixClass) -> MatrixClass:
    """Register the matrix class of a format under the format's name, as a decorator.

    Parameters
    ----------
    cls : subclass of FactorizedMatrix with a `format`; others are refused
    """
    format = getattr(cls, "format", None)
    if not (isinstance(cls, type) and issubclass(cls, FactorizedMatrix) and isinstance(format, Format)):
        raise TypeError(f"cls must be a matrix class of a format; expected a FactorizedMatrix with a `format`, got {cls!r}.")
    _FORMATS[format.name] = cls
    return cls


def available_formats() -> tuple[str, ...]:
    """Return the names of all formats, sorted.

    Examples
    --------
    >>> available_formats()
    ('bt', 'ht', 'tr', 'tt')
    """
    return tuple(sorted(_FORMATS))


def get_format(name: str, argument: str = "format") -> type[FactorizedMatrix]:
    """Return the matrix class of a format.

    Parameters
    ----------
    name : str
        One of `available_formats()`.
    argument : str
        Name of the argument in errors.

    Raises
    ------
    TypeError, ValueError
        If there is no such format.

    Examples
    --------
    >>> get_format("tt").__name__
    'TTMatrix'
    """
    return _FORMATS[one_of(argument, name, available_formats())]
