"""Runs of a sweep in processes of their own, by each of the launchers, all reading one store."""

import importlib.util
import subprocess
import sys

import pytest

from tests.commands.processes import without_wandb
from tests.commands.runs import EXTRACTED, SMALL, places, seekloop, worked

SWEPT = "local=none,all"


def swept(runs, stores, launcher, *changes):
    worked(seekloop("extract", *EXTRACTED, f"store_dir={stores}"))
    command = [sys.executable, "-m", "seekloop", "retrieve", "-m", *SMALL, f"launcher={launcher}", *changes]
    environment = {**without_wandb(), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *places(runs, stores)], cwd=runs, env=environment, capture_output=True, text=True, check=False
    )


def finished(runs):
    return sorted(mark.parent.name.split("-")[0] for mark in runs.glob("default/*/COMPLETE"))


def needs(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


LAUNCHERS = [
    pytest.param("joblib", marks=needs("hydra_plugins.hydra_joblib_launcher")),
    pytest.param("submitit_local", marks=[needs("hydra_plugins.hydra_submitit_launcher"), pytest.mark.slow]),
    pytest.param("ray", marks=[needs("hydra_plugins.hydra_ray_launcher"), pytest.mark.slow]),
]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_both_runs_finish_and_share_the_store(launcher, tmp_path, stores):
    before = sorted(stores.iterdir())
    done = swept(tmp_path, stores, launcher, SWEPT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert finished(tmp_path) == ["all", "none"]
    assert sorted(stores.iterdir()) == before or not before


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_what_cannot_work_is_reported_and_the_others_finish(launcher, tmp_path, stores):
    done = swept(tmp_path, stores, launcher, SWEPT, "fusion=concat")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "local=none" in done.stderr
    assert finished(tmp_path) == ["all"]
