"""What every measurement is written down with: the machine, the code, the command; and the memory a process took."""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results.jsonl"
STORES = ROOT / "stores" / "benchmarks"
PACKAGES = ("torch", "numpy", "scikit-learn", "numba", "faiss-cpu", "faiss-gpu")
GIB = 2**30
SAMPLE_SECONDS = 0.05


class TooLargeError(RuntimeError):
    """A size that this machine cannot take; says what is short."""


def options(description: str | None) -> argparse.ArgumentParser:
    """A parser with what all benchmarks share."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", type=Path, default=STORES, help="folder of the synthetic stores")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file that JSON lines are appended to")
    return parser


def machine() -> dict[str, Any]:
    """Processor, cores, memory, GPU."""
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB, 1),
        "gpu": _gpu(),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpu() -> str | None:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else None


def _installed(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    try:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def commit() -> str:
    """The commit that is measured; "+" behind it where code differs from it; `BENCH_COMMIT` where there is no git."""
    head = _git("rev-parse", "--short", "HEAD")
    if head is None:
        return os.environ.get("BENCH_COMMIT", "unknown")
    return head + ("+" if _git("status", "--porcelain", "--", "src", "conf", "benchmarks/*.py") else "")


def write(results: Path, benchmark: str, settings: Mapping[str, Any], figures: Mapping[str, Any]) -> dict[str, Any]:
    """Print a measurement as one JSON line and append it to `results`."""
    line = {
        "benchmark": benchmark,
        "settings": dict(settings),
        "figures": dict(figures),
        "machine": machine(),
        "command": " ".join(["python -m", _module(), *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        "commit": commit(),
        "python": platform.python_version(),
        "versions": {package: found for package in PACKAGES if (found := _installed(package))},
    }
    text = json.dumps(line, default=float)
    with results.open("a", encoding="utf-8") as file:
        file.write(text + "\n")
    print(text, flush=True)
    return line


def _module() -> str:
    return f"benchmarks.{Path(sys.argv[0]).stem}"


def child(module: str, *words: object) -> dict[str, Any]:
    """Run a module in a process of its own, so that its peak of memory is its own; returns its last line, JSON.

    Raises:
        RuntimeError: if it fails; its messages were shown.
    """
    command = [sys.executable, "-m", module, *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def peak_gib() -> float:
    """Most memory this process ever had in use, mapped pages of stores included.

    From Linux's VmHWM: `ru_maxrss` would start with what the parent had when it forked.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GIB
    return _kilobytes(status, "VmHWM") * 1024 / GIB


def _kilobytes(path: Path, key: str) -> int:
    line = next(line for line in path.read_text().splitlines() if line.startswith(f"{key}:"))
    return int(line.split()[1])


def available_gib() -> float:
    """Memory that a new process may take, page cache that can be given up included."""
    return _kilobytes(Path("/proc/meminfo"), "MemAvailable") * 1024 / GIB


def check_disk(folder: Path, need: int) -> None:
    """Refuse to write more than the disk holds.

    Raises:
        TooLargeError: with both numbers.
    """
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if need * 1.02 + GIB > free:
        raise TooLargeError(f"{need / GIB:.1f} GiB of descriptors, {free / GIB:.1f} GiB of disk free")


def check_memory(need: float) -> None:
    """Refuse to begin what would not fit into memory.

    Raises:
        TooLargeError: with both numbers, in GiB.
    """
    if need > (free := available_gib()):
        raise TooLargeError(f"{need:.1f} GiB needed in memory, {free:.1f} GiB available")


@contextmanager
def own_memory() -> Iterator[dict[str, float]]:
    """Peak of the memory that is not mapped files, in GiB, sampled; filled in at the end."""
    found: dict[str, float] = {}
    status, done, peak = Path("/proc/self/status"), threading.Event(), [0]

    def sample() -> None:
        while not done.wait(SAMPLE_SECONDS):
            peak[0] = max(peak[0], _kilobytes(status, "RssAnon"))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found["own_gib"] = peak[0] * 1024 / GIB
