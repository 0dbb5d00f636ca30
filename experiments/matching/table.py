"""Gather the runs of this folder's README in one table.

    python experiments/matching/table.py <folder of the runs> experiments/matching/table.csv

Rows are descriptors with and without whitening, columns re-rankers; each cell is mAP (trapezoid) and, behind it, mP@10.
"""

import sys
from pathlib import Path

import pandas as pd

import seekloop

RERANKERS = ("none", "alpha_expansion", "spatial", "spatial_expansion", "diffusion", "spatial_diffusion")
NAMES = {"gem": "GeM", "max": "MAC", "rmac": "R-MAC", "crow": "CroW", "feature": "FS.EGM", "object": "OS.EGM"}


def main(folder: Path, file: Path) -> None:
    """Write the table, and print it for the page."""
    runs = seekloop.runs(folder)
    rows = [row_of(Path(one.folder), one) for one in runs.itertuples()]
    table = pd.DataFrame(rows).sort_values(["descriptor", "whitening", "reranker", "set"], ignore_index=True)
    table.to_csv(file, index=False, float_format="%.4f")
    table = table[table["set"] != "small"].dropna(subset="map").drop_duplicates(["descriptor", "whitening", "reranker"])
    print(f"| descriptor | whitening | {' | '.join(RERANKERS)} |")
    print("|" + "---|" * (len(RERANKERS) + 2))
    for (descriptor, whitening), group in table.groupby(["descriptor", "whitening"], sort=False):
        cells = group.set_index("reranker")
        shown = [
            f"{cells.loc[one, 'map']:.3f} ({cells.loc[one, 'mp_10']:.3f})" if one in cells.index else ""
            for one in RERANKERS
        ]
        print(f"| {descriptor} | {whitening} | {' | '.join(shown)} |")


def row_of(path: Path, run: object) -> dict[str, object]:
    """Choices and numbers of one run."""
    import yaml

    config = yaml.safe_load((path / "config.yaml").read_text())
    chosen = config["choices"]
    sums = config["encoding"].get("global_") == "regions"
    descriptor = NAMES.get(config["regions"]["saliency"] if sums else chosen["pooling"], chosen["pooling"])
    if descriptor == "OS.EGM" and config["regions"].get("learn", "pca") == "pca":
        descriptor = "OS.EGM, PCA in the graph"
    neighbours = config["reranker"].get("neighbours", config["reranker"].get("then", {}).get("neighbours"))
    return {
        "descriptor": descriptor + (" ↑" if config["backbone"].get("upsample") else ""),
        "whitening": chosen["whitening"],
        "reranker": chosen["reranker"],
        "neighbours": neighbours,
        "set": path.parent.name,
        "map": run.map_trapezoid_all,
        "map_finite_sum": run.map_all,
        "mp_10": run.mp_10,
        "run": path.name,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
