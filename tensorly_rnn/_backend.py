"""The TensorLy backend of an array, found from the array itself: the global setting is neither read nor changed."""

import math
import sys
from threading import Lock
from typing import Any

import numpy as np
from tensorly.backend import BackendManager

from tensorly_rnn._memoize import memoize

# First part of the module that defines an array's type -> TensorLy's name of the backend.
_BACKEND_NAMES = {
    "numpy": "numpy",
    "torch": "pytorch",
    "jax": "jax",
    "jaxlib": "jax",
    "tensorflow": "tensorflow",
    "paddle": "paddle",
    "cupy": "cupy",
}

# The most axes an array may have, where a backend sets a limit within reach.
_MOST_AXES = {"paddle": 9}


def backend_of(argument: str, array: Any) -> Any:
    """Return the TensorLy backend object that `array` belongs to.

    Parameters
    ----------
    argument : str
        Name of the argument in errors.
    array : array of NumPy, PyTorch, JAX, TensorFlow, Paddle or CuPy

    Raises
    ------
    TypeError
        If `array` belongs to no backend.
    """
    name = backend_name(array)
    if isinstance(array, (np.ma.MaskedArray, np.matrix)) or (name == "pytorch" and (array.is_sparse or array.is_sparse_csr)):
        raise TypeError(
            f"{argument} must be a plain dense array; expected numbers in every entry, got "
            f"{type(array).__name__}. Fill in what is masked or make it dense first."
        )
    if name is None:
        raise TypeError(
            f"{argument} must be an array of a TensorLy backend; expected one of "
            f"{tuple(dict.fromkeys(_BACKEND_NAMES.values()))}, got {type(array).__name__}. "
            "Convert it first, for example with numpy.asarray."
        )
    _load(name)
    return _LOADED[name]


def same_backend(arrays: dict[str, Any]) -> Any:
    """Return the backend that all named arrays, whose sizes are known, share."""
    names = {argument: backend_name(array) for argument, array in arrays.items()}
    first_argument, first = next(iter(arrays.items()))
    backend = backend_of(first_argument, first)
    for argument, name in names.items():
        if name != names[first_argument]:
            raise TypeError(
                f"{argument} must be of the same backend as {first_argument}; expected "
                f"{names[first_argument]}, got {name or type(arrays[argument]).__name__}. Convert one of them."
            )
        if any(size is None for size in arrays[argument].shape):
            raise ValueError(
                f"{argument} must have sizes that are known, for what is computed is planned for them; expected "
                f"numbers, got {tuple(arrays[argument].shape)}. Trace for one size, with no None in tf.function's signature."
            )
    return backend


def same_device(arrays: dict[str, Any]) -> None:
    """Raise a ValueError if the named arrays lie on different devices, as far as they say where they lie."""
    first = expected = None
    for argument, array in arrays.items():
        place = device_of(array)
        if expected is None:
            first, expected = argument, place
        elif place is not None and place != expected:
            raise ValueError(
                f"{argument} must be on the device of {first}; expected {expected}, got {place}. Move one of them."
            )


def same_backend_and_device(arrays: dict[str, Any]) -> Any:
    """Return the backend that all named arrays share, on one device as far as they say where they lie."""
    backend = same_backend(arrays)
    same_device(arrays)
    return backend


def device_of(array: Any) -> Any:
    """Return where an array lies, in its framework's words; None where it does not say, or goes where others are."""
    if backend_name(array) == "jax":
        # Tracers have no device, and arrays that nobody has put anywhere follow the others.
        placed = getattr(array, "device", None) is not None and getattr(array, "committed", False)
        return ", ".join(sorted(map(str, array.devices()))) if placed else None
    # TensorFlow's is empty while it traces; older releases of Paddle have a place only.
    return getattr(array, "device", None) or str(getattr(array, "place", "")) or None


def in_system_memory(array: Any) -> bool:
    """Whether memory for arrays like this one comes from the C library, as NumPy's and torch's on a CPU."""
    name = backend_name(array)
    return name == "numpy" or (name == "pytorch" and array.device.type == "cpu")


def backend_name(array: Any) -> str | None:
    """Return TensorLy's name of the array's backend, or None; array scalars and lists have none."""
    return _backend_name(type(array))


def most_axes(backend: Any) -> int:
    """Return how many axes an array of the backend may have."""
    return _most_axes(type(backend))


def context(backend: Any, like: Any) -> dict[str, Any]:
    """Return the dtype and device of an array; TensorLy's own context also carries whether gradients are recorded."""
    return {key: value for key, value in backend.context(like).items() if key != "requires_grad"}


def new_array(backend: Any, values: Any, like: Any) -> Any:
    """Return NumPy `values` as an array of the backend with the dtype and device of `like`, recording no gradient."""
    return backend.tensor(values, **context(backend, like))


def detached(array: Any) -> Any:
    """Return the array outside any autograd graph, its memory shared; the array itself where nothing is recorded."""
    if backend_name(array) == "jax":
        return sys.modules["jax"].lax.stop_gradient(array)
    return array.detach() if hasattr(array, "detach") and getattr(array, "requires_grad", True) else array


def at_least_single(backend: Any, array: Any) -> Any:
    """Return half precision in single precision, in which sums and decompositions hold; others as they are."""
    return as_dtype(backend, array, backend.float32) if "float16" in str(array.dtype) else array


def as_dtype(backend: Any, array: Any, dtype: Any) -> Any:
    """Return the array in another precision, within its autograd graph; the array itself where it has that already."""
    if array.dtype == dtype:
        return array
    # TensorLy's constructor takes the tensors of PyTorch and TensorFlow out of their graph.
    if backend.backend_name == "tensorflow":
        return sys.modules["tensorflow"].cast(array, dtype)
    return array.to(dtype) if hasattr(array, "to") else array.astype(dtype)


def wider_float(backend: Any, array: Any) -> Any:
    """Return the backend's dtype of double precision if the array is in single precision and there is one, else None."""
    if "float32" not in str(array.dtype):
        return None
    # JAX has one only where the user asked for it; an array without a dtype takes what there is, silently.
    widest = backend.tensor(np.zeros(1)).dtype
    return widest if "float64" in str(widest) else None


def frobenius_norm(backend: Any, array: Any) -> float:
    """Return the root of the sum of squares, summed piece after piece: no array of squares is made."""
    flat = backend.reshape(array, (-1,))
    step = 2**20
    pieces = (flat[start : start + step] for start in range(0, flat.shape[0], step))
    return math.sqrt(sum(float(backend.sum(piece * piece)) for piece in pieces))


def largest_magnitude(backend: Any, array: Any) -> float:
    """Return the largest magnitude of an array's entries, NaN if one is NaN; no array of magnitudes is made."""
    highest, lowest = float(backend.max(array)), float(backend.min(array))
    return highest if math.isnan(highest) else max(highest, -lowest)


def is_real_float(array: Any) -> bool:
    """Whether an array holds real floating-point numbers."""
    return "float" in str(array.dtype) or getattr(array.dtype, "kind", "") == "f"


def check_real(argument: str, array: Any) -> None:
    """Refuse what does not hold real numbers: floating-point numbers, integers or booleans."""
    if not is_real_float(array) and not any(kind in str(array.dtype) for kind in ("int", "bool")):
        raise TypeError(f"{argument} must hold real numbers; got {array.dtype}. Convert it.")


@memoize
def _backend_name(kind: type) -> str | None:
    # Scalars are no arrays, nor are the modules and functions of a framework; masked entries and matrices that stay
    # matrices when they are cut do not act as arrays do.
    if issubclass(kind, (np.generic, np.ma.MaskedArray, np.matrix)) or not hasattr(kind, "dtype"):
        return None
    names = (_BACKEND_NAMES.get(one.__module__.partition(".")[0]) for one in kind.__mro__)
    return next((name for name in names if name is not None), None)


@memoize
def _most_axes(backend: type) -> int:
    return _MOST_AXES.get(getattr(backend, "backend_name", ""), 64)


# Looked up by what traces the arithmetic, which must find it filled: `_load` comes first, always.
_LOADED: dict[str, Any] = {}
_LOADING = Lock()


@memoize
def _load(name: str) -> None:
    if name != "jax":
        _LOADED[name] = BackendManager.load_backend(name)
        return
    # TensorLy switches JAX to 64 bit for the whole process when this backend loads; the choice is the user's.
    jax = sys.modules["jax"]
    with _LOADING:  # A second thread would take for the user's choice what the first has just switched.
        enabled = jax.config.jax_enable_x64
        try:
            _LOADED[name] = BackendManager.load_backend(name)
        finally:
            jax.config.update("jax_enable_x64", enabled)
