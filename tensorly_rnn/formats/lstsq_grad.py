"""Gradients of the squared distance to a dense array, one function per format, in TensorLy's style."""

from collections.abc import Sequence
from typing import Any

import tensorly.tr_tensor
import tensorly.tt_tensor

from tensorly_rnn.formats.bt import BTMatrix
from tensorly_rnn.formats.bt_tensor import BTTensor
from tensorly_rnn.formats.factorized import Factorized
from tensorly_rnn.formats.ht import HTMatrix
from tensorly_rnn.formats.ht_tensor import HTTensor
from tensorly_rnn.formats.tensor import FactorizedTensor
from tensorly_rnn.formats.tensorly_tensors import TRTensor, TTTensor
from tensorly_rnn.formats.tr import TRMatrix
from tensorly_rnn.formats.tt import TTMatrix


def bt_lstsq_grad(
    bt_tensor: BTTensor | BTMatrix | Sequence[Any], tensor: Any, return_loss: bool = False, mask: Any = None
) -> Any:
    r"""Return the gradient of ``0.5 ||mask * (T - tensor)||^2`` with respect to the factors of a block-term T.

    Parameters
    ----------
    bt_tensor : BTTensor, sequence of its factors, or BTMatrix
    tensor, return_loss, mask
        As in `BTTensor.lstsq_grad`, which is called.

    Returns
    -------
    object of the same class, or (object, array of no dimensions)
        Its factors are the gradients, as in TensorLy's ``cp_lstsq_grad``; the loss if `return_loss`.

    References
    ----------
    .. [1] Ye et al., CVPR 2018, eq. 13 and 14, with ``dL/dY`` the residual and no input.

    Examples
    --------
    >>> t = BTTensor.random((3, 4, 5), (2, 2), random_state=0)
    >>> gradient, loss = bt_lstsq_grad(t, t.to_tensor() + 1.0, return_loss=True)
    >>> gradient.rank, round(float(loss), 12)
    ((2, (2, 2, 2)), 30.0)
    """
    return _lstsq_grad((BTMatrix, BTTensor), bt_tensor, tensor, return_loss, mask)


def ht_lstsq_grad(
    ht_tensor: HTTensor | HTMatrix | Sequence[Any], tensor: Any, return_loss: bool = False, mask: Any = None
) -> Any:
    r"""Return the gradient for a hierarchical Tucker tensor or matrix (Yin et al., CVPR 2021, eq. 9-11); see `bt_lstsq_grad`.

    Parameters
    ----------
    ht_tensor : HTTensor, sequence of its factors on the balanced tree, or HTMatrix
    tensor, return_loss, mask
        As in `bt_lstsq_grad`.

    Examples
    --------
    >>> t = HTTensor.random((3, 4, 5), 2, tree=((0, 1), 2), random_state=0)
    >>> ht_lstsq_grad(t, t.to_tensor() + 1.0)
    HTTensor(shape=(3, 4, 5), tree=((0, 1), 2), rank=(1, 2, 2, 2, 2), n_param=36, compression_ratio=1.667)
    """
    return _lstsq_grad((HTMatrix, HTTensor), ht_tensor, tensor, return_loss, mask)


def tt_lstsq_grad(
    tt_tensor: tensorly.tt_tensor.TTTensor | TTMatrix | Sequence[Any],
    tensor: Any,
    return_loss: bool = False,
    mask: Any = None,
) -> Any:
    r"""Return the gradient for a tensor train or TT matrix; see `bt_lstsq_grad`.

    Parameters
    ----------
    tt_tensor : TTTensor of this library or TensorLy, sequence of its cores, or TTMatrix of this library
    tensor, return_loss, mask
        As in `bt_lstsq_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> gradient = tt_lstsq_grad([np.ones((1, 3, 2)), np.ones((2, 4, 1))], np.zeros((3, 4)))
    >>> gradient.shape, gradient.rank, gradient.factors[0][0, 0].tolist()
    ((3, 4), (1, 2, 1), [8.0, 8.0])
    """
    return _lstsq_grad((TTMatrix, TTTensor), tt_tensor, tensor, return_loss, mask)


def tr_lstsq_grad(
    tr_tensor: tensorly.tr_tensor.TRTensor | TRMatrix | Sequence[Any],
    tensor: Any,
    return_loss: bool = False,
    mask: Any = None,
) -> Any:
    r"""Return the gradient for a tensor ring or TR matrix; see `bt_lstsq_grad`.

    Parameters
    ----------
    tr_tensor : TRTensor of this library or TensorLy, sequence of its cores, or TRMatrix of this library
    tensor, return_loss, mask
        As in `bt_lstsq_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> gradient = tr_lstsq_grad([np.ones((2, 3, 2)), np.ones((2, 4, 2))], np.zeros((3, 4)))
    >>> gradient.shape, gradient.rank, gradient.factors[0][0, 0].tolist()
    ((3, 4), (2, 2, 2), [16.0, 16.0])
    """
    return _lstsq_grad((TRMatrix, TRTensor), tr_tensor, tensor, return_loss, mask)


def _lstsq_grad(
    kinds: tuple[type[Factorized], type[FactorizedTensor]], given: Any, tensor: Any, return_loss: bool, mask: Any
) -> Any:
    factorized = given if isinstance(given, kinds) else kinds[1](given)
    return factorized.lstsq_grad(tensor, return_loss, mask)
