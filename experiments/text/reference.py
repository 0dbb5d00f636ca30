"""Text-to-image search of COCO's class names by all cells of several maps: one store a map, the maximum of their scores.

    python experiments/text/reference.py collection=coco2017 collection.root=<coco> \
        backbone=torchscript backbone.checkpoint=<file> backbone.image_size=288 backbone.text_space=clip-b32 \
        text=vocabulary text.file=<npz> text.names=coco_names text.vectors=coco text.space=clip-b32 maps=0,1,2

Without regions= every cell of a map is a vector (as many clusters as tokens).
"""

import sys
from collections.abc import Iterator

import torch

import seekloop
from seekloop.contracts.protocols import TextEncoder
from seekloop.images.class_names import class_names
from seekloop.matching.instance_search import QueryVectors, compare
from seekloop.metrics.ranked import finite_sum_average_precision
from seekloop.metrics.ranks import ranks_of_positives

EVERY_CELL = ("regions=clusters", "encoding=masks", "regions.detector.clusters=100000")


def scores_of_maps(words: list[str], maps: list[str]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Scores of each map, then of the best of all; with the images that are right."""
    of_text = [word for word in words if word.startswith("text")]
    rest = [word for word in words if word not in of_text]
    regions = () if any(word.startswith("regions=") for word in words) else EVERY_CELL
    encoder: TextEncoder = seekloop.build(*of_text)
    best = None
    for number in maps:
        store = seekloop.extract(*rest, *regions, f"backbone.map={number}")
        search = class_names(store.collection)
        assert search.texts is not None  # noqa: S101
        asked = QueryVectors(encoder(search.texts), torch.arange(len(search.texts)))
        scores = compare(store, asked, "regions").scores
        best = scores if best is None else best.maximum(scores)
        yield number, scores, search.relevant("all")
    yield "max", best, search.relevant("all")


def main() -> None:
    """Print mAP over the classes, of each map and of the maximum."""
    maps = next((word.partition("=")[2] for word in sys.argv[1:] if word.startswith("maps=")), "0").split(",")
    words = [word for word in sys.argv[1:] if not word.startswith("maps=")]
    for name, scores, right in scores_of_maps(words, maps):
        ranks = ranks_of_positives(scores, right, torch.zeros_like(right))
        print(f"map {name}: mAP {float(finite_sum_average_precision(ranks).nanmean()):.4f} of {len(scores)} classes")


if __name__ == "__main__":
    main()
