"""Precision of computing: the choice `auto` on this machine."""

from pathlib import Path

import torch

from seekloop.contracts.declared import Precision

CPUINFO = Path("/proc/cpuinfo")
NATIVE = {"amx_bf16", "avx512_bf16", "bf16"}  # Intel's tiles, AVX-512's dot product, Arm's; each measured or documented


def cpu_prefers_bfloat16() -> bool:
    """True on processors with bfloat16 instructions, as far as the operating system says so (Linux).

    Elsewhere bfloat16 is emulated and several times slower than float32.
    """
    return has_bfloat16(CPUINFO.read_text()) if CPUINFO.exists() else False


def has_bfloat16(cpuinfo: str) -> bool:
    r"""Test whether a `/proc/cpuinfo` lists bfloat16 instructions, under x86's `flags` or Arm's `Features`.

    Example:
        >>> has_bfloat16("model name : X\nflags : fpu avx512f avx512_bf16")
        True
        >>> has_bfloat16("Features : fp asimd i8mm")
        False
    """
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return any(key.strip() in ("flags", "Features") and NATIVE & set(value.split()) for key, _, value in lines)


def extraction_precision(asked: Precision, accelerator: str) -> str:
    """Resolve the precision of an extraction: `auto` is bfloat16 weights on processors that multiply them much faster.

    It is a part of the recipe of descriptors.
    """
    if asked != "auto":
        return asked
    fast = torch.cuda.is_available() or torch.backends.mps.is_available()
    cpu = accelerator == "cpu" or (accelerator == "auto" and not fast)
    return "bf16-true" if cpu and cpu_prefers_bfloat16() else "32-true"


def training_precision(asked: Precision, accelerator: str) -> str:
    """Resolve the precision of a training: `auto` is bf16-mixed where that is much faster, else float32."""
    if asked != "auto":
        return asked
    cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available())
    return "32-true" if cpu and not cpu_prefers_bfloat16() else "bf16-mixed"
