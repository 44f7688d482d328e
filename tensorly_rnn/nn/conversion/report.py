"""What a conversion did to a model, as rows and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import plain


@dataclass(frozen=True)
class WeightReport:
    """What became of one weight, or with a `note` of one layer that was kept.

    Attributes
    ----------
    name : str
        As in the model's ``state_dict``, without the factors' numbers.
    n_param_before, n_param : int
        Parameters of the dense weight and of what stands in its place.
    format : str
    rank : tuple or None
    error : float
        ``||W - f||_F / ||W||_F``
    output_error : float or None
        ``||X (W - f)^T||_F / ||X W^T||_F`` over the calibration inputs X, if there were any.
    note : str
        Why the layer was kept, or what is to be said otherwise.
    """

    name: str
    n_param_before: int
    n_param: int
    format: str = ""
    rank: Any = None
    error: float = 0.0
    output_error: float | None = None
    note: str = ""

    @property
    def compression_ratio(self) -> float:
        """Parameters before over parameters after."""
        return self.n_param_before / self.n_param

    @property
    def replaced(self) -> bool:
        """Whether the weight is in factors now."""
        return bool(self.format)


@dataclass(frozen=True)
class ConversionReport:
    """What `factorize_module` did; prints as a table, iterates over its rows.

    Attributes
    ----------
    rows : tuple of WeightReport
        In the model's order.
    n_param_before, n_param : int
        Of the whole model, what was not touched included.
    """

    rows: tuple[WeightReport, ...]
    n_param_before: int
    n_param: int

    def __iter__(self) -> Iterator[WeightReport]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def replaced(self) -> tuple[WeightReport, ...]:
        """Rows of the weights that are in factors now."""
        return tuple(row for row in self.rows if row.replaced)

    @property
    def kept(self) -> tuple[WeightReport, ...]:
        """Rows of the layers that stay dense."""
        return tuple(row for row in self.rows if not row.replaced)

    def __str__(self) -> str:
        names = ["weight", *(row.name for row in self.rows), "all of these", "whole model"]
        width = max(len(name) for name in names) + 2
        calibrated = any(row.output_error is not None for row in self.rows)
        lines = [
            f"{'weight':<{width}}{'format':<8}{'before':>12}{'after':>12}{'ratio':>9}{'error':>9}"
            + (f"{'outputs':>9}" if calibrated else "")
            + "  rank"
        ]
        for row in self.rows:
            line = f"{row.name:<{width}}{row.format or 'kept':<8}" + _counts(row.n_param_before, row.n_param)
            if not row.replaced:
                lines.append(f"{line}  {row.note}")
                continue
            line += f"{row.error:>9.4f}"
            if calibrated:
                line += f"{'-' if row.output_error is None else format(row.output_error, '.4f'):>9}"
            lines.append(f"{line}  {plain(row.rank)}" + (f"  {row.note}" if row.note else ""))
        before, after = sum(row.n_param_before for row in self.rows), sum(row.n_param for row in self.rows)
        lines.append(f"{'all of these':<{width + 8}}" + _counts(before, after))
        lines.append(f"{'whole model':<{width + 8}}" + _counts(self.n_param_before, self.n_param))
        return "\n".join(lines)


def _counts(before: int, after: int) -> str:
    return f"{before:>12,}{after:>12,}{before / max(after, 1):>9.4g}"
