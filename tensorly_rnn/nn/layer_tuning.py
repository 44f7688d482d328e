"""Orders of contraction for the layers of a torch module, by measured time."""

import torch
from torch import nn

from tensorly_rnn._checks import check_memory, positive_int
from tensorly_rnn.network.network import Network
from tensorly_rnn.network.plan_tuning import Tuning, tuned
from tensorly_rnn.nn._sharded import whole
from tensorly_rnn.nn.autograd import apply
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.gated_weight import GatedWeight

#: Nobody waits for more measurements.
MOST_TIMES = 10_000


def tune(module: nn.Module, rows: int, *, count: int = 8, repeats: int = 5) -> dict[str, Tuning]:
    """Measure in which order the layers of a module are best multiplied with their input, and use that from now on.

    Parameters
    ----------
    module : nn.Module
        Its weights in factors are measured where they lie, in their dtype; nothing of it is changed.
    rows : int
        Rows of the layers' inputs: the batch, for recurrent layers times the steps.
    count, repeats : int
        How many orders of each weight to measure, and how often.

    Returns
    -------
    dict of str to Tuning
        For every weight in factors by its name in the module; weights of the same sizes share one. A `Tuning` prints as a
        table and holds the chosen plan.

    Raises
    ------
    TypeError, ValueError
        If `module` is no module or has no weight in factors, or a number is not a positive integer.

    Notes
    -----
    Measured is the product over x with the gradients of the factors, without that of x. The choice holds in this process for
    all weights of the same sizes, and for all numbers of rows up to the same power of two; what torch.compile has compiled
    keeps its order. Weights that are multiplied out (``implementation``) do not use it.

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
    count, repeats = (positive_int(name, n, most=MOST_TIMES) for name, n in (("count", count), ("repeats", repeats)))
    weights = {name: one for name, one in module.named_modules() if isinstance(one, FactorizedWeight)}
    if not weights:
        raise ValueError("tune: module must have weights in factors; expected a FactorizedWeight in it, got none.")
    measured: dict[Network, Tuning] = {}
    found = {}
    for name, weight in weights.items():
        network = GatedWeight(weight.layout, weight.network, ()).part_network(0)
        if network not in measured:
            measured[network] = _tuned(weight, network, rows, count, repeats)
        found[name] = measured[network]
    return found


def _tuned(weight: FactorizedWeight, network: Network, rows: int, count: int, repeats: int) -> Tuning:
    factors = [whole(factor).detach().requires_grad_() for factor in weight.factors]
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
