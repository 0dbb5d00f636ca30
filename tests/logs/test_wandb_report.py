import json
import logging
import shutil

import pytest
import wandb
import yaml

from seekloop.commands.kinds import KINDS
from seekloop.logs import wandb_log
from seekloop.logs.report import report
from seekloop.logs.run_folder import find_runs
from seekloop.logs.wandb_report import PLACE, scalars, tell_wandb
from tests.logs.test_comparison import run
from tests.logs.wandb_file import Logged


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="module")
def report_once(tmp_path_factory):
    """GO and LO-All on two seeds each, 0.15 apart on average."""
    folder = tmp_path_factory.mktemp("reported") / "table_1"
    for seed in (0, 1):
        run(folder / f"go{seed}", "none", seed, {"cat": (0.2, 0.4 + seed), "dog": (0.4, 0.4)}, start=10 * seed)
        run(folder / f"all{seed}", "all", seed, {"cat": (0.6, 0.6 + seed), "dog": (0.4, 0.6)}, start=10 * seed)
    return folder, report(folder, ["local"], [], KINDS)


@pytest.fixture
def reported(report_once, tmp_path):
    """The same in a folder of the test's own."""
    folder, found = report_once
    return shutil.copytree(folder, tmp_path / folder.name), found


def test_tables_figures_and_numbers_are_there(reported):
    folder, found = reported
    tell_wandb(folder, found, None)  # the runs say nothing of W&B, and there is no key: offline
    logged = Logged(folder / PLACE)
    assert (logged.run.job_type, logged.run.run_group) == ("report", "x")
    assert logged.run.display_name == "report of table_1 by local"
    assert logged.config["by"] == ["local"]
    assert logged.config["runs"] == ["all0", "all1", "go0", "go1"]
    (path,) = logged.curve("report/path")
    table = json.loads(logged.media(path).read_text())
    assert table["columns"] == list(found.table.columns)
    column = table["columns"].index("map_auc_mean")
    assert [row[column] for row in table["data"]] == pytest.approx(found.table["map_auc_mean"].tolist())
    assert [row[0] for row in table["data"]] == ["none", "all"]
    assert len(logged.curve("differences/path")) == 1
    for name in ("report_curves", "report_bars"):
        (path,) = logged.curve(f"figures/{name}/path")
        assert logged.media(path).stat().st_size > 1000
    assert logged.summary["LO-All/map_auc_mean"] == pytest.approx(
        found.table.set_index("local").loc["all", "map_auc_mean"]
    )
    assert logged.summary["runs"] == 4
    difference = found.differences["map_auc_difference"].iloc[0]
    assert logged.summary["GO - LO-All/map_auc_difference"] == pytest.approx(difference)
    assert logged.exit_code == 0


def test_made_again_a_report_replaces_itself_and_no_other(reported):
    folder, found = reported
    for _ in range(2):
        tell_wandb(folder, found, "offline")
    assert len(list((folder / PLACE / "wandb").glob("offline-run-*"))) == 1
    tell_wandb(folder, report(folder, ["seed"], [], KINDS), "offline")
    assert len(list((folder / PLACE / "wandb").glob("offline-run-*"))) == 2
    assert len(find_runs(folder, KINDS)) == 4


def test_nothing_is_logged_where_it_is_not_wished(reported, monkeypatch):
    folder, found = reported
    monkeypatch.setattr(wandb, "init", lambda **_: pytest.fail("W&B was started"))
    tell_wandb(folder, found, "disabled")
    first = folder / "go0" / "config.yaml"
    config = yaml.safe_load(first.read_text())
    first.write_text(yaml.safe_dump({**config, "wandb": {"mode": "disabled", "project": "p", "entity": None}}))
    tell_wandb(folder, report(folder, ["local"], [], KINDS), None)  # as the first run says
    assert not (folder / PLACE).exists()


def test_online_without_a_key_is_a_warning_and_a_file(reported, caplog):
    folder, found = reported
    with caplog.at_level(logging.WARNING):
        tell_wandb(folder, found, "online")
    assert "no API key is configured" in caplog.text
    assert Logged(folder / PLACE).run.job_type == "report"


def test_an_unreachable_server_costs_a_warning_and_a_file(reported, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_log, "LOGIN_SECONDS", 1.0)
    folder, found = reported
    with caplog.at_level(logging.WARNING):
        tell_wandb(folder, found, "online")
    assert "W&B could not reach its server" in caplog.text
    assert Logged(folder / PLACE).run.job_type == "report"


def test_what_wandb_cannot_do_does_not_end_the_report(reported, monkeypatch, caplog):
    folder, found = reported
    monkeypatch.setattr(wandb_log.wandb, "init", lambda **_: (_ for _ in ()).throw(OSError("no space left")))
    with caplog.at_level(logging.WARNING):
        tell_wandb(folder, found, "offline")
    assert "W&B could not start: OSError: no space left" in caplog.text


def test_empty_cells_are_no_numbers(reported):
    folder, _ = reported
    one = report(folder, ["local", "seed"], [], KINDS)
    numbers = scalars(one)
    assert "LO-All · 0/map_auc_mean" in numbers
    assert not any(key.endswith("map_auc_std") for key in numbers)
