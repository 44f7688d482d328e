"""What recurrent layers share: sequences, padded or packed, through layers and directions."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tensorly_rnn._checks import positive_int
from tensorly_rnn.nn._arguments import check_sequence, checked_dropout, of_every_layer
from tensorly_rnn.nn.recurrent_module import Recurrent
from tensorly_rnn.nn.sequence import run as run_steps
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.nn.weight_cache import is_transformed, keeps, precision
from tensorly_rnn.recurrent.cells import State

#: More layers than this are a mistake.
MOST_LAYERS = 1024


class RecurrentLayer(Recurrent):
    """Layers and directions of a cell, with the outward contract of torch's own; a subclass says which cell."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        batch_first: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int = 0,
        *,
        factorization: str = "ht",
        rank: Any = "same",
        decompose: str = "input",
        input_modes: Any = None,
        hidden_modes: Any = None,
        **settings: Any,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, proj_size, factorization, decompose)
        self.num_layers = positive_int("num_layers", num_layers, most=MOST_LAYERS)
        self.batch_first, self.bidirectional = bool(batch_first), bool(bidirectional)
        self.dropout = checked_dropout(dropout, self.num_layers)
        # The layers above the first have another input.
        input_modes = input_modes if input_modes is None or isinstance(input_modes, dict) else {0: input_modes}
        of_layers = zip(
            of_every_layer("rank", rank, self.num_layers, required=True),
            of_every_layer("input_modes", input_modes, self.num_layers),
            of_every_layer("hidden_modes", hidden_modes, self.num_layers),
        )
        for layer, (of_layer, in_modes, out_modes) in enumerate(of_layers):
            width = self.state_size * self._directions if layer else self.input_size
            for suffix in self._suffixes_of(layer):
                self._add_weights(suffix, width, of_layer, in_modes, out_modes, **settings)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        """Run the layers over sequences.

        Parameters
        ----------
        input : Tensor or PackedSequence
            Shape (L, N, input_size), (N, L, input_size) if batch_first, or (L, input_size) unbatched.
        hx : Tensor or (Tensor, Tensor), optional
            ``h_0``, for an LSTM ``(h_0, c_0)``: shapes (num_layers * num_directions, N, size of h) and
            (num_layers * num_directions, N, hidden_size), without N if unbatched; default zeros.

        Returns
        -------
        (Tensor or PackedSequence, Tensor or (Tensor, Tensor))
            ``output`` of the last layer, as `input`, its last axis num_directions * size of h; the last state, as `hx`.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, dtype, device or shape.
        """
        check_sequence(input, self.input_size, self.batch_first, self._like())
        count = self.num_layers * self._directions
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            state = self._state(hx, data, (count, int(batch_sizes[0])), "_0")
            output, last = self._run_layers(data, batch_sizes, _permuted(state, order))
            return PackedSequence(output, batch_sizes, order, back), self._shown(_permuted(last, back))
        if input.dim() == 2:
            state = tuple(part.unsqueeze(1) for part in self._state(hx, input, (count,), "_0"))
            output, last = self._run_layers(input.unsqueeze(1), None, state)
            return output.squeeze(1), self._shown(tuple(part.squeeze(1) for part in last))
        steps = input.transpose(0, 1) if self.batch_first else input
        output, last = self._run_layers(steps, None, self._state(hx, input, (count, steps.shape[1]), "_0"))
        return output.transpose(0, 1) if self.batch_first else output, self._shown(last)

    def flatten_parameters(self) -> None:
        """Do nothing: for code that calls it on torch's layers, whose parameters it brings together for cuDNN."""

    def _run_layers(self, steps: Tensor, batch_sizes: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Run all layers over steps of shape (L, N, width) or, packed, (sum(batch_sizes), width)."""
        ended = []
        for layer in range(self.num_layers):
            if layer:
                steps = nn.functional.dropout(steps, self.dropout, self.training)
            suffixes = self._suffixes_of(layer)
            first = layer * self._directions
            whole = self.num_layers == 1
            before = state if whole else tuple(part[first : first + self._directions] for part in state)
            weights = self._kernel_weights(suffixes, steps, batch_sizes)
            if weights is None:
                steps, after = self._stepwise(suffixes, steps, batch_sizes, before)
            else:
                steps, after = self._fused(weights, steps, batch_sizes, before)
            ended.append(after)
        return steps, ended[0] if len(ended) == 1 else tuple(torch.cat(parts) for parts in zip(*ended))

    def _has_kernels(self) -> bool:
        """Whether torch's kernels stay whole: where they run as they are, and in an exported graph, as one node each."""
        # A compiler takes them apart into steps, or fails on them: oneDNN's LSTM has no gradient there. ONNX's has no
        # projection.
        if is_transformed():
            return False
        return not torch.compiler.is_compiling() or (torch.compiler.is_exporting() and not self.proj_size)

    def _kernel_weights(self, suffixes: tuple[str, ...], steps: Tensor, batch_sizes: Tensor | None) -> list[Tensor] | None:
        """What torch's kernel takes for one layer, its weights multiplied out; None where it goes step by step."""
        rows, count = math.prod(steps.shape[:-1]), (steps if batch_sizes is None else batch_sizes).shape[0]
        weights = [child for child in self._modules.values() if isinstance(child, FactorizedWeight)]
        parameters: list[Tensor] = [one for one in self._parameters.values() if one is not None]
        parameters += [factor for weight in weights for factor in weight._factors()]
        if not keeps(self, parameters):
            return self._made_kernel_weights(suffixes, rows, count, steps.requires_grad)
        key = (suffixes, rows, count, precision(parameters[0]))
        kept = [weight._kept for weight in weights]
        return self._kept.get(key, parameters, lambda: self._made_kernel_weights(suffixes, rows, count, False), kept)

    def _made_kernel_weights(self, suffixes: tuple[str, ...], rows: int, count: int, x_gradient: bool) -> list[Tensor] | None:
        if not self._has_kernels() or not self._reconstructs(suffixes, rows, count, x_gradient):
            return None
        weights = []
        for suffix in suffixes:
            of_both = self._matrices(suffix)
            others = [self._optional(f"{name}{suffix}") for name in ("bias_ih", "bias_hh", "weight_hr")]
            weights += [parameter for parameter in (*of_both, *others) if parameter is not None]
        return weights

    def _fused(self, weights: list[Tensor], steps: Tensor, batch_sizes: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Run one layer by torch's own kernel."""
        kernel = getattr(torch, self.kernel)
        # One layer, no dropout.
        settings = (self._shown(state), weights, self.bias, 1, 0.0, self.training, self.bidirectional)
        found = kernel(steps, *settings, False) if batch_sizes is None else kernel(steps, batch_sizes, *settings)
        return found[0], tuple(found[1:])

    def _stepwise(
        self, suffixes: Sequence[str], steps: Tensor, batch_sizes: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Run one layer step by step: the input of all steps is projected in one product, the recurrent weight built once."""
        outputs, lasts = [], []
        for direction, suffix in enumerate(suffixes):
            from_x = self._apply_weight(self._input(suffix), steps, self._optional(f"bias_ih{suffix}"))
            recurrent = self._matrix(self._recurrent(suffix))
            bias, projection = self._optional(f"bias_hh{suffix}"), self._optional(f"weight_hr{suffix}")
            before = tuple(part[direction] for part in state)
            output, last = run_steps(self.cell, from_x, batch_sizes, before, recurrent, bias, projection, bool(direction))
            # Under autocast torch's kernel of an LSTM gives all in lower precision; the other cells' follow from the steps.
            dtype = from_x.dtype if len(last) > 1 else output.dtype
            outputs.append(output.to(dtype))
            lasts.append(tuple(part.to(dtype) for part in last))
        return torch.cat(outputs, dim=-1), tuple(torch.stack(parts) for parts in zip(*lasts))

    def _ranks(self, rank: Any) -> list[Any]:
        of_layers = of_every_layer("rank", rank, self.num_layers, required=True)
        return [of_layer for of_layer in of_layers for _ in range(self._directions)]

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes_of(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: self._directions]

    def _suffixes(self) -> tuple[str, ...]:
        return tuple(suffix for layer in range(self.num_layers) for suffix in self._suffixes_of(layer))


def _permuted(state: State, order: Tensor | None) -> State:
    """The sequences of a state in another order."""
    return state if order is None else tuple(part.index_select(1, order) for part in state)
