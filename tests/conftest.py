"""Imports every module first: those that pytest opens for doctests before anything else would skip the shape hook."""

import importlib
import pkgutil

import pytest

import seekloop

for module in pkgutil.walk_packages(seekloop.__path__, "seekloop."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)


@pytest.fixture
def no_gpu(monkeypatch):
    """A machine without accelerators, wherever the tests run."""
    for name in ("CUDAAccelerator", "MPSAccelerator"):
        monkeypatch.setattr(f"pytorch_lightning.accelerators.{name}.is_available", staticmethod(lambda: False))
