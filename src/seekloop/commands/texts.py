"""Words in a config: their encoder, and whether descriptors live in its space."""

from omegaconf import DictConfig

from seekloop.commands.parts import build
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import TextEncoder
from seekloop.store.manifest import StoreManifest


def encoder_of(config: DictConfig) -> TextEncoder:
    """The encoder of texts that a config chooses.

    Raises:
        ConfigError: if it chooses none.
    """
    encoder: TextEncoder | None = build(config, "text")
    if encoder is None:
        why, fix = (
            "a search by words needs an encoder of texts",
            "Choose text=openclip, text=vocabulary, or text=tiny_clip.",
        )
        raise ConfigError("text", None, why, fix)
    return encoder


def check_space(encoder: TextEncoder, described: StoreManifest) -> None:
    """Refuse descriptors that cannot be compared with an encoder's texts.

    Raises:
        ConfigError: if they live in no space of texts, in another one, or are of another width.
    """
    backbone = described.recipe.settings.get("backbone")
    name = backbone.get("name") if isinstance(backbone, dict) else backbone
    if described.text_space is None:
        why = "its descriptors cannot be compared with texts: they are aligned with none, or pooled by powers or maxima"
        fix = (
            "Choose backbone=openclip, backbone=tiny_clip, or backbone=torchscript with backbone.text_space=<name>; "
            "with pooling=auto, cls or mean, and of encoding=roi pool=mean or medoid."
        )
        raise ConfigError("backbone", name, why, fix)
    if described.text_space != encoder.space:
        why = f"its vectors live in the space {encoder.space!r}, the descriptors of {name} in {described.text_space!r}"
        fix = "Choose the encoder of the same model and weights; spaces that are one are named alike."
        raise ConfigError("text", encoder.name, why, fix)
    if described.dim != encoder.dim:
        why = f"its vectors have {encoder.dim} dimensions, the descriptors of {name} {described.dim}"
        raise ConfigError("text", encoder.name, why, "Choose the encoder that was trained with this backbone.")
