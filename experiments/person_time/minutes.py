"""Positives, MAP and coverage in a person's minutes: settings over the same searches, compared at equal times.

    python experiments/person_time/minutes.py play NAME MINUTES COMMON... -- SETTING... -- SETTING... [-- ...]
    python experiments/person_time/minutes.py compare NAME > TABLE.csv
    python experiments/person_time/minutes.py draw NAME PICTURE.png "PANEL..." "PANEL..." [...]

COMMON and each SETTING are overrides of `seekloop retrieve`. `play` leaves out what is there already, and writes
NAME_searches.csv, a row per search: areas of average precision and coverage over the first MINUTES, and positives at
their end; and NAME_curves.csv, means at every half minute. `compare` subtracts from every setting the same one with
`user.boxes=never`: paired bootstrap, 95 %. `draw` makes a panel of the settings that begin so.
"""

import sys
from itertools import groupby
from pathlib import Path

import numpy as np
import pandas as pd

import seekloop
from seekloop.logs.intervals import paired_bootstrap

DESCRIBED = ("collection", "backbone", "regions", "encoding", "pooling", "trainer", "store_dir", "grid")
SEARCH = ["class_name", "query"]
MEASURES = {"map": "ap", "coverage": "coverage", "positives": "positives"}
STEP = 0.5
COLOURS = {"always": "#D55E00", "asked": "#0072B2", "never": "#009E73"}


def play(name: str, minutes: float, common: list[str], settings: list[list[str]]) -> None:
    """Play what is missing."""
    paths = Path(f"{name}_searches.csv"), Path(f"{name}_curves.csv")
    known = [pd.read_csv(path) if path.exists() else pd.DataFrame({"setting": []}) for path in paths]
    store = seekloop.extract(*[one for one in common if described(one)])
    rest = [one for one in common if not described(one)]
    for setting in settings:
        named = " ".join(setting)
        if named in set(known[0]["setting"]):
            continue
        rounds = seekloop.simulate(store, store.collection.annotations, *rest, *setting)
        curves = at_minutes(rounds, minutes)
        means = curves.groupby(["minute", "class_name"])[list(MEASURES)].mean().groupby("minute").mean().reset_index()
        for number, rows in enumerate((over_minutes(curves, rounds), means)):
            known[number] = pd.concat([known[number], rows.assign(setting=named)], ignore_index=True)
            known[number].round(5).to_csv(paths[number], index=False)
        print(named, means.iloc[-1].round(3).to_dict(), flush=True)


def described(override: str) -> bool:
    """Whether an override says which descriptors, and not what is done with them."""
    return override.lstrip("+~").split("=")[0].split("@")[0].split(".")[0] in DESCRIBED


def at_minutes(rounds: pd.DataFrame, minutes: float) -> pd.DataFrame:
    """Values of each search at every half minute: linear between rounds, the first round's before it.

    Raises:
        ValueError: if a search is over before the last minute.
    """
    times = np.arange(0, minutes + STEP / 2, STEP)
    rows = []
    for search, one in rounds.groupby(SEARCH):
        if one["seconds"].max() < 60 * minutes:
            raise ValueError(f"search {search} ends after {one['seconds'].max():.0f} s: raise loop.rounds")
        values = {name: np.interp(60 * times, one["seconds"], one[column]) for name, column in MEASURES.items()}
        rows.append(pd.DataFrame({"class_name": search[0], "query": search[1], "minute": times, **values}))
    return pd.concat(rows, ignore_index=True)


def over_minutes(curves: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """One row per search: mean heights of both curves over the minutes, positives at the end, labels by then."""
    last = curves["minute"].max()
    weight = (1 - 0.5 * curves["minute"].isin([0, last])) * STEP / last
    areas = curves[["map", "coverage"]].mul(weight, axis=0).groupby([curves[key] for key in SEARCH]).sum()
    found = curves[curves["minute"] == last].set_index(SEARCH)["positives"]
    labels = {key: np.interp(60 * last, one["seconds"], one["labels"]) for key, one in rounds.groupby(SEARCH)}
    return areas.assign(positives=found, labels=pd.Series(labels)).rename_axis(SEARCH).reset_index()


def compare(name: str) -> pd.DataFrame:
    """Every setting's means, and its differences to the same without boxes."""
    rows = pd.read_csv(f"{name}_searches.csv")
    tables = {setting: part.set_index(SEARCH) for setting, part in rows.groupby("setting", sort=False)}
    lines = []
    for setting, table in tables.items():
        words = [word for word in setting.split() if not word.startswith("user.")]
        reference, line = tables[" ".join([*words, "user.boxes=never"])], {"setting": setting}
        line["labels"] = table.groupby("class_name")["labels"].mean().mean()
        for measure in MEASURES:
            difference = paired_bootstrap(table[measure] - reference[measure])
            line[measure] = table.groupby("class_name")[measure].mean().mean()
            line |= {f"{measure}_low": difference.low, f"{measure}_high": difference.high}
        lines.append(line)
    return pd.DataFrame(lines).round(4)


def draw(name: str, picture: Path, panels: list[str]) -> None:
    """Positives and MAP against minutes, a column for each panel, a line for each way with boxes."""
    from matplotlib.figure import Figure

    curves = pd.read_csv(f"{name}_curves.csv")
    figure = Figure(figsize=(3.4 * len(panels), 5), layout="constrained")
    axes = figure.subplots(2, len(panels), sharex=True, sharey="row", squeeze=False)
    for column, panel in enumerate(panels):
        for boxes, colour in COLOURS.items():
            line = curves[curves["setting"] == f"{panel} user.boxes={boxes}"]
            for row, measure in enumerate(("positives", "map")):
                axes[row, column].plot(line["minute"], line[measure], color=colour, label=f"boxes: {boxes}")
        axes[0, column].set_title(panel.replace(" ", "\n"), fontsize=8)
        axes[1, column].set_xlabel("minutes of a person")
    axes[0, 0].set_ylabel("positives found")
    axes[1, 0].set_ylabel("MAP")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(picture, dpi=110)


def main() -> None:
    command, name, *words = sys.argv[1:]
    if command == "compare":
        compare(name).to_csv(sys.stdout, index=False)
    elif command == "draw":
        draw(name, Path(words[0]), words[1:])
    else:
        parts = [list(part) for is_break, part in groupby(words[1:], lambda word: word == "--") if not is_break]
        play(name, float(words[0]), parts[0], parts[1:])


if __name__ == "__main__":
    main()
