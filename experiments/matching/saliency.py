"""Saliency precision of feature saliency, its power, and object saliency by each centrality, on one collection.

python experiments/matching/saliency.py --name voc --output experiments/matching regions=egm collection=voc2012 ...

The last words are those of `seekloop detect`. One look at every map serves all measures. Writes a table with a row per
map, and the distribution of the precision over images (figures 5.6 and 5.7 of the thesis).
"""

import argparse
from pathlib import Path
from typing import Any

import seekloop  # noqa: F401  # isort: skip - before Lightning, which imports torchvision

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from torch import Tensor

from seekloop.commands.compose import resolve
from seekloop.commands.extract import build_regions
from seekloop.commands.parts import build
from seekloop.contracts.protocols import Collection
from seekloop.descriptors.saliency import object_saliency
from seekloop.extraction.discover import Discovery
from seekloop.graphs.centrality import PATHS, centrality
from seekloop.logs.drawing import save
from seekloop.metrics.saliency import saliency_precision
from seekloop.store.discovery import kept_edges

MEASURES = ("katz", "degree", "eigenvector", "pagerank", *PATHS)


class Precisions(pl.Callback):
    """Measures every map that comes by."""

    def __init__(self, stage: Discovery, collection: Collection, measured: dict[str, Tensor]) -> None:
        self.how, self.truth, self.measured = stage.regions, collection.annotations, measured
        self.graph, self.rows = stage.discovered(collection, print), list[dict[str, float]]()

    def on_predict_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, *_: Any) -> None:  # noqa: ANN401
        """Measure one image."""
        image, tokens = int(outputs.image), outputs.map.float()
        if outputs.why:
            return
        boxes = self.truth.box[(self.truth.image == image) & ~self.truth.crowd]
        feature = self.how.salient.saliency(tokens)
        near = self.how.objects.nearest_to(tokens, feature, self.graph, image)
        maps = {"fs": feature, "fs_power": feature**self.how.objects.exponent}
        for name, u in self.measured.items():
            values = (near.similarity, self.graph.saliency[near.vertex], u.float()[near.vertex])
            maps[name] = object_saliency(feature.flatten(), *values, self.how.objects.exponent).reshape(feature.shape)
        covered = float(saliency_precision(torch.ones_like(feature), boxes))
        row = {name: saliency_precision(one, boxes) for name, one in maps.items()}
        self.rows.append({"image": image, "uniform": covered, **row})


def table_of(images: pd.DataFrame, measured: dict[str, Tensor]) -> pd.DataFrame:
    """A row per map: the mean precision, its standard error, and how alike the centrality ranks regions to Katz'."""
    rows = []
    for name in [column for column in images.columns if column != "image"]:
        known = images[name].dropna()
        rank = spearmanr(measured["katz"], measured[name]).statistic if name in measured else float("nan")
        rows.append(
            {
                "map": name,
                "precision": known.mean(),
                "standard_error": known.std() / np.sqrt(len(known)),
                "above_fs": (images[name] - images["fs"]).mean(),
                "better_than_fs": (images[name] > images["fs"]).sum() / len(known),
                "median": known.median(),
                "images": len(known),
                "undefined": len(images) - len(known),
                "rank_correlation_with_katz": rank,
            }
        )
    return pd.DataFrame(rows).round(4)


def distribution(images: pd.DataFrame) -> Figure:
    """How many images have which precision, by feature saliency and by object saliency with Katz' centrality."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for name, label in {"fs": "feature saliency", "katz": "object saliency"}.items():
        axes.hist(images[name].dropna(), bins=np.linspace(0, 1, 21), histtype="step", label=label, linewidth=1.6)
    axes.set_xlabel("saliency precision")
    axes.set_ylabel("images")
    axes.legend(frameon=False)
    return figure


def main() -> None:
    """Measure one collection."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--name", required=True, help="of the files: <name>.csv, <name>.png")
    parser.add_argument("--output", type=Path, default=Path("experiments/matching"))
    parser.add_argument("words", nargs="+", help="of seekloop detect")
    given = parser.parse_args()
    config = resolve("detect", given.words)
    collection, stage = build(config, "collection"), build_regions(config)
    if not isinstance(stage, Discovery):
        raise SystemExit("choose regions=egm")
    graph = stage.discovered(collection, print)
    weights = kept_edges(stage.folder_of_graph(collection))
    measured = {name: centrality(weights, name, features=graph.vectors) for name in MEASURES}
    seen = Precisions(stage, collection, measured)
    stage.show(collection, sorted(set(collection.annotations.image.tolist())), seen)
    images = pd.DataFrame(seen.rows)
    table = table_of(images, measured)
    given.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(given.output / f"saliency_{given.name}.csv", index=False)
    save(distribution(images), given.output.absolute() / f"saliency_{given.name}.png")
    print(table.to_string(index=False))


if __name__ == "__main__":
    main()
