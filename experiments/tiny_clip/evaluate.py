"""MAP of captions of every kind over scenes of digits that training never saw, beside chance and an untrained pair.

    python experiments/tiny_clip/evaluate.py --weights src/seekloop/backbones/tiny_clip.safetensors

The scenes are described, and compared with the captions' vectors, as `seekloop search` does.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

import seekloop
from seekloop.backbones.tiny_clip import TinyClipText, load
from seekloop.backbones.towers import Towers
from seekloop.images.generated import captions
from seekloop.images.generated.captions import KINDS, captions_of, looks_of, relevant, sentence
from seekloop.images.generated.scenes import Scenes
from seekloop.matching.instance_search import Against, compare
from seekloop.metrics.average_precision import average_precision

LEAST = 5  # right scenes that a caption needs


def untrained(weights: Path, output: Path) -> Path:
    """A file of the same architecture with random parameters."""
    torch.manual_seed(0)
    towers = Towers(**load(str(weights))[1]["architecture"])
    with safe_open(weights, framework="pt") as file:
        header = file.metadata()
    save_file({name: value.half() for name, value in towers.state_dict().items()}, output, header)
    return output


def measured(
    model: str, weights: Path, scenes: Scenes, attributes: Tensor, arguments: argparse.Namespace
) -> Iterator[dict[str, object]]:
    """A row for each kind of captions and way to score an image."""
    store = seekloop.extract(
        f"collection.images={scenes.images}",
        f"collection.seed={scenes.seed}",
        "backbone=tiny_clip",
        f"backbone.checkpoint={weights}",
        f"grid={arguments.grid}",
        f"store_dir={arguments.work}",
    )
    encoder = TinyClipText(str(weights))
    for kind in KINDS:
        drawn = captions_of(kind, attributes, LEAST)
        if not len(drawn):
            continue
        right = relevant(drawn, attributes).mT
        vectors = encoder([sentence(caption) for caption in drawn])
        for against in get_args(Against):
            precision = average_precision(compare(store, vectors, against).scores, right)
            yield {
                "model": model,
                "kind": kind,
                "example": sentence(drawn[int(right.sum(dim=1).argmax())]),
                "captions": len(drawn),
                "chance": float(right.double().mean()),
                "against": against,
                "map": float(precision.mean()),
            }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1, help="of the scenes; 0: those of collection=scenes")
    parser.add_argument("--grid", default="4x4")
    parser.add_argument("--work", type=Path, default=Path("stores"), help="folder of the stores")
    parser.add_argument("--output", type=Path, help="csv file")
    arguments = parser.parse_args()
    scenes = Scenes(arguments.images, seed=arguments.seed)
    attributes = looks_of(scenes)
    shares = (attributes[..., captions.COLOUR] != captions.ANY)[attributes[..., captions.DIGIT] != captions.ANY]
    print(json.dumps({"digits": len(shares), "with a colour's name": round(float(shares.double().mean()), 3)}))
    arguments.work.mkdir(parents=True, exist_ok=True)
    blank = untrained(arguments.weights, arguments.work / "untrained.safetensors")
    rows = [
        row
        for model, weights in (("tiny_clip", arguments.weights), ("untrained", blank))
        for row in measured(model, weights, scenes, attributes, arguments)
    ]
    table = pd.DataFrame(rows)
    if arguments.output:
        table.round(4).to_csv(arguments.output, index=False)
    wide = table.pivot(index=["kind", "captions", "chance"], columns=["model", "against"], values="map")
    print(wide.reindex(KINDS, level=0).round(3).to_string())


if __name__ == "__main__":
    main()
