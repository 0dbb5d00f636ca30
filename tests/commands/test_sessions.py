"""Sessions from the command line: listed, replayed bit for bit, left as runs, exported, copied, removed."""

import csv
import json
import random
import shutil
import sqlite3
from contextlib import closing

import pandas as pd
import pytest
from PIL import Image

import seekloop as program
from seekloop.commands.groups import groups_of
from seekloop.loop.sessions import Sessions
from tests.commands.runs import seekloop, worked


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Twenty-four pictures; every fourth has a red box."""
    folder, draws = tmp_path_factory.mktemp("photos"), random.Random(0)
    for number in range(24):
        picture = Image.new("RGB", (64, 64), (40, 40, 40 + draws.randrange(60)))
        if number % 4 == 0:
            left = draws.randrange(30)
            picture.paste((250, 20, 20), (left, 10, left + 30, 40))
        picture.save(folder / f"{number:02}.png")
    return folder


@pytest.fixture(scope="module")
def store(photographs, stores):
    return program.describe(photographs, "backbone=tiny", "grid=2x2", f'store_dir="{stores}"')


@pytest.fixture
def kept(store, tmp_path):
    """A database with a search of two rounds, another criterion, an open question with one answer noted."""
    overrides = ["representation=gl_concat_all", "loop.budget=3", "loop.negatives=3"]
    with program.saved_session(
        tmp_path / "s.sqlite",
        store,
        "00.png",
        overrides,
        name="red box",
        criteria=["top"],
        fractions=(0.1, 0, 0.9, 0.7),
    ) as search:
        for _ in range(2):
            search.answer({item.image: item.image % 4 == 0 for item in search.ask()})
        search.use("top")
        search.note({search.ask()[0].image: True})
        return search


@pytest.fixture
def where(photographs, stores, tmp_path):
    """Where the images are: sessions from Python know their loop alone."""
    return [
        f"sessions={tmp_path / 's.sqlite'}",
        "collection=folder",
        f"collection.root={photographs}",
        f"store_dir={stores}",
        "grid=2x2",
    ]


def test_sessions_are_listed_shown_copied_and_removed(kept, tmp_path):
    at = f"sessions={tmp_path / 's.sqlite'}"
    copied = worked(seekloop("session", "fork", "red box", at)).out.split()[-1]
    assert copied != kept.log.id
    listed = worked(seekloop("session", "ls", at)).out
    assert all(words in listed for words in (kept.log.id[:8], copied[:8], "red box", "2 sessions"))
    shown = worked(seekloop("session", "show", kept.log.id[:10], at)).out
    found = 1 + sum(reply.answer == "relevant" for e in kept.events if e.event == "answered" for reply in e.replies)
    assert f"{found} found, {len(kept.events)} events; session {kept.log.id}" in shown
    assert f"a copy of session {kept.log.id}" in worked(seekloop("session", "show", copied, at)).out
    assert "red box" in worked(seekloop("session", "rm", copied, at)).out
    assert "1 session in" in worked(seekloop("session", "ls", at)).out
    worked(seekloop("session", "backup", f"to={tmp_path / 'copy.sqlite'}", at))
    assert "1 session in" in worked(seekloop("session", "ls", f"sessions={tmp_path / 'copy.sqlite'}")).out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["ls", "sessions=nowhere.sqlite"], "sessions='nowhere.sqlite' cannot work: there is no such file"),
        (["show", "blue"], "holds no sessions of this id or title. Sessions, the latest first: "),
        (["frob"], "it is not understood. Say: seekloop session ls"),
        (["ls", "collection=voc"], "it is not understood"),
        (["export", "red box"], "format='' cannot work: it is unknown. Valid: csv, json, coco, xmp, links, copies."),
        (["export", "red box", "format=csv", "above=high"], "above='high' cannot work: it is no number"),
        (["import", "nowhere.json"], "import='nowhere.json' cannot work: there is no such file"),
    ],
)
@pytest.mark.usefixtures("kept")
def test_what_is_not_understood_is_told(tmp_path, words, told):
    at = [] if words[-1].startswith("sessions=") else [f"sessions={tmp_path / 's.sqlite'}"]
    outcome = seekloop("session", *words, *at)
    assert outcome.code == 1
    assert told in outcome.err


def test_a_replay_compares_every_question_and_leaves_a_run(kept, where, tmp_path):
    """The run's rounds are those of the session; it is written again only once the session has gone on."""
    outcome = worked(seekloop("replay", "red box", *where, f"runs_dir={tmp_path / 'runs'}"))
    assert "3 questions came out again bit for bit" in outcome.out
    (run,) = (tmp_path / "runs" / "sessions").glob("red_box-*")
    rounds = pd.read_parquet(run / "rounds.parquet")
    wanted = kept.rounds
    assert rounds["asked"].tolist() == [0, 3, 3]
    assert rounds["yes"].tolist() == [0, *(sum(one.answer == "relevant" for one in turn.replies) for turn in wanted)]
    assert rounds["found"].tolist() == [1, *(1 + rounds["yes"].cumsum()[1:])]
    assert rounds["labels"].tolist() == [4, 7, 10]  # one example, three presumed; three more a round
    assert rounds["seconds"].iloc[-1] == kept.seconds
    asked = pd.read_parquet(run / "asked.parquet")
    assert len(asked) == 6
    assert (asked["relevant"] == (asked["image"] % 4 == 0)).all()
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["replayed"], summary["differs"], summary["found"]) == (3, None, rounds["found"].iloc[-1])
    assert {"found.png", "asked.png"} == {path.name for path in (run / "figures").iterdir()}
    again = worked(seekloop("replay", kept.log.id, *where, f"runs_dir={tmp_path / 'runs'}"))
    assert "already finished" in again.out
    with Sessions(tmp_path / "s.sqlite") as sessions:
        kept.log = sessions.open(kept.log.id)
        kept.advance()
    later = worked(seekloop("replay", kept.log.id, *where, f"runs_dir={tmp_path / 'runs'}"))
    assert "already finished" not in later.out
    assert pd.read_parquet(run / "rounds.parquet")["asked"].tolist() == [0, 3, 3, 1]
    report = worked(seekloop("report", str(tmp_path / "runs" / "sessions")))
    assert "1 finished runs" in report.out
    assert "found" in (tmp_path / "runs" / "sessions" / "report.md").read_text()
    assert "done" in worked(seekloop("status", str(tmp_path / "runs"))).out


def test_a_curve_goes_to_wandb_if_asked(kept, where, tmp_path):
    outcome = worked(seekloop("replay", kept.log.id, *where, f"runs_dir={tmp_path / 'runs'}", "wandb.mode=offline"))
    assert "W&B could not" not in outcome.out + outcome.err
    (run,) = (tmp_path / "runs" / "sessions").glob("red_box-*")
    assert list(run.glob("wandb/offline-run-*/run-*.wandb"))


def test_a_question_that_comes_out_otherwise_is_named(kept, where, tmp_path):
    """One score is changed in the database: the last digit of the second question."""
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as connection, connection:
        ((text,),) = connection.execute("SELECT event FROM events WHERE number = 3").fetchall()
        event = json.loads(text)
        event["images"][1]["score"] += 1e-9
        connection.execute("UPDATE events SET event = ? WHERE number = 3", (json.dumps(event),))
    outcome = seekloop("replay", kept.log.id, *where, f"runs_dir={tmp_path / 'runs'}")
    assert outcome.code == 1
    assert "the replay differs: event 3, image" in outcome.err
    (run,) = (tmp_path / "runs" / "sessions").glob("red_box-*")
    assert json.loads((run / "summary.json").read_text())["differs"] == 3


def test_other_parts_are_refused(kept, where):
    outcome = seekloop("replay", kept.log.id, *where, "representation=go")
    assert outcome.code == 1
    assert "began with another representation. Use the parts it began with" in outcome.err


def test_a_session_goes_to_another_copy_of_the_photographs_and_replays_there(kept, photographs, stores, tmp_path):
    """Renamed files in another folder, another machine's database: the same questions, bit for bit."""
    at = f"sessions={tmp_path / 's.sqlite'}"
    worked(seekloop("session", "export", kept.log.id, "format=json", f"to={tmp_path / 'red.json'}", at))
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in photographs.glob("*.png"):
        shutil.copy(path, copy / f"IMG_{path.name}")
    other = f"sessions={tmp_path / 'other' / 't.sqlite'}"
    assert (
        f"{len(kept.events)} events imported"
        in worked(seekloop("session", "import", str(tmp_path / "red.json"), other)).out
    )
    there = [other, "collection=folder", f"collection.root={copy}", f"store_dir={stores}", "grid=2x2"]
    outcome = worked(seekloop("replay", "red box", *there, f"runs_dir={tmp_path / 'runs'}"))
    assert "3 questions came out again bit for bit" in outcome.out


def test_results_are_exported_from_the_command_line(kept, where, photographs, tmp_path):
    """A table, links, an archive; a file that is there is not overwritten."""
    found = 2 + sum(reply.answer == "relevant" for e in kept.events if e.event == "answered" for reply in e.replies)
    to = tmp_path / "found.csv"
    assert (
        f"{found} images in" in worked(seekloop("session", "export", "red box", "format=csv", f"to={to}", *where)).out
    )
    with to.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows if row["answer"] == "example"} == {"00.png"}
    assert len(rows) == found
    again = seekloop("session", "export", "red box", "format=csv", f"to={to}", *where)
    assert "there is a file already, which is not overwritten" in again.err
    worked(seekloop("session", "export", "red box", "format=links", f"to={tmp_path / 'out'}", "first=24", *where))
    links = {path.name: path.resolve() for path in (tmp_path / "out").iterdir()}
    answered_no = {reply.image for e in kept.events if e.event == "answered" for reply in e.replies} - {
        kept.images.names[int(row["path"][:2])] for row in rows
    }
    assert len(links) == 24 - len(answered_no)
    assert links["00.png"] == photographs / "00.png"
    zipped = worked(seekloop("session", "export", "red box", "format=xmp", f"to={tmp_path / 'x.zip'}", *where))
    assert f"{found} sidecars in" in zipped.out


def test_a_replay_begins_with_what_the_page_begins_with():
    """Overrides of a page say what a person typed: the rest are the entries of both commands."""
    page, later = groups_of("serve"), groups_of("replay")
    assert {group: later.get(group) for group in page} == page
