"""One table of runs of `seekloop search experiment=feedback`: Recall@k by task, classifier and images judged.

python experiments/text/feedback.py <folder of runs> > experiments/text/feedback.csv
"""

import sys
from pathlib import Path

import pandas as pd
import yaml

COLUMNS = [f"{name}_{k}" for k in (1, 5, 10) for name in ("first", "recall")]
KEYS = ["collection", "queries_from", "task", "classifier", "anchor", "with_query", "judged", "size"]


def means(folder: Path) -> pd.DataFrame:
    """Means over the queries of one run, a row per number of images judged and way of counting them."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    chosen, table = config["choices"], pd.read_parquet(folder / "results.parquet")
    likes = table["likes"] + int(config["feedback"]["with_query"])
    table["unhelped"] = (likes == 0) | (table["dislikes"] == 0)
    measured = table.groupby(["judged", "size"], sort=False)
    rows = measured[COLUMNS].mean().join(measured["recall_1"].count().rename("queries")).reset_index()
    rows["unhelped"] = measured["unhelped"].sum().to_numpy()
    rows["collection"], rows["task"] = chosen["collection"], config["instances"]["task"]
    rows["queries_from"] = chosen.get("collection@instances.asked", chosen["collection"])
    rows["classifier"], rows["anchor"] = chosen["classifier@feedback.classifier"], config["feedback"]["anchor"]
    rows["with_query"] = config["feedback"]["with_query"]
    return rows


def main() -> None:
    """Print the table as CSV."""
    folders = sorted(path.parent for path in Path(sys.argv[1]).rglob("COMPLETE"))
    table = pd.concat([means(folder) for folder in folders if (folder / "judged.parquet").exists()])
    order = [*KEYS, "queries", "unhelped", *COLUMNS]
    print(table[order].sort_values(KEYS).round(4).to_csv(index=False), end="")


if __name__ == "__main__":
    main()
