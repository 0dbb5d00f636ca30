"""Networks of one's own as TorchScript files: images in, one or more maps of vectors out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
from annotated_types import Ge
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.backbones.preprocessing import Preprocessing, fitting_size, triple
from seekloop.backbones.readout import FeatureMaps, Readout
from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.recipe import file_hash
from seekloop.contracts.records import Tokens

Channels = Sequence[float]


class TorchScript(Readout):
    """A TorchScript file that maps images, (b, 3, h, w), to one or more maps, (b, d, rows, columns), as a backbone.

    Vectors of a map are brought to unit length. There is no class token: the global descriptor is the cells' mean.
    The file is a program: open one that you trust.

    Args:
        checkpoint: the file.
        image_size: side, or (height, width), that images are squashed to.
        mean: per channel, of images in [0, 1].
        std: likewise.
        interpolation: bilinear or bicubic.
        map: number of the map, from 0; or mean, of all maps, each brought to the finest one's cells and unit length.
        text_space: name of the space of texts that the vectors live in, the same as that of `text`; None: of no texts.

    Raises:
        ConfigError: if there is no such file, or it gives no such maps at this size.
    """

    any_size = True

    @declared
    def __init__(
        self,
        checkpoint: str | None = None,
        image_size: Count | Sequence[Count] = 224,
        mean: Channels = (0.0, 0.0, 0.0),
        std: Channels = (1.0, 1.0, 1.0),
        interpolation: Literal["bilinear", "bicubic"] = "bilinear",
        map: Annotated[int, Ge(0)] | Literal["mean"] = 0,
        text_space: str | None = None,
    ) -> None:
        file = Path(checkpoint or "").expanduser()
        if not file.is_file():
            why = "there is no such file" if checkpoint else "it has no default"
            raise ConfigError("checkpoint", checkpoint, why, "Give the path of a TorchScript file.", self)
        for key, values in (("mean", mean), ("std", std)):
            if len(values) != 3 or (key == "std" and min(values) <= 0):
                why = "it needs three numbers" + (", each above 0" if key == "std" else "")
                raise ConfigError(key, list(values), why, "One for each of red, green and blue.", self)
        expects = Preprocessing(fitting_size(image_size, (1, 1)), triple(mean), triple(std), interpolation)
        trunk = read(file, checkpoint)
        name = file.name.partition(".")[0]
        super().__init__(trunk, f"{name}:{map}", (file_hash(file), f"map={map}"), expects)
        self.map, self.text_space = map, text_space
        with torch.no_grad():
            patches = self.tokens(torch.zeros(1, 3, *expects.image_size)).patches
        self.dim = patches.shape[-1]
        self.patch = (expects.image_size[0] // patches.shape[1], expects.image_size[1] // patches.shape[2])

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """No class token, no registers, the map's vectors.

        Raises:
            ConfigError: if the network gives something else than maps.
        """
        parameter = next(self.trunk.parameters(), None)
        size = tuple(pixels.shape[2:])
        try:
            found = self.trunk(pixels if parameter is None else pixels.to(parameter.dtype))
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if "RuntimeError" in line] or [str(error)]
            fix = "Give another image_size: many networks want a multiple of their stride."
            raise ConfigError("image_size", list(size), f"the network fails ({lines[-1][:200]})", fix, self) from error
        maps = [found] if isinstance(found, Tensor) else list(found) if isinstance(found, tuple | list) else []
        if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 and len(one) == len(pixels) for one in maps):
            shown = [getattr(one, "shape", type(one).__name__) for one in maps] or type(found).__name__
            why = f"it gives no maps of shape (images, d, rows, columns), but {shown}"
            raise ConfigError("checkpoint", self.name, why, "Export a network that does.", self)
        units = [F.normalize(one.float(), dim=1) for one in maps]
        patches = self._joined(units).permute(0, 2, 3, 1)
        return Tokens(None, patches.new_zeros(len(patches), 0, patches.shape[-1]), patches)

    def _joined(self, maps: list[Tensor]) -> Float[Tensor, "b d h w"]:
        shapes = ", ".join(str(tuple(one.shape[1:])) for one in maps)
        if self.map != "mean":
            if self.map >= len(maps):
                raise ConfigError("map", self.map, f"the network gives {len(maps)}: {shapes}", "Count from 0.", self)
            return maps[self.map]
        finest = max(maps, key=lambda one: one.shape[2] * one.shape[3])
        if any(one.shape[1] != finest.shape[1] for one in maps):
            why = f"the maps have different numbers of channels: {shapes}"
            raise ConfigError("map", self.map, why, "Choose one by its number.", self)
        return torch.stack([F.interpolate(one, finest.shape[2:], mode="nearest-exact") for one in maps]).mean(dim=0)

    def block(self, features: Sequence[str], layer: int | None) -> int:
        """Tokens only."""
        other = next((feature for feature in features if feature != "tokens"), None)
        if other is not None or layer is not None:
            key, value = ("layer", layer) if other is None else ("feature", other)
            raise ConfigError(key, value, f"{self.name} gives its maps only", "Use feature=tokens, layer=null.")
        return 0

    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """Vectors of the map."""
        del features, block
        return {"tokens": self.tokens(pixels).patches}


def read(file: Path, shown: object) -> nn.Module:
    """Load a TorchScript file to the CPU.

    Raises:
        ConfigError: about `checkpoint`, if it is none.
    """
    try:
        return torch.jit.load(str(file), map_location="cpu")  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        cause = str(error).strip().splitlines()[0][:200]
        fix = "Write one with torch.jit.script or torch.jit.trace, and its method save."
        raise ConfigError("checkpoint", shown, f"the file is no TorchScript ({cause})", fix) from error
