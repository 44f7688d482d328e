"""Curves of the error against the number of parameters, and of the singular values of cuts."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from tensorly_rnn._checks import checked_eps, instance_of
from tensorly_rnn.plot._axes import axes_of, count_along, dress, style, styles_of

Curve = Sequence[tuple[float, float]]

#: Smaller errors count as zero, which a logarithmic axis cannot show.
LEAST_ERROR = 1e-15


def error_against_parameters(curves: Mapping[str, Curve], ax: Any = None, marked: Iterable[tuple[float, float]] = ()) -> Any:
    """Draw the relative error against the number of parameters, one curve for each name.

    Parameters
    ----------
    curves : dict of str to sequence of (parameters, error)
        As `best_format` returns them. A format has the same colour in all pictures; ``'svd'`` is the baseline and dashed.
    ax : matplotlib axes, optional
        Where to draw. By default, new axes.
    marked : iterable of (parameters, error)
        Points to mark.

    Returns
    -------
    matplotlib axes

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `curves` is not a mapping of names to pairs of numbers, or `ax` is not matplotlib axes.
    ValueError
        If a number of parameters is not positive, an error is negative, or either is not finite.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> ax = error_against_parameters({"tt": [(100, 0.5), (200, 0.3)], "svd": [(150, 0.6)]}, ax=Figure().subplots())
    >>> ax.get_xlabel(), [text.get_text() for text in ax.get_legend().get_texts()]
    ('parameters', ['tt', 'svd'])
    """
    instance_of("curves", curves, Mapping, "a mapping; expected sequences of (parameters, error) by name")
    for name in curves:
        instance_of("curves", name, str, "named by strings; expected formats")
    points_of = {name: _shown(_points(f"curves[{name!r}]", curve)) for name, curve in curves.items()}
    marks = _shown(_points("marked", marked))
    ax = axes_of(ax)
    styles = styles_of([name for name in curves if name != "svd"])
    for name, points in points_of.items():
        look = {"linestyle": "--", "color": "0.5"} if name == "svd" else {**styles[name], "markersize": 5}
        if len(points):
            ax.plot(*points.T, label=name, linewidth=1.6, **look)
    if len(marks):
        ax.plot(*marks.T, "o", markerfacecolor="none", color="black", markersize=10, zorder=3)
    ax.set(xlabel="parameters", ylabel="relative error")
    if ax.lines:
        ax.set(xscale="log", yscale="log")
        ax.legend(fontsize="small", frameon=False)
    compared = np.concatenate([marks[:0], *(points for name, points in points_of.items() if name != "svd")])
    if len(compared):
        # The baseline continues to full rank, far beyond the other curves.
        start = min((parameters for parameters, _ in points_of.get("svd", ())), default=0)
        ax.set(xlim=(None, 1.3 * max(compared[:, 0].max(), start)), ylim=(compared[:, 1].min() / 2, None))
        count_along(ax.xaxis, *ax.get_xlim())
    dress(ax, "both")
    return ax


def singular_values(factorized: Any, ax: Any = None, eps: float | None = None) -> Any:
    r"""Draw the singular values of every cut of a tensor train or hierarchical Tucker form, relative to the largest.

    Parameters
    ----------
    factorized : matrix or tensor with a method `singular_values`
    ax : matplotlib axes, optional
        Where to draw. By default, new axes.
    eps : float, optional
        A relative error. Values that a cut could lose within it, ``sum_{k > rank} s_k^2 <= eps^2 sum_k s_k^2``, are hollow.

    Returns
    -------
    matplotlib axes
        One line a cut, named by the modes (from 0) on either side, with a dotted mark at its rank.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError
        If `factorized` has no method `singular_values`, or `ax` is not matplotlib axes.
    ValueError
        If the network has loops, so that no bond cuts it in two, or `eps` is not between 0 and 1.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from tensorly_rnn import random_ht
    >>> ax = singular_values(random_ht((3, 4, 5), 2, random_state=0), ax=Figure().subplots())
    >>> [line.get_label() for line in ax.lines], ax.get_yscale()
    (['modes 0 | 1, 2', 'modes 1, 2 | 0', 'modes 1 | 0, 2', 'modes 2 | 0, 1'], 'log')
    """
    if not hasattr(factorized, "singular_values"):
        raise TypeError(
            "factorized must be a matrix or tensor in factors without loops; expected a method "
            f"singular_values, got {type(factorized).__name__}. Factorize it as 'tt' or 'ht' first."
        )
    allowed = None if eps is None else checked_eps(eps)
    cuts = factorized.singular_values()
    found = {modes: np.asarray(factorized.backend.to_numpy(values), dtype=float) for modes, values in cuts.items()}
    ax = axes_of(ax)
    relative = {modes: values / (values.max(initial=0.0) or 1.0) for modes, values in found.items()}
    floor = min((value for values in relative.values() for value in values if value > 0), default=1.0) / 2
    for number, (modes, values) in enumerate(relative.items()):
        look = style(number)
        others = [mode for mode in range(factorized.order) if mode not in modes]
        label = f"modes {' | '.join(_listed(side) for side in (modes, others) if side)}"
        ranks = np.arange(1, len(values) + 1)
        lost = np.zeros(len(values), dtype=bool) if allowed is None else _tails(values) <= allowed
        ax.plot(ranks, values, label=label, linewidth=1.4, markersize=4.5, markevery=np.flatnonzero(~lost).tolist(), **look)
        if lost.any():
            ax.plot(ranks[lost], values[lost], linestyle="", markersize=4.5, markerfacecolor="white", **look)
        ax.vlines(len(values), floor, max(values[-1], floor), color=look["color"], linestyle=":", linewidth=1.2)
    ax.set(xlabel="number", ylabel="singular value, relative")
    if ax.lines:
        ax.set(yscale="log", ylim=(floor, 1.5))
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend(fontsize="small", frameon=False, ncols=1 + len(found) // 9)
    dress(ax, "both")
    return ax


def _points(argument: str, points: Any) -> Any:
    """Return pairs of numbers as an array of shape (points, 2)."""
    message = (
        f"{argument} must be a sequence of points (parameters, error); expected pairs of finite numbers, parameters above 0 "
        f"and errors of at least 0, got {points!r}."
    )
    try:
        found = np.array([*points] or np.empty((0, 2)), dtype=float)
    except (TypeError, ValueError):
        raise TypeError(message) from None
    if found.shape != (len(found), 2):
        raise TypeError(message)
    if not np.isfinite(found).all() or (found[:, 0] <= 0).any() or (found[:, 1] < 0).any():
        raise ValueError(message)
    return found


def _shown(points: Any) -> Any:
    """Return the points that a logarithmic axis can show."""
    return points[points[:, 1] > LEAST_ERROR]


def _tails(values: Any) -> Any:
    """Return ``sqrt(sum_{l >= k} s_l^2 / sum_l s_l^2)`` for every k."""
    squares = np.cumsum(values[::-1] ** 2)[::-1]
    return np.sqrt(squares / (squares[0] or 1.0))


def _listed(modes: Sequence[int]) -> str:
    """Return ascending numbers as text; three or more consecutive ones by the first and the last: ``0, 2-5``."""
    runs = [[mode for _, mode in run] for _, run in groupby(enumerate(modes), lambda one: one[1] - one[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
