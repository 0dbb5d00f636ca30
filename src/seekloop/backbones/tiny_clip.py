"""Built-in pair for images and texts, shipped in the package: it knows digits, their colours, sizes and places."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from timm.models import PretrainedCfg
from torch import Tensor, nn

from seekloop.backbones.preprocessing import ImageSize, preprocessing
from seekloop.backbones.readout import FeatureMaps, Readout
from seekloop.backbones.tiny import metadata
from seekloop.backbones.towers import PADDING, Towers
from seekloop.backbones.weights import checkpoints
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Tokens

WEIGHTS = Path(__file__).with_name("tiny_clip.safetensors")
HEADER = ("architecture", "words", "mean", "std")


class TinyClip(Readout):
    """The image tower: a vector for the whole image, and one for each patch, in the space of the texts.

    The class token and the patch tokens are brought to that space by a linear map each, and to unit length; its width
    is not that of the tokens.

    Args:
        checkpoint: a safetensors file written by the recipe; None: the one in the package.
        image_size: side, or (height, width), multiples of the patch size; None: that of its training.

    Raises:
        ConfigError: if the size does not fit, or the file does not say what it holds.
    """

    any_size = True

    @declared
    def __init__(self, checkpoint: str | None = None, image_size: ImageSize = None) -> None:
        towers, about = load(checkpoint)
        tower = towers.image
        patch = tuple(tower.trunk.patch_embed.patch_size)
        size = (3, *tower.trunk.patch_embed.img_size)
        trained = PretrainedCfg(input_size=size, mean=about["mean"], std=about["std"], interpolation="bicubic")
        described = json.dumps(about["architecture"], sort_keys=True)
        super().__init__(tower, "tiny_clip", (described,), preprocessing(trained, image_size, None, patch))
        self.dim, self.patch, self.text_space = int(tower.whole.out_features), (patch[0], patch[1]), space_of(towers)

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """The image's vector as class token, no registers, the patches' vectors."""
        tower: Any = self.trunk
        whole, dense = tower(pixels.to(tower.whole.weight.dtype))
        rows, columns = (side // step for side, step in zip(pixels.shape[2:], self.patch, strict=True))
        return Tokens(whole, whole.new_zeros(len(whole), 0, self.dim), dense.unflatten(1, (rows, columns)))

    def block(self, features: Sequence[str], layer: int | None) -> int:
        """Tokens only, of the last block."""
        other = next((feature for feature in features if feature != "tokens"), None)
        if other is not None or layer is not None:
            key, value = ("layer", layer) if other is None else ("feature", other)
            raise ConfigError(key, value, f"{self.name} gives its vectors only", "Use feature=tokens, layer=null.")
        return 0

    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """The patches' vectors."""
        del features, block
        return {"tokens": self.tokens(pixels).patches}


class TinyClipText(nn.Module):
    """The text tower: words about one digit, or about two with "and" between them.

    Args:
        checkpoint: as in `TinyClip`.

    Raises:
        ConfigError: if the file does not say what it holds.
    """

    name = "tiny_clip"

    @declared
    def __init__(self, checkpoint: str | None = None) -> None:
        super().__init__()
        towers, about = load(checkpoint)
        self.space, self.numbers = space_of(towers), about["words"]
        self.length: int = about["architecture"]["text"]["length"]
        self.tower = towers.text.eval().requires_grad_(False)
        self.dim = int(self.tower.whole.out_features)
        self.weights_hash = checkpoints.weights_hash(self.tower, json.dumps(about, sort_keys=True))

    def read(self, text: str) -> list[str]:
        """The words of a text that have a meaning, each as the one that it is read as.

        Raises:
            ConfigError: about `words`, if one of them is unknown, none has a meaning, or there are too many.
        """
        given = re.findall(r"\w+", text.casefold())
        named = {number: word for word, number in reversed(self.numbers.items())}
        if unknown := [word for word in given if word not in self.numbers]:
            shown = ", ".join(repr(word[:20]) for word in list(dict.fromkeys(unknown))[:5])
            why = f"{self.name} does not know {shown}"
            known = ", ".join(named[number] for number in sorted(named) if number != PADDING)
            fix = f'It knows {known}; not wanted is "- two". For other words choose backbone=openclip text=openclip.'
            raise ConfigError("words", text[:80], why, fix)
        read = [named[self.numbers[word]] for word in given if self.numbers[word] != PADDING]
        if not read or len(read) > self.length:
            why = f"{len(read)} of its words have a meaning; one to {self.length} can be read"
            raise ConfigError("words", text[:80], why, 'Describe a digit, or two: "a small red seven and a two".')
        return read

    def note(self, text: str) -> str:
        """How a text is read."""
        return f"{text!r} is read as {' '.join(self.read(text))}"

    @torch.no_grad()
    def forward(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """One vector of unit length for each text."""
        rows = [[self.numbers[word] for word in self.read(text)] for text in texts]
        words = torch.tensor([row + [PADDING] * (self.length - len(row)) for row in rows]).reshape(-1, self.length)
        return self.tower(words)


def load(checkpoint: str | None) -> tuple[Towers, dict[str, Any]]:
    """Both towers and the header of a file; None: of the one in the package.

    Raises:
        ConfigError: about `checkpoint`, if it cannot be read or does not say what it holds.
    """
    path = WEIGHTS if checkpoint is None else Path(checkpoint).expanduser()
    about = metadata(path, HEADER, "tiny_clip")
    towers = Towers(**about["architecture"])
    checkpoints.load(towers, path)
    return towers, about


def space_of(towers: Towers) -> str:
    """Name of the space: that of the text tower."""
    return f"tiny_clip-{checkpoints.weights_hash(towers.text)[:12]}"
