"""Lets the registry's CUDA build of torchvision import under a CPU build of torch.

Without it `import timm` fails with "operator torchvision::nms does not exist". Defining the schemas of the two
operators that torchvision's Python files refer to is enough for everything but those operators themselves. Where
torch and torchvision match, nothing happens.
"""

import importlib.util
import re
from pathlib import Path

_libraries: list[object] = []  # the definitions live as long as this list holds their library


def allow_cuda_build_under_cpu_torch() -> None:
    """Define the missing operator schemas, if and only if torch has no CUDA and torchvision was built for it."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or not spec.submodule_search_locations or _libraries:
        return
    version = Path(spec.submodule_search_locations[0]) / "version.py"
    if not version.exists() or not re.search(r"\+cu\d+", version.read_text()):
        return
    import torch

    if torch.version.cuda is not None:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for operator in ("nms", "qnms"):
        library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    _libraries.append(library)
