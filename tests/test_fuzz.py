"""Every public name called with hostile arguments: a right answer, or an error that names the argument; nothing else changes.

More examples: ``pytest tests/test_fuzz.py --hypothesis-profile thorough``.
"""

import fnmatch
import os
import pickle
import random
import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
import pytest
import tensorly
import torch
import torch._dynamo  # whose imports add filters of warnings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes

from tests.fuzz_values import NONSENSE, Hostile, hostile, odd_but_right
from tests.fuzz_ways import ARGUMENTS, OBJECTS, OPTIONS, WAYS

#: Seconds for one call, a hundred times what the slowest takes.
DEADLINE = 20
#: True or false as in Python, whatever they are.
FLAGS = ("batch_first", "bias", "bidirectional", "full", "inplace", "mode", "padded", "return_loss", "verbose", "x_gradient")
#: Functions of the caller, whose errors are the caller's.
CALLED = ("callback", "calibration", "count", "reference", "ranks")
#: Strategies of Hypothesis, which say what is wrong when they draw.
LAZY = ("factorized_matrices", "factorized_pairs", "factorized_tensors")
#: Names in errors of an argument that is an operand, that another class's constructor takes, or that goes together with another.
ALSO_CALLED = {
    "other": "the other operand", "scalar": "the scalar", "tensor": "target|tree|rank", "name": "format", "order": "tree",
    "bt_tensor": "factors|rank", "ht_tensor": "factors|rank", "tt_tensor": "factors|rank", "tr_tensor": "factors|rank",
    "shape": "tensorized_shape|tree", "tensor_shape": "rank|tree", "factors": "tree|tensorized_shape|rank", "root_rank": "stack",
    "matrix": "rank|widths", "module": "name", "tensorized_shape": "modes", "input_size": "input_modes", "parts": "matrix",
    "hidden_size": "hidden_modes", "hx": "h|c|h_0|c_0", "widths": "in_modes", "rows": "out_modes", "n_gates": "out_modes",
    "tucker": "factors", "hidden_modes": "out_modes", "input_modes": "in_modes", "in_features": "in_modes",
    "out_features": "out_modes", "d_state": "h_n|c_n", "parameters": "weight_ih|weight_hh|bias_ih|bias_hh|weight_hr",
}  # fmt: skip
#: Calls that draw from torch's generator, as torch's own modules do.
DRAWS = re.compile("Factorized(RNN|GRU|LSTM|Linear|Weight)|factorize_module|factorized")

every_way = pytest.mark.parametrize("name", sorted(WAYS))
# The same draws each time, but where many are asked for.
few = settings(deadline=None, derandomize=settings().max_examples <= 25, suppress_health_check=list(HealthCheck))


class TookTooLongError(BaseException):
    """Not an Exception, which might be caught on the way."""


@pytest.fixture(autouse=True, scope="module")
def elsewhere(tmp_path_factory) -> Iterator[None]:
    """Return values that are paths as paths in a separate folder."""
    before = os.getcwd()
    os.chdir(tmp_path_factory.mktemp("fuzz"))
    yield
    os.chdir(before)


@pytest.mark.parametrize("pattern", {**OBJECTS, **ARGUMENTS, **OPTIONS})
def test_patterns_fit_a_public_name(pattern):
    assert fnmatch.filter(WAYS, pattern)


@every_way
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
@few
@given(data=st.data())
@pytest.mark.slow
def test_hostile_arguments(name, data):
    function, arguments = WAYS[name]()
    chosen = sorted(set(arguments) - set(FLAGS))
    if not chosen:
        return
    count = data.draw(st.sampled_from((1, 1, 1, 2)))
    changed = data.draw(st.lists(st.sampled_from(chosen), min_size=1, max_size=count, unique=True))
    values = {argument: data.draw(hostile(arguments[argument]), label=argument) for argument in changed}
    arguments |= {argument: value.make() for argument, value in values.items()}
    answer = outcome(name, function, arguments)
    if isinstance(answer, Exception):
        check_message(name, answer, values)
    else:
        accepted = [f"{argument}={value}" for argument, value in values.items() if value in NONSENSE]
        assert name in LAZY or not accepted, f"{name} takes {accepted} and returns {answer!r}"


@every_way
def test_misspelt_arguments(name):
    function, arguments = WAYS[name]()
    if "__" in name:
        return
    answer = outcome(name, function, {**arguments, "mispelt": 1})
    assert isinstance(answer, TypeError), f"{name} takes mispelt=1"
    assert "mispelt" in str(answer)


@every_way
@pytest.mark.slow
def test_what_is_odd_but_right(name):
    plain = outcome(name, *WAYS[name]())
    assert not isinstance(plain, Exception) or name in (
        "TRMatrix.singular_values",
        "TRTensor.singular_values",
        "load_factorized",
        "save_factorized",
    ), plain
    function, arguments = WAYS[name]()
    for argument, valid in arguments.items():
        # A network is plain data, of tuples.
        for value in odd_but_right(valid) if name != "Network" else ():
            function, fresh = WAYS[name]()
            found = outcome(name, function, {**fresh, argument: value.make()})
            assert type(found).__name__ == type(plain).__name__, f"{name}: {argument}={value}: {found!r} instead of {plain!r}"
            if not DRAWS.match(name):
                assert_same(found, plain, f"{name}: {argument}={value}")


def outcome(name: str, function: Any, arguments: dict[str, Any]) -> Any:
    """Call, and return the result or the error if it is of an allowed kind; arguments and global state stay as they were."""
    before, state = [snapshot(value) for value in arguments.values()], global_state(name)
    with warnings.catch_warnings(record=True) as heard, time_limit(name):
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        try:
            if "__" in name:
                found = function(*arguments.values())
                found = TypeError("the other operand, the scalar: not implemented") if found is NotImplemented else found
            else:
                found = function(**arguments)
            if type(found).__module__.startswith("tensorly_rnn"):
                repr(found), str(found)
        except (TypeError, ValueError, ImportError, ZeroDivisionError) as error:
            found = error
        except OSError as error:
            assert {"path", "folder"} & set(arguments)
            found = error
        assert warnings.filters == filters
    assert global_state(name) == state, f"{name} changes global state"
    for one in heard:
        if "encountered in" in str(one.message):  # NumPy's, as its user's np.errstate has it
            assert any("nan" in repr(value) or "inf" in repr(value) or "e+" in repr(value) for value in arguments.values())
            continue
        assert issubclass(one.category, UserWarning), str(one)
    if not arguments.get("inplace") and name != "factorized":
        after = [snapshot(value) for value in arguments.values()]
        changed = [argument for argument, one, two in zip(arguments, before, after) if one != two]
        assert not changed, f"{name} changes {changed}"
    return found


def check_message(name: str, error: Exception, values: dict[str, Hostile]) -> None:
    """Assert that the message names one of the arguments that are wrong."""
    message = str(error)
    if any(argument in CALLED and callable(value.make()) for argument, value in values.items()):
        return  # the caller's own
    if isinstance(error, OSError) or ("__" in name and "not implemented" in message):
        return
    words = "|".join(word for argument in values for word in (argument, ALSO_CALLED.get(argument, argument)))
    assert re.search(rf"(?<![a-z_])({words})(?![a-z_])", message), f"{name}: {values}: {error!r}"


@contextmanager
def time_limit(name: str) -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TookTooLongError(name)

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, DEADLINE)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def global_state(name: str) -> tuple[Any, ...]:
    numpy_state: Any = np.random.get_state()
    return (
        tensorly.get_backend(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        None if DRAWS.match(name) else torch.get_rng_state().numpy().tobytes(),
        (numpy_state[1].tobytes(), numpy_state[2]),
        random.getstate(),
        np.geterr(),
        jax.config.jax_enable_x64,
    )


def snapshot(value: Any) -> Any:
    """Return a snapshot to compare the value with later, if there is one; pictures are drawn on their axes."""
    try:
        return None if isinstance(value, Axes) else pickle.dumps(value)
    except Exception:
        return None


def assert_same(found: Any, expected: Any, what: str) -> None:
    if hasattr(expected, "factors") and hasattr(expected, "rank"):
        found, expected = [*found.factors], [*expected.factors]
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected), what
        for one, two in zip(found, expected):
            assert_same(one, two, what)
    elif isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, check_layout=False, msg=what)
    elif isinstance(expected, (np.ndarray, float)):
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10, err_msg=what)
    elif isinstance(expected, (int, str, Exception)):
        assert str(found) == str(expected), what
