"""`seekloop check`: validate a collection, and say what a run over it would cost, without computing anything."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf

from seekloop.artifacts.files import make_folder, write_bytes
from seekloop.commands.extract import prepare, report_collection, report_problems
from seekloop.commands.parts import build
from seekloop.commands.queries import asked_by_words
from seekloop.commands.simulated import simulation_of
from seekloop.commands.texts import check_space
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import counted, many
from seekloop.contracts.protocols import Collection
from seekloop.extraction.estimate import seconds_per_image
from seekloop.extraction.plan import Plan
from seekloop.images.files import FileCollection, refuse_losses
from seekloop.images.inspection import Inspection, inspect
from seekloop.logs.console import Console
from seekloop.logs.drawing import save
from seekloop.logs.pictures import BoxedPicture, contact_sheet
from seekloop.loop.engine import check_pool

LISTED_CLASSES = 12
LIMITS = ("max_loss", "source.max_loss")  # where a collection, or the one it is made from, says what it may lose


def check(config: DictConfig) -> None:
    """Look at every image and box of a collection; write a list of problems and a contact sheet; estimate the cost.

    Raises:
        ConfigError: after the report, if a run would stop because too many objects would be left out.
    """
    console = Console()
    collection = tolerant(config)
    say_collection(collection, console)
    with console.counting("looking at images", len(collection.paths)) as progress:
        found = inspect(collection, config.check.decode, progress)
    say_inspection(collection, found, console)
    words = [collection.name, collection.root.name if isinstance(collection, FileCollection) else ""]
    folder = Path(config.check.folder) / "-".join(word for word in words if word)
    write(folder, collection, found, config.check.shown)
    console.say(f"every problem: {folder / 'problems.csv'}, pictures with boxes: {folder / 'contact_sheet.png'}")
    for line in costs(config, collection):
        console.say(line)
    limits = [OmegaConf.select(config, f"collection.{key}") for key in LIMITS]
    limit = next((one for one in limits if one is not None), 1)
    refuse_losses(len(collection.annotations.image), collection.problems, limit, collection)


def tolerant(config: DictConfig) -> Collection:
    """The collection of a config, however many of its objects, or of those of its source, are lost."""
    limits = [f"collection.{key}" for key in LIMITS if OmegaConf.select(config, f"collection.{key}") is not None]
    accepting = OmegaConf.from_dotlist([f"{limit}=1" for limit in limits])
    collection: Collection = build(DictConfig(OmegaConf.merge(config, accepting)), "collection")
    return collection


def say_collection(collection: Collection, console: Console) -> None:
    """Images, objects and classes."""
    console.say(f"{collection.name}: {many(len(collection.paths), 'image', 'images')}")
    report_collection(collection, console)
    known = collection.annotations
    counts = known.label.bincount(minlength=len(known.classes)).tolist()
    images = known.relevance(len(collection.paths)).sum(dim=1).tolist()
    ranked = sorted(zip(known.classes, counts, images, strict=True), key=lambda row: -row[2])
    for name, objects, shown in ranked[:LISTED_CLASSES]:
        console.say(f"  {name}: {many(objects, 'object', 'objects')} in {many(shown, 'image', 'images')}")
    if len(ranked) > LISTED_CLASSES:
        console.say(f"  ... and {many(len(ranked) - LISTED_CLASSES, 'more class', 'more classes')}")


def say_inspection(collection: Collection, found: Inspection, console: Console) -> None:
    """Print sizes, orientations, damaged files and copies."""
    if found.sizes:
        areas = sorted(found.sizes.values(), key=lambda size: size[0] * size[1])
        small, middle, large = (f"{w} x {h}" for w, h in (areas[0], areas[len(areas) // 2], areas[-1]))
        console.say(f"sizes: from {small} over {middle} (median) to {large} pixels")
    if found.orientations:
        first = {number: collection.paths[image] for image, number in reversed(found.orientations.items())}
        counts = sorted(Counter(found.orientations.values()).items())
        turned = ", ".join(f"{count:,} with {number} (such as {first[number]})" for number, count in counts)
        console.say(f"EXIF orientation: {turned}; the others are upright")
    if found.problems:
        console.say("in the files themselves:")
    report_problems(found.problems, console)
    if not found.problems and not collection.problems:
        console.say("nothing is wrong with it")


def write(folder: Path, collection: Collection, found: Inspection, shown: int) -> None:
    """Write `problems.csv`, `check.json` and `contact_sheet.png`."""
    make_folder(folder, "check.folder")
    problems = [*collection.problems, *found.problems]
    rows = [asdict(problem) | {"kind": str(problem.kind)} for problem in problems]
    table = pd.DataFrame(rows, columns=["where", "what", "kind", "count"])
    content = table.to_csv(index=False).encode("utf-8", "backslashreplace")
    write_bytes(folder / "problems.csv", content, "check.folder")
    summary: dict[str, Any] = {
        "images": len(collection.paths),
        "images_unreadable": len(found.unreadable),
        "objects": len(collection.annotations.image),
        "classes": list(collection.annotations.classes),
        "orientations": dict(sorted(Counter(found.orientations.values()).items())),
        **counted(problems),
    }
    write_bytes(folder / "check.json", (json.dumps(summary, indent=2) + "\n").encode(), "check.folder")
    save(contact_sheet(pictures(collection, found, shown)), folder / "contact_sheet.png", "check.folder")


def pictures(collection: Collection, found: Inspection, shown: int) -> list[BoxedPicture]:
    """Pictures for the contact sheet: those that problems are about first, then others spread over the collection."""
    known = collection.annotations
    readable = [image for image in range(len(collection.paths)) if image not in found.unreadable]
    position = {path: image for image, path in enumerate(collection.paths)}
    doubtful = [position[one.where] for one in (*collection.problems, *found.problems) if one.where in position]
    annotated = set(known.image.tolist())
    rest = [image for image in readable if image in annotated] or readable
    spread = rest[:: max(1, len(rest) // max(1, shown))]
    first = [*found.orientations, *doubtful][: max(1, shown // 2)]
    chosen = [image for image in dict.fromkeys([*first, *spread]) if image not in found.unreadable]
    return [
        BoxedPicture(
            collection.read(image),
            collection.paths[image],
            [
                (known.classes[int(known.label[row])], int(known.label[row]), tuple(known.box[row].tolist()))
                for row in (known.image == image).nonzero()[:, 0].tolist()
            ],
        )
        for image in chosen[:shown]
    ]


def costs(config: DictConfig, collection: Collection) -> Sequence[str]:
    """Time and disk of a run with this config, estimated from a few images."""
    extraction = prepare(config, collection)
    plan = extraction.plan
    disk = f"{plan.bytes() / 1e6:,.1f} MB in {plan.folder}" if plan.parts.regions is not None else ""
    if not disk:
        line = "the detector's time comes on top: `seekloop detect` with collection.images or a small folder says"
    elif plan.finished:
        line = f"descriptors: there already, {disk}"
    else:
        some = range(min(max(1, config.check.measure), len(collection.paths)))
        seconds = seconds_per_image(extraction, some)
        time = duration(seconds * plan.missing_images())
        line = f"descriptors: about {time} on this processor ({seconds:.3f} s an image), {disk}"
    return [line, *searches(config, collection, plan)]


def searches(config: DictConfig, collection: Collection, plan: Plan) -> list[str]:
    """How many searches there would be, how many answers they ask for, and the words that they begin with."""
    known = collection.annotations
    if not len(known.image):
        return ["no simulated searches: there are no annotated objects"]
    everything = torch.ones(len(collection.paths), dtype=torch.bool)
    try:
        planned = simulation_of(config)
        queries, left_out = planned.draw(known, everything, collection.problems)
    except ConfigError as error:
        return [f"no simulated searches: {error}"]
    asked = len(queries) * planned.rounds * planned.budget
    size = f"{planned.rounds} rounds x {planned.budget} questions"
    lines = [f"searches: {len(queries):,} of {size}, {asked:,} answers in all"]
    try:
        check_pool(len(collection.paths) - 1 - planned.negatives, planned.rounds, planned.budget, owner=planned)
    except ConfigError as error:
        lines.append(f"  seekloop retrieve would refuse them: {error.why}. {error.fix}")
    try:
        prior = build(config, "prior")
        by_words = asked_by_words(config, prior, queries, collection.name, known.classes)
        if by_words is not None:
            check_space(by_words.encoder, plan.manifest)
            by_words.encoded(None, lines.append)
            lines.append(f"  they begin with words: {', '.join(by_words.texts[:LISTED_CLASSES])}")
    except ConfigError as error:
        lines.append(f"  seekloop retrieve would refuse them: {error}")
    return [*lines, *(f"  class {name!r} is left out: {why}" for name, why in list(left_out.items())[:LISTED_CLASSES])]


def duration(seconds: float | int) -> str:
    """A time for people.

    Example:
        >>> duration(4.2), duration(250), duration(9000)
        ('4 s', '4 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
