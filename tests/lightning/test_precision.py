import pytest

from seekloop.lightning import precision


@pytest.mark.parametrize(
    ("accelerator", "asked", "fast", "resolved"),
    [
        ("cpu", "auto", True, "bf16-true"),
        ("cpu", "auto", False, "32-true"),
        ("gpu", "auto", True, "32-true"),
        ("cpu", "32-true", True, "32-true"),
        ("gpu", "bf16-mixed", False, "bf16-mixed"),
    ],
)
def test_auto_is_decided_by_the_machine(monkeypatch, accelerator, asked, fast, resolved):
    monkeypatch.setattr(precision, "cpu_prefers_bfloat16", lambda: fast)
    assert precision.extraction_precision(asked, accelerator) == resolved


@pytest.mark.parametrize(("cuda", "resolved"), [(True, "32-true"), (False, "bf16-true")])
def test_the_accelerator_that_is_there_counts(monkeypatch, cuda, resolved):
    monkeypatch.setattr(precision, "cpu_prefers_bfloat16", lambda: True)
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(precision.torch.backends.mps, "is_available", lambda: False)
    assert precision.extraction_precision("auto", "auto") == resolved


@pytest.mark.parametrize(
    ("asked", "accelerator", "fast", "resolved"),
    [
        ("auto", "cpu", False, "32-true"),
        ("auto", "cpu", True, "bf16-mixed"),
        ("auto", "gpu", False, "bf16-mixed"),
        ("32-true", "cpu", True, "32-true"),
    ],
)
def test_training_computes_in_mixed_precision_where_that_is_faster(monkeypatch, asked, accelerator, fast, resolved):
    monkeypatch.setattr(precision, "cpu_prefers_bfloat16", lambda: fast)
    assert precision.training_precision(asked, accelerator) == resolved


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
