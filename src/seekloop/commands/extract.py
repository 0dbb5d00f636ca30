"""`seekloop extract`: describe a collection's images once; later runs share the store."""

from collections.abc import Callable, Sequence
from pathlib import Path

from omegaconf import DictConfig

from seekloop.commands.compose import plain
from seekloop.commands.parts import build
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, first_reasons, many, summarised
from seekloop.contracts.protocols import Collection
from seekloop.extraction.describe import ensure
from seekloop.extraction.detect import Detection
from seekloop.extraction.discover import Discovered, Discovery
from seekloop.extraction.plan import Extraction
from seekloop.images.size_shares import size_shares
from seekloop.logs.console import Console
from seekloop.regions.detected import Detected
from seekloop.regions.parts import PartsOfImages
from seekloop.store.reader import Store, open_store
from seekloop.store.shards import discard, verify

VERIFY = ("none", "full")
WRITING = ("dtype", "shard", "fail_fast")  # of the store group; the rest is about searching it


def prepare(config: DictConfig, collection: Collection | None = None) -> Extraction:
    """Build what extraction needs; nothing is computed yet.

    Args:
        config: of any command that extracts.
        collection: the images; None for those of the config.

    Raises:
        ConfigError: if the choices do not fit together.
    """
    if not isinstance(config.grid, str):
        raise ConfigError("grid", config.grid, "it is no grid", "Write rows x columns, such as 2x2 or 1x1+2x2+4x4.")
    trainer, store = build(config, "trainer"), plain(config)["store"]
    collection = build(config, "collection") if collection is None else collection
    parts = (
        build(config, "backbone"),
        build_regions(config),
        build(config, "encoding"),
        build(config, "pooling"),
    )
    written = {key: store[key] for key in WRITING}
    return Extraction(collection, *parts, config.store_dir, trainer, **written, longest=config.longest)


def build_regions(config: DictConfig) -> PartsOfImages:
    """The choice of regions: where a detector finds them, a stage that computes on the trainer's devices.

    Raises:
        ConfigError: if the choices do not fit together.
    """
    regions = build(config, "regions")
    if isinstance(regions, Discovered):
        return Discovery(regions, config.store_dir, build(config, "trainer"))
    if isinstance(regions, Detected):
        return Detection(regions, config.store_dir, build(config, "trainer"))
    return regions


def described(extraction: Extraction, grid: str, say: Callable[[str], None]) -> Store:
    """The store of a stage, described where it is not, with the cells of a grid where its regions are cells."""
    folder = ensure(extraction, say)
    return open_store(folder, grid if extraction.plan.manifest.grids is not None else None)


def extract(config: DictConfig) -> None:
    """Make, finish or verify the store of a config, and say where it is."""
    if config.verify not in VERIFY:
        raise ConfigError("verify", config.verify, "it is unknown", f"Valid: {', '.join(VERIFY)}.")
    console = Console()
    extraction = prepare(config)
    report_collection(extraction.collection, console)
    folder = ensure(extraction, console.say)
    if config.verify == "full":
        _verified(extraction, folder, console)
    console.say(f"{len(extraction.collection.paths):,} images in {folder}")


def _verified(extraction: Extraction, folder: Path, console: Console) -> None:
    """Read the whole store; what is damaged is computed again."""
    damaged = verify(folder)
    for problem in damaged:
        console.say(f"damaged: {problem.where}: {problem.what}")
    if damaged:
        discard(folder, damaged)
        ensure(extraction, console.say)
    console.say("every checksum is right and every number finite" + (" now" if damaged else ""))


def report_collection(collection: Collection, console: Console) -> None:
    """Say what the annotations hold, and what was left out of them."""
    if len(collection.annotations.image):
        shares = size_shares(collection.annotations)
        console.say(
            f"{many(len(collection.annotations.image), 'object', 'objects')} of "
            f"{many(len(collection.annotations.classes), 'class', 'classes')}: "
            + ", ".join(f"{share:.1%} {size}" for size, share in shares.items())
        )
    else:
        console.say("no annotated objects: good for a person's search, not for simulated ones")
    report_problems(collection.problems, console)


def report_problems(problems: Sequence[Problem], console: Console) -> None:
    """Say how many objects and files were left out, with the first reasons; nothing where there are none."""
    if problems:
        console.say(summarised(problems))
    for reason in first_reasons(problems):
        console.say(f"  {reason}")
