"""Recurrent layers whose weights are held in factors, with the outward contract of torch's own."""

import math
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from tensorly_rnn._checks import one_of, positive_int
from tensorly_rnn.nn._checks import check_dtype, check_sequence, checked_dropout, checked_proj_size
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.starts import DECOMPOSE

LSTMState = tuple[Tensor, Tensor]


class FactorizedLSTM(nn.Module):
    r"""A drop-in for `torch.nn.LSTM` with its weights in a format.

    .. math::
        i, f, g, o = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \quad
        c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad h_t = \sigma(o) \tanh(c_t)

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As in `torch.nn.LSTM`.
    factorization : str
        Name of the format.
    rank : 'full', 'same', float, int or the format's own form
    decompose : {'input', 'layerwise', 'full'}
        Which weights are in factors: ``W_ih`` alone; ``W_ih`` and ``W_hh``, each on its own; or both as one matrix over
        ``[x_t; h_{t-1}]``, zeros between (with 'ht' this is FDHT [2]_).
    input_modes : sequence of int, optional
        Factors of the input size of the first layer, under 'full' of at least ``input_size`` plus the size of h; balanced
        by default.
    hidden_modes : sequence of int, optional
        Factors of the hidden size, without the gates; balanced by default.
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the factor 4 of the gates goes to, or the stack of the format; by default the format's choice.
    implementation : {'auto', 'factorized', 'reconstructed'}
        Contract x with the factors, go through the dense weight, or whichever the cost model finds cheaper.
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
        If an argument is of the wrong form.

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
    >>> lstm = FactorizedLSTM(57600, 256, factorization="ht", rank=(14, 12), decompose="full",
    ...                       input_modes=(16, 16, 16, 15), hidden_modes=(4, 4, 4, 4), bias=False)
    >>> sum(p.numel() for p in lstm.parameters())
    8808
    >>> output, (h_n, c_n) = lstm(torch.zeros(6, 2, 57600))
    >>> output.shape, h_n.shape
    (torch.Size([6, 2, 256]), torch.Size([1, 2, 256]))
    """

    n_gates = 4

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
        factorization: str = "ht",
        rank: Any = "same",
        decompose: str = "input",
        input_modes: Sequence[int] | None = None,
        hidden_modes: Sequence[int] | None = None,
        gate_mode: str | None = None,
        implementation: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.num_layers = positive_int(name, "num_layers", num_layers)
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.dropout = checked_dropout(name, dropout, self.num_layers)
        self.proj_size = checked_proj_size(name, proj_size, self.hidden_size)
        self.decompose = one_of(name, "decompose", decompose, DECOMPOSE)
        self.factorization = factorization
        context = {"device": device, "dtype": dtype}
        settings: dict[str, Any] = {
            "factorization": factorization,
            "rank": rank,
            "n_gates": self.n_gates,
            "gate_mode": gate_mode,
            "implementation": implementation,
            "names": (name, "hidden_modes", "input_modes"),
            **context,
        }
        state_size = self.proj_size or self.hidden_size
        gates = self.n_gates * self.hidden_size
        for layer in range(self.num_layers):
            width = self.input_size if layer == 0 else state_size * self._directions
            in_modes = input_modes if layer == 0 else None
            for suffix in self._suffixes(layer):
                if self.decompose == "full":
                    weight = self._weight((width, state_size), hidden_modes, in_modes, settings)
                    self.add_module(f"weight{suffix}", weight)
                else:
                    weight = self._weight((width,), hidden_modes, in_modes, settings)
                    self.add_module(f"weight_ih{suffix}", weight)
                if self.decompose == "layerwise":
                    # h has the modes of the hidden size unless it is projected to another size.
                    modes = None if self.proj_size else weight.out_modes
                    recurrent = self._weight((state_size,), weight.out_modes, modes, settings)
                    self.add_module(f"weight_hh{suffix}", recurrent)
                elif self.decompose == "input":
                    self._add_parameter(f"weight_hh{suffix}", (gates, state_size), context)
                if self.bias:
                    self._add_parameter(f"bias_ih{suffix}", (gates,), context)
                    self._add_parameter(f"bias_hh{suffix}", (gates,), context)
                if self.proj_size:
                    self._add_parameter(f"weight_hr{suffix}", (self.proj_size, self.hidden_size), context)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Start as `torch.nn.LSTM` does: every reconstructed weight has its standard deviation, the rest its uniform."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            if ".factors." not in name:
                nn.init.uniform_(parameter, -bound, bound)
        for module in self.children():
            assert isinstance(module, FactorizedWeight)
            module.reset(bound / math.sqrt(3))

    def forward(self, input: Tensor, hx: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        """Run the layers over a sequence.

        Parameters
        ----------
        input : Tensor, shape (L, N, input_size), (N, L, input_size) if batch_first, or (L, input_size) unbatched
        hx : (Tensor, Tensor), optional
            ``h_0`` of shape (num_layers * num_directions, N, size of h) and ``c_0`` of shape
            (num_layers * num_directions, N, hidden_size), without N if unbatched; default zeros.

        Returns
        -------
        (Tensor, (Tensor, Tensor))
            ``output`` of the last layer, its last axis num_directions * size of h; ``(h_n, c_n)`` shaped as `hx`.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong type, dtype or shape.
        """
        name = type(self).__name__
        check_sequence(name, input, self.input_size, self.batch_first, next(self.parameters()))
        batched = input.dim() == 3
        steps = input if batched else input.unsqueeze(1)
        if batched and self.batch_first:
            steps = steps.transpose(0, 1)
        h_0, c_0 = self._initial_state(steps, hx, batched)
        h_n, c_n = [], []
        for layer in range(self.num_layers):
            if layer:
                steps = nn.functional.dropout(steps, self.dropout, self.training)
            outputs = []
            for direction, suffix in enumerate(self._suffixes(layer)):
                number = layer * self._directions + direction
                # Reversed in time, the second direction is the first.
                ordered = steps.flip(0) if direction else steps
                output, h, c = self._run(suffix, ordered, h_0[number], c_0[number])
                outputs.append(output.flip(0) if direction else output)
                h_n.append(h)
                c_n.append(c)
            steps = torch.cat(outputs, dim=-1)
        output, state = steps, (torch.stack(h_n), torch.stack(c_n))
        if not batched:
            return output.squeeze(1), (state[0].squeeze(1), state[1].squeeze(1))
        return (output.transpose(0, 1) if self.batch_first else output), state

    @classmethod
    def from_lstm(
        cls, lstm: nn.LSTM, *, factorization: str = "ht", rank: Any = "same", decompose: str = "input", **options: Any
    ) -> Self:
        """Decompose the weights of a dense LSTM; biases, settings, dtype and device are taken over.

        Parameters
        ----------
        lstm : nn.LSTM
            Not changed; nothing is shared with it.
        factorization, rank, decompose, **options
            As for the class. ``rank='full'`` reproduces the dense layer.

        Returns
        -------
        FactorizedLSTM

        Raises
        ------
        TypeError, ValueError
            If `lstm` is something else, or a weight is not finite.
        """
        if not isinstance(lstm, nn.LSTM):
            raise TypeError(f"from_lstm: lstm must be a torch.nn.LSTM; got {type(lstm).__name__}.")
        # On the meta device nothing is drawn: all of it is replaced.
        options = {"dtype": lstm.weight_ih_l0.dtype, **options, "device": "meta"}
        layer = cls(
            lstm.input_size,
            lstm.hidden_size,
            lstm.num_layers,
            lstm.bias,
            lstm.batch_first,
            lstm.dropout,
            lstm.bidirectional,
            lstm.proj_size,
            factorization=factorization,
            rank=rank,
            decompose=decompose,
            **options,
        ).to_empty(device=next(lstm.parameters()).device)
        for suffix in layer._all_suffixes():
            dense = (getattr(lstm, f"weight_ih{suffix}"), getattr(lstm, f"weight_hh{suffix}"))
            if layer.decompose == "full":
                getattr(layer, f"weight{suffix}").load_matrices(*dense)
            else:
                getattr(layer, f"weight_ih{suffix}").load_matrices(dense[0])
            if layer.decompose == "layerwise":
                getattr(layer, f"weight_hh{suffix}").load_matrices(dense[1])
        with torch.no_grad():
            for name, parameter in layer.named_parameters():
                if ".factors." not in name:
                    parameter.copy_(getattr(lstm, name))
        return layer.train(lstm.training)

    def to_lstm(self) -> nn.LSTM:
        """Return a dense LSTM with the reconstructed weights; nothing is shared with it."""
        like = next(self.parameters())
        lstm = nn.LSTM(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            self.bias,
            self.batch_first,
            self.dropout,
            self.bidirectional,
            self.proj_size,
            device=like.device,
            dtype=like.dtype,
        )
        own = dict(self.named_parameters())
        with torch.no_grad():
            for suffix in self._all_suffixes():
                w_ih, w_hh = self._input_weight(suffix), self._recurrent_matrix(suffix)
                getattr(lstm, f"weight_ih{suffix}").copy_(w_ih.matrix())
                getattr(lstm, f"weight_hh{suffix}").copy_(w_hh)
            for name, parameter in lstm.named_parameters():
                if name in own:
                    parameter.copy_(own[name])
        return lstm.train(self.training)

    def extra_repr(self) -> str:
        """Settings other than torch's defaults, and the way of decomposing."""
        shown = [f"{self.input_size}, {self.hidden_size}"]
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
            "proj_size": 0,
        }
        shown += [f"{name}={getattr(self, name)}" for name, value in defaults.items() if getattr(self, name) != value]
        return ", ".join([*shown, f"factorization={self.factorization!r}", f"decompose={self.decompose!r}"])

    def _run(self, suffix: str, steps: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run one direction of one layer over steps of shape (L, N, width)."""
        projected = self._input_weight(suffix)(steps)
        if self.bias:
            projected = projected + (getattr(self, f"bias_ih{suffix}") + getattr(self, f"bias_hh{suffix}"))
        recurrent = self._recurrent_matrix(suffix).T
        projection = getattr(self, f"weight_hr{suffix}").T if self.proj_size else None
        outputs = []
        for gates in projected.unbind(0):
            i, f, g, o = torch.addmm(gates, h, recurrent).chunk(4, dim=-1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            if projection is not None:
                h = h @ projection
            outputs.append(h)
        return torch.stack(outputs), h, c

    def _input_weight(self, suffix: str) -> FactorizedWeight:
        return getattr(self, f"weight{suffix}" if self.decompose == "full" else f"weight_ih{suffix}")

    def _recurrent_matrix(self, suffix: str) -> Tensor:
        """The dense recurrent weight, shape (4 * hidden_size, size of h)."""
        if self.decompose == "full":
            return getattr(self, f"weight{suffix}").matrix(part=1)
        recurrent = getattr(self, f"weight_hh{suffix}")
        return recurrent.matrix() if self.decompose == "layerwise" else recurrent

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse")[: self._directions]

    def _all_suffixes(self) -> tuple[str, ...]:
        return tuple(suffix for layer in range(self.num_layers) for suffix in self._suffixes(layer))

    def _weight(self, widths: tuple[int, ...], out_modes: Any, in_modes: Any, settings: dict[str, Any]) -> FactorizedWeight:
        return FactorizedWeight(self.hidden_size, widths, out_modes=out_modes, in_modes=in_modes, **settings)

    def _add_parameter(self, name: str, shape: tuple[int, ...], context: dict[str, Any]) -> None:
        self.register_parameter(name, nn.Parameter(torch.empty(shape, **context)))

    def _initial_state(self, steps: Tensor, hx: LSTMState | None, batched: bool) -> LSTMState:
        name = type(self).__name__
        count, batch = self.num_layers * self._directions, steps.shape[1]
        sizes = (self.proj_size or self.hidden_size, self.hidden_size)
        if hx is None:
            zeros = [torch.zeros(count, batch, size, dtype=steps.dtype, device=steps.device) for size in sizes]
            return zeros[0], zeros[1]
        if not isinstance(hx, (tuple, list)) or len(hx) != 2 or not all(isinstance(one, Tensor) for one in hx):
            raise TypeError(f"{name}: hx must be a pair of tensors (h_0, c_0); got {type(hx).__name__}.")
        states = []
        for label, state, size in zip(("h_0", "c_0"), hx, sizes):
            expected = (count, batch, size) if batched else (count, size)
            if tuple(state.shape) != expected:
                raise ValueError(f"{name}: {label} must fit the input; expected shape {expected}, got {tuple(state.shape)}.")
            check_dtype(name, label, state, next(self.parameters()))
            states.append(state if batched else state.unsqueeze(1))
        return states[0], states[1]
