"""Convert the bytes of a file to NumPy arrays and back; bfloat16 is the upper half of single precision."""

from typing import Any

import numpy as np

from tensorly_rnn._checks import instance_of
from tensorly_rnn.files._container import Stored

#: Names of dtypes in safetensors -> in NumPy.
DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "|i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "|u1",
    "BOOL": "|b1",
    "C64": "<c8",
}
BFLOAT16 = "BF16"
#: Dtypes of matrices that can be decomposed.
FLOATS = ("F64", "F32", "F16", BFLOAT16)


def to_array(stored: Stored) -> Any:
    """Return a copy as an array; bfloat16 becomes single precision, without loss."""
    if stored.dtype == BFLOAT16:
        high = stored.data.view("<u2").astype(np.uint32) << 16
        return high.view(np.float32).reshape(stored.shape)
    native = np.dtype(DTYPES[stored.dtype]).newbyteorder("=")
    # Not a memmap, which would keep the file open.
    return np.array(stored.data.view(DTYPES[stored.dtype]), dtype=native, subok=False).reshape(stored.shape)


def to_stored(argument: str, array: Any, dtype: str | None = None) -> Stored:
    """Return the bytes of an array, in its own dtype or rounded to another; a dtype that safetensors lacks is a TypeError."""
    instance_of(argument, array, np.ndarray, "an array of NumPy")
    names = {np.dtype(numpy): name for name, numpy in DTYPES.items()}
    # Files are little-endian on every machine.
    own = array.dtype.newbyteorder("<") if array.dtype.itemsize > 1 else array.dtype
    dtype = names.get(own) if dtype is None else dtype
    if dtype is None:
        raise TypeError(
            f"{argument} must be of a dtype that safetensors has; expected one of "
            f"{tuple(map(str, names))}, got {array.dtype}. Convert it."
        )
    rounded = _rounded_to_bfloat16(array) if dtype == BFLOAT16 else array.astype(DTYPES[dtype], copy=False)
    return Stored(dtype, tuple(array.shape), np.ascontiguousarray(rounded).reshape(-1).view(np.uint8))


def _rounded_to_bfloat16(array: Any) -> Any:
    """Round finite numbers to bfloat16, half to even; return the bits."""
    bits = np.ascontiguousarray(array, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
