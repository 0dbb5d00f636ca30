"""`seekloop detect`: find regions in a collection, draw them, and compare them with the annotated boxes."""

from typing import TYPE_CHECKING, Annotated

import torch
from annotated_types import Ge, Interval
from omegaconf import DictConfig

from seekloop.commands.compose import choices
from seekloop.commands.discovery import DiscoveryFigures
from seekloop.commands.extract import build_regions, report_collection
from seekloop.commands.parts import build
from seekloop.commands.recipes import detection
from seekloop.commands.task import Outcome, Run, Task, refuse, section
from seekloop.contracts.declared import component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection
from seekloop.extraction.detect import Detection
from seekloop.extraction.discover import Discovery
from seekloop.protocol.kinds import REGIONS
from seekloop.protocol.region_measures import RegionMeasures
from seekloop.regions.parts import PartsOfImages, Say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from seekloop.logs.drawing import Draw
    from seekloop.logs.pictures import RegionsOfImage


@component
class Settings:
    """Numbers of the measures of regions.

    Args:
        shown: images whose regions are drawn.
        threshold: overlap (IoU) from which on the first region of an image counts as right: CorLoc.
    """

    shown: Annotated[int, Ge(0)] = 6
    threshold: Annotated[float, Interval(gt=0, le=1)] = 0.5


def detect(config: DictConfig) -> float:
    """Find the regions of a config and measure them, or find that it was done; returns CorLoc."""
    refuse(config)
    chosen = section(config, "detect", Settings)
    collection: Collection = build(config, "collection")
    regions = build_regions(config)
    parts = regions.parts(collection, poolable=False)
    if parts.truth:
        raise ConfigError("regions", "boxes", "the annotated boxes would be compared with themselves", "Use claid.")

    def find(run: Run) -> Outcome:
        report_collection(collection, run.console)
        measures = located(collection, regions, run.console.say)
        run.artifacts += [measures.detected.folder] if measures.detected else []
        tables, summary = measures.measure(chosen.threshold)
        run.folder.add_once(tables)
        shown = measures.readable.nonzero()[:, 0][: chosen.shown].tolist()

        def draw() -> "Figure":
            from seekloop.logs.pictures import hierarchy

            return hierarchy([picture_of(measures, image) for image in shown])

        drawn: dict[str, Draw] = {"regions": draw} if shown else {}
        if isinstance(regions, Discovery):
            drawn |= DiscoveryFigures(regions, collection, measures.truth, shown).figures()
        return Outcome(summary, drawn)

    return Task(
        config,
        REGIONS,
        [collection.name, choices().get("regions", "regions")],
        detection(config, collection, parts),
        overview=lambda folder: folder.table("images"),
        problems=collection.problems,
    ).run(find)


def located(collection: Collection, regions: PartsOfImages, say: Say) -> RegionMeasures:
    """The regions of a collection, found if they have to be, ready to be measured."""
    if isinstance(regions, Detection):
        detected = regions.found(collection, say)
        return RegionMeasures(collection, regions.located(detected), detected)
    return RegionMeasures(collection, regions.parts(collection, poolable=False).located(say), None)


def picture_of(measures: RegionMeasures, image: int) -> "RegionsOfImage":
    """An image with its regions and annotated boxes, to be drawn."""
    from seekloop.logs.pictures import RegionsOfImage

    regions, truth = measures.regions, measures.truth
    boxes, masks = regions.of(image), regions.masks_of(image)
    level = torch.zeros(len(boxes), dtype=torch.long) if regions.level is None else regions.level[regions.rows(image)]
    masks = torch.zeros(len(boxes), 1, 1, dtype=torch.bool) if masks is None else masks
    known = truth.box[truth.image == image]
    picture = measures.collection.read(image)
    return RegionsOfImage(picture, masks.numpy(), boxes.numpy(), level.numpy(), known.numpy())
