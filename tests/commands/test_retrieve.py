import shutil
import signal

import pandas as pd
import pytest
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs.status import status_table
from tests.commands.runs import SMALL, contents, folder_of, places, refused, results, seekloop, worked
from tests.logs.wandb_file import Logged

ROUND_COLUMNS = ["class_name", "query", "round", "labels", "positives", "seconds", "ap", "coverage"]
ASKED_COLUMNS = ["class_name", "query", "round", "image", "region", "score", "relevant", "x0", "y0", "x1", "y1"]
SUMMARY_KEYS = {"map_auc", "coverage_auc", "map_final", "coverage_final"}
SUMMARY_KEYS |= {"classes", "queries", "rounds", "budget", "images"}


def test_a_run_leaves_its_config_tables_and_figures(finished):
    folder = finished[0]
    config = yaml.safe_load((folder / "config.yaml").read_text())
    numbers = {"queries": 1, "negatives": 5, "rounds": 3, "budget": 3, "classes": ["1", "3"]}
    assert config["loop"] == {**numbers, "stop": {}}
    assert config["choices"]["criterion"] == "uncertainty"
    rounds = pd.read_parquet(folder / "rounds.parquet")
    assert [name for name in ROUND_COLUMNS if name not in rounds] == []
    assert rounds.groupby("class_name")["round"].apply(list).to_dict() == {"1": [0, 1, 2, 3], "3": [0, 1, 2, 3]}
    assert rounds.groupby("class_name")["labels"].apply(list).to_dict() == {"1": [6, 9, 12, 15], "3": [6, 9, 12, 15]}
    asked = pd.read_parquet(folder / "asked.parquet")
    assert [name for name in ASKED_COLUMNS if name not in asked] == []
    assert len(asked) == 2 * 3 * 3
    assert not asked.duplicated(["class_name", "query", "image"]).any()
    drawn = asked[["x0", "y0", "x1", "y1"]].notna().all(axis=1)
    assert drawn.tolist() == asked["relevant"].tolist()
    queries = pd.read_parquet(folder / "queries.parquet")
    assert queries["class_name"].tolist() == ["1", "3"]
    figures = {path.stem.split("_")[0] for path in (folder / "figures").glob("*.png")}
    assert figures >= {"curves", "classes", "asked"}


def test_the_summary_counts_and_measures(finished):
    summary = yaml.safe_load((finished[0] / "summary.json").read_text())
    assert set(summary) >= SUMMARY_KEYS
    counts = {"classes": 2, "queries": 2, "rounds": 3, "budget": 3, "images": 40}
    assert {key: summary[key] for key in counts} == counts
    rounds = pd.read_parquet(finished[0] / "rounds.parquet")
    assert summary["map_final"] == pytest.approx(rounds[rounds["round"] == 3]["ap"].mean())
    assert f"MAP-AUC {summary['map_auc']:.4f}" in finished[2].out


def test_the_mark_of_a_finished_run_comes_last(finished):
    folder = finished[0]
    others = [path for path in folder.rglob("*") if path.is_file() and "wandb" not in path.parts]
    others = [path for path in others if path.name not in ("COMPLETE", "run.lock")]
    assert max(path.stat().st_mtime_ns for path in others) <= (folder / "COMPLETE").stat().st_mtime_ns
    assert not (folder / "parts").exists()


def test_before_long_work_it_says_how_much_there_is(finished):
    """40 images x (16 regions and the whole) x 192 numbers of 2 bytes are 261,120: 0.3 MB."""
    said = "2 searches (2 classes) of 3 rounds x 3, over 40 images x 16 regions x 192 (0.3 MB)"
    assert said in finished[2].out.splitlines()


def test_what_is_to_come_is_said_before_images_are_described(tmp_path, stores):
    command = ("retrieve", *SMALL, *places(tmp_path / "runs", stores), "store.dtype=float32", "loop.rounds=1")
    said = worked(seekloop(*command)).out.splitlines()
    first = said.index("2 searches of 1 rounds x 3, once images are described")
    assert said[first + 1].startswith("describing 40 images: 0.5 MB in ")
    said = worked(seekloop(*command, "criterion=top")).out.splitlines()
    assert not [line for line in said if line.endswith("once images are described")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("wandb.mode=loud", "wandb.mode='loud' cannot work: it is unknown. Valid: auto"),
        ("verify=full", "only `seekloop extract` reads"),
    ],
)
def test_what_means_nothing_is_refused_even_where_the_run_is_finished(finished, change, message):
    assert message in refused(seekloop(*finished[1], change))


def test_wandb_holds_every_curve_the_table_and_the_pictures(finished):
    logged = Logged(finished[0])
    rounds = pd.read_parquet(finished[0] / "rounds.parquet")
    means = rounds.groupby("round")[["ap", "coverage"]].mean()
    assert logged.curve("ap") == pytest.approx(means["ap"].tolist())
    assert logged.curve("coverage") == pytest.approx(means["coverage"].tolist())
    assert logged.curve("against_labels/ap") == logged.curve("ap")
    assert logged.run.run_group == "default"
    assert logged.config["loop"]["budget"] == 3
    assert len(logged.curve("asked/filenames")) == 3
    assert len(logged.curve("classes_table/path")) == 1
    assert logged.summary["map_auc"] == pytest.approx(logged.curve("map_auc")[0])


def test_a_finished_run_is_not_run_twice(finished):
    folder, command, first = finished
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = worked(seekloop(*command))
    assert again.out.startswith("already finished, MAP-AUC ")
    assert "force=true" in again.out
    assert folder_of(again) == folder_of(first)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_forced_it_runs_again_and_finds_the_same(finished, tmp_path, stores):
    folder = tmp_path / "default" / finished[0].name
    shutil.copytree(finished[0], folder)
    (folder / "COMPLETE").write_text("of the copy")
    outcome = worked(seekloop("retrieve", *SMALL, "force=true", *places(tmp_path, stores)))
    assert folder_of(outcome) == folder
    assert "2 searches" in outcome.out
    assert results(folder) == results(finished[0])
    assert (folder / "COMPLETE").read_bytes() == b""


def test_what_does_not_change_results_does_not_change_the_run(finished, tmp_path, stores):
    """Memory decides how many images are scored at once, and nothing else."""
    outcome = worked(seekloop("retrieve", *SMALL, "engine.memory=0.0001", *places(tmp_path, stores)))
    assert folder_of(outcome).name == finished[0].name
    assert results(folder_of(outcome)) == results(finished[0])


def test_killed_in_extraction_and_again_in_a_round_it_ends_like_an_undisturbed_one(
    processes, finished, tmp_path, stores
):
    """The undisturbed one decoded in the main process, these do in another: that must change nothing either."""
    command = ("retrieve", *SMALL, "wandb.mode=offline", "trainer.workers=1")
    command = (*command, *places(tmp_path / "runs", tmp_path / "stores"))

    extracting = processes.start(*command, kill_at="shard-00001")
    assert extracting.wait() == -signal.SIGKILL, extracting.said()
    assert len(list((tmp_path / "stores").glob("*/shard-*.json"))) == 1

    asking = processes.start(*command, kill_at="state-0002")
    assert asking.wait() == -signal.SIGKILL, asking.said()
    assert "describing 40 images (24 are done already)" in asking.said()
    folder = tmp_path / "runs" / "default" / finished[0].name
    assert sorted(path.stem for path in (folder / "parts").glob("asked-*.parquet"))[-1] == "asked-0002"
    assert status_table(tmp_path / "runs", KINDS)["state"].tolist() == ["interrupted"]

    worked(seekloop(*command))
    assert results(folder) == results(finished[0])
    assert Logged(folder).curve("round") == [0, 1, 2, 3]
    assert Logged(folder).curve("ap") == Logged(finished[0]).curve("ap")
    (store,) = (mark.parent for mark in (tmp_path / "stores").glob("*/COMPLETE"))
    undisturbed = contents(stores / store.name)  # which other tests share: one may have put an index beside it
    assert contents(store) == {name: found for name, found in undisturbed.items() if not name.startswith("index-")}


def test_the_same_run_twice_at_once_is_refused_and_harmless(processes, tmp_path, stores):
    command = ("retrieve", *SMALL, *places(tmp_path / "runs", stores))
    first = processes.start(*command, wait_at="state-0001", gate=tmp_path / "gate")
    first.until_said("waiting at")
    message = refused(seekloop(*command))
    assert f"is being run by process {first.pid}" in message
    assert "Wait until it is done, or stop that process first" in message
    assert status_table(tmp_path / "runs", KINDS)["state"].tolist() == ["running"]
    (tmp_path / "gate").touch()
    assert first.wait() == 0, first.said()
    assert worked(seekloop(*command)).out.startswith("already finished")


def test_two_runs_at_once_share_one_extraction(processes, tmp_path):
    shared = ("retrieve", *SMALL, "collection.images=30", *places(tmp_path / "runs", tmp_path / "stores"))
    first = processes.start(*shared, "representation/local=all", wait_at="image 20.", gate=tmp_path / "gate")
    first.until_said("waiting at")
    second = processes.start(*shared, "representation/local=none")
    second.until_said("another process is extracting")
    (tmp_path / "gate").touch()
    assert (first.wait(), second.wait()) == (0, 0), first.said() + second.said()
    assert "describing" not in second.said()
    assert len(list((tmp_path / "runs").glob("*/*/COMPLETE"))) == 2
