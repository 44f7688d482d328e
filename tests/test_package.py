"""The version, licence, tools and CI commands agree wherever they are stated."""

import importlib
import re
import tomllib
from pathlib import Path

import yaml

import tensorly_rnn

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def read(name):
    return yaml.safe_load((ROOT / name).read_text())


def test_the_version_stands_in_one_place():
    assert re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc|\.dev)\d+)?", tensorly_rnn.__version__)
    assert PROJECT["project"]["dynamic"] == ["version"]
    assert PROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "tensorly_rnn._version.__version__"}
    assert "version" not in read("CITATION.cff")


def test_the_citation_is_of_this_project_and_both_papers():
    citation, project = read("CITATION.cff"), PROJECT["project"]
    assert citation["cff-version"] == "1.2.0" and citation["message"]
    assert citation["license"] == project["license"] and citation["keywords"] == project["keywords"]
    assert [one["name"] for one in citation["authors"]] == [one["name"] for one in project["authors"]]
    readme = " ".join((ROOT / "README.md").read_text().split()).lower()
    assert len(citation["references"]) == 2
    for paper in citation["references"]:
        first, year = paper["authors"][0]["family-names"], paper["year"]
        assert paper["title"].lower() in readme and f"{first} et al.".lower() in readme and f"cvpr {year}" in readme


def test_the_command_is_there():
    room, _, name = PROJECT["project"]["scripts"]["tensorly-rnn"].partition(":")
    assert callable(getattr(importlib.import_module(room), name))


def test_hosted_ci_runs_what_is_run_at_home():
    jobs = read(".github/workflows/ci.yml")["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    # Public actions, of a version.
    assert all(re.fullmatch(r"actions/[\w-]+@v\d+", step["uses"]) for step in steps if "uses" in step)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_hooks_are_the_tools_of_the_extra_lint():
    pinned = dict(re.findall(r"^([\w-]+)==(.+)$", (ROOT / "tests" / "constraints.txt").read_text(), flags=re.MULTILINE))
    extra = {re.match(r"[\w-]+", one)[0] for one in PROJECT["project"]["optional-dependencies"]["lint"]}
    hooks = [hook for repository in read(".pre-commit-config.yaml")["repos"] for hook in repository["hooks"]]
    used = {hook["entry"].split()[0] for hook in hooks}
    assert {hook["language"] for hook in hooks} == {"system"}
    assert used == {"ruff", "mypy"} and used | {"pre-commit"} == extra and used < set(pinned)


def test_what_is_tested_includes_every_extra_for_users():
    extras = PROJECT["project"]["optional-dependencies"]
    (own,) = [one for one in extras["test"] if one.startswith("tensorly-rnn[")]
    assert {"cli", "examples", "testing"} <= set(own[len("tensorly-rnn[") : -1].split(","))
