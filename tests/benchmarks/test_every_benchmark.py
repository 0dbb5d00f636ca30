"""Benchmarks and notebooks are run seldom: that what they import is still there is seen with every run of the tests."""

import ast
import importlib
import json
from pathlib import Path

import pytest

import seekloop

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_can_be_imported(name):
    assert importlib.import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_uses_of_the_project_is_public(notebook):
    """Notebooks import `seekloop` alone, and name only what it offers."""
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines() if not line.startswith("%")]
    nodes = list(ast.walk(ast.parse("\n".join(lines))))
    inner = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module.startswith("seekloop")]
    names = {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "seekloop"}
    assert inner == []
    assert names
    assert names <= set(seekloop.__all__)
