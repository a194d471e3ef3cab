"""The shape of the package: what lint-imports cannot say of it."""

import ast
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
LINE = next(each for each in CONTRACTS if "torch" in each["name"])
ENTRY = ("edgessd.apps.camera.__main__", "edgessd.cli.main")


def circle(graph):
    """One circle of a graph {file: files that it imports}, None where there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_files_do_not_import_one_another_in_a_circle():
    """Imports inside functions and for type checkers count as well. Engines are found by name, see `runtimes.load`."""
    grimp = pytest.importorskip("grimp")
    graph = grimp.build_graph("edgessd", cache_dir=None)
    files = {file: graph.find_modules_directly_imported_by(file) for file in graph.modules}
    assert len(files) > 200
    assert circle(files) is None
    files["edgessd.errors"] = {"edgessd.detector"}  # the test can fail
    assert {"edgessd.errors", "edgessd.detector"} <= set(circle(files))


def doors():
    pairs = [tuple(each.split(" -> ")) for contract in CONTRACTS for each in contract.get("ignore_imports", [])]
    return sorted(pair for pair in pairs if pair != ENTRY)


def source(module):
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def imports(nodes):
    """Modules that these nodes, and what is inside them, may import."""
    found = set()
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


@pytest.mark.parametrize(("opener", "behind"), doors())
def test_a_door_to_the_workshop_is_opened_inside_a_function_and_documented(opener, behind):
    body = ast.parse(source(opener).read_text(encoding="utf-8")).body
    functions = [node for node in body if isinstance(node, ast.FunctionDef)]
    assert behind in imports(functions)
    assert behind not in imports(node for node in body if node not in functions)
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert f"`{opener.removeprefix('edgessd.').replace('.', '/')}" in told


def test_every_module_stands_on_one_side_of_the_line():
    folder = ROOT / "edgessd"
    modules = {
        f"edgessd.{path.stem}"
        for path in folder.iterdir()
        if path.stem != "__init__" and (path.suffix == ".py" or (path / "__init__.py").exists())
    }
    above, below = set(LINE["source_modules"]), {name for name in LINE["forbidden_modules"] if "edgessd" in name}
    assert above | below == modules
    assert not above & below
