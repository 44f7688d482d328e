"""A cell over the steps of a sequence, padded or packed, forward or back in time: one loop for every cell."""

import torch
from torch import Tensor
from torch.nn.functional import linear

from tensorly_rnn.nn.cells import State, Step


def run(
    step: Step,
    from_x: Tensor,
    batch_sizes: Tensor | None,
    state: State,
    weight_hh: Tensor,
    bias_hh: Tensor | None,
    weight_hr: Tensor | None,
    reverse: bool,
) -> tuple[Tensor, State]:
    """Return h of all steps, in the order of the steps, and for every sequence its last state.

    Parameters
    ----------
    step : callable
    from_x : Tensor, shape (L, N, gates), or (sum(batch_sizes), gates) packed
        The projected input of all steps.
    batch_sizes : Tensor, shape (L,), or None
        Of a packed sequence: how many of the N sequences, longest first, reach each step.
    state : tuple of Tensors, shape (N, size)
    weight_hh : Tensor, shape (gates, size of h)
    bias_hh : Tensor, shape (gates,), or None
    weight_hr : Tensor, shape (size of h, hidden_size), or None
        Projects h.
    reverse : bool
        From the last step to the first.
    """
    steps = from_x.unbind(0) if batch_sizes is None else from_x.split(batch_sizes.tolist())
    ordered = steps[::-1] if reverse else steps
    first, outputs, ended = state, [], []
    state = first if batch_sizes is None else tuple(part[: len(ordered[0])] for part in first)
    for gates in ordered:
        before, now = state[0].shape[0], gates.shape[0]
        if now < before:  # sequences have ended
            ended.append(tuple(part[now:] for part in state))
            state = tuple(part[:now] for part in state)
        elif now > before:  # going back, sequences begin at their own ends
            state = tuple(torch.cat([part, start[before:now]]) for part, start in zip(state, first))
        state = step(gates, linear(state[0], weight_hh, bias_hh), state)
        if weight_hr is not None:
            state = (linear(state[0], weight_hr), *state[1:])
        outputs.append(state[0])
    if ended:
        state = tuple(torch.cat(parts) for parts in zip(state, *reversed(ended)))
    outputs = outputs[::-1] if reverse else outputs
    return torch.stack(outputs) if batch_sizes is None else torch.cat(outputs), state
