"""Rooms import one another in one direction only; torch is imported in nn alone."""

import ast
from pathlib import Path

import tensorly_rnn

PACKAGE = Path(tensorly_rnn.__file__).parent

# From the top down: a room may import from the rooms after it.
DIRECTION = (
    "nn",
    "testing",
    "recurrent",
    "decomposition",
    "formats",
    "arithmetic",
    "tree_network",
    "plot",
    "tuning",
    "gradients",
    "operations",
    "network",
    "planner",
    "contraction",
    "_svd",
    "tensorize",
    "_backend",
    "_checks",
    "_planned",
)


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


def test_only_nn_imports_torch():
    for path in modules():
        roots = {name.split(".")[0] for name in imports(path)}
        if room(path) != "nn":
            assert not roots & {"torch", "jax", "tensorflow", "paddle", "cupy"}, path
        assert not roots & {"rich", "sklearn", "tqdm"}, path
        assert room(path) == "plot" or "matplotlib" not in roots, path


def test_matplotlib_is_imported_only_where_something_is_drawn():
    top = ast.parse((PACKAGE / "plot.py").read_text()).body
    assert not any("matplotlib" in ast.dump(node) for node in top if isinstance(node, (ast.Import, ast.ImportFrom)))


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
        assert not called & {"set_backend", "backend_context", "print", "manual_seed", "set_default_dtype", "seed"}, path


def test_all_is_the_public_names():
    public = {name for name, value in vars(tensorly_rnn).items() if not name.startswith("_")}
    modules_inside = {path.stem for path in PACKAGE.glob("*.py")} | {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert public - modules_inside == set(tensorly_rnn.__all__) - {"__version__"}
