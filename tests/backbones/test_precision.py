import pytest

from seekloop.backbones import precision


@pytest.mark.parametrize(
    ("text", "native"),
    [
        ("processor\t: 0\nflags\t\t: fpu sse2 avx512f avx512_bf16 vaes\n", True),
        ("processor\t: 0\nflags\t\t: fpu amx_bf16 amx_tile\n", True),
        ("processor\t: 0\nFeatures\t: fp asimd bf16 i8mm\n", True),
        ("processor\t: 0\nflags\t\t: fpu sse2 avx2 avx512f\n", False),
        ("processor\t: 0\nmodel name\t: bf16\nbugs\t\t: avx512_bf16\n", False),
        ("", False),
    ],
)
def test_flags_by_hand(text, native, tmp_path, monkeypatch):
    """Only the list of instructions counts, and only whole words of it."""
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "cpuinfo")
    assert precision.cpu_prefers_bfloat16() is native


def test_a_system_that_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "CPUINFO", tmp_path / "absent")
    assert precision.cpu_prefers_bfloat16() is False
