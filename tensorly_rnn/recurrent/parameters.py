"""Parameters of a recurrent layer and their gradients, by name and as one vector."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import backend_of

#: Names and order of torch; `weight` replaces `weight_ih` and `weight_hh`.
PARAMETERS = ("weight", "weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
Parameters = dict[str, list[Any]]


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of a loss; None for parameters and states that the layer does not have.

    Parameters
    ----------
    x : array, shape of x
    h_0, c_0 : array, shape (N, size), without N if unbatched
    weight, weight_ih, weight_hh : list of arrays, one for each factor, or array if the weight is dense
    bias_ih, bias_hh, weight_hr : array
    """

    x: Any
    h_0: Any
    c_0: Any = None
    weight: Any = None
    weight_ih: Any = None
    weight_hh: Any = None
    bias_ih: Any = None
    bias_hh: Any = None
    weight_hr: Any = None

    @property
    def parameters(self) -> Parameters:
        """Lists of arrays by name, like `parameters` of the layer."""
        found = {name: getattr(self, name) for name in PARAMETERS}
        return {name: value if isinstance(value, list) else [value] for name, value in found.items() if value is not None}

    def to_vec(self) -> Any:
        """Return the gradient of all parameters as one vector, in the order of `to_vec` of the layer."""
        return to_vec(self.parameters)


def to_vec(parameters: Mapping[str, Sequence[Any]]) -> Any:
    """Return the entries of all arrays as one vector."""
    arrays = [array for named in parameters.values() for array in named]
    backend = backend_of("parameters", arrays[0])
    return backend.concatenate([backend.reshape(array, (-1,)) for array in arrays], axis=0)


def from_vec(vector: Any, like: Mapping[str, Sequence[Any]]) -> Parameters:
    """Return the arrays of a vector made by `to_vec`, with the names and shapes of `like`."""
    backend = backend_of("vector", vector)
    taken: Parameters = {}
    start = 0
    for name, arrays in like.items():
        taken[name] = []
        for array in arrays:
            shape = tuple(array.shape)
            stop = start + math.prod(shape)
            taken[name].append(backend.reshape(vector[start:stop], shape))
            start = stop
    return taken
