"""Hostile values: meaningless for every argument, wrong for most arguments, or almost right."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import torch
from hypothesis import strategies as st


@dataclass(frozen=True)
class Hostile:
    """How a value is written, and a maker of it: anew each time, since generators are used up and arrays may be written to."""

    written: str
    make: Callable[[], Any]

    def __repr__(self) -> str:
        return self.written


def _named(**makers: Callable[[], Any]) -> list[Hostile]:
    return [Hostile(name, make) for name, make in makers.items()]


def _written(*values: Any) -> list[Hostile]:
    return [Hostile(repr(value), lambda value=value: value) for value in values]


def _copied(*values: Any) -> list[Hostile]:
    return [Hostile(repr(value), lambda value=value: copy.deepcopy(value)) for value in values]


def _generator() -> Iterator[object]:
    yield object()


#: No argument has a meaning for these, but flags, which are true or false as in Python.
NONSENSE = [
    *_named(object=object, generator=_generator, a_set=lambda: {"nonsense"}, nan=lambda: math.nan),
    *_written(1 + 2j, b"nonsense", ..., range(0)),
]

# Each is either beyond what any memory addresses or cheap.
HUGE = _written(10**15, 2**63, 10**40, 1e300)

SCALARS = _written(
    *(None, True, False, 0, 1, -1, 2, 3, 7, 0.5, 1.5, -0.5, math.inf, -math.inf, 1e-300),
    *(np.int64(2), np.int64(-1), np.int8(2), np.uint8(2), np.float32(0.5), np.float64("nan"), np.bool_(True), np.str_("tt")),
    *("", "2", "0.5", "nan", "tt", "ht", "bt", "same", "full", "nonsense", "cpu", "meta", "no\nline"),
)

SEQUENCES = _written(
    *((), [], (0,), (2,), (-2, 3), (2, 3), [2, 3], (2, 3.5), (True, 2), (np.int64(2), np.int64(3)), ("2", "3"), (math.nan, 2)),
    *((None, None), (1, 2, 1), (1, 2, 2, 1), (2, 2, 2, 2), (2, (1, 2)), (2, (2, 2)), (2, 0.5), (2, math.nan), ((2,), 2)),
    *(((2, 3), (3, 5)), ((0, 3), (3, 5)), ((2,), (3, 5)), ((2, 3), (3, 5), (2, 2)), (((2, 3),), ((3, 5),)), ((), ())),
    *((0, 1), ((0, 1), 2), ((0, 2), 1), ((0, 0), 1), ((0, 1), 5), ((0, 1), (2, 3, 4)), (1,) * 40, (2,) * 70),
    *((10**15, 2), (2, 10**15), ((10**15, 3), (3, 10**15)), (2**63, 2), (2, (10**15, 2))),
    *({}, {"r": 0}, {"r": 2}, {"nonsense": 2}, {0: 2}, {1: 2}, {None: None}),
    *([None], [[]], [[1.0, 2.0]], ["tt", "nonsense"], ["tt", None], (lambda: 1.0,), np),
)

ARRAYS = _copied(
    *(np.array(1.0), np.zeros(0), np.zeros((0, 15)), np.zeros((6, 0)), np.ones(15), np.ones((2, 15)), np.ones((6, 15))),
    *(np.ones((3, 4, 5)), np.ones((1, 2, 1, 2, 1)), [np.ones((1, 2, 3, 2)), np.ones((2, 3, 5, 1))]),
    *(np.ones((6, 15), dtype=kind) for kind in (int, object, "m8[s]", [("a", float)])),
    *(np.full((6, 15), "a"), np.ma.masked_array(np.ones((6, 15)), np.eye(6, 15) > 0), jax.numpy.ones((6, 15))),
    *(torch.ones(6, 15), torch.ones(2, 15, dtype=torch.float64), torch.ones(2, 15, requires_grad=True)),
    *(torch.eye(6, 15).to_sparse(), torch.ones(6, 15, device="meta"), torch.ones(2, 15, dtype=torch.int64)),
    *(torch.ones(2, 15, dtype=torch.bfloat16), torch.nn.Linear(15, 6), torch.nn.ReLU()),
)
ARRAYS += _named(a_matrix=lambda: np.matrix(np.ones((6, 15))))

#: Changes of an array or a tensor, which give one that is almost right.
CHANGES: dict[str, Callable[[Any], Any]] = {
    "cut": lambda one: one[..., :-1],
    "none of it": lambda one: one[:0],
    "one axis more": lambda one: one[None],
    "transposed": lambda one: one.T if one.ndim == 2 else one,
    "nothing": lambda one: 0 * one,
    "listed": lambda one: one.tolist(),
}
OF_ARRAYS = CHANGES | {
    **{f"astype({kind})": lambda one, kind=kind: one.astype(kind)
       for kind in ("f2", "f4", np.longdouble, "i8", "?", "c16", "O", "U3", ">f8")},
    **{f"with {number}": lambda one, number=number: _with_first(one, number) for number in (math.nan, math.inf, 1e300)},
    "in torch": torch.tensor, "in JAX": jax.numpy.asarray, "masked": lambda one: np.ma.masked_array(one, one == one),
}  # fmt: skip
OF_TENSORS = CHANGES | {
    **{f"to({kind})": lambda one, kind=kind: one.to(kind)
       for kind in (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64, "meta")},
    "in NumPy": lambda one: one.detach().numpy(), "sparse": torch.Tensor.to_sparse,
    "recording": lambda one: one.clone().requires_grad_(),
}  # fmt: skip


def _with_first(valid: np.ndarray, number: float) -> np.ndarray:
    array = valid.astype(float)
    array.flat[:1] = number
    return array


def near(valid: Any) -> list[Hostile]:
    """Return values that are almost right: a valid one with one thing changed."""
    if isinstance(valid, (torch.Tensor, np.ndarray)):
        changes = OF_TENSORS if isinstance(valid, torch.Tensor) else OF_ARRAYS
        return [Hostile(name, lambda change=change: change(copy.deepcopy(valid))) for name, change in changes.items()]
    if not isinstance(valid, (dict, list, tuple)) or not valid:
        return []
    named = isinstance(valid, dict)
    kind = dict if named else type(valid) if type(valid) in (list, tuple) else list
    entries = list(valid.items() if named else enumerate(valid))

    def made(changed: list[tuple[Any, Any]]) -> Any:
        return kind(changed if named else [value for _, value in changed])

    others = [("one more", [*entries, entries[-1]])] if not named else []
    others += [(f"without {key!r}", [one for one in entries if one[0] != key]) for key, _ in entries]
    return [Hostile(name, lambda changed=changed: made(changed)) for name, changed in others] + [
        Hostile(
            f"[{key!r}] = {other}",
            lambda key=key, other=other: made([(k, other.make() if k == key else v) for k, v in entries]),
        )
        for key, entry in entries
        for other in _near_entry(entry)
    ]


def _near_entry(entry: Any) -> list[Hostile]:
    return [*near(entry), *_written(None, -1, 1.5, "2", True, math.nan, 10**15), *NONSENSE[:2]]


def hostile(valid: Any) -> st.SearchStrategy[Hostile]:
    """Values in place of a valid one."""
    groups = [group for group in (near(valid), NONSENSE, SCALARS, SEQUENCES, ARRAYS, HUGE) if group]
    return st.one_of(*map(st.sampled_from, groups))


def odd_but_right(valid: Any) -> list[Hostile]:
    """Values that say the same in another way: as NumPy's numbers, in other sequences, in arrays that lie otherwise."""
    if isinstance(valid, np.ndarray) and valid.dtype == float and valid.ndim:
        return _named(
            strided=lambda: np.repeat(valid, 2, axis=-1)[..., ::2],
            backwards=lambda: valid[..., ::-1].copy()[..., ::-1],
            by_columns=lambda: np.asfortranarray(valid),
            read_only=lambda: _frozen(valid),
            broadcast=lambda: np.broadcast_to(valid[None], (1, *valid.shape))[0],
            unaligned=lambda: np.frombuffer(b"0" + valid.tobytes(), dtype=float, offset=1).reshape(valid.shape),
        )
    if isinstance(valid, torch.Tensor) and valid.dim():
        return _named(
            strided=lambda: valid.repeat_interleave(2, -1)[..., ::2],
            by_columns=lambda: valid.movedim(0, -1).contiguous().movedim(-1, 0),
            recording=lambda: valid.clone().requires_grad_(),
        )
    if isinstance(valid, bool) or not isinstance(valid, (int, tuple, list)):
        return []
    if isinstance(valid, int):
        return [Hostile(f"{kind.__name__}({valid})", lambda kind=kind: kind(valid)) for kind in (np.int64, np.int32, np.uint8)]
    if all(isinstance(one, int) for one in valid):
        return _named(as_list=lambda: list(valid), as_tuple=lambda: tuple(valid), of_numpy=lambda: [*map(np.int64, valid)])
    return _named(as_list=lambda: list(valid), as_tuple=lambda: tuple(valid))


def _frozen(valid: np.ndarray) -> np.ndarray:
    array = valid.copy()
    array.flags.writeable = False
    return array
