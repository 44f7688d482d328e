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

::

    python examples/recover_weight.py                    # 5 seeds, a few minutes on 2 cores
    python examples/recover_weight.py --quick            # one seed and few epochs
    python examples/recover_weight.py --data w0.npy      # another 64 x 64 matrix

Interrupted at any moment, even by SIGKILL, the same command goes on where it was and ends with the same results; options,
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

from __future__ import annotations

import argparse
import dataclasses
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from atomic import replacing
from checkpoint import Checkpoints, digest, versions
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from options import parse, positive
from parallel import run_jobs
from recovery import DENSE, FORMATS, RANKS, Case, Recovered, Settings, cases, direct_error, load_picture, recover
from report import make_console, make_progress, write_csv
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from style import STYLE

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
    """What the command line asks for, checked."""

    wanted: np.ndarray
    source: str
    seeds: int
    settings: Settings
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path


def run_all(plan: Plan, console: Console) -> tuple[list[Recovered], dict[str, float]]:
    """Train all cases and decompose W0 in the form of each; show the progress."""
    chosen = cases()
    jobs = [
        partial(recover, case, seed, plan.wanted, plan.settings, plan.checkpoints)
        for seed in range(plan.seeds)
        for case in chosen
    ]
    with make_progress(console) as progress:
        bar = progress.add_task("decomposing W0", total=len(chosen) + len(jobs) * plan.settings.epochs)
        floors = {}
        for case in chosen:
            floors[case.name] = direct_error(case, plan.wanted)
            progress.update(bar, advance=1)

        def show(report: tuple[str, int]) -> None:
            what, epochs = report
            progress.update(bar, advance=epochs, description=what)

        return run_jobs(jobs, show, torch.device("cpu")), floors


def parameters(case: Case) -> int:
    """Count what a case trains."""
    return sum(parameter.numel() for parameter in case.layer.make(device="meta").parameters())


def result_rows(runs: list[Recovered], floors: dict[str, float], source: str) -> list[dict[str, object]]:
    """Return one line for each run."""
    rows = []
    for run in runs:
        case, system = run.case, run.case.layer.system
        rows.append(
            {
                "data": source,
                "panel": case.panel,
                "setting": SETTINGS[case.panel],
                "format": case.format,
                "rank": system and system.rank,
                "modes": system and f"{system.input_modes} {system.hidden_modes}",
                "parameters": parameters(case),
                "seed": run.seed,
                "error": run.error,
                "decomposition_error": floors[case.name],
                "seconds": sum(epoch.seconds for epoch in run.history),
            }
        )
    return rows


def curve_rows(runs: list[Recovered]) -> list[dict[str, object]]:
    """Return one line for each epoch of each run."""
    return [
        {"panel": run.case.panel, "format": run.case.format, "seed": run.seed}
        | {"epoch": epoch.epoch, "loss": epoch.loss, "error": epoch.watched, "seconds": epoch.seconds}
        for run in runs
        for epoch in run.history
    ]


def results_table(runs: list[Recovered], floors: dict[str, float], seeds: int) -> Table:
    """Lay the cases out, averaged over the seeds."""
    caption = (
        "Relative Frobenius error in %. Learnt: mean ± standard deviation over the seeds, and the best of them. "
        "Decomposed: W0 itself at the same rank."
    )
    title = f"W0 recovered from y = W0 x; seeds: {seeds}"
    table = Table(title=title, caption=caption, box=SIMPLE_HEAD, title_justify="left", caption_justify="left", pad_edge=False)
    table.add_column("panel")
    table.add_column("format")
    table.add_column("rank")
    for heading in ("parameters", "learnt", "best", "decomposed"):
        table.add_column(heading, justify="right")
    for case in cases():
        errors = [100 * run.error for run in runs if run.case == case]
        spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
        system = case.layer.system
        if case.format in (DENSE, FORMATS[0]):
            table.add_section()
        table.add_row(
            f"({case.panel}) {SETTINGS[case.panel]}" if case.format in (DENSE, FORMATS[0]) else "",
            case.format if system is None else case.format.upper(),
            "" if system is None else str(system.rank),
            f"{parameters(case):,}",
            f"{statistics.mean(errors):.1f}{spread}",
            f"{min(errors):.1f}",
            f"{100 * floors[case.name]:.1f}",
        )
    return table


def draw(path: Path, wanted: np.ndarray, runs: list[Recovered], floors: dict[str, float]) -> None:
    """Draw W0 and the dense matrix on the left, what each format learnt from the first seed beside them."""
    limit = float(abs(wanted).max())
    first = {run.case.name: run for run in runs if run.seed == 0}
    with plt.style.context(STYLE | {"axes.grid": False, "axes.spines.top": True, "axes.spines.right": True}):
        figure, axes = plt.subplots(len(RANKS), 1 + len(FORMATS), figsize=(11, 10.4), layout="constrained")

        def show(axis: Axes, picture: np.ndarray, title: str) -> AxesImage:
            axis.set_title(title, fontsize=9)
            axis.set(xticks=[], yticks=[])
            return axis.imshow(picture, cmap="cividis", vmin=-limit, vmax=limit, interpolation="nearest")

        dense = first[f"b-{DENSE}"]
        image = show(axes[0, 0], wanted, f"(a) W0\n{wanted.size:,} numbers")
        show(axes[1, 0], dense.matrix, f"(b) dense, {parameters(dense.case):,}\nerror {dense.error:.1%}")
        for axis in axes[2:, 0]:
            axis.set_axis_off()
        for panel, line in zip(RANKS, axes, strict=True):
            for name, axis in zip(FORMATS, line[1:], strict=True):
                run = first[f"{panel}-{name}"]
                count = f"{name.upper()}, {parameters(run.case):,} parameters"
                title = f"({panel}) {SETTINGS[panel]}\n{count}" if name == FORMATS[0] else count
                show(axis, run.matrix, title)
                axis.set_xlabel(f"error {run.error:.1%}; decomposed {floors[run.case.name]:.1%}", fontsize=8)
        figure.colorbar(image, ax=axes[2:, 0], location="left", fraction=0.12, aspect=14, label="entry of the matrix")
        with replacing(path) as file:
            figure.savefig(file)
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
    settings = Settings(options.epochs, options.samples, options.batch_size, options.learning_rate, options.noise)
    try:
        wanted, source = load_picture(options.data)
        fingerprint = {"data": digest(wanted), "seeds": options.seeds, **dataclasses.asdict(settings), **versions()}
        options.output.mkdir(parents=True, exist_ok=True)
        checkpoints = Checkpoints(options.output / "checkpoints", fingerprint)
        if options.fresh:
            checkpoints.discard()
        lines = checkpoints.check()
    except OSError as error:
        parser.error(f"cannot write to the folder {options.output}: {error.strerror}")
    except ValueError as error:
        parser.error(str(error))
    return Plan(wanted, source, options.seeds, settings, checkpoints, lines, options.output)


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    runs, floors = run_all(plan, console)
    write_csv(plan.output / "results.csv", result_rows(runs, floors, plan.source))
    write_csv(plan.output / "curves.csv", curve_rows(runs))
    draw(plan.output / "recovered.png", plan.wanted, runs, floors)
    console.print(results_table(runs, floors, plan.seeds))
    console.print(f"data: {plan.source}\nwritten to {plan.output}: tables (csv) and a picture (png)", soft_wrap=True)
    plan.checkpoints.discard()


if __name__ == "__main__":
    main()
