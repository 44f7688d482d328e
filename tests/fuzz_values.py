"""Hostile values: what means nothing anywhere, what is wrong in most places, and what is almost right."""

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

ARRAYS = _named(
    no_axes=lambda: np.array(1.0),
    empty=lambda: np.zeros(0),
    no_rows=lambda: np.zeros((0, 15)),
    no_columns=lambda: np.zeros((6, 0)),
    vector=lambda: np.ones(15),
    rows=lambda: np.ones((2, 15)),
    matrix=lambda: np.ones((6, 15)),
    three_axes=lambda: np.ones((3, 4, 5)),
    five_axes=lambda: np.ones((1, 2, 1, 2, 1)),
    integers=lambda: np.ones((6, 15), dtype=int),
    objects=lambda: np.ones((6, 15), dtype=object),
    words=lambda: np.full((6, 15), "a"),
    times=lambda: np.ones((6, 15), dtype="m8[s]"),
    records=lambda: np.ones((6, 15), dtype=[("a", float)]),
    masked=lambda: np.ma.masked_array(np.ones((6, 15)), np.eye(6, 15) > 0),
    a_matrix=lambda: np.matrix(np.ones((6, 15))),
    of_arrays=lambda: [np.ones((1, 2, 3, 2)), np.ones((2, 3, 5, 1))],
    of_torch=lambda: torch.ones(6, 15),
    of_torch_rows=lambda: torch.ones(2, 15, dtype=torch.float64),
    of_torch_recording=lambda: torch.ones(2, 15, requires_grad=True),
    of_torch_sparse=lambda: torch.eye(6, 15).to_sparse(),
    of_torch_meta=lambda: torch.ones(6, 15, device="meta"),
    of_torch_integers=lambda: torch.ones(2, 15, dtype=torch.int64),
    of_torch_bfloat=lambda: torch.ones(2, 15, dtype=torch.bfloat16),
    of_jax=lambda: jax.numpy.ones((6, 15)),
    a_module=lambda: torch.nn.Linear(15, 6),
    no_module=lambda: torch.nn.ReLU(),
)


def near(valid: Any) -> list[Hostile]:
    """Values that are almost right: a valid one with one thing changed."""
    if isinstance(valid, torch.Tensor):
        return _near_tensor(valid)
    if isinstance(valid, np.ndarray):
        return _near_array(valid)
    if isinstance(valid, dict):
        changed = {f"{{..., {name!r}: {one}}}": (name, one) for name in valid for one in _near_entry(valid[name])}
        makers = [
            Hostile(text, lambda name=name, one=one: {**valid, name: one.make()}) for text, (name, one) in changed.items()
        ]
        return [*makers, *(Hostile(f"without {name!r}", lambda name=name: _without(valid, name)) for name in valid)]
    if isinstance(valid, (list, tuple)) and valid:
        kind = type(valid) if type(valid) in (list, tuple) else list
        found = [Hostile(f"{valid!r}[:-1]", lambda: kind(valid)[:-1]), Hostile("one more", lambda: kind([*valid, valid[-1]]))]
        for k, entry in enumerate(valid):
            for one in _near_entry(entry):
                changed = Hostile(f"[{k}] = {one}", lambda k=k, one=one: kind([*valid[:k], one.make(), *valid[k + 1 :]]))
                found.append(changed)
        return found
    return []


def _near_entry(entry: Any) -> list[Hostile]:
    return [*near(entry), *_written(None, -1, 1.5, "2", True, math.nan, 10**15), *NONSENSE[:2]]


def _without(mapping: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in mapping.items() if key != name}


def _near_array(valid: np.ndarray) -> list[Hostile]:
    def spoilt(number: float) -> np.ndarray:
        array = valid.astype(float)
        array.flat[:1] = number
        return array

    kinds = (np.float16, np.float32, np.longdouble, int, bool, complex, object, "U3", ">f8")
    return [
        *(Hostile(f"astype({np.dtype(kind)})", lambda kind=kind: valid.astype(kind)) for kind in kinds),
        *(Hostile(f"with {number}", lambda number=number: spoilt(number)) for number in (math.nan, math.inf, 1e300)),
        *_named(
            cut=lambda: valid[..., :-1].copy(),
            none_of_it=lambda: valid[:0].copy(),
            one_axis_more=lambda: valid[None].copy(),
            transposed=lambda: valid.T.copy(),
            nothing=lambda: 0 * valid,
            listed=valid.tolist,
            in_torch=lambda: torch.tensor(valid),
            in_jax=lambda: jax.numpy.asarray(valid),
            masked=lambda: np.ma.masked_array(valid, valid == valid),
        ),
    ]


def _near_tensor(valid: torch.Tensor) -> list[Hostile]:
    kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64)
    return [
        *(Hostile(f"to({kind})", lambda kind=kind: valid.to(kind)) for kind in kinds),
        *_named(
            cut=lambda: valid[..., :-1].clone(),
            none_of_it=lambda: valid[:0].clone(),
            one_axis_more=lambda: valid[None].clone(),
            transposed=lambda: valid.T.clone() if valid.dim() == 2 else valid.clone(),
            in_numpy=lambda: valid.detach().numpy().copy(),
            listed=valid.tolist,
            on_meta=lambda: valid.to("meta"),
            sparse=lambda: valid.to_sparse(),
            recording=lambda: valid.clone().requires_grad_(),
        ),
    ]


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
