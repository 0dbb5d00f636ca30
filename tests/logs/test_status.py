import pytest

from seekloop.commands.kinds import KINDS
from seekloop.logs.jobs import JobBook
from seekloop.logs.run_folder import find_runs
from seekloop.logs.status import counted, status_table
from seekloop.logs.tables import print_table
from tests.logs.fakes import SUMMARY, asked_of, fill, rounds_of, run_folder


def test_status_tells_all_five_states(tmp_path, capsys):
    fill(run_folder(tmp_path / "done"))
    fill(run_folder(tmp_path / "deep" / "interrupted"), until=1)
    failed, running = run_folder(tmp_path / "failed"), run_folder(tmp_path / "running")
    with pytest.raises(ValueError, match="grid"), failed.claim():
        raise ValueError("grid=9x9 is finer than the tokens")
    JobBook(tmp_path).plan({"k0": ["seed=0", "local=all"], "k1": ["seed=0", "local=none"]})
    JobBook(tmp_path).started("k0", "done")
    with running.claim():
        running.write_config("loop: {rounds: 25}")
        running.add(0, {"rounds": rounds_of(0), "asked": asked_of(0)}, None)
        table = status_table(tmp_path, KINDS).set_index("run")
    assert table["state"].to_dict() == {
        "deep/interrupted": "interrupted",
        "done": "done",
        "failed": "failed",
        "running": "running",
        "local=none": "missing",
    }
    assert table.loc["done", ["round", "map_auc"]].tolist() == [3, SUMMARY["map_auc"]]
    assert table.loc["deep/interrupted", "round"] == 1
    assert table.loc["running", ["round", "rounds"]].tolist() == [0, 25]
    assert table.loc["failed", "error"] == "ValueError: grid=9x9 is finer than the tokens"
    assert table["error"].notna().sum() == 1
    print_table(table.reset_index())
    assert "grid=9x9 is finer than the tokens" in capsys.readouterr().out
    assert counted(table) == "5 runs: 1 done, 1 interrupted, 1 failed, 1 running, 1 missing"


def test_a_job_is_missing_until_its_run_has_a_folder_and_again_when_that_is_gone(tmp_path):
    book = JobBook(tmp_path / "sweep")
    book.plan({"k": ["local=all"]})
    assert status_table(tmp_path, KINDS)[["run", "state"]].to_numpy().tolist() == [["sweep: local=all", "missing"]]
    book.started("k", "all-s0")
    assert status_table(tmp_path, KINDS)["state"].tolist() == ["missing"]  # begun, and then its folder was removed
    fill(run_folder(tmp_path / "sweep" / "all-s0"))
    assert status_table(tmp_path, KINDS)[["run", "state"]].to_numpy().tolist() == [["sweep/all-s0", "done"]]


def test_a_job_stopped_before_it_had_a_folder_is_failed_until_it_starts(tmp_path):
    book = JobBook(tmp_path)
    book.plan({"k": ["collection.root=gone"]})
    book.failed("k", FileNotFoundError("no folder gone\n below here"))
    table = status_table(tmp_path, KINDS)
    assert table["state"].tolist() == ["failed"]
    assert table["error"].tolist() == ["FileNotFoundError: no folder gone below here"]
    book.started("k", "all-s0")
    assert status_table(tmp_path, KINDS)["state"].tolist() == ["missing"]


def test_an_empty_folder_has_no_runs(tmp_path):
    assert counted(status_table(tmp_path, KINDS)) == "0 runs"


def test_a_run_inside_a_run_or_a_hidden_folder_is_not_looked_for(tmp_path):
    folder = fill(run_folder(tmp_path / "x" / "run"))
    for place in (folder.path / "wandb", tmp_path / "x" / ".report" / "wandb"):
        place.mkdir(parents=True)
        (place / "config.yaml").write_text("")
    assert [run.path for run in find_runs(tmp_path, KINDS)] == [folder.path]
    assert [run.path for run in find_runs(folder.path, KINDS)] == [folder.path]
