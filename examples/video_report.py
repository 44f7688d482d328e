"""Show what was recognized in videos: tables on the terminal and on files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from claims import Claim
from comparison import Split
from recognition import Result, of
from report import MISSING, count_and_ratio, mean_and_deviation, ratio, unique, write_csv
from rich.box import SIMPLE_HEAD
from rich.table import Table
from training import ParameterCount


def describe_clips(split: Split) -> str:
    """Say how many clips the two sets of a split have."""
    left_out = f"; no test clip of {', '.join(split.left_out)}" if split.left_out else ""
    return (
        f"seed {split.seed}: {len(split.train_index):,} training and {len(split.test_index):,} test clips, "
        f"chance {split.chance:.1%}{left_out}"
    )


def title(result: Result) -> str:
    """Return the name of a system, and of the order of its pixels."""
    return f"{result.title}, pixels permuted" if result.permuted else result.title


def result_rows(
    results: Sequence[Result], source: str, levels: Sequence[float], published: dict[str, float], dense: ParameterCount
) -> Iterator[dict[str, object]]:
    """Yield one line for each system and seed."""
    for result in results:
        system, parameters, noise = result.system, result.parameters, result.noise
        yield {
            "data": source,
            "seed": result.split.seed,
            "system": result.title,
            "pixels": "permuted" if result.permuted else "in order",
            "factorization": system and system.factorization,
            "rank": system and system.rank,
            "decompose": system and system.decompose,
            "epochs": result.history[-1].epoch,
            "train_clips": len(result.split.train_index),
            "test_clips": len(result.split.test_index),
            "chance": result.split.chance,
            "input_hidden_parameters": parameters.input_hidden,
            "input_hidden_ratio": ratio(dense.input_hidden, parameters.input_hidden),
            "recurrent_parameters": parameters.recurrent,
            "recurrent_ratio": ratio(dense.recurrent, parameters.recurrent),
            **dataclasses.asdict(result.scores),
            "published_accuracy": round(published.get(result.title, 0) / 100, 4) or None,
            "epochs_to_60_percent": result.epochs_to(0.6),
            **{f"accuracy_at_noise_{level:g}": value for level, value in zip(levels, noise)},
            "seconds_per_epoch": result.seconds_per_epoch,
        }


def curve_rows(results: Sequence[Result]) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each system and seed."""
    for result in results:
        names = {"seed": result.split.seed, "system": result.title, "pixels": "permuted" if result.permuted else "in order"}
        for epoch in result.history:
            yield names | {"epoch": epoch.epoch, "loss": epoch.loss, "accuracy": epoch.watched, "seconds": epoch.seconds}


def results_table(results: Sequence[Result], heading: str, published: dict[str, float], dense: ParameterCount) -> Table:
    """Lay the systems out, averaged over the seeds, beside the papers' accuracies."""
    caption = (
        "Parameters without biases, and how many times fewer than the dense LSTM's. Accuracy on all test clips in %: mean ± "
        "standard deviation over the seeds. The papers' accuracies are on the real data."
    )
    table = Table(
        title=heading, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False
    )
    table.add_column("system", no_wrap=True)
    for column in ("input-hidden", "whole layer", "accuracy", "papers'", "epochs to 60 %", "s/epoch"):
        table.add_column(column, justify="right")
    for name in unique(title(result) for result in results):
        chosen = [result for result in results if title(result) == name]
        first = chosen[0]
        reached = [result.epochs_to(0.6) for result in chosen]
        table.add_row(
            name,
            count_and_ratio(first.parameters.input_hidden, dense.input_hidden),
            count_and_ratio(first.parameters.recurrent, dense.recurrent),
            mean_and_deviation(result.scores.accuracy for result in chosen),
            f"{published[first.title]:.1f}" if first.title in published and not first.permuted else MISSING,
            ", ".join(MISSING if epoch is None else str(epoch) for epoch in reached),
            f"{sum(result.seconds_per_epoch for result in chosen) / len(chosen):.2f}",
        )
    return table


def noise_lines(results: Sequence[Result], levels: Sequence[float]) -> Iterator[str]:
    """Yield a line for each system that was tested under noise."""
    for name in unique(result.title for result in results if result.noise and not result.permuted):
        chosen = of(results, name)
        shares = [
            f"{mean_and_deviation(result.noise[place] for result in chosen)} at {level:g}"
            for place, level in enumerate(levels)
        ]
        yield f"{name} under noise: {', '.join(shares)}"


def report_claims(path: Path, claims: Sequence[Claim], seeds: int) -> list[str]:
    """Write the table of claims, if there are any; return lines that say of each whether the data reproduces it."""
    if not claims:
        return ["No ordering that the papers claim is among these systems."]
    write_csv(path, [claim.row() for claim in claims])
    heading = f"Orderings of the papers on this data{', one seed' if seeds == 1 else ''}:"
    return [heading, *(claim.line for claim in claims)]
