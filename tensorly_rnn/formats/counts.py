"""Parameters and cost of a format, without building anything."""

from typing import Any

from tensorly_rnn._checks import positive_int
from tensorly_rnn.formats._registry import get_format
from tensorly_rnn.network import Cost, Network
from tensorly_rnn.tensorize import validate_tensorized_shape


def n_param(format: str, tensorized_shape: Any, rank: Any = "same", **options: Any) -> int:
    r"""Return the number of parameters of a matrix in a format.

    Parameters
    ----------
    format : str
        One of `available_formats()`.
    tensorized_shape : (tuple of int, tuple of int)
        ``(out_modes, in_modes)``
    rank : 'full', 'same', float, int or the format's own form
    **options
        The format's own (``root_rank`` and ``tree`` of HT).

    Returns
    -------
    int
        The sum of the sizes of all factors.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong form.

    References
    ----------
    .. [1] Ye et al., CVPR 2018, section 3.4. [2] Yin et al., CVPR 2021, table 1.

    Examples
    --------
    >>> n_param("bt", ((16, 4, 4, 4), (8, 20, 20, 18)), (2, 1))
    722
    >>> n_param("ht", ((4, 4, 4, 4), (16, 16, 16, 15)), (14, 12), root_rank=4)
    8808
    """
    return _make_network("n_param", format, tensorized_shape, rank, options).n_param


def cost(format: str, tensorized_shape: Any, rank: Any = "same", batch: int = 1, **options: Any) -> Cost:
    r"""Return what applying a matrix in a format to `batch` rows takes, forward and backward.

    Parameters
    ----------
    format : str
        One of `available_formats()`.
    tensorized_shape : (tuple of int, tuple of int)
        ``(out_modes, in_modes)``
    rank : 'full', 'same', float, int or the format's own form
    batch : int
        Number of rows of x in ``y = x W^T``.
    **options
        The format's own (``root_rank`` and ``tree`` of HT).

    Returns
    -------
    Cost
        ``flops`` (multiplications and additions), ``moved`` and ``peak`` (array elements) of ``forward``, ``backward`` and
        both; prints as a table.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong form.

    Examples
    --------
    >>> one = cost("tt", ((4, 4), (8, 8)), 2, batch=10)
    >>> one.forward.flops, one.backward.flops
    (15360, 30720)
    """
    return _make_network("cost", format, tensorized_shape, rank, options).cost(positive_int("cost", "batch", batch))


def _make_network(function: str, format: str, tensorized_shape: Any, rank: Any, options: dict[str, Any]) -> Network:
    cls = get_format(format, function)
    modes = validate_tensorized_shape(function, tensorized_shape)
    cls, options = cls.variant(options, len(modes[0]))
    return cls.make_network(modes, cls.validate_rank(modes, rank, **options))
