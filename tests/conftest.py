import pytest
from hypothesis import settings

import seekloop  # noqa: F401 - watches for torchvision, before a test imports timm

settings.register_profile("no clock", deadline=None)  # whether a test passes does not depend on the machine's load
settings.load_profile("no clock")


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without accelerators, wherever the tests run."""
    for name in ("CUDAAccelerator", "MPSAccelerator"):
        monkeypatch.setattr(f"pytorch_lightning.accelerators.{name}.is_available", staticmethod(lambda: False))
