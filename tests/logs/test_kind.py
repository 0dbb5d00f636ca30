"""A command that `logs` has never heard of declares what it leaves, and everything is drawn, logged and reported."""

import pandas as pd
import pytest
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs import figures
from seekloop.logs.curves import curve
from seekloop.logs.kind import Curve, Lines, RunKind, kind_of
from seekloop.logs.report import report
from seekloop.logs.run_folder import RunFolder, find_runs
from seekloop.logs.status import status_table
from seekloop.logs.wandb_log import curve_rows, rows_of

WEIGHT = Curve("loaves", "day", ("weight",), over=("oven",), against=("minutes",))
BAKING = RunKind(
    command="bake",
    step="day",
    tables={"loaves": {"oven": "string", "day": "int32", "minutes": "double", "weight": "double"}},
    numbers=("weight_mean",),
    labels={"weight": "weight (kg)", "day": "day"},
    curve=WEIGHT,
    steps="baking.days",
    reached=("heaviest", "weight"),
    compared=("weight",),
    lines={"weight": Lines(WEIGHT, {"weight (kg)": ("weight",)}, ("day", "minutes"))},
)


def loaves(day, more=0.0):
    """Two ovens: 1 and 3 kg on day 0, a kilogram more each day; 20 and 40 minutes a day."""
    rows = [("left", day, 20.0 * (day + 1), 1.0 + day + more), ("right", day, 40.0 * (day + 1), 3.0 + day + more)]
    return pd.DataFrame(rows, columns=["oven", "day", "minutes", "weight"])


def bake(path, flour, more=0.0):
    folder = RunFolder(path, BAKING)
    with folder.claim():
        config = {"flour": flour, "command": "bake", "baking": {"days": 3}, "choices": {"flour": flour}}
        folder.write_config(yaml.safe_dump(config))
        for day in range(2):
            folder.add(day, {"loaves": loaves(day, more)}, None)
        folder.finish({"weight_mean": 2.5 + more})
    return folder


def test_its_curve_is_the_mean_over_ovens_and_is_logged_against_both_axes(tmp_path):
    folder = bake(tmp_path / "a", "rye")
    assert curve(WEIGHT, folder.table("loaves"))["weight"].tolist() == [2.0, 3.0]
    assert rows_of(folder) == [
        {"day": 0, "weight": 2.0, "minutes": 30.0, "against_minutes/weight": 2.0},
        {"day": 1, "weight": 3.0, "minutes": 60.0, "against_minutes/weight": 3.0},
    ]


def test_what_is_kept_apart_stands_before_the_key():
    """Two ovens on one day: 1 and 3 kg, each under its own key; the empty one has none."""
    apart = Curve("loaves", "day", ("weight",), apart="oven")
    table = loaves(0).assign(weight=[1.0, None])
    assert curve_rows(apart, loaves(0), BAKING.tables["loaves"]) == [
        {"day": 0, "left/weight": 1.0, "right/weight": 3.0}
    ]
    assert curve_rows(apart, table, BAKING.tables["loaves"]) == [{"day": 0, "left/weight": 1.0}]


def test_its_figures_carry_its_words_and_units(tmp_path):
    folder = bake(tmp_path / "a", "rye")
    written = figures.write_figures(folder, pd.DataFrame(), None, None)
    assert [path.name for path in written] == ["weight.png"]
    figure = figures.lines_of_run(BAKING, BAKING.lines["weight"], folder.table("loaves"))
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes] == [("day", "weight (kg)"), ("minutes", "")]
    (by_minutes,) = figure.axes[1].lines
    assert by_minutes.get_xydata().tolist() == [[30.0, 2.0], [60.0, 3.0]]


def test_it_is_reported_and_its_state_told(tmp_path):
    kinds = {**KINDS, "bake": BAKING}
    bake(tmp_path / "a", "rye")
    bake(tmp_path / "b", "wheat", more=1.0)
    table = status_table(tmp_path, kinds).set_index("run")
    assert table.loc["a", ["day", "days", "heaviest", "weight_mean"]].tolist() == [1, 3, 3.0, 2.5]
    found = report(tmp_path, None, [], kinds)
    assert found.table[["flour", "weight_mean_mean"]].to_numpy().tolist() == [["rye", 2.5], ["wheat", 3.5]]


def test_the_kind_of_a_run_is_a_field_of_its_config(tmp_path):
    """Wherever it stands; early runs of `retrieve` name no command; of an unknown one the state is told."""
    assert kind_of({"seed": 0, "command": "learn"}, KINDS) is KINDS["learn"]
    assert kind_of({"seed": 0}, KINDS) is KINDS["retrieve"]
    bake(tmp_path / "a", "rye")
    assert [run.kind.command for run in find_runs(tmp_path, KINDS)] == ["bake"]
    assert status_table(tmp_path, KINDS)[["run", "state"]].to_numpy().tolist() == [["a", "done"]]
    with pytest.raises(ValueError, match="lacks the columns"):
        RunFolder(tmp_path / "b", BAKING).add(0, {"loaves": loaves(0).drop(columns="oven")}, None)
