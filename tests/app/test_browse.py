"""Browsing by folder and by date."""

import os
from datetime import datetime
from threading import Event

import pytest
from PIL import Image

from seekloop.app import browse
from seekloop.app.browse import Browser, Month, Photograph, Subfolder, taken
from seekloop.images.folder import ImageFolder
from seekloop.images.generated.scenes import Scenes
from seekloop.loop.session import Images


def photograph(path, date=None, changed="2020-01-01T12:00:00"):
    path.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x010E] = "a description"
    if date is not None:
        exif.get_ifd(0x8769)[0x9003] = date
    Image.new("RGB", (8, 8)).save(path, exif=exif.tobytes())
    seconds = datetime.fromisoformat(changed).timestamp()
    os.utime(path, (seconds, seconds))


@pytest.fixture
def album(tmp_path):
    """Six photographs in three folders, one below another; one without a date in it, one with a senseless one."""
    root = tmp_path / "album"
    photograph(root / "z.jpg", "2021:07:03 10:00:00")
    photograph(root / "trips" / "rome" / "b.jpg", "2021:07:20 08:30:00")
    photograph(root / "trips" / "rome" / "a.jpg", "2022:01:05 23:59:59")
    photograph(root / "trips" / "c.png", changed="2021-07-11T00:00:01")
    photograph(root / "tripsy" / "d.webp", "0000:00:00 00:00:00", changed="2019-03-01T06:00:00")
    photograph(root / "tripsy" / "e.tif", "2018:12:24 18:00:00")
    return ImageFolder(root)


def browser(collection, cache=None):
    one = Browser(collection, Images(len(collection.paths), collection.contents(), collection.paths), cache)
    one.wait()
    return one


def paths(page):
    return [image.path for image in page.images]


def test_a_folder_shows_its_own_images_by_name_and_its_folders_with_all_below(album):
    """`tripsy` begins like `trips`, and lies beside it."""
    root = browser(album).page()
    assert root.folders == (Subfolder("trips", "trips", 3), Subfolder("tripsy", "tripsy", 2))
    assert (paths(root), root.total) == (["z.jpg"], 1)
    trips = browser(album).page("trips")
    assert trips.folders == (Subfolder("trips/rome", "rome", 2),)
    assert paths(trips) == ["trips/c.png"]
    assert trips.months == (Month("2021-07", 1),)


def test_by_date_all_images_below_come_latest_first(album):
    dated = browser(album)
    assert paths(dated.page("trips", by="date")) == ["trips/rome/a.jpg", "trips/rome/b.jpg", "trips/c.png"]
    everything = dated.page(by="date")
    assert everything.total == 6
    assert everything.images[-1].date == "2018-12-24T18:00:00"
    assert everything.months == (Month("2022-01", 1), Month("2021-07", 3), Month("2019-03", 1), Month("2018-12", 1))


def test_a_month_chooses_and_the_list_of_months_stays(album):
    page = browser(album).page(by="date", month="2021-07")
    assert paths(page) == ["trips/rome/b.jpg", "trips/c.png", "z.jpg"]
    assert page.total == 3
    assert len(page.months) == 4
    assert browser(album).page("tripsy", by="date", month="2021-07").total == 0


def test_pages_follow_each_other(album):
    dated = browser(album)
    first, second, third = (paths(dated.page(by="date", after=after, count=4)) for after in (0, 4, 8))
    assert first + second == paths(dated.page(by="date"))
    assert (len(first), len(second), third) == (4, 2, [])


def test_an_image_has_its_name_by_content_and_the_date_of_its_exif_or_else_of_its_file(album):
    (image,) = browser(album).page("trips").images
    position = album.paths.index("trips/c.png")
    assert image == Photograph(album.contents()[position], "trips/c.png", "2021-07-11T00:00:01")
    dates = {one.path: one.date for one in browser(album).page("tripsy").images}
    assert dates == {"tripsy/d.webp": "2019-03-01T06:00:00", "tripsy/e.tif": "2018-12-24T18:00:00"}


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tif"])
def test_dates_are_read_from_every_kind_of_file(tmp_path, ending):
    photograph(tmp_path / f"a.{ending}", "2021:07:03 10:00:00")
    assert taken(tmp_path / f"a.{ending}") == "2021-07-03T10:00:00"


@pytest.mark.parametrize("stated", ["", "    :  :     :  :  ", "2021:13:01 00:00:00", "<script>", "2021"])
def test_senseless_dates_are_none(tmp_path, stated):
    photograph(tmp_path / "a.jpg", stated)
    assert taken(tmp_path / "a.jpg") == ""


def test_dates_are_read_once_and_again_where_a_file_has_changed(album, tmp_path, monkeypatch):
    for path in album.paths:  # hashes of files changed just now are not remembered
        os.utime(album.root / path)
    monkeypatch.setattr("seekloop.images.files.SETTLED_NS", -1)
    looked = []
    monkeypatch.setattr(browse, "taken", lambda path: looked.append(path.name) or taken(path))
    first = browser(album, tmp_path / "cache").page(by="date")
    assert sorted(looked) == ["a.jpg", "b.jpg", "c.png", "d.webp", "e.tif", "z.jpg"]
    photograph(album.root / "z.jpg", "2030:01:01 00:00:00", changed="2021-07-11T00:00:02")
    second = browser(album, tmp_path / "cache").page(by="date")
    assert looked[6:] == ["z.jpg"]
    assert paths(second)[0] == "z.jpg"
    assert sorted(paths(first)) == sorted(paths(second))


def test_pages_come_at_once_without_dates_until_all_are_known(album, monkeypatch):
    free = Event()
    monkeypatch.setattr(browse, "taken", lambda path: free.wait() and taken(path))
    early = Browser(album, Images(6, album.contents(), album.paths))
    page = early.page(by="date")
    assert {image.date for image in page.images} == {""}
    assert (page.total, page.months) == (6, ())
    free.set()
    early.wait()
    assert early.page(by="date").months[0] == Month("2022-01", 1)


def test_images_without_files_have_one_folder_and_no_dates():
    scenes = Scenes(images=3)
    one = Browser(scenes, Images(3, paths=scenes.paths))
    one.wait()
    page = one.page(by="date")
    assert page.images == tuple(Photograph(str(image), scenes.paths[image], "") for image in range(3))
    assert (page.folders, page.months) == ((), ())


@pytest.mark.parametrize("folder", ["..", "trips/..", "../album", "trip", "trips//rome", "z.jpg", "/etc"])
def test_only_folders_of_the_collection_can_be_named(album, folder):
    with pytest.raises(LookupError, match="there is no folder"):
        browser(album).page(folder)
