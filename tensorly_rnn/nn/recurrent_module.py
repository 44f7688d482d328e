"""What recurrent layers and cells share: weights in factors under torch's names, their start, conversion and counts."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Self, TypedDict

import torch
from torch import Tensor, nn

from tensorly_rnn._checks import one_of, positive_int
from tensorly_rnn.nn._arguments import autocasts, check_alike, checked_proj_size
from tensorly_rnn.nn._sharded import assign, draw, whole
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.nn.weight_cache import Keeping
from tensorly_rnn.recurrent.cells import Cell, State
from tensorly_rnn.recurrent.initialization import DECOMPOSE

#: Where a part of a weight lies: a module and its part of the columns, or a dense parameter.
Place = tuple[FactorizedWeight | nn.Parameter, int]


class Options(TypedDict, total=False):
    """What every recurrent layer and cell takes besides torch's own arguments, by keyword."""

    factorization: str
    rank: Any
    decompose: str
    input_modes: Any
    hidden_modes: Any
    gate_mode: str | None
    implementation: str
    device: Any
    dtype: Any


class Recurrent(Keeping):
    """Weights of one or several places, each in factors or dense, under torch's names with the place's suffix."""

    cell: Cell
    #: Name of torch's kernel: `torch.lstm` and `torch.lstm_cell`.
    kernel: str
    input_size: int
    hidden_size: int
    #: torch's module.
    dense: ClassVar[type[nn.Module]]
    #: torch's settings after the two sizes, and their defaults.
    defaults: ClassVar[dict[str, Any]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        proj_size: int,
        factorization: str,
        decompose: str,
    ) -> None:
        super().__init__()
        self.input_size = positive_int("input_size", input_size)
        self.hidden_size = positive_int("hidden_size", hidden_size)
        if "proj_size" not in self.defaults and proj_size:
            raise ValueError(f"proj_size must be an LSTM's; expected none, got {proj_size}.")
        self.proj_size = checked_proj_size(proj_size, self.hidden_size)
        self.bias = bool(bias)
        self.factorization = factorization
        self.decompose = one_of("decompose", decompose, DECOMPOSE)

    def reset_parameters(self) -> None:
        """Start as torch does: every reconstructed weight has its standard deviation, the rest its uniform distribution."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self._parameters.values():
            if parameter is not None:
                draw(parameter, lambda one: nn.init.uniform_(one, -bound, bound))
        for weight in self._factorized():
            weight.reset(bound / math.sqrt(3))

    @property
    def state_size(self) -> int:
        """Size of h: the hidden size, or what h is projected to."""
        return self.proj_size or self.hidden_size

    @property
    def compression_ratio(self) -> float:
        """Entries of torch's parameters over entries of these."""
        own = sum(parameter.numel() for parameter in self.parameters())
        saved = sum(math.prod(weight.shape) - weight.n_param for weight in self._factorized())
        return (own + saved) / own

    def extra_repr(self) -> str:
        """Settings other than torch's defaults, the format, the way of decomposing, and the compression."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        shown += [f"{name}={getattr(self, name)}" for name, value in self.defaults.items() if getattr(self, name) != value]
        own = f"factorization={self.factorization!r}, decompose={self.decompose!r}"
        return ", ".join([*shown, own, f"compression_ratio={self.compression_ratio:.4g}"])

    @classmethod
    def _from_dense(cls, argument: str, dense: nn.Module, rank: Any, options: dict[str, Any]) -> Self:
        """Decompose the weights of torch's module and take over the rest; options of the class, and of `factorize`."""
        if not isinstance(dense, cls.dense):
            raise TypeError(f"{argument} must be a torch.nn.{cls.dense.__name__}; got {type(dense).__name__}.")
        like = next(dense.parameters())
        make: Any = cls
        own = {name: options.pop(name) for name in Options.__annotations__ if name in options}
        # On the meta device nothing is drawn: all of it is replaced, ranks included.
        own = {"dtype": like.dtype, **own, "rank": 1, "device": "meta"}
        settings = {name: getattr(dense, name) for name in cls.defaults if name != "dropout"}
        layer = make(dense.input_size, dense.hidden_size, **settings, **own).to_empty(device=like.device)
        for suffix, of_place in zip(layer._suffixes(), layer._ranks(rank)):
            w_ih, w_hh = getattr(dense, f"weight_ih{suffix}"), getattr(dense, f"weight_hh{suffix}")
            matrices = {"weight": (w_ih, w_hh), "weight_ih": (w_ih,), "weight_hh": (w_hh,)}
            for name, parts in matrices.items():
                weight = getattr(layer, f"{name}{suffix}", None)
                if isinstance(weight, FactorizedWeight):
                    weight.load_matrices(*parts, rank=of_place, **options)
        with torch.no_grad():
            for name, parameter in layer._parameters.items():
                if parameter is not None:
                    parameter.copy_(getattr(dense, name))
        # Not given to the constructor, which would warn once more where it does nothing.
        if "dropout" in cls.defaults:
            layer.dropout = dense.dropout
        return layer.train(dense.training)

    def _to_dense(self) -> Any:
        """Return torch's module with the reconstructed weights; nothing is shared with it."""
        like = next(self.parameters())
        settings = {name: getattr(self, name) for name in self.defaults if name != "dropout"}
        make: Any = self.dense
        dense = make(self.input_size, self.hidden_size, **settings, device="meta", dtype=like.dtype).to_empty(
            device=like.device
        )
        with torch.no_grad():
            for suffix in self._suffixes():
                getattr(dense, f"weight_ih{suffix}").copy_(self._matrix(self._input(suffix)))
                getattr(dense, f"weight_hh{suffix}").copy_(self._matrix(self._recurrent(suffix)))
            for name, parameter in self._parameters.items():
                if parameter is not None:
                    getattr(dense, name).copy_(whole(parameter))
        if "dropout" in self.defaults:
            dense.dropout = self.dropout
        return dense.train(self.training)

    def _suffixes(self) -> tuple[str, ...]:
        """Suffix of the parameters' names at every place."""
        raise NotImplementedError

    def _ranks(self, rank: Any) -> list[Any]:
        """The rank at every place."""
        raise NotImplementedError

    def _add_weights(self, suffix: str, width: int, rank: Any, input_modes: Any, hidden_modes: Any, **settings: Any) -> None:
        """Add the parameters of a place whose input has `width` features; settings of `FactorizedWeight`."""
        names = ("hidden_modes", "input_modes")
        for name, value in settings.items():
            if name not in Options.__annotations__:
                known = tuple(Options.__annotations__)
                raise TypeError(f"{name} must be an argument; expected one of {known}, got {name}={value!r}.")
        context = {name: settings.get(name) for name in ("device", "dtype")}
        gates = self.cell.n_gates * self.hidden_size

        def weight(widths: tuple[int, ...], out_modes: Any, in_modes: Any) -> FactorizedWeight:
            of_cell: dict[str, Any] = {"factorization": self.factorization, "n_gates": self.cell.n_gates, "names": names}
            modes = {"out_modes": out_modes, "in_modes": in_modes}
            return FactorizedWeight(self.hidden_size, widths, rank=rank, **modes, **of_cell, **settings)

        def dense(name: str, *shape: int) -> None:
            self.register_parameter(f"{name}{suffix}", nn.Parameter(torch.empty(shape, **context)))

        if self.decompose == "full":
            self.add_module(f"weight{suffix}", weight((width, self.state_size), hidden_modes, input_modes))
        else:
            of_input = weight((width,), hidden_modes, input_modes)
            self.add_module(f"weight_ih{suffix}", of_input)
            if self.decompose == "layerwise":
                # h has the modes of the hidden size unless it is projected to another size.
                modes = None if self.proj_size else of_input.out_modes
                self.add_module(f"weight_hh{suffix}", weight((self.state_size,), of_input.out_modes, modes))
            else:
                dense("weight_hh", gates, self.state_size)
        if self.bias:
            dense("bias_ih", gates)
            dense("bias_hh", gates)
        if self.proj_size:
            dense("weight_hr", self.proj_size, self.hidden_size)

    def _like(self) -> Tensor:
        """What stands for the dtype and device of all parameters."""
        first: Any = next(iter(self._modules.values()))
        return first.first_factor

    def _factorized(self) -> list[FactorizedWeight]:
        return [module for module in self.children() if isinstance(module, FactorizedWeight)]

    def _input(self, suffix: str) -> Place:
        """The weight over x, always in factors."""
        return getattr(self, f"weight{suffix}" if self.decompose == "full" else f"weight_ih{suffix}"), 0

    def _recurrent(self, suffix: str) -> Place:
        """The weight over h."""
        return (getattr(self, f"weight{suffix}"), 1) if self.decompose == "full" else (getattr(self, f"weight_hh{suffix}"), 0)

    def _reconstructs(self, suffixes: Sequence[str], rows: int, steps: int, x_gradient: bool) -> bool:
        """Whether to multiply out the weights at some places for an input of that many rows."""
        weights = [self._input(suffix)[0] for suffix in suffixes]
        return all(
            isinstance(weight, FactorizedWeight) and weight.reconstructs(rows, x_gradient=x_gradient, steps=steps)
            for weight in weights
        )

    def _matrices(self, suffix: str) -> list[Tensor]:
        """The dense matrices over x and over h, in the dtype of the parameters."""
        if self.decompose == "full":
            weight: FactorizedWeight = getattr(self, f"weight{suffix}")
            return [one.to(weight.first_factor.dtype) for one in weight.matrices()]
        return [self._matrix(self._input(suffix)), self._matrix(self._recurrent(suffix))]

    def _matrix(self, place: Place) -> Tensor:
        """The dense matrix, in the dtype of the parameters also where autocast multiplies it out."""
        weight, part = place
        if not isinstance(weight, FactorizedWeight):
            return whole(weight)
        matrix = weight.kept_matrix(part)
        return matrix.to(weight.first_factor.dtype) if autocasts(matrix) else matrix

    def _apply_weight(self, place: Place, x: Tensor, bias: Tensor | None) -> Tensor:
        weight, part = place
        if not isinstance(weight, FactorizedWeight):
            return nn.functional.linear(x, weight, bias)
        return weight(x, part, bias)

    def _optional(self, name: str) -> Tensor | None:
        return self._parameters.get(name)

    def _state(self, hx: Any, like: Tensor, leading: Sequence[int], suffix: str) -> State:
        """The arrays of an initial state, each of shape (*leading, size); zeros if none is given."""
        widths = (self.state_size, self.hidden_size)[: len(self.cell.states)]
        if hx is None:
            context: dict[str, Any] = {"dtype": like.dtype, "device": like.device}
            return tuple([torch.zeros(*leading, width, **context) for width in widths])
        sizes = dict(zip((f"{state}{suffix}" for state in self.cell.states), widths))
        given = (hx,) if isinstance(hx, Tensor) else hx
        one = len(sizes) == 1
        listed = isinstance(given, (tuple, list)) and (isinstance(hx, Tensor) or not one)
        if not listed or len(given) != len(sizes) or not all(isinstance(part, Tensor) for part in given):
            wanted = f"a tensor {next(iter(sizes))}" if one else f"a pair of tensors ({', '.join(sizes)})"
            raise TypeError(f"hx must be {wanted}; got {type(hx).__name__}.")
        weight = self._like()
        for (label, size), part in zip(sizes.items(), given):
            expected = (*leading, size)
            if tuple(part.shape) != expected:
                raise ValueError(f"{label} must fit the input; expected shape {expected}, got {tuple(part.shape)}.")
            check_alike(label, part, weight)
        return tuple(given)

    def _shown(self, state: State) -> Any:
        """A state as the user has it: one tensor where the cell has one."""
        return state if len(state) > 1 else state[0]


#: What every dtype of parameters holds; a gate is open long before.
LARGEST_BIAS = 65504.0


def set_forget_bias(module: Recurrent, forget_bias: float | None) -> None:
    """Let the biases of an LSTM's forget gates, the second of four, add up to `forget_bias`; leave them if that is None."""
    if forget_bias is None:
        return
    with torch.no_grad():
        for name, parameter in module.named_parameters(recurse=False):
            if name.startswith("bias_"):
                gates = whole(parameter).clone()
                gates.chunk(4)[1].fill_(forget_bias if name.startswith("bias_ih") else 0.0)
                assign(parameter, gates)


def checked_forget_bias(forget_bias: Any, bias: bool) -> float | None:
    """Return the number, and refuse one that has no biases to go to."""
    if forget_bias is None:
        return None
    if isinstance(forget_bias, bool) or not isinstance(forget_bias, (int, float)) or not abs(forget_bias) < LARGEST_BIAS:
        raise ValueError(
            f"forget_bias must be a number; expected a finite number or None, got {forget_bias!r}. "
            f"The largest is {LARGEST_BIAS:g}."
        )
    if not bias:
        raise ValueError(f"forget_bias must go to a bias; expected None with bias=False, got {forget_bias!r}.")
    return float(forget_bias)
