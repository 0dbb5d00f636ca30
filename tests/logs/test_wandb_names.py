import logging

import pytest
import wandb
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from wandb.sdk.wandb_settings import Settings

from seekloop.logs.wandb_log import WandbLog
from seekloop.logs.wandb_names import IN_ID, IN_PROJECT, name_of, shortened, tags_of
from seekloop.protocol.summary import per_class
from tests.logs.fakes import SUMMARY, fill, run_folder
from tests.logs.wandb_file import Logged

WORDS = st.text(st.sampled_from("ab /\\#?%:;,'é\t\n\0\udce9"), max_size=140)


@pytest.fixture(autouse=True)
def no_account(monkeypatch, tmp_path):
    for name in ("WANDB_API_KEY", "WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


@pytest.mark.parametrize(
    ("given", "tags"),
    [
        ([""], []),
        (["", "  ", "\t\n", None], []),
        (None, []),
        ([], []),
        ("voc", ["voc"]),  # not v, o and c
        ("", []),
        (7, ["7"]),
        (["voc", "voc", " voc "], ["voc"]),
        ([1, True, 2.5, ["a"]], ["1", "True", "2.5", "['a']"]),
        (["a  b\nc"], ["a b c"]),
        (["x" * 64], ["x" * 64]),
    ],
)
def test_tags_that_are_none_are_dropped_in_silence(given, tags):
    assert tags_of(given) == (tags, [])


def test_a_long_tag_is_cut_and_told_and_two_long_ones_stay_two():
    tags, told = tags_of(["x" * 65, "x" * 66])
    assert [len(tag) for tag in tags] == [64, 64]
    assert tags[0][:55] == "x" * 55
    assert tags[0] != tags[1]
    assert told[0] == f"wandb.tags: W&B takes 64 characters, so {'x' * 65!r} becomes {tags[0]!r}"


@given(st.lists(st.one_of(WORDS, st.none(), st.integers(), st.booleans()), max_size=5))
def test_wandb_takes_all_tags(given):
    tags, _ = tags_of(given)
    assert Settings(run_tags=tags).run_tags == tuple(tags)
    assert len(set(tags)) == len(tags)
    assert all(tag.strip() for tag in tags)


@given(WORDS)
def test_wandb_takes_all_projects_and_ids(given):
    project, _ = name_of("wandb.project", given, IN_PROJECT)
    run_id, _ = name_of("the run's id", given, IN_ID)
    Settings(project=project, run_id=run_id)
    assert len(project or "") <= 128
    assert len(run_id or "") <= 128


def test_a_name_that_is_changed_is_told():
    assert name_of("wandb.project", "my/project", IN_PROJECT) == (
        "my_project",
        ["wandb.project='my/project' is no name that W&B takes: it becomes 'my_project'"],
    )
    assert name_of("wandb.project", "mine", IN_PROJECT) == ("mine", [])
    assert name_of("experiment_name", None) == (None, [])
    name, told = name_of("experiment_name", "e" * 129)
    assert (len(name), len(told)) == (128, 1)
    assert shortened("e" * 130, 128) != name


def open_log(folder, **changes):
    about = {"group": "x", "config": {}, "mode": "offline", "project": "seekloop"}
    return WandbLog(folder, **{**about, "entity": None, "tags": [], "read": None, "region_box": None, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tags": ["", None, "voc", 3]}, {"tags": ["voc", "3"]}),
        ({"tags": ["x" * 300]}, {}),
        ({"project": "a/b:c%"}, {"project": "a_b_c_"}),
        ({"project": ""}, {}),
        ({"group": ""}, {"run_group": ""}),
        ({"group": "g" * 300}, {}),
        ({"folder": "run's"}, {"run_id": "run_s"}),
        ({"entity": ""}, {"entity": ""}),
    ],
)
def test_nothing_of_it_turns_wandb_off(tmp_path, changes, expected, caplog):
    folder = fill(run_folder(tmp_path / changes.pop("folder", "run")))
    with caplog.at_level(logging.WARNING), open_log(folder, **changes) as log:
        log.catch_up()
        log.finish(SUMMARY, per_class(folder.table("rounds")), [])
    assert "could not" not in caplog.text
    logged = Logged(folder.path)
    assert logged.curve("round") == [0, 1, 2, 3]
    found = {
        key: list(value) if key == "tags" else value for key, value in ((k, getattr(logged.run, k)) for k in expected)
    }
    assert found == expected


def test_disabled_says_nothing_of_names(tmp_path, caplog):
    with open_log(fill(run_folder(tmp_path / "run")), mode="disabled", project="a/b", tags=["x" * 99]):
        pass
    assert caplog.text == ""


def test_the_summary_says_what_was_left_out(tmp_path):
    folder = fill(run_folder(tmp_path / "run"))
    left_out = {"objects_lost": 2, "objects_by_rule": 0, "files_not_taken": 1, "notes": 0}
    with open_log(folder) as log:
        log.finish({**SUMMARY, "left_out": left_out}, per_class(folder.table("rounds")), [])
    wandb.teardown()
    assert Logged(folder.path).summary["left_out"] == left_out


def test_figures_of_classes_with_long_names_are_sent(tmp_path):
    """The key of a figure becomes the name of a file, with a step and a hash behind it."""
    folder = fill(run_folder(tmp_path / "run"))
    figure = folder.path / f"asked_{'x' * 190}.png"
    Image.new("RGB", (8, 8)).save(figure)
    with open_log(folder) as log:
        log.finish(SUMMARY, per_class(folder.table("rounds")), [figure])
    (path,) = Logged(folder.path).curve(f"figures/{figure.stem}/path")
    assert Logged(folder.path).media(path).exists()
