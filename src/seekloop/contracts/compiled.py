"""Inner loops that are too fine-grained for tensors, compiled by numba when they are first called."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, cached_property, update_wrapper
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# Sums may be reordered (that is what makes them vector instructions), but NaN and infinity keep their meaning.
REORDER = {"reassoc", "contract", "nsz", "arcp"}


class Compiled:
    """A function that numba compiles when it is first called, so that it is numba that is imported only then.

    Other compiled functions may call it by its name: numba asks for its type and finds that of the real function.

    Args:
        function: to compile.
        fastmath: as for `numba.njit`.
    """

    def __init__(self, function: Callable[..., Any], fastmath: bool | set[str]) -> None:
        self.function, self.fastmath = function, fastmath
        update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401 - those of the function
        """Call the compiled function."""
        return self._real(*arguments)

    def __reduce__(self) -> str:
        """Pickle by name, as functions are."""
        return self.function.__qualname__

    @property
    def _numba_type_(self) -> object:
        return self._real._numba_type_

    @cached_property
    def _real(self) -> Any:  # noqa: ANN401 - numba's dispatcher
        """The machine code is kept on disk, unless no folder can be written."""
        import numba

        try:
            return numba.njit(cache=True, nogil=True, fastmath=self.fastmath)(self.function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return numba.njit(nogil=True, fastmath=self.fastmath)(self.function)


def compiled(fastmath: bool | set[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate a function whose inner loops numba is to compile. Of its arguments none is named by a caller."""
    return lambda function: Compiled(function, fastmath)


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers)


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """`work` of every item, in their order, by as many threads; only compiled code runs truly side by side."""
    if threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))
