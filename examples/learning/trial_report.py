"""Tables of trials: CSV rows and the table on the terminal, with mean and standard deviation over the seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table

from learning.training import ParameterCount
from learning.trials import Outcome
from running.report import count_and_ratio, make_table, mean_and_deviation, ratio, unique

Column = Callable[[list[Outcome]], str]


def result_rows(outcomes: Sequence[Outcome], source: str, dense: ParameterCount) -> Iterator[dict[str, object]]:
    """Yield one line for each trial; ``dense`` has the counts of the dense LSTM."""
    for outcome in outcomes:
        system, parameters = outcome.trial.system, outcome.parameters
        yield {
            "data": source,
            "seed": outcome.trial.seed,
            "system": outcome.trial.title,
            "factorization": system and system.factorization,
            "rank": system and system.rank,
            "decompose": system and system.decompose,
            "epochs": outcome.history[-1].epoch,
            "input_hidden_parameters": parameters.input_hidden,
            "input_hidden_ratio": ratio(dense.input_hidden, parameters.input_hidden),
            "recurrent_parameters": parameters.recurrent,
            "recurrent_ratio": ratio(dense.recurrent, parameters.recurrent),
            "model_parameters": outcome.model_parameters,
            **outcome.scores,
            "seconds_per_epoch": outcome.seconds_per_epoch,
        }


def curve_rows(outcomes: Sequence[Outcome], loss: str, watched: str) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each trial, with names for the loss and for what was watched."""
    for outcome in outcomes:
        for epoch in outcome.history:
            names = {"seed": outcome.trial.seed, "system": outcome.trial.title, "epoch": epoch.epoch}
            yield names | {loss: epoch.loss, watched: epoch.watched, "seconds": epoch.seconds}


def results_table(
    outcomes: Sequence[Outcome], title: str, caption: str, dense: ParameterCount, columns: Mapping[str, Column]
) -> Table:
    """Lay the trials out with a line for each system, averaged over the seeds.

    Parameters
    ----------
    outcomes : sequence of Outcome
    title, caption : str
    dense : ParameterCount
        Of the dense LSTM.
    columns : mapping of str to callable
        What stands between the parameters and the time: headings, and functions of the outcomes of one system.
    """
    shown: dict[str, Column] = {
        "input-hidden": lambda same: count_and_ratio(same[0].parameters.input_hidden, dense.input_hidden),
        "whole layer": lambda same: count_and_ratio(same[0].parameters.recurrent, dense.recurrent),
        **columns,
        "s/epoch": lambda same: f"{sum(outcome.seconds_per_epoch for outcome in same) / len(same):.2f}",
    }
    table = make_table(title, caption)
    table.add_column("system", no_wrap=True)
    for heading in shown:
        table.add_column(heading, justify="right")
    for name, same in by_system(outcomes).items():
        table.add_row(name, *(column(same) for column in shown.values()))
    return table


def by_system(outcomes: Sequence[Outcome]) -> dict[str, list[Outcome]]:
    """Return the outcomes of each system and variant, seed by seed."""
    names = unique(outcome.trial.full_title for outcome in outcomes)
    return {name: [outcome for outcome in outcomes if outcome.trial.full_title == name] for name in names}


def score_of(name: str, digits: int = 1) -> Column:
    """Return a column of scores, mean and standard deviation over the seeds, with so many decimals."""
    return lambda same: mean_and_deviation((outcome.scores[name] for outcome in same), digits)
