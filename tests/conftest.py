import pytest


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without accelerators, wherever the tests run."""
    for name in ("CUDAAccelerator", "MPSAccelerator"):
        monkeypatch.setattr(f"pytorch_lightning.accelerators.{name}.is_available", staticmethod(lambda: False))
