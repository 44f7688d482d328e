"""A linear layer with its weight in factors."""

import math
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor, nn

from tensorly_rnn._checks import checked_flag, positive_int
from tensorly_rnn.nn._arguments import check_like_weight, check_tensor
from tensorly_rnn.nn._sharded import gather_full, initialize
from tensorly_rnn.nn.mode_choice import best_layer, modes_to_try
from tensorly_rnn.nn.weight import FactorizedWeight


class FactorizedLinear(nn.Module):
    r"""A replacement for `torch.nn.Linear` with its weight in a format: ``y = x W^T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    factorization : str
        Name of the format.
    rank : 'full', 'same', float, int or the format's own form
    in_modes, out_modes : sequence of int, optional
        Factors of the two sizes, of equal length; a larger product is padded. Balanced by default.
    implementation : {'auto', 'factorized', 'reconstructed'}
        Contract x with the factors, multiply with the reconstructed weight, or choose by the cost model.
    device, dtype

    Attributes
    ----------
    weight : FactorizedWeight
    bias : Parameter, shape (out_features,), or None

    Raises
    ------
    TypeError, ValueError
        If an argument has a wrong type or value.

    Examples
    --------
    >>> layer = FactorizedLinear(57600, 256, factorization="tt", rank=4, in_modes=(8, 20, 20, 18), out_modes=(4, 4, 4, 4))
    >>> layer.weight.n_param
    2976
    >>> layer(torch.zeros(2, 57600)).shape
    torch.Size([2, 256])
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        factorization: str = "ht",
        rank: Any = "same",
        in_modes: Any = None,
        out_modes: Any = None,
        implementation: str = "auto",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("in_features", in_features)
        self.out_features = positive_int("out_features", out_features)
        self.weight = FactorizedWeight(
            self.out_features,
            (self.in_features,),
            factorization=factorization,
            rank=rank,
            out_modes=out_modes,
            in_modes=in_modes,
            implementation=implementation,
            device=device,
            dtype=dtype,
        )
        self.bias = (
            nn.Parameter(torch.empty(self.out_features, device=device, dtype=dtype)) if checked_flag("bias", bias) else None
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initialize like `torch.nn.Linear`: weight of standard deviation ``1 / sqrt(3 in_features)``, uniform bias."""
        bound = 1 / math.sqrt(self.in_features)
        self.weight.reset(bound / math.sqrt(3))
        if self.bias is not None:
            initialize(self.bias, lambda one: nn.init.uniform_(one, -bound, bound))

    def forward(self, input: Tensor) -> Tensor:
        """Return ``input W^T + bias``, shape (..., out_features).

        Parameters
        ----------
        input : Tensor, shape (..., in_features)
            Dense, or a jagged nested tensor.
        """
        if isinstance(input, Tensor) and input.layout is torch.jagged:
            nested: Any = input
            y = self(nested.values())
            return torch.nested.nested_tensor_from_jagged(y, nested.offsets(), nested.lengths(), nested._ragged_idx)
        check_tensor("input", input)
        check_like_weight("input", input, self.weight.first_factor)
        if input.shape[-1:] != (self.in_features,):
            raise ValueError(
                f"input must have {self.in_features} features; expected (..., {self.in_features}), got {tuple(input.shape)}."
            )
        return self.weight(input, 0, self.bias)

    def clear_cache(self) -> None:
        """Clear the cached dense weight; needed after changes of the factors that torch does not record."""
        self.weight.clear_cache()

    @classmethod
    def from_linear(cls, linear: nn.Linear, *, factorization: str = "ht", rank: Any = None, **options: Any) -> Self:
        """Decompose the weight of a dense layer; bias, dtype and device stay the same.

        Parameters
        ----------
        linear : nn.Linear
            Not changed, and no memory is shared with it.
        factorization, rank, **options
            Arguments of the class and of `tensorly_rnn.factorize`: ``eps``, ``n_param``, ``compression_ratio``, ...
            ``rank='full'`` reproduces the dense layer. For a budget or error without modes, the better of modes that pair
            rows and columns and of one mode each for rows and columns is taken.

        Raises
        ------
        TypeError, ValueError
            If `linear` has another type, its weight is not finite, or an argument has a wrong type or value.

        Examples
        --------
        >>> small = FactorizedLinear.from_linear(nn.Linear(12, 8), factorization="tt", n_param=50)
        >>> small.weight.n_param <= 50, small.to_linear()
        (True, Linear(in_features=12, out_features=8, bias=True))
        """
        if not isinstance(linear, nn.Linear):
            raise TypeError(f"linear must be a torch.nn.Linear; got {type(linear).__name__}.")
        choices = modes_to_try(linear, factorization, rank, options)
        if choices:
            settings = {"factorization": factorization, "rank": rank, **options}
            makers = [partial(cls.from_linear, linear, **settings, **modes) for modes in choices]
            return best_layer(linear, makers, options.get("eps"), "to_linear")
        names = ("in_modes", "out_modes", "implementation", "dtype", "device")
        own: dict[str, Any] = {"dtype": linear.weight.dtype, "rank": "same" if rank is None else rank}
        own |= {name: options.pop(name) for name in names if name in options}
        # Made on the meta device, as all factors are replaced.
        own["device"] = "meta"
        sizes = (linear.in_features, linear.out_features, linear.bias is not None)
        layer = cls(*sizes, factorization=factorization, **own).to_empty(device=linear.weight.device)
        layer.weight.load_matrices(linear.weight, rank=rank, **options)
        if layer.bias is not None:
            with torch.no_grad():
                layer.bias.copy_(linear.bias)
        return layer.train(linear.training)

    def to_linear(self) -> nn.Linear:
        """Return a dense layer with the reconstructed weight; no memory is shared."""
        like = self.weight.factors[0]
        sizes = (self.in_features, self.out_features, self.bias is not None)
        linear = nn.Linear(*sizes, device="meta", dtype=like.dtype).to_empty(device=like.device)
        with torch.no_grad():
            linear.weight.copy_(self.weight.matrix())
            if self.bias is not None:
                linear.bias.copy_(gather_full(self.bias))
        return linear.train(self.training)

    def extra_repr(self) -> str:
        """Return the sizes like `torch.nn.Linear`."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
