"""Benchmarks and notebooks are run seldom: that what they import is still there is seen with every run of the tests."""

import ast
import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARKS = sorted(path.stem for path in (ROOT / "benchmarks").glob("*.py") if path.stem != "__init__")
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_can_be_imported(name):
    assert importlib.import_module(f"benchmarks.{name}").__doc__


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_imports_from_the_project_is_there(notebook):
    cells = [cell for cell in json.loads(notebook.read_text())["cells"] if cell["cell_type"] == "code"]
    lines = [line for cell in cells for line in "".join(cell["source"]).splitlines() if not line.startswith("%")]
    wanted = [node for node in ast.parse("\n".join(lines)).body if isinstance(node, ast.ImportFrom)]
    ours = [(node.module, name.name) for node in wanted if node.module.startswith("seekloop") for name in node.names]
    missing = [pair for pair in ours if not hasattr(importlib.import_module(pair[0]), pair[1])]
    assert missing == []
    assert ours
