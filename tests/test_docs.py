"""The code in the README and the docs runs."""

import contextlib
import doctest
import re
import shlex
import sys
from pathlib import Path

import pytest

from tensorly_rnn.cli.entry import main
from tests.expected_failures import EVERY_FORMAT, EXPECTED_FAILURES
from tests.strategies import slow_where

ROOT = Path(__file__).parent.parent
#: Pages of more than five seconds.
LONG = ("choosing_a_format", "ecosystem", "plots", "train_compact")
PAGES = sorted((ROOT / "docs").rglob("*.md"))


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)


def doctest_of(page):
    """A page's Python blocks as they are, and its console blocks as calls of the command line: ``$ command``, then its output."""
    lines = []
    for kind, block in re.findall(r"```(python|console)\n(.*?)```", page.read_text(), flags=re.DOTALL):
        for line in block.splitlines():
            if kind == "console":
                line = f">>> shell({line[2:]!r})" if line.startswith("$ ") else line or "<BLANKLINE>"
            lines.append(line)
    return "\n".join([*lines, ""])


def shell(line):
    program, *arguments = shlex.split(line)
    assert program == "tensorly-rnn"
    with contextlib.redirect_stderr(sys.stdout):
        main(arguments)


def test_the_readmes_blocks_run(capsys):
    found = blocks(ROOT / "README.md")
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("6592 251.65")


# The blocks of fifth_format.md are files; tests/test_fifth_format.py runs them.
@pytest.mark.parametrize(
    "page",
    slow_where(lambda page: page.stem in LONG, [page for page in PAGES if any(">>>" in block for block in blocks(page))]),
    ids=lambda page: page.stem,
)
def test_the_examples_of_the_docs_print_what_they_say(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(doctest_of(page), {"shell": shell}, page.stem, str(page), 0)
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0


def test_the_page_of_backends_has_every_expected_failure():
    page = (ROOT / "docs" / "backends.md").read_text()
    shown = re.findall(r"^\| (\w+) \| `(\w+)` \| all \| (.+) \|$", page, flags=re.MULTILINE)
    assert shown == [(row.backend, row.law, row.reason) for row in EXPECTED_FAILURES if row.formats == EVERY_FORMAT]
    assert len(shown) == len(EXPECTED_FAILURES)


def anchors(page):
    """Anchors of a page's headings, as the web view of a repository and MyST make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    for heading in re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_anchors_are_those_of_the_web_view(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# One two\n\n```sh\n# no heading\n```\n\n## BT paper, table 1: time, `x_y` and 2-D\n")
    assert list(anchors(page)) == ["one-two", "bt-paper-table-1-time-x_y-and-2-d"]


def test_links_and_pictures_exist():
    followed = 0
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *PAGES):
        for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
            if link.startswith("http"):
                continue
            target, _, anchor = link.partition("#")
            where = page.parent / target if target else page
            assert where.exists(), f"{page.name}: {link}"
            assert not anchor or anchor in anchors(where), f"{page.name}: {link}"
            followed += bool(anchor)
    assert followed > 20


def test_the_commands_are_those_that_ci_runs():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for command in ('pip install -c tests/constraints.txt -e ".[test]"', "pytest"):
        assert command in readme
        assert command.replace("pip install", "pip install --quiet") in ci
