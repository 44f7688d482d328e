"""RNN, GRU and LSTM over dense or factorized weights, with gradients and on any TensorLy backend."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tensorly_rnn._backend import context
from tensorly_rnn._checks import checked_flag, instance_of, one_of, positive_int
from tensorly_rnn.formats import FactorizedMatrix, get_format
from tensorly_rnn.formats._random import RandomState, as_generator, drawn_like
from tensorly_rnn.recurrent.cells import GRU_CELL, LSTM_CELL, RNN_CELLS, Cell, State
from tensorly_rnn.recurrent.gated_weight import GatedWeight, arrays_of, check_arrays, matrix_shape
from tensorly_rnn.recurrent.initialization import (
    DENSE_NAMES,
    checked_decompose,
    checked_proj_size,
    factorized_weights,
    ranks_by_name,
)
from tensorly_rnn.recurrent.layout import make_layout
from tensorly_rnn.recurrent.parameters import PARAMETERS, Gradients, Parameters, from_vec, to_vec
from tensorly_rnn.recurrent.unroll import StepRecord, make_trace, unroll, unroll_backward

WEIGHTS = ("weight", "weight_ih", "weight_hh")


@dataclass(frozen=True, eq=False)
class Tape:
    """Record of one `forward` for `backward` of the same layer."""

    layer: "Recurrent"
    pull_back_input: Callable[[Any], tuple[list[Any], Any]]
    recurrent: Any
    pull_back_recurrent: Callable[[Any], list[Any]]
    records: Sequence[StepRecord]
    x_shape: tuple[int, ...]


class Recurrent:
    """Base class of RNN, GRU and LSTM; a subclass sets the cell."""

    cell: Cell
    weight: GatedWeight | None
    weight_ih: GatedWeight | None
    weight_hh: GatedWeight | None
    bias_ih: Any
    bias_hh: Any
    weight_hr: Any

    def __init__(
        self, weight_ih: Any = None, weight_hh: Any = None, bias_ih: Any = None, bias_hh: Any = None, *, weight: Any = None
    ) -> None:
        self._set(weight_ih=weight_ih, weight_hh=weight_hh, weight=weight, bias_ih=bias_ih, bias_hh=bias_hh)

    def forward(self, x: Any, hx: Any = None) -> tuple[Any, Any, Tape]:
        """Run the layer over sequences.

        Parameters
        ----------
        x : array, shape (L, N, input_size), or (L, input_size) unbatched
            An array of the backend and dtype of the parameters, with at least one step.
        hx : array or (array, array), optional
            ``h_0``, for an LSTM ``(h_0, c_0)``: shape (N, size of h) and (N, hidden_size), without N if unbatched;
            default zeros, also for None in a pair.

        Returns
        -------
        (array, array or (array, array), Tape)
            ``output``, shape (L, N, size of h), with h after every step; the last state, like `hx`; the tape for `backward`.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type, backend, dtype or shape.

        Notes
        -----
        The input of all steps is projected in one product; the recurrent weight is reconstructed once.
        """
        backend = check_arrays({**self._like(), "x": x})
        shape = _checked_shape(x, self.input_size)
        state = self._state("hx", hx, "_0", shape, x)
        steps, batch = shape[0], state[0].shape[0]
        # (L N, input_size) -> (L N, gates)
        y, pull_back_input = self._input.vjp(backend.reshape(x, (steps * batch, shape[-1])))
        y = y if self.bias_ih is None else y + self.bias_ih
        recurrent, part = self._recurrent
        matrix, pull_back_recurrent = recurrent.matrix_vjp(part)
        from_x = [y[step * batch : (step + 1) * batch] for step in range(steps)]
        records, state = unroll(backend, self.cell, from_x, state, matrix, self.bias_hh, self.weight_hr)
        tape = Tape(self, pull_back_input, matrix, pull_back_recurrent, records, shape)
        output = backend.reshape(backend.stack([step.output for step in records]), (*shape[:-1], self.state_size))
        return output, self._to_user(backend, state, shape), tape

    def backward(self, tape: Tape, d_output: Any = None, d_state: Any = None) -> Gradients:
        """Back-propagate through time.

        Parameters
        ----------
        tape : Tape
            Result of `forward` of this layer; it can be used several times.
        d_output : array, shape of output, optional
            ``dL/doutput``; default zeros.
        d_state : array or (array, array), optional
            ``dL/dstate`` of the last state, of its shape; default zeros, also for None in a pair.

        Returns
        -------
        Gradients
            Gradients with respect to x, the initial state and every parameter.

        Raises
        ------
        TypeError, ValueError
            If both gradients are missing, or one has a wrong backend, dtype or shape.

        Notes
        -----
        The gradients of the gates of all steps are collected, so that each weight needs one product and one sweep over its
        factors.
        """
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must come from forward; expected Tape, got {type(tape).__name__}.")
        if tape.layer is not self:
            raise ValueError(
                f"tape must come from this layer's own forward; expected that of {self}, got that of "
                f"{tape.layer}. A layer with other parameters is another layer: run its forward first."
            )
        if d_output is None and d_state is None:
            raise TypeError("d_output or d_state must be given; expected one of them, got None for both.")
        h_0, shape = tape.records[0].before[0], tape.x_shape
        backend = check_arrays(self._like())
        if d_output is not None:
            check_arrays({**self._like(), "d_output": d_output})
            _check_shape("d_output", d_output, (*shape[:-1], self.state_size))
            d_output = backend.reshape(d_output, (shape[0], h_0.shape[0], self.state_size))
        d_last = self._state("d_state", d_state, "_n", shape, h_0)
        trace, sizes = make_trace(backend, tape.records), (h_0.shape[0],) * shape[0]
        found = unroll_backward(backend, self.cell, trace, sizes, d_output, d_last, tape.recurrent, self.weight_hr)
        d_input, dx = tape.pull_back_input(found.from_x)
        d_recurrent = tape.pull_back_recurrent(found.recurrent)
        if self.weight is None:
            weights = {"weight_ih": d_input, "weight_hh": d_recurrent}
        else:
            weights = {"weight": [one + other for one, other in zip(d_input, d_recurrent)]}
        first = self._to_user(backend, found.state, shape)
        d_h_0, d_c_0 = (first, None) if len(self.cell.states) == 1 else first
        return Gradients(
            x=backend.reshape(dx, shape),
            h_0=d_h_0,
            c_0=d_c_0,
            **{name: value[0] if getattr(self, name).is_dense else value for name, value in weights.items()},
            bias_ih=None if self.bias_ih is None else backend.sum(found.from_x, axis=0),
            bias_hh=None if self.bias_hh is None else backend.sum(found.from_h, axis=0),
            weight_hr=found.projection,
        )

    @property
    def input_size(self) -> int:
        """Number of features of x."""
        return self._input.layout.widths[0]

    @property
    def hidden_size(self) -> int:
        """Number of rows of one gate."""
        return self._input.shape[0] // self.cell.n_gates

    @property
    def state_size(self) -> int:
        """Size of h: `hidden_size`, or the size of the projection."""
        return self.hidden_size if self.weight_hr is None else self.weight_hr.shape[0]

    @property
    def parameters(self) -> Parameters:
        """Lists of arrays by the names of torch: the factors of a weight, or one dense array."""
        found = {name: getattr(self, name) for name in PARAMETERS}
        return {
            name: list(value.factors) if isinstance(value, GatedWeight) else [value]
            for name, value in found.items()
            if value is not None
        }

    @property
    def n_param(self) -> int:
        """Number of entries of all parameters."""
        return sum(math.prod(array.shape) for arrays in self.parameters.values() for array in arrays)

    def with_parameters(self, parameters: Mapping[str, Any]) -> Self:
        """Return a layer with other parameters, given as lists of arrays like `parameters`.

        Raises
        ------
        TypeError, ValueError
            If names, numbers, shapes, backends or dtypes do not match.
        """
        if not isinstance(parameters, Mapping):
            got = type(parameters).__name__
            raise TypeError(f"parameters must be lists of arrays by name; expected a mapping, got {got}.")
        for name, arrays in parameters.items():
            instance_of(f"parameters[{name!r}]", arrays, (list, tuple), "a list of arrays")
        expected = {name: len(arrays) for name, arrays in self.parameters.items()}
        got = {name: len(arrays) for name, arrays in parameters.items()}
        if got != expected:
            raise ValueError(f"parameters must have as many arrays by name; expected {expected}, got {got}.")
        replaced = {}
        for name, arrays in parameters.items():
            value = getattr(self, name)
            replaced[name] = value.with_factors(list(arrays)) if isinstance(value, GatedWeight) else arrays[0]
        return self._replace(**replaced)

    def to_vec(self) -> Any:
        """Return all parameters as one vector."""
        return to_vec(self.parameters)

    def with_vec(self, vector: Any) -> Self:
        """Return a layer with the parameters of a vector in the order of `to_vec`, as views if the backend has views.

        Raises
        ------
        TypeError, ValueError
            If the vector has another backend, dtype or length.
        """
        check_arrays({**self._like(), "vector": vector})
        _check_shape("vector", vector, (self.n_param,))
        return self.with_parameters(from_vec(vector, self.parameters))

    @classmethod
    def random(
        cls,
        input_size: int,
        hidden_size: int,
        *,
        factorization: str | None = None,
        rank: Any = "same",
        decompose: str = "input",
        input_modes: Sequence[int] | None = None,
        hidden_modes: Sequence[int] | None = None,
        gate_mode: str | None = None,
        bias: bool = True,
        proj_size: int = 0,
        random_state: RandomState = None,
        like: Any = None,
        **settings: Any,
    ) -> Self:
        r"""Draw parameters as torch does: standard deviation ``1 / sqrt(3 hidden_size)``, dense arrays uniform.

        Parameters
        ----------
        input_size, hidden_size : int
        factorization : str, optional
            Name of a format; by default all weights are dense.
        rank : 'full', 'same', float, int or the format's own form
            Of every weight in factors, or with 'layerwise' a mapping ``{'ih': rank of W_ih, 'hh': rank of W_hh}``.
        decompose : {'input', 'layerwise', 'full'}
            Weights in factors: ``W_ih``; ``W_ih`` and ``W_hh``, each on its own; or both as one matrix over
            ``[x_t; h_{t-1}]`` with zero padding between the parts.
        input_modes : sequence of int, optional
            Factors of the input size, or with 'full' of at least ``input_size`` plus the size of h; balanced by default.
        hidden_modes : sequence of int, optional
            Factors of the hidden size, without the gates; balanced by default.
        gate_mode : {'first', 'last', 'stack'}, optional
            Output mode that the gates multiply, or the stack of the format; default: the first choice of the format.
        bias : bool
        proj_size : int
            Size of the projection of h in an LSTM; 0 for none.
        random_state : int, Generator, RandomState or None
            Source of all parameters; None draws a new seed from the operating system.
        like : array, optional
            An array of the backend, dtype and device to use; default NumPy float64.
        **settings
            Arguments of the class (``nonlinearity`` of RNN).

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type or value.
        """
        input_size = positive_int("input_size", input_size)
        hidden_size = positive_int("hidden_size", hidden_size)
        state_size = checked_proj_size(proj_size, hidden_size, cls.cell) or hidden_size
        generator, bound = as_generator(random_state), 1 / math.sqrt(hidden_size)
        widths, rows = (input_size, state_size), cls.cell.n_gates * hidden_size
        (ranks,) = ranks_by_name(checked_decompose(decompose), rank)
        drawn: dict[str, Any] = {
            "std": bound / math.sqrt(3),
            "random_state": generator,
            "like": like,
            "n_gates": cls.cell.n_gates,
            "gate_mode": gate_mode,
        }

        def make(name: str, parts: tuple[int, ...], modes: dict[str, Any]) -> GatedWeight:
            columns = [widths[part] for part in parts]
            return GatedWeight.random(
                hidden_size, columns, factorization=str(factorization), rank=ranks[name], **modes, **drawn
            )

        def uniform(*shape: int) -> Any:
            return drawn_like([generator.uniform(-bound, bound, shape)], like)[0]

        parameters: dict[str, Any] = {}
        if factorization is not None:
            parameters |= factorized_weights(decompose, make, hidden_modes, input_modes, state_size != hidden_size)
        elif (decompose, rank, input_modes, hidden_modes, gate_mode) != ("input", "same", None, None, None):
            raise ValueError(
                "factorization must be given together with rank, decompose, modes or gate_mode; expected the name of a "
                "format, got None. Name a format, or omit the others for dense weights."
            )
        for name, width in zip(DENSE_NAMES, widths):
            if name not in parameters and "weight" not in parameters:
                parameters[name] = uniform(rows, width)
        if checked_flag("bias", bias):
            parameters |= {"bias_ih": uniform(rows), "bias_hh": uniform(rows)}
        if state_size != hidden_size:
            parameters["weight_hr"] = uniform(state_size, hidden_size)
        return cls(**parameters, **settings)

    def factorized(
        self,
        factorization: str = "ht",
        rank: Any = None,
        *,
        decompose: str = "input",
        input_modes: Sequence[int] | None = None,
        hidden_modes: Sequence[int] | None = None,
        gate_mode: str | None = None,
        **options: Any,
    ) -> Self:
        """Return a layer with decomposed weights and the same biases and projection.

        Parameters
        ----------
        factorization, decompose, input_modes, hidden_modes, gate_mode
            As for `random`.
        rank, **options
            As for `tensorly_rnn.factorize`: rank, ``eps``, ``n_param``, ... of each weight; the rank also as for `random`.

        Raises
        ------
        TypeError, ValueError
            If an argument has a wrong type or value, or a weight is not finite.
        """
        format, matrices = get_format(factorization, "factorization").format, self.matrices()
        (ranks,) = ranks_by_name(checked_decompose(decompose), rank)

        def make(name: str, parts: tuple[int, ...], modes: dict[str, Any]) -> GatedWeight:
            chosen = [matrices[part] for part in parts]
            widths, n_gates = [matrix.shape[1] for matrix in chosen], self.cell.n_gates
            layout = make_layout(self.hidden_size, widths, format, n_gates=n_gates, gate_mode=gate_mode, **modes)
            return GatedWeight.from_matrices(chosen, layout, factorization, ranks[name], **options)

        weights = factorized_weights(decompose, make, hidden_modes, input_modes, self.weight_hr is not None)
        dense = {} if "weight" in weights else dict(zip(DENSE_NAMES, matrices))
        return self._replace(**{**dict.fromkeys(WEIGHTS), **dense, **weights})

    def dense(self) -> Self:
        """Return a layer with the reconstructed dense weights."""
        weight_ih, weight_hh = self.matrices()
        return self._replace(weight=None, weight_ih=weight_ih, weight_hh=weight_hh)

    def matrices(self) -> tuple[Any, Any]:
        """Return the dense ``W_ih``, shape (gates, input_size), and ``W_hh``, shape (gates, size of h)."""
        recurrent, part = self._recurrent
        return self._input.matrix(0), recurrent.matrix(part)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{name}={[tuple(array.shape) for array in arrays]}" for name, arrays in self.parameters.items())
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size}, {shapes})"

    @property
    def _input(self) -> GatedWeight:
        found = self.weight_ih if self.weight is None else self.weight
        assert found is not None
        return found

    @property
    def _recurrent(self) -> tuple[GatedWeight, int]:
        """Recurrent weight, and the number of its part of the columns."""
        if self.weight is not None:
            return self.weight, 1
        assert self.weight_hh is not None
        return self.weight_hh, 0

    def _replace(self, **parameters: Any) -> Self:
        other = copy.copy(self)
        other._set(**{**{name: getattr(self, name) for name in PARAMETERS}, **parameters})
        return other

    def _set(self, **given: Any) -> None:
        """Check and set the parameters; None for those that are absent."""
        n_gates = self.cell.n_gates
        present = {name: value for name, value in given.items() if value is not None}
        weights = tuple(name for name in WEIGHTS if name in present)
        if weights not in (WEIGHTS[:1], WEIGHTS[1:]):
            raise TypeError(f"weights must be weight_ih and weight_hh, or weight over [x; h] alone; got {weights or 'none'}.")
        named: dict[str, Any] = {}
        for name, value in present.items():
            named |= arrays_of(name, value)
        check_arrays(named)
        last = weights[-1]
        rows, columns = matrix_shape(last, present[last], n_gates)
        state_size = hidden_size = rows // n_gates
        if "weight_hr" in present:
            state_size, _ = matrix_shape("weight_hr", present["weight_hr"], 1)
            _check_shape("weight_hr", present["weight_hr"], (state_size, hidden_size))
        for name in ("bias_ih", "bias_hh"):
            if name in present:
                _check_shape(name, present[name], (rows,))
        widths: dict[str, tuple[int, ...]]
        if last == "weight":
            if columns <= state_size:
                raise ValueError(
                    f"weight must have a column for x and {state_size} for h; "
                    f"expected at least {state_size + 1}, got {columns}."
                )
            widths = {"weight": (columns - state_size, state_size)}
        else:
            _check_shape("weight_hh", present["weight_hh"], (rows, state_size))
            _, width = matrix_shape("weight_ih", present["weight_ih"], n_gates)
            _check_shape("weight_ih", present["weight_ih"], (rows, width))
            widths = {"weight_ih": (width,), "weight_hh": (state_size,)}
        for name, parts in widths.items():
            present[name] = _as_weight(present[name], parts)
            got = present[name].layout.widths
            if got != parts:
                raise ValueError(f"{name} must have its columns in these parts; expected widths {parts}, got {got}.")
        for name in PARAMETERS:
            setattr(self, name, present.get(name))

    def _like(self) -> dict[str, Any]:
        return {"the parameters": self._input.factors[0]}

    def _state(self, argument: str, given: Any, suffix: str, x_shape: tuple[int, ...], like: Any) -> State:
        """Return the arrays of a state, each of shape (N, size), zeros by default."""
        leading = x_shape[1:-1]
        sizes = {f"{name}{suffix}": size for name, size in zip(self.cell.states, (self.state_size, self.hidden_size))}
        arrays = dict.fromkeys(sizes) if given is None else _state_arrays(argument, given, tuple(sizes))
        present = {name: array for name, array in arrays.items() if array is not None}
        backend = check_arrays({**self._like(), **present})
        for name, array in present.items():
            _check_shape(name, array, (*leading, sizes[name]))
        batched = leading or (1,)
        return tuple(
            backend.reshape(present[name], (*batched, size))
            if name in present
            else backend.zeros((*batched, size), **context(backend, like))
            for name, size in sizes.items()
        )

    def _to_user(self, backend: Any, state: State, x_shape: tuple[int, ...]) -> Any:
        """Return a state as in the public interface: without N if unbatched, one array if the cell has one."""
        reshaped = tuple(backend.reshape(array, (*x_shape[1:-1], array.shape[1])) for array in state)
        return reshaped if len(reshaped) > 1 else reshaped[0]


class RNN(Recurrent):
    r"""A recurrent layer without gates: ``h_t = f(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)``.

    Parameters
    ----------
    weight_ih : array, FactorizedMatrix or GatedWeight, shape (hidden_size, input_size)
    weight_hh : array, FactorizedMatrix or GatedWeight, shape (hidden_size, hidden_size)
    bias_ih, bias_hh : array, shape (hidden_size,), optional
    weight : array, FactorizedMatrix or GatedWeight, shape (hidden_size, input_size + hidden_size)
        Replaces weight_ih and weight_hh: one matrix over ``[x_t; h_{t-1}]``.
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
    r"""A gated recurrent unit, with the formulas of torch and its order of the gates, ``r z n``.

    .. math::
        r, z = \sigma(W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}), \quad
        n = \tanh(W_{in} x_t + b_{in} + r (W_{hn} h_{t-1} + b_{hn})), \quad h_t = (1 - z) n + z h_{t-1}

    Parameters
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh, weight
        As for `RNN`, with ``3 * hidden_size`` rows. The two parts of `weight` are multiplied separately.

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
    r"""A long short-term memory, with the formulas of torch and its order of the gates, ``i f g o``.

    .. math::
        i, f, g, o = W_{ih} x_t + b_{ih} + W_{hh} h_{t-1} + b_{hh}, \quad
        c_t = \sigma(f) c_{t-1} + \sigma(i) \tanh(g), \quad h_t = W_{hr} (\sigma(o) \tanh(c_t))

    Parameters
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh, weight
        As for `RNN`, with ``4 * hidden_size`` rows, and columns for h as projected by `weight_hr`.
    weight_hr : array, shape (proj_size, hidden_size), optional
        Projection of h; without it h has hidden_size entries.

    Raises
    ------
    TypeError, ValueError
        If weights are missing, or an argument has the wrong backend, dtype or shape.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018,
       section 3.2.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, section 2.3: ``weight`` in hierarchical Tucker form, with the gates as a stack.

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


def _as_weight(weight: Any, widths: tuple[int, ...]) -> GatedWeight:
    if isinstance(weight, GatedWeight):
        return weight
    if isinstance(weight, FactorizedMatrix):
        return GatedWeight.of_format(weight, widths)
    return GatedWeight.dense(weight, widths)


def _check_shape(name: str, array: Any, expected: tuple[int, ...]) -> None:
    """Raise if an array has another shape."""
    if tuple(array.shape) != expected:
        raise ValueError(f"{name} must fit the layer; expected shape {expected}, got {tuple(array.shape)}.")


def _checked_shape(x: Any, input_size: int) -> tuple[int, ...]:
    """Return the shape of x, which must be a sequence of `input_size` features with at least one step."""
    shape = tuple(x.shape)
    if len(shape) not in (2, 3):
        raise ValueError(f"x must have 2 or 3 axes; expected (L, N, {input_size}) or (L, {input_size}), got {shape}.")
    if shape[-1] != input_size:
        raise ValueError(f"x must have input_size features; expected {input_size}, got {shape[-1]} in shape {shape}.")
    if shape[0] == 0:
        raise ValueError(f"x must have at least one step; got shape {shape}.")
    return shape


def _state_arrays(argument: str, given: Any, names: Sequence[str]) -> dict[str, Any]:
    """Return the arrays of a state by name: one array, or a pair for two names."""
    if len(names) == 1:
        return {names[0]: given}
    if not isinstance(given, (tuple, list)) or len(given) != len(names):
        got = f"{len(given)} entries" if isinstance(given, (tuple, list)) else type(given).__name__
        raise TypeError(f"{argument} must be a pair ({', '.join(names)}); expected 2 arrays, got {got}.")
    return dict(zip(names, given))
