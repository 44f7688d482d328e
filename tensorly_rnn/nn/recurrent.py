"""RNN, GRU and LSTM with their weights in factors and the interface of torch's layers."""

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, Self, Unpack

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from tensorly_rnn._checks import checked_flag, positive_int
from tensorly_rnn.contraction.plan import ANY, size_of_plan
from tensorly_rnn.nn._arguments import check_sequences
from tensorly_rnn.nn._torch_context import autocast_dtype, is_transformed
from tensorly_rnn.nn.recurrent_module import (
    DIRECTIONS,
    Options,
    RecurrentModule,
    Weights,
    apply_weight,
    checked_forget_bias,
    dense_matrix,
)
from tensorly_rnn.nn.unroll import unroll
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.nn.weight_cache import may_cache
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS, State

DEFAULTS: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}
#: Largest number of layers.
MAX_LAYERS = 1024


class RecurrentLayer(RecurrentModule):
    """Layers and directions of a cell with the interface of torch's layers; a subclass sets the cell."""

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
        **options: Unpack[Options],
    ) -> None:
        num_layers = positive_int("num_layers", num_layers, most=MAX_LAYERS)
        bidirectional = checked_flag("bidirectional", bidirectional)
        directions = DIRECTIONS if bidirectional else DIRECTIONS[:1]
        suffixes = [tuple(f"_l{layer}{direction}" for direction in directions) for layer in range(num_layers)]
        super().__init__(input_size, hidden_size, bias, proj_size, suffixes, **options)
        self.num_layers, self.bidirectional = num_layers, bidirectional
        self.batch_first = checked_flag("batch_first", batch_first)
        self.dropout = _checked_dropout(dropout, num_layers)

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
            ``output`` of the last layer, like `input`, with last axis num_directions * size of h; the last state, like `hx`.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type, dtype, device or shape.
        """
        check_sequences(input, self.input_size, self.batch_first, self._like())
        count = self.num_layers * len(self._suffixes[0])
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            state = self._state(hx, data, (count, int(batch_sizes[0])), "_0")
            output, last = self._run_layers(data, batch_sizes, _permuted(state, order))
            return PackedSequence(output, batch_sizes, order, back), self._to_user(_permuted(last, back))
        if input.dim() == 2:
            state = tuple(part.unsqueeze(1) for part in self._state(hx, input, (count,), "_0"))
            output, last = self._run_layers(input.unsqueeze(1), None, state)
            return output.squeeze(1), self._to_user(tuple(part.squeeze(1) for part in last))
        steps = input.transpose(0, 1) if self.batch_first else input
        output, last = self._run_layers(steps, None, self._state(hx, input, (count, steps.shape[1]), "_0"))
        return output.transpose(0, 1) if self.batch_first else output, self._to_user(last)

    @property
    def mode(self) -> str:
        """Name of the layer in torch: 'LSTM', 'GRU', 'RNN_TANH' or 'RNN_RELU'."""
        return self.kernel.upper()

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """Dense weights and biases of each layer and direction, in the order of torch.

        Weights in factors are reconstructed: a change of these tensors does not change the layer.
        """
        return [
            [weight.matrix(part) if isinstance(weight, FactorizedWeight) else weight for weight, part in (one.x, one.h)]
            + [parameter for parameter in one[2:] if parameter is not None]
            for one in map(self._weights, itertools.chain(*self._suffixes))
        ]

    @property
    def _flat_weights(self) -> list[Tensor]:
        """`all_weights` in one list, which libraries read of torch's layers."""
        return [*itertools.chain(*self.all_weights)]

    def flatten_parameters(self) -> None:
        """Do nothing; torch's layers have this method, which compacts their parameters for cuDNN."""

    def _run_layers(self, steps: Tensor, batch_sizes: Tensor | None, state: State) -> tuple[Tensor, State]:
        """Run all layers over steps of shape (L, N, width) or, packed, (sum(batch_sizes), width)."""
        lasts = []
        layers = [[self._weights(suffix) for suffix in suffixes] for suffixes in self._suffixes]
        rows, count = math.prod(steps.shape[:-1]), (steps if batch_sizes is None else batch_sizes).shape[0]
        kept = self._kept_weights(layers, rows, count)
        for layer, weights in enumerate(layers):
            if layer:
                steps = nn.functional.dropout(steps, self.dropout, self.training)
            first = layer * len(weights)
            before = state if self.num_layers == 1 else tuple(part[first : first + len(weights)] for part in state)
            dense = kept[layer] if kept else self._kernel_weights(weights, rows, count, steps.requires_grad)
            if dense is None and torch.jit.is_tracing():  # type: ignore[attr-defined, no-untyped-call]
                steps, dense = self._projected(weights, steps)
            if dense is None:
                steps, last = self._run_steps(weights, steps, batch_sizes, before)
            else:
                steps, last = self._run_kernel(dense, steps, batch_sizes, before)
            lasts.append(last)
        return steps, lasts[0] if len(lasts) == 1 else tuple(torch.cat(parts) for parts in zip(*lasts))

    def _has_kernels(self, length: int) -> bool:
        """Return whether the kernels of torch run as they are, or become one node of an exported graph."""
        # Compilers decompose the kernels into steps, or fail: oneDNN's LSTM has no gradient there. ONNX's has no projection.
        # Exported kernels have a fixed number of steps.
        if is_transformed():
            return False
        exported = torch.compiler.is_exporting() and not self.proj_size and size_of_plan(length) != ANY
        return exported or not torch.compiler.is_compiling()

    def _kept_weights(self, layers: list[list[Weights]], rows: int, count: int) -> list[list[Tensor] | None] | None:
        """Return `_kernel_weights` of every layer from the cache, or None if nothing may be cached."""
        own = self._factorized()
        parameters = [factor for weight in own for factor in weight._factors()]
        parameters += [one for directions in layers for direction in directions for one in direction.dense()]
        if not may_cache(self, parameters):
            return None
        kept: list[list[Tensor] | None] = self._cache.get(
            (rows, count, autocast_dtype(parameters[0])),
            parameters,
            lambda: [self._kernel_weights(weights, rows, count, False) for weights in layers],
            [weight._cache for weight in own],
        )
        return kept

    def _kernel_weights(self, weights: list[Weights], rows: int, count: int, x_gradient: bool) -> list[Tensor] | None:
        """Return the dense weights of one layer for the kernel of torch, or None if it runs step by step."""
        if not self._has_kernels(count) or not self._reconstructs(weights, rows, count, x_gradient):
            return None
        return [one for direction in weights for one in (*self._matrices(direction), *direction[2:]) if one is not None]

    def _projected(self, weights: list[Weights], steps: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the projected input of all directions, and weights for the kernel of torch that leave it as it is.

        In the graphs of `torch.jit.trace` the kernel takes any number of steps, while single steps would be a fixed number.
        """
        from_x = torch.cat([apply_weight(*one.x, steps, None) for one in weights], dim=-1)
        identity = torch.eye(from_x.shape[-1], dtype=from_x.dtype, device=from_x.device)
        dense = []
        for rows, one in zip(identity.chunk(len(weights)), weights):
            dense += [part for part in (rows, dense_matrix(*one.h), *one[2:]) if part is not None]
        return from_x, dense

    def _run_kernel(
        self, weights: list[Tensor], steps: Tensor, batch_sizes: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Run one layer by the kernel of torch."""
        kernel = getattr(torch, self.kernel)
        # One layer, no dropout.
        settings = (self._to_user(state), weights, self.bias, 1, 0.0, self.training, self.bidirectional)
        found = kernel(steps, *settings, False) if batch_sizes is None else kernel(steps, batch_sizes, *settings)
        return found[0], tuple(found[1:])

    def _run_steps(
        self, weights: Sequence[Weights], steps: Tensor, batch_sizes: Tensor | None, state: State
    ) -> tuple[Tensor, State]:
        """Run one layer step by step, with one product for the input of all steps and the recurrent weight reconstructed."""
        outputs, lasts = [], []
        for direction, one in enumerate(weights):
            from_x = apply_weight(*one.x, steps, one.bias_ih)
            recurrent, before = dense_matrix(*one.h), tuple(part[direction] for part in state)
            reverse = bool(direction)
            output, last = unroll(self.cell, from_x, batch_sizes, before, recurrent, one.bias_hh, one.weight_hr, reverse)
            # Under autocast the kernel of an LSTM returns the lower precision; those of other cells return that of the steps.
            dtype = from_x.dtype if len(last) > 1 else output.dtype
            outputs.append(output.to(dtype))
            lasts.append(tuple(part.to(dtype) for part in last))
        return torch.cat(outputs, dim=-1), tuple(torch.stack(parts) for parts in zip(*lasts))


class FactorizedLSTM(RecurrentLayer):
    r"""A replacement for `torch.nn.LSTM` with its weights in a format.

    .. math::
        i, f, g, o = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \quad
        c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad h_t = W_{hr} (\sigma(o) \tanh(c_t))

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As in `torch.nn.LSTM`.
    forget_bias : float, optional
        Initial bias of the forget gate; by default uniform around 0, like torch.
    factorization : str
        Name of the format; default ``'ht'``.
    rank : 'full', 'same', float, int or the format's own form
        Rank of every weight, or a mapping from the number of the layer to its rank. The rank of a layer can be a mapping too:
        ``{'ih': rank of W_ih, 'hh': rank of W_hh}`` with 'layerwise', ``{'ih': ...}`` with 'input', ``{'weight': ...}`` with
        'full'; ``'ih_reverse'``, ... is that of the other direction if it differs. Default ``'same'``.
    decompose : {'input', 'layerwise', 'full'}
        Weights in factors: ``W_ih``; ``W_ih`` and ``W_hh``, each on its own; or both as one matrix over ``[x_t; h_{t-1}]``
        with zero padding between the parts (with 'ht' this is FDHT [2]_). Default ``'input'``.
    input_modes : sequence of int, optional
        Factors of the input size of the first layer, or with 'full' of at least ``input_size`` plus the size of h; balanced
        by default. A mapping from the number of the layer sets those of other layers.
    hidden_modes : sequence of int, optional
        Factors of the hidden size, without the gates, in all layers; balanced by default. A mapping sets them by layer.
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the 4 gates multiply, or the stack of the format; default: the first choice of the format.
    implementation : {'auto', 'factorized', 'reconstructed'}
        'factorized': contract x with the factors and run step by step. 'reconstructed': reconstruct the weights once a call
        and run the kernel of torch. 'auto': choose for each layer by the cost model. Default ``'auto'``.
    device, dtype

    Attributes
    ----------
    weight_ih_l{k}{_reverse} : FactorizedWeight, shape (4 * hidden_size, input size of the layer)
    weight_hh_l{k}{_reverse} : Parameter, or FactorizedWeight if layerwise, shape (4 * hidden_size, size of h)
    weight_l{k}{_reverse} : FactorizedWeight in place of both, if full
    bias_ih_l{k}{_reverse}, bias_hh_l{k}{_reverse} : Parameter, shape (4 * hidden_size,)
    weight_hr_l{k}{_reverse} : Parameter, shape (proj_size, hidden_size), if proj_size > 0

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Warns
    -----
    UserWarning
        If there is dropout but only one layer, like torch.

    Notes
    -----
    The input projection of all time steps is one product; the recurrent weight is reconstructed once a call.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       section 3.2.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, section 2.3.

    Examples
    --------
    >>> import torch
    >>> lstm = FactorizedLSTM(57600, 256, factorization="ht", rank=(14, 12), decompose="full",
    ...                       input_modes=(16, 16, 16, 15), hidden_modes=(4, 4, 4, 4), bias=False)
    >>> sum(p.numel() for p in lstm.parameters())
    8808
    >>> output, (h_n, c_n) = lstm(torch.zeros(6, 2, 57600))
    >>> output.shape, h_n.shape
    (torch.Size([6, 2, 256]), torch.Size([1, 2, 256]))
    """

    cell = LSTM_CELL
    kernel = "lstm"
    dense = nn.LSTM
    defaults: ClassVar[dict[str, Any]] = {**DEFAULTS, "proj_size": 0}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        forget_bias: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__(*sizes, bias, batch_first, dropout, bidirectional, proj_size, **options)
        self.forget_bias = checked_forget_bias(forget_bias, self.bias)
        self.reset_parameters()

    @classmethod
    def from_lstm(cls, lstm: nn.LSTM, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a dense LSTM; biases, settings, dtype and device stay the same.

        Parameters
        ----------
        lstm : nn.LSTM
            Not changed, and no memory is shared with it.
        rank, **options
            Arguments of the class and, for each weight, of `tensorly_rnn.factorize`: ``eps``, ``n_param``,
            ``compression_ratio``, ``method``, ... ``rank='full'`` reproduces the dense layer.

        Raises
        ------
        TypeError, ValueError
            If `lstm` has another type, a weight is not finite, or an argument has a wrong type or value.

        Examples
        --------
        >>> small = FactorizedLSTM.from_lstm(nn.LSTM(12, 8, num_layers=2, bidirectional=True), factorization="tt", eps=0.5)
        >>> small.to_lstm()
        LSTM(12, 8, num_layers=2, bidirectional=True)
        """
        return cls._from_dense("lstm", lstm, rank, options)

    def to_lstm(self) -> nn.LSTM:
        """Return a dense LSTM with the reconstructed weights; no memory is shared."""
        return self._to_dense()


class FactorizedGRU(RecurrentLayer):
    r"""A replacement for `torch.nn.GRU` with its weights in a format.

    .. math::
        r, z = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \quad
        n = \tanh(W_{in} x_t + b_{in} + r (W_{hn} h_{t-1} + b_{hn})), \quad h_t = (1 - z) n + z h_{t-1}

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in `torch.nn.GRU`.
    **options
        As for `FactorizedLSTM`, with three gates.

    Attributes
    ----------
    weight_ih_l{k}{_reverse}, weight_hh_l{k}{_reverse}, weight_l{k}{_reverse}, bias_ih_l{k}{_reverse}, ...
        As of `FactorizedLSTM`, with ``3 * hidden_size`` rows.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Notes
    -----
    With 'full' the parts of the weight over x and over h are multiplied separately: the reset gate acts on that over h.

    Examples
    --------
    >>> import torch
    >>> gru = FactorizedGRU(12, 8, bidirectional=True, factorization="tt", rank=2)
    >>> output, h_n = gru(torch.zeros(5, 3, 12))
    >>> output.shape, h_n.shape
    (torch.Size([5, 3, 16]), torch.Size([2, 3, 8]))
    """

    cell = GRU_CELL
    kernel = "gru"
    dense = nn.GRU
    defaults: ClassVar[dict[str, Any]] = DEFAULTS

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **options)
        self.reset_parameters()

    @classmethod
    def from_gru(cls, gru: nn.GRU, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a dense GRU; see `FactorizedLSTM.from_lstm`."""
        return cls._from_dense("gru", gru, rank, options)

    def to_gru(self) -> nn.GRU:
        """Return a dense GRU with the reconstructed weights; no memory is shared."""
        return self._to_dense()


class FactorizedRNN(RecurrentLayer):
    r"""A replacement for `torch.nn.RNN` with its weights in a format: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional
        As in `torch.nn.RNN`; the nonlinearity f is ``'tanh'`` or ``'relu'``.
    **options
        As for `FactorizedLSTM`, with one gate.

    Attributes
    ----------
    weight_ih_l{k}{_reverse}, weight_hh_l{k}{_reverse}, weight_l{k}{_reverse}, bias_ih_l{k}{_reverse}, ...
        As of `FactorizedLSTM`, with ``hidden_size`` rows.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Examples
    --------
    >>> import torch
    >>> rnn = FactorizedRNN(12, 8, 2, "relu", factorization="tr", rank=2, decompose="layerwise")
    >>> output, h_n = rnn(torch.zeros(5, 3, 12))
    >>> output.shape, h_n.shape
    (torch.Size([5, 3, 8]), torch.Size([2, 3, 8]))
    """

    cell = RNN_CELLS["tanh"]
    dense = nn.RNN
    defaults: ClassVar[dict[str, Any]] = {"num_layers": 1, "nonlinearity": "tanh", **DEFAULTS}

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, **options)
        self._set_nonlinearity(nonlinearity)
        self.reset_parameters()

    @classmethod
    def from_rnn(cls, rnn: nn.RNN, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a dense RNN; see `FactorizedLSTM.from_lstm`."""
        return cls._from_dense("rnn", rnn, rank, options)

    def to_rnn(self) -> nn.RNN:
        """Return a dense RNN with the reconstructed weights; no memory is shared."""
        return self._to_dense()


def _permuted(state: State, order: Tensor | None) -> State:
    """Return a state with its sequences in another order."""
    return state if order is None else tuple(part.index_select(1, order) for part in state)


def _checked_dropout(dropout: Any, num_layers: int) -> float:
    """Return the probability as a float; warn if it has no effect."""
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout must be a probability; expected a number in [0, 1], got {dropout!r}.")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout acts between layers; with dropout={dropout} and num_layers=1 it has no effect.",
            UserWarning,
            stacklevel=4,
        )
    return float(dropout)
