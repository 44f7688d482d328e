"""Mutants are what they are said to be: one change, of code alone, drawn in proportion; verdicts outlive a killed run."""

import ast

import pytest

from tests.mutation.mutants import Mutant, count_places, sample
from tests.mutation.report import Record
from tests.mutation.suite import ROOMS, room_of, selection
from tests.mutation.trial import Verdict

SOURCE = b'''"""All of 1 + 1."""

from typing import Any, cast

Name = tuple[int, 1 + 1]
LIMIT = 3


def function(a: "tuple[1, 2]", b: int = 4, *, c: float = 0.5) -> dict[str, 1 - 2]:
    """Return 5 * 5."""
    word: list[0] = [6]
    if a < LIMIT and not b:
        raise ValueError(f"got {a + 7}", 8)
    return cast("list[9]", f"{a * 10}") + max(a, b)
'''


def changed(source):
    """What the mutants of one file make of it, each once."""
    encoded = source.encode()
    drawn = {seed: sample({"one": encoded}, count_places("one", encoded), seed) for seed in range(40)}
    return {mutant.applied(encoded).decode() for mutants in drawn.values() for mutant in mutants}


@pytest.mark.parametrize(
    "source, expected",
    [
        ("a + b * c", {"(a - b * c)", "a + (b + c)"}),
        ("(a - b) / c", {"((a + b)) / c", "((a - b) * c)"}),
        ("a ** -b", {"(a * -b)", "a ** (b)"}),
        (
            "0 <= a is not b",
            {f"{n} <= a is not b" for n in ("1", "(-1)")} | {f"0 {sign} a is not b" for sign in "<>"} | {"0 <= a is b"},
        ),
        (
            "a and (b or c)",
            {"((a) or (b or c))", "((b or c))", "((a))", "a and (((b) and (c)))", "a and (((b)))", "a and (((c)))"},
        ),
        ("a[b:c]", {"a[:c]", "a[b:]"}),
        ("f(a, b, key=c)", {"f(b, a, key=c)", "f(a, b)", "pass"}),
        ("max(a, b)", {"min(a, b)", "pass"}),
        ("sorted(a)", {"(a)", "pass"}),
        ("a += True", {"a -= True", "a += False", "pass"}),
        ("a.b = c", {"pass"}),
        ("[a for a in b if a]", {"[a for a in b if (not (a))]"}),
        ("a if b else 'c'", {"a if (not (b)) else 'c'"}),
        ("def f():\n    return a", {"def f():\n    return None"}),
        ("def f():\n    return 0.5", {"def f():\n    return 1.5", "def f():\n    return -0.5", "def f():\n    return (-0.5)"}),
        ("for a in b:\n    break", {"for a in b:\n    continue"}),
        ("lambda a: not a", {"lambda a: (a)"}),
    ],
)
def test_every_kind_of_change(source, expected):
    found = changed(source)
    assert found <= expected and len(found) >= len(expected) - 1


def test_what_is_not_code_is_left_alone():
    tree = ast.parse(SOURCE)
    code = {"3", "4", "0.5", "6"}
    for mutant in sample({"one": SOURCE}, count_places("one", SOURCE), 0):
        mutated = ast.parse(mutant.applied(SOURCE))
        assert ast.dump(mutated) != ast.dump(tree)
        if mutant.kind == "constant":
            assert SOURCE[mutant.start : mutant.stop].decode() in code
        assert mutant.line == SOURCE[: mutant.start].count(b"\n") + 1 >= 6
        for kept in (b"1 + 1", b"5 * 5", b"1 - 2", b"list[0]"):
            assert SOURCE.count(kept) == mutant.applied(SOURCE).count(kept)


def test_samples_are_in_proportion_and_repeatable():
    long = SOURCE + b"".join(b"X%d = 1 + 1\n" % n for n in range(10))
    sources = {"short": SOURCE, "long": long}
    short, total = count_places("short", SOURCE), count_places("short", SOURCE) + count_places("long", long)
    drawn = sample(sources, 20, 0)
    assert len(drawn) == len({(one.path, one.start, one.stop) for one in drawn}) == 20
    assert abs(sum(one.path == "short" for one in drawn) - 20 * short / total) < 1
    assert drawn == sample(sources, 20, 0) != sample(sources, 20, 1)
    of_short = [one for one in drawn if one.path == "short"]
    assert of_short == [one for one in sample({**sources, "long": long.replace(b"X", b"Y")}, 20, 0) if one.path == "short"]


def test_a_mutant_has_a_name_as_long_as_its_file_stays():
    one, other = Mutant("a.py", 1, "constant", 0, 1, "2"), Mutant("a.py", 1, "constant", 0, 1, "0")
    assert one.applied(b"1 + 1") == b"2 + 1" and one.diff(b"1 + 1") == "- 1 + 1\n+ 2 + 1"
    assert len({one.identity(b"1 + 1"), other.identity(b"1 + 1"), one.identity(b"1 + 2")}) == 3


def test_verdicts_outlive_a_run_that_was_killed(tmp_path):
    path = tmp_path / "verdicts.jsonl"
    record = Record(path)
    record.add("one", Verdict("survived", "", 2.0, 3.0))
    record.add("one", Verdict("killed", "tests/test_a.py::test_b", 1.0, 1.5))
    record.add("two", Verdict("timed out", "", 30.0, 31.0))
    whole = path.read_text()
    path.write_text(whole + whole[:20])
    again = Record(path)
    assert again.last == record.last and again.first == record.first
    assert again.first["one"].status == "survived" and again.last["one"].by == "tests/test_a.py::test_b"
    assert path.read_text() == whole


def test_every_room_has_its_files_and_tests(pytestconfig):
    for room in ROOMS:
        files = room.files(pytestconfig.rootpath)
        assert files and all(room_of(path) is room for path in files)
        assert all((pytestconfig.rootpath / test).exists() for test in room.test_files())
    assert selection("tensorly_rnn/decomposition/fitting/refit.py")[:2] == [
        "tensorly_rnn/decomposition/fitting/refit.py",
        "tests/test_refit.py",
    ]
