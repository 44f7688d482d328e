"""Cells of RNN, GRU and LSTM with their weights in factors and the interface of torch's cells."""

from typing import Any, ClassVar, Self, Unpack

import torch
from torch import Tensor, nn

from tensorly_rnn.nn._arguments import check_features
from tensorly_rnn.nn.autograd import BACKEND
from tensorly_rnn.nn.recurrent_module import Options, RecurrentModule, apply_weight, checked_forget_bias
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS


class RecurrentCell(RecurrentModule):
    """One step of a cell with the interface of torch's cells; a subclass sets the cell."""

    defaults: ClassVar[dict[str, Any]] = {"bias": True}
    may_be_empty = True

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, **options: Unpack[Options]) -> None:
        super().__init__(input_size, hidden_size, bias, 0, (("",),), **options)

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Run one step.

        Parameters
        ----------
        input : Tensor, shape (N, input_size), or (input_size,) unbatched
        hx : Tensor or (Tensor, Tensor), optional
            ``h``, for an LSTM ``(h, c)``: shape (N, hidden_size), without N if unbatched; default zeros.

        Returns
        -------
        Tensor or (Tensor, Tensor)
            The next state, like `hx`.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type, dtype, device or shape.
        """
        check_features(input, self.input_size, (1, 2), "(N, H_in) or (H_in,)", self._like())
        state = self._state(hx, input, input.shape[:-1], "")
        if input.dim() == 2:
            return self._to_user(self._step(input, state))
        after = self._step(input.unsqueeze(0), tuple(part.unsqueeze(0) for part in state))
        return self._to_user(tuple(part.squeeze(0) for part in after))

    @classmethod
    def from_cell(cls, cell: nn.RNNCellBase, *, rank: Any = None, **options: Any) -> Self:
        """Decompose the weights of a cell of torch; see `FactorizedLSTM.from_lstm`."""
        return cls._from_dense("cell", cell, rank, options)

    def to_cell(self) -> Any:
        """Return a cell of torch with the reconstructed weights; no memory is shared."""
        return self._to_dense()

    def _step(self, x: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        weights = self._weights("")
        if self._reconstructs([weights], x.shape[0], 1, x.requires_grad):
            kernel = getattr(torch, f"{self.kernel}_cell")
            found = kernel(x, self._to_user(state), *self._matrices(weights), weights.bias_ih, weights.bias_hh)
            return found if len(state) > 1 else (found,)
        from_x, from_h = apply_weight(*weights.x, x, weights.bias_ih), apply_weight(*weights.h, state[0], weights.bias_hh)
        return self.cell.step(BACKEND, from_x, from_h, state)[0]


class FactorizedLSTMCell(RecurrentCell):
    """A replacement for `torch.nn.LSTMCell` with its weights in a format: one step of `FactorizedLSTM`.

    Parameters
    ----------
    input_size, hidden_size, bias
        As in `torch.nn.LSTMCell`.
    forget_bias : float, optional
        Initial bias of the forget gate; by default uniform around 0, like torch.
    **options
        As for `FactorizedLSTM`, without mappings by layer.

    Attributes
    ----------
    weight_ih : FactorizedWeight, shape (4 * hidden_size, input_size)
    weight_hh : Parameter, or FactorizedWeight if layerwise, shape (4 * hidden_size, hidden_size)
    weight : FactorizedWeight in place of both, if full
    bias_ih, bias_hh : Parameter, shape (4 * hidden_size,)

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Examples
    --------
    >>> cell = FactorizedLSTMCell(12, 8, factorization="ht", rank=3, decompose="full")
    >>> h, c = cell(torch.zeros(3, 12))
    >>> h, c = cell(torch.zeros(3, 12), (h, c))
    >>> h.shape, c.shape
    (torch.Size([3, 8]), torch.Size([3, 8]))
    """

    cell = LSTM_CELL
    kernel = "lstm"
    dense = nn.LSTMCell

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        forget_bias: float | None = None,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(input_size, hidden_size, bias, **options)
        self.forget_bias = checked_forget_bias(forget_bias, self.bias)
        self.reset_parameters()


class FactorizedGRUCell(RecurrentCell):
    """A replacement for `torch.nn.GRUCell` with its weights in a format: one step of `FactorizedGRU`.

    Parameters
    ----------
    input_size, hidden_size, bias
        As in `torch.nn.GRUCell`.
    **options
        As for `FactorizedLSTM`, without mappings by layer.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Examples
    --------
    >>> FactorizedGRUCell(12, 8, factorization="tt", rank=2)(torch.zeros(12)).shape
    torch.Size([8])
    """

    cell = GRU_CELL
    kernel = "gru"
    dense = nn.GRUCell

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, **options: Unpack[Options]) -> None:
        super().__init__(input_size, hidden_size, bias, **options)
        self.reset_parameters()


class FactorizedRNNCell(RecurrentCell):
    """A replacement for `torch.nn.RNNCell` with its weights in a format: one step of `FactorizedRNN`.

    Parameters
    ----------
    input_size, hidden_size, bias, nonlinearity
        As in `torch.nn.RNNCell`.
    **options
        As for `FactorizedLSTM`, without mappings by layer.

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Examples
    --------
    >>> FactorizedRNNCell(12, 8, nonlinearity="relu", factorization="bt", rank=(2, 2))(torch.zeros(3, 12)).shape
    torch.Size([3, 8])
    """

    cell = RNN_CELLS["tanh"]
    dense = nn.RNNCell
    defaults: ClassVar[dict[str, Any]] = {"bias": True, "nonlinearity": "tanh"}

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", **options: Unpack[Options]
    ) -> None:
        super().__init__(input_size, hidden_size, bias, **options)
        self._set_nonlinearity(nonlinearity)
        self.reset_parameters()
