"""Curves: error against parameters, singular values of cuts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tensorly_rnn.plot._axes import axes_of

Curve = Sequence[tuple[float, float]]


def error_against_parameters(curves: Mapping[str, Curve], ax: Any = None, marked: Iterable[tuple[float, float]] = ()) -> Any:
    """Draw relative error against the number of parameters, one curve a name.

    Parameters
    ----------
    curves : dict of str to sequence of (parameters, error)
        As `best_format` returns them; ``'svd'`` is drawn dashed, as the baseline.
    ax : matplotlib axes, optional
        Where to draw; new ones by default.
    marked : iterable of (parameters, error)
        Points to mark.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = error_against_parameters({"tt": [(100, 0.5), (200, 0.3)], "svd": [(150, 0.6)]}, ax=Figure().subplots())
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('parameters', ['tt', 'svd'])
    """
    ax = axes_of(ax)
    for name, curve in curves.items():
        # Nothing is left at full rank: a logarithm has no place for it.
        points = np.array([point for point in curve if point[1] > 1e-15]).reshape(-1, 2)
        if not len(points):
            continue
        style = {"linestyle": "--", "color": "0.5"} if name == "svd" else {"marker": "."}
        ax.plot(points[:, 0], points[:, 1], label=name, **style)
    for parameters, error in marked:
        if error <= 1e-15:
            continue
        ax.plot([parameters], [error], marker="o", markerfacecolor="none", color="black", markersize=9)
    ax.set(xlabel="parameters", ylabel="relative error", **_logarithmic(ax))
    return ax


def singular_values(factorized: Any, ax: Any = None) -> Any:
    """Draw the singular values of every cut of a tensor train or hierarchical Tucker form, relative to the largest.

    Parameters
    ----------
    factorized : matrix or tensor with a method `singular_values`
    ax : matplotlib axes, optional

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    ValueError
        If the format has loops and therefore no such values.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from tensorly_rnn import random_ht
    >>> ax = singular_values(random_ht((3, 4, 5), 2, random_state=0), ax=Figure().subplots())
    >>> len(ax.lines), ax.get_yscale()
    (4, 'log')
    """
    found = factorized.singular_values()
    ax = axes_of(ax)
    for modes, values in found.items():
        on_host = np.asarray(factorized.backend.to_numpy(values), dtype=float)
        largest = on_host.max(initial=0.0) or 1.0
        ranks = np.arange(1, len(on_host) + 1)
        ax.plot(ranks, on_host / largest, marker=".", label=f"modes {', '.join(map(str, modes))}")
    ax.set(xlabel="number", ylabel="singular value, relative", **_logarithmic(ax))
    return ax


def _logarithmic(ax: Any) -> dict[str, str]:
    """Settings of logarithmic axes, with a legend, where anything is drawn."""
    if not ax.lines:
        return {}
    ax.legend(fontsize="small")
    return {"xscale": "log", "yscale": "log"}
