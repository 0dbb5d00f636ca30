import pytest

import seekloop  # noqa: F401 - watches for torchvision, before a test imports timm


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without accelerators, wherever the tests run."""
    for name in ("CUDAAccelerator", "MPSAccelerator"):
        monkeypatch.setattr(f"pytorch_lightning.accelerators.{name}.is_available", staticmethod(lambda: False))
