"""What must be so before the first test is collected, and before torch is imported.

pytest loads some files by their paths when it looks for doctests (those of packages, or all, by version), past the hook
that checks the shapes of arguments while tests run (`--jaxtyping-packages`). Hence every module of the package is
imported by its name first; `tests/test_shape_checks.py` fails when that is not so.
"""

import importlib
import os
from pathlib import Path

SOURCE = Path(__file__).parent / "src"

# By default OpenMP's threads wait by spinning, and two busy processes on two cores are many times slower for it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Processes of pytest-xdist share the cores: each with threads for all of them, they wait for one another.
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))


def pytest_collect_file(file_path: Path) -> None:
    """Import a module of the package, and thereby its packages, if this is one."""
    if file_path.suffix == ".py" and file_path.is_relative_to(SOURCE):
        parts = file_path.relative_to(SOURCE).with_suffix("").parts
        importlib.import_module(".".join(part for part in parts if part != "__init__"))
