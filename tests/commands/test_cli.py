import json
import os
import shutil
import subprocess
import sys

import pandas as pd
import pytest
import yaml

import seekloop as seekloop_python
from seekloop.commands.configs import conf_dir
from tests.commands.runs import EXTRACTED, SMALL, folder_of, places, refused, seekloop, worked
from tests.logs.wandb_file import Logged

LAST_FIRST = '''
"""A criterion kept outside the package."""

import torch


class LastFirst:
    """Asks about the last images that may be asked about."""

    def __init__(self, backwards):
        self.backwards = backwards

    def __call__(self, view, budget, rngs):
        order = torch.arange(view.candidate.shape[1])
        order = order.flip(0) if self.backwards else order
        return torch.stack([order[mask[order]][:budget] for mask in view.candidate])
'''


def test_a_criterion_is_one_class_and_one_yaml(tmp_path, monkeypatch, stores):
    (tmp_path / "theirs.py").write_text(LAST_FIRST)
    (tmp_path / "conf" / "criterion").mkdir(parents=True)
    (tmp_path / "conf" / "criterion" / "last_first.yaml").write_text("_target_: theirs.LastFirst\nbackwards: true\n")
    monkeypatch.syspath_prepend(tmp_path)
    outcome = worked(
        seekloop(
            "retrieve",
            "--config-dir",
            str(tmp_path / "conf"),
            *SMALL,
            "criterion=last_first",
            *places(tmp_path / "runs", stores),
        )
    )
    folder = folder_of(outcome)
    assert "last_first" in folder.name
    assert yaml.safe_load((folder / "config.yaml").read_text())["choices"]["criterion"] == "last_first"
    queries = pd.read_parquet(folder / "queries.parquet").set_index("class_name")
    asked = pd.read_parquet(folder / "asked.parquet")
    for name, query in queries.iterrows():
        known = {query["image"], *query["negatives"]}
        free = [image for image in range(39, -1, -1) if image not in known]
        assert asked[asked["class_name"] == name]["image"].tolist() == free[:9]


def test_a_command_that_does_not_exist_lists_those_that_do():
    outcome = seekloop("retreive")
    assert outcome.code == 2
    assert outcome.err.startswith("seekloop has no command 'retreive'")
    assert all(f"seekloop {name}" in outcome.err for name in ("extract", "retrieve", "status", "report"))


def test_without_a_command_it_says_what_it_can_do():
    assert "seekloop retrieve" in worked(seekloop()).out
    assert seekloop("--help").out == seekloop().out


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("criterion=foo", ["'criterion/foo'", "uncertainty", "pf_ma", "core_set"]),
        ("representation/local=everything", ["'representation/local/everything'", "one_proto", "none", "all"]),
        ("backbone=dinov9", ["'backbone/dinov9'", "tiny", "dinov2_s"]),
        ("experiment=none_such", ["'experiment/none_such'", "table_1_voc"]),
        (
            "loop.turns=3",
            ["There is no loop.turns. Known below loop: ", "queries, rounds, stop."],
        ),
        ("loop.round=3", ["Did you mean loop.rounds?"]),
        ("criterion=mixed criterion.exploit=1", ["There is no criterion.exploit.", "Known below criterion: "]),
        ("loop.rounds=many", ["loop.rounds='many' cannot work"]),
        ("loop.budget=2.5", ["loop.budget=2.5 cannot work"]),
        ("criterions=top", ["criterions", "Did you mean criterion?"]),
    ],
)
def test_what_the_config_does_not_know_is_named_with_what_it_knows(override, words, tmp_path, stores):
    outcome = seekloop("retrieve", *SMALL, *override.split(), *places(tmp_path, stores))
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert [word for word in words if word not in outcome.err] == []
    assert not list(tmp_path.iterdir())


def test_the_config_of_a_sweep_is_not_printed(tmp_path, stores):
    outcome = seekloop("retrieve", "-m", *SMALL, "--cfg", "job", *places(tmp_path, stores))
    assert (outcome.code, "Traceback" in outcome.err) == (1, False)
    assert "leave out -m" in outcome.err


def test_the_help_of_a_command_lists_its_choices():
    out = worked(seekloop("retrieve", "--help")).out
    names = sorted(path.stem for path in (conf_dir() / "criterion").glob("*.yaml"))
    assert f"criterion: {', '.join(names)}".replace("uncertainty,", "[uncertainty],") in out
    assert "budget: 10" in out


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, stores):
    """Three settings in one go; the second cannot work, as there is nothing to fuse with."""
    runs = tmp_path_factory.mktemp("sweep")
    command = (
        "retrieve",
        "-m",
        *SMALL,
        "representation/fusion=concat",
        "representation/local=all,none,one_rand",
        *places(runs, stores),
    )
    return runs, seekloop(*command)


def test_every_image_of_a_class_searched_for_has_a_size_and_chance_is_its_share(finished):
    """Of the classes 1 and 3 alone; chance lies above the share of all images, where other sizes are still ranked."""
    folder, _, _ = finished
    sizes = json.loads((folder / "summary.json").read_text())["sizes"]
    known = seekloop_python.build("collection=scenes", "collection.images=40").annotations
    searched = {known.classes.index(name) for name in "13"}
    pairs = {pair for pair in zip(known.label.tolist(), known.image.tolist(), strict=True) if pair[0] in searched}
    assert sum(one["images"] for one in sizes.values()) == len(pairs)
    assert all(one["images"] / (2 * 40) <= one["chance"] <= len(pairs) / 40 for one in sizes.values())


def test_in_a_sweep_a_setting_that_cannot_work_does_not_hold_up_the_others(sweep):
    runs, outcome = sweep
    assert outcome.code == 1
    assert "error: collection=scenes" in outcome.err
    assert "representation/local=none" in outcome.err
    assert "Traceback" not in outcome.err
    assert sorted(path.parent.name.split("-")[0] for path in runs.glob("*/*/COMPLETE")) == ["all", "one_rand"]


def test_status_says_how_far_each_run_is(sweep):
    runs, _ = sweep
    out = worked(seekloop("status", str(runs))).out
    words = {line.split()[0].split("/")[-1].split("-")[0]: line.split()[1:] for line in out.splitlines() if "-" in line}
    assert words["all"][:3] == words["one_rand"][:3] == ["done", "3", "3"]
    (refused_job,) = [
        line for line in out.splitlines() if "representation/local=none" in line
    ]  # which never had a folder
    assert " failed " in refused_job
    assert "Use representation/fusion=none, or representation/local=all" in refused_job


@pytest.mark.parametrize("command", ["retrieve --help", "status", "report wandb=disabled"])
def test_a_reader_that_leaves_early_ends_nothing_and_hears_nothing(command, sweep, tmp_path):
    """As `| head -n 0`: the pipe has no reader when the first line is written. A report writes all of its files."""
    name, *words = command.split()
    runs = shutil.copytree(sweep[0], tmp_path / "runs")
    folder = [] if name == "retrieve" else [str(runs)]
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "seekloop", name, *folder, *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")
    assert (runs / "report.md").exists() == (name == "report")


def test_report_compares_the_finished_runs(sweep):
    runs, _ = sweep
    out = worked(seekloop("report", str(runs), "by=local,fusion")).out
    assert "one_rand" in out
    assert pd.read_csv(runs / "report_local_fusion.csv")["local"].tolist() == ["all", "one_rand"]
    assert "one_rand" in (runs / "report_local_fusion.md").read_text()


def test_report_holds_two_settings_against_each_other_and_tells_wandb(sweep):
    """One query per class: the difference is known, how sure it is is not."""
    runs, _ = sweep
    out = worked(seekloop("report", str(runs), "by=local", "compare=local:all,one_rand", "wandb=offline")).out
    assert "The same queries under two settings: the first minus the second" in out
    (row,) = pd.read_csv(runs / "report_local_local-all-one_rand_differences.csv").to_dict("records")
    areas = pd.read_csv(runs / "report_local_local-all-one_rand.csv").set_index("local")["map_auc_mean"]
    assert (row["setting"], row["against"], row["queries"], row["classes"]) == ("all", "one_rand", 2, 2)
    assert row["map_auc_difference"] == pytest.approx(areas["all"] - areas["one_rand"])
    assert pd.isna(row["map_auc_p"])
    logged = Logged(runs / ".report")
    assert logged.run.job_type == "report"
    assert logged.summary["all - one_rand/map_auc_difference"] == pytest.approx(row["map_auc_difference"])
    assert worked(seekloop("status", str(runs))).out.endswith("3 runs: 2 done, 1 failed\n")  # W&B's files are no run


@pytest.mark.parametrize(
    ("word", "why"),
    [
        ("compare=local:all", "is not of the form key:value,value"),
        ("compare=local:all,box", "no finished run has 'box'. There are all, one_rand"),
        ("by=lokal", "by='lokal' is in no run's config"),
        ("wandb=maybe", "Valid: auto, online, offline, disabled."),
        ("format=html", "one folder of runs is needed"),
    ],
)
def test_what_report_cannot_do_is_said_in_a_line(word, why, sweep):
    runs, _ = sweep
    assert why in refused(seekloop("report", str(runs), word))


@pytest.mark.parametrize("command", ["status", "report"])
def test_a_folder_that_is_not_there_is_named(command, tmp_path):
    assert "there is no such folder" in refused(seekloop(command, str(tmp_path / "nowhere")))
    assert "one folder of runs is needed" in refused(seekloop(command))


def test_extract_says_where_the_store_is_and_a_finished_one_returns_at_once(stores):
    command = ("extract", *EXTRACTED, f"store_dir={stores}")
    worked(seekloop(*command))
    again = worked(seekloop(*command))
    assert "40 images in " in again.out
    assert "describing" not in again.out
    verified = worked(seekloop(*command, "verify=full"))
    assert "every checksum is right and every number finite" in verified.out
    assert "Valid: none, full." in refused(seekloop(*command, "verify=some"))


def test_python_m_seekloop_is_the_same(tmp_path):
    """From an empty folder, in a process that imports nothing else."""
    command = [sys.executable, "-m", "seekloop"]
    found = subprocess.run([*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout == seekloop("--help").out
    assert not list(tmp_path.iterdir())
