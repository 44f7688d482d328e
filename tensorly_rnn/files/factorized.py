"""Save and load factorized matrices: each factor as a tensor, their descriptions in the metadata of the file."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tensorly_rnn._backend import detached
from tensorly_rnn._checks import plain
from tensorly_rnn.files._container import METADATA, Stored, checked_path, read, write
from tensorly_rnn.files._numbers import FLOATS, to_array, to_stored
from tensorly_rnn.files._replacing import replacing
from tensorly_rnn.formats import FactorizedMatrix, available_formats, get_format

KEY, VERSION = "tensorly_rnn", 1


@dataclass(frozen=True)
class Description:
    """The description of a factorized matrix in a file: its attributes; the tree only where it is not the default."""

    format: str
    shape: tuple[int, int]
    tensorized_shape: Any
    rank: Any
    n_factors: int
    tree: Any = None

    @classmethod
    def of(cls, matrix: FactorizedMatrix) -> "Description":
        """Describe a matrix."""
        tree = getattr(matrix, "tree", None)
        return cls(matrix.format.name, matrix.shape, matrix.tensorized_shape, plain(matrix.rank), len(matrix.factors), tree)

    def factor_names(self, name: str) -> list[str]:
        """Return the names of the factors' tensors, as in the state dict of a layer whose weight has that name."""
        return [f"{name}.factors.{k}" for k in range(self.n_factors)]


def save_factorized(
    path: str | os.PathLike[str], matrices: Mapping[str, FactorizedMatrix], tensors: Mapping[str, Any] | None = None
) -> None:
    """Write factorized matrices to a safetensors file, from which `load_factorized` reads them.

    Factor k of the matrix ``"layer.weight"`` becomes the tensor ``"layer.weight.factors.k"``, as in the state dict of a
    `tensorly_rnn.nn.FactorizedLinear` named ``layer``.

    Parameters
    ----------
    path : str or path
        An existing file is replaced once the new one is complete.
    matrices : dict of str to FactorizedMatrix
        On any backend.
    tensors : dict of str to NumPy array, optional
        Other tensors, biases for example.

    Raises
    ------
    OSError
        If the file cannot be written.
    TypeError, ValueError
        If a value is not a factorized matrix, has a dtype that safetensors does not have, or two tensors have the same name.

    See Also
    --------
    load_factorized

    Examples
    --------
    >>> import tempfile
    >>> import tensorly_rnn as tlr
    >>> path = tempfile.mkdtemp() + "/small.safetensors"
    >>> f = tlr.TTMatrix.random(((4, 4), (8, 8)), 2, random_state=0)
    >>> save_factorized(path, {"layer.weight": f})
    >>> load_factorized(path)["layer.weight"]
    TTMatrix(shape=(16, 64), tensorized_shape=((4, 4), (8, 8)), rank=(1, 2, 1), n_param=128, compression_ratio=8)
    """
    for argument, named in (("matrices", matrices), ("tensors", {} if tensors is None else tensors)):
        if not isinstance(named, Mapping) or not all(isinstance(name, str) for name in named):
            raise TypeError(f"{argument} must be a dict of names; got {type(named).__name__}.")
    path = checked_path(path)
    stored = {name: to_stored(f"tensors[{name!r}]", array) for name, array in (tensors or {}).items()}
    for name, matrix in matrices.items():
        if not isinstance(matrix, FactorizedMatrix):
            raise TypeError(
                f"matrices[{name!r}] must be a factorized matrix; expected the result of factorize(), "
                f"got {type(matrix).__name__}."
            )
        for factor_name, factor in factor_tensors(name, matrix).items():
            if factor_name in stored:
                raise ValueError(f"tensors must have names of their own; got {factor_name!r} twice.")
            stored[factor_name] = factor
    if METADATA in stored:
        raise ValueError(f"tensors must leave the name {METADATA!r} to safetensors. Rename it.")
    described = {name: Description.of(matrix) for name, matrix in matrices.items()}
    with replacing(path) as file:
        write(file, stored, {KEY: to_text(described)})


def load_factorized(path: str | os.PathLike[str]) -> dict[str, FactorizedMatrix]:
    """Read the factorized matrices of a safetensors file, written by `save_factorized` or ``tensorly-rnn compress``.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    dict of str to FactorizedMatrix
        On NumPy, by the names of the dense matrices. Factors in bfloat16 become single precision, without loss.

    Raises
    ------
    ImportError
        If safetensors is not installed.
    OSError
        If the file cannot be read.
    ValueError
        If it is no safetensors file, describes no factors, or its factors do not match their descriptions.

    Notes
    -----
    Nothing in the file is executed: it contains numbers and JSON only.

    See Also
    --------
    save_factorized
    """
    tensors, metadata = read(path)
    if KEY not in metadata:
        raise ValueError(
            f"path must hold factorized matrices; got {os.fspath(path)!r} with {len(tensors)} tensors, none of them described "
            "as factors. Write the file by save_factorized or tensorly-rnn compress."
        )
    found = {}
    for name, one in descriptions(path, metadata).items():
        try:
            cls = get_format(one.format)
            factors = [_factor(tensors, factor_name) for factor_name in one.factor_names(name)]
            matrix = cls(factors, shape=one.shape, **({} if one.tree is None else {"tree": one.tree}))
            if Description.of(matrix) != one:
                raise ValueError(f"expected {one}, got {Description.of(matrix)}")
        except (TypeError, ValueError, KeyError) as reason:
            raise ValueError(
                f"path must hold the factors that it describes; got {os.fspath(path)!r}, where {name!r} does not fit: {reason}"
            ) from None
        found[name] = matrix
    return found


def factor_tensors(name: str, matrix: FactorizedMatrix, dtype: str | None = None) -> dict[str, Stored]:
    """Return the tensors of a matrix by name, in its own dtype or rounded to another."""
    names = Description.of(matrix).factor_names(name)
    arrays = [matrix.backend.to_numpy(detached(factor)) for factor in matrix.factors]
    return {one: to_stored(f"matrices[{name!r}]", array, dtype) for one, array in zip(names, arrays)}


def to_text(described: Mapping[str, Description]) -> str:
    """Return descriptions as the metadata of a file."""
    return json.dumps({"version": VERSION, "matrices": {name: vars(one) for name, one in described.items()}})


def descriptions(path: str | os.PathLike[str], metadata: Mapping[str, str]) -> dict[str, Description]:
    """Return the descriptions of the factorized matrices in the metadata of a file, by name.

    Metadata that `to_text` did not write is a ValueError.
    """
    if KEY not in metadata:
        return {}
    cure = f"path must have metadata of tensorly_rnn as it writes them; got {os.fspath(path)!r}"
    try:
        content = json.loads(metadata[KEY])
        version, matrices = content["version"], content["matrices"]
        if version != VERSION:
            raise ValueError(f"expected version {VERSION}, got {version!r}. Update tensorly_rnn.")
        return {name: _checked(Description(**as_tuples(one))) for name, one in matrices.items()}
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as reason:
        raise ValueError(f"{cure}: {type(reason).__name__}: {reason}") from None


def _checked(one: Description) -> Description:
    if one.format not in available_formats():
        raise ValueError(f"expected a format of {available_formats()}, got {one.format!r}")
    for value, length in ((one.shape, 2), (one.tensorized_shape, 2), (one.rank, None)):
        if not isinstance(value, tuple) or len(value) != (length or len(value)):
            raise ValueError(f"expected shapes and ranks, got {value!r}")
    if isinstance(one.n_factors, bool) or not isinstance(one.n_factors, int) or not 0 < one.n_factors < 10_000:
        raise ValueError(f"expected a number of factors, got {one.n_factors!r}")
    return one


def as_tuples(value: Any) -> Any:
    """Convert lists to tuples at any depth."""
    if isinstance(value, dict):
        return {name: as_tuples(one) for name, one in value.items()}
    return tuple(map(as_tuples, value)) if isinstance(value, list) else value


def _factor(tensors: Mapping[str, Stored], name: str) -> Any:
    if name not in tensors:
        raise ValueError(f"there is no tensor {name!r}.")
    if tensors[name].dtype not in FLOATS:
        raise ValueError(f"{name!r} is of dtype {tensors[name].dtype}.")
    return to_array(tensors[name])
