"""Parameters that `fully_shard` has distributed over processes.

Within the forward pass of a sharded layer its parameters are complete, and these functions change nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def is_sharded(parameter: Tensor) -> bool:
    """Return whether a parameter is a DTensor."""
    return hasattr(parameter, "full_tensor")


def gather_full(parameter: Tensor) -> Tensor:
    """Return the full parameter, gathered from all processes if it is sharded; every process must call this.

    Raises
    ------
    ValueError
        If the parameter is sharded and a gradient would be recorded: only the sharded layer averages gradients over processes.
    """
    if not is_sharded(parameter):
        return parameter
    if torch.is_grad_enabled() and parameter.requires_grad:
        raise ValueError(
            "factors must be complete where gradients are recorded; expected a call of the layer given to fully_shard, "
            "got sharded factors. Read them under torch.no_grad()."
        )
    return parameter.full_tensor()  # type: ignore[attr-defined]


def assign(parameter: Tensor, values: Tensor) -> None:
    """Copy values into a parameter; for a sharded one the values of the first process are used."""
    if is_sharded(parameter):
        from torch.distributed.tensor import DTensor, distribute_tensor

        assert isinstance(parameter, DTensor)
        values = distribute_tensor(values, parameter.device_mesh, parameter.placements)
    with torch.no_grad():
        parameter.copy_(values)


def initialize(parameter: Tensor, draw: Callable[[Tensor], object]) -> None:
    """Initialize a parameter in place; a sharded one is drawn in full, as processes with one seed draw equal shards."""
    if not is_sharded(parameter):
        draw(parameter)
        return
    drawn = torch.empty(parameter.shape, dtype=parameter.dtype, device=parameter.device)
    draw(drawn)
    assign(parameter, drawn)
