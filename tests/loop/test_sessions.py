"""Sessions on disk: killed, resumed, undone and replayed to the same questions and scores, bit for bit."""

import math
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from seekloop.artifacts.folder import BusyError
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.errors import ConfigError, StoreError
from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Regions
from seekloop.criteria.descriptors import Typiclust
from seekloop.criteria.scores import Top, Uncertainty
from seekloop.loop.events import Answered, Asked, MemoryLog, Pointed, Reply, Shown, Started, Undone
from seekloop.loop.items import Images
from seekloop.loop.replay import replayed
from seekloop.loop.session import Session
from seekloop.loop.sessions import SCHEMA, Sessions
from seekloop.representations.fusion import Concat, NoFusion
from seekloop.representations.local import All, OneProto, OneRand
from seekloop.representations.representation import Representation
from tests.loop.parts import GO, loop
from tests.worlds import ArrayDescriptors, blobs

WORLD = blobs(90, classes=("star", "moon"), noise=0.5, seed=3)
STARS = set(WORLD.relevant[0].nonzero()[:, 0].tolist())
EARLIER = [image for image in range(90) if image % 5 != 2]  # those that are there from the start
REPRESENTATION = Representation(OneRand(), Concat(keep_pos_negatives=False, renorm=False))  # draws, and is fused
CRITERIA = {"uncertainty": Uncertainty(), "top": Top(), "typiclust": Typiclust(shortlist=5, neighbours=5)}
SVM = SvmNumba(cost=1.0, class_weight="none", tol=1e-4, max_iter=10_000, threads=1)  # warm starts show in last bits


def part(images):
    """The loop over some images of the world, and their names; contents are those of the whole world."""
    given = WORLD.descriptors
    cells = given.local.reshape(90, -1, given.dim)[images].flatten(0, 1)
    descriptors = ArrayDescriptors(given.global_[images], cells, given.regions)
    machine = loop(descriptors, REPRESENTATION, CRITERIA["uncertainty"], SVM)
    return machine, Images(len(images), [f"content-{image}" for image in images], [f"{image}.jpg" for image in images])


def world_position(search, image):
    return int(search.images.contents[image].removeprefix("content-"))


def reply(search, image, number):
    """Boxes, plain answers, and doubts, by turns."""
    shown = world_position(search, image)
    if number % 7 == 3:
        return None
    if shown not in STARS:
        return False
    return True if number % 3 == 0 else WORLD.annotations.largest_box(shown, 0).tolist()


def answer(search, first, count=3):
    question = [item.image for item in search.ask()][first : first + count]
    search.answer({image: reply(search, image, first + number) for number, image in enumerate(question)})


def steps():
    """Fifteen things to do, each followed by a question: with it, thirty events and more."""
    example = [image for image in EARLIER if image in STARS][-2:]

    def answering(first, count=3):
        return lambda search: answer(search, first, count)

    def revoking(turn):
        def revoke(search):
            replies = [one for event in search.events if isinstance(event, Answered) for one in event.replies]
            search.revoke([search.images.position(replies[turn].image)])

        return revoke

    def adding(image):
        box = WORLD.annotations.largest_box(image, 0).tolist()
        return lambda search: search.add_example(search.images.position(f"content-{image}"), box)

    return [
        answering(0),
        answering(1, 5),
        revoking(1),
        answering(0),
        adding(example[0]),
        answering(1),
        lambda search: search.use("top"),
        answering(0, 4),
        lambda search: search.grow(*part(list(range(90)))),
        answering(0, 6),
        lambda search: search.use("typiclust"),
        answering(0),
        revoking(4),
        adding(example[1]),
        answering(2, 4),
    ]


def play(search, each=lambda _: None):
    search.ask()
    for step in steps():
        step(search)
        search.ask()
        each(search)


def ticking():
    """A clock: 0.25 s between any two looks."""
    count = iter(range(10**6))
    return lambda: next(count) / 4


def begin(log):
    machine, images = part(EARLIER)
    first = next(position for position, image in enumerate(EARLIER) if image in STARS)
    return Session.start(
        machine,
        first,
        WORLD.annotations.largest_box(EARLIER[first], 0).tolist(),
        negatives=4,
        budget=6,
        log=log,
        images=images,
        criteria=CRITERIA,
        clock=ticking(),
    )


def resumed(log, images):
    machine, names = part(images)
    return Session(machine, log, images=names, criteria=CRITERIA, clock=ticking())


def view(search):
    """What a person sees, to the last bit."""
    return search.ask(), search.scores, search.answers, search.ranking(), search.seconds


def same(one, other):
    assert one[0] == other[0]
    assert one[1].equal(other[1])
    assert one[2].equal(other[2])
    assert one[3:] == other[3:]


PARTS = settings(part(EARLIER)[0])


@contextmanager
def opened(path, parts=PARTS):
    """The log of the only session of a database; begun where there is none."""
    with Sessions(path) as sessions:
        known = sessions.listed()
        yield sessions.open(known[0].id, parts) if known else sessions.create(parts)


def test_thirty_events_killed_resumed_undone_twice_and_replayed(tmp_path):
    """A process plays thirty events and dies while it writes the next; another goes on from the file."""
    script = (
        "import os, signal, sys\nfrom tests.loop.test_sessions import *\n"
        "with opened(Path(sys.argv[1])) as log:\n"
        "    search = begin(log)\n    play(search)\n"
        "    die = lambda statement: statement == 'COMMIT' and os.kill(os.getpid(), signal.SIGKILL)\n"
        "    log.sessions._connection.set_trace_callback(die)\n"
        "    answer(search, 0)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "one")]
    assert subprocess.run(command, check=False, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    assert (tmp_path / "one-wal").stat().st_size

    never = begin(None)  # the same, never stopped, kept nowhere
    play(never)
    assert len(never.events) == 31
    assert {event.event for event in never.events} == {
        "started",
        "asked",
        "answered",
        "revoked",
        "example added",
        "criterion changed",
        "collection grown",
    }
    replies = [one for event in never.events if isinstance(event, Answered) for one in event.replies]
    assert {one.answer for one in replies} == {"relevant", "irrelevant", "unsure"}
    assert {one.box is None for one in replies if one.answer == "relevant"} == {True, False}

    with opened(tmp_path / "one") as log:
        search = resumed(log, list(range(90)))
        assert search.events == never.events
        same(view(search), view(never))
        for _ in range(2):
            assert search.undo() == never.undo()
            same(view(search), view(never))
    with opened(tmp_path / "one") as log:
        same(view(resumed(log, list(range(90)))), view(never))


def test_every_prefix_of_the_events_is_replayed_to_what_was_seen_then(tmp_path):
    """Killed after any event, or undone back to it: the view is the one that the uninterrupted session had."""
    seen = []
    with opened(tmp_path / "one") as log:
        search = begin(log)
        play(search, lambda search: seen.append((len(search.events), view(search))))
        events = log.read()
        for _, expected in reversed(seen[8:]):  # back to the growth of the collection, which cannot be undone
            same(view(search), expected)
            search.undo()
    for count, expected in seen:
        grown = any(event.event == "collection grown" for event in events[:count])
        same(view(resumed(MemoryLog(events[:count]), list(range(90)) if grown else EARLIER)), expected)


def test_a_collection_that_grew_meanwhile_is_an_event_of_the_session(tmp_path):
    """New images are candidates, answers stay with their images wherever these are now, and lost images with none."""
    with opened(tmp_path / "one") as log:
        search = begin(log)
        search.ask()
        answer(search, 0, 6)
        known = {search.images.contents[i]: int(a) for i, a in enumerate(search.answers) if a}
    gone = int(search.events[-1].replies[0].image.removeprefix("content-"))
    there = [image for image in reversed(range(90)) if image != gone]
    with opened(tmp_path / "one") as log:
        later = resumed(log, there)
        assert later.events[-1].event == "collection grown"
        after = {later.images.contents[i]: int(a) for i, a in enumerate(later.answers) if a}
        assert after == {name: a for name, a in known.items() if name != f"content-{gone}"}
        shown = view(later)
        assert int(later._now.state.candidate.sum()) == int(search._now.state.candidate.sum()) + 90 - len(EARLIER)
    with opened(tmp_path / "one") as log:
        same(view(resumed(log, there)), shown)


def test_a_session_goes_on_with_the_same_parts(tmp_path):
    other = settings(loop(WORLD.descriptors, GO))
    with opened(tmp_path / "one") as log:
        begin(log)
        with pytest.raises(ValueError, match="holds a search already"):
            begin(log)
    with (
        pytest.raises(StoreError, match=r"began with another classifier, representation\. Use the parts"),
        opened(tmp_path / "one", other),
    ):
        pass


def test_who_comes_second_is_refused_and_nothing_is_lost(tmp_path):
    """Two windows have the same question open; the second reads again and goes on after the answers of the first."""
    with opened(tmp_path / "one") as log, opened(tmp_path / "one") as other:
        search = begin(log)
        search.ask()
        late = resumed(other, EARLIER)
        answer(search, 0)
        kept = log.read()
        with pytest.raises(BusyError, match=r"has gone on elsewhere.*Nothing is lost"):
            answer(late, 1)
        assert (late.events, log.read()) == (kept[:2], kept)
        late = resumed(other, EARLIER)
        late.ask()
        assert log.read()[:-1] == kept


def test_many_sessions_of_one_file_are_told_apart(tmp_path):
    """Titles, copies of the first events, removal; each has its own events, and the last that changed comes first."""
    with Sessions(tmp_path / "all") as sessions:
        first = sessions.create(PARTS, title="stars", about={"overrides": ["seed=1"]})
        play(begin(first))
        second = sessions.create(PARTS, title="moons")
        begin(second)
        assert [(one.title, one.events) for one in sessions.listed()] == [("moons", 1), ("stars", 31)]
        copy = sessions.fork(first.id, 4)
        sessions.rename(copy, "stars again")
        assert sessions.events(copy) == first.read()[:4]
        assert sessions.about(copy) == {"overrides": ["seed=1"], "forked": {"from": first.id, "events": 4}}
        answer(resumed(sessions.open(copy, PARTS), EARLIER), 0)
        assert [one.title for one in sessions.listed()] == ["stars again", "moons", "stars"]
        assert (len(sessions.events(copy)), len(sessions.events(first.id))) == (5, 31)
        assert sessions.find("stars") == first.id == sessions.find(first.id[:12])
        sessions.remove(copy)
        with pytest.raises(StoreError, match="holds no session"):
            sessions.open(copy)
        with pytest.raises(
            ConfigError, match=r"holds no sessions of this id or title\. Sessions, the latest first: .* moons"
        ):
            sessions.find("star")
        sessions.remove(second.id)
        with pytest.raises(StoreError, match="was removed from"):
            second.append(Answered(()))
        assert sessions.events(second.id) == []


def fill(log, numbers):
    for number in numbers:
        log.append(Undone(number))


def test_threads_of_one_process_share_a_database(tmp_path):
    """Eight threads, each with its own session: 25 events of each are there, in their order."""
    with Sessions(tmp_path / "all") as sessions:
        logs = [sessions.create({}) for _ in range(8)]

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda log: fill(log, range(25)), logs))
        assert [sessions.events(log.id) for log in logs] == [[Undone(number) for number in range(25)]] * 8


def test_a_backup_is_whole_while_others_write(tmp_path):
    with Sessions(tmp_path / "all") as sessions:
        log = sessions.create({}, title="kept")
        log.append(Undone(0))
        sessions.backup(tmp_path / "copy")
        log.append(Undone(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all", "copy"]
    with Sessions(tmp_path / "copy") as copy:
        assert copy.events(log.id) == [Undone(0)]


def test_only_its_owner_reads_a_database(tmp_path):
    with Sessions(tmp_path / "deep" / "all") as sessions:
        sessions.create({})
        modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "deep").iterdir()}
    assert modes == {"all": 0o600, "all-wal": 0o600, "all-shm": 0o600}


KILLED = """
import os, random, signal, sys, time
from tests.loop.test_sessions import *

def go_on(path, said):
    with opened(path) as log:
        search = many(log) if not log.read() else Session(crowd(), log)
        for _ in range(10_000):
            image = search.ask()[0].image
            search.answer({image: image % 2 == 0})
            os.write(said, f"{image}\\n".encode())

path, moments = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
for _ in range(20):
    heard, said = os.pipe()
    child = os.fork()
    if child == 0:
        go_on(path, said)
    os.close(said)
    first = os.read(heard, 1 << 20)  # it has begun
    time.sleep(moments.uniform(0, 0.1))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(first.decode() + open(heard).read(), end="", flush=True)
"""
CROWD = blobs(3000, seed=5).descriptors


def crowd():
    return loop(CROWD, GO, CRITERIA["top"])


def many(log):
    return Session.start(crowd(), 0, budget=1, log=log)


def test_killed_at_twenty_random_moments_no_acknowledged_answer_is_lost(tmp_path):
    """The answers that were acknowledged are the first ones in the database; a kill adds at most one that was not."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "one"), "7"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}  # a fork has no other threads
    done = subprocess.run(
        command, check=True, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, env=alone
    )
    acknowledged = [int(line) for line in done.stdout.split()]
    assert len(acknowledged) >= 20
    with opened(tmp_path / "one") as log:
        events = log.read()
        kept = [int(event.replies[0].image) for event in events if isinstance(event, Answered)]
        assert [image for image in kept if image in set(acknowledged)] == acknowledged
        assert len(kept) <= len(acknowledged) + 20
        assert len(set(kept)) == len(kept)
        again = replayed(crowd(), events)
        assert (again.differs, again.questions) == (None, sum(isinstance(event, Asked) for event in events))
        same(view(Session(crowd(), log, clock=ticking())), view(again.session))


def regions_of(boxes):
    """A loop over images of ragged regions with these boxes; names are letters."""
    flat = torch.tensor([box for one in boxes for box in one])
    offsets = torch.tensor([len(one) for one in boxes]).cumsum(0)
    descriptors = ArrayDescriptors(
        torch.eye(len(boxes)),
        torch.rand(len(flat), len(boxes)),
        Regions(flat, torch.nn.functional.pad(offsets, (1, 0))),
    )
    return loop(descriptors, Representation(OneProto(), NoFusion())), Images(len(boxes), list("abcdef"[: len(boxes)]))


LEFT, RIGHT, MIDDLE = (0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0), (0.375, 0.0, 0.75, 1.0)


@pytest.mark.parametrize(
    ("regions", "kept", "region"),
    [
        ([LEFT, RIGHT], RIGHT, 1),
        ([RIGHT, LEFT], RIGHT, 0),  # the same box under another number
        ([RIGHT], RIGHT, 0),
        ([LEFT, LEFT, MIDDLE], RIGHT, 2),  # overlaps of 0 and 1/4 / (1/2 + 3/8 - 1/4) = 0.4
        ([LEFT, MIDDLE], None, 1),  # events of earlier versions have no box
    ],
)
def test_a_region_is_known_by_its_box(regions, kept, region):
    """Image b was asked about with its region 1, the right half. Its regions are others now."""
    machine, images = regions_of([[LEFT], regions, [LEFT, RIGHT]])
    started = Started((Pointed("a", None),), None, None, ("c",), 1, images.listing)
    answered = Answered((Reply("b", "relevant", None, 1, 1.0, kept),))
    rows = Session(machine, MemoryLog([started, answered]), images=images)._now.state.rows[0]
    assert rows.region[(rows.image == 1) & (rows.label > 0)].tolist() == [region]
    shown = Session(machine, MemoryLog([started, Asked((Shown("b", 1, 0.5, kept),))]), images=images).ask()
    assert shown[0].box == regions[region]


def test_a_search_survives_regions_in_another_order(tmp_path):
    """Images come back in reverse, and the regions of each too: questions, boxes and scores stay with the images."""
    world = blobs(40, ragged=True, noise=0.5).descriptors
    swapped = [range(int(world.offsets[i + 1]) - 1, int(world.offsets[i]) - 1, -1) for i in reversed(range(40))]
    rows = torch.tensor([row for one in swapped for row in one])
    offsets = torch.nn.functional.pad(world.offsets.diff().flip(0).cumsum(0), (1, 0))
    later = ArrayDescriptors(world.global_.flip(0), world.local[rows], Regions(world.regions.boxes[rows], offsets))
    contents = [str(image) for image in range(40)]
    regions = Representation(All(), NoFusion())
    with opened(tmp_path / "one", settings(loop(world, regions))) as log:
        search = Session.start(loop(world, regions), 0, log=log, images=Images(40, contents))
        search.answer({item.image: item.image % 2 == 0 for item in search.ask()})
        question, scores = search.ask(), search.scores
    assert len({item.box for item in question}) > 1
    with opened(tmp_path / "one", settings(loop(later, regions))) as log:
        again = Session(loop(later, regions), log, images=Images(40, contents[::-1]))
        assert [(item.name, item.box) for item in again.ask()] == [(item.name, item.box) for item in question]
        torch.testing.assert_close(again.scores.flip(0), scores)


def test_a_session_belongs_to_its_kind_of_descriptors(tmp_path):
    """Other images of the same regions and width are welcome; other regions or another width are not."""
    with opened(tmp_path / "one", settings(loop(blobs(30).descriptors))):
        pass
    with opened(tmp_path / "one", settings(loop(blobs(40, seed=1).descriptors))):
        pass
    for other in (blobs(30, grid=(4, 4)), blobs(30, dim=9), blobs(30, ragged=True)):
        with (
            pytest.raises(StoreError, match=r"began with another descriptors\. Use"),
            opened(tmp_path / "one", settings(loop(other.descriptors))),
        ):
            pass
    parts = settings(loop(blobs(30).descriptors))
    earlier = {name: value for name, value in parts.items() if name != "descriptors"}
    with opened(tmp_path / "two", earlier):
        pass
    with opened(tmp_path / "two", parts):  # what an earlier version did not write is not compared
        pass


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE events SET event = '{' WHERE number = 1", r"event 1 of session \w+ in .* is no event of a session"),
        ("DELETE FROM events WHERE number = 1", r"lacks event 1, and has later ones\. Restore it from a copy"),
        (f"PRAGMA user_version={SCHEMA + 1}", "written by a newer version of seekloop.*Update seekloop"),
        ("PRAGMA application_id=7", "a database of another program"),
    ],
)
def test_damage_is_named_with_the_way_out(tmp_path, statement, message):
    with opened(tmp_path / "one") as log:
        search = begin(log)
        search.ask()
        answer(search, 0)
    with closing(sqlite3.connect(tmp_path / "one", isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(StoreError, match=message), opened(tmp_path / "one") as log:
        log.read()


def test_damaged_pages_are_told(tmp_path):
    """Whatever bytes are overwritten: the events that come back are right, or a sentence says what to do."""
    with opened(tmp_path / "one") as log:
        for number in range(400):
            log.append(Undone(number))
    whole = (tmp_path / "one").read_bytes()
    told = []
    for start in range(0, len(whole), 4096):
        (tmp_path / "one").write_bytes(whole[:start] + b"\xa5" * 2048 + whole[start + 2048 :])
        try:
            with opened(tmp_path / "one") as log:
                assert log.read() == [Undone(number) for number in range(400)]
        except StoreError as error:
            told.append(str(error))
    assert len(told) > len(whole) // 4096 / 2
    assert all(one.endswith((".recover`.", "from a copy.", "another file>.")) for one in told)


def test_what_is_no_database_is_refused(tmp_path):
    (tmp_path / "text").write_text("a list of photographs " * 100)
    with pytest.raises(StoreError, match="is no database"):
        Sessions(tmp_path / "text")
    assert (tmp_path / "text").read_text() == "a list of photographs " * 100
    with closing(sqlite3.connect(tmp_path / "other")) as connection:
        connection.execute("CREATE TABLE albums (name TEXT)")
    with pytest.raises(StoreError, match="is a database of another program"):
        Sessions(tmp_path / "other")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"is a folder; sessions are kept in one file"):
        Sessions(tmp_path / "folder")
    (tmp_path / "folder" / "session.json").write_text("{}")
    with pytest.raises(StoreError, match="a session of an earlier version of seekloop, which reads it"):
        Sessions(tmp_path / "folder")
    with pytest.raises(StoreError, match="is a file, and a folder belongs there"):
        Sessions(tmp_path / "text" / "one")


def test_a_full_disk_keeps_what_was_there(tmp_path):
    """A limit on the pages of the file stands for the disk's."""
    with opened(tmp_path / "one") as log:
        log.append(Undone(0))
        log.sessions._connection.execute("PRAGMA max_page_count=6")
        with pytest.raises(StoreError, match=r"its disk has no space left\. Free some space"):
            fill(log, range(1, 10_000))
        kept = log.read()
        assert kept == [Undone(number) for number in range(len(kept))]
        log.sessions._connection.execute("PRAGMA max_page_count=600")
        log.append(Undone(len(kept)))
        assert len(log.read()) == len(kept) + 1


def test_a_replay_names_the_first_question_that_comes_out_otherwise():
    """A score of the second question is one unit of the last place away: the first is right, and the second named."""
    search = begin(None)
    play(search)
    asked = [number for number, event in enumerate(search.events) if isinstance(event, Asked)]
    last = max(number for number, event in enumerate(search.events) if event.event == "collection grown")
    later = [number for number in asked if number > last]
    machine, images = part(list(range(90)))
    whole = replayed(machine, search.events, images=images, criteria=CRITERIA)
    assert (whole.questions, whole.unchecked, whole.differs) == (len(later), len(asked) - len(later), None)
    same(view(whole.session), view(search))
    everything = replayed(machine, search.events, images=images, criteria=CRITERIA, others=[part(EARLIER)])
    assert (everything.questions, everything.unchecked, everything.differs) == (len(asked), 0, None)
    same(view(everything.session), view(search))
    first, *rest = search.events[later[1]].images
    other = Asked((replace(first, score=math.nextafter(first.score, 9)), *rest))
    changed = [*search.events[: later[1]], other, *search.events[later[1] + 1 :]]
    found = replayed(machine, changed, images=images, criteria=CRITERIA)
    assert (found.questions, found.differs) == (1, later[1])
    assert f"event {later[1]}" in found.why
    assert "score" in found.why
    unknown = replayed(*part(EARLIER[:60])[:1], search.events, images=part(EARLIER[:60])[1], criteria=CRITERIA)
    assert (unknown.questions, unknown.unchecked) == (0, len(asked))


def test_an_empty_log_is_no_search():
    with pytest.raises(ValueError, match="holds no search"):
        resumed(MemoryLog(), EARLIER)
