"""Learning rates for the factors of a model, as parameter groups for optimizers."""

import math
import numbers
from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import ParametrizationList

from tensorly_rnn.nn._sharded import gather_full
from tensorly_rnn.nn.parametrize import FactorizedParametrization
from tensorly_rnn.nn.weight import FactorizedWeight
from tensorly_rnn.recurrent.gated_weight import GatedWeight


def parameter_groups(model: nn.Module, lr: float) -> list[dict[str, Any]]:
    r"""Return a model's parameters in groups of one learning rate, for Adam and similar optimizers.

    Factor k of a weight W gets

    .. math:: lr_k = lr \, \frac{m}{K} \, \frac{f_k}{s \sqrt{n a_k}}

    and every other parameter `lr`. K is the number of factors, n the number of columns of W, m the number of rows of one gate,
    s and :math:`f_k` are the root mean squares of W and of the factor, and :math:`a_k` is the number of entries of the factor
    on which one row of W depends.

    Parameters
    ----------
    model : nn.Module
        Its factors, including those of `factorized`, are measured: call this function after initialization or conversion.
    lr : float
        Learning rate of the parameters that are not factors.

    Returns
    -------
    list of dict
        ``{"params": [...], "lr": ...}``; every parameter is in one group. The first group has the parameters that are not
        factors, if there are any.

    Raises
    ------
    TypeError, ValueError
        If `model` is not a module or has no parameters, `lr` is not a positive number, or a weight is zero, not finite, or on
        the meta device.

    Notes
    -----
    A step of Adam changes an entry by about its rate, independent of the gradient. For x of unit entries, it changes an output
    of a dense weight by at most n times the rate, and an output y of a weight in factors by ``lr_k`` times the absolute sum of
    :math:`\partial y / \partial F_k`. These are :math:`a_k` numbers. As y is linear in the factor and has standard deviation
    :math:`s \sqrt n`, each is about :math:`s \sqrt n / (f_k \sqrt{a_k})` large, and the change is
    :math:`lr_k \, s \sqrt{n a_k} / f_k`. The rule gives each of K factors its share of the change of a dense weight at
    ``lr m / n``: a matrix of n columns in place of one of m, for which `lr` is right [1]_. [2]_ gives the argument for
    structured matrices whose factors are initialized differently; it divides by the fan-ins in the order of multiplication,
    this rule by :math:`a_k`.

    The rule is for optimizers that divide by the size of the gradient (Adam, AdamW, RMSprop), not for plain SGD. The decay of
    AdamW is proportional to the rate of a group. Multiplicative schedulers preserve the ratios; `OneCycleLR` takes ``max_lr``
    as a list.

    References
    ----------
    .. [1] Yang et al., Tensor programs V: tuning large neural networks via zero-shot hyperparameter transfer, 2022, table 3.
    .. [2] Qiu et al., Compute better spent: replacing dense layers with structured matrices, ICML 2024, section 3.

    Examples
    --------
    >>> from tensorly_rnn.nn import FactorizedLSTM
    >>> _ = torch.manual_seed(0)
    >>> lstm = FactorizedLSTM(1620, 64, factorization="tt", rank=4, input_modes=(4, 5, 9, 9), hidden_modes=(4, 4, 2, 2))
    >>> groups = parameter_groups(lstm, lr=0.01)
    >>> [(len(group["params"]), round(group["lr"], 4)) for group in groups]
    [(3, 0.01), (1, 0.0041), (1, 0.0018), (1, 0.0014), (1, 0.0029)]
    >>> optimizer = torch.optim.Adam(groups)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
    if isinstance(lr, bool) or not isinstance(lr, numbers.Real):
        raise TypeError(f"lr must be a number; expected float, got {lr!r} of type {type(lr).__name__}.")
    if not 0 < lr < math.inf:
        raise ValueError(f"lr must be positive; expected a finite number above 0, got {lr!r}.")
    rates = {parameter: float(lr) for parameter in model.parameters()}
    if not rates:
        raise ValueError("model must have parameters; expected at least one, got none.")
    for place, module in model.named_modules():
        weight = _factorized_weight(module)
        # Factors of a buffer are no parameters, nor are pruned ones.
        if weight is not None and any(factor in rates for factor in weight.factors):
            scales = zip(weight.factors, _scales(place, weight))
            rates |= {factor: lr * scale for factor, scale in scales if factor in rates}
    groups: dict[float, list[nn.Parameter]] = {}
    for parameter, rate in sorted(rates.items(), key=lambda item: item[1] != lr):
        groups.setdefault(rate, []).append(parameter)
    return [{"params": parameters, "lr": rate} for rate, parameters in groups.items()]


def _factorized_weight(module: nn.Module) -> GatedWeight | None:
    """Return the weight in factors of a module, or None."""
    if isinstance(module, FactorizedWeight):
        return GatedWeight(module.layout, module.network, list(module.factors))
    if isinstance(module, ParametrizationList) and isinstance(module[0], FactorizedParametrization):
        factors = [getattr(module, f"original{k}") for k in range(module.ntensors)]
        return GatedWeight(module[0].layout, module[0].network, factors)
    return None


@torch.no_grad()
def _scales(place: str, weight: GatedWeight) -> list[float]:
    """Return the multiple of `lr` for each factor."""
    (rows, columns), network = weight.shape, weight.network
    rms, exact = math.nan, weight.with_factors([gather_full(factor).double() for factor in weight.factors])
    if not exact.factors[0].is_meta:
        rms = math.sqrt(exact.squared_norm() / (rows * columns))
    if not 0 < rms < math.inf:
        raise ValueError(
            f"{place or 'model'} must have a size; expected a root mean square above 0, got {rms}. "
            "Load or reset the weight first."
        )
    scales = []
    for factor, indices in zip(exact.factors, network.factors):
        entries = math.prod(network.size[index] for index in indices if index not in network.outputs)
        rms_of_factor = math.sqrt(factor.square().mean().item())
        scales.append(weight.layout.rows * rms_of_factor / (len(network.factors) * rms * math.sqrt(columns * entries)))
    return scales
