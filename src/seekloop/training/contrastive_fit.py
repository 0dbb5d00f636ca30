"""Fine-tuning of a backbone on pairs as a stage: from a collection to a file of weights, gone on with after a kill."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from seekloop.backbones.cnn import FeatureMap
from seekloop.contracts.errors import ConfigError, UnreadableImageError
from seekloop.contracts.protocols import Backbone, Collection
from seekloop.contracts.randomness import generator
from seekloop.contracts.recipe import Json, Recipe, settings
from seekloop.images.transforms import to_pixels
from seekloop.lightning.trainers import trainer_of
from seekloop.regions.mser import Activations
from seekloop.store.manifest import folder_name
from seekloop.training.contrastive import Contrastive, Pool, Tuple, contrastive, pooled, triplet
from seekloop.training.contrastive_matching import CommonParts
from seekloop.training.epochs import undisturbed
from seekloop.training.pretraining import PretrainingFolder, claimed, read_epochs

SEEN = 16  # images at once through the network while negatives are looked for
Say = Callable[[str], None]


@dataclass(frozen=True)
class FineTuning:
    """A stage: the weights of a backbone, fine-tuned on the pairs of a collection.

    Attributes:
        settings: of the training.
        backbone: where it begins; it is changed.
        collection: images with annotations; two match if they show a class in common.
        store_dir: folder of all stores.
        seed: of everything that is drawn.
    """

    settings: Contrastive
    backbone: FeatureMap
    collection: Collection
    store_dir: Path | str
    seed: int = 0

    @cached_property
    def recipe(self) -> Recipe:
        """Recipe of the weights."""
        known: dict[str, Json] = {
            "finetuning": settings(self.settings),
            "backbone": settings(self.backbone),
            "image_size": list(self.backbone.image_size),
            "collection": self.collection.fingerprint(),
            "annotations": self.collection.annotations.fingerprint(),
            "seed": self.seed,
        }
        return Recipe("weights", known)

    @cached_property
    def folder(self) -> Path:
        """Where they lie."""
        name = folder_name(self.collection.name, self.backbone.name, self.recipe.key[:10])
        return Path(self.store_dir) / "finetuned" / name

    def ensure(self, say: Say) -> Path:
        """The file of the weights, trained where it is not there yet, from the last whole epoch on.

        Raises:
            ConfigError: if no two images match or all do, or the loss is not finite.
            UnreadableImageError: if an image cannot be read.
        """
        kept_in = PretrainingFolder(self.folder, self.recipe.key)
        with claimed(self.folder, say, "fine-tuning"):
            if kept_in.weights.exists():
                return kept_in.weights
            module = Pairs(self, kept_in.kept() or {}, kept_in.keep, say)
            placed = {"accelerator": self.settings.accelerator, "devices": 1, "precision": "32-true"}
            if module.first < self.settings.epochs:
                with undisturbed():
                    left = self.settings.epochs - module.first
                    trainer_of({**placed, "max_epochs": left}, key="accelerator").fit(module)
            return kept_in.finish(self.backbone.whole_weights())

    def epochs(self) -> list[dict[str, Any]]:
        """What was noted with each epoch: loss, exponent, and mAP of the pool before it."""
        return [{str(key): value for key, value in row.items()} for row in read_epochs(self.folder).to_dict("records")]


def trainable(backbone: Backbone) -> FeatureMap:
    """The backbone itself, if its layers can be fine-tuned.

    Raises:
        ConfigError: if it is no convolutional network of timm's.
    """
    if isinstance(backbone, FeatureMap):
        return backbone
    fix = "Choose a CNN: backbone=resnet50, resnet101 or vgg16."
    raise ConfigError("backbone", backbone.name, "its layers are not fine-tuned here", fix)


class Pairs(pl.LightningModule):
    """Siamese training of a backbone's trunk with its pooling.

    Everything random in an epoch derives from (seed, epoch): an epoch begun again is the same.

    Args:
        stage: what is trained, how, on what.
        kept: what an earlier process has kept; empty at the start.
        keep: told after every epoch what is needed to go on.
        say: where messages for people go.
    """

    def __init__(
        self, stage: FineTuning, kept: Mapping[str, Any], keep: Callable[[dict[str, Any]], None], say: Say
    ) -> None:
        super().__init__()
        self.stage, self.settings, self.keep, self.say = stage, stage.settings, keep, say
        self.trunk = stage.backbone.trunk.requires_grad_(True)
        self.p = nn.Parameter(torch.tensor(float(self.settings.p)), requires_grad=self.settings.pooling == "gem")
        self.first: int = kept.get("epoch", 0)
        self.rows: list[dict[str, Any]] = [*kept.get("rows", [])]
        self.kept = kept
        if kept:
            self.trunk.load_state_dict(kept["trunk"])
            self.p.data.fill_(kept["p"])
        known = stage.collection.annotations
        self.shown = known.relevance(len(stage.collection.paths)).T
        matching = self.shown.sum(dim=0)
        if not bool((matching > 1).any()):
            why, fix = "no class is on two of its images", "Take a collection with annotated classes."
            raise ConfigError("collection", stage.collection.name, why, fix)
        self.common: CommonParts | None = None
        self._sum, self._tuples, self._map, self._started = 0.0, 1, 0.0, 0.0

    def configure_optimizers(self) -> Optimizer:
        """Adam, as an earlier process left it; the exponent learns faster and does not decay."""
        chosen = self.settings
        groups = [
            {"params": [*self.trunk.parameters()], "lr": chosen.lr, "weight_decay": chosen.weight_decay},
            {"params": [self.p], "lr": chosen.lr * chosen.exponent_lr, "weight_decay": 0.0},
        ]
        optimiser = torch.optim.Adam(groups)
        if self.kept:
            optimiser.load_state_dict(self.kept["optimiser"])
        return optimiser

    @property
    def epoch(self) -> int:
        """Number of the epoch, those of earlier processes included."""
        return self.first + self.current_epoch

    def train_dataloader(self) -> DataLoader[Any]:
        """The tuples of the epoch that begins, with the negatives that are hardest now."""
        self._started = time.monotonic()
        rng = generator(self.stage.seed, "finetune", self.epoch)
        pool, pairs = Pool.draw(self.shown, self.settings, rng)
        seen = Activations() if self.settings.matched else None
        vectors = self.describe(pool.images.tolist(), seen)
        self.common = None if seen is None else CommonParts.of(seen)
        self._map = pool.mean_average_precision(vectors)
        tuples = [one for one in pool.tuples(vectors, pairs, self.settings.negatives) if one[2]]
        if not tuples:
            why, fix = "all images show a class in common", "Take a collection with several classes."
            raise ConfigError("collection", self.stage.collection.name, why, fix)
        self._tuples = len(tuples)
        batch = self.settings.batch
        parts = [tuples[start : start + batch] for start in range(0, len(tuples), batch)]
        return DataLoader(Tuples(self.stage, parts), batch_size=None)

    @torch.no_grad()
    def describe(self, images: Sequence[int], seen: Activations | None = None) -> Float[Tensor, "k d"]:
        """Vectors of images of the collection as the network sees them now, on the CPU.

        Args:
            images: positions.
            seen: counts their activations.
        """
        self.trunk.eval()
        found = []
        for start in range(0, len(images), SEEN):
            patches = self.maps(torch.stack([pixels_of(self.stage, image) for image in images[start : start + SEEN]]))
            found.append(pooled(patches, None, self.settings.pooling, self.p).cpu())
            for map_ in patches.float().cpu().permute(0, 3, 1, 2).numpy() if seen is not None else ():
                seen.add(map_)  # type: ignore[union-attr]  # there is nothing to loop over without it
        return torch.cat(found)

    def maps(self, pixels: Float[Tensor, "k 3 h w"]) -> Float[Tensor, "k rows columns d"]:
        """Maps A of images."""
        (cells,) = self.trunk(pixels.to(self.device).contiguous(memory_format=torch.channels_last))
        return cells.permute(0, 2, 3, 1)

    def on_train_epoch_start(self) -> None:
        """Batch normalisation stays as it was trained; the learning rate falls."""
        self.trunk.eval()
        self._sum = 0.0
        fallen = math.exp(-self.settings.decay * self.epoch)
        for group, rate in zip(self.optimizers().param_groups, (1.0, self.settings.exponent_lr), strict=True):  # type: ignore[union-attr]
            group["lr"] = self.settings.lr * rate * fallen

    def training_step(self, batch: "PixelsOfTuples", batch_idx: int) -> Float[Tensor, ""]:
        """Sum of the losses of some tuples, one after the other."""
        del batch_idx
        patches: Sequence[Tensor] = self.maps(batch.pixels).split(batch.sizes)  # type: ignore[no-untyped-call]
        loss = torch.stack([self.loss(one) for one in patches]).sum()
        self._sum += float(loss.detach())
        return loss

    def loss(self, patches: Float[Tensor, "k h w d"]) -> Float[Tensor, ""]:
        """Loss of a tuple: its query, its positive, its negatives."""
        count = len(patches) - 1
        own, others = patches[:1].expand(count, -1, -1, -1), patches[1:]
        mask, masks = (None, None) if self.common is None else self.masks(patches)
        chosen = self.settings
        first, second = pooled(own, mask, chosen.pooling, self.p), pooled(others, masks, chosen.pooling, self.p)
        if chosen.loss == "triplet":  # the query as its positive sees it
            anchor, positive = first[:1].expand(count - 1, -1), second[:1].expand(count - 1, -1)
            return triplet(anchor, positive, second[1:], chosen.margin).sum()
        matching = torch.arange(count, device=first.device) == 0
        return contrastive(first, second, matching, chosen.margin).sum()

    def masks(self, patches: Float[Tensor, "k h w d"]) -> tuple[Bool[Tensor, "j h w d"], Bool[Tensor, "j h w d"]]:
        """Masks of the query for each other image of its tuple, and of each of these."""
        if self.common is None:
            raise ValueError("images are not matched")
        query, *others = [self.common.detect(one) for one in patches]
        rows, columns, channels = patches.shape[1:]
        both = [self.common.masks(query, other, (rows, columns, channels)) for other in others]
        first, second = (torch.stack(part).to(patches.device) for part in zip(*both, strict=True))
        return first, second

    def on_train_epoch_end(self) -> None:
        """Note the epoch, and keep what is needed to go on from it.

        Raises:
            ConfigError: if the loss is not finite.
        """
        loss = self._sum / self._tuples
        if not math.isfinite(loss):
            why = f"the loss is {loss} in epoch {self.epoch}: the weights are lost"
            raise ConfigError("lr", self.settings.lr, why, "Try a tenth of it.", self.settings)
        optimiser: Any = self.optimizers()
        p = float(self.p.detach())
        row = {"epoch": self.epoch, "loss": loss, "map": self._map, "p": p, "tuples": self._tuples}
        self.rows.append({**row, "seconds": time.monotonic() - self._started})
        state = {"epoch": self.epoch + 1, "rows": list(self.rows), "p": p}
        self.keep({**state, "trunk": self.trunk.state_dict(), "optimiser": optimiser.optimizer.state_dict()})
        exponent = f", p {p:.3f}" if self.settings.pooling == "gem" else ""
        where = f"epoch {self.epoch + 1}/{self.settings.epochs}"
        self.say(f"{where}: loss {loss:.4f}, mAP before it {self._map:.4f}{exponent}")


class PixelsOfTuples(NamedTuple):
    """Images of some tuples one after the other, and the number of each tuple's."""

    pixels: Float[Tensor, "k 3 h w"]
    sizes: list[int]


class Tuples(Dataset[PixelsOfTuples]):
    """Batches of tuples, decoded when they are asked for."""

    def __init__(self, stage: FineTuning, batches: Sequence[Sequence[Tuple]]) -> None:
        self.stage, self.batches = stage, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> PixelsOfTuples:
        """Decode a batch."""
        images = [[query, positive, *negatives] for query, positive, negatives in self.batches[index]]
        pixels = torch.stack([pixels_of(self.stage, image) for one in images for image in one])
        return PixelsOfTuples(pixels, [len(one) for one in images])


def pixels_of(stage: FineTuning, image: int) -> Float[Tensor, "3 h w"]:
    """An image of the collection as the backbone takes it.

    Raises:
        UnreadableImageError: naming the collection's image, which has to be left out or repaired.
    """
    backbone = stage.backbone
    try:
        picture = stage.collection.read(image)
    except UnreadableImageError as error:
        why = f"{error.why}; training needs every image"
        raise UnreadableImageError(stage.collection.paths[image], why) from error
    return to_pixels(picture, backbone.image_size, backbone.mean, backbone.std, backbone.interpolation)
