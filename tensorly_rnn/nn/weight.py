"""A weight in factors as a torch module: modes, gates and padding on one side, a format's network on the other."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tensorly_rnn import operations
from tensorly_rnn._backend import backend_of
from tensorly_rnn._checks import one_of, plain, positive_int, positive_ints
from tensorly_rnn.decomposition import factorize
from tensorly_rnn.formats import get_format
from tensorly_rnn.formats._random import unit_std
from tensorly_rnn.network import Network, apply_plan, tensor_plan
from tensorly_rnn.tensorize import (
    Modes,
    TensorizedShape,
    default_order,
    disjoint_boxes,
    factorize_size,
    pad_axis,
)

IMPLEMENTATIONS = ("auto", "factorized", "reconstructed")


class FactorizedWeight(nn.Module):
    r"""A weight of shape ``(n_gates * rows, sum(widths))`` held as the factors of a format.

    Rows are gate-major to the outside, wherever the format keeps the gates. The columns come in one part, or in two: the
    first at the beginning of the padded columns, the second at their end, zeros between.

    Parameters
    ----------
    rows : int
        Rows of one gate.
    widths : sequence of int
        Columns of each part; one or two.
    factorization : str
        Name of the format.
    rank : 'full', 'same', float, int or the format's own form
    out_modes, in_modes : sequence of int, optional
        Factors of the (padded) rows of one gate and of the (padded) columns; balanced by default.
    n_gates : int
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the gates multiply, or the stack of the format.
    implementation : {'auto', 'factorized', 'reconstructed'}
    names : (str, str, str)
        What the caller is called, and what it calls `out_modes` and `in_modes`, for errors.
    device, dtype
        Of the factors.

    Attributes
    ----------
    factors : nn.ParameterList
        Shapes ``network.factor_shapes``.

    Raises
    ------
    TypeError, ValueError
        If the modes are too small or of unequal length, or an argument is of the wrong form.
    """

    def __init__(
        self,
        rows: int,
        widths: Sequence[int],
        *,
        factorization: str,
        rank: Any = "same",
        out_modes: Sequence[int] | None = None,
        in_modes: Sequence[int] | None = None,
        n_gates: int = 1,
        gate_mode: str | None = None,
        implementation: str = "auto",
        names: tuple[str, str, str] = ("FactorizedWeight", "out_modes", "in_modes"),
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.rows = positive_int(names[0], "rows", rows)
        self.widths = positive_ints(names[0], "widths", widths)
        if len(self.widths) > 2:
            raise ValueError(f"{names[0]}: widths must have one or two entries; expected 1 or 2, got {len(self.widths)}.")
        self.n_gates = positive_int(names[0], "n_gates", n_gates)
        self.implementation = one_of(names[0], "implementation", implementation, IMPLEMENTATIONS)
        self.format = get_format(factorization, names[0], "factorization")
        # Several parts share one weight: the scheme of FDHT, whose gates are a stack where the format has one.
        default = "stack" if len(self.widths) > 1 and self.format.stack_index else self.format.gate_modes[0]
        chosen = default if gate_mode is None else gate_mode
        self.gate_mode = one_of(names[0], "gate_mode", chosen, self.format.gate_modes)
        self.out_modes, self.in_modes = _modes(self.rows, sum(self.widths), out_modes, in_modes, names)
        self.tensorized_shape = self._gated(self.out_modes), self.in_modes
        self._rank = self.format.validate_rank(self.tensorized_shape, rank, **self._rank_options)
        shapes = self.network.factor_shapes
        self.factors = nn.ParameterList(nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) for shape in shapes)

    @property
    def network(self) -> Network:
        """The network of the factors."""
        return self.format.make_network(self.tensorized_shape, self._rank)

    @property
    def rank(self) -> Any:
        """Canonical rank."""
        return self._rank

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of all gates, columns of all parts."""
        return self.n_gates * self.rows, sum(self.widths)

    @property
    def n_param(self) -> int:
        """Number of entries of all factors."""
        return self.network.n_param

    @property
    def compression_ratio(self) -> float:
        """Entries of the dense weight over entries of the factors."""
        return math.prod(self.shape) / self.n_param

    def reset(self, std: float) -> None:
        """Draw the factors such that the weight, padding left out, has a root mean square of exactly `std`.

        Draws from torch's generator, as torch's own modules do.
        """
        start = unit_std(self.network)
        with torch.no_grad():
            for factor in self.factors:
                nn.init.normal_(factor, std=start)
            if self.factors[0].is_meta:
                return
            measured = math.sqrt(self._squared_norm() / math.prod(self.shape))
            for factor in self.factors:
                factor *= (std / measured) ** (1 / len(self.factors))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x W^T`` for the first part of the columns.

        Parameters
        ----------
        x : Tensor, shape (..., widths[0])

        Returns
        -------
        Tensor, shape (..., n_gates * rows)
        """
        if x.shape[-1:] != (self.widths[0],):
            width, got = self.widths[0], tuple(x.shape)
            raise ValueError(f"FactorizedWeight: x must have {width} columns; expected (..., {width}), got {got}.")
        if self._reconstructs(math.prod(x.shape[:-1])):
            return nn.functional.linear(x, self.matrix())
        backend, factors = self._backend_and_factors()
        network, factors, _ = operations.columns(self.network, factors, 0, self.widths[0])
        y = operations.apply(backend, network, factors, pad_axis(backend, x, x.dim() - 1, network.shape[1]))
        return self._gate_major(y)

    def matrix(self, part: int = 0) -> Tensor:
        """Return the dense columns of one part, shape (n_gates * rows, widths[part])."""
        backend, factors = self._backend_and_factors()
        start, stop = self._span(part)
        network, factors, offset = operations.columns(self.network, factors, start, stop)
        block = operations.to_matrix(backend, network, factors)[:, start - offset : stop - offset]
        return self._gate_major(block.T).T

    def load_matrices(self, *parts: Tensor, **options: Any) -> None:
        """Replace the factors by those of a dense weight, given one matrix a part, shape (n_gates * rows, widths[part]).

        The rank may become less than it was, where the sizes allow no more.
        """
        if [tuple(part.shape) for part in parts] != [(self.shape[0], width) for width in self.widths]:
            raise ValueError(
                f"FactorizedWeight: parts must be one matrix each; expected shapes "
                f"{[(self.shape[0], width) for width in self.widths]}, got {[tuple(part.shape) for part in parts]}."
            )
        like = self.factors[0]
        padded = torch.zeros(self.network.shape, dtype=parts[0].dtype, device=parts[0].device)
        gated = padded.view(*self._row_shape(), -1)
        gated = gated.movedim(-2, 0) if self.gate_mode == "last" else gated
        for part, dense in enumerate(parts):
            start, stop = self._span(part)
            gated[:, : self.rows, start:stop] = dense.detach().view(self.n_gates, self.rows, -1)
        found = factorize(padded, self.format.name, self.tensorized_shape, self._rank, **self._rank_options, **options)
        self._rank = found.rank
        self.factors = nn.ParameterList(nn.Parameter(factor.to(dtype=like.dtype)) for factor in found.factors)

    def extra_repr(self) -> str:
        """Format, modes, rank and compression."""
        return (
            f"{self.format.name}, shape={self.shape}, tensorized_shape={self.tensorized_shape}, "
            f"rank={plain(self._rank)}, compression_ratio={self.compression_ratio:.4g}"
        )

    @property
    def _rank_options(self) -> dict[str, Any]:
        """What the format's rank takes besides: the size of the stack, where the gates are one."""
        return {"root_rank": self.n_gates} if self.gate_mode == "stack" else {}

    def _gated(self, out_modes: Modes) -> Modes:
        """Output modes with the gates on the first or last of them, or as they are."""
        first, last = (self.n_gates if self.gate_mode == mode else 1 for mode in ("first", "last"))
        gated = [*out_modes]
        gated[0] *= first
        gated[-1] *= last
        return tuple(gated)

    def _row_shape(self) -> tuple[int, int]:
        padded = math.prod(self.out_modes)
        return (padded, self.n_gates) if self.gate_mode == "last" else (self.n_gates, padded)

    def _gate_major(self, y: Tensor) -> Tensor:
        """Bring rows, the last axis, from the format's order to gate-major and crop each gate."""
        if self.gate_mode != "last" and y.shape[-1] == self.shape[0]:
            return y
        gated = y.reshape(*y.shape[:-1], *self._row_shape())
        gated = gated.transpose(-1, -2) if self.gate_mode == "last" else gated
        return gated[..., : self.rows].reshape(*y.shape[:-1], self.shape[0])

    def _span(self, part: int) -> tuple[int, int]:
        """First and last column of a part among the padded columns."""
        padded = math.prod(self.in_modes)
        return (0, self.widths[0]) if part == 0 else (padded - self.widths[part], padded)

    def _backend_and_factors(self) -> tuple[Any, list[Tensor]]:
        factors = list(self.factors)
        return backend_of("FactorizedWeight", "factors", factors[0]), factors

    def _reconstructs(self, batch: int) -> bool:
        """Whether to go through the dense matrix for that many rows of x."""
        if self.implementation != "auto":
            return self.implementation == "reconstructed"
        # The planner's own objective: elements moved weigh as much as 64 operations.
        rows, columns = self.network.shape
        applied, built = apply_plan(self.network, batch), tensor_plan(self.network)
        dense = 2 * batch * rows * columns + 64 * (batch * (rows + columns) + rows * columns)
        return applied.flops + 64 * applied.moved > built.flops + 64 * built.moved + dense

    def _squared_norm(self) -> float:
        """Squared norm of the weight without its padding."""
        backend, factors = self._backend_and_factors()
        factors = [factor.double() for factor in factors]
        row_boxes = disjoint_boxes(self.out_modes, 0, self.rows)
        column_boxes = [box for part in range(len(self.widths)) for box in disjoint_boxes(self.in_modes, *self._span(part))]
        total = 0.0
        for row_box in row_boxes:
            for column_box in column_boxes:
                for slices in self._row_slices(row_box):
                    inputs = dict(zip(self.network.inputs, column_box))
                    network, pieces = operations.cut(self.network, factors, {**slices, **inputs})
                    total += float(operations.squared_norm(backend, network, pieces))
        return total

    def _row_slices(self, box: tuple[slice, ...]) -> list[dict[str, slice]]:
        """Slices of the output indices that hold a box of one gate's rows, for all gates."""
        outputs = self.network.outputs[-len(box) :]
        slices = dict(zip(outputs, box))
        if self.gate_mode == "last":
            last = box[-1]
            return [{**slices, outputs[-1]: slice(last.start * self.n_gates, last.stop * self.n_gates)}]
        if self.gate_mode == "stack":
            return [slices]
        mode, first = self.out_modes[0], box[0]
        if first == slice(0, mode):
            return [{**slices, outputs[0]: slice(0, mode * self.n_gates)}]
        return [
            {**slices, outputs[0]: slice(gate * mode + first.start, gate * mode + first.stop)} for gate in range(self.n_gates)
        ]


def _modes(
    rows: int,
    columns: int,
    out_modes: Sequence[int] | None,
    in_modes: Sequence[int] | None,
    names: tuple[str, str, str],
) -> TensorizedShape:
    """Both sides' modes: as given where they are, balanced where not; checked against the sizes."""
    caller, out_name, in_name = names
    given_out = None if out_modes is None else positive_ints(caller, out_name, out_modes)
    given_in = None if in_modes is None else positive_ints(caller, in_name, in_modes)
    order = len(given_out or given_in or ()) or default_order(rows, columns)
    checked_out = given_out or factorize_size(rows, order)
    checked_in = given_in or factorize_size(columns, order)
    if len(checked_out) != len(checked_in):
        raise ValueError(
            f"{caller}: {out_name} and {in_name} must pair up; expected equal lengths, got {checked_out} and {checked_in}. "
            "Pad the shorter with 1, or use separate_modes(out_modes, in_modes)."
        )
    for name, modes, size in ((out_name, checked_out, rows), (in_name, checked_in, columns)):
        if math.prod(modes) < size:
            raise ValueError(
                f"{caller}: {name} must multiply to the size or more; expected a product of at least {size}, "
                f"got {math.prod(modes)} from {modes}. Enlarge a mode; what is too much is padded with zeros."
            )
    return checked_out, checked_in
