"""Whether this machine's processor multiplies bfloat16 faster than float32."""

from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
NATIVE = {"amx_bf16", "avx512_bf16", "bf16"}  # Intel's tiles, AVX-512's dot product, Arm's; each measured or documented


def cpu_prefers_bfloat16() -> bool:
    """True on processors with bfloat16 instructions, as far as the operating system says so (Linux).

    Elsewhere bfloat16 is emulated and several times slower than float32.
    """
    return has_bfloat16(CPUINFO.read_text()) if CPUINFO.exists() else False


def has_bfloat16(cpuinfo: str) -> bool:
    r"""Whether a `/proc/cpuinfo` lists bfloat16 instructions, under x86's `flags` or Arm's `Features`.

    Example:
        >>> has_bfloat16("model name : X\nflags : fpu avx512f avx512_bf16")
        True
        >>> has_bfloat16("Features : fp asimd i8mm")
        False
    """
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return any(key.strip() in ("flags", "Features") and NATIVE & set(value.split()) for key, _, value in lines)
