"""Extraction against its two unavoidable parts: decoding alone, and the bare backbone alone.

    python benchmarks/extract.py --root <folder of images> --backbone resnet50_v1 --checkpoint <file>

All three see the same images in the same batches, with the same workers, threads and precision, in one run; each is
repeated, interleaved with the others, and the fastest of each counts. The aim: extraction <= 1.10 x (decode + forward).
Further words are overrides of `seekloop extract`, such as trainer.workers=2 or encoding=crops.
"""

import argparse
import copy
import dataclasses
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from tabulate import tabulate
from torch.utils.data import DataLoader

import seekloop  # noqa: F401 - before Lightning, which imports torchvision
from seekloop.commands.compose import resolve
from seekloop.commands.extract import Extraction, prepare
from seekloop.contracts.protocols import Collection
from seekloop.modules.extraction import batches
from seekloop.modules.images import Decoded, Images, transform_of

AIM = 1.10


class First:
    """The first images of a collection."""

    def __init__(self, collection: Collection, images: int) -> None:
        self.name, self.annotations, self.problems = collection.name, collection.annotations, collection.problems
        self.paths = list(collection.paths)[:images]
        self.all = collection

    def read(self, image: int) -> Image.Image:
        return self.all.read(image)

    def fingerprint(self) -> str:
        return f"{self.all.fingerprint()} {len(self.paths)}"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and seconds of all cores, those of finished worker processes included."""
    started, before = time.perf_counter(), os.times()
    work()
    return time.perf_counter() - started, sum(os.times()[:4]) - sum(before[:4])


def loader(extraction: Extraction) -> DataLoader[Decoded]:
    """The loader that extraction uses, with all of its batches."""
    ahead = extraction.plan()
    regions, encoding, rows = ahead.parts.regions, extraction.encoding, extraction.settings["batch_size"]
    step = encoding.images_per_batch(regions, ahead.manifest.images, rows)
    transform = transform_of(extraction.backbone)
    spans = batches(ahead, step)
    workers = extraction.settings["workers"]
    return Images(extraction.collection, transform, encoding, regions, spans, workers).predict_dataloader()


def decode(extraction: Extraction) -> list[Decoded]:
    return list(loader(extraction))


def device_and_type(extraction: Extraction) -> tuple[str, torch.dtype]:
    precision = extraction.plan().manifest.content["precision"]
    cuda = extraction.settings["trainer"]["accelerator"] != "cpu" and torch.cuda.is_available()
    return "cuda" if cuda else "cpu", {"bf16-true": torch.bfloat16, "16-true": torch.half}.get(precision, torch.float32)


def forward(network: torch.nn.Module, decoded: list[Decoded], rows: int, device: str) -> None:
    with torch.inference_mode():
        for batch in decoded:
            for part in batch.pixels.split(rows):
                network(part.to(device))
    if device == "cuda":
        torch.cuda.synchronize()


def fresh(extraction: Extraction, folder: Path, number: int) -> Extraction:
    """The same extraction into an empty folder."""
    return dataclasses.replace(extraction, settings={**extraction.settings, "store_dir": str(folder / str(number))})


def measure(extraction: Extraction, repeats: int) -> dict[str, list[tuple[float, float]]]:
    device, dtype = device_and_type(extraction)
    decoded = decode(extraction)
    network = copy.deepcopy(extraction.backbone).to(device, dtype)
    rows = extraction.settings["batch_size"]
    forward(network, decoded[:2], rows, device)
    times: dict[str, list[tuple[float, float]]] = {"decode": [], "forward": [], "extract": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            ahead = fresh(extraction, Path(folder), number)
            times["decode"].append(timed(lambda: decode(extraction)))
            times["forward"].append(timed(lambda: forward(network, decoded, rows, device)))
            times["extract"].append(timed(lambda ahead=ahead: ahead.ensure(print)))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of images")
    parser.add_argument("--backbone", default="resnet50_v1")
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--images", type=int, default=512, help="how many of them")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("overrides", nargs="*")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as hashes:
        words = ["collection=folder", f"collection.root={asked.root}", f"backbone={asked.backbone}"]
        words += [f"backbone.checkpoint={asked.checkpoint}"] if asked.checkpoint else []
        extraction = prepare(resolve("extract", [*words, f"store_dir={hashes}", *asked.overrides]))
        first = First(extraction.collection, asked.images)
        extraction = dataclasses.replace(extraction, collection=first)
        times = measure(extraction, asked.repeats)
    best = {name: tuple(map(min, zip(*values, strict=True))) for name, values in times.items()}
    ratio, work = (best["extract"][k] / (best["decode"][k] + best["forward"][k]) for k in (0, 1))
    images, content = len(first.paths), extraction.plan().manifest.content
    facts = {"images": images, "cores": len(os.sched_getaffinity(0)), "threads": torch.get_num_threads()}
    facts |= {"precision": content["precision"], "batch_size": content["batch_size"], "encoding": content["encoding"]}
    facts |= {"workers": extraction.settings["workers"], "backbone": content["backbone"], "seconds": times}
    print(json.dumps({**facts, "ratio": round(ratio, 3), "core_ratio": round(work, 3), "aim": AIM}))
    rows = [(name, f"{wall:.2f}", f"{images / wall:.1f}", f"{cores:.2f}") for name, (wall, cores) in best.items()]
    print(tabulate(rows, headers=["what", "seconds", "images/s", "core seconds"], tablefmt="github"))
    print(f"extract / (decode + forward) = {ratio:.3f}, aim {AIM:.2f}: {'met' if ratio <= AIM else 'missed'}")
    print(f"the same in core seconds, which a busy machine disturbs less: {work:.3f}")


if __name__ == "__main__":
    main()
