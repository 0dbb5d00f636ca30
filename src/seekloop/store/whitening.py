"""Learnt whitenings on disk: a mean and axes in a folder named by its recipe."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.artifacts import files
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import Recipe
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION, MEAN, AXES = "whitening.json", "mean.npy", "axes.npy"  # no axes: descriptors are only centred
Learnt = tuple[Float[Tensor, " d"], Float[Tensor, "d p"] | None]


def ensure(path: Path, recipe: Recipe, learn: Callable[[], Learnt], say: Callable[[str], None]) -> Learnt:
    """Read a whitening, learnt first where it is not there; other processes wait meanwhile.

    Args:
        path: of its folder.
        recipe: that determines it.
        learn: gives mean and axes; its axes are None for a mere centring.
        say: where messages for people go.

    Raises:
        StoreError: if it cannot be written, or is damaged.
    """
    folder = store_folder(path)
    if not folder.finished:
        with folder.claim(None, say, "learning the whitening"):
            if not folder.finished:
                mean, axes = learn()
                folder.begin(DESCRIPTION, recipe.key)
                files.write_array(path / MEAN, mean.numpy(), KEY)
                if axes is not None:
                    files.write_array(path / AXES, axes.contiguous().numpy(), KEY)
                files.write_json(path / DESCRIPTION, {"key": recipe.key, "recipe": recipe.plain()}, KEY)
                folder.finish()
    folder.used()
    return read(path)


def read(path: Path) -> Learnt:
    """Read a finished whitening.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    if not (path / DESCRIPTION).is_file() or not store_folder(path).finished:
        raise StoreError(f"{path} holds no whitening. A run with whitening=pca or supervised makes one, and names it.")
    try:
        axes = path / AXES
        mean = torch.from_numpy(np.load(path / MEAN, allow_pickle=False))
        return mean, torch.from_numpy(np.load(axes, allow_pickle=False)) if axes.exists() else None
    except (OSError, ValueError, EOFError) as error:
        raise StoreError(f"{path} is damaged ({error}). Delete it, and it is learnt again.") from error
