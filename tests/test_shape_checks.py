"""The shapes in annotations are checked while tests run, and here it is seen when they are not."""

import importlib
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest
import torch

import seekloop
from seekloop.contracts.boxes import intersection

ROOT = Path(__file__).parents[1]
FIRST = "src/seekloop/contracts/boxes.py"  # has doctests, and lies in a package that nothing has imported by then
PLUGIN = """
import sys

def pytest_collection_finish(session):
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "seekloop"]
    print("checked", *(type(module.__spec__.loader).__name__ == "_JaxtypingLoader" for module in ours))
"""


def test_every_module_is_shape_checked():
    """In a whole run, pytest has opened every file of the package for doctests by now."""
    names = [module.name for module in pkgutil.walk_packages(seekloop.__path__, "seekloop.")]
    modules = [seekloop, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]
    assert len(modules) > 200
    loaders = {module.__name__: type(module.__spec__.loader).__name__ for module in modules}
    assert [name for name, loader in loaders.items() if loader != "_JaxtypingLoader"] == []


def test_a_file_that_pytest_opens_before_anything_else_is_shape_checked(tmp_path):
    (tmp_path / "told.py").write_text(PLUGIN)
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", "-p", "told", FIRST]
    path = ":".join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    found = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    (told,) = (line.split() for line in found.stdout.splitlines() if line.startswith("checked"))
    assert len(told) > 4, found.stdout
    assert set(told[1:]) == {"True"}


def test_a_wrong_shape_is_refused():
    with pytest.raises(jaxtyping.TypeCheckError):
        intersection(torch.zeros(3), torch.zeros(3))
