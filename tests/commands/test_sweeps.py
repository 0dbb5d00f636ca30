import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from seekloop.commands.compose import resolve
from seekloop.commands.configs import conf_dir
from tests.commands.processes import without_wandb
from tests.commands.runs import SMALL
from tests.commands.sweep_server import SweepServer

SWEEPS = sorted((conf_dir() / "sweeps").glob("*.yaml"))


def values_of(about):
    return about.get("values") or [about[key] for key in ("value", "min", "max") if key in about]


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_setting_of_a_sweep_is_one_that_the_command_takes(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["command"] == ["seekloop", "retrieve", "${args_no_hyphens}"]
    for name, about in sweep["parameters"].items():
        for value in values_of(about):
            resolve("retrieve", [f"{name}={value}"])


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_a_sweep_is_led_by_a_number_that_every_run_sends(path):
    sweep = yaml.safe_load(path.read_text())
    assert sweep["metric"] == {"name": "map_auc", "goal": "maximize"}
    assert sweep["method"] in ("grid", "bayes")


def test_grids_and_bayesian_searches_are_there():
    assert {path.stem for path in SWEEPS} == {"representations_grid", "criteria_bayes"}


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


@pytest.mark.slow
def test_an_agent_runs_the_grid(tmp_path, stores):
    """The real `wandb sweep` and `wandb agent`; only the server is a stand-in."""
    (path,) = (path for path in SWEEPS if path.stem == "representations_grid")
    with SweepServer() as server:
        wandb(tmp_path, server, "sweep", "--project", "seekloop", str(reduced(path, tmp_path, stores)))
        said = wandb(tmp_path, server, "agent", "me/seekloop/grid0001")
        done = sorted((tmp_path / "runs" / "representations_grid").glob("*/COMPLETE"))
        assert [folder.parent.name.split("-")[0] for folder in done] == ["all", "none"], said
        assert [settings["representation"] for settings in server.dealt.values()] == ["go", "lo_all"]
        for run, settings in server.dealt.items():
            local = {"go": "none", "lo_all": "all"}[settings["representation"]]
            (folder,) = (mark.parent for mark in done if mark.parent.name.startswith(local))
            summary = yaml.safe_load((folder / "summary.json").read_text())
            assert server.of_sweep[run] == "grid0001"
            assert server.summary[run]["map_auc"] == pytest.approx(summary["map_auc"])
            assert [row["round"] for row in server.history[run] if "ap" in row] == [0, 1, 2, 3]
            assert any("media/images/figures/curves" in name for name in server.files[run])
        first = len(server.dealt)
        wandb(tmp_path, server, "sweep", "--project", "seekloop", str(reduced(path, tmp_path, stores)))
        wandb(tmp_path, server, "agent", "me/seekloop/grid0001")
        again = [run for run in server.dealt if int(run.removeprefix("agents")) >= first]
        assert [server.summary[run]["map_auc"] for run in again] == [
            server.summary[run]["map_auc"] for run in server.dealt if run not in again
        ]  # finished before, and told to the new sweep all the same
