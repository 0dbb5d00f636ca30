"""What is computed from features is computed once while they live and stay as they are."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Built = TypeVar("Built")

_BUILT: Any = WeakTensorKeyDictionary()  # features -> (their version, key -> what was built)


def built_once(features: Tensor, key: Hashable, build: Callable[[], Built]) -> Built:
    """`build()`, or what it returned the last time for the same tensor and key.

    The tensor is known by being the same object, unchanged in place; what was built is forgotten with it.
    """
    version, built = _BUILT.get(features, (None, {}))
    if version != features._version:
        built = {}
        _BUILT[features] = features._version, built
    if key not in built:
        built[key] = build()
    result: Built = built[key]
    return result
