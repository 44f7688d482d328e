"""Parameters that `fully_shard` has split over processes: gathered where all of one is read, drawn whole and split.

Within the forward of a sharded layer its parameters are whole, and nothing here does anything.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def is_sharded(parameter: Tensor) -> bool:
    """Whether a parameter is a DTensor."""
    return hasattr(parameter, "full_tensor")


def whole(parameter: Tensor) -> Tensor:
    """Return all of a parameter: itself, or gathered from all processes, each of which must ask for it.

    Raises
    ------
    ValueError
        If it is sharded and a gradient would be recorded, which only the sharded layer averages over the processes.
    """
    if not is_sharded(parameter):
        return parameter
    if torch.is_grad_enabled() and parameter.requires_grad:
        raise ValueError(
            "FactorizedWeight: factors must be whole where gradients are recorded; expected a call of the layer that "
            "fully_shard was given, got sharded factors. Read them under torch.no_grad()."
        )
    return parameter.full_tensor()  # type: ignore[attr-defined]


def assign(parameter: Tensor, values: Tensor) -> None:
    """Write values into a parameter; into a sharded one those of the first process, whatever the others hold."""
    if is_sharded(parameter):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor)
        values = distribute_tensor(values, parameter.device_mesh, parameter.placements)
    with torch.no_grad():
        parameter.copy_(values)


def draw(parameter: Tensor, initialize: Callable[[Tensor], object]) -> None:
    """Initialize a parameter in place; a sharded one is drawn whole, for processes of one seed draw equal pieces."""
    if not is_sharded(parameter):
        initialize(parameter)
        return
    drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
    initialize(drawn)
    assign(parameter, drawn)
