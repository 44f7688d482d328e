"""Show what was recognized in videos: tables on the terminal and on files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rich.table import Table

from learning.comparison import Split
from learning.training import ParameterCount
from learning.trial_report import curve_rows, result_rows, results_table
from learning.trials import Outcome, of
from running.report import MISSING, mean_and_deviation, percent, unique, write_csv
from video.claims import GOAL, Claim
from video.recognition import noise_score

IN_ORDER = "in order"


def describe_clips(split: Split) -> str:
    """Say how many clips the two sets of a split have."""
    left_out = f"; no test clip of {', '.join(split.left_out)}" if split.left_out else ""
    return (
        f"seed {split.seed}: {len(split.train_index):,} training and {len(split.test_index):,} test clips, "
        f"chance {split.chance:.1%}{left_out}"
    )


def video_rows(
    outcomes: Sequence[Outcome], source: str, published: Mapping[str, float], dense: ParameterCount
) -> Iterator[dict[str, object]]:
    """Yield one line for each trial: the common columns, and those about pixels and about the papers' accuracies."""
    for row, outcome in zip(result_rows(outcomes, source, dense), outcomes):
        yield row | {
            "pixels": outcome.trial.variant or IN_ORDER,
            "published_accuracy": round(published.get(outcome.trial.title, 0) / 100, 4) or None,
            f"epochs_to_{100 * GOAL:.0f}_percent": outcome.epochs_to(GOAL),
        }


def video_curve_rows(outcomes: Sequence[Outcome]) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each trial."""
    for outcome in outcomes:
        for row in curve_rows([outcome], "loss", "accuracy"):
            yield row | {"pixels": outcome.trial.variant or IN_ORDER}


def video_table(outcomes: Sequence[Outcome], heading: str, published: Mapping[str, float], dense: ParameterCount) -> Table:
    """Lay the systems out, averaged over the seeds, beside the papers' accuracies."""
    caption = (
        "Parameters without biases, and how many times fewer than the dense LSTM's. Accuracy on all test clips in %: mean ± "
        "standard deviation over the seeds. The papers' accuracies are on the real data."
    )

    def papers(same: list[Outcome]) -> str:
        known = same[0].trial.title in published and not same[0].trial.variant
        return f"{published[same[0].trial.title]:.1f}" if known else MISSING

    columns = {
        "accuracy": lambda same: mean_and_deviation(percent(outcome.scores["accuracy"] for outcome in same)),
        "papers'": papers,
        f"epochs to {GOAL:.0%}": lambda same: ", ".join(str(outcome.epochs_to(GOAL) or MISSING) for outcome in same),
    }
    return results_table(outcomes, heading, caption, dense, columns)


def noise_lines(outcomes: Sequence[Outcome], levels: Sequence[float]) -> Iterator[str]:
    """Yield a line for each system that was tested under noise."""
    for name in unique(outcome.trial.title for outcome in outcomes):
        same = of(outcomes, name)
        shares = [
            f"{mean_and_deviation(percent(outcome.scores[noise_score(level)] for outcome in same))} at {level:g}"
            for level in levels
        ]
        yield f"{name} under noise: {', '.join(shares)}"


def report_claims(path: Path, claims: Sequence[Claim], seeds: int) -> list[str]:
    """Write the table of claims, if there are any; return lines that say of each whether the data reproduces it."""
    if not claims:
        return ["No ordering that the papers claim is among these systems."]
    write_csv(path, [claim.row() for claim in claims])
    heading = f"Orderings of the papers on this data{', one seed' if seeds == 1 else ''}:"
    return [heading, *(claim.line for claim in claims)]
