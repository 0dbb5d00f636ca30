"""Networks of one's own as TorchScript files: images in, one or more maps of vectors out."""

import contextlib
import warnings
from collections.abc import Callable, Sequence
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
    A file that was traced for a single image is given one at a time. The file is a program: open one that you trust.

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
        super().__init__(trunk, f"{name}:{map}", (file_hash(file), f"map={map}", f"text_space={text_space}"), expects)
        self.map, self.text_space = map, text_space
        self.one_by_one = True
        blank = torch.zeros(2, 3, *expects.image_size)
        patches = self.tokens(blank[:1]).patches
        with contextlib.suppress(ConfigError), torch.no_grad():
            self.all_maps(blank)
            self.one_by_one = False
        self.dim = patches.shape[-1]
        self.patch = (expects.image_size[0] // patches.shape[1], expects.image_size[1] // patches.shape[2])

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """No class token, no registers, the map's vectors.

        Raises:
            ConfigError: if the network gives something else than maps.
        """
        parts = [pixels[[row]] for row in range(len(pixels))] if self.one_by_one else [pixels]
        each = [self.all_maps(part.float()) for part in parts]
        maps = [torch.cat(several) for several in zip(*each, strict=True)]
        units = [F.normalize(one.float(), dim=1) for one in maps]
        patches = self._joined(units).permute(0, 2, 3, 1)
        return Tokens(None, patches.new_zeros(len(patches), 0, patches.shape[-1]), patches)

    def all_maps(self, pixels: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """All maps of one pass through the network.

        Raises:
            ConfigError: if it fails, or gives something else than maps.
        """
        try:
            found = self.trunk(pixels)
        except RuntimeError as error:
            lines = [line for line in str(error).splitlines() if "RuntimeError" in line] or [str(error)]
            fix = "Give another image_size: many networks want a multiple of their stride."
            why = f"the network fails ({lines[-1][:200]})"
            raise ConfigError("image_size", list(pixels.shape[2:]), why, fix, self) from error
        maps = [found] if isinstance(found, Tensor) else list(found) if isinstance(found, tuple | list) else []
        if not maps or not all(isinstance(one, Tensor) and one.ndim == 4 and len(one) == len(pixels) for one in maps):
            shown = [getattr(one, "shape", type(one).__name__) for one in maps] or type(found).__name__
            why = f"for {len(pixels)} images it gives no maps of shape (images, d, rows, columns), but {shown}"
            raise ConfigError("checkpoint", self.name, why, "Export a network that does.", self)
        return maps

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


class Scripted(nn.Module):
    """A TorchScript module that follows its device and stays in float32: constants inside it cannot be converted.

    It is no submodule: Lightning asks submodules for attributes that a frozen TorchScript module lacks.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.held = [script]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
        self.held[0].to(fn(torch.zeros(1)).device)
        return super()._apply(fn, recurse)  # type: ignore[no-untyped-call]

    def forward(self, pixels: Tensor) -> object:
        """Whatever the module gives."""
        return self.held[0](pixels)


def read(file: Path, shown: object) -> nn.Module:
    """Load a TorchScript file to the CPU.

    Raises:
        ConfigError: about `checkpoint`, if it is none.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)  # of torch 2.13: files are still read
            return Scripted(torch.jit.load(str(file), map_location="cpu"))  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError, OSError) as error:
        cause = str(error).strip().splitlines()[0][:200]
        fix = "Write one with torch.jit.script or torch.jit.trace, and its method save."
        raise ConfigError("checkpoint", shown, f"the file is no TorchScript ({cause})", fix) from error
