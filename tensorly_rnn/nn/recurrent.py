"""RNN, GRU and LSTM with their weights in factors, and the outward contract of torch's own."""

from typing import Any, ClassVar, Self, Unpack

from torch import nn

from tensorly_rnn._checks import one_of
from tensorly_rnn.nn._layer import RecurrentLayer
from tensorly_rnn.nn.recurrent_module import Options, checked_forget_bias, set_forget_bias
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS

DEFAULTS: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0, "bidirectional": False}


class FactorizedLSTM(RecurrentLayer):
    r"""A drop-in for `torch.nn.LSTM` with its weights in a format.

    .. math::
        i, f, g, o = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \quad
        c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad h_t = W_{hr} (\sigma(o) \tanh(c_t))

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        As in `torch.nn.LSTM`.
    forget_bias : float, optional
        What the biases of the forget gate start at; by default as torch, uniform around 0.
    factorization : str
        Name of the format; default ``'ht'``.
    rank : 'full', 'same', float, int or the format's own form
        Of every weight; or a mapping from the number of the layer to its rank. Default ``'same'``.
    decompose : {'input', 'layerwise', 'full'}
        Which weights are in factors: ``W_ih`` alone; ``W_ih`` and ``W_hh``, each on its own; or both as one matrix over
        ``[x_t; h_{t-1}]``, zeros between (with 'ht' this is FDHT [2]_). Default ``'input'``.
    input_modes : sequence of int, optional
        Factors of the input size of the first layer, under 'full' of at least ``input_size`` plus the size of h; balanced
        by default. Or a mapping from the number of the layer to its factors.
    hidden_modes : sequence of int, optional
        Factors of the hidden size, without the gates, in all layers; balanced by default. Or a mapping as above.
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the factor 4 of the gates goes to, or the stack of the format; by default the format's choice.
    implementation : {'auto', 'factorized', 'reconstructed'}
        Contract x with the factors and go step by step; multiply the weights out once a call and run torch's own kernel on
        them; or for each layer whichever the cost model finds cheaper for the rows of x. Default ``'auto'``.
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

    Warns
    -----
    UserWarning
        If there is dropout but only one layer, as in torch.

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

    def reset_parameters(self) -> None:
        """Start as `torch.nn.LSTM` does, but for the `forget_bias`: every reconstructed weight has its standard deviation."""
        super().reset_parameters()
        set_forget_bias(self, self.forget_bias)

    @classmethod
    def from_lstm(cls, lstm: nn.LSTM, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a dense LSTM; biases, settings, dtype and device are taken over.

        Parameters
        ----------
        lstm : nn.LSTM
            Not changed; nothing is shared with it.
        rank, **options
            As for the class, and as for `tensorly_rnn.factorize`: a rank, ``eps``, ``n_param``, ``compression_ratio`` of each
            weight, the ``method``, ... ``rank='full'`` reproduces the dense layer.

        Raises
        ------
        TypeError, ValueError
            If `lstm` is something else, a weight is not finite, or an argument is of the wrong form.

        Examples
        --------
        >>> small = FactorizedLSTM.from_lstm(nn.LSTM(12, 8, num_layers=2, bidirectional=True), factorization="tt", eps=0.5)
        >>> small.to_lstm()
        LSTM(12, 8, num_layers=2, bidirectional=True)
        """
        return cls._from_dense("lstm", lstm, rank, options)

    def to_lstm(self) -> nn.LSTM:
        """Return a dense LSTM with the reconstructed weights; nothing is shared with it."""
        return self._to_dense()


class FactorizedGRU(RecurrentLayer):
    r"""A drop-in for `torch.nn.GRU` with its weights in a format.

    .. math::
        r, z = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \quad
        n = \tanh(W_{in} x_t + b_{in} + r (W_{hn} h_{t-1} + b_{hn})), \quad h_t = (1 - z) n + z h_{t-1}

    Parameters
    ----------
    input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        As in `torch.nn.GRU`.
    **options
        As for `FactorizedLSTM`; the gates are three.

    Attributes
    ----------
    weight_ih_l{k}{_reverse} : FactorizedWeight, shape (3 * hidden_size, input size of the layer)
    weight_hh_l{k}{_reverse} : Parameter, or FactorizedWeight if layerwise, shape (3 * hidden_size, hidden_size)
    weight_l{k}{_reverse} : FactorizedWeight in place of both, if full
    bias_ih_l{k}{_reverse}, bias_hh_l{k}{_reverse} : Parameter, shape (3 * hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong form.

    Notes
    -----
    Under 'full' the parts of the weight over x and over h are multiplied apart: the reset gate acts on h's alone.

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
        """Decompose the weights of a dense GRU; everything else as `FactorizedLSTM.from_lstm`."""
        return cls._from_dense("gru", gru, rank, options)

    def to_gru(self) -> nn.GRU:
        """Return a dense GRU with the reconstructed weights; nothing is shared with it."""
        return self._to_dense()


class FactorizedRNN(RecurrentLayer):
    r"""A drop-in for `torch.nn.RNN` with its weights in a format: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    input_size, hidden_size, num_layers, nonlinearity, bias, batch_first, dropout, bidirectional
        As in `torch.nn.RNN`; the nonlinearity f is ``'tanh'`` or ``'relu'``.
    **options
        As for `FactorizedLSTM`; there is one gate.

    Attributes
    ----------
    weight_ih_l{k}{_reverse} : FactorizedWeight, shape (hidden_size, input size of the layer)
    weight_hh_l{k}{_reverse} : Parameter, or FactorizedWeight if layerwise, shape (hidden_size, hidden_size)
    weight_l{k}{_reverse} : FactorizedWeight in place of both, if full
    bias_ih_l{k}{_reverse}, bias_hh_l{k}{_reverse} : Parameter, shape (hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong form.

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
        self.nonlinearity = one_of("nonlinearity", nonlinearity, tuple(RNN_CELLS))
        self.cell, self.kernel = RNN_CELLS[self.nonlinearity], f"rnn_{self.nonlinearity}"
        self.reset_parameters()

    @classmethod
    def from_rnn(cls, rnn: nn.RNN, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a dense RNN; everything else as `FactorizedLSTM.from_lstm`."""
        return cls._from_dense("rnn", rnn, rank, options)

    def to_rnn(self) -> nn.RNN:
        """Return a dense RNN with the reconstructed weights; nothing is shared with it."""
        return self._to_dense()
