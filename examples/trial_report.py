"""Tables of trials: CSV rows and the table on the terminal, with mean and standard deviation over the seeds."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence

from report import count_and_ratio, unique
from rich.box import SIMPLE_HEAD
from rich.table import Table
from trials import Outcome


def result_rows(outcomes: Sequence[Outcome], source: str) -> Iterator[dict[str, object]]:
    """Yield one line for each trial."""
    dense = dense_input_hidden(outcomes)
    for outcome in outcomes:
        system = outcome.trial.system
        yield {
            "data": source,
            "seed": outcome.trial.seed,
            "system": outcome.trial.title,
            "factorization": system and system.factorization,
            "rank": system and system.rank,
            "epochs": outcome.history[-1].epoch,
            "input_hidden_parameters": outcome.input_hidden,
            "input_hidden_ratio": dense / outcome.input_hidden,
            "model_parameters": outcome.total,
            **outcome.scores,
            "seconds_per_epoch": outcome.seconds_per_epoch,
        }


def curve_rows(outcomes: Sequence[Outcome], loss: str, watched: str) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each trial, with names for the loss and for what was watched."""
    for outcome in outcomes:
        for epoch in outcome.history:
            names = {"seed": outcome.trial.seed, "system": outcome.trial.title, "epoch": epoch.epoch}
            yield names | {loss: epoch.loss, watched: epoch.watched, "seconds": epoch.seconds}


def results_table(outcomes: Sequence[Outcome], title: str, caption: str, columns: Mapping[str, str]) -> Table:
    """Lay the trials out with a line for each system, averaged over the seeds.

    Parameters
    ----------
    outcomes : sequence of Outcome
    title, caption : str
    columns : mapping of str to str
        Scores to show, with their headings.
    """
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False)
    table.add_column("system", no_wrap=True)
    for heading in ("input-hidden", "whole model", *columns.values(), "s/epoch"):
        table.add_column(heading, justify="right")
    for name, same in by_system(outcomes).items():
        table.add_row(
            name,
            count_and_ratio(same[0].input_hidden, dense_input_hidden(outcomes)),
            f"{same[0].total:,}",
            *(mean_and_deviation(outcome.scores[score] for outcome in same) for score in columns),
            f"{statistics.mean(outcome.seconds_per_epoch for outcome in same):.2f}",
        )
    return table


def by_system(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each system, seed by seed."""
    names = unique(outcome.trial.title for outcome in outcomes)
    return {name: [outcome for outcome in outcomes if outcome.trial.title == name] for name in names}


def dense_input_hidden(outcomes: Sequence[Outcome]) -> int:
    """Return the size of the dense LSTM's input-hidden matrix."""
    return next(outcome.input_hidden for outcome in outcomes if outcome.trial.system is None)


def mean_and_deviation(values: Iterable[float]) -> str:
    """Write the mean of some values with their sample standard deviation if there are several."""
    values = list(values)
    mean = f"{statistics.mean(values):.1f}"
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean
