"""Vision transformers of timm as backbones: class token, registers and patch tokens after the final norm."""

from collections.abc import Mapping, Sequence
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

REGISTERS = {"none": 0, "four": 4}


class PatchTokens(nn.Module):
    """A transformer that is already there, frozen and read out as tokens (`contracts.protocols.Backbone`).

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
        super().__init__()
        network: Any = trunk  # whose attributes no type knows
        self.name = name
        self.weights_hash = checkpoints.weights_hash(checkpoints.without_heads(trunk), name, *words)
        self.image_size, self.mean, self.std = expects.image_size, expects.mean, expects.std
        self.interpolation = expects.interpolation
        if tuple(network.patch_embed.img_size) != expects.image_size:
            network.set_input_size(img_size=expects.image_size)  # resamples positions (bicubic) to the new grid
        self.trunk = network.eval().requires_grad_(False)
        self.dim: int = network.num_features
        self.grid: tuple[int, int] = tuple(network.patch_embed.grid_size)
        self.patch: tuple[int, int] = tuple(network.patch_embed.patch_size)
        self.any_size = bool(getattr(network, "dynamic_img_size", False))
        self.prefix: int = network.num_prefix_tokens
        self.class_token = getattr(network, "cls_token", None) is not None

    @torch.no_grad()
    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """Tokens in float32, whatever the precision of the network.

        The order in the sequence is class token, registers, patches row by row. A distillation token counts as a
        register: neither is a part of the image.

        Raises:
            ValueError: if the images are not of `image_size`.
        """
        if tuple(pixels.shape[-2:]) != self.image_size:
            raise ValueError(f"pixels are {tuple(pixels.shape[-2:])}; {self.name} is set up for {self.image_size}")
        return self.tokens(pixels)

    @torch.no_grad()
    def tokens(self, pixels: Float[Tensor, "b 3 h w"]) -> Tokens:
        """As `forward`, for images of any size that is a multiple of `patch`, where `any_size` says so."""
        sequence = self.normed(pixels).float()
        registers = sequence[:, int(self.class_token) : self.prefix]
        grid = (pixels.shape[2] // self.patch[0], pixels.shape[3] // self.patch[1])
        patches = sequence[:, self.prefix :].reshape(len(sequence), *grid, self.dim)
        return Tokens(sequence[:, 0] if self.class_token else None, registers, patches)

    def normed(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """All tokens after the final norm, in the network's precision."""
        network: Any = self.trunk
        return self.late_norm(network.forward_features(pixels.to(next(network.parameters()).dtype)))

    def late_norm(self, sequence: Float[Tensor, "b t d"]) -> Float[Tensor, "b t d"]:
        """The final norm of networks that average their tokens, which keep it behind the average."""
        late = getattr(self.trunk, "fc_norm", None)
        return sequence if late is None else late(sequence)


class VisionTransformer(PatchTokens):
    """A published transformer by timm's name, with the hub's weights or those of a file.

    Args:
        models: registers variant to timm name; see `variants.choose`.
        registers: `none`, `four`, or `own` for the backbone's usual variant.
        checkpoint: path of the weights (safetensors, pth; official DINO and DINOv2 names or timm's); None: the hub.
        image_size: side, or (height, width), multiples of the patch size; None: that of the weights' training.
        normalisation: `mean` and `std` per channel; None: the model's own.

    Raises:
        ConfigError: if the variant, the size or the weights cannot be had.
    """

    def __init__(
        self,
        models: Mapping[str, str],
        registers: str,
        checkpoint: str | None,
        image_size: int | Sequence[int] | None,
        normalisation: Mapping[str, Sequence[float | int]] | None,
    ) -> None:
        _, name = choose(models, registers)
        trunk = build(name)
        published = timm.get_pretrained_cfg(name)
        expects = preprocessing(published, image_size, normalisation, tuple(trunk.patch_embed.patch_size))
        checkpoints.load(trunk, hub.fetch(name, published) if checkpoint is None else checkpoint)
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

    def __init__(
        self,
        model: str,
        registers: str,
        checkpoint: str | None,
        image_size: int | Sequence[int] | None,
        normalisation: Mapping[str, Sequence[float | int]] | None,
    ) -> None:
        super().__init__({"own": model}, "own", checkpoint, image_size, normalisation)
        found = self.prefix - int(self.class_token)
        if registers != "own" and REGISTERS.get(registers) != found:
            raise ConfigError("registers", registers, f"{model} has {found}", "Set registers=own, or another model.")


def build(name: str) -> Any:  # noqa: ANN401 - a module whose attributes no type knows
    """The network of this name without its head, its parameters still random.

    Raises:
        ConfigError: if timm has no such model, or it is no plain transformer.
    """
    if not timm.is_model(name):
        near = ", ".join(timm.list_models(f"*{name.split('.')[0][:12]}*")[:5])
        raise ConfigError("backbone.model", name, "timm has no such model", f"Similar: {near or 'none'}.")
    trunk = checkpoints.without_heads(_created(name))
    if not hasattr(trunk, "num_prefix_tokens") or not hasattr(getattr(trunk, "patch_embed", None), "grid_size"):
        raise ConfigError(
            "backbone.model", name, "it is no transformer over one grid of patches", "Choose a ViT, DeiT, BEiT or EVA."
        )
    return trunk


def _created(name: str) -> nn.Module:
    """The network, able to resample its positions as it goes where timm's class for it can: `regions` ask for that."""
    try:
        return timm.create_model(name, num_classes=0, dynamic_img_size=True)
    except TypeError:
        return timm.create_model(name, num_classes=0)
