"""A network's maps on disk, one file per image, for detectors that look at the same ones again."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.artifacts import files
from seekloop.contracts.recipe import Recipe
from seekloop.store import growth
from seekloop.store.manifest import KEY, store_folder

DESCRIPTION = "maps.json"  # the recipe of the maps


def begin(folder: Path, recipe: Recipe, contents: Sequence[str] | None = None) -> None:
    """Start, or go on; maps of unchanged pictures are taken over from an earlier folder. Only inside a claim.

    Args:
        folder: claimed.
        recipe: of the maps.
        contents: what determines each picture; None where the collection cannot say.
    """
    if store_folder(folder).begin(DESCRIPTION, recipe.key) is None:
        files.write_json(folder / DESCRIPTION, {"key": recipe.key, "recipe": recipe.plain()}, KEY)
    if contents is None:
        return
    growth.note_contents(folder, contents)
    if before := growth.earlier(folder, DESCRIPTION, recipe, contents, _usable):
        for image, row in enumerate(before.row.tolist()):
            if row >= 0 and not map_path(folder, image).exists():
                files.link(map_path(before.folder, row), map_path(folder, image), KEY)


def _usable(folder: Path) -> growth.Usable:
    """Whether an earlier image has a map; one that could not be read has none."""
    return lambda row, image: map_path(folder, row).exists()


def finish(folder: Path, images: Sequence[int]) -> None:
    """Mark the folder as finished if it holds the map of every image in `images`."""
    if all(map_path(folder, image).exists() for image in images):
        store_folder(folder).finish()


def map_path(folder: Path, image: int) -> Path:
    """File of one image's map."""
    return folder / f"{image:07d}.npy"


def keep_map(folder: Path, image: int, tokens: Float[Tensor, "h w d"]) -> None:
    """Write one map, in half precision."""
    files.write_array(map_path(folder, image), tokens.half().numpy(), KEY)


def kept_map(folder: Path, image: int) -> Float[Tensor, "h w d"] | None:
    """One image's map in float32; None where it was not kept, or its file is damaged."""
    try:
        return torch.from_numpy(np.load(map_path(folder, image), allow_pickle=False)).float()
    except (OSError, ValueError, EOFError):
        return None
