"""What RNN, GRU and LSTM share: linear maps and biases, `forward` and `backward` over whole sequences."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from tensorly_rnn._backend import context
from tensorly_rnn._checks import instance_of, positive_int
from tensorly_rnn.formats import FactorizedMatrix
from tensorly_rnn.formats._random import RandomState
from tensorly_rnn.recurrent._checks import (
    check_alike,
    check_sequence,
    check_shape,
    matrix_shape,
    state_arrays,
)
from tensorly_rnn.recurrent.cells import Cell, State
from tensorly_rnn.recurrent.gated_weight import GatedWeight, arrays_of
from tensorly_rnn.recurrent.initialization import decomposed_weights, random_parameters
from tensorly_rnn.recurrent.parameters import PARAMETERS, Gradients, Parameters, from_vec, to_vec
from tensorly_rnn.recurrent.unroll import Passed, run, run_backward, trace_of

WEIGHTS = ("weight", "weight_ih", "weight_hh")


@dataclass(frozen=True, eq=False)
class Tape:
    """What `backward` needs of one `forward`; only the layer that made it takes it."""

    layer: "Recurrent"
    pull_back_input: Callable[[Any], tuple[list[Any], Any]]
    recurrent: Any
    pull_back_recurrent: Callable[[Any], list[Any]]
    steps: Sequence[Passed]
    x_shape: tuple[int, ...]


class Recurrent:
    """What RNN, GRU and LSTM share: everything but the cell."""

    cell: Cell
    weight: GatedWeight | None
    weight_ih: GatedWeight | None
    weight_hh: GatedWeight | None
    bias_ih: Any
    bias_hh: Any
    weight_hr: Any

    def __init__(
        self,
        weight_ih: Any = None,
        weight_hh: Any = None,
        bias_ih: Any = None,
        bias_hh: Any = None,
        *,
        weight: Any = None,
    ) -> None:
        self._set(weight_ih=weight_ih, weight_hh=weight_hh, weight=weight, bias_ih=bias_ih, bias_hh=bias_hh)

    def forward(self, x: Any, hx: Any = None) -> tuple[Any, Any, Tape]:
        """Run over a sequence.

        Parameters
        ----------
        x : array, shape (L, N, input_size), or (L, input_size) unbatched
            Of the parameters' backend and dtype, with at least one step.
        hx : array or (array, array), optional
            ``h_0``, for an LSTM ``(h_0, c_0)``: shape (N, size of h) and (N, hidden_size), without N if unbatched;
            default zeros, as is None in a pair.

        Returns
        -------
        (array, array or (array, array), Tape)
            ``output``, shape (L, N, size of h), h after every step; the last state, as `hx`; what `backward` needs.

        Raises
        ------
        TypeError, ValueError
            If an argument has the wrong backend, dtype or shape.

        Notes
        -----
        The input of all steps is projected in one product; the recurrent weight is reconstructed once.
        """
        f"{type(self).__name__}.forward"
        backend = check_alike({**self._first(), "x": x})
        check_sequence(x, self.input_size)
        shape = tuple(x.shape)
        state = self._state("hx", hx, "_0", shape, x)
        steps, batch = shape[0], state[0].shape[0]
        # (L N, input_size) -> (L N, gates)
        y, pull_back_input = self._input.vjp(backend.reshape(x, (steps * batch, shape[-1])))
        y = y if self.bias_ih is None else y + self.bias_ih
        recurrent, part = self._recurrent
        matrix, pull_back_recurrent = recurrent.matrix_vjp(part)
        from_x = [y[step * batch : (step + 1) * batch] for step in range(steps)]
        passed, state = run(backend, self.cell, from_x, state, matrix, self.bias_hh, self.weight_hr)
        tape = Tape(self, pull_back_input, matrix, pull_back_recurrent, passed, shape)
        output = backend.reshape(backend.stack([step.output for step in passed]), (*shape[:-1], self.state_size))
        return output, self._shown(backend, state, shape), tape

    def backward(self, tape: Tape, d_output: Any = None, d_state: Any = None) -> Gradients:
        """Back-propagate through time.

        Parameters
        ----------
        tape : Tape
            From this layer's `forward`; may be used again.
        d_output : array, shape of output, optional
            ``dL/doutput``; default zeros.
        d_state : array or (array, array), optional
            ``dL/dstate`` of the last state, shaped as it; default zeros, as is None in a pair.

        Returns
        -------
        Gradients
            Of x, the initial state and every parameter.

        Raises
        ------
        TypeError, ValueError
            If both gradients are missing, or one has the wrong backend, dtype or shape.

        Notes
        -----
        The gates' gradients of all steps are collected: each weight takes one product, and one sweep over its factors.
        """
        f"{type(self).__name__}.backward"
        if not isinstance(tape, Tape):
            raise TypeError(f"tape must come from forward; expected Tape, got {type(tape).__name__}.")
        if tape.layer is not self:
            raise ValueError(
                f"tape must come from this layer's own forward; expected that of {self}, got that of "
                f"{tape.layer}. A layer with other parameters is another layer: run its forward first."
            )
        if d_output is None and d_state is None:
            raise TypeError("d_output or d_state must be given; expected one of them, got None for both.")
        h_0, shape = tape.steps[0].before[0], tape.x_shape
        backend = check_alike(self._first())
        if d_output is not None:
            check_alike({**self._first(), "d_output": d_output})
            check_shape("d_output", d_output, (*shape[:-1], self.state_size))
            d_output = backend.reshape(d_output, (shape[0], h_0.shape[0], self.state_size))
        d_last = self._state("d_state", d_state, "_n", shape, h_0)
        trace, sizes = trace_of(backend, tape.steps), (h_0.shape[0],) * shape[0]
        found = run_backward(backend, self.cell, trace, sizes, d_output, d_last, tape.recurrent, self.weight_hr)
        of_input, dx = tape.pull_back_input(found.from_x)
        of_recurrent = tape.pull_back_recurrent(found.recurrent)
        if self.weight is None:
            weights = {"weight_ih": of_input, "weight_hh": of_recurrent}
        else:
            weights = {"weight": [one + other for one, other in zip(of_input, of_recurrent)]}
        first = self._shown(backend, found.state, shape)
        return Gradients(
            x=backend.reshape(dx, shape),
            h_0=first if len(self.cell.states) == 1 else first[0],
            c_0=None if len(self.cell.states) == 1 else first[1],
            **{name: of[0] if getattr(self, name).is_dense else of for name, of in weights.items()},
            bias_ih=None if self.bias_ih is None else backend.sum(found.from_x, axis=0),
            bias_hh=None if self.bias_hh is None else backend.sum(found.from_h, axis=0),
            weight_hr=found.projection,
        )

    @property
    def input_size(self) -> int:
        """Features of x."""
        return self._input.layout.widths[0]

    @property
    def hidden_size(self) -> int:
        """Rows of one gate."""
        return self._input.shape[0] // self.cell.n_gates

    @property
    def state_size(self) -> int:
        """Size of h: the hidden size, or what h is projected to."""
        return self.hidden_size if self.weight_hr is None else self.weight_hr.shape[0]

    @property
    def parameters(self) -> Parameters:
        """Lists of arrays by torch's names: the factors of a weight, or one array where it is dense."""
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
        """Return the layer with other parameters, lists of arrays as in `parameters`.

        Raises
        ------
        TypeError, ValueError
            If names, numbers, shapes, backends or dtypes do not fit.
        """
        f"{type(self).__name__}.with_parameters"
        if not isinstance(parameters, Mapping):
            got = type(parameters).__name__
            raise TypeError(f"parameters must be lists of arrays by name; expected a mapping, got {got}.")
        for name, arrays in parameters.items():
            instance_of(f"parameters[{name!r}]", arrays, (list, tuple), "a list of arrays")
        wanted = {name: len(arrays) for name, arrays in self.parameters.items()}
        got = {name: len(arrays) for name, arrays in parameters.items()}
        if got != wanted:
            raise ValueError(f"parameters must have as many arrays by name; expected {wanted}, got {got}.")
        replaced = {}
        for name, arrays in parameters.items():
            value = getattr(self, name)
            replaced[name] = value.with_factors(list(arrays)) if isinstance(value, GatedWeight) else arrays[0]
        return self._replace(**replaced)

    def to_vec(self) -> Any:
        """Return all parameters as one vector."""
        return to_vec(self.parameters)

    def with_vec(self, vector: Any) -> Self:
        """Return the layer with the parameters in a vector, as `to_vec` orders them; views of it where the backend has views.

        Raises
        ------
        TypeError, ValueError
            If the vector is of another backend, dtype or length.
        """
        f"{type(self).__name__}.with_vec"
        check_alike({**self._first(), "vector": vector})
        check_shape("vector", vector, (self.n_param,))
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
        r"""Draw a start as torch does: every weight of standard deviation ``1 / sqrt(3 hidden_size)``, dense ones uniform.

        Parameters
        ----------
        input_size, hidden_size : int
        factorization : str, optional
            Name of a format; by default all weights are dense.
        rank : 'full', 'same', float, int or the format's own form
        decompose : {'input', 'layerwise', 'full'}
            Which weights are in factors: ``W_ih`` alone; ``W_ih`` and ``W_hh``, each on its own; or both as one matrix over
            ``[x_t; h_{t-1}]``, zeros between.
        input_modes : sequence of int, optional
            Factors of the input size, under 'full' of at least ``input_size`` plus the size of h; balanced by default.
        hidden_modes : sequence of int, optional
            Factors of the hidden size, without the gates; balanced by default.
        gate_mode : {'first', 'last', 'stack'}, optional
            Output mode that the gates go to, or the stack of the format; by default the format's choice.
        bias : bool
        proj_size : int
            Of an LSTM: the size that h is projected to; 0 for no projection.
        random_state : int, Generator, RandomState or None
            One stream for all parameters; None draws a new seed from the operating system.
        like : array, optional
            Gives backend, dtype and device; default NumPy's float64.
        **settings
            The layer's own (``nonlinearity`` of RNN).

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong form.
        """
        input_size = positive_int("input_size", input_size)
        hidden_size = positive_int("hidden_size", hidden_size)
        size = 0 if isinstance(proj_size, int) and proj_size == 0 else positive_int("proj_size", proj_size)
        if size and ("c" not in cls.cell.states or size >= hidden_size):
            raise ValueError(
                f"proj_size must be 0, or for an LSTM less than hidden_size; expected 0 or less than "
                f"{hidden_size}, got {size}."
            )
        parameters = random_parameters(
            cls.cell.n_gates,
            hidden_size,
            (input_size, size or hidden_size),
            factorization=factorization,
            rank=rank,
            decompose=decompose,
            input_modes=input_modes,
            hidden_modes=hidden_modes,
            gate_mode=gate_mode,
            bias=bias,
            random_state=random_state,
            like=like,
        )
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
        """Return the layer with its weights decomposed; biases and projection are taken over.

        Parameters
        ----------
        factorization, decompose, input_modes, hidden_modes, gate_mode
            As for `random`.
        rank, **options
            As for `tensorly_rnn.factorize`: a rank, ``eps``, ``n_param``, ... of each weight.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong form, or a weight is not finite.
        """
        f"{type(self).__name__}.factorized"
        weights = decomposed_weights(
            self.cell.n_gates,
            self.matrices(),
            factorization=factorization,
            rank=rank,
            decompose=decompose,
            input_modes=input_modes,
            hidden_modes=hidden_modes,
            gate_mode=gate_mode,
            **options,
        )
        return self._replace(**{**dict.fromkeys(WEIGHTS), **weights})

    def dense(self) -> Self:
        """Return the layer with its weights multiplied out."""
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
        """The recurrent weight and its part of the columns."""
        if self.weight is not None:
            return self.weight, 1
        assert self.weight_hh is not None
        return self.weight_hh, 0

    def _replace(self, **parameters: Any) -> Self:
        other = copy.copy(self)
        other._set(**{**{name: getattr(self, name) for name in PARAMETERS}, **parameters})
        return other

    def _set(self, **given: Any) -> None:
        """Check parameters, None where one is absent, and take them."""
        _function, n_gates = type(self).__name__, self.cell.n_gates
        present = {name: value for name, value in given.items() if value is not None}
        weights = tuple(name for name in WEIGHTS if name in present)
        if weights not in (WEIGHTS[:1], WEIGHTS[1:]):
            raise TypeError(f"weights must be weight_ih and weight_hh, or weight over [x; h] alone; got {weights or 'none'}.")
        named: dict[str, Any] = {}
        for name, value in present.items():
            named |= arrays_of(name, value)
        check_alike(named)
        last = weights[-1]
        rows, columns = matrix_shape(last, present[last], n_gates)
        state_size = hidden_size = rows // n_gates
        if "weight_hr" in present:
            state_size, _ = matrix_shape("weight_hr", present["weight_hr"], 1)
            check_shape("weight_hr", present["weight_hr"], (state_size, hidden_size))
        for name in ("bias_ih", "bias_hh"):
            if name in present:
                check_shape(name, present[name], (rows,))
        widths: dict[str, tuple[int, ...]]
        if last == "weight":
            if columns <= state_size:
                raise ValueError(
                    f"weight must have a column for x and {state_size} for h; "
                    f"expected at least {state_size + 1}, got {columns}."
                )
            widths = {"weight": (columns - state_size, state_size)}
        else:
            check_shape("weight_hh", present["weight_hh"], (rows, state_size))
            _, width = matrix_shape("weight_ih", present["weight_ih"], n_gates)
            check_shape("weight_ih", present["weight_ih"], (rows, width))
            widths = {"weight_ih": (width,), "weight_hh": (state_size,)}
        for name, parts in widths.items():
            present[name] = _as_weight(present[name], parts)
            got = present[name].layout.widths
            if got != parts:
                raise ValueError(f"{name} must have its columns in these parts; expected widths {parts}, got {got}.")
        for name in PARAMETERS:
            setattr(self, name, present.get(name))

    def _first(self) -> dict[str, Any]:
        return {"the parameters": self._input.factors[0]}

    def _state(self, argument: str, given: Any, suffix: str, x_shape: tuple[int, ...], like: Any) -> State:
        """The arrays of a state, each of shape (N, size); zeros for what is not given."""
        leading = x_shape[1:-1]
        sizes = {f"{name}{suffix}": size for name, size in zip(self.cell.states, (self.state_size, self.hidden_size))}
        arrays = dict.fromkeys(sizes) if given is None else state_arrays(argument, given, tuple(sizes))
        present = {name: array for name, array in arrays.items() if array is not None}
        backend = check_alike({**self._first(), **present})
        for name, array in present.items():
            check_shape(name, array, (*leading, sizes[name]))
        batched = leading or (1,)
        return tuple(
            backend.reshape(present[name], (*batched, size))
            if name in present
            else backend.zeros((*batched, size), **context(backend, like))
            for name, size in sizes.items()
        )

    def _shown(self, backend: Any, state: State, x_shape: tuple[int, ...]) -> Any:
        """A state as the user has it: without N if unbatched, one array where the cell has one."""
        shown = tuple(backend.reshape(array, (*x_shape[1:-1], array.shape[1])) for array in state)
        return shown if len(shown) > 1 else shown[0]


def _as_weight(weight: Any, widths: tuple[int, ...]) -> GatedWeight:
    if isinstance(weight, GatedWeight):
        return weight
    if isinstance(weight, FactorizedMatrix):
        return GatedWeight.of_format(weight, widths)
    return GatedWeight.dense(weight, widths)
