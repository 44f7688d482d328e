"""Layout of a recurrent weight in a matrix with modes: positions of the gates, the padding and the parts."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import context
from tensorly_rnn._checks import one_of, positive_int, positive_ints
from tensorly_rnn.formats import Format
from tensorly_rnn.network.network import Network
from tensorly_rnn.tensorize import Modes, TensorizedShape, default_order, disjoint_boxes, factorize_size, pad_axis


@dataclass(frozen=True)
class Layout:
    r"""Layout of a weight of shape ``(n_gates * rows, sum(widths))`` in the padded matrix of a network.

    The rows of the weight are gate-major. In the padded matrix, with P the product of `out_modes`, row p of gate g is row
    ``g P + p``, or ``p n_gates + g`` if the gates multiply the last mode. Rows ``p >= rows`` are padding.

    Parameters
    ----------
    rows : int
        Rows of one gate.
    spans : tuple of (int, int)
        First and last column, exclusive, of each part within the padded columns; the columns between the parts are padding.
    out_modes, in_modes : tuple of int
        Factors of the padded rows of one gate and of the padded columns.
    n_gates : int
    gate_mode : {'first', 'last', 'stack'}
        Output mode that the gates multiply, or the stack of the format.

    Examples
    --------
    >>> layout = Layout(3, ((0, 5),), (2, 2), (3, 2), n_gates=2, gate_mode="last")
    >>> layout.shape, layout.tensorized_shape
    ((6, 5), ((2, 4), (3, 2)))
    """

    rows: int
    spans: tuple[tuple[int, int], ...]
    out_modes: Modes
    in_modes: Modes
    n_gates: int = 1
    gate_mode: str = "first"

    @property
    def widths(self) -> tuple[int, ...]:
        """Number of columns of each part."""
        return tuple(stop - start for start, stop in self.spans)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows of all gates and of columns of all parts."""
        return self.n_gates * self.rows, sum(self.widths)

    @property
    def tensorized_shape(self) -> TensorizedShape:
        """``(out_modes, in_modes)``, the first or last output mode multiplied by the gates unless they are a stack."""
        first, last = (self.n_gates if self.gate_mode == mode else 1 for mode in ("first", "last"))
        gated = [*self.out_modes]
        gated[0] *= first
        gated[-1] *= last
        return tuple(gated), self.in_modes

    @property
    def rank_options(self) -> dict[str, Any]:
        """Keyword arguments of a format's `validate_rank`: the size of the stack if the gates are one."""
        return {"root_rank": self.n_gates} if self.gate_mode == "stack" else {}

    def gate_major(self, backend: Any, array: Any, axis: int) -> Any:
        """Return an array whose `axis` has the padded rows, with these in gate-major order and without padding."""
        padded = math.prod(self.out_modes)
        if self.gate_mode != "last" and padded == self.rows:
            return array
        before, after = tuple(array.shape[:axis]), tuple(array.shape[axis + 1 :])
        order = (padded, self.n_gates) if self.gate_mode == "last" else (self.n_gates, padded)
        gated = backend.reshape(array, (math.prod(before), *order, math.prod(after)))
        if self.gate_mode == "last":
            gated = backend.transpose(gated, (0, 2, 1, 3))
        return backend.reshape(gated[:, :, : self.rows], (*before, self.shape[0], *after))

    def ungated(self, backend: Any, array: Any, axis: int) -> Any:
        """Return an array whose `axis` has the gate-major rows, with these in padded order: the transpose of `gate_major`."""
        padded = math.prod(self.out_modes)
        if self.gate_mode != "last" and padded == self.rows:
            return array
        before, after = tuple(array.shape[:axis]), tuple(array.shape[axis + 1 :])
        gated = backend.reshape(array, (math.prod(before), self.n_gates, self.rows, math.prod(after)))
        gated = pad_axis(backend, gated, 2, padded)
        if self.gate_mode == "last":
            gated = backend.transpose(gated, (0, 2, 1, 3))
        return backend.reshape(gated, (*before, self.n_gates * padded, *after))

    def padded_columns(self, backend: Any, parts: Sequence[Any]) -> Any:
        """Return rows with padded columns, given one array for each part, shape (rows, widths[part])."""
        pieces, filled = [], 0
        for (start, stop), part in zip(self.spans, parts):
            if start > filled:
                pieces.append(backend.zeros((part.shape[0], start - filled), **context(backend, part)))
            pieces.append(part)
            filled = stop
        wide = pieces[0] if len(pieces) == 1 else backend.concatenate(pieces, axis=1)
        return pad_axis(backend, wide, 1, math.prod(self.in_modes))

    def padded_matrix(self, backend: Any, parts: Sequence[Any]) -> Any:
        """Return the padded matrix of a weight, given one matrix for each part, shape (n_gates * rows, widths[part])."""
        return self.ungated(backend, self.padded_columns(backend, parts), 0)

    def boxes(self, network: Network) -> Iterator[dict[str, slice]]:
        """Yield slices of the network's open indices that together cover every entry but the padding once."""
        for row_box in disjoint_boxes(self.out_modes, 0, self.rows):
            for start, stop in self.spans:
                for column_box in disjoint_boxes(self.in_modes, start, stop):
                    for slices in self._row_slices(network, row_box):
                        yield {**slices, **dict(zip(network.inputs, column_box))}

    def _row_slices(self, network: Network, box: tuple[slice, ...]) -> list[dict[str, slice]]:
        """Return slices of the output indices that cover a box of one gate's rows, for all gates."""
        outputs = network.outputs[-len(box) :]
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


def make_layout(
    rows: int,
    widths: Sequence[int],
    format: Format,
    *,
    out_modes: Sequence[int] | None = None,
    in_modes: Sequence[int] | None = None,
    n_gates: int = 1,
    gate_mode: str | None = None,
    names: tuple[str, str] = ("out_modes", "in_modes"),
) -> Layout:
    """Return the layout of a weight in a format; modes and the position of the gates have defaults.

    Parameters
    ----------
    rows : int
        Rows of one gate.
    widths : sequence of int
        Columns of each part; one or two. The first part begins at the first padded column, the second ends at the last.
    format : Format
    out_modes, in_modes : sequence of int, optional
        Factors of the (padded) rows of one gate and of the (padded) columns; balanced by default.
    n_gates : int
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the gates multiply, or the stack of the format. Default: the format's first choice, but for two
        parts the stack if the format has one.
    names : (str, str)
        Names of the arguments `out_modes` and `in_modes` in error messages.

    Raises
    ------
    TypeError, ValueError
        If the modes are too small or of unequal length, or an argument has a wrong type or value.
    """
    # A matrix class is accepted in place of its format.
    format = getattr(format, "format", format)
    if not isinstance(format, Format):
        raise TypeError(f"format must be a format's value; expected a Format, got {format!r}.")
    rows, widths = positive_int("rows", rows), positive_ints("widths", widths)
    if len(widths) > 2:
        raise ValueError(f"widths must have one or two entries; expected 1 or 2, got {len(widths)}.")
    n_gates = positive_int("n_gates", n_gates)
    # Two parts in one weight: the scheme of FDHT, in which the gates are a stack.
    default = "stack" if len(widths) > 1 and format.stack_index else format.gate_modes[0]
    gate_mode = one_of("gate_mode", default if gate_mode is None else gate_mode, format.gate_modes)
    (out_name, in_name), columns = names, sum(widths)
    given_out = None if out_modes is None else positive_ints(out_name, out_modes)
    given_in = None if in_modes is None else positive_ints(in_name, in_modes)
    order = len(given_out or given_in or ()) or default_order(rows, columns)
    checked_out = given_out or factorize_size(rows, order)
    checked_in = given_in or factorize_size(columns, order)
    if len(checked_out) != len(checked_in):
        raise ValueError(
            f"{out_name} and {in_name} must pair up; expected equal lengths, got {checked_out} and {checked_in}. "
            "Pad the shorter with 1, or use separate_modes(out_modes, in_modes)."
        )
    for name, modes, size in ((out_name, checked_out, rows), (in_name, checked_in, columns)):
        if math.prod(modes) < size:
            raise ValueError(
                f"{name} must multiply to the size or more; expected a product of at least {size}, "
                f"got {math.prod(modes)} from {modes}. Enlarge a mode; the rest is padded with zeros."
            )
    padded = math.prod(checked_in)
    spans = ((0, widths[0]), *((padded - width, padded) for width in widths[1:]))
    return Layout(rows, spans, checked_out, checked_in, n_gates, gate_mode)
