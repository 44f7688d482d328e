"""Number of parameters and cost of a matrix in a format, without any arrays."""

from typing import Any

from tensorly_rnn.formats._registry import get_format
from tensorly_rnn.network.network import Cost, Network
from tensorly_rnn.tensorize import validate_tensorized_shape


def n_param(format: str, tensorized_shape: Any, rank: Any = "same", **options: Any) -> int:
    r"""Return the number of parameters of a matrix in a format, the sum of the sizes of all factors.

    Parameters
    ----------
    format : str
        One of `available_formats()`.
    tensorized_shape : (tuple of int, tuple of int)
        ``(out_modes, in_modes)``
    rank : 'full', 'same', float, int or the format's own form
    **options
        The format's own (``root_rank`` and ``tree`` of HT).

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
    return _make_network(format, tensorized_shape, rank, options).n_param


def cost(
    format: str,
    tensorized_shape: Any,
    rank: Any = "same",
    batch: int = 1,
    contraction_order: str = "planned",
    **options: Any,
) -> Cost:
    r"""Return the cost of applying a matrix in a format to `batch` rows, forward and backward.

    ``y[b, j1..jd] = sum_{i1..id} W[j1..jd, i1..id] x[b, i1..id]`` is computed by a sequence of (batched) matrix products;
    a product of shapes ``(s, p, q)`` and ``(s, q, t)`` takes ``2 s p q t`` operations, reads ``s p q + s q t`` elements and
    writes ``s p t``.

    Parameters
    ----------
    format, tensorized_shape, rank, **options
        As in `n_param`.
    batch : int
        Number of rows of x in ``y = x W^T``.
    contraction_order : 'planned', 'factors_first' or 'input_first'
        ``'planned'`` is the order that the library uses. ``'factors_first'`` multiplies all factors in the order of the format
        to form W, then x. ``'input_first'`` multiplies x by one factor at a time: those with an input index in the order of
        the modes, each of the others as soon as all factors listed after it that share an index with it have been taken. The
        core is thus the last, and a node of a tree comes after its children.

    Returns
    -------
    Cost
        ``flops`` (multiplications and additions), ``moved`` (elements read and written) and ``peak`` (elements of the largest
        array written) of ``forward``, ``backward`` and both; `str` is a table.

    Notes
    -----
    The backward pass computes the gradient of both operands of each product with ``2 s p q t`` operations each: twice the
    forward pass for every format and order. For block term with J_k = out_modes[k], I_k = in_modes[k], ranks R, N blocks:

    ``factors_first``: ``sum_k 2 N (I_1 J_1 .. I_k J_k) R^(d-k+1) + 2 batch I J``

    ``input_first``: ``sum_k 2 batch N (J_1 .. J_k) (I_k .. I_d) R^k + 2 batch N J R^d``

    docs/complexity.md compares measured exponents of all formats with those stated in the papers.

    References
    ----------
    .. [1] Ye et al., Learning compact recurrent neural networks with block-term tensor decomposition, CVPR 2018, eq. 11
       (`factors_first`), eq. 16 (`input_first`) and table 1.
    .. [2] Yin et al., Towards extremely compact RNNs for video recognition with fully decomposed hierarchical Tucker
       structure, CVPR 2021, eq. 4 and fig. 4.

    Examples
    --------
    >>> one = cost("tt", ((4, 4), (8, 8)), 2, batch=10)
    >>> one.forward.flops, one.backward.flops
    (24576, 49152)
    >>> print(cost("bt", ((4, 4), (8, 8)), (2, 2), batch=10, contraction_order="input_first"))
    10 rows                  flops    elements moved     largest array
    forward                 43,520             6,184             1,280
    backward                87,040            12,368             1,280
    both                   130,560            18,552             1,280
    """
    return _make_network(format, tensorized_shape, rank, options).cost(batch, contraction_order)


def _make_network(format: str, tensorized_shape: Any, rank: Any, options: dict[str, Any]) -> Network:
    kind = get_format(format).format
    modes = validate_tensorized_shape(tensorized_shape)
    kind, rank_options = kind.with_options(options, len(modes[0]))
    return kind.make_network(modes, kind.validate_rank(modes, rank, **rank_options))
