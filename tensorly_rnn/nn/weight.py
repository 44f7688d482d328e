"""A weight in factors as a torch module, based on `tensorly_rnn.recurrent.GatedWeight`."""

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
from tensorly_rnn.nn._arguments import check_device_and_dtype, check_like_weight, check_tensor
from tensorly_rnn.nn._sharded import gather_full, initialize, is_sharded
from tensorly_rnn.nn._torch_context import autocast_dtype
from tensorly_rnn.nn.autograd import apply
from tensorly_rnn.nn.weight_cache import CachingModule, may_cache
from tensorly_rnn.recurrent.cost import rebuilding_is_cheaper
from tensorly_rnn.recurrent.gated_weight import GatedWeight, checked_part
from tensorly_rnn.recurrent.layout import make_layout

DENSE = torch.contiguous_format
IMPLEMENTATIONS = ("auto", "factorized", "reconstructed")


class FactorizedWeight(CachingModule):
    r"""A weight of shape ``(n_gates * rows, sum(widths))`` held as the factors of a format.

    The rows are gate-major, independent of the position of the gates in the format. The columns have one part or two. The
    first part begins at the first padded column, the second ends at the last; the columns between them are padding.

    Parameters
    ----------
    rows, widths, out_modes, in_modes, n_gates, gate_mode, names
        As for `tensorly_rnn.recurrent.make_layout`.
    factorization : str
        Name of the format.
    rank : 'full', 'same', float, int or the format's own form
    implementation : {'auto', 'factorized', 'reconstructed'}
    device, dtype
        Device and dtype of the factors.

    Attributes
    ----------
    factors : nn.ParameterList
        Shapes ``network.factor_shapes``.
    layout : Layout
        Positions of gates, padding and parts in the network's matrix.

    Raises
    ------
    TypeError, ValueError
        If the modes are too small or of unequal length, or an argument has a wrong type or value.
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
        self.format = get_format(factorization, "factorization").format
        modes: dict[str, Any] = {"out_modes": out_modes, "in_modes": in_modes, "names": names}
        self.layout = make_layout(rows, widths, self.format, n_gates=n_gates, gate_mode=gate_mode, **modes)
        self.rows, self.widths, self.n_gates = self.layout.rows, self.layout.widths, self.layout.n_gates
        self.out_modes, self.in_modes, self.gate_mode = self.layout.out_modes, self.layout.in_modes, self.layout.gate_mode
        self.tensorized_shape = self.layout.tensorized_shape
        self._rank = self.format.validate_rank(self.tensorized_shape, rank, **self.layout.rank_options)
        check_device_and_dtype(device, dtype)
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
        """First factor, whose dtype and device are those of all."""
        first: Tensor = getattr(self.factors, "0")
        return first

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows of all gates and of columns of all parts."""
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
        """Draw the factors from the generator of torch such that the weight without padding has root mean square `std`."""
        self.clear_cache()
        draw_factors(GatedWeight(self.layout, self.network, list(self.factors)), std)

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
        check_tensor("x", x)
        part = checked_part(part, len(self.widths))
        if x.shape[-1:] != (self.widths[part],):
            width, got = self.widths[part], tuple(x.shape)
            raise ValueError(f"x must have {width} columns; expected (..., {width}), got {got}.")
        check_like_weight("x", x, self.first_factor)
        matrix = self._matrix_for(math.prod(x.shape[:-1]), part, x.requires_grad)
        if matrix is not None:
            return nn.functional.linear(x, matrix, bias)
        y = self._weight().apply(x, part, apply)
        # In memory as the result of a dense layer; a contraction may leave its axes in another order.
        return (y if bias is None else y + bias.to(y.dtype)).contiguous()

    def matrix(self, part: int = 0) -> Tensor:
        """Return the dense columns of one part, shape (n_gates * rows, widths[part]), contiguous."""
        return self._weight().matrix(part).contiguous()

    def cached_matrix(self, part: int = 0) -> Tensor:
        """Return `matrix`, cached in evaluation mode without gradients; it must not be changed."""
        part = checked_part(part, len(self.widths))
        factors = self._factors()
        if not may_cache(self, factors):
            return self.matrix(part)
        return self._cache.get((part, autocast_dtype(factors[0])), factors, lambda: self.matrix(part))

    def _matrix_for(self, rows: int, part: int, x_gradient: bool) -> Tensor | None:
        """Return the matrix to multiply `rows` rows with, or None for the factors; both are cached."""
        factors = self._factors()
        if may_cache(self, factors):
            key = (part, rows, autocast_dtype(factors[0]))
            return self._cache.get(key, factors, lambda: self.cached_matrix(part) if self.reconstructs(rows, part) else None)
        return self.matrix(part) if self.reconstructs(rows, part, x_gradient=x_gradient) else None

    def matrices(self) -> list[Tensor]:
        """Return the contiguous dense columns of every part, cached like `cached_matrix` or from one reconstruction."""
        if may_cache(self, self._factors()):
            return [self.cached_matrix(part) for part in range(len(self.widths))]
        return [one.contiguous() for one in self._weight().matrices()]

    def reconstructs(self, batch: int, part: int = 0, *, x_gradient: bool = True, steps: int = 0) -> bool:
        """Return whether to multiply `batch` rows with the dense matrix of a part, by `implementation` or the cost model.

        `steps` is the number of steps of a recurrence that then runs in a kernel of torch; a symbolic number is not counted.
        """
        if self.implementation != "auto":
            return self.implementation == "reconstructed"
        backward = torch.is_grad_enabled()
        cached = may_cache(self, self._factors())
        data = GatedWeight(self.layout, self.network, ()).part_network(part).data
        known_steps = max(size_of_plan(steps), 0)
        return rebuilding_is_cheaper(data, size_of_plan(batch), backward, backward and x_gradient, cached, known_steps)

    def load_matrices(self, *parts: Tensor, **options: Any) -> None:
        """Decompose a dense weight, given one matrix for each part, shape (n_gates * rows, widths[part]).

        Options are those of `tensorly_rnn.factorize`; without a rank, eps, n_param or compression_ratio the rank does not
        change. The rank may become smaller than given, if the sizes do not admit it. Matrices on the meta device give factors
        on the meta device of the given rank.
        """
        for number, part in enumerate(parts):
            instance_of(f"parts[{number}]", part, Tensor, "a tensor")
        if parts[0].is_meta:
            self._resize_on_meta(**{"rank": self._rank, **options})
            return
        detached = [part.detach() for part in parts]
        if not options.keys() & {"rank", "eps", "n_param", "compression_ratio"}:
            options["rank"] = self._rank
        found = GatedWeight.from_matrices(detached, self.layout, self.format.name, **options)
        self.load(found)

    def load(self, found: GatedWeight) -> None:
        """Replace the factors by the tensors of a weight of the same layout and format, of any rank."""
        instance_of("found", found, GatedWeight, "a GatedWeight")
        like = self.factors[0]
        if is_sharded(like):
            raise ValueError(
                "factors must not be sharded when they are replaced; expected plain tensors, got sharded ones. "
                "Replace them before fully_shard, or use load_state_dict."
            )
        self.clear_cache()
        self._rank = self.format.rank_from_sizes(found.network.size, len(self.in_modes))
        self.factors = nn.ParameterList(
            # Copies, as the arrays of a decomposition may share memory.
            nn.Parameter(torch.empty_like(factor, device=like.device, dtype=like.dtype, memory_format=DENSE).copy_(factor))
            for factor in found.factors
        )

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        """Decline the tensor protocol, so that the transformer layers of torch take their general path."""
        return NotImplemented

    def extra_repr(self) -> str:
        """Return format, modes, rank and compression."""
        return (
            f"{self.format.name}, shape={self.shape}, tensorized_shape={self.tensorized_shape}, "
            f"rank={plain(self._rank)}, compression_ratio={self.compression_ratio:.4g}"
        )

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        saved = [state_dict.get(f"{prefix}factors.{k}") for k in range(len(self.factors))]
        if all(isinstance(factor, Tensor) for factor in saved) and not is_sharded(self.factors[0]):
            self._resize_to_clipped([tuple(factor.shape) for factor in saved if factor is not None])
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _resize_on_meta(self, rank: Any, **options: Any) -> None:
        """Replace the factors by empty ones of another rank on the meta device."""
        given = [name for name in ("eps", "n_param", "compression_ratio") if options.get(name) is not None]
        if given:
            raise ValueError(f"rank must give the sizes of the factors on the meta device; expected a rank, got {given[0]}.")
        dtype = self.factors[0].dtype
        rank = "same" if rank is None else rank
        self._rank = self.format.validate_rank(self.tensorized_shape, rank, **self.layout.rank_options)
        shapes = self.network.factor_shapes
        self.factors = nn.ParameterList(nn.Parameter(torch.empty(shape, device="meta", dtype=dtype)) for shape in shapes)

    def _resize_to_clipped(self, shapes: list[tuple[int, ...]]) -> None:
        """Resize the factors to shapes that a decomposition clipped from this rank; for other shapes do nothing."""
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
        """Return the weight as plain data, with factors gathered from all processes."""
        return GatedWeight(self.layout, self.network, [gather_full(factor) for factor in self._factors()])

    def _factors(self) -> list[Tensor]:
        """Return the factors, read by attribute: pruning, parametrizations, copies and users replace them by other tensors."""
        # Pruning sets a tensor in a hook before the call of its module, but a ParameterList is not called.
        factors = self.factors
        for hook in factors._forward_pre_hooks.values():
            hook(factors, ())
        # Indexing a ParameterList takes longer than a small product.
        return [getattr(factors, str(k)) for k in range(len(factors))]


def draw_factors(weight: GatedWeight, std: float) -> None:
    """Draw the factors, in place, such that the weight without padding has root mean square `std`; not on the meta device."""
    std, start = checked_std(std), unit_std(weight.network)
    with torch.no_grad():
        for factor in weight.factors:
            initialize(factor, lambda one: nn.init.normal_(one, std=start))
        if weight.factors[0].is_meta:
            return
        drawn = weight.with_factors([gather_full(factor) for factor in weight.factors])
        measured = math.sqrt(drawn.squared_norm() / math.prod(weight.shape))
        for factor in weight.factors:
            factor *= (std / measured) ** (1 / len(weight.factors))


@memoize
def _useful_sizes(data: NetworkData, most: int) -> dict[str, int]:
    """Return the size of every index; a rank is at most `most` and the product of the other indices of either factor."""
    network = Network(*data)
    size, found = dict(network.size), dict[str, int]()
    uses = [index for indices in network.factors for index in indices]
    between = [index for index in size if uses.count(index) == 2 and index not in (*network.outputs, *network.inputs)]
    size |= {index: min(size[index], most) for index in between}
    while size != found:
        found = dict(size)
        for index in between:
            spans = [[one for one in indices if one != index] for indices in network.factors if index in indices]
            # An index of more than two factors, such as that of blocks, does not count.
            rows = [math.prod(size[one] for one in span if uses.count(one) <= 2) for span in spans]
            size[index] = min(size[index], *rows)
    return size
