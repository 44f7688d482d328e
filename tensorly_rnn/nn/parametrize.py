"""Factorization of any weight of any module, as a parametrization of `torch.nn.utils.parametrize`."""

import math
from collections.abc import Sequence
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.nn.utils import parametrize

from tensorly_rnn._checks import check_memory, instance_of, one_of, plain, positive_int
from tensorly_rnn.formats import get_format
from tensorly_rnn.network.network import Network
from tensorly_rnn.nn.weight import draw_factors
from tensorly_rnn.recurrent.gated_weight import GatedWeight
from tensorly_rnn.recurrent.layout import make_layout

INITIALIZATIONS = ("weight", "random")

M = TypeVar("M", bound=nn.Module)


def factorized(
    module: M,
    name: str = "weight",
    *,
    factorization: str = "ht",
    rank: Any = None,
    eps: float | None = None,
    n_param: int | None = None,
    compression_ratio: float | None = None,
    out_modes: Sequence[int] | None = None,
    in_modes: Sequence[int] | None = None,
    n_gates: int = 1,
    gate_mode: str | None = None,
    start: str = "weight",
    **options: Any,
) -> M:
    r"""Replace a weight of a module by factors, from which it is reconstructed at every access.

    A weight of shape ``(n_0, n_1, ...)`` is factorized as a matrix of ``n_0`` rows and ``n_1 n_2 ...`` columns: for a
    convolution (out channels, in channels times kernel), for an embedding (words, features).

    Parameters
    ----------
    module : nn.Module
        Changed in place, like by the functions of `torch.nn.utils.parametrizations`.
    name : str
        Name of a parameter or buffer with at least two axes.
    factorization : str
        Name of the format.
    rank, eps, n_param, compression_ratio
        As in `tensorly_rnn.factorize`; the ratio counts the entries of the weight. Default: ``rank='same'``.
    out_modes, in_modes : sequence of int, optional
        Factors of the (padded) rows of one gate and of the (padded) columns; balanced by default.
    n_gates : int
        Number of blocks of rows, each with its own padding: 3 for ``in_proj_weight`` of attention, 4 for a weight of an LSTM.
    gate_mode : {'first', 'last', 'stack'}, optional
        Output mode that the gates multiply, or the stack of the format.
    start : {'weight', 'random'}
        Decompose the weight, or draw factors from the generator of torch such that the reconstructed weight has the same root
        mean square; 'random' requires a rank.
    **options
        Options of `tensorly_rnn.factorize` (``method``, ``n_starts``, ``random_state``, ...).

    Returns
    -------
    nn.Module
        The same module. Its parameters are now ``parametrizations.{name}.original0``, ``original1``, ..., of shapes
        ``module.parametrizations[name][0].network.factor_shapes``.

    Raises
    ------
    TypeError, ValueError
        If there is no such weight, it is already parametrized or not finite, or an argument has a wrong type or value.

    Notes
    -----
    The weight is reconstructed at every access, within `torch.nn.utils.parametrize.cached` once. Assigning a dense weight
    decomposes it at the same rank into the same parameters.
    ``torch.nn.utils.parametrize.remove_parametrizations(module, name)`` restores a dense weight. torch saves parametrized
    modules by their `state_dict` only. `FactorizedLinear`, `FactorizedLSTM`, ... do not have to reconstruct the weight.

    Examples
    --------
    >>> import torch
    >>> conv = factorized(nn.Conv2d(16, 32, 3), factorization="tt", rank=4)
    >>> [tuple(factor.shape) for factor in conv.parametrizations.weight.parameters()]
    [(1, 8, 12, 4), (4, 4, 12, 1)]
    >>> conv.weight.shape, conv(torch.zeros(1, 16, 5, 5)).shape
    (torch.Size([32, 16, 3, 3]), torch.Size([1, 32, 3, 3]))
    """
    if not isinstance(module, nn.Module):
        raise TypeError(f"module must be a torch.nn.Module; got {type(module).__name__}.")
    instance_of("name", name, str, "a name; expected that of a parameter or buffer")
    if parametrize.is_parametrized(module, name):
        first = [type(one).__name__ for one in module.parametrizations[name]]  # type: ignore[index]
        raise ValueError(f"{name} must not be parametrized yet; got {first}. Register others after this one.")
    tensors = {own: one for own, one in (*module._parameters.items(), *module._buffers.items()) if one is not None}
    if name not in tensors or tensors[name].dim() < 2:
        known = [own for own, one in tensors.items() if one.dim() >= 2]
        got = f"{name!r} of shape {tuple(tensors[name].shape)}" if name in tensors else f"{name!r}"
        raise ValueError(
            f"name must be that of a parameter or buffer of {type(module).__name__} with at least two axes; "
            f"expected one of {known}, got {got}."
        )
    parametrization = FactorizedParametrization(
        tuple(tensors[name].shape),
        factorization,
        {"rank": rank, "eps": eps, "n_param": n_param, "compression_ratio": compression_ratio},
        {"out_modes": out_modes, "in_modes": in_modes, "n_gates": n_gates, "gate_mode": gate_mode},
        start,
        options,
    )
    parametrize.register_parametrization(module, name, parametrization)
    return module


class FactorizedParametrization(nn.Module):
    """Parametrization that reconstructs a weight from factors, registered by `factorized`; torch holds the parameters.

    Attributes
    ----------
    network : Network
    rank
        Canonical rank.
    shape : tuple of int
        Shape of the weight.
    """

    network: Network

    def __init__(
        self,
        shape: tuple[int, ...],
        factorization: str,
        budget: dict[str, Any],
        layout_options: dict[str, Any],
        start: str,
        options: dict[str, Any],
    ) -> None:
        super().__init__()
        self.shape = shape
        self.format = get_format(factorization, "factorization").format
        n_gates = positive_int("n_gates", layout_options["n_gates"])
        if shape[0] % n_gates:
            raise ValueError(f"n_gates must divide the rows; expected a divisor of {shape[0]}, got {n_gates}.")
        self.layout = make_layout(shape[0] // n_gates, (math.prod(shape[1:]),), self.format, **layout_options)
        self.start = one_of("start", start, INITIALIZATIONS)
        self.budget, self.options = budget, options

    def forward(self, *factors: Tensor) -> Tensor:
        """Return the weight in the dtype of the factors, also under autocast."""
        matrix = GatedWeight(self.layout, self.network, factors).matrix()
        return matrix.to(factors[0].dtype).reshape(self.shape).contiguous()

    def right_inverse(self, weight: Tensor) -> list[Tensor]:
        """Return the factors of a dense weight: the first time by the given budget, later at the rank found then."""
        if tuple(weight.shape) != self.shape:
            raise ValueError(f"weight must keep its shape; expected {self.shape}, got {tuple(weight.shape)}.")
        first = not hasattr(self, "network")
        if weight.is_meta or (first and self.start == "random"):
            found = self._draw(weight)
        else:
            budget = self.budget if first else {"rank": self.rank}
            matrix = weight.detach().reshape(self.layout.shape)
            found = GatedWeight.from_matrices((matrix,), self.layout, self.format.name, **budget, **self.options)
        self.network = found.network
        return [factor.detach() for factor in found.factors]

    @property
    def rank(self) -> Any:
        """Canonical rank."""
        return self.format.rank_from_sizes(self.network.size, len(self.layout.in_modes))

    def extra_repr(self) -> str:
        """Return format, modes, rank and compression."""
        ratio = math.prod(self.shape) / self.network.n_param
        return (
            f"{self.format.name}, shape={self.shape}, tensorized_shape={self.layout.tensorized_shape}, "
            f"rank={plain(self.rank)}, compression_ratio={ratio:.4g}"
        )

    def _draw(self, weight: Tensor) -> GatedWeight:
        """Return random factors of a weight of the same root mean square; on the meta device empty ones."""
        given = [name for name, value in self.budget.items() if name != "rank" and value is not None]
        if given:
            where = "on the meta device" if weight.is_meta else "with start='random'"
            raise ValueError(f"rank must give the sizes of the factors {where}; expected a rank, got {given[0]}.")
        rank = "same" if self.budget["rank"] is None else self.budget["rank"]
        modes = self.layout.tensorized_shape
        network = self.format.make_network(modes, self.format.validate_rank(modes, rank, **self.layout.rank_options))
        check_memory("rank, out_modes and in_modes", network.n_param)
        drawn = GatedWeight(self.layout, network, [weight.detach().new_empty(shape) for shape in network.factor_shapes])
        draw_factors(drawn, 0.0 if weight.is_meta else float(weight.detach().double().square().mean().sqrt()))
        return drawn
