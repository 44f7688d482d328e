"""Rooms import one another in one direction only; torch is imported in nn alone; `__all__` is what is public."""

import ast
import graphlib
import importlib
from pathlib import Path
from types import ModuleType

import pytest

import tensorly_rnn

PACKAGE = Path(tensorly_rnn.__file__).parent

# From the top down: a room may import from the rooms after it.
DIRECTION = (
    "__main__",
    "cli",
    "nn",
    "testing",
    "recurrent",
    "decomposition",
    "files",
    "formats",
    "plot",
    "network",
    "contraction",
    "_svd",
    "tensorize",
    "_backend",
    "_checks",
    "_memoize",
)

EXAMPLES = PACKAGE.parent / "examples"
#: Folders of the examples that have a subject; `learning` knows none of them, and `running` not even `learning`.
SUBJECTS = {"captions", "digits", "papers", "pronunciation", "video"}


#: The only file that writes for users to read.
CONSOLE = Path("cli/console.py")

#: Packages whose names users import.
PUBLIC = ("", ".decomposition", ".files", ".formats", ".nn", ".plot", ".recurrent", ".testing")


def imports(path):
    tree = ast.parse(path.read_text())
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def room(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules():
    return [path for path in sorted(PACKAGE.rglob("*.py")) if room(path) not in ("__init__", "_version")]


def test_every_room_is_in_the_direction():
    assert {room(path) for path in modules()} == set(DIRECTION)


def test_rooms_import_downwards_only():
    for path in modules():
        here = DIRECTION.index(room(path))
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "tensorly_rnn" and parts[1] != "_version":
                there = DIRECTION.index(parts[1])
                assert there >= here, f"{path.relative_to(PACKAGE)} imports {name}"


def test_no_module_imports_itself_by_way_of_others():
    def name(path):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    files = {name(path): path for path in PACKAGE.rglob("*.py")}
    # All imports count, also those in functions and under TYPE_CHECKING.
    graph = {
        module: {one if one in files else one.rpartition(".")[0] for one in imports(path)} & set(files) - {module}
        for module, path in files.items()
    }
    assert set(graphlib.TopologicalSorter(graph).static_order()) >= set(files)


def test_only_nn_imports_torch():
    for path in modules():
        roots = {name.split(".")[0] for name in imports(path)}
        if room(path) != "nn":
            assert not roots & {"torch", "jax", "tensorflow", "paddle", "cupy"}, path
        assert not roots & {"sklearn", "tqdm"}, path
        assert path.relative_to(PACKAGE) == CONSOLE or "rich" not in roots, path
        assert room(path) == "files" or "safetensors" not in roots, path
        assert room(path) == "plot" or "matplotlib" not in roots, path


@pytest.mark.parametrize(
    ("path", "library"),
    [
        ("plot/_axes.py", "matplotlib"),
        ("plot/diagram.py", "matplotlib"),
        (CONSOLE, "rich"),
        ("files/_container.py", "safetensors"),
    ],
    ids=str,
)
def test_what_is_optional_is_imported_only_where_it_is_used(path, library):
    source = (PACKAGE / path).read_text()
    assert library in source
    top = [node for node in ast.parse(source).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    assert not any(library in ast.dump(node) for node in top)


def test_the_command_line_does_without_torch():
    # An import from nn would import torch.
    for path in (PACKAGE / "cli").glob("*.py"):
        assert not any(name.startswith("tensorly_rnn.nn") for name in imports(path)), path


def test_rooms_of_the_examples_import_downwards_only():
    folders = {path.parent.name for path in EXAMPLES.glob("*/__init__.py")}
    assert folders == {*SUBJECTS, "learning", "running"}
    programs = {path.stem for path in EXAMPLES.glob("*.py") if "__main__" in path.read_text()}
    below = {subject: {subject, "learning", "running"} for subject in SUBJECTS}
    below |= {EXAMPLES.name: folders, "learning": {"learning", "running"}, "running": {"running"}}
    for path in sorted(EXAMPLES.rglob("*.py")):
        found = {name.split(".")[0] for name in imports(path)} & (folders | programs)
        assert found <= below[path.parent.name], path.relative_to(EXAMPLES)


def test_formats_do_not_import_one_another():
    names = {"bt", "ht", "tr", "tt"}
    for name in names:
        for imported in imports(PACKAGE / "formats" / f"{name}.py"):
            assert not set(imported.split(".")) & (names - {name}), imported


def test_cells_and_operations_never_name_a_format():
    for path in modules():
        if room(path) == "formats" or path.parent.name == "decomposition":
            continue
        body = ast.parse(path.read_text())
        constants = [
            node.value
            for node in ast.walk(body)
            if isinstance(node, ast.Compare)
            for node in ast.walk(node)
            if isinstance(node, ast.Constant)
        ]
        assert not set(map(str, constants)) & {"bt", "ht", "tr", "tt"}, path


def test_nothing_sets_the_backend_or_prints():
    for path in modules():
        called = {
            getattr(node.func, "attr", getattr(node.func, "id", None))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        if path.relative_to(PACKAGE) == CONSOLE:
            called -= {"print"}
        assert not called & {"set_backend", "backend_context", "print", "manual_seed", "set_default_dtype", "seed"}, path


@pytest.mark.parametrize("name", PUBLIC)
def test_all_is_the_public_names(name):
    module = importlib.import_module(f"tensorly_rnn{name}")
    public = {one for one, value in vars(module).items() if not one.startswith("_") and not isinstance(value, ModuleType)}
    assert public == set(module.__all__) - {"__version__"}
    assert len(module.__all__) == len(set(module.__all__))


def test_packages_are_public_or_internal():
    internal = {"cli", "contraction", "network"}
    packages = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - internal
    assert packages == {name[1:] for name in PUBLIC if name}
