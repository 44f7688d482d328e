"""A weight in factors as a torch module around `tensorly_rnn.recurrent.gated_weight`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tensorly_rnn._checks import check_memory, instance_of, one_of, plain
from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import size_of_plan
from tensorly_rnn.formats import get_format
from tensorly_rnn.formats._random import checked_std, unit_std
from tensorly_rnn.network.network import Network, NetworkData
from tensorly_rnn.nn._arguments import check_alike, check_place
from tensorly_rnn.nn._sharded import draw, is_sharded, whole
from tensorly_rnn.nn.autograd import apply
from tensorly_rnn.nn.weight_cache import Keeping, keeps, precision
from tensorly_rnn.recurrent._checks import checked_part
from tensorly_rnn.recurrent.cost import rebuilding_is_cheaper
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layout import make_layout

DENSE = torch.contiguous_format
IMPLEMENTATIONS = ("auto", "factorized", "reconstructed")


class FactorizedWeight(Keeping):
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
    names : (str, str)
        Names of the arguments `out_modes` and `in_modes` in errors.
    device, dtype
        Of the factors.

    Attributes
    ----------
    factors : nn.ParameterList
        Shapes ``network.factor_shapes``.
    layout : Layout
        Where gates, padding and parts lie in the network's matrix.

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
        names: tuple[str, str] = ("out_modes", "in_modes"),
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.implementation = one_of("implementation", implementation, IMPLEMENTATIONS)
        self.format = get_format(factorization, "factorization")
        self.layout = make_layout(
            rows,
            widths,
            self.format,
            out_modes=out_modes,
            in_modes=in_modes,
            n_gates=n_gates,
            gate_mode=gate_mode,
            names=names,
        )
        self.rows, self.widths, self.n_gates = self.layout.rows, self.layout.widths, self.layout.n_gates
        self.out_modes, self.in_modes, self.gate_mode = self.layout.out_modes, self.layout.in_modes, self.layout.gate_mode
        self.tensorized_shape = self.layout.tensorized_shape
        self._rank = self.format.validate_rank(self.tensorized_shape, rank, **self.layout.rank_options)
        check_place(device, dtype)
        check_memory(f"rank, {names[0]} and {names[1]}", self.network.n_param)
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
    def first_factor(self) -> Tensor:
        """What stands for the dtype and device of all."""
        own = self.factors
        first: Any = own._parameters.get("0")
        return own[0] if first is None else first

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of all gates, columns of all parts."""
        return self.layout.shape

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
        std = checked_std(std)
        self.clear_cache()
        start = unit_std(self.network)
        with torch.no_grad():
            for factor in self.factors:
                draw(factor, lambda one: nn.init.normal_(one, std=start))
            if self.factors[0].is_meta:
                return
            measured = math.sqrt(self._weight().squared_norm() / math.prod(self.shape))
            for factor in self.factors:
                factor *= (std / measured) ** (1 / len(self.factors))

    def forward(self, x: Tensor, part: int = 0, bias: Tensor | None = None) -> Tensor:
        """Return ``x W^T + bias`` for one part of the columns.

        Parameters
        ----------
        x : Tensor, shape (..., widths[part])
        part : int
        bias : Tensor, shape (n_gates * rows,), optional

        Returns
        -------
        Tensor, shape (..., n_gates * rows)
        """
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a tensor; got {type(x).__name__}.")
        part = checked_part(part, len(self.widths))
        if x.shape[-1:] != (self.widths[part],):
            width, got = self.widths[part], tuple(x.shape)
            raise ValueError(f"x must have {width} columns; expected (..., {width}), got {got}.")
        if x.layout is not torch.strided:
            raise TypeError(f"x must be dense; got {x.layout}. Call x.to_dense().")
        check_alike("x", x, self.first_factor)
        matrix = self._matrix_for(math.prod(x.shape[:-1]), part, x.requires_grad)
        if matrix is not None:
            return nn.functional.linear(x, matrix, bias)
        y = self._weight().apply(x, part, apply)
        return y if bias is None else y + bias.to(y.dtype)

    def matrix(self, part: int = 0) -> Tensor:
        """Return the dense columns of one part, shape (n_gates * rows, widths[part])."""
        return self._weight().matrix(checked_part(part, len(self.widths)))

    def kept_matrix(self, part: int = 0) -> Tensor:
        """Return `matrix`, contiguous; in evaluation without gradients that of the call before, which is not to be changed."""
        part = checked_part(part, len(self.widths))
        factors = self._factors()
        if not keeps(self, factors):
            return self.matrix(part).contiguous()
        return self._kept.get((part, precision(factors[0])), factors, lambda: self.matrix(part).contiguous())

    def _matrix_for(self, rows: int, part: int, x_gradient: bool) -> Tensor | None:
        """The matrix to go through for that many rows of x, or None; in evaluation one look-up tells."""
        factors = self._factors()
        if keeps(self, factors):
            key = (part, rows, precision(factors[0]))
            return self._kept.get(key, factors, lambda: self.kept_matrix(part) if self.reconstructs(rows, part) else None)
        return self.matrix(part).contiguous() if self.reconstructs(rows, part, x_gradient=x_gradient) else None

    def matrices(self) -> list[Tensor]:
        """Return the dense columns of every part, contiguous: rebuilt at once, or kept as by `kept_matrix`."""
        if keeps(self, self._factors()):
            return [self.kept_matrix(part) for part in range(len(self.widths))]
        return [one.contiguous() for one in self._weight().matrices()]

    def reconstructs(self, batch: int, part: int = 0, *, x_gradient: bool = True, steps: int = 0) -> bool:
        """Whether to go through the dense matrix of a part for that many rows of x: by `implementation`, or by the cost model.

        Steps are those of a recurrence that then runs in torch's own kernel.
        """
        if self.implementation != "auto":
            return self.implementation == "reconstructed"
        backward = torch.is_grad_enabled()
        kept = keeps(self, self._factors())
        data = GatedWeight(self.layout, self.network, ()).part_network(part).data
        return rebuilding_is_cheaper(data, size_of_plan(batch), backward, backward and x_gradient, kept, steps)

    def load_matrices(self, *parts: Tensor, **options: Any) -> None:
        """Replace the factors by those of a dense weight, given one matrix a part, shape (n_gates * rows, widths[part]).

        Options are those of `tensorly_rnn.factorize`; if none says how large the factors may be, the rank stays.
        The rank may become less than asked for, where the sizes allow no more. Matrices on the meta device, which have no
        numbers, give factors there; these take a rank.
        """
        for number, part in enumerate(parts):
            instance_of(f"parts[{number}]", part, Tensor, "a tensor")
        if parts[0].is_meta:
            self._take_form(**{"rank": self._rank, **options})
            return
        detached = [part.detach() for part in parts]
        if not options.keys() & {"rank", "eps", "n_param", "compression_ratio"}:
            options["rank"] = self._rank
        found = GatedWeight.from_matrices(detached, self.layout, self.format.name, **options)
        self.load(found)

    def load(self, found: GatedWeight) -> None:
        """Replace the factors by those of a weight of the same layout and format, of any rank, in tensors."""
        instance_of("found", found, GatedWeight, "a GatedWeight")
        like = self.factors[0]
        if is_sharded(like):
            raise ValueError(
                "FactorizedWeight: factors must be whole to be replaced; expected plain tensors, got sharded ones. "
                "Load them before fully_shard, or by load_state_dict."
            )
        self.clear_cache()
        self._rank = self.format.rank_from_sizes(found.network.size, len(self.in_modes))
        self.factors = nn.ParameterList(
            # Each in memory of its own, as a decomposition need not leave them.
            nn.Parameter(torch.empty_like(factor, device=like.device, dtype=like.dtype, memory_format=DENSE).copy_(factor))
            for factor in found.factors
        )

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Refuse to be taken for a tensor; torch's transformer layers, which ask, then go their ordinary way."""
        return NotImplemented

    def extra_repr(self) -> str:
        """Format, modes, rank and compression."""
        return (
            f"{self.format.name}, shape={self.shape}, tensorized_shape={self.tensorized_shape}, "
            f"rank={plain(self._rank)}, compression_ratio={self.compression_ratio:.4g}"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = [state_dict.get(f"{prefix}factors.{k}") for k in range(len(self.factors))]
        if all(isinstance(factor, Tensor) for factor in saved) and not is_sharded(self.factors[0]):
            self._take_clipped([tuple(factor.shape) for factor in saved if factor is not None])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _take_form(self, rank: Any, **options: Any) -> None:
        """Make room for factors of another rank, without numbers."""
        given = [name for name in ("eps", "n_param", "compression_ratio") if options.get(name) is not None]
        if given:
            raise ValueError(f"rank must say how large the factors are on the meta device; got {given[0]}.")
        dtype = self.factors[0].dtype
        wanted = "same" if rank is None else rank
        self._rank = self.format.validate_rank(self.tensorized_shape, wanted, **self.layout.rank_options)
        shapes = self.network.factor_shapes
        self.factors = nn.ParameterList(nn.Parameter(torch.empty(shape, device="meta", dtype=dtype)) for shape in shapes)

    def _take_clipped(self, shapes: list[tuple[int, ...]]) -> None:
        """Make room for factors that a decomposition clipped from this rank to what the sizes allow; else do nothing."""
        network = self.network
        size: dict[str, int] = {}
        if [len(shape) for shape in shapes] != [len(indices) for indices in network.factors]:
            return
        for indices, shape in zip(network.factors, shapes):
            size |= dict(zip(indices, shape))
        full = self.format.full_rank(self.tensorized_shape, **self.layout.rank_options)
        least = _useful_sizes(network.data, max(self.format.rank_sizes(full).values()))
        if all(least[index] <= n <= network.size[index] for index, n in size.items()):
            self._rank = self.format.rank_from_sizes(size, len(self.in_modes))
            for factor, shape in zip(self.factors, self.network.factor_shapes):
                if tuple(factor.shape) != shape:
                    factor.data = factor.data.new_empty(shape)

    def _weight(self) -> GatedWeight:
        """The weight as plain data and functions."""
        return GatedWeight(self.layout, self.network, [whole(factor) for factor in self._factors()])

    def _factors(self) -> list[Tensor]:
        # A list of parameters looks each of them up by name in all of a module, which takes longer than a small product.
        listed = self.factors
        own: Any = listed._parameters
        return [own[str(k)] for k in range(len(own))] if len(own) == len(listed) else list(listed)


@memoize
def _useful_sizes(data: NetworkData, most: int) -> dict[str, int]:
    """Size of every index, those between two factors cut down to `most` and to what either factor's other indices span."""
    network = Network(*data)
    size, found = dict(network.size), dict[str, int]()
    uses = [index for indices in network.factors for index in indices]
    between = [index for index in size if uses.count(index) == 2 and index not in (*network.outputs, *network.inputs)]
    size |= {index: min(size[index], most) for index in between}
    while size != found:
        found = dict(size)
        for index in between:
            spans = [[one for one in indices if one != index] for indices in network.factors if index in indices]
            # An index of all factors, as that of blocks, spans nothing.
            rows = [math.prod(size[one] for one in span if uses.count(one) <= 2) for span in spans]
            size[index] = min(size[index], *rows)
    return size
