"""Mutation testing: draw mutants, put each on trial, and say which survive.

    python -m tests.mutation [--mutants 300] [--seed 0] [--output DIR] [--again] [--only ID,ID]

Every trial ends at the first test that fails. Verdicts are written to `DIR/verdicts.jsonl` one by one: a run that was stopped goes
on where it was. `--again` tries those anew that survived, after tests were added; the table then has both scores. The survivors
with their changes are in `DIR/survivors.md`.
"""

import argparse
import hashlib
import os
import random
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.mutation import report
from tests.mutation.mutants import Mutant, sample
from tests.mutation.suite import ROOMS, Room, room_of
from tests.mutation.trial import LEAST, PATIENCE, Verdict, scratch_copy, trial

ROOT = Path(__file__).resolve().parents[2]
#: Of the environment.
SETTINGS = {"TEST_BACKENDS": "numpy", "OMP_NUM_THREADS": "1"}
#: Seconds for the tests where nothing is changed.
LIMIT = 600


def main() -> None:
    """Put the mutants on trial that have no verdict yet, and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=300, help="how many to draw (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("build/mutation"), help="default: build/mutation")
    parser.add_argument("--again", action="store_true", help="try those that survived once more")
    parser.add_argument("--only", metavar="ID,ID", help="try these once more")
    options = parser.parse_args()
    if options.mutants < 1:
        parser.error(f"--mutants must be at least 1; got {options.mutants}")
    if any(os.environ.get(name) != value for name, value in SETTINGS.items()):
        # Linear algebra reads them when it is imported: threads that wait for one another would be counted as work.
        os.execve(sys.executable, [sys.executable, "-m", "tests.mutation", *sys.argv[1:]], os.environ | SETTINGS)
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console()

    sources = {path: (ROOT / path).read_bytes() for room in ROOMS for path in room.files(ROOT)}
    drawn = sample(sources, options.mutants, options.seed)
    # Those tried so far are a sample of all rooms at any time.
    random.Random(options.seed).shuffle(drawn)
    mutants = {mutant.identity(sources[mutant.path]): mutant for mutant in drawn}
    record = report.Record(options.output / "verdicts.jsonl")
    waiting = {identity for identity in mutants if identity not in record.last}
    if options.again:
        waiting |= {identity for identity in mutants if identity in record.last and record.last[identity].status == "survived"}
    if options.only:
        waiting = set(options.only.split(","))
        if unknown := waiting - set(mutants):
            parser.error(f"--only must name mutants of this sample; got {', '.join(sorted(unknown))}")

    if waiting:
        with scratch_copy(ROOT, options.output.resolve() / "copy") as copy, progress(console) as bar:
            log = options.output.resolve() / "log.txt"
            limits = {room.name: limit_of(room, copy, log, record, console) for room in ROOMS}
            task = bar.add_task("", total=len(waiting))
            for identity in [one for one in mutants if one in waiting]:
                mutant = mutants[identity]
                bar.update(task, description=f"{mutant.path}:{mutant.line}", refresh=True)
                verdict = tried(copy, mutant, sources[mutant.path], limits[room_of(mutant.path).name], log)
                record.add(identity, verdict)
                bar.advance(task)
    report.write(console, options.output, mutants, sources, record)


def limit_of(room: Room, copy: Path, log: Path, record: report.Record, console: Console) -> float:
    """Return the seconds that a trial may take: the room's tests must pass where nothing is changed, and see a deadly change."""
    files = b"".join((ROOT / path).read_bytes() for path in (*room.test_files(), *room.files(ROOT)))
    digest = hashlib.sha256(repr(room).encode() + files).hexdigest()[:10]
    identity = f"{room.name} {digest}"
    if identity not in record.last:
        path = room.files(ROOT)[0]
        whole = trial(copy, path, LIMIT, log)
        if whole.status != "survived":
            raise SystemExit(f"The tests of {room.name} fail without a mutant: {whole.by}; see {log}")
        source = (copy / path).read_bytes()
        deadly = Mutant(path, 1, "import", 0, 0, "import nothing_of_that_name\n")
        if tried(copy, deadly, source, LIMIT, log).status != "killed":
            raise SystemExit(f"The tests of {room.name} do not see that {path} cannot be imported; see {log}")
        record.add(identity, whole)
    whole = record.last[identity]
    console.print(
        f"{room.name}: {whole.processor_seconds:.1f} s of the processor, {whole.seconds:.1f} s in all without a mutant"
    )
    return max(LEAST, PATIENCE * whole.processor_seconds)


def tried(copy: Path, mutant: Mutant, source: bytes, limit: float, log: Path) -> Verdict:
    """Put a mutant on trial in the working copy, which is as before afterwards."""
    path = copy / mutant.path
    path.write_bytes(mutant.applied(source))
    try:
        return trial(copy, mutant.path, limit, log)
    finally:
        path.write_bytes(source)


def progress(console: Console) -> Progress:
    """Make a bar that draws itself only when told to: processes are forked, which threads do not outlive."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal)


if __name__ == "__main__":
    main()
