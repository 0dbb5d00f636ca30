"""Exports: what a session found, in the hands of other programs, and nothing else touched."""

import csv
import io
import json
import zipfile
from pathlib import Path

import pytest
from PIL import Image

import seekloop
from seekloop.app import export
from seekloop.app.imports import imported
from seekloop.app.sidecars import keywords
from seekloop.contracts.errors import ConfigError
from seekloop.images.coco import coco_objects, parse_coco
from seekloop.loop.items import Images
from seekloop.loop.session import Session
from seekloop.loop.sessions import Sessions
from tests.loop.parts import loop
from tests.loop.test_sessions import REPRESENTATION
from tests.worlds import blobs

WORLD = blobs(12)  # images 0, 2, 4, ... are stars
NAMES = ["a/x.png", "b/x.png", "=1+1.png", "turned.jpg", *(f"{number}.png" for number in range(4, 12))]
BOX = (0.25, 0.5, 0.75, 1.0)


@pytest.fixture
def photographs(tmp_path):
    """Twelve pictures of 40 x 20 pixels, each of its own colour; one lies on its side and says so."""
    for number, name in enumerate(NAMES):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        size, exif = (40, 20), Image.Exif()
        if name == "turned.jpg":
            size, exif[0x0112] = (20, 40), 6
        Image.new("RGB", size, (20 * number, 90, 0)).save(path, exif=exif)
    return seekloop.build("collection=folder", f"collection.root={tmp_path / 'photos'}")


@pytest.fixture
def search(photographs):
    """Example: image 0. Round 1 answers five: yes with a box, yes, no, unsure, and one that waits for the next."""
    order = [list(photographs.paths).index(name) for name in NAMES]
    machine = loop(WORLD.descriptors, REPRESENTATION)
    session = Session.start(machine, order[0], BOX, negatives=1, budget=11, images=Images.of(photographs))
    asked = [item.image for item in session.ask()]
    session.note(dict(zip(asked[:4], [BOX, True, False, None], strict=True)))
    session.advance()
    session.note({asked[4]: True})
    return session, asked


def test_what_was_found_is_exported_with_the_boxes_that_say_where(search, photographs):
    """Drawn boxes before the region that scored; drafts have no round; no and unsure are not found."""
    session, asked = search
    rows = {row.image: row for row in export.exported(session, photographs)}
    assert {image: (row.answer, row.round, row.source) for image, row in rows.items()} == {
        session.query.first.image: ("example", None, "person"),
        asked[0]: ("yes", 1, "person"),
        asked[1]: ("yes", 1, rows[asked[1]].source),
        asked[4]: ("yes", None, rows[asked[4]].source),
    }
    assert rows[asked[0]].box == BOX == rows[session.query.first.image].box
    shown = {one.image: one.region_box for event in session.events[1:2] for one in event.images}
    assert rows[asked[1]].box == shown[rows[asked[1]].name]
    ranking = session.ranking()
    assert all(ranking[row.rank - 1] == row.image and row.score == session.scores[row.image] for row in rows.values())


def test_the_ranking_is_exported_down_to_the_cut_off(search, photographs):
    """Among the first so many, or above a score, whichever ends first; never what was answered no or unsure."""
    session, asked = search
    ranking, known = session.ranking(), {*asked[:5], session.query.first.image}
    likely = [row.image for row in export.exported(session, photographs, first=9) if row.answer == "likely"]
    assert likely == [image for image in ranking[:9] if image not in known]
    assert likely
    score = float(session.scores[ranking[7]])
    above = [row.image for row in export.exported(session, photographs, above=score) if row.answer == "likely"]
    assert above == [image for image in ranking if session.scores[image] > score and image not in known]
    both = export.exported(session, photographs, above=score, first=2)
    assert [row.image for row in both if row.answer == "likely"] == [i for i in ranking[:2] if i not in known]


def row(image, path, box=BOX, source="person"):
    return export.Exported(image, f"name {image}", path, "yes", box, source, 1, -0.5, image + 1)


def test_a_table_opens_in_spreadsheets_and_computes_nothing(photographs):
    """(0.25, 0.5, 0.75, 1) of 40 x 20 pixels is (10, 10, 30, 20); a turned picture is 40 x 20 upright."""
    places = [list(photographs.paths).index(name) for name in ("=1+1.png", "turned.jpg")]
    rows = [row(places[0], "=1+1.png"), row(places[1], "turned.jpg", None, "image")]
    content = export.as_csv(rows, export.sizes(photographs, rows))
    assert content.startswith(b"\xef\xbb\xbfpath,")
    first, second = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""))
    assert first["path"] == "'=1+1.png"
    assert [first[corner] for corner in ("x0", "y0", "x1", "y1")] == ["10.0", "10.0", "30.0", "20.0"]
    assert (first["score"], first["width"], first["height"]) == ("-0.5", "40", "20")
    assert (second["x0"], second["box"], second["width"], second["height"]) == ("", "image", "40", "20")


def test_annotations_in_cocos_format_come_back_through_our_own_reader(search, photographs):
    session, _ = search
    rows = export.exported(session, photographs, first=8)
    coco = parse_coco(json.loads(export.as_coco(rows, export.sizes(photographs, rows), "red | star")), "found.json")
    assert (list(coco.categories.values()), coco.problems) == (["red | star"], ())
    positions = {path: image for image, path in enumerate(photographs.paths)}
    objects = coco_objects(coco, "found.json", positions, ())
    assert list(objects.problems) == []
    for one, wanted in zip(objects.objects, rows, strict=True):
        assert (one.image, one.size) == (wanted.image, (40, 20))
        x0, y0, x1, y1 = wanted.box
        assert one.box == pytest.approx((x0 * 40, y0 * 20, x1 * 40, y1 * 20))


def test_the_whole_session_goes_to_another_copy_of_the_images(search, tmp_path):
    """Events come back bit for bit; the copy lacks one picture, which is counted."""
    session, _ = search
    with Sessions(tmp_path / "one") as sessions:
        about = {"overrides": ["collection.root=/here"]}
        first = sessions.create({"kind": 1.5}, title="stars", about=about, events=session.events)
        content = export.as_json(sessions.kept(first.id), first.id)
        images = session.images
        fewer = Images(11, [one for place, one in enumerate(images.contents) if place != session.query.first.image])
        done = imported(sessions, content, images=fewer, about={"overrides": ["collection.root=/there"]})
        assert (done.events, done.missing) == (len(session.events), 1)
        assert "1 of its images are not in this collection" in done.said
        kept = sessions.kept(done.id)
        assert (kept.events, kept.parts, kept.title) == (session.events, {"kind": 1.5}, "stars")
        assert kept.about == {"overrides": ["collection.root=/there"], "imported": {"from": first.id}}
        assert imported(sessions, content).missing is None


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda c: b"\xff\xd8", "this is no session: it is no JSON"),
        (lambda c: b"[" * 100_000, "this is no session: it is no JSON"),
        (lambda c: b'{"images": []}', "this is no session of seekloop"),
        (lambda c: json.dumps({**c, "version": 2}).encode(), "of version 2, and this seekloop reads 1"),
        (lambda c: json.dumps({**c, "parts": 3}).encode(), "events, parts and about are not all there"),
        (lambda c: json.dumps({**c, "events": c["events"][1:]}).encode(), "begins with its start, once"),
        (lambda c: json.dumps({**c, "events": [*c["events"], {"event": "?"}]}).encode(), "one of its events is none"),
    ],
)
def test_what_is_no_session_is_not_imported(search, tmp_path, damage, told):
    session, _ = search
    with Sessions(tmp_path / "one") as sessions:
        id = sessions.create({}, events=session.events).id
        content = damage(json.loads(export.as_json(sessions.kept(id), id)))
        with pytest.raises(ValueError, match=told):
            imported(sessions, content)
        assert [one.id for one in sessions.listed()] == [id]


def test_links_and_copies_overwrite_nothing_and_lead_out_of_nowhere(photographs, tmp_path):
    """a/x.png, b/x.png and somebody's own x.png: three files. A second export finds the first one's."""
    (tmp_path / "secret.png").write_bytes((tmp_path / "photos/4.png").read_bytes())
    (tmp_path / "photos/4.png").unlink()
    (tmp_path / "photos/4.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "photos/5.png").unlink()
    rows = [row(list(photographs.paths).index(name), name) for name in ("a/x.png", "b/x.png", "4.png", "5.png")]
    for kind in ("links", "copies"):
        folder = tmp_path / kind
        folder.mkdir()
        (folder / "x.png").write_text("mine")
        done = export.place(rows, photographs, folder, copies=kind == "copies")
        assert [path.name for path in done.paths] == ["x_2.png", "x_3.png"]
        assert (folder / "x.png").read_text() == "mine"
        assert [path.read_bytes() for path in done.paths] == [
            (tmp_path / "photos" / name).read_bytes() for name in ("a/x.png", "b/x.png")
        ]
        assert {path.is_symlink() for path in done.paths} == {kind == "links"}
        left_out, missing = done.skipped
        assert left_out == "4.png: a link leads out of the collection's folder"
        assert missing.startswith("5.png: ")
        assert export.place(rows, photographs, folder, copies=kind == "copies") == done
        assert len(list(folder.iterdir())) == 3
    times = [path.stat().st_mtime_ns for path in (tmp_path / "photos/a/x.png", tmp_path / "copies/x_2.png")]
    assert times[0] == times[1]


def test_images_that_are_no_files_are_neither_linked_nor_copied(tmp_path):
    scenes = seekloop.build("collection=scenes", "collection.images=8")
    with pytest.raises(ConfigError, match=r"format='copies' cannot work: .* are no files\. Choose csv, json or coco"):
        export.place([row(0, "a")], scenes, tmp_path / "out", copies=True)


def test_sidecars_lie_beside_photographs_that_nobody_touches(photographs, tmp_path):
    """One that is there keeps what it holds; links are not followed, not even to a sidecar; what is no XMP stays."""
    root = tmp_path / "photos"
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in root.rglob("*.*g")}
    names = ["a/x.png", "b/x.png", "turned.jpg", "6.png"]
    rows = [row(list(photographs.paths).index(name), name) for name in names]
    contents, skipped = export.sidecars(rows[:1], photographs, "dog")
    assert export.write_beside(contents, skipped, photographs).paths == [root / "a/x.png.xmp"]
    (root / "b/x.png.xmp").write_text("a note")
    (tmp_path / "elsewhere.xmp").write_bytes((root / "a/x.png.xmp").read_bytes())
    (root / "turned.jpg.xmp").symlink_to(tmp_path / "elsewhere.xmp")
    contents, skipped = export.sidecars(rows, photographs, "animals|cat")
    done = export.write_beside(contents, skipped, photographs)
    assert done.paths == [root / "a/x.png.xmp", root / "6.png.xmp"]
    assert [one.partition(":")[0] for one in done.skipped] == ["b/x.png.xmp", "turned.jpg.xmp"]
    assert keywords((root / "a/x.png.xmp").read_bytes()) == (["dog", "cat"], ["dog", "animals|cat"])
    assert keywords((root / "6.png.xmp").read_bytes()) == (["cat"], ["animals|cat"])
    assert (root / "b/x.png.xmp").read_text() == "a note"
    assert keywords((tmp_path / "elsewhere.xmp").read_bytes()) == (["dog"], ["dog"])
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before} == before


def test_lightroom_calls_sidecars_otherwise_and_an_archive_holds_them(photographs):
    rows = [row(list(photographs.paths).index(name), name) for name in ("a/x.png", "turned.jpg")]
    contents, _ = export.sidecars(rows, photographs, "cat", lightroom=True)
    archive = zipfile.ZipFile(io.BytesIO(export.zipped(contents)))
    assert archive.namelist() == ["a/x.xmp", "turned.xmp"]
    assert keywords(archive.read("a/x.xmp")) == (["cat"], ["cat"])


def test_a_disk_that_refuses_is_told(photographs, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="is a file, and a folder belongs there"):
        export.place([row(0, "a")], photographs, Path(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "a file"
