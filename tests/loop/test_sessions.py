"""Sessions on disk: killed, resumed, undone and replayed to the same questions and scores, bit for bit."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import torch

from seekloop.artifacts.folder import BusyError
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.errors import StoreError
from seekloop.contracts.recipe import settings
from seekloop.contracts.records import Regions
from seekloop.criteria.descriptors import Typiclust
from seekloop.criteria.scores import Top, Uncertainty
from seekloop.loop.events import Answered, Asked, MemoryLog, Pointed, Reply, Shown, Started, Undone
from seekloop.loop.session import Images, Session
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
    assert len(never.events) == 32
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


def test_a_session_is_opened_by_one_process_and_goes_on_with_the_same_parts(tmp_path):
    other = settings(loop(WORLD.descriptors, GO))
    with opened(tmp_path / "one") as log:
        begin(log)
        with pytest.raises(BusyError), opened(tmp_path / "one"):
            pass
        with pytest.raises(ValueError, match="holds a search already"):
            begin(log)
    with (
        pytest.raises(StoreError, match=r"began with another classifier, representation\. Use the parts"),
        opened(tmp_path / "one", other),
    ):
        pass
    with pytest.raises(BusyError, match="not claimed"):
        log.append(Answered(()))


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


@pytest.mark.parametrize(("damage", "message"), [("{", "is no event of a session"), (None, "lacks event 1")])
def test_damage_is_named_with_the_way_out(tmp_path, damage, message):
    with opened(tmp_path / "one") as log:
        search = begin(log)
        search.ask()
        answer(search, 0)
    path = tmp_path / "one" / "event-000001.json"
    path.unlink() if damage is None else path.write_text(damage)
    with pytest.raises(StoreError, match=message), opened(tmp_path / "one") as log:
        log.read()


def test_an_empty_log_is_no_search():
    with pytest.raises(ValueError, match="holds no search"):
        resumed(MemoryLog(), EARLIER)
