"""Imports every module first: those that pytest opens for doctests before anything else would skip the shape hook."""

import importlib
import pkgutil

import seekloop

for module in pkgutil.walk_packages(seekloop.__path__, "seekloop."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
