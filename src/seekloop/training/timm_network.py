"""Networks of timm that learn, from scratch or from trained weights."""

from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from seekloop.backbones.preprocessing import triple
from seekloop.backbones.weights import checkpoints
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.lazy import lazily
from seekloop.contracts.learning import Network, Triple
from seekloop.contracts.recipe import file_hash
from seekloop.training.networks import drawn_from, entrance, resized

if TYPE_CHECKING:
    import timm
else:
    timm = lazily("timm")


@component
class TimmModel:
    """Source of networks of timm with a linear head.

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

    model: str = "resnet18"
    options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    small_stem: bool = True
    image_size: Count | None = None
    unit: bool = True
    sobel: bool = False

    def __post_init__(self) -> None:
        if not timm.is_model(self.model):
            near = ", ".join(timm.list_models(f"*{self.model.split('.')[0][:8]}*")[:5])
            raise ConfigError("model", self.model, "timm has no such model", f"Similar: {near or 'none'}.", self)
        if self.weights is not None and (self.small_stem or self.sobel):
            key = "small_stem" if self.small_stem else "sobel"
            why = "trained weights have another first layer"
            raise ConfigError(key, True, why, f"Set {key}=false, or weights=null.", self)

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
        """Mean of the images that the weights were trained on; None from scratch."""
        return self._published("mean")

    @property
    def std(self) -> Triple | None:
        """Deviation of the images that the weights were trained on; None from scratch."""
        return self._published("std")

    def build(self, classes: int, seed: int) -> Network:
        """Build a fresh network: its weights depend on the seed, but for those that were trained.

        Raises:
            ConfigError: if timm does not take the options, or the weights cannot be had or do not fit.
        """
        first, channels = entrance(self.sobel)
        with drawn_from(seed):
            try:
                trunk = timm.create_model(self.model, num_classes=0, in_chans=channels, **dict(self.options))
            except (TypeError, ValueError, AssertionError) as error:
                why = f"timm does not build {self.model} with them ({error})"
                raise ConfigError("options", dict(self.options), why, "See timm.create_model.", self) from error
            checkpoints.without_heads(trunk)
            if self.small_stem:
                self._shrink_stem(trunk)
            network = TimmNetwork(trunk, first, classes, self.image_size, self.unit)
        if self.weights is not None:
            try:
                checkpoints.fill(trunk, self.model, None if self.weights == "hub" else self.weights)
            except ConfigError as error:
                raise ConfigError("weights", self.weights, error.why, error.fix, self) from error
        return network

    def _shrink_stem(self, trunk: Any) -> None:  # noqa: ANN401 - a module whose attributes no type knows
        first = getattr(trunk, "conv1", None)
        if not isinstance(first, nn.Conv2d) or not hasattr(trunk, "maxpool"):
            why = f"{self.model} does not begin with one convolution and a pooling"
            raise ConfigError("small_stem", True, why, "Choose a ResNet, or small_stem=false.", self)
        trunk.conv1 = nn.Conv2d(first.in_channels, first.out_channels, 3, padding=1, bias=False)
        nn.init.kaiming_normal_(trunk.conv1.weight, mode="fan_out", nonlinearity="relu")
        trunk.maxpool = nn.Identity()

    def _published(self, name: str) -> Triple | None:
        return None if self.weights is None else triple(getattr(timm.get_pretrained_cfg(self.model), name))


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
        """Vector of the trunk, of unit length if so configured."""
        size = None if self.image_size is None else (self.image_size, self.image_size)
        vectors: Tensor = self.trunk(self.entrance(resized(pixels, size)))
        return F.normalize(vectors, dim=1) if self.unit else vectors
