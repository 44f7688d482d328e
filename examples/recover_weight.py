"""
A picture recovered through its matrix
======================================

The control experiment of Ye et al., *Learning compact recurrent neural networks with block-term tensor decomposition*, CVPR
2018, fig. 9: a 64 x 64 matrix W0 that is a picture is learnt by gradient descent from y = W0 x, with x drawn from N(0, 0.5)
(variance) and seen with a little noise. W is dense, a block term matrix at the paper's four settings, and in the other formats
at the rank whose number of parameters is next to that. Beside the error of what was learnt stands that of decomposing W0
itself at the same rank (`factorize`): what gradient descent from a random start loses against it.

With two modes all four formats can hold the same matrices (of one rank once rearranged), so that they must come to the same
errors; with four modes they differ. The panels keep the letters of the paper's figure: (c) d = 2, R = 1, N = 1, (d) R = 4,
(e) N = 2 and (f) d = 4, R = 4. The paper does not give its picture: W0 is a ring and a cross made here, or ``--data``.

At full size (two minutes on two cores) every format comes within 0.2 % of the best that there is for two modes; with four
the ring is ahead. The numbers are in ``docs/experiments.md``.

::

    python examples/recover_weight.py                    # 5 seeds, a few minutes on 2 cores
    python examples/recover_weight.py --quick            # one seed and few epochs
    python examples/recover_weight.py --data w0.npy      # another 64 x 64 matrix

If it is interrupted at any moment, even by SIGKILL, the same command resumes and gives the same results; options,
data or versions that differ from the interrupted run's are refused, and ``--fresh`` discards it.

The folder ``recover_weight_results`` (or ``--output``) receives ``recovered.png``, W0 and what was learnt from the first seed,
and two tables. ``results.csv`` has a line for each panel, format and seed:

======================  ==================================================================================================
data                    which W0
panel, setting          letter of the paper's figure, and what it says there
format, rank            what held W
modes                   of the inputs and of the outputs
parameters, seed
error                   relative Frobenius error of the learnt W after the last epoch
decomposition_error     that of decomposing W0 at the same rank, the best of several starts; 0 for the dense matrix. With
                        two modes nothing is better; with four a little is possible
seconds                 of training
======================  ==================================================================================================

``curves.csv`` has panel, format, seed, epoch, loss, error and seconds.
"""

# sphinx_gallery_thumbnail_path = "images/recovered.png"

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from rich.console import Console
from rich.table import Table

from learning.trials import Outcome, Settings, Trial, run_trials
from papers.recovery import DENSE, FORMATS, RANKS, Recovery, cases, direct_error, load_picture
from running.checkpoint import Checkpoints, digest, open_checkpoints
from running.options import mistakes_in_one_line, parse, positive
from running.report import make_console, make_progress, make_table, mean_and_deviation, percent, write_csv
from running.style import STYLE

SETTINGS = {
    "b": "dense",
    "c": "d = 2, R = 1, N = 1",
    "d": "d = 2, R = 4, N = 1",
    "e": "d = 2, R = 1, N = 2",
    "f": "d = 4, R = 4, N = 1",
}
QUICK_RUN = {"seeds": 1, "epochs": 20, "samples": 2048, "learning_rate": 2e-2}


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line."""

    wanted: np.ndarray
    source: str
    seeds: int
    samples: int
    noise: float
    settings: Settings
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path


def decompose(plan: Plan, console: Console) -> dict[str, float]:
    """Return the error of decomposing W0 in the form of each case; show the progress."""
    errors = {}
    with make_progress(console) as progress:
        for case in progress.track(cases(), description="decomposing W0"):
            errors[case.name] = direct_error(case, plan.wanted)
    return errors


def learn(plan: Plan, console: Console) -> dict[str, list[Outcome]]:
    """Train all cases; return what they came to, seed by seed, by the cases' names."""
    chosen = cases()
    trials = [
        (
            Trial(case.layer.system, seed, case.panel),
            Recovery(plan.wanted, case.layer, plan.samples, plan.noise, seed),
        )
        for seed in range(plan.seeds)
        for case in chosen
    ]
    outcomes = run_trials(trials, plan.settings, plan.checkpoints, console)
    return {case.name: outcomes[place :: len(chosen)] for place, case in enumerate(chosen)}


def result_rows(outcomes: dict[str, list[Outcome]], errors: dict[str, float], source: str) -> Iterator[dict[str, object]]:
    """Yield one line for each case and seed."""
    for case in cases():
        system = case.layer.system
        for outcome in outcomes[case.name]:
            yield {
                "data": source,
                "panel": case.panel,
                "setting": SETTINGS[case.panel],
                "format": case.format,
                "rank": system and system.rank,
                "modes": system and f"{system.input_modes} {system.hidden_modes}",
                "parameters": outcome.model_parameters,
                "seed": outcome.trial.seed,
                "error": outcome.scores["error"],
                "decomposition_error": errors[case.name],
                "seconds": sum(epoch.seconds for epoch in outcome.history),
            }


def curve_rows(outcomes: dict[str, list[Outcome]]) -> Iterator[dict[str, object]]:
    """Yield one line for each epoch of each case and seed."""
    for case in cases():
        for outcome in outcomes[case.name]:
            names = {"panel": case.panel, "format": case.format, "seed": outcome.trial.seed}
            for epoch in outcome.history:
                yield names | {"epoch": epoch.epoch, "loss": epoch.loss, "error": epoch.watched, "seconds": epoch.seconds}


def results_table(outcomes: dict[str, list[Outcome]], errors: dict[str, float], seeds: int) -> Table:
    """Lay the cases out, averaged over the seeds."""
    caption = (
        "Relative Frobenius error in %. Learnt: mean ± standard deviation over the seeds, and the best of them. "
        "Decomposed: W0 itself at the same rank."
    )
    table = make_table(f"W0 recovered from y = W0 x; seeds: {seeds}", caption)
    for heading in ("panel", "format", "rank"):
        table.add_column(heading)
    for heading in ("parameters", "learnt", "best", "decomposed"):
        table.add_column(heading, justify="right")
    for case in cases():
        same, system = outcomes[case.name], case.layer.system
        learnt = percent(outcome.scores["error"] for outcome in same)
        heads_panel = case.format in (DENSE, FORMATS[0])
        if heads_panel:
            table.add_section()
        table.add_row(
            f"({case.panel}) {SETTINGS[case.panel]}" if heads_panel else "",
            case.format if system is None else case.format.upper(),
            "" if system is None else str(system.rank),
            f"{same[0].model_parameters:,}",
            mean_and_deviation(learnt),
            f"{min(learnt):.1f}",
            f"{100 * errors[case.name]:.1f}",
        )
    return table


def draw(path: Path, wanted: np.ndarray, outcomes: dict[str, list[Outcome]], errors: dict[str, float]) -> None:
    """Draw W0 and the dense matrix on the left, what each format learnt from the first seed beside them."""
    limit = float(abs(wanted).max())
    with plt.style.context(STYLE | {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        figure, axes = plt.subplots(len(RANKS), 1 + len(FORMATS), figsize=(11, 10.4), layout="constrained")

        def show(axis: Axes, picture: Sequence[Sequence[float]] | np.ndarray, title: str) -> AxesImage:
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
            return axis.imshow(picture, cmap="cividis", vmin=-limit, vmax=limit, interpolation="nearest")

        dense = outcomes[f"b-{DENSE}"][0]
        image = show(axes[0, 0], wanted, f"(a) W0\n{wanted.size:,} numbers")
        show(axes[1, 0], dense.shown, f"(b) dense, {dense.model_parameters:,}\nerror {dense.scores['error']:.1%}")
        for axis in axes[2:, 0]:
            axis.set_axis_off()
        for panel, line in zip(RANKS, axes, strict=True):
            for name, axis in zip(FORMATS, line[1:], strict=True):
                first = outcomes[f"{panel}-{name}"][0]
                count = f"{name.upper()}, {first.model_parameters:,} parameters"
                title = f"({panel}) {SETTINGS[panel]}\n{count}" if name == FORMATS[0] else count
                show(axis, first.shown, title)
                errors_here = f"error {first.scores['error']:.1%}; decomposed {errors[f'{panel}-{name}']:.1%}"
                axis.set_xlabel(errors_here, fontsize=8)
        figure.colorbar(image, ax=axes[2:, 0], location="left", fraction=0.12, aspect=14, label="entry of the matrix")
        figure.savefig(path)
        plt.close(figure)


def make_parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        description="Learn a matrix that is a picture, dense and in factors.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one seed and few epochs, for a look")
    add("--seeds", type=positive(int), default=5, help="number of repetitions")
    add("--epochs", type=positive(int), default=100, help="passes over the samples")
    add("--samples", type=positive(int), default=4096, help="vectors x to learn from")
    add("--batch-size", type=positive(int), default=128, help="samples a step")
    add("--learning-rate", type=positive(float), default=5e-3, help="of Adam")
    add("--noise", type=positive(float), default=0.05, help="standard deviation of what is added to x")
    add("--output", type=Path, default=Path("recover_weight_results"), help="folder for tables and pictures")
    add("--fresh", action="store_true", help="discard what an interrupted run left there and start anew")
    add("--data", type=Path, help="a 64 x 64 matrix in an .npy file in place of the picture made here")
    return parser


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line and check whatever can be wrong before anything is trained."""
    parser = make_parser()
    options = parse(parser, QUICK_RUN, arguments)
    settings = Settings(options.epochs, options.batch_size, options.learning_rate, torch.device("cpu"))
    with mistakes_in_one_line(parser, options.output):
        wanted, source = load_picture(options.data)
        fingerprint = {"data": digest(wanted), "seeds": options.seeds, "samples": options.samples, "noise": options.noise}
        checkpoints, lines = open_checkpoints(
            options.output / "checkpoints", fingerprint | settings.fingerprint(), fresh=options.fresh
        )
    return Plan(
        wanted, source, options.seeds, options.samples, options.noise, settings, checkpoints, lines, options.output,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    errors = decompose(plan, console)
    outcomes = learn(plan, console)
    write_csv(plan.output / "results.csv", list(result_rows(outcomes, errors, plan.source)))
    write_csv(plan.output / "curves.csv", list(curve_rows(outcomes)))
    draw(plan.output / "recovered.png", plan.wanted, outcomes, errors)
    console.print(results_table(outcomes, errors, plan.seeds))
    console.print(f"data: {plan.source}\nwritten to {plan.output}: tables (csv) and a picture (png)", soft_wrap=True)
    plan.checkpoints.discard()


if __name__ == "__main__":
    main()
