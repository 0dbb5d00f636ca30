"""Vision transformers of timm as backbones: class token, registers and patch tokens after the final norm."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from seekloop.backbones.preprocessing import ImageSize, Normalisation, Preprocessing, choose, preprocessing
from seekloop.backbones.readout import FEATURES, FeatureMaps, PatchMap, Readout
from seekloop.backbones.weights import checkpoints
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.contracts.records import Tokens

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")

REGISTERS = {"none": 0, "four": 4}
DINOV2_S: Mapping[str, str] = {
    "none": "vit_small_patch14_dinov2.lvd142m",
    "four": "vit_small_patch14_reg4_dinov2.lvd142m",
}


class PatchTokens(Readout):
    """A transformer that is already there, frozen and read out as tokens.

    This is the way in from Python for a network of one's own, trained or not: nothing is loaded here. The hash is
    taken before positions are resampled, because resampling may differ in the last bit between machines.

    Args:
        trunk: a timm transformer (`VisionTransformer`, `Eva`, `Beit` and their like). It is changed: frozen, heads
            removed, brought to the input size.
        name: for people.
        words: what outputs depend on and weights do not show; goes into the hash.
        expects: size, normalisation and interpolation of its input.
    """

    def __init__(self, trunk: nn.Module, name: str, words: Sequence[str], expects: Preprocessing) -> None:
        super().__init__(checkpoints.without_heads(trunk), name, words, expects)
        network: Any = trunk  # whose attributes no type knows
        if tuple(network.patch_embed.img_size) != expects.image_size:
            network.set_input_size(img_size=expects.image_size)  # resamples positions (bicubic) to the new grid
            network.requires_grad_(False)
        self.dim = network.num_features
        self.grid: tuple[int, int] = tuple(network.patch_embed.grid_size)
        self.patch = tuple(network.patch_embed.patch_size)
        self.any_size = bool(getattr(network, "dynamic_img_size", False))
        self.prefix: int = network.num_prefix_tokens
        self.class_token = getattr(network, "cls_token", None) is not None

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Class token, registers, patches row by row: their order in the sequence.

        A distillation token counts as a register: neither is a part of the image.
        """
        sequence = self._normed(pixels).float()
        registers = sequence[:, int(self.class_token) : self.prefix]
        return Tokens(sequence[:, 0] if self.class_token else None, registers, self._map(sequence, pixels))

    def block(self, features: Sequence[str], layer: int | None) -> int:
        """Any block has all features, as far as its attention shows them."""
        blocks = len(self.trunk.blocks)  # type: ignore[arg-type]
        asked = blocks - 1 if layer is None else layer
        if not -blocks <= asked < blocks:
            why = f"{self.name} has blocks 0 to {blocks - 1}"
            raise ConfigError("layer", layer, why, "Count from 0, or from the last with -1, -2, ...")
        return asked % blocks

    @torch.no_grad()
    def maps(self, pixels: Float[Tensor, "b 3 h w"], features: Sequence[str], block: int) -> FeatureMaps:
        """Tokens, queries, keys and values, caught on their way through the network."""
        network: Any = self.trunk
        module = network.blocks[block]
        caught: dict[str, Tensor] = {}

        def catch(part: nn.Module | None, name: str) -> list[RemovableHandle]:
            def keep(_module: object, _inputs: object, output: Tensor) -> None:
                caught[name] = output

            return [] if part is None else [part.register_forward_hook(keep)]

        handles = [*catch(module, "block"), *catch(getattr(module.attn, "qkv", None), "qkv")]
        for name in FEATURES[1:]:
            handles += catch(getattr(module.attn, f"{name[0]}_proj", None), name)
        try:
            last = self._normed(pixels)
        finally:
            for handle in handles:
                handle.remove()
        if "qkv" in caught:
            caught |= dict(zip(FEATURES[1:], caught["qkv"].chunk(3, dim=-1), strict=True))
        caught["tokens"] = last if module is network.blocks[-1] else self._late_norm(network.norm(caught["block"]))
        for feature in features:
            if feature not in caught:
                why = f"the attention of {self.name} does not show its {feature}"
                raise ConfigError("feature", feature, why, "Use feature=tokens.")
        return {feature: self._map(caught[feature].float(), pixels) for feature in features}

    def _map(self, sequence: Float[Tensor, "b t d"], pixels: Float[Tensor, "b 3 h w"]) -> PatchMap:
        rows, columns = (side // step for side, step in zip(pixels.shape[2:], self.patch, strict=True))
        return sequence[:, self.prefix :].reshape(len(sequence), rows, columns, -1)

    def _normed(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """All tokens after the final norm, in the network's precision."""
        network: Any = self.trunk
        return self._late_norm(network.forward_features(pixels.to(next(network.parameters()).dtype)))

    def _late_norm(self, sequence: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The final norm of networks that average their tokens, which keep it behind the average."""
        late = getattr(self.trunk, "fc_norm", None)
        return sequence if late is None else late(sequence)


class VisionTransformer(PatchTokens):
    """A published transformer by timm's name, with the hub's weights or those of a file.

    Args:
        models: registers variant to timm name; see `preprocessing.choose`.
        registers: `none`, `four`, or `own` for the backbone's usual variant.
        checkpoint: path of the weights (safetensors, pth; official DINO and DINOv2 names or timm's); None: the hub.
        image_size: side, or (height, width), multiples of the patch size; None: that of the weights' training.
        normalisation: `mean` and `std` per channel; None: the model's own.

    Raises:
        ConfigError: if the variant, the size or the weights cannot be had.
    """

    @declared
    def __init__(
        self,
        models: Mapping[str, str] = DINOV2_S,
        registers: str = "own",
        checkpoint: str | None = None,
        image_size: ImageSize = 224,
        normalisation: Normalisation = None,
    ) -> None:
        _, name = choose(models, registers)
        trunk = build(name)
        patch = tuple(trunk.patch_embed.patch_size)
        expects = preprocessing(timm.get_pretrained_cfg(name), image_size, normalisation, patch)
        checkpoints.fill(trunk, name, checkpoint)
        super().__init__(trunk, name, (), expects)


class NamedTransformer(VisionTransformer):
    """Any transformer of timm by its name.

    Args:
        model: timm's name, such as `vit_base_patch16_clip_224.openai`.
        registers: `own` takes the model as it is; `none` and `four` only check that it is so.
        checkpoint: as in `VisionTransformer`.
        image_size: as in `VisionTransformer`.
        normalisation: as in `VisionTransformer`.

    Raises:
        ConfigError: if timm has no such model, it is no plain transformer, or it has other registers than asked for.
    """

    @declared
    def __init__(
        self,
        model: str,
        registers: str = "own",
        checkpoint: str | None = None,
        image_size: ImageSize = None,
        normalisation: Normalisation = None,
    ) -> None:
        super().__init__({"own": model}, "own", checkpoint, image_size, normalisation)
        count = self.prefix - int(self.class_token)
        if registers != "own" and REGISTERS.get(registers) != count:
            raise ConfigError("registers", registers, f"{model} has {count}", "Set registers=own, or another model.")


def build(name: str) -> Any:  # noqa: ANN401 - a module whose attributes no type knows
    """Build the network of this name without its head, its parameters still random.

    Raises:
        ConfigError: if timm has no such model, or it is no plain transformer.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        raise ConfigError("model", name, "timm has no such model", f"Similar: {near or 'none'}.")
    try:  # able to resample its positions as it goes, where timm's class for it can: regions ask for that
        trunk = timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:
        trunk = timm.create_model(name, num_classes=0)
    checkpoints.without_heads(trunk)
    if not hasattr(trunk, "num_prefix_tokens") or not hasattr(getattr(trunk, "patch_embed", None), "grid_size"):
        why = "it is no transformer over one grid of patches"
        raise ConfigError("model", name, why, "Choose a ViT, DeiT, BEiT or EVA.")
    return trunk
