"""Base of the recurrent layers and cells: weights under the names of torch, initialization and conversion."""

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, NamedTuple, Self, TypedDict

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from tensorly_rnn._checks import checked_flag, meant, one_of, positive_int
from tensorly_rnn.decomposition._decompose import Settings
from tensorly_rnn.nn._arguments import check_like_weight
from tensorly_rnn.nn._sharded import assign, gather_full, initialize
from tensorly_rnn.nn._torch_context import is_autocast
from tensorly_rnn.nn.mode_choice import best_layer, modes_to_try
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.nn.weight_cache import CachingModule
from tensorly_rnn.recurrent.cells import RNN_CELLS, Cell, State
from tensorly_rnn.recurrent.initialization import (
    DECOMPOSE,
    DENSE_NAMES,
    checked_decompose,
    checked_proj_size,
    factorized_weights,
    find_weight,
    ranks_by_name,
)
from tensorly_rnn.recurrent.parameters import PARAMETERS

#: End of the message for an argument of a decomposition.
BUDGETS = " A decomposition of given weights takes it: the class's method from_..., or factorize_module."
#: Largest number of float16; the sigmoid is 1 long before.
LARGEST_BIAS = 65504.0
#: Parts of the columns that x and h multiply.
X, H = 0, 1
#: Arguments of torch's modules that are bools.
FLAGS = ("bias", "batch_first", "bidirectional")
#: Suffixes of the two directions of a layer.
DIRECTIONS = ("", "_reverse")


class Options(TypedDict, total=False):
    """Keyword arguments that every recurrent layer and cell takes in addition to those of torch."""

    factorization: str
    rank: Any
    decompose: str
    input_modes: Any
    hidden_modes: Any
    gate_mode: str | None
    implementation: str
    device: Any
    dtype: Any


class Weights(NamedTuple):
    """The parameters of one layer and direction; x and h have a weight, in factors or dense, and its part of the columns."""

    x: tuple[Any, int]
    h: tuple[Any, int]
    bias_ih: Tensor | None
    bias_hh: Tensor | None
    weight_hr: Tensor | None

    def dense(self) -> list[Tensor]:
        """Return the dense parameters in the order of torch."""
        return [one for one in (self.h[0], *self[2:]) if isinstance(one, Tensor)]


class RecurrentModule(CachingModule):
    """Weights in factors or dense, under the names of torch with a suffix for each layer and direction."""

    cell: Cell
    #: Name of the kernel of torch: `torch.lstm` and `torch.lstm_cell`.
    kernel: str
    input_size: int
    hidden_size: int
    #: The corresponding module of torch.
    dense: ClassVar[type[nn.Module]]
    #: Arguments of torch's module after the two sizes, with their defaults.
    defaults: ClassVar[dict[str, Any]]
    #: Whether `hidden_size` may be 0, as in torch's cells.
    may_be_empty: ClassVar[bool] = False
    #: Sum of the biases of the forget gate after initialization; None for those of torch.
    forget_bias: float | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        proj_size: int,
        suffixes: Sequence[tuple[str, ...]],
        *,
        factorization: str = "ht",
        rank: Any = "same",
        decompose: str = "input",
        input_modes: Any = None,
        hidden_modes: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        is_empty = self.may_be_empty and type(hidden_size) is int and hidden_size == 0
        self.hidden_size = 0 if is_empty else positive_int("hidden_size", hidden_size)
        self.proj_size = checked_proj_size(proj_size, self.hidden_size, self.cell)
        self.bias = checked_flag("bias", bias)
        self.factorization, self.decompose = factorization, checked_decompose(decompose)
        # Without rows nothing is in factors.
        self._places = [(DENSE_NAMES[part], 0) if is_empty else find_weight(self.decompose, part) for part in (X, H)]
        #: Suffixes of the parameters' names: for each layer one a direction.
        self._suffixes = tuple(suffixes)
        known = tuple(Options.__annotations__)
        for name, value in settings.items():
            if name not in known:
                raise TypeError(
                    f"{name} must be an argument of {type(self).__name__}; expected one of {known}, got {name}={value!r}."
                    + (BUDGETS if name in Settings.__dataclass_fields__ else meant(name, known))
                )
        # The layers above the first have another input size.
        input_modes = input_modes if input_modes is None or isinstance(input_modes, Mapping) else {0: input_modes}
        ranks = per_layer("rank", rank, len(suffixes), required=True)
        modes = [per_layer("input_modes", input_modes, len(suffixes)), per_layer("hidden_modes", hidden_modes, len(suffixes))]
        for layer, (of_layer, rank, input_modes, hidden_modes) in enumerate(zip(suffixes, ranks, *modes)):
            width = self.state_size * len(of_layer) if layer else self.input_size
            for suffix, by_name in zip(of_layer, ranks_by_name(self.decompose, rank, DIRECTIONS[: len(of_layer)])):
                self._add_weights(suffix, width, by_name, input_modes, hidden_modes, **settings)

    def reset_parameters(self) -> None:
        """Initialize like torch: reconstructed weights by their standard deviation, forget gates by `forget_bias` if given."""
        bound = 1 / math.sqrt(self.hidden_size or 1)
        factors = {id(factor) for weight in self._factorized() for factor in weight.parameters()}
        for parameter in self.parameters():
            if id(parameter) not in factors:
                initialize(parameter, lambda one: nn.init.uniform_(one, -bound, bound))
        for weight in self._factorized():
            weight.reset(bound / math.sqrt(3))
        if self.forget_bias is not None:
            self._set_forget_bias(self.forget_bias)

    @property
    def state_size(self) -> int:
        """Size of h: `hidden_size`, or the size of the projection."""
        return self.proj_size or self.hidden_size

    @property
    def compression_ratio(self) -> float:
        """Entries of the parameters of torch's module over entries of these."""
        own = sum(one.numel() for suffix in itertools.chain(*self._suffixes) for one in self._weights(suffix).dense())
        own += sum(weight.n_param for weight in self._factorized())
        saved = sum(math.prod(weight.shape) - weight.n_param for weight in self._factorized())
        return (own + saved) / own if own else 1.0

    def extra_repr(self) -> str:
        """Return sizes, arguments that differ from their defaults, format, `decompose` and compression."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        shown += [f"{name}={getattr(self, name)}" for name, value in self.defaults.items() if getattr(self, name) != value]
        own = f"factorization={self.factorization!r}, decompose={self.decompose!r}"
        return ", ".join([*shown, own, f"compression_ratio={self.compression_ratio:.4g}"])

    @classmethod
    def _from_dense(cls, argument: str, dense: nn.Module, rank: Any, options: dict[str, Any]) -> Self:
        """Return a layer with the decomposed weights of a module of torch; options of the class and of `factorize`."""
        if not isinstance(dense, cls.dense):
            raise TypeError(f"{argument} must be a torch.nn.{cls.dense.__name__}; got {type(dense).__name__}.")
        choices = modes_to_try(dense, options.get("factorization", "ht"), rank, options)
        if choices:
            makers = [partial(cls._from_dense, argument, dense, rank, {**options, **modes}) for modes in choices]
            return best_layer(dense, makers, options.get("eps"), "_to_dense")
        like = getattr(dense, "weight_ih_l0" if "num_layers" in cls.defaults else "weight_ih")
        make: Any = cls
        own = {name: options.pop(name) for name in Options.__annotations__ if name in options}
        # Made on the meta device, as all parameters are replaced.
        own = {"dtype": like.dtype, **own, "rank": 1, "device": "meta"}
        settings = {name: getattr(dense, name) for name in cls.defaults if name != "dropout"}
        # torch takes other flags than bools.
        settings |= {name: bool(settings[name]) for name in FLAGS if name in settings}
        layer = make(dense.input_size, dense.hidden_size, **settings, **own).to_empty(device=like.device)
        for suffixes, rank_of_layer in zip(layer._suffixes, per_layer("rank", rank, len(layer._suffixes), required=True)):
            by_direction = ranks_by_name(layer.decompose, rank_of_layer, DIRECTIONS[: len(suffixes)])
            for suffix, by_name in zip(suffixes, by_direction):
                matrices = [getattr(dense, f"{name}{suffix}") for name in DENSE_NAMES]
                for name, parts in DECOMPOSE[layer.decompose].items() if layer.hidden_size else ():
                    weight = getattr(layer, f"{name}{suffix}")
                    weight.load_matrices(*(matrices[part] for part in parts), rank=by_name[name], **options)
        with torch.no_grad():
            for name, parameter in layer._parameters.items():
                if parameter is not None:
                    parameter.copy_(getattr(dense, name))
        # Set afterwards, as the constructor may warn about it.
        if "dropout" in cls.defaults:
            layer.dropout = dense.dropout
        return layer.train(dense.training)

    def _to_dense(self) -> Any:
        """Return a module of torch with the reconstructed weights; no memory is shared."""
        like = self._like()
        settings = {name: getattr(self, name) for name in self.defaults if name != "dropout"}
        make: Any = self.dense
        dense = make(self.input_size, self.hidden_size, **settings, device="meta", dtype=like.dtype)
        dense = dense.to_empty(device=like.device)
        with torch.no_grad():
            for suffix in itertools.chain(*self._suffixes):
                weights = self._weights(suffix)
                values = dict(zip(PARAMETERS[1:], (*self._matrices(weights), *weights[2:])))
                for name, value in values.items():
                    if value is not None:
                        getattr(dense, f"{name}{suffix}").copy_(gather_full(value))
        if "dropout" in self.defaults:
            dense.dropout = self.dropout
        return dense.train(self.training)

    def _add_weights(
        self, suffix: str, width: int, ranks: dict[str, Any], input_modes: Any, hidden_modes: Any, **settings: Any
    ) -> None:
        """Add the parameters of a layer and direction whose input has `width` features; settings of `FactorizedWeight`."""
        widths, gates = (width, self.state_size), self.cell.n_gates * self.hidden_size

        def weight(name: str, parts: tuple[int, ...], modes: dict[str, Any]) -> FactorizedWeight:
            columns, own = [widths[part] for part in parts], {"factorization": self.factorization, "rank": ranks[name]}
            return FactorizedWeight(self.hidden_size, columns, n_gates=self.cell.n_gates, **own, **modes, **settings)

        def dense(name: str, *shape: int) -> None:
            context = {key: settings.get(key) for key in ("device", "dtype")}
            self.register_parameter(f"{name}{suffix}", nn.Parameter(torch.empty(shape, **context)))

        weights: dict[str, FactorizedWeight] = {}
        if self.hidden_size:
            weights = factorized_weights(self.decompose, weight, hidden_modes, input_modes, bool(self.proj_size))
        for name, module in weights.items():
            self.add_module(f"{name}{suffix}", module)
        for part, name in enumerate(DENSE_NAMES):
            if self._places[part][0] not in weights:
                dense(name, gates, widths[part])
        if self.bias:
            dense("bias_ih", gates)
            dense("bias_hh", gates)
        if self.proj_size:
            dense("weight_hr", self.proj_size, self.hidden_size)

    def _set_nonlinearity(self, nonlinearity: str) -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, tuple(RNN_CELLS))
        self.cell, self.kernel = RNN_CELLS[self.nonlinearity], f"rnn_{self.nonlinearity}"

    def _set_forget_bias(self, forget_bias: float) -> None:
        """Set the biases of the forget gates of an LSTM, the second of four, such that their sum is `forget_bias`."""
        for suffix in itertools.chain(*self._suffixes):
            for name, value in ((f"bias_ih{suffix}", forget_bias), (f"bias_hh{suffix}", 0.0)):
                bias = getattr(self, name)
                with torch.no_grad():
                    gates = gather_full(bias).clone()
                    gates.chunk(4)[1].fill_(value)
                if is_parametrized(self, name):
                    setattr(self, name, gates)
                else:
                    assign(bias, gates)

    def _like(self) -> Tensor:
        """Return a parameter, whose dtype and device are those of all."""
        weight: FactorizedWeight | Tensor = getattr(self, self._places[X][0] + self._suffixes[0][0])
        return weight if isinstance(weight, Tensor) else weight.first_factor

    def _factorized(self) -> list[FactorizedWeight]:
        return [module for module in self.children() if isinstance(module, FactorizedWeight)]

    def _weights(self, suffix: str) -> Weights:
        """Read the parameters by attribute: pruning, parametrizations, copies and users replace them by other tensors."""
        (x, part_x), (h, part_h) = self._places
        bias_ih, bias_hh = [getattr(self, name + suffix) if self.bias else None for name in ("bias_ih", "bias_hh")]
        weight_hr = getattr(self, f"weight_hr{suffix}") if self.proj_size else None
        return Weights((getattr(self, x + suffix), part_x), (getattr(self, h + suffix), part_h), bias_ih, bias_hh, weight_hr)

    def _reconstructs(self, weights: Sequence[Weights], rows: int, steps: int, x_gradient: bool) -> bool:
        """Return whether to reconstruct these weights for an input of so many rows."""
        own = [one.x[0] for one in weights if isinstance(one.x[0], FactorizedWeight)]
        return all(one.reconstructs(rows, x_gradient=x_gradient, steps=steps) for one in own)

    def _matrices(self, weights: Weights) -> list[Tensor]:
        """Return the dense matrices over x and over h, in the dtype of the parameters."""
        both = weights.x[0]
        if both is weights.h[0]:
            return [one.to(both.first_factor.dtype) for one in both.matrices()]
        return [dense_matrix(*weights.x), dense_matrix(*weights.h)]

    def _state(self, hx: Any, like: Tensor, leading: Sequence[int], suffix: str) -> State:
        """Return the tensors of an initial state, each of shape (*leading, size), zeros by default."""
        widths = (self.state_size, self.hidden_size)[: len(self.cell.states)]
        if hx is None:
            context: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
            return tuple([torch.zeros(*leading, width, **context) for width in widths])
        sizes = dict(zip((f"{state}{suffix}" for state in self.cell.states), widths))
        one = len(sizes) == 1
        given = (hx,) if one else hx
        if not isinstance(given, (tuple, list)) or len(given) != len(sizes) or not all(isinstance(h, Tensor) for h in given):
            expected = f"a tensor {next(iter(sizes))}" if one else f"a pair of tensors ({', '.join(sizes)})"
            raise TypeError(f"hx must be {expected}; got {type(hx).__name__}.")
        weight = self._like()
        for (label, size), part in zip(sizes.items(), given):
            shape = (*leading, size)
            if tuple(part.shape) != shape:
                raise ValueError(f"{label} must fit the input; expected shape {shape}, got {tuple(part.shape)}.")
            check_like_weight(label, part, weight)
        return tuple(given)

    def _to_user(self, state: State) -> Any:
        """Return a state as in the public interface: one tensor if the cell has one."""
        return state if len(state) > 1 else state[0]


def dense_matrix(weight: Any, part: int) -> Tensor:
    """Return a dense matrix in the dtype of the parameters, also under autocast."""
    if not isinstance(weight, FactorizedWeight):
        return gather_full(weight)
    matrix = weight.cached_matrix(part)
    return matrix.to(weight.first_factor.dtype) if is_autocast(matrix) else matrix


def apply_weight(weight: Any, part: int, x: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``x W^T + bias`` for a weight in factors or dense."""
    return weight(x, part, bias) if isinstance(weight, FactorizedWeight) else nn.functional.linear(x, weight, bias)


def checked_forget_bias(forget_bias: Any, bias: bool) -> float | None:
    """Return `forget_bias` as a float or None; a number requires biases."""
    if forget_bias is None:
        return None
    if isinstance(forget_bias, bool) or not isinstance(forget_bias, (int, float)) or not abs(forget_bias) < LARGEST_BIAS:
        raise ValueError(
            f"forget_bias must be a number; expected a finite number or None, got {forget_bias!r}. "
            f"The largest is {LARGEST_BIAS:g}."
        )
    if not bias:
        raise ValueError(f"forget_bias must be None with bias=False; expected None, got {forget_bias!r}.")
    return float(forget_bias)


def per_layer(argument: str, value: Any, num_layers: int, required: bool = False) -> list[Any]:
    """Return one entry for each layer: those of a mapping by layer number, None where missing, or the same value for all.

    A mapping by name is a value.
    """
    if not isinstance(value, Mapping) or (value and all(isinstance(key, str) for key in value)):
        return [value] * num_layers
    missing = [layer for layer in range(num_layers) if layer not in value] if required else []
    if missing or any(layer not in range(num_layers) for layer in value):
        rule = "have an entry for each layer" if required else "have the numbers of layers as keys"
        raise ValueError(f"{argument} must {rule}; expected {list(range(num_layers))}, got {list(value)}.")
    return [value.get(layer) for layer in range(num_layers)]
