"""Show a comparison on the terminal and in CSV files."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator

from rich.table import Table

from learning.comparison import COMPRESSED, SCRATCH, Run, Split
from learning.training import ParameterCount
from running.report import count_and_ratio, make_table, mean_and_deviation, percent, ratio, unique


def describe_split(split: Split) -> str:
    """Say how large the two sets of a split are and which classes it leaves out."""
    left_out = f"; no test pixel of {', '.join(split.left_out)}" if split.left_out else ""
    return (
        f"{split.name} split, seed {split.seed}: {len(split.train_index):,} training and "
        f"{len(split.test_index):,} test pixels, chance {split.chance:.1%}{left_out}"
    )


def result_rows(runs: list[Run], source: str) -> Iterator[dict[str, object]]:
    """Yield one line for each run."""
    dense = dense_parameters(runs)
    for run in runs:
        split, system, parameters = run.split, run.system, run.parameters
        yield {
            "data": source,
            "split": split.name,
            "seed": split.seed,
            "system": run.title,
            "factorization": system and system.factorization,
            "rank": system and system.rank,
            "decompose": system and system.decompose,
            "how": run.how,
            "epochs": run.history[-1].epoch,
            "train_pixels": len(split.train_index),
            "test_pixels": len(split.test_index),
            "left_out": ", ".join(split.left_out),
            "chance": split.chance,
            "input_hidden_parameters": parameters.input_hidden,
            "input_hidden_ratio": ratio(dense.input_hidden, parameters.input_hidden),
            "recurrent_parameters": parameters.recurrent,
            "recurrent_ratio": ratio(dense.recurrent, parameters.recurrent),
            "accuracy_before_fine_tuning": run.before,
            **dataclasses.asdict(run.scores),
            "seconds_per_epoch": run.seconds_per_epoch,
        }


def curve_rows(runs: list[Run]) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each run."""
    for run in runs:
        names = {"split": run.split.name, "seed": run.split.seed, "system": run.title, "how": run.how}
        for epoch in run.history:
            measured = {"loss": epoch.loss, "accuracy": epoch.watched, "seconds": epoch.seconds}
            yield names | {"epoch": epoch.epoch} | measured


def results_table(runs: list[Run], title: str) -> Table:
    """Lay the runs out with a line for each split and system, averaged over the seeds."""
    dense = [run for run in runs if run.system is None]
    splits = unique(run.split.name for run in runs)
    handed_over = ", ".join(
        f"{split} {mean_and_deviation(percent(run.before for run in dense if run.split.name == split))}" for split in splits
    )
    caption = (
        "Parameters without biases, and how many times fewer than the dense LSTM's. Accuracy on the test pixels in %: "
        "mean ± standard deviation over the seeds. "
        f"The dense LSTM when it was compressed: {handed_over}."
    )
    table = make_table(title, caption)
    table.add_column("system", no_wrap=True)
    for heading in ("input-hidden", "whole layer", "scratch", "compressed", "fine-tuned", "s/epoch"):
        table.add_column(heading, justify="right")
    for split in splits:
        chosen = [run for run in runs if run.split.name == split]
        chance = 100 * statistics.mean(run.split.chance for run in chosen)
        table.add_row(f"[bold]{split}[/bold], chance {chance:.1f}")
        for name in unique(run.title for run in chosen):
            table.add_row(name, *system_cells([run for run in chosen if run.title == name], dense_parameters(runs)))
        table.add_section()
    return table


def system_cells(runs: list[Run], dense: ParameterCount) -> tuple[str, ...]:
    """Return the cells that follow the name of a system in the table."""
    scratch = [run for run in runs if run.how == SCRATCH]
    compressed = [run for run in runs if run.how == COMPRESSED]
    own = runs[0].parameters
    return (
        count_and_ratio(own.input_hidden, dense.input_hidden),
        count_and_ratio(own.recurrent, dense.recurrent),
        mean_and_deviation(percent(run.scores.accuracy for run in scratch)),
        mean_and_deviation(percent(run.before for run in compressed)),
        mean_and_deviation(percent(run.scores.accuracy for run in compressed)),
        f"{statistics.mean(run.seconds_per_epoch for run in scratch):.2f}",
    )


def dense_parameters(runs: list[Run]) -> ParameterCount:
    """Return the counts of the dense LSTM."""
    return next(run.parameters for run in runs if run.system is None)
