"""Pickled data without pickled code: containers, text, numbers and numpy arrays, and nothing that could be run."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

# The functions that rebuild numpy's arrays and numbers: their modules' names differ between versions of numpy.
REBUILD = {
    "_reconstruct": np.zeros(1).__reduce_ex__(2)[0],
    "_frombuffer": np.zeros(1).__reduce_ex__(5)[0],
    "scalar": np.float64(0).__reduce_ex__(2)[0],
}
HARMLESS = {
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),  # how old pickles spell bytes
}


class PlainUnpickler(pickle.Unpickler):
    """Refuses every name that is not a container or part of a numpy array."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 (that of the base class)
        """The object of this name, if it is harmless.

        Raises:
            UnpicklingError: if it is not.
        """
        if (module, name) in HARMLESS:
            return HARMLESS[module, name]
        if module.startswith(("numpy.core.", "numpy._core.")) and name in REBUILD:
            return REBUILD[name]
        raise pickle.UnpicklingError(f"it holds {module}.{name}, which is no plain data")


def read_plain(path: Path) -> Any:  # noqa: ANN401 (whatever the file holds)
    """Read a pickle; text that Python 2 wrote is taken for Latin-1.

    Raises:
        ValueError: if it is damaged, or holds anything but plain data.
    """
    try:
        with path.open("rb") as file:
            return PlainUnpickler(file, encoding="latin1").load()
    except Exception as error:  # a damaged pickle raises nearly anything
        raise ValueError(f"it cannot be read ({type(error).__name__}: {error})") from error
