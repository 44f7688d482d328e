"""TensorLy backend of an array, found from its type; the global setting is neither read nor changed."""

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

# Maximum number of axes of backends with a low limit.
_MOST_AXES = {"paddle": 9}


def backend_of(argument: str, array: Any) -> Any:
    """Return the TensorLy backend object of an array, named `argument` in the error for anything but a dense array."""
    name = backend_name(array)
    if name is None and hasattr(array, "toarray"):
        raise TypeError(f"{argument} must be a dense array; got the sparse {type(array).__name__}. Give {argument}.toarray().")
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
    """Return the common backend of named arrays; raise an error if there is none or a size is unknown."""
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
                f"{argument} must have sizes that are known, since contractions are planned for them; expected "
                f"numbers, got {tuple(arrays[argument].shape)}. Trace for one size, with no None in tf.function's signature."
            )
    return backend


def same_device(arrays: dict[str, Any]) -> None:
    """Raise a ValueError if named arrays are on different devices; arrays without a device are skipped."""
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
    """Return the common backend of named arrays; raise an error if backends or devices differ."""
    backend = same_backend(arrays)
    same_device(arrays)
    return backend


def device_of(array: Any) -> Any:
    """Return the device of an array as its framework describes it; None if it has none or is not committed to one."""
    if backend_name(array) == "jax":
        # Tracers have no device; JAX moves uncommitted arrays to the device of the others.
        placed = getattr(array, "device", None) is not None and getattr(array, "committed", False)
        return ", ".join(sorted(map(str, array.devices()))) if placed else None
    # The attribute is empty in TensorFlow's tracing; older releases of Paddle have only `place`.
    return getattr(array, "device", None) or str(getattr(array, "place", "")) or None


def in_system_memory(array: Any) -> bool:
    """Return whether memory of such arrays is allocated by the C library, as by NumPy and by torch on a CPU."""
    name = backend_name(array)
    return name == "numpy" or (name == "pytorch" and array.device.type == "cpu")


def backend_name(array: Any) -> str | None:
    """Return TensorLy's name of the array's backend; None for array scalars, lists and other objects."""
    return _backend_name(type(array))


def most_axes(backend: Any) -> int:
    """Return the maximum number of axes of the backend's arrays."""
    return _most_axes(type(backend))


def context(backend: Any, like: Any) -> dict[str, Any]:
    """Return the dtype and device of an array, which is TensorLy's context without `requires_grad`."""
    return {key: value for key, value in backend.context(like).items() if key != "requires_grad"}


def new_array(backend: Any, values: Any, like: Any) -> Any:
    """Return NumPy `values` as an array of the backend with the dtype and device of `like`, without gradient tracking."""
    return backend.tensor(values, **context(backend, like))


def detached(array: Any) -> Any:
    """Return the array detached from any autograd graph, without a copy; the array itself if it is in none."""
    if backend_name(array) == "jax":
        return sys.modules["jax"].lax.stop_gradient(array)
    return array.detach() if hasattr(array, "detach") and getattr(array, "requires_grad", True) else array


def check_no_gradient(argument: str, array: Any) -> None:
    """Raise a TypeError for an array that is differentiated or traced, by a function whose result would have no gradient."""
    name = backend_name(array)
    if name == "jax" and isinstance(array, sys.modules["jax"].core.Tracer):
        if isinstance(detached(array), sys.modules["jax"].core.Tracer):
            raise TypeError(
                f"{argument} must have numbers; expected an array, got a tracer of jax.jit or vmap. Decompose outside of it."
            )
        raise TypeError(
            f"{argument} must not be differentiated, since decompositions have no gradient; got a tracer of jax.grad. Give "
            f"jax.lax.stop_gradient({argument}), or decompose outside and differentiate with respect to the factors."
        )
    if name == "pytorch" and array.requires_grad and not array.is_leaf and sys.modules["torch"].is_grad_enabled():
        raise TypeError(
            f"{argument} must not be differentiated, since decompositions have no gradient; got the result of a computation "
            f"that requires a gradient. Give {argument}.detach(), and differentiate with respect to the factors."
        )


def at_least_single(backend: Any, array: Any) -> Any:
    """Return arrays of half precision in single precision, others as they are."""
    return as_dtype(backend, array, backend.float32) if "float16" in str(array.dtype) else array


def as_dtype(backend: Any, array: Any, dtype: Any) -> Any:
    """Return the array with a dtype, without leaving its autograd graph; the array itself if it has that dtype."""
    if array.dtype == dtype:
        return array
    # TensorLy's constructor detaches tensors of PyTorch and TensorFlow from their graph.
    if backend.backend_name == "tensorflow":
        return sys.modules["tensorflow"].cast(array, dtype)
    return array.to(dtype) if hasattr(array, "to") else array.astype(dtype)


def wider_float(backend: Any, array: Any) -> Any:
    """Return the backend's double precision for an array in single precision; None if there is none or for other arrays."""
    if "float32" not in str(array.dtype):
        return None
    # JAX has it only if the user enabled it; an array created without a dtype has the widest available.
    widest = backend.tensor(np.zeros(1)).dtype
    return widest if "float64" in str(widest) else None


def frobenius_norm(backend: Any, array: Any) -> float:
    """Return the root of the sum of squares, summed in pieces to avoid a large array of squares."""
    flat = backend.reshape(array, (-1,))
    step = 2**20
    pieces = (flat[start : start + step] for start in range(0, flat.shape[0], step))
    return math.sqrt(sum(float(backend.sum(piece * piece)) for piece in pieces))


def largest_magnitude(backend: Any, array: Any) -> float:
    """Return the largest magnitude of an array's entries, NaN if one is NaN, without an array of magnitudes."""
    highest, lowest = float(backend.max(array)), float(backend.min(array))
    return highest if math.isnan(highest) else max(highest, -lowest)


def is_real_float(array: Any) -> bool:
    """Return whether an array holds real floating-point numbers."""
    return "float" in str(array.dtype) or getattr(array.dtype, "kind", "") == "f"


def check_real(argument: str, array: Any) -> None:
    """Raise a TypeError unless an array holds floating-point numbers, integers or booleans."""
    if not is_real_float(array) and not any(kind in str(array.dtype) for kind in ("int", "bool")):
        raise TypeError(f"{argument} must hold real numbers; got {array.dtype}. Convert it.")


@memoize
def _backend_name(kind: type) -> str | None:
    # Array scalars, modules and functions are not arrays; masked arrays and np.matrix have another arithmetic.
    if issubclass(kind, (np.generic, np.ma.MaskedArray, np.matrix)) or not hasattr(kind, "dtype"):
        return None
    names = (_BACKEND_NAMES.get(one.__module__.partition(".")[0]) for one in kind.__mro__)
    return next((name for name in names if name is not None), None)


@memoize
def _most_axes(backend: type) -> int:
    return _MOST_AXES.get(getattr(backend, "backend_name", ""), 64)


# Traced functions look backends up here, after `_load` has filled in the entry.
_LOADED: dict[str, Any] = {}
_LOADING = Lock()


@memoize
def _load(name: str) -> None:
    if name != "jax":
        _LOADED[name] = BackendManager.load_backend(name)
        return
    # Loading this backend switches JAX to 64 bit for the whole process; the user's setting is restored.
    jax = sys.modules["jax"]
    with _LOADING:  # A second thread must not read the setting while the first has changed it.
        enabled = jax.config.jax_enable_x64
        try:
            _LOADED[name] = BackendManager.load_backend(name)
        finally:
            jax.config.update("jax_enable_x64", enabled)
