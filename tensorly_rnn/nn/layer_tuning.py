"""Orders of contraction for the layers of a torch module, chosen by measured time."""

import torch
from torch import nn

from tensorly_rnn._checks import check_memory, positive_int
from tensorly_rnn.network.network import Network
from tensorly_rnn.network.plan_tuning import Tuning, tuned
from tensorly_rnn.nn._sharded import gather_full
from tensorly_rnn.nn.autograd import apply
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.gated_weight import GatedWeight

#: Largest number of measurements.
MAX_MEASUREMENTS = 10_000


def tune(module: nn.Module, rows: int, *, count: int = 8, repeats: int = 5) -> dict[str, Tuning]:
    """Measure orders of contraction for the layers of a module and use the fastest from now on.

    Parameters
    ----------
    module : nn.Module
        Not changed. Its weights in factors are measured on their device and in their dtype.
    rows : int
        Number of rows of the layers' inputs: the batch, for recurrent layers times the steps.
    count, repeats : int
        Number of orders of each weight, and number of measurements of each order.

    Returns
    -------
    dict of str to Tuning
        One entry for every weight in factors, by its name in the module; weights of the same sizes share an entry. A
        `Tuning` prints as a table and has the chosen plan.

    Raises
    ------
    TypeError, ValueError
        If `module` is not a module or has no weight in factors, or a number is not a positive integer.

    Notes
    -----
    The product with x and the gradients of the factors are measured, without the gradient of x. The choice applies in this
    process to all weights of the same sizes and to all numbers of rows with the same next power of two. Compiled functions
    do not change. Reconstructed weights (``implementation``) do not use the order.

    Examples
    --------
    >>> from tensorly_rnn.nn import FactorizedLSTM
    >>> found = tune(FactorizedLSTM(60, 8, factorization="tt", rank=2), rows=32, count=2, repeats=1)
    >>> list(found), len(found["weight_ih_l0"].seconds)
    (['weight_ih_l0'], 2)
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}.")
    rows = positive_int("rows", rows)
    count, repeats = (positive_int(name, n, most=MAX_MEASUREMENTS) for name, n in (("count", count), ("repeats", repeats)))
    weights = {name: one for name, one in module.named_modules() if isinstance(one, FactorizedWeight)}
    if not weights:
        raise ValueError("module must have weights in factors; expected a FactorizedWeight in it, got none.")
    measured: dict[Network, Tuning] = {}
    found = {}
    for name, weight in weights.items():
        network = GatedWeight(weight.layout, weight.network, ()).part_network(0)
        if network not in measured:
            measured[network] = _tuned(weight, network, rows, count, repeats)
        found[name] = measured[network]
    return found


def _tuned(weight: FactorizedWeight, network: Network, rows: int, count: int, repeats: int) -> Tuning:
    factors = [gather_full(factor).detach().requires_grad_() for factor in weight.factors]
    gated = GatedWeight(weight.layout, weight.network, factors)
    check_memory("rows", rows * weight.widths[0])
    x = factors[0].new_ones(rows, weight.widths[0])

    def run() -> None:
        with torch.enable_grad():
            y = gated.apply(x, 0, apply)
        torch.autograd.grad(y, factors, torch.ones_like(y))
        if y.is_cuda:
            torch.cuda.synchronize(y.device)

    return tuned(network, rows, run, count=count, repeats=repeats)
