"""Lets the registry's CUDA build of torchvision import under a CPU build of torch.

Without it `import timm` fails with "operator torchvision::nms does not exist". Defining the schemas of the two
operators that torchvision's Python files refer to is enough for everything but those operators themselves. Where
torch and torchvision match, nothing happens.

`import seekloop` only watches for torchvision: the definitions need torch, and are made just before torchvision runs,
whoever imports it. In a process that was spawned this works once it has imported seekloop, see `seekloop.__main__`.
"""

import re
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

_libraries: list[object] = []  # the definitions live as long as this list holds their library


class BeforeTorchvision(MetaPathFinder):
    """Finds torchvision as Python itself would, and has it call `define_missing_operators` before it runs."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        """The spec of torchvision; None for every other module."""
        spec = PathFinder.find_spec(fullname) if fullname == "torchvision" else None
        if spec is None or spec.loader is None or not spec.origin:
            return None
        run, package = spec.loader.exec_module, Path(spec.origin).parent

        def prepared(module: ModuleType) -> None:
            define_missing_operators(package)
            run(module)

        spec.loader.exec_module = prepared  # type: ignore[method-assign]
        return spec


def watch() -> None:
    """Be there when torchvision is imported, if it is not yet."""
    if not any(isinstance(finder, BeforeTorchvision) for finder in sys.meta_path):
        sys.meta_path.insert(0, BeforeTorchvision())


def define_missing_operators(package: Path) -> None:
    """Define the operators' schemas if torchvision, whose folder `package` is, was built for CUDA and torch was not."""
    version = package / "version.py"
    if _libraries or not version.exists() or not re.search(r"\+cu\d+", version.read_text()):
        return
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _libraries.append(library)
