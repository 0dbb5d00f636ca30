"""The table of experiment=learning_mnist and its variants: one row per finished run, and means over splits.

python experiments/learning/mnist.py runs/learning_mnist runs/eighth --output experiments/learning/mnist.csv
"""

import argparse
from pathlib import Path

import pandas as pd
import yaml

ARMS = {
    ("none", "none"): "neither",
    ("none", "mnist_short"): "SEMI",
    ("short", "none"): "PRE",
    ("short", "mnist_short"): "both",
}
KEYS = ["divisor", "arm", "first"]


def run_of(folder: Path) -> dict[str, object]:
    """What a finished run found: accuracy at every number of labels, and the last pseudo-labels that are right."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    cycles = pd.read_parquet(folder / "cycles.parquet").sort_values("cycle")
    row: dict[str, object] = {
        "arm": ARMS[config["choices"]["pretraining"], config["choices"]["semi"]],
        "divisor": config["model"]["divisor"],
        "first": config["semi"].get("first", "-"),
        "split": config["split"],
        "seed": config["seed"],
        "epochs": config["training"]["epochs"],
        "iterations": config["training"]["epochs"] * config["training"]["iterations"],
    }
    for name in ("accuracy", "pseudo_accuracy"):
        row |= {f"{name}_{cycle.labels}": getattr(cycle, name) for cycle in cycles.itertuples()}
    return row


def main() -> None:
    """Read, write, print."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("runs", type=Path, nargs="+")
    asked.add_argument("--output", type=Path, required=True)
    given = asked.parse_args()
    finished = sorted(path.parent for runs in given.runs for path in runs.glob("*/COMPLETE"))
    table = pd.DataFrame([run_of(folder) for folder in finished]).sort_values([*KEYS, "split"])
    table.to_csv(given.output, index=False, float_format="%.4f")
    values = [name for name in table if "accuracy" in name]
    print(table.groupby(KEYS)[values].agg(["mean", "std", "count"]).round(4).to_string())


if __name__ == "__main__":
    main()
