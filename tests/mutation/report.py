"""Verdicts kept in a file as they come, and what is said of them."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.mutation.mutants import Mutant, count_places
from tests.mutation.suite import ROOMS
from tests.mutation.trial import Verdict


class Record:
    """Verdicts by a mutant's name, the first and the last; in a file with a line for each, which only grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.first: dict[str, Verdict] = {}
        self.last: dict[str, Verdict] = {}
        lines = path.read_text().split("\n") if path.exists() else [""]
        for line in lines[:-1]:
            fields = json.loads(line)
            self._take(fields.pop("mutant"), Verdict(**fields))
        if lines[-1]:
            # A run was killed as it wrote.
            path.write_text("".join(f"{line}\n" for line in lines[:-1]))

    def add(self, identity: str, verdict: Verdict) -> None:
        """Keep a verdict."""
        with self.path.open("a") as file:
            file.write(json.dumps({"mutant": identity, **dataclasses.asdict(verdict)}) + "\n")
            file.flush()
            os.fsync(file.fileno())
        self._take(identity, verdict)

    def _take(self, identity: str, verdict: Verdict) -> None:
        self.first.setdefault(identity, verdict)
        self.last[identity] = verdict


def write(console: Console, folder: Path, mutants: Mapping[str, Mutant], sources: Mapping[str, bytes], record: Record) -> None:
    """Print the scores of every room, and write the survivors with their changes."""
    columns = ("room", "places", "mutants", "killed", "timed out", "survived", "score", "score at first")
    table = Table(*columns, title="Mutants that the suite notices", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    paths = {room.name: [path for path in sources if any(path.startswith(one) for one in room.paths)] for room in ROOMS}
    for name, files in (*paths.items(), ("all", list(sources))):
        own = [identity for identity, mutant in mutants.items() if mutant.path in files and identity in record.last]
        places = sum(count_places(path, sources[path]) for path in files)
        last, first = ([verdicts[one].status for one in own] for verdicts in (record.last, record.first))
        counts = [last.count(status) for status in ("killed", "timed out", "survived")]
        scores = [f"{1 - one.count('survived') / max(len(one), 1):.1%}" for one in (last, first)]
        table.add_row(name, *map(str, (places, len(own), *counts)), *scores, end_section=name == ROOMS[-1].name)
    console.print(table)
    tried = {identity: record.last[identity] for identity in mutants if identity in record.last}
    survivors = sorted(
        (identity for identity, verdict in tried.items() if verdict.status == "survived"),
        key=lambda identity: (mutants[identity].path, mutants[identity].line),
    )
    lines = []
    for identity in survivors:
        mutant = mutants[identity]
        lines += [f"`{mutant.path}:{mutant.line}`, {mutant.kind} ({identity})", "", "```diff"]
        lines += [mutant.diff(sources[mutant.path]), "```", ""]
    (folder / "survivors.md").write_text("\n".join(lines))
    seconds = sum(verdict.processor_seconds for verdict in tried.values())
    console.print(f"{seconds / max(len(tried), 1):.1f} s of the processor a mutant. Survivors: {folder / 'survivors.md'}")
