import pytest

from seekloop.contracts.errors import ConfigError
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
    assert precision.resolve_precision({"accelerator": accelerator, "precision": asked}) == resolved


@pytest.mark.parametrize(("cuda", "resolved"), [(True, "32-true"), (False, "bf16-true")])
def test_the_accelerator_that_is_there_counts(monkeypatch, cuda, resolved):
    monkeypatch.setattr(precision, "cpu_prefers_bfloat16", lambda: True)
    monkeypatch.setattr(precision.torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(precision.torch.backends.mps, "is_available", lambda: False)
    assert precision.resolve_precision({"accelerator": "auto", "precision": "auto"}) == resolved


@pytest.mark.parametrize("asked", ["foo", "bf16", 32])
def test_another_precision_is_refused_with_the_known_ones(asked):
    """`bf16` and 32 are Lightning's aliases: a store of each would hold what another holds already."""
    with pytest.raises(ConfigError, match=r"trainer\.precision='.*Valid: auto, 32-true, bf16-true, 16-true"):
        precision.resolve_precision({"accelerator": "cpu", "precision": asked})
