"""One way to ask for a store, with the settings of tests; also a program, so that it can be killed."""

import sys
from pathlib import Path

import seekloop  # noqa: F401 - before Lightning, which imports torchvision
from seekloop.descriptors.encoding import FromTokens
from seekloop.descriptors.pooling import Auto
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.extraction.trainer import TrainerSettings
from seekloop.regions.grid import Grid
from tests.extraction.fakes import Noise, Patches

TRAINER = {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "workers": 0, "jobs": 1}
OF_TRAINER = ("batch_size", "workers")


def settings(store_dir, trainer=None, **changes):
    chosen = {**TRAINER, "batch_size": 2, **(trainer or {})}
    chosen |= {name: changes.pop(name) for name in OF_TRAINER if name in changes}
    return {"store_dir": store_dir, "trainer": TrainerSettings(**chosen), "dtype": "float16", "shard": 4, **changes}


def choices(collection, backbone=None, regions=None, encoding=None, pooling=None):
    return (
        collection,
        backbone or Patches(),
        regions or Grid("2x2", "4x4"),
        encoding or FromTokens(),
        pooling or Auto(),
    )


def extract(store_dir, collection, trainer=None, workers=0, fail_fast=False, say=None, chosen=None, **changes):
    """Returns the folder; `chosen` are the components, `changes` other settings."""
    stage = staged(store_dir, collection, trainer, chosen, workers=workers, fail_fast=fail_fast, **changes)
    return ensure(stage, say or (lambda _: None))


def staged(store_dir, collection, trainer=None, chosen=None, **changes):
    known = {"fail_fast": False, **settings(store_dir, trainer, **changes)}
    return Extraction(*choices(collection, **(chosen or {})), **known)


def planned(store_dir, collection, trainer=None, chosen=None, **changes):
    return staged(store_dir, collection, trainer, chosen, **changes).plan


def contents(folder: Path):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


if __name__ == "__main__":
    folder, images, deadly, devices = sys.argv[1:]
    collection = Noise(int(images), corrupt=(7,), deadly=int(deadly))
    strategy = "auto" if devices == "1" else "ddp_spawn"
    extract(Path(folder), collection, trainer={"devices": int(devices), "strategy": strategy}, say=print)
