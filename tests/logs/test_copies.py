"""A folder may be copied, renamed and backed up: it is one run, and counts once."""

import errno
import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import yaml

from seekloop.artifacts.files import refused
from seekloop.commands.kinds import KINDS
from seekloop.commands.python import runs
from seekloop.commands.reports import report as report_command
from seekloop.commands.reports import status as status_command
from seekloop.contracts.errors import StoreError
from seekloop.logs import drawing
from seekloop.logs import report as reports
from seekloop.logs.jobs import JobBook
from seekloop.logs.report import report
from seekloop.logs.run_folder import RunFolder, find_runs
from seekloop.logs.status import COPY, counted, status_table
from tests.logs.fakes import SUMMARY, asked_of, queries, rounds_of, run_folder


def config(seed, name=None, **more):
    named = {} if name is None else {"run_id": name}
    return {
        "seed": seed,
        "choices": {"local": "all"},
        "experiment_name": "x",
        "wandb": {"mode": "disabled"},
        **more,
        **named,
    }


def finished(path, seed, *, named=True, rounds=1, **summary):
    """A run of `retrieve`; `named`: as today, with its run_id in the config."""
    folder = run_folder(path)
    with folder.claim():
        folder.write_config(yaml.safe_dump(config(seed, path.name if named else None)))
        folder.write_queries(queries())
        for number in range(rounds):
            folder.add(
                number, {"rounds": rounds_of(number).assign(coverage=0.1 * seed), "asked": asked_of(number)}, None
            )
        folder.finish({**SUMMARY, "machine_seconds": 1.5, **summary})
    return folder


@pytest.fixture(params=[True, False], ids=["with run_id", "of an earlier version"])
def seeds(tmp_path, request):
    """Seeds 0 and 1 with 0.5 and 0.7, in experiment x."""
    for seed, area in enumerate((0.5, 0.7)):
        finished(tmp_path / "x" / f"all-s{seed}", seed, named=request.param, map_auc=area)
    return tmp_path


def copied(run, place):
    shutil.copytree(run, place)


def test_copies_backups_and_renamed_copies_count_once(seeds, capsys):
    """Mean 0.6, and with one degree of freedom an interval from 0.0075 on. With three copies of seed 0 it would be 0.54

    from 0.41 on.
    """
    run = seeds / "x" / "all-s0"
    for place in ("x/all-s0 (copy)", "backup/deep/all-s0", "x/best run"):
        copied(run, seeds / place)
    found = report(seeds, None, [], KINDS)
    assert (found.runs, found.keys) == (2, ())
    assert found.table.loc[0, "runs"] == 2
    assert found.table.loc[0, "map_auc_mean"] == pytest.approx(0.6)
    assert found.table.loc[0, "map_auc_low"] == pytest.approx(0.0075, abs=1e-4)
    said = capsys.readouterr().out
    for place in ("x/all-s0 (copy)", "backup/deep/all-s0", "x/best run"):
        line = f"passed over: {place} is the same run as x/all-s0, which counts\n"
        assert line in said
        assert f"- {line}" in (seeds / "report.md").read_text()
    assert "2 finished runs below" in said


def test_only_the_copy_is_left(seeds):
    run = seeds / "x" / "all-s0"
    run.rename(seeds / "x" / "renamed")
    found = report(seeds, None, [], KINDS)
    assert found.runs == 2
    assert list(found.copies) == []


def test_the_finished_one_of_two_counts(tmp_path):
    """The folder under the run's own name was started again and has come less far than its backup."""
    whole = finished(tmp_path / "x" / "all-s0", 0, map_auc=0.5).path
    copied(whole, tmp_path / "x" / "backup of all-s0")
    for name in ("COMPLETE", "summary.json", "rounds.parquet", "asked.parquet"):
        (whole / name).unlink()
    found = report(tmp_path, None, [], KINDS)
    assert [run.path.name for run in found.groups["all runs"]] == ["backup of all-s0"]
    table = status_table(tmp_path, KINDS).set_index("run")
    assert table[COPY].dropna().to_dict() == {"x/all-s0": "x/backup of all-s0"}
    assert counted(table) == "1 run: 1 done; and 1 copy"


def test_copies_whose_numbers_differ_are_told_so(tmp_path, capsys):
    finished(tmp_path / "x" / "all-s0", 0, map_auc=0.5)
    finished(tmp_path / "old" / "all-s0", 0, map_auc=0.9)
    found = report(tmp_path, None, [], KINDS)
    assert found.table["map_auc_mean"].tolist() == [0.5]  # x is the experiment that its config names
    assert (
        "passed over: old/all-s0 is the same run as x/all-s0, which counts, although their numbers differ "
        "(map_auc 0.900 there, 0.500 here): remove the one that is wrong"
    ) in capsys.readouterr().out


def test_a_run_that_a_newer_version_has_named_is_the_copy_of_its_earlier_self(tmp_path):
    old = finished(tmp_path / "x" / "all-s0", 0, named=False).path
    copied(old, tmp_path / "copy")
    (old / "config.yaml").write_text(yaml.safe_dump(config(0, "all-s0")))
    assert report(tmp_path, None, [], KINDS).runs == 1


def test_runs_of_an_earlier_version_with_other_results_are_other_runs(tmp_path):
    """The same settings on photographs that changed in between: only their tables tell them apart."""
    first = finished(tmp_path / "x" / "a", 0, named=False)
    other = run_folder(tmp_path / "x" / "b")
    with other.claim():
        other.write_config(yaml.safe_dump(config(0)))
        other.write_queries(queries())
        other.add(0, {"rounds": rounds_of(0).assign(ap=0.123), "asked": asked_of(0)}, None)
        other.finish(SUMMARY)
    assert report(tmp_path, None, [], KINDS).runs == 2
    shutil.rmtree(first.path)
    copied(other.path, tmp_path / "c")
    assert report(tmp_path, None, [], KINDS).runs == 1


def test_one_run_in_two_experiments_counts_in_the_row_of_each(tmp_path):
    for experiment in ("x", "y"):
        path = tmp_path / experiment / "all-s0"
        finished(path, 0)
        (path / "config.yaml").write_text(yaml.safe_dump({**config(0, "all-s0"), "experiment_name": experiment}))
    assert report(tmp_path, None, [], KINDS).runs == 1
    by_experiment = report(tmp_path, ["experiment_name"], [], KINDS)
    assert by_experiment.table["runs"].tolist() == [1, 1]
    compared = report(tmp_path, ["seed"], ["experiment_name:x,y"], KINDS)
    assert compared.differences["queries"].tolist() == [4]


def made(kind, path, seed):
    """A finished run of another command, its tables of one row each; and the summary's main number 0.5 + seed / 10."""
    folder = RunFolder(path, KINDS[kind])
    with folder.claim():
        folder.write_config(yaml.safe_dump({"command": kind, **config(seed, path.name)}, sort_keys=False))
        tables = {name: _row(columns, seed) for name, columns in folder.kind.tables.items()}
        folder.add(0, tables, None)
        folder.finish({name: 0.5 + seed / 10 for name in folder.kind.numbers})
    return folder


def _row(columns, seed):
    numbers = {"int32": np.int32(0), "double": 0.5 + seed / 10, "string": "all", "bool": True}
    return pd.DataFrame({name: [numbers[kind]] for name, kind in columns.items()})


@pytest.mark.parametrize("kind", KINDS)
def test_runs_of_every_command(tmp_path, kind, capsys):
    for seed in (0, 1):
        run = partial(finished, map_auc=0.5 + seed / 10) if kind == "retrieve" else partial(made, kind)
        run(tmp_path / "x" / f"run-s{seed}", seed)
    copied(tmp_path / "x" / "run-s1", tmp_path / "x" / "run-s1 (copy)")
    assert [run.kind for run in find_runs(tmp_path, KINDS)] == [KINDS[kind]] * 3
    report_command([str(tmp_path), "wandb=disabled"])
    table = pd.read_csv(tmp_path / "report.csv")
    main = KINDS[kind].numbers[0]
    assert table["runs"].tolist() == [2]
    assert table[f"{main}_mean"].tolist() == pytest.approx([0.55])
    assert "x/run-s1 (copy) is the same run as x/run-s1" in capsys.readouterr().out
    status_command([str(tmp_path)])
    said = capsys.readouterr().out
    assert "copy of" in said
    assert "2 runs: 2 done; and 1 copy\n" in said
    assert "reports count each run once" in said


def test_without_copies_status_has_no_column_for_them(seeds):
    assert COPY not in status_table(seeds, KINDS)


def test_a_folder_that_was_copied_in_part_is_passed_over(seeds, capsys):
    for missing in ("summary.json", "rounds.parquet", "config.yaml"):
        place = seeds / f"drive without {missing}"
        copied(seeds / "x" / "all-s0", place)
        (place / missing).unlink()
    (seeds / "x" / "all-s1" / "summary.json").write_text("{")
    assert report(seeds, None, [], KINDS).runs == 1
    said = capsys.readouterr().out
    assert "passed over: drive without rounds.parquet: it says it is complete, and lacks rounds.parquet" in said
    assert "passed over: x/all-s1: Expecting property name" in said


def test_nothing_whole_says_what_is_damaged(tmp_path):
    (finished(tmp_path / "a", 0).path / "summary.json").unlink()
    with pytest.raises(ValueError, match=r"no finished run below .*lacks summary\.json"):
        report(tmp_path, None, [], KINDS)


def test_a_copied_sweep_does_not_ask_for_its_jobs_again(tmp_path):
    book = JobBook(tmp_path / "x")
    book.plan({"k0": ["seed=0"], "k1": ["seed=1"], "k2": ["seed=2"]})
    finished(tmp_path / "x" / "all-s0", 0)
    book.started("k0", "all-s0")
    copied(tmp_path / "x", tmp_path / "x (copy)")
    finished(tmp_path / "x" / "all-s1", 1)
    book.started("k1", "all-s1")
    table = status_table(tmp_path, KINDS).set_index("run")
    assert table["state"].to_dict() == {
        "x/all-s0": "done",
        "x/all-s1": "done",
        "x (copy)/all-s0": "done",
        "x: seed=2": "missing",
    }
    assert table.loc["x (copy)/all-s0", COPY] == "x/all-s0"
    assert counted(table) == "3 runs: 2 done, 1 missing; and 1 copy"


def test_a_job_whose_run_was_renamed_is_not_missing(tmp_path):
    JobBook(tmp_path / "x").plan({"k0": ["seed=0"]})
    finished(tmp_path / "x" / "all-s0", 0).path.rename(tmp_path / "x" / "best")
    JobBook(tmp_path / "x").started("k0", "all-s0")
    assert status_table(tmp_path, KINDS)["state"].tolist() == ["done"]


def test_jobs_of_two_commands_with_the_same_words_are_two(tmp_path):
    JobBook(tmp_path / "x").plan({"k0": ["seed=0"]})
    JobBook(tmp_path / "learning").plan({"other": ["seed=0"]})
    assert status_table(tmp_path, KINDS)["state"].tolist() == ["missing", "missing"]


def refusing(code, words=""):
    def write(path, content, key):
        if words in path.name:
            raise refused(OSError(code, "no"), path, key)
        path.write_bytes(content)

    return write


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (errno.EACCES, "Permission denied"),
        (errno.EROFS, "Read-only file system"),
        (errno.ENOSPC, "No space left on device"),
        (errno.EDQUOT, "Disk quota exceeded"),
    ],
)
def test_a_report_that_cannot_be_written_is_printed_whole(seeds, monkeypatch, capsys, code, why):
    for module in (reports, drawing):
        monkeypatch.setattr(module, "write_bytes", refusing(code))
    report_command([str(seeds), "by=local"])
    said = capsys.readouterr().out
    assert "0.600 ± 0.141 [0.007, 0.997]" in said
    assert "map_final" in said  # what is otherwise on the page alone
    assert said.endswith(f"nothing was written to {seeds}: {why}. The table above is all there is\n")
    assert not list(seeds.glob("report*"))


def test_files_of_an_earlier_report_are_not_taken_for_this_one(seeds, monkeypatch, capsys):
    report_command([str(seeds), "wandb=disabled"])
    monkeypatch.setattr(reports, "write_bytes", refusing(errno.ENOSPC, "report.csv"))
    report_command([str(seeds), "wandb=disabled"])
    said = capsys.readouterr().out
    assert f"not written to {seeds}: report.csv (No space left on device)\n" in said
    assert "of an earlier report, not of this one: report.csv\n" in said
    assert f"notes: {seeds / 'report.md'}" in said


def test_a_folder_in_the_place_of_a_file_costs_that_file(seeds, capsys):
    (seeds / "report.csv").mkdir()
    (seeds / "report_bars.png").mkdir()
    report_command([str(seeds), "wandb=disabled"])
    said = capsys.readouterr().out
    assert "report.csv (Is a directory), report_bars.png (Is a directory)" in said
    assert (seeds / "report.md").exists()


def test_what_was_left_out_has_a_column_where_some_run_lost_something(tmp_path, capsys):
    """By hand: 2 + 3 and 0 + 1 are lost by the seeds of `all`: 5 at most; what is left out by rule is no loss."""
    counts = {"objects_lost": 2, "objects_by_rule": 9, "files_not_taken": 3, "notes": 4}
    finished(tmp_path / "all-s0", 0, left_out=counts)
    finished(tmp_path / "all-s1", 1, left_out={**counts, "objects_lost": 0, "files_not_taken": 1})
    path = finished(tmp_path / "none-s2", 2).path  # a run of an earlier version
    (path / "config.yaml").write_text(yaml.safe_dump({**config(2, "none-s2"), "choices": {"local": "none"}}))
    report_command([str(tmp_path), "by=local", "wandb=offline"])
    assert pd.read_csv(tmp_path / "report_local.csv").set_index("local")["left_out"].to_dict() == pytest.approx(
        {"all": 5, "none": float("nan")}, nan_ok=True
    )
    header, _, first, second = [
        line for line in (tmp_path / "report_local.md").read_text().splitlines() if line[:1] == "|"
    ]
    names = [cell.strip() for cell in header.split("|")]
    cells = [[cell.strip() for cell in row.split("|")][names.index("left out")] for row in (first, second)]
    assert cells == ["5", ""]
    assert "left out" in capsys.readouterr().out
    assert "*left out*: annotated objects lost and files not taken" in (tmp_path / "report_local.md").read_text()


def test_it_has_none_where_nothing_was_lost(tmp_path):
    nothing = {"objects_lost": 0, "objects_by_rule": 9, "files_not_taken": 0, "notes": 4}
    finished(tmp_path / "a", 0, left_out=nothing)
    finished(tmp_path / "b", 1)
    assert "left_out" not in report(tmp_path, None, [], KINDS).table
    assert "left out" not in (tmp_path / "report.md").read_text()


@pytest.mark.parametrize("text", ["command: [det", "- a\n- b\n", "just words", "choices: 3\n", b"seed: \xff\n"])
def test_a_config_that_cannot_be_read_costs_that_run_alone(seeds, capsys, text):
    """Of 0.5 and 0.7 the second is left."""
    place = seeds / "x" / "all-s0" / "config.yaml"
    place.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = report(seeds, None, [], KINDS)
    assert found.table["map_auc_mean"].tolist() == [0.7]
    assert f"passed over: x/all-s0: {place} is damaged: " in capsys.readouterr().out
    assert runs(seeds)["map_auc"].tolist() == [0.7]
    table = status_table(seeds, KINDS).set_index("run")
    assert table["state"].to_dict() == {"x/all-s0": "damaged", "x/all-s1": "done"}
    assert table.loc["x/all-s0", "error"].startswith(f"{place} is damaged: ")
    assert table.loc["x/all-s1", "map_auc"] == 0.7
    assert counted(table) == "2 runs: 1 done, 1 damaged"
    with pytest.raises(StoreError, match="remove its folder and run again"):
        _ = find_runs(seeds, KINDS)[0].config


@pytest.mark.parametrize("missing", ["summary.json", "rounds.parquet"])
def test_status_shows_a_run_without_its_files_as_damaged(seeds, missing):
    (seeds / "x" / "all-s0" / missing).unlink()
    table = status_table(seeds, KINDS)
    assert table["state"].tolist() == ["damaged", "done"]
    assert missing in table["error"][0]
