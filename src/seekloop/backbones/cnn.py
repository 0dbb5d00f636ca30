"""Convolutional networks of timm as backbones: the cells of a feature map are the patch tokens."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seekloop.backbones import checkpoints, hub
from seekloop.backbones.preprocessing import Preprocessing, preprocessing
from seekloop.backbones.variants import choose
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.contracts.records import Tokens

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")


class MapTokens(nn.Module):
    """A convolutional network that is already there, frozen, one of its maps read out as tokens.

    This is the way in from Python for a network of one's own, trained or not: nothing is loaded here.

    Args:
        trunk: the network up to and including the map; gives a list with that map, (b, d, h, w).
        name: for people.
        dim: channels of the map.
        words: what outputs depend on and weights do not show; goes into the hash.
        expects: size, normalisation and interpolation of its input.
    """

    def __init__(self, trunk: nn.Module, name: str, dim: int, words: Sequence[str], expects: Preprocessing) -> None:
        super().__init__()
        self.name = name
        self.dim = dim
        self.weights_hash = checkpoints.weights_hash(trunk, name, *words)
        self.image_size, self.mean, self.std = expects.image_size, expects.mean, expects.std
        self.interpolation = expects.interpolation
        self.trunk = trunk.eval().requires_grad_(False)
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens in float32, whatever the precision of the network: no class token, no registers, the map's cells.

        Raises:
            ValueError: if the images are not of `image_size`.
        """
        if tuple(pixels.shape[-2:]) != self.image_size:
            raise ValueError(f"pixels are {tuple(pixels.shape[-2:])}; {self.name} is set up for {self.image_size}")
        return self.tokens(pixels)

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """As `forward`, for images of any size that is a multiple of the map's stride."""
        dtype = next(self.trunk.parameters()).dtype
        (cells,) = self.trunk(pixels.to(dtype=dtype, memory_format=torch.channels_last))
        patches = cells.permute(0, 2, 3, 1).float()
        return Tokens(None, patches.new_zeros(len(patches), 0, self.dim), patches)


class FeatureMap(MapTokens):
    """A published convolutional network by timm's name, with the hub's weights or those of a file.

    Args:
        models: registers variant to timm name; convolutional networks have no registers, so only `none`.
        registers: `none` or `own`.
        original_strides: the first block of each stage of a ResNet halves the map in its 1x1 convolution, as in the
            paper, instead of its 3x3 convolution, as in timm and torchvision. Weights fit only the one they were
            trained with, and the hub's were trained with the other: `checkpoint` is then needed.
        layer: timm's name of the map, such as `layer3`; None: the last one.
        checkpoint: path of the weights (safetensors, pth; timm's or torchvision's names); None: the hub.
        image_size: side, or (height, width), multiples of the map's stride; None: that of the weights' training.
        normalisation: `mean` and `std` per channel; None: the model's own.

    Raises:
        ConfigError: if the variant, the layer, the size or the weights cannot be had.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (the original strides).
    """

    def __init__(
        self,
        models: Mapping[str, str],
        registers: str,
        original_strides: bool,
        layer: str | None,
        checkpoint: str | None,
        image_size: int | Sequence[int] | None,
        normalisation: Mapping[str, Sequence[float | int]] | None,
    ) -> None:
        _, name = choose(models, registers)
        trunk = checkpoints.without_heads(timm.create_model(name, num_classes=0))
        position, info = find_layer(trunk, layer)
        published = timm.get_pretrained_cfg(name)
        expects = preprocessing(published, image_size, normalisation, (info["reduction"], info["reduction"]))
        if original_strides:
            stride_first(trunk)
            name = f"{name.split('.')[0]}_v1"
        checkpoints.load(
            trunk, _published_file(name, published, original_strides) if checkpoint is None else checkpoint
        )
        module: str = info["module"]
        maps = timm.models.FeatureListNet(trunk, out_indices=(position,), flatten_sequential="." in module)
        super().__init__(maps, f"{name}:{module}", info["num_chs"], (f"original_strides={original_strides}",), expects)


def find_layer(trunk: nn.Module, layer: str | None) -> tuple[int, dict[str, Any]]:
    """The position among the trunk's maps, and timm's record, of a layer; the last one for None.

    Raises:
        ConfigError: if there is no such layer; the message lists those there are.
    """
    maps: list[dict[str, Any]] = list(trunk.feature_info)  # type: ignore[arg-type]
    names = [info["module"] for info in maps]
    if layer is not None and layer not in names:
        raise ConfigError("backbone.layer", layer, "the network has no such map", f"It has: {', '.join(names)}.")
    position = len(maps) - 1 if layer is None else names.index(layer)
    return position, maps[position]


def stride_first(trunk: nn.Module) -> None:
    """Give a ResNet with bottlenecks its original strides: stages 2, 3 and 4 halve the map in their first 1x1."""
    for stage in ("layer2", "layer3", "layer4"):
        block = trunk.get_submodule(stage)[0]  # type: ignore[index]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)


def _published_file(name: str, published: Any, original_strides: bool) -> Path:  # noqa: ANN401 - timm's PretrainedCfg
    if original_strides:
        raise ConfigError(
            "backbone.checkpoint",
            None,
            f"the hub has no weights for {name}: its ResNets stride elsewhere",
            "Give a file with backbone.checkpoint=<path>, or choose backbone=resnet50.",
        )
    return hub.fetch(name, published)
