"""The claims of the papers about accuracy, convergence and robustness, compared with the results of a run."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from learning.systems import DENSE
from learning.trials import Outcome, of
from video.recognition import NOISE_SCORE, PERMUTED

REPRODUCED, REVERSED, OPEN = "reproduced", "not reproduced", "undecided"
TT, TR, BT, HT, FDHT, LAYERWISE = (
    "TT-LSTM", "TR-LSTM", "BT-LSTM", "HT-LSTM", "FDHT-LSTM", "layer-wise HT-LSTM",
)  # fmt: skip
ORDERINGS = (
    (TT, DENSE), (BT, DENSE), (TR, DENSE), (HT, DENSE), (FDHT, DENSE), (BT, TT), (HT, TT), (TR, BT), (HT, TR), (FDHT, TT),
    (FDHT, HT), (FDHT, LAYERWISE),
)  # fmt: skip
GOAL = 0.6


@dataclass(frozen=True)
class Claim:
    """That one number is larger than another.

    Attributes
    ----------
    text : str
    larger, smaller : list of float
        Seed by seed.
    unit : str
    published : str
        The papers' own numbers.
    """

    text: str
    larger: list[float]
    smaller: list[float]
    unit: str
    published: str

    @property
    def verdict(self) -> str:
        """Whether all seeds agree with it, all contradict it, or neither."""
        differences = [large - small for large, small in zip(self.larger, self.smaller)]
        if all(difference > 0 for difference in differences):
            return REPRODUCED
        return REVERSED if all(difference < 0 for difference in differences) else OPEN

    @property
    def measured(self) -> str:
        """The two means."""
        return f"{statistics.mean(self.larger):.3g} to {statistics.mean(self.smaller):.3g} {self.unit}"

    @property
    def line(self) -> str:
        """The verdict, the claim and the numbers."""
        return f"{self.verdict}: {self.text}: {self.measured} (papers: {self.published})"

    def row(self) -> dict[str, object]:
        """Return the claim for a table."""
        return {
            "claim": self.text,
            "verdict": self.verdict,
            "larger": statistics.mean(self.larger),
            "smaller": statistics.mean(self.smaller),
            "unit": self.unit,
            "seeds": len(self.larger),
            "published": self.published,
        }


def percents(outcomes: Sequence[Outcome]) -> list[float]:
    """Return the accuracies in per cent."""
    return [100 * outcome.scores["accuracy"] for outcome in outcomes]


def epochs_needed(outcomes: Sequence[Outcome], goal: float) -> list[float]:
    """Return how many epochs the seeds took to an accuracy; those that never came there count one more than they had."""
    return [outcome.epochs_to(goal) or outcome.history[-1].epoch + 1 for outcome in outcomes]


def noise_accuracies(outcome: Outcome) -> list[float]:
    """Return the accuracies under noise, level by level."""
    return [value for name, value in outcome.scores.items() if name.startswith(NOISE_SCORE)]


def drops_by_noise(outcomes: Sequence[Outcome]) -> list[float]:
    """Return how much accuracy the noise takes away, mean over its levels, in per cent."""
    return [100 * (outcome.scores["accuracy"] - statistics.mean(noise_accuracies(outcome))) for outcome in outcomes]


def check_claims(outcomes: Sequence[Outcome], published: dict[str, float]) -> Iterator[Claim]:
    """Yield the papers' claims that a run has something to say about.

    Parameters
    ----------
    outcomes : sequence of Outcome
    published : dict of str to float
        Accuracy of systems by title, in per cent; a claim about others is none of the papers'.
    """

    def papers(larger: str, smaller: str) -> str:
        return f"{published[larger]:g} to {published[smaller]:g} %" if {larger, smaller} <= published.keys() else ""

    for better, worse in ORDERINGS:
        numbers = "fig. 6 of the HT paper" if worse == LAYERWISE and better in published else papers(better, worse)
        if of(outcomes, better) and of(outcomes, worse) and numbers:
            text = f"{better} is more accurate than {worse}"
            yield Claim(text, percents(of(outcomes, better)), percents(of(outcomes, worse)), "%", numbers)
    yield from compared(outcomes, DENSE, BT, epochs_needed_to_goal, f"{DENSE} takes more epochs to {GOAL:.0%} than {BT}",
                        "epochs (never is one more than trained)", "230 to 16")  # fmt: skip
    yield from compared(outcomes, TT, BT, early_losses, f"early training loss of {TT} is above that of {BT}",
                        "nats", "fig. 6 (a) of the BT paper")  # fmt: skip
    if all(noise_accuracies(outcome) for outcome in of(outcomes, TT) + of(outcomes, BT)):
        yield from compared(outcomes, TT, BT, drops_by_noise, f"noise takes more accuracy from {TT} than from {BT}", "%",
                            "section 2 of the BT paper, no number")  # fmt: skip
    if of(outcomes, TT, PERMUTED) and of(outcomes, BT, PERMUTED):
        drops = {
            title: [a - b for a, b in zip(percents(of(outcomes, title)), percents(of(outcomes, title, PERMUTED)))]
            for title in (TT, BT)
        }
        text = f"permuted pixels take more accuracy from {TT} than from {BT}"
        yield Claim(text, drops[TT], drops[BT], "%", "section 2 of the BT paper, no number")


def compared(
    outcomes: Sequence[Outcome],
    larger: str,
    smaller: str,
    measure: Callable[[Sequence[Outcome]], list[float]],
    text: str,
    unit: str,
    published: str,
) -> Iterator[Claim]:
    """Yield a claim that a measure of one system is larger than another's, if both were trained."""
    if of(outcomes, larger) and of(outcomes, smaller):
        yield Claim(text, measure(of(outcomes, larger)), measure(of(outcomes, smaller)), unit, published)


def epochs_needed_to_goal(outcomes: Sequence[Outcome]) -> list[float]:
    """Return how many epochs the seeds took to the BT paper's 60 %."""
    return epochs_needed(outcomes, GOAL)


def early_losses(outcomes: Sequence[Outcome]) -> list[float]:
    """Return the mean training loss of the first half of the epochs."""
    return [statistics.mean(epoch.loss for epoch in outcome.history[: -(-len(outcome.history) // 2)]) for outcome in outcomes]
