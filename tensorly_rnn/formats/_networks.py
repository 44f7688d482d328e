"""Networks of a format, built from ranks or from the shapes of factors; cached."""

from typing import Any

from tensorly_rnn._memoize import memoize
from tensorly_rnn.contraction.plan import Indices
from tensorly_rnn.network.network import Network
from tensorly_rnn.tensorize import Modes, TensorizedShape


def _rank_network(format: Any, order: int, sizes: dict[str, int], tensor: bool) -> Network:
    stack = (format.stack_index,) if format.stack_index else ()
    return Network(
        factors=format.tensor_indices(order) if tensor else format.indices(order),
        outputs=(*stack, *(f"j{k + 1}" for k in range(order))),
        inputs=() if tensor else tuple(f"i{k + 1}" for k in range(order)),
        sizes=tuple(sorted(sizes.items())),
    )


@memoize
def matrix_network(format: Any, tensorized_shape: TensorizedShape, rank: Any) -> Network:
    """Return the network of a matrix for canonical arguments."""
    modes = {f"{side}{k + 1}": mode for side, one in zip("ji", tensorized_shape) for k, mode in enumerate(one)}
    return _rank_network(format, len(tensorized_shape[0]), format.rank_sizes(rank) | modes, False)


@memoize
def tensor_network(format: Any, shape: Modes, rank: Any) -> Network:
    """Return the network of a tensor for canonical arguments."""
    sizes = format.rank_sizes(rank) | {f"j{k + 1}": mode for k, mode in enumerate(shape)}
    return _rank_network(format, len(shape), sizes, True)


@memoize
def network_of_shapes(format: Any, shapes: tuple[tuple[int, ...], ...], tensor: bool) -> Network:
    """Return the network of factors with these shapes, as a tensor or a matrix; an error names the first misfit."""
    order = format.order_of(len(shapes))
    if order is None:
        raise ValueError(f"factors must form a network; {len(shapes)} factors do not. Give one a core or node.")
    indices = format.tensor_indices(order) if tensor else format.indices(order)
    network = _rank_network(format, order, _sizes(indices, shapes), tensor)
    modes = network.out_modes[-order:]
    in_modes = (1,) * order if tensor else network.in_modes
    format.explicit_rank((modes, in_modes), format.rank_from_sizes(network.size, order))
    return network


def _sizes(expected: tuple[Indices, ...], shapes: tuple[tuple[int, ...], ...]) -> dict[str, int]:
    """Return the size of every index; raise an error that names the first factor that does not fit."""
    sizes: dict[str, int] = {}
    first: dict[str, int] = {}
    for number, (indices, shape) in enumerate(zip(expected, shapes)):
        if len(shape) != len(indices):
            raise ValueError(
                f"factors must have one axis per index; expected {len(indices)} axes {indices}, "
                f"got shape {shape} (at factors[{number}])."
            )
        for index, size in zip(indices, shape):
            if size < 1:
                raise ValueError(f"factors must not be empty; got shape {shape} (at factors[{number}]).")
            if sizes.setdefault(index, size) != size:
                raise ValueError(
                    f"factors must agree on the size of index {index}; expected {sizes[index]} as in "
                    f"factors[{first[index]}], got {size} in shape {shape} (at factors[{number}])."
                )
            first.setdefault(index, number)
    return sizes
