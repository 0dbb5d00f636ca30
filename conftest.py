"""Has every module of the package imported by its name before pytest opens its file for doctests.

pytest loads some files by their paths (those of packages, or all, by version), past the hook that checks the shapes of
arguments while tests run (`--jaxtyping-packages`). `tests/test_shape_checks.py` says when that happens.
"""

import importlib
from pathlib import Path

SOURCE = Path(__file__).parent / "src"


def pytest_collect_file(file_path: Path) -> None:
    """Import a module of the package, and thereby its packages, if this is one."""
    if file_path.suffix == ".py" and file_path.is_relative_to(SOURCE):
        parts = file_path.relative_to(SOURCE).with_suffix("").parts
        importlib.import_module(".".join(part for part in parts if part != "__init__"))
