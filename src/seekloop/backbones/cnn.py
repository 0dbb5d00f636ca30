"""Convolutional networks of timm as backbones: the cells of a feature map are the patch tokens."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seekloop.backbones.preprocessing import ImageSize, Normalisation, Preprocessing, choose, preprocessing
from seekloop.backbones.readout import FeatureMaps, Readout
from seekloop.backbones.weights import checkpoints
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.contracts.records import Tokens

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")

RESNET50: Mapping[str, str] = {"none": "resnet50.tv_in1k"}


class MapTokens(Readout):
    """A convolutional network that is already there, frozen, one of its maps read out as tokens.

    This is the way in from Python for a network of one's own, trained or not: nothing is loaded here.

    Args:
        trunk: the network up to and including the map; gives a list with that map, (b, d, h, w).
        name: for people.
        dim: channels of the map.
        words: what outputs depend on and weights do not show; goes into the hash.
        expects: size, normalisation and interpolation of its input.
    """

    any_size = True

    def __init__(self, trunk: nn.Module, name: str, dim: int, words: Sequence[str], expects: Preprocessing) -> None:
        super().__init__(trunk, name, words, expects)
        self.dim = dim
        self.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """No class token, no registers, the map's cells."""
        dtype = next(self.trunk.parameters()).dtype
        (cells,) = self.trunk(pixels.to(dtype=dtype, memory_format=torch.channels_last))
        patches = cells.permute(0, 2, 3, 1).float()
        return Tokens(None, patches.new_zeros(len(patches), 0, self.dim), patches)

    @cached_property
    def patch(self) -> tuple[int, int]:  # type: ignore[override]
        """Pixels of a cell."""
        height, width = self.image_size
        _, rows, columns, _ = self.tokens(torch.zeros(1, 3, height, width)).patches.shape
        return height // rows, width // columns

    def block(self, features: Sequence[str], layer: int | None) -> int:
        """A convolutional network has tokens only, of one map."""
        other = next((feature for feature in features if feature != "tokens"), None)
        if other is not None or layer is not None:
            key, value = ("layer", layer) if other is None else ("feature", other)
            fix = "Use feature=tokens and layer=null; the map is chosen by backbone.layer."
            raise ConfigError(key, value, f"{self.name} is a convolutional network", fix)
        return 0

    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """Cells of the map."""
        del features, block
        return {"tokens": self.tokens(pixels).patches}


class FeatureMap(MapTokens):
    """A published convolutional network by timm's name, with the hub's weights or those of a file.

    Args:
        models: registers variant to timm name; convolutional networks have no registers, so only `none`.
        registers: `none` or `own`.
        original_strides: the first block of each stage of a ResNet halves the map in its 1x1 convolution, as in the
            paper, instead of its 3x3 convolution, as in timm and torchvision. Weights fit only the one they were
            trained with, and the hub's were trained with the other: `checkpoint` is then needed.
        upsample: make the map of a ResNet twice as wide and high with the same weights: the stage of `layer` halves
            nothing, and what follows inside it is dilated. Every second row and column is the map without it.
        layer: timm's name of the map, such as `layer3`, or a block of that stage, counted from 0, such as `layer4.0`:
            CLAID's descriptor. None: the last one.
        checkpoint: path of the weights (safetensors, pth; timm's or torchvision's names); None: the hub.
        image_size: side, or (height, width), multiples of the map's stride; None: that of the weights' training.
        normalisation: `mean` and `std` per channel; None: the model's own.

    Raises:
        ConfigError: if the variant, the layer, the size or the weights cannot be had.

    Reference:
        He et al., "Deep Residual Learning for Image Recognition", CVPR 2016 (the original strides).
        Siméoni, Avrithis & Chum, "Local Features and Visual Words Emerge in Activations", CVPR 2019, section 4
        (upsampled maps).
    """

    @declared
    def __init__(
        self,
        models: Mapping[str, str] = RESNET50,
        registers: str = "own",
        original_strides: bool = False,
        layer: str | None = None,
        checkpoint: str | None = None,
        image_size: ImageSize = 256,
        normalisation: Normalisation = None,
        upsample: bool = False,
    ) -> None:
        _, name = choose(models, registers)
        trunk = checkpoints.without_heads(timm.create_model(name, num_classes=0))
        position, info, block = find_layer(trunk, layer)
        published = timm.get_pretrained_cfg(name)
        stride = info["reduction"] // (2 if upsample else 1)
        expects = preprocessing(published, image_size, normalisation, (stride, stride))
        label = f"{name.split('.')[0]}_v1" if original_strides else name
        if original_strides:
            stride_first(trunk)
            if checkpoint is None:
                why = f"the hub has no weights for {label}: its ResNets stride elsewhere"
                fix = "Give a file with checkpoint=<path>, or use original_strides=false."
                raise ConfigError("checkpoint", None, why, fix)
        checkpoints.fill(trunk, name, checkpoint)
        module: str = info["module"]
        if upsample:
            dilate(trunk, module)
        if block is not None:  # later blocks of the stage, and later stages, are not needed
            stage: nn.Sequential = trunk.get_submodule(module)  # type: ignore[assignment]
            trunk.set_submodule(module, stage[: block + 1])
        maps = timm.models.FeatureListNet(trunk, out_indices=(position,), flatten_sequential="." in module)
        words = (f"original_strides={original_strides}", *(["upsample"] if upsample else []))
        self._from = name, checkpoint
        super().__init__(maps, f"{label}:{layer or module}", info["num_chs"], words, expects)

    def whole_weights(self) -> dict[str, Tensor]:
        """Weights of the whole network as they are now, by timm's names; of what is not read out, as they were loaded.

        Saved to a file, they are a `checkpoint` for any of the network's layers.
        """
        name, checkpoint = self._from
        trunk = checkpoints.without_heads(timm.create_model(name, num_classes=0))
        checkpoints.fill(trunk, name, checkpoint)
        weights = trunk.state_dict()
        for key, value in self.trunk.state_dict().items():
            own = key if key in weights else key.replace("_", ".", 1)  # timm joins the names of layers in a sequence
            weights[own] = value.detach().cpu()
        return weights


def find_layer(trunk: nn.Module, layer: str | None) -> tuple[int, dict[str, Any], int | None]:
    """Find a layer among the trunk's maps, the last one for None.

    Returns:
        The map's position, timm's record of it, and the block of its stage; None for the whole stage.

    Raises:
        ConfigError: if there is no such layer; the message lists those there are.
    """
    maps: list[dict[str, Any]] = list(trunk.feature_info)  # type: ignore[arg-type]
    names = [info["module"] for info in maps]
    if layer is None or layer in names:
        position = len(maps) - 1 if layer is None else names.index(layer)
        return position, maps[position], None
    name, _, block = layer.rpartition(".")
    stage = trunk.get_submodule(name) if name in names else None
    if not isinstance(stage, nn.Sequential) or not block.isdecimal() or int(block) >= len(stage):
        has = ", ".join(
            f"{one} (or {one}.0 to {one}.{len(blocks) - 1})" if isinstance(blocks, nn.Sequential) else one
            for one, blocks in ((one, trunk.get_submodule(one)) for one in names)
        )
        raise ConfigError("layer", layer, "the network has no such map", f"It has: {has}.")
    return names.index(name), maps[names.index(name)], int(block)


def dilate(trunk: nn.Module, module: str) -> None:
    """Take the stride off a stage of a ResNet, and dilate every layer of the stage that follows by 2.

    Every second row and column of the new map is the old map. A layer that itself loses the stride is not dilated, nor
    is the shortcut beside it.

    Args:
        trunk: changed.
        module: name of the stage.

    Raises:
        ConfigError: about `upsample`, if this is no stage of a ResNet that halves the map.
    """
    stage = trunk.get_submodule(module)
    layers = [one for one in stage.modules() if isinstance(one, nn.Conv2d)]
    halving = [one for one in layers if one.stride == (2, 2)]
    if not isinstance(trunk, timm.models.ResNet) or not isinstance(stage, nn.Sequential) or not halving:
        why = f"{module} is no stage of a ResNet that halves the map"
        raise ConfigError("upsample", True, why, "Use upsample=false, or layer=layer2 to layer4 of a ResNet.")
    if pooled := [one for one in stage.modules() if isinstance(one, nn.AvgPool2d) and one.stride in (2, (2, 2))]:
        why = f"this ResNet halves the map by {type(pooled[0]).__name__}"
        raise ConfigError("upsample", True, why, "Use upsample=false, or another ResNet.")
    for one in layers[layers.index(halving[0]) + 1 :]:
        if one not in halving and one.kernel_size == (3, 3):
            one.dilation, one.padding = (2, 2), (2, 2)
    for one in halving:
        one.stride = (1, 1)


def stride_first(trunk: nn.Module) -> None:
    """Give a ResNet with bottlenecks its original strides: stages 2, 3 and 4 halve the map in their first 1x1."""
    for stage in ("layer2", "layer3", "layer4"):
        block = trunk.get_submodule(stage)[0]  # type: ignore[index]
        block.conv1.stride, block.conv2.stride = (2, 2), (1, 1)
