"""Extraction against its two unavoidable parts: decoding alone, and the bare backbone alone.

    python -m benchmarks.extract [--root <folder of images> --backbone resnet50_v1 --checkpoint <file>]

Without a folder: photographs cut from scikit-learn's two. Without a backbone: the built-in one. With --random-weights,
weights are drawn, not downloaded: speed does not depend on them.
All three see the same images in the same batches, with the same workers, threads and precision, in one run; each is
repeated, interleaved with the others, and the fastest of each counts. The aim: extraction <= 1.10 x (decode + forward).
Further words are overrides of `seekloop extract`, such as trainer.workers=2 or encoding=crops.
"""

import argparse
import copy
import dataclasses
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch.utils.data import DataLoader

import seekloop  # noqa: F401 - before Lightning, which imports torchvision
from benchmarks import facts
from benchmarks.searches import table_of
from seekloop.commands.compose import resolve
from seekloop.commands.extract import prepare
from seekloop.contracts.protocols import Collection
from seekloop.contracts.randomness import generator
from seekloop.extraction.images import Decoded, ImageBatches, Sharded, transform_of
from seekloop.extraction.plan import Extraction
from seekloop.store.growth import spans_of

AIM = 1.10
CUT = (375, 500)  # height and width of a photograph cut out, about VOC's


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
    ahead = extraction.plan
    regions, encoding = ahead.regions, extraction.encoding
    step = encoding.images_per_batch(regions, ahead.manifest.images, extraction.trainer.batch_size)
    transform = transform_of(extraction.backbone)
    spans = [spans_of(*ahead.manifest.span(shard), step, None)[0] for shard in range(ahead.manifest.shards)]
    batches = partial(ImageBatches, extraction.collection, transform, encoding, regions)
    return Sharded(batches, spans, extraction.trainer.workers).predict_dataloader()


def decode(extraction: Extraction) -> list[Decoded]:
    return list(loader(extraction))


def device_and_type(extraction: Extraction) -> tuple[str, torch.dtype]:
    precision = extraction.plan.manifest.precision
    cuda = extraction.trainer.accelerator != "cpu" and torch.cuda.is_available()
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
    return dataclasses.replace(extraction, store_dir=str(folder / str(number)))


def measure(extraction: Extraction, repeats: int) -> dict[str, list[tuple[float, float]]]:
    device, dtype = device_and_type(extraction)
    decoded = decode(extraction)
    network = copy.deepcopy(extraction.backbone).to(device, dtype)
    rows = extraction.trainer.batch_size
    forward(network, decoded[:2], rows, device)
    times: dict[str, list[tuple[float, float]]] = {"decode": [], "forward": [], "extract": []}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(repeats):
            ahead = fresh(extraction, Path(folder), number)
            times["decode"].append(timed(lambda: decode(extraction)))
            times["forward"].append(timed(lambda: forward(network, decoded, rows, device)))
            times["extract"].append(timed(lambda ahead=ahead: ensure(ahead, print)))
    return times


def cut_photographs(folder: Path, images: int) -> None:
    """JPEG files of different parts of scikit-learn's two photographs."""
    sources = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    rng = generator(0, "cut photographs")
    for number in range(images):
        source = sources[number % len(sources)]
        top, left = (
            int(torch.randint(full - side + 1, (1,), generator=rng))
            for full, side in zip((source.height, source.width), CUT, strict=True)
        )
        source.crop((left, top, left + CUT[1], top + CUT[0])).save(folder / f"{number:05d}.jpg", quality=90)


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--root", default=None, help="folder of images; none: photographs cut from scikit-learn's")
    found.add_argument("--backbone", default="tiny")
    found.add_argument("--checkpoint", default=None)
    found.add_argument("--random-weights", action="store_true", help="of the backbone, in place of a checkpoint")
    found.add_argument("--images", type=int, default=512, help="how many of them")
    found.add_argument("--repeats", type=int, default=3)
    found.add_argument("--results", type=Path, default=facts.RESULTS, help="file that JSON lines are appended to")
    found.add_argument("overrides", nargs="*", help="of seekloop extract")
    return found


def drawn_weights(backbone: str, folder: Path) -> Path:
    """A file with random weights of a backbone that has a checkpoint to load."""
    import timm

    models = resolve("extract", [f"backbone={backbone}"]).backbone.models
    path = folder / "random.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model(next(iter(models.values())), pretrained=False).state_dict(), path)
    return path


def prepared(asked: argparse.Namespace, folder: Path) -> Extraction:
    """The extraction of the first images of a folder, with made-up photographs where none was given."""
    root = asked.root
    if root is None:
        root = folder / "photographs"
        root.mkdir()
        cut_photographs(root, asked.images)
    words = ["collection=folder", f"collection.root={root}", f"backbone={asked.backbone}"]
    checkpoint = drawn_weights(asked.backbone, folder) if asked.random_weights else asked.checkpoint
    words += [f"backbone.checkpoint={checkpoint}"] if checkpoint else []
    extraction = prepare(resolve("extract", [*words, f"store_dir={folder / 'hashes'}", *asked.overrides]))
    return dataclasses.replace(extraction, collection=First(extraction.collection, asked.images))


def figures(times: dict[str, list[tuple[float, float]]], images: int) -> dict[str, Any]:
    """The fastest of each, and extraction over the sum of its parts: on the clock and in seconds of cores."""
    best = {name: tuple(map(min, zip(*values, strict=True))) for name, values in times.items()}
    ratio, work = (best["extract"][k] / (best["decode"][k] + best["forward"][k]) for k in (0, 1))
    speeds = {name: images / wall for name, (wall, _) in best.items()}
    cores = {name: seconds for name, (_, seconds) in best.items()}
    return {"images_per_second": speeds, "core_seconds": cores, "ratio": ratio, "core_ratio": work, "aim": AIM}


def main() -> None:
    asked = parser().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        extraction = prepared(asked, Path(folder))
        times = measure(extraction, asked.repeats)
    images = len(extraction.collection.paths)
    settings = {"backbone": extraction.backbone.name, "precision": extraction.plan.manifest.precision}
    settings |= {"batch_size": extraction.trainer.batch_size, "encoding": extraction.encoding.name}
    settings |= {"images": images, "workers": extraction.trainer.workers, "threads": torch.get_num_threads()}
    settings |= {"weights": "random" if asked.random_weights else "given"}
    settings |= {"source": "cut from scikit-learn's" if asked.root is None else Path(asked.root).name}
    found = figures(times, images)
    facts.write(asked.results, "extract", settings, {**found, "seconds": times})
    rows = [(name, speed, found["core_seconds"][name]) for name, speed in found["images_per_second"].items()]
    print(table_of(rows, ["what", "images/s", "core seconds"]))
    verdict = "met" if found["ratio"] <= AIM else "missed"
    print(f"extract / (decode + forward) = {found['ratio']:.3f}, aim {AIM:.2f}: {verdict}")
    print(f"the same in core seconds, which a busy machine disturbs less: {found['core_ratio']:.3f}")


if __name__ == "__main__":
    main()
