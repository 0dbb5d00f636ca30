import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from seekloop.commands.compose import resolve
from seekloop.commands.configs import conf_dir
from seekloop.commands.kinds import KINDS
from seekloop.logs.jobs import JobBook
from seekloop.logs.status import status_table
from tests.commands.processes import ROOT, until, without_wandb
from tests.commands.runs import SMALL, contents, places, refused, seekloop, worked
from tests.commands.sweep_server import SweepServer

SWEEPS = sorted((conf_dir() / "sweeps").glob("*.yaml"))


def values_of(about):
    return about.get("values") or [about[key] for key in ("value", "min", "max") if key in about]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_setting_of_a_sweep_is_one_that_the_command_takes(path):
    sweep = yaml.safe_load(path.read_text())
    program, command, arguments = sweep["command"]
    assert (program, arguments) == ("seekloop", "${args_no_hyphens}")
    first = {name: values_of(about)[0] for name, about in sweep["parameters"].items()}
    for name, about in sweep["parameters"].items():
        for value in values_of(about):
            resolve(command, [f"{key}={chosen}" for key, chosen in {**first, name: value}.items()])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_led_by_a_number_that_every_run_sends(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"]["goal"] == "maximize"
    assert sweep["metric"]["name"] in KINDS[sweep["command"][1]].numbers
    assert sweep["method"] in ("grid", "bayes")


def test_grids_and_bayesian_searches_are_there():
    methods = {(sweep["command"][1], sweep["method"]) for sweep in map(yaml.safe_load, map(Path.read_text, SWEEPS))}
    assert methods >= {("retrieve", "grid"), ("retrieve", "bayes")}


def reduced(path, place, stores):
    """The same sweep, its command untouched, over two small settings."""
    sweep = yaml.safe_load(path.read_text())
    small = dict(word.split("=", 1) for word in SMALL if not word.startswith("wandb"))
    kept = {"representation": {"values": ["go", "lo_all"]}, "grid": {"value": "2x2"}, "seed": {"value": 0}}
    sweep["parameters"] |= {name: {"value": value} for name, value in small.items()} | kept
    sweep["parameters"] |= {"runs_dir": {"value": "runs"}, "store_dir": {"value": str(stores)}}
    copy = place / path.name
    copy.write_text(yaml.safe_dump(sweep, sort_keys=False))
    return copy


def wandb(place, server, *arguments):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**without_wandb(), "PATH": path, "WANDB_BASE_URL": server.url, "WANDB_API_KEY": "0" * 40}
    command = [sys.executable, "-m", "wandb", *arguments]
    done = subprocess.run(
        command, cwd=place, env={**environment, "WANDB_DIR": str(place)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def swept(server, place, stores):
    """The real `wandb sweep` and `wandb agent`; returns the numbers of the runs that the agent was dealt."""
    (path,) = (path for path in SWEEPS if path.stem == "representations_grid")
    before = set(server.dealt)
    wandb(place, server, "sweep", "--project", "seekloop", str(reduced(path, place, stores)))
    wandb(place, server, "agent", "me/seekloop/grid0001")
    return [run for run in server.dealt if run not in before]


@pytest.mark.slow
def test_an_agent_runs_the_grid(tmp_path, stores):
    """Only the server is a stand-in."""
    with SweepServer() as server:
        runs = swept(server, tmp_path, stores)
        done = sorted((tmp_path / "runs" / "representations_grid").glob("*/COMPLETE"))
        assert [folder.parent.name.split("-")[0] for folder in done] == ["all", "none"]
        assert [server.dealt[run]["representation"] for run in runs] == ["go", "lo_all"]
        for run in runs:
            local = {"go": "none", "lo_all": "all"}[server.dealt[run]["representation"]]
            (folder,) = (mark.parent for mark in done if mark.parent.name.startswith(local))
            summary = yaml.safe_load((folder / "summary.json").read_text())
            assert server.of_sweep[run] == "grid0001"
            assert server.summary[run]["map_auc"] == pytest.approx(summary["map_auc"])
            assert [row["round"] for row in server.history[run] if "ap" in row] == [0, 1, 2, 3]
            assert any("media/images/figures/curves" in name for name in server.files[run])
            assert "round 3/3: MAP" in server.printed[run]


@pytest.mark.slow
def test_runs_that_were_finished_before_are_told_to_a_new_sweep_all_the_same(tmp_path, stores):
    with SweepServer() as server:
        first, again = (swept(server, tmp_path, stores) for _ in range(2))
        assert len(first) == len(again) == 2
        told = [[server.summary[run]["map_auc"] for run in runs] for runs in (first, again)]
        assert told[0] == told[1]


def states(runs):
    return dict(Counter(status_table(runs, KINDS)["state"]))


def kept(folder):
    """What a folder holds, and when it was written."""
    return contents(folder), {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def finished(runs):
    return {mark.parent: kept(mark.parent) for mark in runs.glob("default/*/COMPLETE")}


def test_killed_in_the_middle_the_same_command_runs_only_what_is_missing(processes, tmp_path, stores):
    """Four runs one after the other, killed in a round of the third."""
    runs = tmp_path / "runs"
    command = ("retrieve", "-m", *SMALL, "representation/local=none,all", "seed=0,1", *places(runs, stores))
    killed = processes.start(*command, kill_at="all-none-4x4-uncertainty-s0*state-0001")
    assert killed.wait() == -signal.SIGKILL, killed.said()
    assert states(runs) == {"done": 2, "interrupted": 1, "missing": 1}
    assert status_table(runs / "default", KINDS)["run"].tolist()[-1] == "representation/local=all seed=1"
    before = finished(runs)
    assert len(before) == 2

    again = worked(seekloop(*command))
    assert again.out.count("already finished") == 2
    assert [line for line in again.out.splitlines() if line.startswith("run ")] == [
        f"run {number} of 4: representation/local={local} seed={seed}"
        for number, (local, seed) in enumerate([("none", 0), ("none", 1), ("all", 0), ("all", 1)], start=1)
    ]
    after = finished(runs)
    assert {folder: after[folder] for folder in before} == before
    assert states(runs) == {"done": 4}
    assert "4 runs: 4 done" in worked(seekloop("status", str(runs / "default"))).out


@pytest.mark.slow
def test_twelve_runs_killed_in_the_middle_are_completed_by_the_same_command(tmp_path, stores):
    """Side by side by joblib; all of its processes are killed at once, as by a machine that goes down."""
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "seekloop", "retrieve", "-m", *SMALL, *places(runs, stores), "launcher=joblib"]
    command += ["representation=go,lo_all,gl_concat_all,gl_pool_all", "seed=0,1,2"]
    working = {"cwd": ROOT, "env": without_wandb(), "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    sweep = subprocess.Popen(command, start_new_session=True, **working)
    until(lambda: len(finished(runs)) >= 4)
    os.killpg(sweep.pid, signal.SIGKILL)
    assert sweep.wait() == -signal.SIGKILL
    before = finished(runs)
    counts = states(runs)
    assert sum(counts.values()) == 12
    assert 4 <= counts["done"] < 12
    assert counts["missing"] >= 1

    again = subprocess.run(command, cwd=ROOT, env=without_wandb(), capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("already finished") == len(before)
    after = finished(runs)
    assert {folder: after[folder] for folder in before} == before
    assert states(runs) == {"done": 12}


def test_killed_before_its_first_run_wrote_anything_a_sweep_is_missing_as_a_whole(processes, tmp_path, stores):
    """The experiment brings a grid of its own, and its own name."""
    runs = tmp_path / "runs"
    command = ("retrieve", "-m", *SMALL, "experiment=demo", *places(runs, stores))
    killed = processes.start(*command, kill_at="heartbeat")
    assert killed.wait() == -signal.SIGKILL, killed.said()
    before = kept(runs)
    out = worked(seekloop("status", str(runs / "demo"))).out
    assert [line.split("  ")[0].strip() for line in out.splitlines() if "missing  " in line] == [
        "representation=gl_concat_all",
        "representation=gl_pool_all",
        "representation=go",
        "representation=lo_all",
    ]
    assert "4 runs: 4 missing" in out
    assert "the sweep's command, given again, runs only these" in out
    assert kept(runs) == before  # to look changes nothing


def test_a_job_that_was_run_in_other_words_is_not_missing(processes, tmp_path, stores):
    """Alone, in another order, by another launcher's name: the job is what it would do."""
    command = ("retrieve", "-m", *SMALL, "representation/local=none,all", *places(tmp_path, stores))
    assert processes.start(*command, kill_at="heartbeat").wait() == -signal.SIGKILL
    assert states(tmp_path) == {"missing": 2}
    worked(seekloop("retrieve", "representation/local=all", *places(tmp_path, stores), *reversed(SMALL)))
    assert states(tmp_path) == {"done": 1, "missing": 1}
    worked(seekloop("retrieve", "-m", "representation=go", *places(tmp_path, stores), *SMALL, "wandb.project=other"))
    assert states(tmp_path) == {"done": 2}


def test_what_fails_before_it_has_a_folder_is_listed_as_failed(tmp_path, stores):
    command = ("retrieve", "-m", *SMALL, "grid=4x4,5", *places(tmp_path, stores))
    assert seekloop(*command).code == 1
    table = status_table(tmp_path, KINDS).set_index("state")
    assert sorted(table.index) == ["done", "failed"]
    assert table.loc["failed", "run"] == "default: grid=5"
    assert table.loc["failed", "error"].startswith("ConfigError: grid=5 cannot work: it is no grid")


def test_each_job_is_kept_where_its_experiment_is(processes, tmp_path, stores):
    """Where the sweep goes over experiments, the jobs lie in the folders of both."""
    command = ("retrieve", "-m", *SMALL, "experiment_name=one,two", "seed=0,1", *places(tmp_path, stores))
    assert processes.start(*command, kill_at="heartbeat").wait() == -signal.SIGKILL
    assert sorted(status_table(tmp_path / "two", KINDS)["run"]) == ["seed=0", "seed=1"]
    assert len(JobBook(tmp_path / "one").jobs()) == 2


def test_a_sweep_that_hydra_refuses_leaves_no_jobs(tmp_path, stores):
    outcome = seekloop("retrieve", "-m", *SMALL, "representation/local=none,everything", *places(tmp_path, stores))
    assert outcome.code == 1
    assert "'representation/local/everything'" in outcome.err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.slow
def test_a_sweep_of_an_earlier_version_is_reported_and_not_continued(tmp_path, stores):
    """Its configs name local strategy and fusion at the top."""
    command = ("retrieve", "-m", *SMALL, "representation=go,lo_all", "experiment_name=old", *places(tmp_path, stores))
    worked(seekloop(*command))
    for file in (tmp_path / "old").glob("*/config.yaml"):
        config = yaml.safe_load(file.read_text())
        pair = config.pop("representation")
        del config["choices"]["representation"]
        file.write_text(yaml.safe_dump({**config, **pair}))
    again = worked(seekloop(*command))
    assert again.out.count("already finished") == 2
    outcome = seekloop(*(word.replace("go,lo_all", "go,gl_pool_all") for word in command))
    assert outcome.code == 1
    assert "old holds runs of an earlier version, such as " in outcome.err
    assert f"`seekloop report {tmp_path / 'old'}` reads them. Choose another experiment_name" in outcome.err
    assert "2 finished runs below" in worked(seekloop("report", str(tmp_path / "old"), "by=local,representation")).out
    for file in (tmp_path / "old").glob(
        "*/config.yaml"
    ):  # of search and detect, the first versions differ in this alone
        config = yaml.safe_load(file.read_text())
        del config["local"], config["fusion"], config["recipe"]
        file.write_text(yaml.safe_dump(config))
    outcome = seekloop(*(word.replace("go,lo_all", "go,gl_pool_all") for word in command))
    assert "old holds runs of an earlier version, such as " in outcome.err
    (begun,) = (tmp_path / "old").glob("all-*")
    (begun / "COMPLETE").unlink()
    one = ("retrieve", *SMALL, "representation=lo_all", "experiment_name=old", *places(tmp_path, stores))
    assert "which nothing continues" in refused(seekloop(*one))
    worked(seekloop(*one, "force=true"))
