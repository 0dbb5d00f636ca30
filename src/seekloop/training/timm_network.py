"""Networks of timm that learn, from scratch or from published weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.backbones import checkpoints, hub
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.contracts.learning import Network
from seekloop.contracts.recipe import file_hash
from seekloop.training.networks import Triple, drawn_from, entrance

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")


@dataclass(frozen=True)
class TimmModel:
    """Builds a network of timm with a linear head.

    Args:
        model: timm's name.
        options: handed to timm's builder, such as `{img_size: 32, patch_size: 4}` for a transformer.
        weights: None: random; `hub`: the published ones; else a file (safetensors, pth; timm's or official names).
        small_stem: for ResNets: a 3x3 convolution first, without stride, and no max-pooling, as suits 32 pixels.
        image_size: side that images are brought to before the network; None: as they are.
        unit: whether features are brought to unit length before the head.
        sobel: whether the network sees edges instead of colours.

    Raises:
        ConfigError: if timm has no such model or does not take the options, or the weights cannot be had or do not fit.
    """

    model: str
    options: Mapping[str, Any]
    weights: str | None
    small_stem: bool
    image_size: int | None
    unit: bool
    sobel: bool

    def __post_init__(self) -> None:
        if not timm.is_model(self.model):
            near = ", ".join(timm.list_models(f"*{self.model.split('.')[0][:8]}*")[:5])
            raise ConfigError("model.model", self.model, "timm has no such model", f"Similar: {near or 'none'}.")
        if self.weights is not None and (self.small_stem or self.sobel):
            key = "small_stem" if self.small_stem else "sobel"
            why = "published weights have another first layer"
            raise ConfigError(f"model.{key}", True, why, f"Set model.{key}=false, or model.weights=null.")

    @property
    def name(self) -> str:
        """For people."""
        return self.model

    def settings(self) -> dict[str, Any]:
        """For recipes: weights from a file count by their content, wherever the file lies."""
        known = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.weights not in (None, "hub"):
            known["weights"] = file_hash(Path(str(self.weights)).expanduser())
        return known

    @property
    def mean(self) -> Triple | None:
        """Of the images that published weights were trained on; None from scratch."""
        return self._published("mean")

    @property
    def std(self) -> Triple | None:
        """Likewise."""
        return self._published("std")

    def build(self, classes: int, seed: int) -> Network:
        """A fresh network: its weights depend on the seed, but for those that were published."""
        first, channels = entrance(self.sobel)
        with drawn_from(seed):
            trunk = checkpoints.without_heads(self._trunk(channels))
            if self.small_stem:
                _shrink_stem(trunk, self.model)
            network = TimmNetwork(trunk, first, classes, self.image_size, self.unit)
        if self.weights is not None:
            self._load(trunk)
        return network

    def _trunk(self, channels: int) -> nn.Module:
        try:
            return timm.create_model(self.model, num_classes=0, in_chans=channels, **dict(self.options))
        except (TypeError, ValueError, AssertionError) as error:
            why = f"timm does not build {self.model} with them ({error})"
            raise ConfigError("model.options", dict(self.options), why, "See timm.create_model.") from error

    def _load(self, trunk: nn.Module) -> None:
        """Fill the trunk; errors name this model's key, not the backbone's that the reader of files speaks of."""
        try:
            published = self.weights == "hub"
            path = hub.fetch(self.model, timm.get_pretrained_cfg(self.model)) if published else str(self.weights)
            checkpoints.load(trunk, path)
        except ConfigError as error:
            why = f"they cannot be loaded ({error})"
            fix = "Give a file of this model, model.weights=hub, or model.weights=null to start from scratch."
            raise ConfigError("model.weights", self.weights, why, fix) from error

    def _published(self, what: str) -> Triple | None:
        if self.weights is None:
            return None
        values: Sequence[float] = getattr(timm.get_pretrained_cfg(self.model), what)
        red, green, blue = (float(value) for value in values)
        return red, green, blue


class TimmNetwork(Network):
    """A network of timm under a linear head.

    Args:
        trunk: without its own head; gives one vector per image.
        entrance: what comes before it.
        classes: outputs of the head.
        image_size: as in `TimmModel`.
        unit: as in `TimmModel`.
    """

    def __init__(self, trunk: nn.Module, entrance: nn.Module, classes: int, image_size: int | None, unit: bool) -> None:
        super().__init__()
        self.frozen = False
        self.trunk, self.entrance = trunk, entrance
        self.image_size, self.unit = image_size, unit
        self.dim = int(trunk.num_features)  # type: ignore[arg-type]
        self.head = nn.Linear(self.dim, classes)

    def features(self, pixels: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The trunk's vector, of unit length if so configured."""
        found: Tensor = self.trunk(self.entrance(resized(pixels, self.image_size)))
        return F.normalize(found, dim=1) if self.unit else found


def resized(pixels: Float[Tensor, "b 3 h w"], side: int | None) -> Float[Tensor, "b 3 _ _"]:
    """Images brought to a square of this side (bicubic, averaging where they shrink); None: as they are."""
    if side is None or tuple(pixels.shape[-2:]) == (side, side):
        return pixels
    return F.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True, align_corners=False)


def _shrink_stem(trunk: nn.Module, name: str) -> None:
    network: Any = trunk  # whose attributes no type knows
    first = getattr(network, "conv1", None)
    if not isinstance(first, nn.Conv2d) or not hasattr(network, "maxpool"):
        why = f"{name} does not begin with one convolution and a pooling"
        raise ConfigError("model.small_stem", True, why, "Choose a ResNet, or model.small_stem=false.")
    network.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
