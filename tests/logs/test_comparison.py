import re

import pandas as pd
import pytest
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs.comparison import against_the_best, areas_of_queries, asked_for, readable
from seekloop.logs.finished import finished_runs
from seekloop.logs.report import report
from tests.logs.fakes import SUMMARY, asked_of, queries, rounds_of, run_folder


def run(path, local, seed, ap, start=0, fusion="none"):
    """A finished run of three rounds: `ap` of each class's two queries in every round but the first, where it is 0.

    Args:
        path: folder.
        local: choice.
        seed: of the run.
        ap: by class, for its two queries.
        start: number of the first image, which tells collections apart.
        fusion: choice.
    """
    folder = run_folder(path)
    area = sum(sum(values) for values in ap.values()) / 4 * 3 / 4
    with folder.claim():
        choices = {"local": local, "fusion": fusion}
        folder.write_config(yaml.safe_dump({"seed": seed, "choices": choices, "experiment_name": "x"}))
        folder.write_queries(queries().assign(path=lambda table: [f"{start + n}.jpg" for n in range(len(table))]))
        for number in range(3):
            values = [ap[name][query] * (number > 0) for name in ("cat", "dog") for query in range(2)]
            folder.add(number, {"rounds": rounds_of(number).assign(ap=values), "asked": asked_of(number)}, None)
        folder.finish({**SUMMARY, "map_auc": area})
    return folder


@pytest.fixture
def runs(tmp_path):
    """LO-All is better than GO by 0.4 and 0.2 for cats, and the same for dogs; of two seeds."""
    for seed in (0, 1):
        run(tmp_path / f"go{seed}", "none", seed, {"cat": (0.2, 0.4), "dog": (0.4, 0.4)}, start=10 * seed)
        run(tmp_path / f"all{seed}", "all", seed, {"cat": (0.6, 0.6), "dog": (0.4, 0.4)}, start=10 * seed)
    return tmp_path


def test_areas_by_hand(runs):
    """0, 0.2, 0.2 over two intervals: (0.1 + 0.2) / 2 = 0.15."""
    go = [run for run in finished_runs(runs, KINDS)[0] if run.path.name == "go0"]
    areas = areas_of_queries(go)["map_auc"].droplevel(["path", "negatives"])
    assert areas["0", "cat", 0] == pytest.approx(0.15)
    assert areas["0", "dog", 1] == pytest.approx(0.3)


def test_queries_are_paired_by_seed_class_and_number(runs):
    """Gains of cats 0.4 and 0.2 (areas: three quarters of them), of dogs 0: (0.225 + 0) / 2."""
    table = asked_for(finished_runs(runs, KINDS)[0], ["local:all,none"])
    row = table.iloc[0]
    assert row[["setting", "against", "queries", "classes"]].tolist() == ["all", "none", 8, 2]
    assert row["map_auc_difference"] == pytest.approx(0.1125)
    assert row["map_auc_low"] > 0
    assert row["map_auc_p"] < 0.05
    assert row[["coverage_auc_difference", "coverage_auc_low", "coverage_auc_high"]].tolist() == [0, 0, 0]
    assert row["coverage_auc_p"] == 1
    back = asked_for(finished_runs(runs, KINDS)[0], ["local:none,all"]).iloc[0]
    assert back["map_auc_difference"] == pytest.approx(-0.1125)


def test_a_query_that_only_one_setting_has_is_left_out(runs):
    run(runs / "all2", "all", 2, {"cat": (1.0, 1.0), "dog": (1.0, 1.0)}, start=20)
    assert asked_for(finished_runs(runs, KINDS)[0], ["local:all,none"]).iloc[0]["map_auc_difference"] == pytest.approx(
        0.1125
    )


def test_runs_of_one_setting_with_the_same_queries_are_averaged(runs):
    """GO fused: as good as LO-All; the mean of both is half as far away."""
    for seed in (0, 1):
        ap = {"cat": (0.6, 0.6), "dog": (0.4, 0.4)}
        run(runs / f"fused{seed}", "none", seed, ap, start=10 * seed, fusion="concat")
    both = asked_for(finished_runs(runs, KINDS)[0], ["local:all,none", "local/fusion:all/none,none/none"])
    assert both["map_auc_difference"].tolist() == pytest.approx([0.1125 / 2, 0.1125])


def test_other_images_are_other_queries(tmp_path):
    """The same class names, numbers and seed on another collection."""
    run(tmp_path / "a", "none", 0, {"cat": (0.2, 0.4), "dog": (0.4, 0.4)})
    run(tmp_path / "b", "all", 0, {"cat": (0.2, 0.4), "dog": (0.4, 0.4)}, start=50)
    with pytest.raises(ValueError, match=r"compare='local:all,none': the two settings share no query"):
        asked_for(finished_runs(tmp_path, KINDS)[0], ["local:all,none"])
    groups = {"go": finished_runs(tmp_path / "a", KINDS)[0], "all": finished_runs(tmp_path / "b", KINDS)[0]}
    assert against_the_best(groups, ("map_auc",)).empty
    report(tmp_path, None, [], KINDS)
    assert "No two rows share a query" in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("local", "is not of the form key:value,value"),
        ("local:all", "is not of the form key:value,value"),
        ("local/fusion:all,none", "is not of the form key:value,value"),
        ("lokal:all,none", "compare='lokal' is in no run's config. Keys that differ between the runs: representation"),
        ("local:all,one", "no finished run has 'one'. There are all, none"),
    ],
)
def test_words_that_mean_nothing_are_refused(words, why, runs):
    with pytest.raises(ValueError, match=why):
        asked_for(finished_runs(runs, KINDS)[0], [words])


def test_every_row_is_held_against_the_best_which_sees_no_annotations(runs):
    for seed in (0, 1):
        run(runs / f"box{seed}", "box", seed, {"cat": (1.0, 1.0), "dog": (1.0, 1.0)}, start=10 * seed)
    found = report(runs, ["local"], [], KINDS)
    assert found.differences[["setting", "against"]].to_numpy().tolist() == [
        ["GO", "LO-All"],
        ["box (upper bound)", "LO-All"],
    ]
    page = (runs / "report_local.md").read_text()
    assert re.search(r"-0\.11[23] \[-0\.\d+, -0\.\d+\]", page)
    assert "10,000 resamples of the queries within each class" in page
    assert len(pd.read_csv(runs / "report_local_differences.csv")) == 2


def test_a_cell_says_difference_and_interval(runs):
    cells = readable(asked_for(finished_runs(runs, KINDS)[0], ["local:all,none"])).iloc[0]
    assert cells["map_auc difference"].startswith("+0.11")
    assert cells["coverage_auc difference"] == "+0.000 [+0.000, +0.000]"
    assert cells["coverage_auc p"] == "1.000"
