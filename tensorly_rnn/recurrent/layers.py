"""RNN, GRU and LSTM over any linear map, on any TensorLy backend."""

from typing import Any

from tensorly_rnn._checks import one_of
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS
from tensorly_rnn.recurrent.layer import Recurrent


class RNN(Recurrent):
    r"""A recurrent layer without gates: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    weight_ih : array, FactorizedMatrix or GatedWeight, shape (hidden_size, input_size)
    weight_hh : array, FactorizedMatrix or GatedWeight, shape (hidden_size, hidden_size)
    bias_ih, bias_hh : array, shape (hidden_size,), optional
    weight : array, FactorizedMatrix or GatedWeight, shape (hidden_size, input_size + hidden_size)
        In place of weight_ih and weight_hh: one matrix over ``[x_t; h_{t-1}]``.
    nonlinearity : {'tanh', 'relu'}
        The function f.

    Raises
    ------
    TypeError, ValueError
        If weights are missing, or an argument has the wrong backend, dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> rnn = RNN.random(5, 3, factorization="tt", rank=2, nonlinearity="relu", random_state=0)
    >>> output, h_n, tape = rnn.forward(np.ones((7, 2, 5)))
    >>> output.shape, h_n.shape
    ((7, 2, 3), (2, 3))
    """

    cell = RNN_CELLS["tanh"]

    def __init__(
        self,
        weight_ih: Any = None,
        weight_hh: Any = None,
        bias_ih: Any = None,
        bias_hh: Any = None,
        *,
        weight: Any = None,
        nonlinearity: str = "tanh",
    ) -> None:
        self.nonlinearity = one_of("nonlinearity", nonlinearity, tuple(RNN_CELLS))
        self.cell = RNN_CELLS[self.nonlinearity]
        super().__init__(weight_ih, weight_hh, bias_ih, bias_hh, weight=weight)


class GRU(Recurrent):
    r"""A gated recurrent unit, with torch's formulas and order of the gates, ``r z n``.

    .. math::
        r, z = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \quad
        n = \tanh(W_{in} x_t + b_{in} + r (W_{hn} h_{t-1} + b_{hn})), \quad h_t = (1 - z) n + z h_{t-1}

    Parameters
    ----------
    weight_ih : array, FactorizedMatrix or GatedWeight, shape (3 * hidden_size, input_size)
    weight_hh : array, FactorizedMatrix or GatedWeight, shape (3 * hidden_size, hidden_size)
    bias_ih, bias_hh : array, shape (3 * hidden_size,), optional
    weight : array, FactorizedMatrix or GatedWeight, shape (3 * hidden_size, input_size + hidden_size)
        In place of weight_ih and weight_hh: one matrix over ``[x_t; h_{t-1}]``, whose two parts are multiplied apart.

    Raises
    ------
    TypeError, ValueError
        If weights are missing, or an argument has the wrong backend, dtype or shape.

    Examples
    --------
    >>> import numpy as np
    >>> gru = GRU.random(5, 3, random_state=0)
    >>> output, h_n, tape = gru.forward(np.ones((7, 5)))
    >>> gru.backward(tape, d_output=np.ones((7, 3))).weight_ih.shape
    (9, 5)
    """

    cell = GRU_CELL


class LSTM(Recurrent):
    r"""A long short-term memory, with torch's formulas and order of the gates, ``i f g o``.

    .. math::
        i, f, g, o = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \quad
        c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad h_t = W_{hr} (\sigma(o) \tanh(c_t))

    Parameters
    ----------
    weight_ih : array, FactorizedMatrix or GatedWeight, shape (4 * hidden_size, input_size)
    weight_hh : array, FactorizedMatrix or GatedWeight, shape (4 * hidden_size, size of h)
    bias_ih, bias_hh : array, shape (4 * hidden_size,), optional
    weight_hr : array, shape (proj_size, hidden_size), optional
        Projects h; without it h has hidden_size entries.
    weight : array, FactorizedMatrix or GatedWeight, shape (4 * hidden_size, input_size + size of h)
        In place of weight_ih and weight_hh: one matrix over ``[x_t; h_{t-1}]``.

    Raises
    ------
    TypeError, ValueError
        If weights are missing, or an argument has the wrong backend, dtype or shape.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       section 3.2.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, section 2.3: ``weight`` in hierarchical Tucker form, its gates a stack.

    Examples
    --------
    >>> import numpy as np
    >>> lstm = LSTM.random(600, 8, factorization="ht", rank=(3, 2), decompose="full", random_state=0)
    >>> output, (h_n, c_n), tape = lstm.forward(np.ones((7, 2, 600)))
    >>> gradients = lstm.backward(tape, d_output=output)
    >>> gradients.x.shape, gradients.c_0.shape, [factor.shape for factor in gradients.weight[:3]]
    ((7, 2, 600), (2, 8), [(4, 3, 2), (3, 2, 17), (2, 3, 3)])
    """

    cell = LSTM_CELL

    def __init__(
        self,
        weight_ih: Any = None,
        weight_hh: Any = None,
        bias_ih: Any = None,
        bias_hh: Any = None,
        weight_hr: Any = None,
        *,
        weight: Any = None,
    ) -> None:
        self._set(
            weight_ih=weight_ih, weight_hh=weight_hh, weight=weight, bias_ih=bias_ih, bias_hh=bias_hh, weight_hr=weight_hr
        )
