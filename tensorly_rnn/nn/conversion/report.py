"""Report of a conversion, as rows and as a table."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._checks import plain


@dataclass(frozen=True)
class WeightReport:
    """Result of the conversion of one weight, or of one kept layer with a `note`.

    Attributes
    ----------
    name : str
        Name in ``state_dict`` of the model, without the numbers of the factors.
    n_param_before, n_param : int
        Number of parameters of the dense weight, and of the factors.
    format : str
    rank : tuple or None
    error : float
        ``||W - f||_F / ||W||_F``
    output_error : float or None
        ``||X (W - f)^T||_F / ||X W^T||_F`` for the calibration inputs X, if there are any.
    note : str
        Reason why the layer was kept, or another remark.
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
        """Whether the weight is in factors."""
        return bool(self.format)


@dataclass(frozen=True)
class ConversionReport:
    """Report of `factorize_module`; prints as a table and iterates over its rows.

    Attributes
    ----------
    rows : tuple of WeightReport
        In the order of the model.
    n_param_before, n_param : int
        Number of parameters of the whole model.
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
        """Rows of the weights in factors."""
        return tuple(row for row in self.rows if row.replaced)

    @property
    def kept(self) -> tuple[WeightReport, ...]:
        """Rows of the layers that stay dense."""
        return tuple(row for row in self.rows if not row.replaced)

    def __str__(self) -> str:
        width = max(len(name) for name in (*(row.name for row in self.rows), "all of these", "whole model")) + 2
        calibrated = any(row.output_error is not None for row in self.rows)
        columns = f"{'weight':<{width}}{'format':<8}{'before':>12}{'after':>12}{'ratio':>9}{'error':>9}"
        lines = [columns + (f"{'outputs':>9}" if calibrated else "") + "  rank"]
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
