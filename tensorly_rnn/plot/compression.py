"""The parameters of a model before and after a conversion, layer by layer."""

import textwrap
from typing import Any

from tensorly_rnn.plot._axes import axes_of, count_along, dress, styles_of

DENSE = "#C8C8C8"
# Height in inches of a layer's bar, and of all that is above and below the bars.
BAR, AROUND = 0.34, 1.1
LONGEST_NOTE = 48


def compression_report(report: Any, ax: Any = None) -> Any:
    """Draw the parameters of every layer before and after a conversion.

    Parameters
    ----------
    report : ConversionReport
        The second value that `tensorly_rnn.nn.factorize_module` returns.
    ax : matplotlib axes, optional
        Where to draw. By default, new axes of fitting height.

    Returns
    -------
    matplotlib axes
        One bar a layer on a logarithmic axis, in the model's order. The dense parameters are grey; those of the factors are
        inside, in the format's colour. Beside each bar are the compression ratio and the relative error, or the reason why the
        layer was kept. The title has the counts of the whole model.

    Raises
    ------
    TypeError
        If `report` is not a report, or `ax` is not matplotlib axes.
    ImportError
        If matplotlib is not installed.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> from tensorly_rnn.nn import ConversionReport, WeightReport
    >>> row = WeightReport("head.weight", n_param_before=9216, n_param=416, format="tt", rank=(1, 2, 1), error=0.25)
    >>> ax = compression_report(ConversionReport((row,), n_param_before=9312, n_param=512), ax=Figure().subplots())
    >>> ax.get_title()
    '9,312 to 512 parameters, 18.2 times fewer'
    >>> [text.get_text() for text in ax.texts]
    ['22.2 times, error 0.25']
    """
    rows = getattr(report, "rows", None)
    if not isinstance(rows, tuple):
        raise TypeError(
            "report must be the second value that factorize_module returns; expected a ConversionReport, got "
            f"{type(report).__name__}. Write `model, report = factorize_module(...)`."
        )
    ax = axes_of(ax, (8.0, AROUND + BAR * len(rows)))
    styles = styles_of([row.format for row in rows if row.replaced])
    named: set[str] = set()
    for place, row in enumerate(rows):
        _bar(ax, place, row.n_param_before, 0.78, "dense", DENSE, named)
        if row.replaced:
            _bar(ax, place, row.n_param, 0.44, row.format, styles[row.format]["color"], named)
        ax.text(
            1.02,
            place,
            _beside(row),
            transform=ax.get_yaxis_transform(),
            va="center",
            fontsize="small",
            color="black" if row.replaced else "0.45",
        )
    ax.set_yticks(range(len(rows)), [row.name for row in rows], fontsize="small")
    ax.set_title(_title(report))
    ax.set_xlabel("parameters", loc="left")
    if rows:
        counts = [count for row in rows for count in (row.n_param_before, row.n_param) if count]
        # The limits leave a visible length to the bar of the smallest count.
        ax.set(xscale="log", xlim=(min(counts, default=1) / 3, 1.5 * max(counts, default=1)), ylim=(len(rows) - 0.4, -0.6))
        count_along(ax.xaxis, *ax.get_xlim())
        # At the right end of the line of the axis label.
        ax.legend(fontsize="small", frameon=False, loc="upper right", bbox_to_anchor=(1, 0), borderaxespad=1.8, ncols=9)
    dress(ax, "x")
    ax.tick_params(axis="y", length=0)
    return ax


def _bar(ax: Any, place: int, count: int, height: float, name: str, color: str, named: set[str]) -> None:
    ax.barh(place, count, height=height, color=color, label=None if name in named else name)
    named.add(name)


def _beside(row: Any) -> str:
    if not row.replaced:
        return f"kept: {textwrap.shorten(row.note, LONGEST_NOTE, placeholder=' ...')}" if row.note else "kept"
    outputs = "" if row.output_error is None else f", outputs {row.output_error:.2g}"
    return f"{row.compression_ratio:.3g} times, error {row.error:.2g}{outputs}"


def _title(report: Any) -> str:
    ratio = report.n_param_before / max(report.n_param, 1)
    return f"{report.n_param_before:,} to {report.n_param:,} parameters, {ratio:.3g} times fewer"
