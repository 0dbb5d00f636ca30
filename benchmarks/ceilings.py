"""What a device can do at most, measured: a big matrix product and big copies."""

import time
from collections.abc import Callable

import torch

from benchmarks.searches import settle

REPEATS = 5


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of some repetitions, after one that does not count."""
    work()
    settle()
    seconds = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        settle()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def product(size: int, dtype: torch.dtype, device: str) -> float:
    """Floating-point operations per second of a square matrix product, in Gflop/s."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    return 2 * size**3 / best(lambda: a @ b) / 1e9


def copied(megabytes: int, source: torch.device | str, target: torch.device | str, pin: bool) -> float:
    """GB/s that arrive when one block of memory is copied; a copy within a device reads as much again."""
    data = torch.ones(megabytes * 2**20 // 4, device=source)
    data = data.pin_memory() if pin else data
    room = torch.empty(data.shape, device=target)
    return data.nbytes / best(lambda: room.copy_(data, non_blocking=pin)) / 1e9


def ceilings(device: str) -> dict[str, float]:
    """Gflop/s and GB/s of a device, by name."""
    if device == "cpu":
        return {"float32_gflops": product(2048, torch.float32, "cpu"), "copy_gbs": copied(512, "cpu", "cpu", False)}
    found = {
        "float32_gflops": product(8192, torch.float32, device),
        "float16_gflops": product(8192, torch.float16, device),
        "copy_gbs": copied(4096, device, device, False),
        "upload_gbs": copied(1024, "cpu", device, False),
        "upload_pinned_gbs": copied(1024, "cpu", device, True),
    }
    torch.set_float32_matmul_precision("high")
    found["tf32_gflops"] = product(8192, torch.float32, device)
    torch.set_float32_matmul_precision("highest")
    return found
