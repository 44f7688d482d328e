"""The transpose of a factorized matrix, and products with vectors and matrices from either side."""

from typing import TYPE_CHECKING, Any

from tensorly_rnn._backend import backend_name
from tensorly_rnn.network import operations
from tensorly_rnn.tensorize import pad_blocks

if TYPE_CHECKING:
    from tensorly_rnn.formats.matrix import FactorizedMatrix


class Transposed:
    """The transpose of a factorized matrix, on the same factors."""

    __array_ufunc__ = None

    def __init__(self, matrix: "FactorizedMatrix") -> None:
        self._matrix = matrix

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        rows, columns = self._matrix.shape
        return columns, rows

    @property
    def T(self) -> "FactorizedMatrix":  # noqa: N802 - as arrays spell it
        """The matrix itself."""
        return self._matrix

    def to_matrix(self) -> Any:
        """Return the dense matrix of shape `shape`."""
        return self._matrix.backend.transpose(self._matrix.to_matrix(), (1, 0))

    def __matmul__(self, other: Any) -> Any:
        """Return ``W^T @ other`` for a vector or a matrix."""
        return apply_to_columns(self._matrix, other, self.shape[1], self._apply)

    def __rmatmul__(self, other: Any) -> Any:
        """Return ``other @ W^T`` for a vector or a matrix."""
        return self._matrix.apply(other)

    def _apply(self, y: Any) -> Any:
        """Return ``y W``."""
        f = self._matrix
        backend = f._check_rows("the other operand", y, f.shape[0])
        padded = pad_blocks(backend, y, f.network.shape[0], f.stack)
        return operations.apply(backend, f.network.transposed, f.factors, padded)[..., : f.shape[1]]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Let ``tensor @ f.T`` reach `__rmatmul__`."""
        return torch_reflected(function, args)

    def __repr__(self) -> str:
        return f"{self._matrix!r}.T"


def apply_to_columns(f: "FactorizedMatrix", other: Any, height: int, apply: Any) -> Any:
    """Apply a map of rows of `height` entries to the columns of a vector or a matrix."""
    argument = "the other operand"
    backend = f._check_operand(argument, other)
    if len(other.shape) not in (1, 2):
        raise ValueError(f"{argument} must be a vector or a matrix; got shape {tuple(other.shape)}.")
    if other.shape[0] != height:
        expected = f"({height},)" if len(other.shape) == 1 else f"({height}, ...)"
        raise ValueError(
            f"{argument} must have {height} entries along its first axis; expected {expected}, got {tuple(other.shape)}."
        )
    if len(other.shape) == 1:
        return apply(other)
    return backend.transpose(apply(backend.transpose(other, (1, 0))), (1, 0))


# What torch calls with a tensor on the left -> what it is to us.
_REFLECTED = {"matmul": "__rmatmul__", "__matmul__": "__rmatmul__", "__rmatmul__": "__rmatmul__", "mul": "__rmul__"}


def torch_reflected(function: Any, args: Any) -> Any:
    """Hand ``tensor @ f`` and ``tensor * f`` to f; any other torch function does not take a factorized object."""
    method = _REFLECTED.get(getattr(function, "__name__", ""))
    if method is None or len(args) != 2 or backend_name(args[0]) != "pytorch" or not hasattr(args[1], method):
        return NotImplemented
    return getattr(args[1], method)(args[0])
