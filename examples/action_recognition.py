"""
Recognizing actions and faces in videos, end to end
===================================================

Both papers' main experiment: an LSTM reads six frames of a clip, 160 x 120 x 3 = 57600 numbers each, and says what the clip
shows. A dense ``torch.nn.LSTM`` of 256 hidden units is compared with the TT-, TR-, BT- and HT-LSTM, which replace its
input-hidden matrix, with a layer-wise HT-LSTM, which replaces both matrices one by one, and with the FDHT-LSTM, which
replaces both by one decomposition, all at the papers' sizes and ranks.

The data are UCF11 (``--task ucf11``: 11 actions, 1600 clips) or Youtube Celebrities (``--task youtube``: 47 subjects, 1910
clips). ``--data`` names the folder of the real ones; without it a stand-in is written to disk as MPEG files in the same layout
and read back by the same loader. In UCF11's, sprites made of scikit-learn's digits move over textured backgrounds in 11
ways; in Youtube Celebrities', 47 sprites of their own colour and form are to be told apart. The six frames are drawn
at random once for each clip. Clips of one group (the same source video) are never both trained and tested on.

What a run shows: a table of accuracies and parameters beside the papers'; training curves (fig. 6 of the BT paper), epochs
to 60 % accuracy among them; accuracy against parameters (fig. 6 of the HT paper); how noise on the test clips, and one random
order of the pixels, change the accuracy (section 2 of the BT paper). The last lines say of every ordering that the papers
claim whether the data reproduces it: *reproduced* if all seeds agree with it, *not reproduced* if all contradict it,
*undecided* otherwise. On a stand-in that says something about the systems and the stand-in, not about the real videos.

At full size (half an hour on two cores) TT- and HT-LSTM are ahead of the dense LSTM on all seeds; the FDHT-LSTM is not. The
numbers are in ``docs/experiments.md``.

::

    python examples/action_recognition.py                             # UCF11, 3 seeds
    python examples/action_recognition.py --quick                     # a look in less than a minute
    python examples/action_recognition.py --task youtube
    python examples/action_recognition.py --data UCF11_updated_mpg    # CLASS/v_GROUP_01/v_GROUP_01_01.mpg
    python examples/action_recognition.py --task youtube --data ytcelebrity    # 0001_01_001_first_last.avi

An epoch is ``--clips-per-epoch`` of the training clips, drawn anew each time, the same for all systems: the dense LSTM's
are what takes the time. Training is as in the HT paper, Adam in batches of 16 with dropout 0.25; its L2 term is off
(``--weight-decay``), as so short a training needs none. The dense LSTM has a learning rate of its own, for which it was tried
with 1e-4, 3e-4 and 1e-3 on the stand-in, and learned most in the same number of steps with the second; the TT-LSTM was
tried with 1e-3 and 3e-3, and the other compact systems take over its rate.

If it is killed at any moment, the same command resumes and gives the same results; options or data that
differ are refused, and ``--fresh`` discards what there is. The folder ``action_recognition_results`` (or ``--output``) keeps
the stand-in's videos and the decoded frames, so that later runs need not make them again.

``results.csv`` has one line for each seed and system; shares are between 0 and 1, parameters exclude the biases:

===================================================  ===================================================================
data, seed, system, factorization, rank, decompose   what was trained on what
pixels                                               ``in order`` or ``permuted``
epochs, train_clips, test_clips, chance              length and sizes; share of the largest class of test clips
input_hidden_parameters, input_hidden_ratio          count, and the dense LSTM's count over it; empty where one
                                                     decomposition holds both matrices
recurrent_parameters, recurrent_ratio                the same for the whole recurrent layer
accuracy, average_accuracy, kappa                    on all test clips: share recognized, mean of that over the classes,
                                                     Cohen's kappa
published_accuracy                                   the papers', on the real data
epochs_to_60_percent                                 first epoch with that accuracy on the watched test clips
``accuracy_at_noise_...``                            on the test clips under normal noise of that deviation, white being 1
seconds_per_epoch                                    median, training alone
===================================================  ===================================================================

``curves.csv`` has seed, system, pixels, epoch, loss (training), accuracy (on a fixed sample of the test clips) and
seconds; ``claims.csv`` the orderings with their verdicts and numbers.
"""

# sphinx_gallery_thumbnail_path = "images/action_clips.png"

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rich.console import Console

from learning.systems import System
from learning.training import ParameterCount
from learning.trial_options import chosen_systems
from learning.trials import Outcome, Trial, run_trials
from papers.published import LAYERS
from running.options import mistakes_in_one_line, parse
from running.report import make_console, write_csv
from video.claims import check_claims
from video.clips import Clips
from video.frames import INPUTS, Frames
from video.options import QUICK_RUN, make_parser, training_settings
from video.pictures import draw_clips, draw_curves, draw_sensitivity, draw_sizes
from video.plan import Plan, obtain_frames, prepare
from video.recognition import PERMUTED, Recipe, Recognition
from video.report import describe_clips, noise_lines, report_claims, video_curve_rows, video_rows, video_table


def systems_at(tt: str, ht: str, fdht: str) -> tuple[System, ...]:
    """Return the compact systems, at settings of those names among the published layers."""
    layers = {"TT-LSTM": tt, "TR-LSTM": "TR-LSTM", "BT-LSTM": "BT-LSTM, R = 4", "HT-LSTM": ht, "FDHT-LSTM": fdht}
    systems = [replace(LAYERS[name].system, title=title) for title, name in layers.items()]
    layerwise = replace(LAYERS[ht].system, name="layerwise", title="layer-wise HT-LSTM", decompose="layerwise")
    return (*systems, layerwise)


SYSTEMS = {
    "ucf11": systems_at("TT-LSTM", "HT-LSTM", "FDHT-LSTM"),
    "youtube": systems_at("TT-LSTM, Youtube", "HT-LSTM, Youtube", "FDHT-LSTM, Youtube"),
}
PUBLISHED = {
    "ucf11": {"dense LSTM": 69.7, "TT-LSTM": 79.6, "BT-LSTM": 85.3, "TR-LSTM": 86.9, "HT-LSTM": 87.2, "FDHT-LSTM": 87.5},
    "youtube": {"dense LSTM": 33.2, "TT-LSTM": 75.5, "HT-LSTM": 88.1, "FDHT-LSTM": 88.2},
}
PERMUTED_TOO = ("tt", "bt")
NOISE_LEVELS = (0.25, 0.5, 1.0, 2.0)
HIDDEN = 256
DENSE_PARAMETERS = ParameterCount(4 * HIDDEN * INPUTS, 4 * HIDDEN * (INPUTS + HIDDEN))


def make_plan(arguments: list[str] | None) -> Plan:
    """Read the command line and check whatever can be wrong before anything is made or trained."""
    parser = make_parser(
        "Recognize actions or faces in videos with dense and compact LSTMs.",
        SYSTEMS,
        epochs=16,
        clips_per_epoch=320,
        dropout=0.25,
        output=Path("action_recognition_results"),
    )
    options = parse(parser, QUICK_RUN, arguments)
    recipe = Recipe(HIDDEN, INPUTS, options.watched_clips, options.dropout, NOISE_LEVELS, pixels=True)
    systems = chosen_systems(options, SYSTEMS[options.task])
    with mistakes_in_one_line(parser, options.output):
        return prepare(options, systems, training_settings(options), recipe)


def run_all(plan: Plan, clips: Clips, frames: Frames, console: Console) -> list[Outcome]:
    """Train and test every system with every seed and show the progress."""
    splits = plan.splits(clips)
    for split in splits:
        console.print(describe_clips(split), soft_wrap=True)
    # The dense LSTM first: it takes longest.
    trained = [(system, "") for system in plan.systems]
    trained += [(system, PERMUTED) for system in plan.systems if system and system.name in PERMUTED_TOO]
    device = plan.settings.device
    trials = [
        (Trial(system, split.seed, variant), Recognition(frames, clips, split, plan.recipe, device, variant == PERMUTED))
        for system, variant in trained
        for split in splits
    ]
    return run_trials(trials, plan.settings, plan.checkpoints, console)


def write_results(plan: Plan, clips: Clips, frames: Frames, outcomes: list[Outcome], console: Console) -> None:
    """Write the tables and pictures, and say what of the papers is reproduced; nothing is left to go on with."""
    published = PUBLISHED[plan.task]
    write_csv(plan.output / "results.csv", list(video_rows(outcomes, plan.source, published, DENSE_PARAMETERS)))
    write_csv(plan.output / "curves.csv", list(video_curve_rows(outcomes)))
    claims = list(check_claims(outcomes, published))
    draw_clips(plan.output / "clips.png", frames, clips)
    draw_curves(plan.output / "training_curves.png", outcomes)
    draw_sizes(plan.output / "accuracy_against_parameters.png", outcomes)
    draw_sensitivity(plan.output / "sensitivity.png", outcomes, NOISE_LEVELS)
    heading = f"{plan.task}: {plan.settings.epochs} epochs of {plan.settings.samples_per_epoch} clips, seeds: {plan.seeds}"
    console.print(video_table(outcomes, heading, published, DENSE_PARAMETERS))
    lines = [
        *noise_lines(outcomes, NOISE_LEVELS),
        f"data: {plan.source}",
        f"written to {plan.output}: tables (csv) and pictures (png)",
        *report_claims(plan.output / "claims.csv", claims, plan.seeds),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    plan.checkpoints.discard()


def main(arguments: list[str] | None = None) -> None:
    """Run the comparison from the command line."""
    plan = make_plan(arguments)
    console = make_console(quiet=False)
    for line in plan.checkpoint_lines:
        console.print(line, soft_wrap=True)
    clips, frames = obtain_frames(plan, console)
    write_results(plan, clips, frames, run_all(plan, clips, frames, console), console)


if __name__ == "__main__":
    main()
