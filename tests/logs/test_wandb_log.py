import json
import logging
from pathlib import Path

import pandas as pd
import pytest
import wandb
from PIL import Image

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.learning.kind import LEARNING
from seekloop.logs import wandb_log
from seekloop.logs.curves import curve
from seekloop.logs.run_folder import RunFolder
from seekloop.logs.wandb_log import WandbLog, boxes_of, has_key, identity, on_square, resolve_mode, rows_of, spreads
from seekloop.protocol.kinds import SEARCHES
from seekloop.protocol.summary import per_class
from tests.logs.fakes import SUMMARY, asked_of, fill, run_folder
from tests.logs.wandb_file import Logged

CHOICES = {"collection": "voc", "backbone": "tiny", "representation": "lo_all", "criterion": "top", "prior": "none"}
CONFIG = {"seed": 3, "loop": {"budget": 10}, "choices": CHOICES, "recipe": {"settings": {"grid": "4x4"}}}


def read(image):
    return Image.new("RGB", (640, 480), (10 * image, 60, 90))


def quarter(_image, region):
    x, y = region % 2 / 2, region // 2 / 2
    return (x, y, x + 0.5, y + 0.5)


def open_log(folder, mode="offline", pictures=True, config=CONFIG):
    return WandbLog(
        folder,
        group="table_1",
        config=config,
        mode=mode,
        project="seekloop",
        entity=None,
        tags=["voc2012"],
        read=read if pictures else None,
        region_box=quarter,
    )


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run logged round by round, killed after round 1, and gone on with to its end."""
    folder = run_folder(tmp_path_factory.mktemp("logged") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("WANDB_SWEEP_ID", raising=False)
        fill(folder, until=1)
        killed = open_log(folder)
        killed.catch_up()
        killed.close(1)
        Logged(folder.path)
        figure = folder.path / "curves.png"
        read(0).save(figure)
        with open_log(folder) as log:
            log.catch_up()
            fill(folder)
            log.catch_up()
            log.finish(folder.summary(), per_class(folder.table("rounds")), [figure])
    return folder, Logged(folder.path)


def test_killed_and_resumed_it_leaves_one_whole_curve(told):
    folder, logged = told
    expected = curve(SEARCHES.curve, folder.table("rounds"))
    assert logged.curve("round") == [0, 1, 2, 3]
    for name in ("ap", "coverage", "labels", "seconds", "positives", "ap_small", "ap_large"):
        assert logged.curve(name) == pytest.approx(expected[name].tolist())
    assert logged.curve("precision") == pytest.approx([1 / 3] * 3)  # round 0 asks nothing
    assert logged.curve("against_labels/ap") == logged.curve("ap")


def test_curves_can_be_drawn_against_round_labels_and_seconds(told):
    _, logged = told
    assert logged.metrics["ap"] == "round"
    assert logged.metrics["against_labels/ap"] == "labels"
    assert logged.metrics["against_seconds/coverage"] == "seconds"


def test_the_run_says_what_it_is(told):
    _, logged = told
    assert (logged.run.run_id, logged.run.run_group, logged.run.job_type) == ("run", "table_1", "retrieve")
    assert logged.run.display_name == "voc tiny lo_all 4x4 top seed 3 #run"
    tags = ["collection:voc", "backbone:tiny", "representation:lo_all", "grid:4x4", "criterion:top", "seed:3"]
    assert list(logged.run.tags) == ["voc2012", *tags]
    assert "recipe" not in logged.config
    assert logged.config["loop"] == CONFIG["loop"]
    assert logged.config["seed"] == 3
    assert logged.exit_code == 0


def test_the_summary_is_there(told):
    _, logged = told
    assert {name: logged.summary[name] for name in SUMMARY} == SUMMARY
    assert logged.curve("map_auc") == [SUMMARY["map_auc"]]  # in the history too, where sweeps look for it


def test_the_table_of_classes_is_there(told):
    folder, logged = told
    (path,) = logged.curve("classes_table/path")
    table = json.loads(logged.media(path).read_text())
    expected = per_class(folder.table("rounds"))
    assert table["columns"] == list(expected.columns)
    assert [row[0] for row in table["data"]] == ["cat", "dog"]
    assert [row[2] for row in table["data"]] == pytest.approx(expected["map_auc"].tolist())


def test_each_class_has_its_curves(told):
    """Means over a class's two queries: the one of number 1 ranks better by 0.1."""
    folder, logged = told
    rounds = folder.table("rounds")
    for name in ("cat", "dog"):
        first, second = (rounds[(rounds["class_name"] == name) & (rounds["query"] == q)]["ap"] for q in (0, 1))
        wanted = ((first.to_numpy() + second.to_numpy()) / 2).tolist()
        assert logged.curve(f"classes/{name}/ap") == pytest.approx(wanted)
        assert logged.curve(f"classes/{name}/coverage") == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert logged.metrics["classes/*"] == logged.metrics["queries/*"] == "round"


def test_the_spread_is_over_all_queries_and_not_over_classes():
    """AP 0, 0.1, ..., 1: a tenth of the way is 0.1. The means of the two classes, 0.25 and 0.8, would give 0.305."""
    cells = [("cat" if number < 6 else "dog", number, 0, number / 10, 0.5) for number in range(11)]
    table = pd.DataFrame(cells, columns=["class_name", "query", "round", "ap", "coverage"])
    found = spreads(SEARCHES.classes, table)
    assert found.keys() == {0}
    assert found[0] == pytest.approx(
        {"queries/ap_low": 0.1, "queries/ap_high": 0.9, "queries/coverage_low": 0.5, "queries/coverage_high": 0.5}
    )
    assert spreads(LEARNING.classes, pd.DataFrame()) == {}


def test_the_classes_of_learning_are_followed_by_cycles(tmp_path):
    folder = RunFolder(tmp_path / "run", LEARNING)
    with folder.claim():
        folder.write_config("seed: 0\n")
        for cycle, accuracy in enumerate((0.25, 0.5)):
            tables = {name: pd.DataFrame(columns=list(columns)) for name, columns in LEARNING.tables.items()}
            cell = {**dict.fromkeys(LEARNING.tables["cycles"], 0), "cycle": cycle, "labels": 10 + 10 * cycle}
            one = {**dict.fromkeys(LEARNING.tables["classes"], 0), "class_name": "four", "cycle": cycle}
            tables["cycles"], tables["classes"] = pd.DataFrame([cell]), pd.DataFrame([one | {"accuracy": accuracy}])
            folder.add(cycle, tables, {"cycle": cycle})
    assert [row["classes/four/accuracy"] for row in rows_of(folder)] == [0.25, 0.5]
    assert [row["labels"] for row in rows_of(folder)] == [10, 20]


def test_the_tables_of_a_finished_run_are_an_artifact(told):
    folder, logged = told
    files = {"asked.parquet", "queries.parquet", "rounds.parquet", "summary.json", "config.yaml"}
    assert logged.artifacts["tables"] == {name: folder.path / name for name in files}


def test_the_pictures_are_there_with_answers_and_boxes(told):
    _, logged = told
    names = logged.curve("asked/filenames")
    assert [len(row) for row in names] == [3, 3, 3]
    with Image.open(logged.media(names[0][0])) as shown:
        assert shown.size == (320, 320)
    assert logged.curve("asked/captions")[0] == [
        "cat: relevant, score 0.3",
        "cat: irrelevant, score -0.7",
        "cat: unsure, score -1.7",
    ]
    boxes = logged.curve("asked/all_boxes")[0]
    data = json.loads(logged.media(boxes[0]["asked"]["path"]).read_text())["box_data"]
    # The 4:3 picture lies in a square, from 1/8 to 7/8 of its height: y = 0.2 and 0.9 become 0.275 and 0.8.
    assert data[0]["position"] == pytest.approx({"minX": 0.1, "minY": 0.275, "maxX": 0.6, "maxY": 0.8})
    assert data[0]["box_caption"] == "cat 0.3"
    (figure,) = logged.curve("figures/curves/path")
    assert logged.media(figure).exists()


def test_the_terminal_stays_quiet(tmp_path, capfd):
    folder = fill(run_folder(tmp_path / "run"), until=0)
    with open_log(folder) as log:
        log.catch_up()
    assert capfd.readouterr() == ("", "")


def test_user_box_and_best_region_are_told_apart():
    relevant, irrelevant, _ = (row for _, row in asked_of(1).iloc[:3].iterrows())
    (users,) = boxes_of(relevant, quarter, WHOLE_IMAGE)["asked"][
        "box_data"
    ]  # region -1 is the whole image: nothing to draw
    (best,) = boxes_of(irrelevant, quarter, WHOLE_IMAGE)["asked"]["box_data"]
    assert (users["class_id"], best["class_id"]) == (1, 3)
    assert best["position"] == {"minX": 0.0, "minY": 0.0, "maxX": 0.5, "maxY": 0.5}
    assert boxes_of(irrelevant, None, WHOLE_IMAGE) is None


@pytest.mark.parametrize(
    ("mode", "environ", "expected"),
    [
        ("auto", {}, "offline"),
        ("auto", {"WANDB_API_KEY": "x"}, "online"),
        ("auto", {"WANDB_API_KEY": "x", "WANDB_MODE": "offline"}, "offline"),
        ("auto", {"WANDB_MODE": "disabled"}, "disabled"),
        ("offline", {"WANDB_API_KEY": "x"}, "offline"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
    ],
)
def test_auto_is_online_only_with_a_key(tmp_path, mode, environ, expected):
    assert resolve_mode(mode, {"NETRC": str(tmp_path / "none"), **environ}) == expected


def test_an_unknown_mode_lists_the_known_ones():
    with pytest.raises(ValueError, match="auto, online, offline, disabled"):
        resolve_mode("on", {})


def test_a_key_in_netrc_counts_for_its_own_host(tmp_path):
    file = tmp_path / "netrc"
    file.write_text("machine api.wandb.ai\n  login user\n  password secret\n")
    file.chmod(0o600)
    assert has_key({"NETRC": str(file)})
    assert not has_key({"NETRC": str(file), "WANDB_BASE_URL": "https://wandb.example.org"})


def test_our_id_gives_way_to_the_agents():
    assert identity("ours", "p", None, {}) == {"project": "p", "entity": None, "id": "ours"}
    assert identity("ours", "p", None, {"WANDB_SWEEP_ID": "s", "WANDB_RUN_ID": "theirs"}) == {}
    assert "id" not in identity("ours", "p", None, {"WANDB_RUN_ID": "theirs"})


def test_under_an_agent_the_run_has_the_agents_id(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    monkeypatch.setenv("WANDB_RUN_ID", "agents1")
    wandb.teardown()  # W&B reads its environment once; an agent starts a process for each run
    folder = fill(run_folder(tmp_path / "run"))  # even a run that was done before is told to the sweep
    with open_log(folder, pictures=False) as log:
        log.finish(folder.summary(), per_class(folder.table("rounds")), [])
    wandb.teardown()
    logged = Logged(folder.path)
    assert (logged.run.run_id, logged.run.sweep_id) == ("agents1", "sweep1")
    assert logged.config["run_id"] == "run"
    assert logged.curve("map_auc") == [0.7]


class Server(wandb.Run):
    """Stands for an online run that already has some steps."""

    starting_step = summary = None

    def __init__(self, has):
        self.starting_step, self.rows, self.summary, self.finished = has, {}, {}, None

    def __del__(self):
        pass

    def define_metric(self, *_args, **_kwargs):
        pass

    def log(self, row, step):
        self.rows.setdefault(step, {}).update(row)

    def finish(self, exit_code):
        self.finished = exit_code


@pytest.mark.parametrize(("has", "sent"), [(0, [0, 1, 2, 3, 4]), (2, [2, 3, 4]), (4, [4]), (5, [])])
def test_online_only_what_the_server_lacks_is_sent(tmp_path, monkeypatch, has, sent):
    server, asked = Server(has), {}

    def init(**about):
        asked.update(about)
        return server

    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setattr(wandb_log.wandb, "init", init)
    folder = fill(run_folder(tmp_path / "run"))
    with open_log(folder, mode="auto") as log:
        log.catch_up()
        log.finish(folder.summary(), per_class(folder.table("rounds")), [])
    assert (asked["mode"], asked["resume"], asked["id"]) == ("online", "allow", "run")
    assert list(server.rows) == sent  # rounds 0 to 3, and the end
    assert server.finished == 0


@pytest.mark.parametrize(("force", "has", "warned"), [(True, 5, True), (True, 0, False), (False, 5, False)])
def test_of_a_run_that_is_run_anew_it_says_that_the_server_keeps_the_earlier_curve(
    tmp_path, monkeypatch, caplog, force, has, warned
):
    monkeypatch.setenv("WANDB_API_KEY", "x")
    monkeypatch.setattr(wandb_log.wandb, "init", lambda **_: Server(has))
    with open_log(fill(run_folder(tmp_path / "run")), mode="auto", config={**CONFIG, "force": force}):
        assert (f"W&B has {has} steps of this run from before it was run anew" in caplog.text) == warned
    assert ("set WANDB_RUN_ID to a new id" in caplog.text) == warned


def test_an_unreachable_server_costs_a_warning_and_the_run_is_logged_offline(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(wandb_log, "LOGIN_SECONDS", 1.0)
    folder = fill(run_folder(tmp_path / "run"))
    with caplog.at_level(logging.WARNING), open_log(folder, "online", False) as log:
        log.catch_up()
    assert "W&B could not reach its server" in caplog.text
    assert Logged(folder.path).curve("round") == [0, 1, 2, 3]


def test_online_without_a_key_is_a_warning_never_a_prompt(tmp_path, caplog):
    folder = fill(run_folder(tmp_path / "run"))
    with open_log(folder, "online", False) as log:
        log.catch_up()
    assert "no API key is configured" in caplog.text
    assert Logged(folder.path).curve("round") == [0, 1, 2, 3]


def test_a_broken_wandb_loses_nothing_but_itself(tmp_path, monkeypatch, caplog):
    server = Server(0)
    monkeypatch.setattr(wandb_log.wandb, "init", lambda **_: server)
    monkeypatch.setattr(server, "log", lambda *_args, **_kwargs: 1 / 0)
    folder = fill(run_folder(tmp_path / "run"), until=1)
    with open_log(folder) as log:
        log.catch_up()
        fill(folder)
        log.catch_up()
        log.finish(SUMMARY, per_class(folder.table("rounds")), [])
    assert caplog.text.count("W&B could not log a round: ZeroDivisionError") == 1
    assert len(folder.table("rounds")) == 16


def test_a_table_that_cannot_be_sent_does_not_take_the_results_along(tmp_path, monkeypatch, caplog):
    server = Server(0)
    monkeypatch.setattr(wandb_log.wandb, "init", lambda **_: server)
    monkeypatch.setattr(wandb_log.wandb, "Table", lambda **_: 1 / 0)
    folder = fill(run_folder(tmp_path / "run"))
    with open_log(folder) as log:
        log.finish(SUMMARY, per_class(folder.table("rounds")), [])
    assert server.rows[4]["map_auc"] == SUMMARY["map_auc"]
    assert server.summary == SUMMARY
    assert "W&B could not log the table of classes" in caplog.text
    assert server.finished == 0


def test_disabled_writes_nothing(tmp_path):
    folder = fill(run_folder(tmp_path / "run"))
    with open_log(folder, "disabled") as log:
        log.catch_up()
        log.finish(SUMMARY, per_class(folder.table("rounds")), [Path("nowhere.png")])
    assert not (folder.path / "wandb").exists()


def test_curves_are_means_over_queries_then_classes():
    """Cats: (0.5, 0.7), dogs: 0.2. Class means 0.6 and 0.2, so 0.4; the mean over queries alone would be 0.467."""
    frame = pd.DataFrame(
        [("cat", 0, 0, 0.5, None), ("cat", 1, 0, 0.7, None), ("dog", 0, 0, 0.2, 0.1)],
        columns=["class_name", "query", "round", "ap", "ap_small"],
    ).astype({"ap_small": float})
    assert curve(SEARCHES.curve, frame).loc[0].tolist() == pytest.approx([0.4, 0.1])


def test_pictures_of_one_panel_have_one_size_and_boxes_follow():
    """A 40 x 20 image on a square of 80: as wide as the square, half as high, a quarter from the top."""
    canvas, frame = on_square(Image.new("RGB", (40, 20), "red"), 80)
    assert canvas.size == (80, 80)
    assert frame == (0.0, 0.25, 1.0, 0.75)
    assert canvas.getpixel((40, 30)) == (255, 0, 0)
    assert canvas.getpixel((40, 10)) == (255, 255, 255)
