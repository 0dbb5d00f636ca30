"""Real sweeps of two choices by two seeds, in processes of their own by each of the launchers, over one store."""

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import joblib
import pytest
import torch

from seekloop.commands.kinds import KINDS
from seekloop.commands.sweeps import limited, threads_of
from seekloop.logs.status import status_table
from tests.commands.processes import ROOT, without_wandb
from tests.commands.runs import EXTRACTED, SMALL, results, seekloop, worked

SWEPT = ("representation/local=none,all", "seed=0,1")
COUNTER = """# Writes down how many threads a run may use.
_target_: tests.commands.thread_counter.CountThreads
into: {place}/${{hydra:runtime.choices.representation/local}}-s${{seed}}.json
"""


def needs(module):
    missing = importlib.util.find_spec(module) is None
    return pytest.mark.skipif(missing, reason=f"{module} is not installed")


LAUNCHERS = [
    pytest.param("joblib", marks=needs("hydra_plugins.hydra_joblib_launcher")),
    pytest.param("submitit_local", marks=[needs("hydra_plugins.hydra_submitit_launcher"), pytest.mark.slow]),
    pytest.param("ray", marks=[needs("hydra_plugins.hydra_ray_launcher"), pytest.mark.slow]),
]


@dataclass(frozen=True)
class Swept:
    """A sweep that has ended."""

    launcher: str
    runs: Path
    stores: Path
    done: subprocess.CompletedProcess


def swept(launcher, place, stores, *changes):
    environment = {name: value for name, value in without_wandb().items() if not name.endswith("_NUM_THREADS")}
    environment["PYTHONPATH"] = ":".join(filter(None, (str(ROOT), environment.get("PYTHONPATH"))))
    environment["RAY_raylet_start_wait_time_s"] = "300"  # on a busy machine Ray is slow to start
    command = [sys.executable, "-m", "seekloop", "retrieve", "-m", *changes, *SMALL, *SWEPT, f"launcher={launcher}"]
    command += ["trainer.workers=1"]  # as by default: a process of a launcher's must be able to start its own
    command += [f"runs_dir={place / 'runs'}", f"store_dir={stores}"]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    return Swept(launcher, place / "runs", stores, done)


@pytest.fixture(scope="module", params=LAUNCHERS)
def sweep(request, tmp_path_factory):
    """Nothing is described beforehand, and every run writes down how many threads it may use."""
    place = tmp_path_factory.mktemp(request.param)
    (place / "conf" / "criterion").mkdir(parents=True)
    (place / "conf" / "criterion" / "count_threads.yaml").write_text(COUNTER.format(place=place))
    found = swept(request.param, place, place / "stores", f"--config-dir={place / 'conf'}", "criterion=count_threads")
    assert found.done.returncode == 0, found.done.stdout + found.done.stderr
    return found


def test_all_four_runs_finish(sweep):
    table = status_table(sweep.runs, KINDS)
    assert table["state"].tolist() == ["done"] * 4, table.to_string()
    names = [Path(run).name.split("-") for run in table["run"]]
    assert sorted((words[0], words[-2]) for words in names) == [
        ("all", "s0"),
        ("all", "s1"),
        ("none", "s0"),
        ("none", "s1"),
    ]


def test_they_share_one_extraction_and_leave_the_store_whole(sweep):
    (store,) = sweep.stores.glob("*/COMPLETE")
    verified = worked(seekloop("extract", *EXTRACTED, f"store_dir={sweep.stores}", "verify=full"))
    assert "every checksum is right and every number finite" in verified.out
    assert str(store.parent) in verified.out
    if sweep.launcher == "joblib":  # the others keep what their runs say to themselves
        assert sweep.done.stdout.count("describing 40 images") == 1


def test_every_run_keeps_to_its_share_of_the_cores(sweep):
    """Two at a time by joblib; the other two are told how many cores a run has: one."""
    expected = max(1, joblib.cpu_count() // 2) if sweep.launcher == "joblib" else 1
    counted = {path.stem: json.loads(path.read_text()) for path in sweep.runs.parent.glob("*.json")}
    assert set(counted) == {"all-s0", "all-s1", "none-s0", "none-s1"}
    for counts in counted.values():
        assert {"torch", "numba", "openblas"} <= set(counts)
        assert set(counts.values()) == {expected}, counts


def test_lines_of_runs_side_by_side_carry_the_runs_name(sweep):
    if sweep.launcher == "submitit_local":
        said = "\n".join(path.read_text() for path in sweep.runs.glob(".submitit/*/*.out"))
    else:
        said = sweep.done.stdout + sweep.done.stderr  # Ray puts (pid=...) before a line
    for run in status_table(sweep.runs, KINDS)["run"]:
        assert f"{Path(run).name}: MAP-AUC" in said, said
        assert f"{Path(run).name}: round 3/3: MAP" in said
    assert "run 1 of 4" not in said  # there is no order of runs side by side


def test_a_launcher_changes_no_result(sweep, tmp_path):
    """The same run alone, with all cores, finds the same to the last byte."""
    (parallel,) = sweep.runs.glob("default/all-*-s1-*")
    conf = sweep.runs.parent / "conf"
    command = (
        "retrieve",
        f"--config-dir={conf}",
        *SMALL,
        "criterion=count_threads",
        "representation/local=all",
        "seed=1",
    )
    worked(seekloop(*command, f"runs_dir={tmp_path}", f"store_dir={sweep.stores}"))
    assert results(tmp_path / "default" / parallel.name) == results(parallel)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_what_cannot_work_is_reported_and_the_others_finish(launcher, tmp_path, stores):
    """There is nothing to fuse with where local is none: two runs of four fail, and their errors are kept."""
    worked(seekloop("extract", *EXTRACTED, f"store_dir={stores}"))
    found = swept(launcher, tmp_path, stores, "representation/fusion=concat")
    assert found.done.returncode == 1
    assert "Traceback" not in found.done.stderr
    assert "representation/local=none" in found.done.stderr
    table = status_table(found.runs, KINDS)
    states = table.groupby(table["run"].str.extract(r"(all|none)", expand=False))["state"].apply(list).to_dict()
    assert states == {"all": ["done", "done"], "none": ["failed", "failed"]}
    errors = table["error"].dropna()
    assert len(errors) == 2
    assert all("Use representation/fusion=none, or representation/local=all" in error for error in errors)


def test_a_share_is_never_nothing():
    """Sixteen runs at a time on four cores: one thread each; all but one core (joblib's -2) of four: one each."""
    assert threads_of({"n_jobs": 16}, cores=4) == 1
    assert threads_of({"n_jobs": -2}, cores=4) == 1
    assert threads_of({"ray": {"remote": {"num_cpus": 0.5}}}, cores=4) == 1
    assert threads_of({"ray": {"init": {}, "remote": {}}}, cores=4) == 1
    assert threads_of({"cpus_per_task": None}, cores=4) == 1


def test_fewer_threads_by_the_environment_stay_fewer(monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with limited(2):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


def test_afterwards_the_process_is_as_it_was(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    with limited(1):
        assert os.environ["OMP_NUM_THREADS"] == os.environ["MKL_NUM_THREADS"] == "1"
    assert "OMP_NUM_THREADS" not in os.environ
    assert os.environ["MKL_NUM_THREADS"] == "7"
