"""The tools people have and this program's own settings over the same queries: a table and a figure.

    python experiments/peers/table.py runs/peers_voc_resnet50 runs/peers_coco_resnet50 ... experiments/peers

Writes `peers.csv`, with a row for each folder of runs and setting: areas under MAP and coverage; positives found beside
the one that a search begins with; positives per label asked for, and per minute of the user; and positives by the time
that a click for every image takes (a user who draws boxes has fewer images judged by then). Means over the searches of
a class, then over classes. MAP and coverage also as paired differences from the first setting of this program's own, GO
with uncertainty, over the same searches, with 95 % bootstrap intervals over searches. Draws `peers.png`.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns

import seekloop
from seekloop.logs.intervals import paired_bootstrap

CLICK = 1.8  # seconds, as in conf/user/simulated.yaml
PAPER = {"go": "GO", "gl_concat_all": "GL-concat-All 4x4"}
SAME = {"after exquisitor": "GO, top"}  # one recipe, so that one run is both
BASE = "GO, uncertainty"
SEARCH = ["class_name", "query"]
NUMBERS = ["map_auc", "coverage_auc", "found", "per_label", "per_minute", "found_in_clicks_time"]


def setting(run: pd.Series) -> str:
    """Name of a run's setting: the tool it is after, or representation and criterion."""
    clicks = ", clicks only" if run["user"] == "clicks" else ""
    if isinstance(run["experiment"], str):
        return run["experiment"].replace("after_", "after ").replace("_", " ") + clicks
    return f"{PAPER.get(run['representation'], run['representation'])}, {run['criterion']}{clicks}"


def area(curve: pd.Series) -> float:
    """Area by the trapezoid, divided by the number of rounds."""
    return float(np.trapezoid(curve) / (len(curve) - 1))


def measured(rounds: pd.DataFrame) -> pd.Series:
    """Numbers of one search, from its rounds in order.

    Example:
        >>> search = pd.DataFrame({"labels": [6, 16], "seconds": [10.0, 42.0], "positives": [1, 6]})
        >>> measured(search.assign(ap=[0.0, 1.0], coverage=0.5)).tolist()
        [0.5, 0.5, 5.0, 0.5, 9.375, 2.8125]
    """
    first, last = rounds.iloc[0], rounds.iloc[-1]
    found, asked, seconds = (last[name] - first[name] for name in ("positives", "labels", "seconds"))
    by_then = np.interp(first["seconds"] + CLICK * asked, rounds["seconds"], rounds["positives"]) - first["positives"]
    numbers = area(rounds["ap"]), area(rounds["coverage"]), found, found / asked, 60 * found / seconds, by_then
    return pd.Series(dict(zip(NUMBERS, map(float, numbers), strict=True)))


def table_of(folder: Path) -> pd.DataFrame:
    """A row for each setting below a folder of runs."""
    runs = seekloop.runs(folder)
    if "experiment" not in runs:
        runs["experiment"] = None
    names = runs.assign(setting=runs.apply(setting, axis=1)).set_index("run")["setting"]
    if names.duplicated().any():
        twice = names[names.duplicated(keep=False)].sort_values()
        sys.exit(f"two runs below {folder} are of one setting, as after a new revision; remove one of each:\n{twice}")
    rounds = seekloop.runs(folder, "rounds").join(names, "run").sort_values("round")
    searches = rounds.groupby(["setting", *SEARCH]).apply(measured, include_groups=False)
    rows = []
    for name, own in searches.groupby("setting"):
        own = own.droplevel("setting")
        row = {"runs": folder.name, "setting": name, "searches": len(own)}
        row |= own.groupby("class_name").mean().mean().to_dict()
        for number in ("map_auc", "coverage_auc"):
            difference = (own[number] - searches.loc[BASE, number]).dropna()
            found = paired_bootstrap(difference)
            row |= {f"{number}_gain": found.mean, f"{number}_low": found.low, f"{number}_high": found.high}
        rows.append(row)
    table = pd.DataFrame(rows)
    twins = [
        table[table["setting"] == twin].assign(setting=name)
        for name, twin in SAME.items()
        if name not in set(table["setting"])
    ]
    return pd.concat([table, *twins]).sort_values("map_auc", ascending=False)


def draw(table: pd.DataFrame, file: Path) -> None:
    """MAP against coverage and positives against a person's minutes, a column for each folder of runs."""
    pairs = (("coverage_auc", "map_auc"), ("per_minute", "per_label"))
    folders = table["runs"].unique()
    figure, axes = plt.subplots(len(pairs), len(folders), figsize=(3.4 * len(folders), 6.4), squeeze=False)
    names = sorted(table["setting"].unique(), key=lambda name: (name.startswith("after"), name))
    colours = dict(zip(names, sns.color_palette("husl", len(names)), strict=True))
    for column, folder in enumerate(folders):
        part = table[table["runs"] == folder]
        for row, (x, y) in enumerate(pairs):
            for line in part.itertuples():
                marker = "o" if line.setting.startswith("after") else "D"
                values = getattr(line, x), getattr(line, y)
                axes[row, column].scatter(*values, color=colours[line.setting], marker=marker, s=36)
            axes[row, column].set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " ") if column == 0 else "")
        axes[0, column].set_title(folder.removeprefix("peers_").replace("_", ", "), fontsize=10)
    handles = [
        plt.Line2D([], [], color=colours[name], marker="o" if name.startswith("after") else "D", ls="", label=name)
        for name in names
    ]
    figure.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, dpi=130, bbox_inches="tight")


def main(*arguments: str) -> None:
    """Measure every folder of runs, write the table, draw the figure."""
    *folders, target = map(Path, arguments)
    table = pd.concat([table_of(folder) for folder in folders], ignore_index=True)
    table.round(4).to_csv(target / "peers.csv", index=False)
    draw(table, target / "peers.png")
    print(table[["runs", "setting", "searches", *NUMBERS]].round(3).to_string(index=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
