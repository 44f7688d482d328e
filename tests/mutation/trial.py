"""One mutant on trial: a forked process, in which everything but the library is imported already, runs the suite."""

import os
import py_compile
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cotengra  # noqa: F401  imported for all trials, as the others
import hypothesis
import jax  # noqa: F401
import pytest
import scipy.linalg  # noqa: F401
import torch  # noqa: F401

from tests.mutation.suite import room_of, selection

#: Examples of every property; a mutant is noticed or not, so that none is made simpler.
EXAMPLES = 3
#: A trial may take so many times the suite's processor time, and at least so many seconds.
PATIENCE, LEAST = 3, 10
#: Hypothesis is imported before pytest could rewrite its assertions.
OPTIONS = ("-q", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning")
#: Bytes a trial may allocate: some mutants never stop asking for more.
MEMORY = 6 << 30


@dataclass(frozen=True)
class Verdict:
    """How a trial ended: 'survived', 'killed' or 'timed out'; by which test, after how many seconds, of the processor and in all."""

    status: str
    by: str
    processor_seconds: float
    seconds: float


@contextmanager
def scratch_copy(root: Path, folder: Path) -> Iterator[Path]:
    """A working copy in which files may be changed, removed in the end."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("tensorly_rnn", "tests", "examples", "docs"):
        shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(root / name, folder / name)
    for path in (folder / "tensorly_rnn").rglob("*.py"):
        # By the source's hash: two versions of a file may be of one size and one second.
        py_compile.compile(str(path), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def trial(copy: Path, path: str, limit: float, log: Path, options: Sequence[str] = ("-x", "--tb=line")) -> Verdict:
    """Run the tests of a mutated file in a forked process, until one fails.

    Parameters
    ----------
    copy : Path
        Working copy.
    path : str
        The mutated file, whose room's tests are run.
    limit : float
        Seconds of the processor's time; ten times as many in all.
    log : Path
        File of what pytest prints.
    options : sequence of str
        Of pytest.
    """
    reader, writer = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run(copy, path, limit, log, options, writer)
    os.close(writer)
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            break
        if time.monotonic() - start > 10 * limit:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    with os.fdopen(reader) as lines:
        by = lines.readline().strip()
    late = os.WIFSIGNALED(status) and os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL)
    verdict = "survived" if status == 0 else "timed out" if late else "killed"
    return Verdict(verdict, by, usage.ru_utime + usage.ru_stime, time.monotonic() - start)


class _Reduced:
    """Plugin of pytest: few examples of every property, the tests left out, and the name of the test that fails."""

    def __init__(self, writer: int, left_out: Sequence[str]) -> None:
        self.writer, self.left_out = writer, left_out

    def pytest_configure(self) -> None:
        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutation", deadline=None, max_examples=EXAMPLES, derandomize=True, database=None, phases=phases
        )
        hypothesis.settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        left_out = [one for one in items if any(part in one.name for part in self.left_out)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            os.write(self.writer, f"{report.nodeid}\n".encode())

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            os.write(self.writer, f"import of {report.nodeid}\n".encode())


def _run(copy: Path, path: str, limit: float, log: Path, options: Sequence[str], writer: int) -> None:
    status = 99
    try:
        output = os.open(log, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        os.dup2(output, 1)
        os.dup2(output, 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit) + 1, int(limit) + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
        os.chdir(copy)
        sys.path.insert(0, str(copy))
        for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "tensorly_rnn")]:
            del sys.modules[name]
        _few_examples()
        status = pytest.main([*OPTIONS, *options, *selection(path)], plugins=[_Reduced(writer, room_of(path).left_out)])
        assert status != 0 or Path(sys.modules["tensorly_rnn"].__file__).is_relative_to(copy)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(status))


def _few_examples() -> None:
    """Let tests that ask for more examples than others have no more than the others."""
    original = hypothesis.settings.__init__

    def reduced(self: hypothesis.settings, *args: object, **keywords: object) -> None:
        if "max_examples" in keywords:
            keywords["max_examples"] = min(keywords["max_examples"], EXAMPLES)
        original(self, *args, **keywords)

    hypothesis.settings.__init__ = reduced
