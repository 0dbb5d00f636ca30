"""Vectors of texts, each list of them in a folder of its own below the stores."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seekloop.artifacts import files
from seekloop.contracts.protocols import TextEncoder
from seekloop.contracts.recipe import Recipe, settings
from seekloop.regions.parts import Say
from seekloop.store.manifest import KEY, folder_name, store_folder

DESCRIPTION, VECTORS = "texts.json", "vectors.npy"


def recipe_of_texts(encoder: TextEncoder, texts: Sequence[str]) -> Recipe:
    """Recipe of the vectors of some texts: encoder with its prompt templates, and words."""
    return Recipe("text", {"encoder": settings(encoder), "space": encoder.space, "words": list(texts)})


def text_vectors(encoder: TextEncoder, texts: Sequence[str], store_dir: Path | str, say: Say) -> Float[Tensor, "t d"]:
    """Vectors of unit length of some texts, read where they are kept, encoded and kept where they are not.

    Raises:
        ConfigError: about `words`, as the encoder.
        StoreError: if they cannot be written, or are damaged.
    """
    recipe = recipe_of_texts(encoder, texts)
    path = Path(store_dir) / folder_name("texts", encoder.name, recipe.key)
    folder = store_folder(path)
    if folder.finished:
        folder.used()
    else:
        vectors = encoder(texts)
        with folder.claim(None, say, "encoding texts in"):
            if not folder.finished:
                folder.begin(DESCRIPTION, recipe.key)
                described = {"key": recipe.key, "recipe": recipe.plain()}
                files.write_json(path / DESCRIPTION, described, KEY)
                files.write_array(path / VECTORS, vectors.numpy(), KEY)
                folder.finish()
    return torch.from_numpy(np.load(path / VECTORS, allow_pickle=False))
