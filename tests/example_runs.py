"""Start example programs as their users do, kill them, and read back what they wrote."""

import csv
import importlib
import subprocess
import sys
import time
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def start(program, *arguments, launcher=()):
    command = [sys.executable, *launcher, str(EXAMPLES / program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run(program, *arguments, launcher=()):
    process = start(program, *arguments, launcher=launcher)
    printed, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "Warning" not in errors
    return printed


def kill_at(path, process):
    """Kill the program as soon as there is such a file; what it has started ends by itself."""
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.kill()
    process.communicate()  # returns when all processes that could write have ended


def interrupt_and_go_on(task, trial, settings, folder):
    """Return the losses, scores and what is shown of a trial: in one go, and interrupted after the first epoch."""
    from learning.trials import run_trial
    from running.checkpoint import Checkpoints

    def interrupt(report):
        if report[1]:
            raise InterruptedError

    whole, broken = (Checkpoints(folder / name, {}) for name in ("whole", "broken"))
    with pytest.raises(InterruptedError):
        run_trial(task, trial, settings, broken, interrupt)
    reports = []
    found = [run_trial(task, trial, settings, states, reports.append) for states in (broken, whole)]
    assert [epochs for _, epochs in reports] == [1, *[1] * (settings.epochs - 1), 0, *[1] * settings.epochs]
    return [([(epoch.loss, epoch.watched) for epoch in one.history], one.scores, one.shown) for one in found]


def wrong_flag(program, arguments, capsys):
    """Return what a program, imported by its name, writes to the error stream before it ends with exit status 2."""
    main = importlib.import_module(program).main
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, arguments)])
    return capsys.readouterr().err


def table(path, without=()):
    with path.open(encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name not in without} for row in csv.DictReader(file)]


def assert_not_blank(path):
    pixels = matplotlib.image.imread(path)[..., :3]
    assert min(pixels.shape[:2]) > 400
    assert len(np.unique((pixels.reshape(-1, 3) * 15).round(), axis=0)) > 10
    assert 0.02 < np.mean((pixels < 0.9).any(axis=-1)) < 0.9
