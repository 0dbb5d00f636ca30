"""Inner loops that are too fine-grained for tensors, compiled by numba."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import numba

Item = TypeVar("Item")
Result = TypeVar("Result")

# Sums may be reordered (that is what makes them vector instructions), but NaN and infinity keep their meaning.
REORDER = {"reassoc", "contract", "nsz", "arcp"}


def compiled(fastmath: bool | set[str]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """`numba.njit` with the machine code kept on disk, or without where no folder can be written."""

    def compile_one(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return numba.njit(cache=True, nogil=True, fastmath=fastmath)(function)
        except RuntimeError:  # neither the package's folder nor the user's cache can be written
            return numba.njit(nogil=True, fastmath=fastmath)(function)

    return compile_one


@cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers)


os.register_at_fork(after_in_child=_pool.cache_clear)  # threads do not survive a fork


def in_threads(work: Callable[[Item], Result], items: Sequence[Item], threads: int) -> list[Result]:
    """`work` of every item, in their order, by as many threads; only compiled code runs truly side by side."""
    if threads <= 1 or len(items) <= 1:
        return [work(item) for item in items]
    return list(_pool(threads).map(work, items))
