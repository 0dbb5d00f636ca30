"""Built-in backbone: a small ViT with registers, shipped in the package; for first steps and tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors import safe_open
from timm.models import PretrainedCfg
from timm.models.vision_transformer import VisionTransformer as TimmVisionTransformer

from seekloop.backbones.preprocessing import ImageSize, choose, preprocessing
from seekloop.backbones.vit import PatchTokens
from seekloop.backbones.weights import checkpoints
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError

WEIGHTS = Path(__file__).with_name("tiny.safetensors")
VARIANTS = {"four": "tiny"}


class Tiny(PatchTokens):
    """Small transformer that comes with the package, or one that was trained with its recipe.

    Args:
        registers: `four` or `own`; there is no variant without registers.
        checkpoint: a safetensors file written by the recipe; None: the one in the package.
        image_size: side, or (height, width), multiples of the patch size; None: that of its training.

    Raises:
        ConfigError: if the variant or the size cannot be had, or the file does not say what it holds.
    """

    @declared
    def __init__(self, registers: str = "own", checkpoint: str | None = None, image_size: ImageSize = None) -> None:
        _, name = choose(VARIANTS, registers)
        path = WEIGHTS if checkpoint is None else Path(checkpoint).expanduser()
        about = metadata(path)
        architecture = about["architecture"]
        trunk = build_tiny(architecture)
        checkpoints.load(trunk, path)
        size = (3, *trunk.patch_embed.img_size)
        trained = PretrainedCfg(input_size=size, mean=about["mean"], std=about["std"], interpolation="bicubic")
        expects = preprocessing(trained, image_size, None, tuple(trunk.patch_embed.patch_size))
        super().__init__(trunk, name, (json.dumps(architecture, sort_keys=True),), expects)


def build_tiny(architecture: Mapping[str, Any]) -> TimmVisionTransformer:
    """Build a network of this architecture (arguments of timm's `VisionTransformer`), its parameters random."""
    return TimmVisionTransformer(**architecture)


def metadata(path: Path, keys: Sequence[str] = ("architecture", "mean", "std"), recipe: str = "tiny") -> dict[str, Any]:
    """Read what a weights file's header says: architecture, mean and std.

    Args:
        path: safetensors file.
        keys: that are read.
        recipe: that writes such files.

    Raises:
        ConfigError: if there is no such file, or its header lacks one of them.
    """
    if not path.is_file():
        fix = "Install the package again, or choose another backbone."
        raise ConfigError("checkpoint", str(path), "there is no such file", fix)
    checkpoints.read(path)  # says what is wrong with a file that is no safetensors
    with safe_open(path, framework="pt") as file:
        header = file.metadata() or {}
    if lacking := [key for key in keys if key not in header]:
        why = f"its header lacks {', '.join(lacking)}"
        raise ConfigError("checkpoint", str(path), why, f"Give a file that the recipe for {recipe} wrote.")
    return {key: json.loads(header[key]) for key in keys}
