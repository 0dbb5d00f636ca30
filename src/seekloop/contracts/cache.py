"""Results that are computed once and kept by whoever owns the data that they are computed from."""

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

Result = TypeVar("Result")


class Cache:
    """Results computed from the global descriptors of one collection, such as k-NN graphs, each computed once.

    Whoever owns the descriptors (a loop, a cycle of learning) owns their cache, and hands out both together.
    """

    def __init__(self) -> None:
        self._known: dict[Hashable, Any] = {}

    def once(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """Result of the first call with this key."""
        if key not in self._known:
            self._known[key] = compute()
        result: Result = self._known[key]
        return result
