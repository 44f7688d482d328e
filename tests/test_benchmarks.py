"""The benchmark of speed runs, and its arithmetic is right; how fast anything is, is no test."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks.speed import cases, growth, report, timing


def row(system, ms, ratio, measure="training", title="one", case="a", package="tensorly-rnn"):
    about = {"case": case, "title": title, "precision": "float32", "measure": measure}
    return {**about, "system": system, "package": package, "ms": ms, "ratio": ratio}


@pytest.mark.slow
def test_the_program_measures_a_small_case_and_writes_it_down(tmp_path):
    command = [sys.executable, "-m", "tests.benchmarks.speed", "--quick", "--cases", "d", "--output", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent.parent)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "speed.json").read_text())
    systems = [system.name for system in cases.cases("d", quick=True)[0].systems]
    assert [one["system"] for one in record["rows"]] == 3 * systems
    for one in record["rows"]:
        assert one["ms"] > 0 and one["ratio"] > 0 and len(one["samples"]) == 1
        assert one["compression"] == 1 if one["system"] == "dense" else one["compression"] >= cases.COMPRESSION
    dense = [one for one in record["rows"] if one["system"] == "dense"]
    assert [one["n_param"] for one in dense] == [2 * 4 * 64 * 64] * 3
    got = {one["target"]: one["got"] for one in record["targets"]}
    worst = min(one["ratio"] for one in record["rows"] if one["measure"] == "training" and one["system"] != "dense")
    assert got["(d) training, dense over all of ours"] == worst
    assert got["(b) training, dense over all of ours"] is None
    assert (tmp_path / "speed_d_float32.png").stat().st_size > 10_000
    assert "(d) LSTM 64 -> 64, T = 35, B = 20, float32" in done.stdout


@pytest.mark.parametrize("key, count", [("a", 11), ("b", 19), ("c", 18), ("d", 18), ("e", 4 * 19)])
def test_cases_have_every_format_and_way(key, count):
    assert sum(len(case.systems) for case in cases.cases(key, quick=False)) == count
    assert all(case.systems[0].name == "dense" for case in cases.cases(key, quick=False))


@pytest.mark.slow
def test_case_a_has_the_papers_parameters():
    systems = {system.name: system.make for system in cases.papers().systems}
    counts = {"tt": 3360, "tr": 1725, "bt": 3392, "ht": 1245}
    for name, n_param in counts.items():
        layer = systems[name]()
        assert cases.n_weights(layer) - 4 * 256 * 256 == layer.weight_ih_l0.n_param == n_param
    assert cases.n_weights(systems["fdht"]()) == 8808


def test_a_layer_made_quickly_starts_like_one_made_properly():
    torch.manual_seed(0)
    layer = cases.started(cases.FactorizedLSTM, 60, 64, factorization="tr", rank=3)
    std = 1 / math.sqrt(3 * 64)
    assert 0.5 * std < layer.weight_ih_l0.matrix().std().item() < 2 * std
    assert all(torch.isfinite(parameter).all() for parameter in layer.parameters())


def test_ratios_are_of_medians_and_their_spread_is_that_of_the_rounds():
    found = timing.compared({"dense": [4.0, 6.0, 9.0], "ours": [2.0, 1.0, 3.0]}, "dense")["ours"]
    assert found["ms"] == 2000.0 and found["ms_quartiles"] == [1500.0, 2500.0]
    assert found["ratio"] == 3.0
    assert found["ratio_quartiles"] == [2.5, 4.5]  # of 2, 6, 3


def test_every_call_is_sampled_in_every_round_and_a_slow_one_once(monkeypatch):
    monkeypatch.setattr(timing, "LEAST_SECONDS", 0.0)
    times = {"fast": 0.5, "slow": 4.0, "tiring": 1.0}
    monkeypatch.setattr(timing, "seconds", lambda call, setting, number=1: call() * 1.0)
    called = []
    calls = {name: lambda name=name: called.append(name) or times[name] for name in times}
    found = timing.sampled(calls, timing.Setting("cpu", "float32", rounds=5, patience=3.0))
    assert {name: len(one) for name, one in found.items()} == {"fast": 5, "slow": 1, "tiring": 3}
    assert found["slow"] == [4.0] and called.count("slow") == 1


def test_a_target_takes_the_worst_of_its_systems():
    rows = [row("dense", 90.0, 1.0, package="torch"), row("tt", 3.0, 30.0), row("tr", 2.0, 45.0), row("bt", 9.0, 10.0)]
    rows += [row("TedNet TT", 48.0, 90 / 48, package="tednet"), row("tt", 1.0, 99.0, measure="forward")]
    assert report.judged(rows, report.Target("a", "training", 40, ("tt", "tr"))) == (30.0, "tt")
    assert report.judged(rows, report.Target("a", "training", 5)) == (10.0, "bt")
    assert report.judged(rows, report.Target("a", "training", 15, ("tt",), "TedNet TT")) == (16.0, "tt")
    assert report.judged(rows, report.Target("a", "training", 6, ("tr",), "TedNet TR")) is None
    assert report.judged(rows, report.Target("b", "training", 1)) is None


def test_verdicts_say_met_and_missed():
    rows = [row("tt", 1.0, 41.0), row("tr", 1.0, 40.5), row("tt", 1.0, 31.0, "forward"), row("tr", 1.0, 29.0, "forward")]
    found = report.verdicts(rows, "cpu", "float32")
    assert [one["met"] for one in found[:2]] == [True, False]
    assert found[1]["by"] == "tr" and found[1]["got"] == 29.0
    assert all(one["got"] is None for one in found[2:])
    assert report.verdicts(rows, "cpu", "bfloat16") == []


def test_slopes_are_those_of_powers():
    rows = [
        {"sweep": "rank", "format": "tt", "value": r, "forward": 3 * r**2, "training": 5 * r, "flops": 7} for r in (2, 4, 8)
    ]
    found = growth.slopes(rows)["rank", "tt"]
    assert found == pytest.approx({"forward": 2.0, "training": 1.0, "flops": 0.0}, abs=1e-12)
