"""The site's sources are whole, without building it: pages, API, formats, gallery, and where links lead in the built site."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

import tensorly_rnn as tlr
from tests.test_docs import PAGES
from tests.test_imports import PUBLIC

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
FORMATS = ("bt", "ht", "tr", "tt")
MARKDOWN_TOCTREE = re.compile(r"```\{toctree\}\n(.*?)```", flags=re.DOTALL)
RST_TOCTREE = re.compile(r"^\.\. toctree::\n(.*?)(?=^\S|\Z)", flags=re.DOTALL | re.MULTILINE)
AUTOSUMMARY = re.compile(r"^\.\. autosummary::\n(.*?)(?=^\S|\Z)", flags=re.DOTALL | re.MULTILINE)
AUTODATA = re.compile(r"^\.\. autodata:: (\w+)$", flags=re.MULTILINE)
PLOT = re.compile(r"^\.\. plot::\n   :filename-prefix: ([\w-]+)\n\n(.*?)```", flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def extensions(monkeypatch):
    pytest.importorskip("sphinx_gallery")
    monkeypatch.syspath_prepend(str(DOCS / "_extensions"))
    yield
    for name in ("programs", "repository_links"):
        sys.modules.pop(name, None)


def entries(body):
    """Return the entries of a directive, indented or not, with or without a title, without its options."""
    lines = [line.strip() for line in body.splitlines()]
    return [re.sub(r"^.*<(.+)>$", r"\1", line) for line in lines if line and not line.startswith(":")]


def listed():
    """Every page that a toctree names, and where."""
    for page in (*PAGES, *(DOCS / "api").glob("*.rst")):
        found = (MARKDOWN_TOCTREE if page.suffix == ".md" else RST_TOCTREE).findall(page.read_text())
        for entry in (entry for body in found for entry in entries(body)):
            yield page, (page.parent / entry).resolve()


def test_every_page_is_in_one_toctree():
    pages = [path.with_suffix("").resolve() for path in (*PAGES, *(DOCS / "api").glob("*.rst"))]
    named = [target for _, target in listed()]
    assert sorted(set(pages) - set(named)) == [DOCS / "index"]
    assert len(named) == len(set(named))
    assert set(named) - set(pages) == {DOCS / "gallery" / "index"}  # which the gallery writes


def api_names(page):
    """Full names on a page of the API; those of other packages are links."""
    text = page.read_text()
    module = re.search(r"^\.\. currentmodule:: (\S+)$", text, flags=re.MULTILINE)[1]
    own = [name for body in AUTOSUMMARY.findall(text) for name in entries(body)] + AUTODATA.findall(text)
    linked = re.findall(r"`(tensorly_rnn\.[\w.]+)`", text) + re.findall(r"``(tensorly_rnn\.\w+)``", text)
    return [f"{module}.{name}" for name in own], linked


@pytest.mark.parametrize("suffix", [*PUBLIC, ".plot"])
def test_every_public_name_is_on_its_page(suffix):
    module = importlib.import_module(f"tensorly_rnn{suffix}")
    own, linked = api_names(DOCS / "api" / f"{suffix.removeprefix('.') or 'tensorly_rnn'}.rst")
    assert len(own) == len(set(own))
    known = {name.rpartition(".")[2] for name in (*own, *linked)}
    assert known == set(module.__all__)
    for name in (*own, *linked):
        package, _, last = name.rpartition(".")
        assert getattr(importlib.import_module(package), last) is getattr(module, last)


def test_nothing_has_two_pages():
    # Sphinx would not know which one a link means.
    own = [name for page in (DOCS / "api").glob("*.rst") if page.stem != "index" for name in api_names(page)[0]]
    objects = [id(getattr(importlib.import_module(name.rpartition(".")[0]), name.rpartition(".")[2])) for name in own]
    assert len(own) > 80 and len(objects) == len(set(objects))


def test_formats_are_those_that_have_pages():
    own = {
        name
        for name in tlr.available_formats()
        if inspect.getmodule(tlr.get_format(name)).__name__.startswith("tensorly_rnn.")
    }
    assert own == set(FORMATS) == {path.stem for path in (DOCS / "formats").glob("*.md")} - {"index"}


@pytest.mark.parametrize("name", FORMATS)
def test_a_formats_page_has_all_parts(name):
    text = (DOCS / "formats" / f"{name}.md").read_text()
    assert re.findall(r"^## (.*)$", text, flags=re.MULTILINE) == ["Diagram", "Formula", "Parameters", "Gradient", "References"]
    assert f'`{tlr.get_format(name).__name__}`, `"{name}"`' in text
    parts = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE))
    # test_docs.py runs the counts: the formula's beside the library's.
    assert "sum" in parts["Parameters"] and f'>>> tlr.n_param("{name}"' in parts["Parameters"].replace(">>> [tlr", ">>> tlr")
    assert "../gradients.md#" in parts["Gradient"] and "dL/d" in parts["Gradient"]
    assert re.search(r"eq\. \d", parts["References"]) or re.search(r"algorithm", parts["References"])


@pytest.mark.parametrize("name", FORMATS)
def test_a_formats_diagram_is_that_of_the_format(name):
    from matplotlib import pyplot

    text = (DOCS / "formats" / f"{name}.md").read_text()
    plots = PLOT.findall(text)
    assert plots and len(plots) == text.count(".. plot::")
    try:
        for _, code in plots:
            assert f"tlr.{tlr.get_format(name).__name__}.random(" in code
            exec(compile(inspect.cleandoc(code), name, "exec"), {})
            assert pyplot.gca().texts
    finally:
        pyplot.close("all")


def test_pictures_of_diagrams_do_not_share_a_file():
    prefixes = [prefix for page in PAGES for prefix, _ in PLOT.findall(page.read_text())]
    assert prefixes and len(prefixes) == len(set(prefixes))


def test_what_the_gallery_shows_are_the_programs(extensions):
    import programs

    found = programs.all_programs()
    assert "indian_pines" in found and "training" not in found and "cp_format" not in found
    ignored, run = programs.ignored(), programs.pattern(["video"])
    # The name alone, and a path: both are asked.
    for path in (ROOT / "examples").rglob("*.py"):
        is_shown = path.parent.name == "examples" and path.stem in found
        assert [re.search(ignored, name) is None for name in (path.name, str(path))] == [is_shown, is_shown], path
    assert re.search(run, "examples/video.py") and not re.search(run, "examples/my_video.py")
    assert not re.search(programs.pattern([]), "examples/video.py")
    assert set(programs.SECONDS) == set(found)
    # The card of a program that does not run in a build shows a committed picture.
    for name in found:
        (shown,) = re.findall(r'^# sphinx_gallery_thumbnail_path = "(.*)"$', (ROOT / f"examples/{name}.py").read_text(), re.M)
        assert (DOCS / shown).is_file()
    assert sum(programs.SECONDS[name] for name in programs.DEFAULT_PROGRAMS) <= 300


def test_which_programs_run(extensions):
    import programs

    assert programs.to_run({}) == list(programs.DEFAULT_PROGRAMS)
    assert programs.to_run({"GALLERY": "all"}) == programs.all_programs()
    assert programs.to_run({"GALLERY": "none"}) == []
    assert programs.to_run({"GALLERY": "captioning"}) == ["captioning"]
    with pytest.raises(ValueError, match=r"GALLERY must be 'all', 'none' or names of programs: .*; got 'training'"):
        programs.to_run({"GALLERY": "captioning,training"})


def test_a_program_runs_small_in_its_own_folder_and_its_workers_find_it(extensions, tmp_path):
    import programs

    script = {"example_globals": {"__spec__": object()}, "src_file": f"{tmp_path}/examples/captioning.py"}
    left = tmp_path / "gallery" / "output" / "captioning" / "checkpoints"
    left.mkdir(parents=True)
    assert programs.quick_arguments({"src_dir": tmp_path}, script) == ["--quick", "--output", "../gallery/output/captioning"]
    assert not left.exists()
    assert script["example_globals"] == {"__spec__": None, "__file__": script["src_file"]}


def test_pictures_are_those_that_the_program_wrote(extensions, tmp_path):
    import programs

    script = {
        "src_file": "examples/video.py",
        "image_path_iterator": iter([tmp_path / "1.png", tmp_path / "2.png", tmp_path / "3.png"]),
    }
    folder = programs.output({"src_dir": tmp_path}, script)
    assert programs.written_pictures(None, script, {"src_dir": tmp_path}) == ""
    (folder / "scenes").mkdir(parents=True)
    for name in ("b.png", "a.png", "table.csv", "scenes/data.png"):
        (folder / name).write_text(name)
    shown = programs.written_pictures(None, script, {"src_dir": tmp_path})
    assert [(tmp_path / f"{k}.png").read_text() for k in (1, 2)] == ["a.png", "b.png"]
    assert shown.index("1.png") < shown.index("2.png") and "3.png" not in shown


def test_links_out_of_docs_lead_to_pages_where_there_are_some(extensions):
    import repository_links

    def redirected(docname, link):
        source = [f"[text]({link})"]
        repository_links.redirect(None, docname, source)
        return source[0].removeprefix("[text](").removesuffix(")")

    assert redirected("guide", "../README.md") == "/index.md"
    assert redirected("formats/tt", "../../CONTRIBUTING.md#tests") == "/developers.md#tests"
    assert redirected("papers", "../examples/captioning.py") == "/gallery/captioning.rst"
    for link in ("../examples/cp_format.py", "gradients.md"):
        assert redirected("fifth_format", link) == link
    assert redirected("formats/tt", "../gradients.md") == "../gradients.md"
