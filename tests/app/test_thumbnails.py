"""Thumbnails: upright, made once, kept by content."""

import io
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import numpy as np
import pytest
import torch
from PIL import Image

from seekloop.app.thumbnails import GREY, Thumbnails, jpeg
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.records import Annotations
from seekloop.images.files import FileCollection
from seekloop.images.folder import ImageFolder
from seekloop.images.generated.scenes import Scenes
from seekloop.loop.session import Images

NONE = torch.empty(0, dtype=torch.long)
NOTHING = Annotations((), NONE, NONE, torch.empty(0, 4), NONE.bool(), NONE.bool())


class Counted:
    """Images of one colour each, that counts how often each is decoded."""

    name, annotations, problems = "counted", NOTHING, ()

    def __init__(self, count=4, seconds=0.0, marks="a"):
        self.paths = [f"{image}.png" for image in range(count)]
        self.seconds, self.marks, self.reads = seconds, marks, []

    def read(self, image):
        self.reads.append(image)
        time.sleep(self.seconds)
        return Image.new("RGB", (640, 480), (10 * image, 0, 200))

    def fingerprint(self):
        return self.marks


def opened(content):
    return Image.open(io.BytesIO(content))


def colour(content, x, y):
    return opened(content).convert("RGB").getpixel((x, y))


def contents(count):
    return Images(count, [f"hash {image}" for image in range(count)])


def photograph(path, size=(2000, 1000), orientation=1):
    """Left half red, right half blue as it lies in the file."""
    picture = Image.new("RGB", size, (220, 20, 20))
    picture.paste((20, 20, 220), (size[0] // 2, 0, *size))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "maker of the camera"
    picture.save(path, exif=exif)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
@pytest.mark.parametrize(("orientation", "size", "red"), [(1, (320, 160), (20, 80)), (6, (160, 320), (80, 20))])
def test_a_thumbnail_is_upright_and_small_and_holds_no_exif(tmp_path, ending, orientation, size, red):
    """Orientation 6: what is left in the file is up. A turned one has its sides swapped."""
    photograph(tmp_path / f"a.{ending}", orientation=orientation)
    folder = ImageFolder(tmp_path)
    content = Thumbnails(folder, Images(1, folder.contents(), folder.paths), tmp_path / "kept").get(0)
    assert opened(content).format == "JPEG"
    assert opened(content).size == size
    assert np.abs(np.subtract(colour(content, *red), (220, 20, 20))).max() < 25
    assert dict(opened(content).getexif()) == {}
    assert b"maker" not in content


def test_a_picture_is_larger_and_never_enlarged(tmp_path):
    photograph(tmp_path / "a.jpg", (2000, 1000))
    photograph(tmp_path / "b.jpg", (64, 32))
    folder = ImageFolder(tmp_path)
    small = Thumbnails(folder, Images(2, folder.contents(), folder.paths), tmp_path / "kept")
    assert opened(small.picture(0)).size == (1600, 800)
    assert opened(small.picture(1)).size == (64, 32)
    assert opened(small.get(1)).size == (64, 32)
    assert len(list((tmp_path / "kept").rglob("*.jpg"))) == 1


def test_a_large_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path, monkeypatch):
    """JPEGs come in halves, quarters and eighths; a quarter of 4000 x 3000 is the least with sides of 640 and more."""
    photograph(tmp_path / "a.jpg", (4000, 3000))
    folder, sizes = ImageFolder(tmp_path), []
    monkeypatch.setattr("seekloop.app.thumbnails.jpeg", lambda picture, side: sizes.append(picture.size) or b"jpeg")
    Thumbnails(folder, Images(1, folder.contents(), folder.paths), tmp_path / "kept").get(0)
    assert sizes == [(1000, 750)]


def test_a_thumbnail_is_made_once_and_found_by_another_server_after_renaming(tmp_path):
    """Two images of one content share it; a server over the images in another order finds it."""
    first = Counted()
    small = Thumbnails(first, Images(4, ["a", "b", "a", "c"]), tmp_path)
    content = small.get(0)
    assert small.get(0) == small.get(2) == content
    assert first.reads == [0]
    later = Counted()
    assert Thumbnails(later, Images(4, ["d", "c", "b", "a"]), tmp_path).get(3) == content
    assert later.reads == []


def test_another_size_and_other_images_without_contents_are_kept_apart(tmp_path):
    for images, side in ((Counted(marks="a"), 320), (Counted(marks="b"), 320), (Counted(marks="a"), 100)):
        assert max(opened(Thumbnails(images, Images(4), tmp_path, side).get(1)).size) == side
        assert images.reads == [1]


def test_many_who_ask_at_once_cause_one_decode(tmp_path):
    slow, together = Counted(seconds=0.3), Barrier(8)
    small = Thumbnails(slow, contents(4), tmp_path)

    def ask(image):
        together.wait()
        return small.get(image)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, [1, 1, 1, 1, 2, 2, 2, 2]))
    assert sorted(slow.reads) == [1, 2]
    assert len(set(answers)) == 2


def test_an_unreadable_image_is_grey_and_shown_once_it_can_be_read(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    photograph(tmp_path / "b.jpg")
    whole = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) // 2])
    folder = FileCollection("folder", tmp_path, ["a.jpg", "b.jpg"], NOTHING, (), None)
    small = Thumbnails(folder, contents(2), tmp_path / "kept")
    for image in (0, 1):
        for content in (small.get(image), small.picture(image)):
            assert np.abs(np.subtract(colour(content, 5, 5), GREY)).max() < 3
    (tmp_path / "b.jpg").write_bytes(whole)
    assert colour(small.get(1), 5, 5)[0] > 200


def test_an_error_of_the_first_reaches_those_who_wait_and_the_next_tries_again(tmp_path):
    begun, broken = Event(), Counted()

    def fail(_):
        begun.set()
        time.sleep(0.2)
        raise RuntimeError("out of order")

    small, broken.read = Thumbnails(broken, contents(4), tmp_path), fail
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(small.get, 0)
        begun.wait()
        second = pool.submit(small.get, 0)
        for one in (first, second):
            with pytest.raises(RuntimeError, match="out of order"):
                one.result()
    del broken.read
    assert opened(small.get(0)).size == (320, 240)


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path):
    (tmp_path / "file").write_text("in the way")
    images = Counted()
    small = Thumbnails(images, contents(4), tmp_path / "file")
    assert small.get(1) == small.get(1)
    assert images.reads == [1, 1]


def test_thumbnails_made_ahead_are_those_of_the_newest_wish_first(tmp_path, monkeypatch):
    """While the one thread is busy with 0, two pages are wished for: the second comes first, each in its order."""
    monkeypatch.setattr("seekloop.app.thumbnails.THREADS", 1)
    begun, free, images = Event(), Event(), Counted(count=6)
    read = images.read

    def slowly(image):
        begun.set()
        free.wait()
        return read(image)

    images.read = slowly
    small = Thumbnails(images, contents(6), tmp_path)
    small.warm([0])
    begun.wait()
    small.warm([1, 2])
    small.warm([3, 4, 5])
    free.set()
    small._threads.shutdown(wait=True)
    assert images.reads == [0, 3, 4, 5, 1, 2]
    assert len(list(tmp_path.rglob("*.jpg"))) == 6


def test_wishes_are_bounded_and_forgotten_when_the_server_stops(tmp_path, monkeypatch):
    monkeypatch.setattr("seekloop.app.thumbnails.AHEAD", 3)
    images = Counted(count=10)
    small = Thumbnails(images, contents(10), tmp_path)
    small._ahead.extend(reversed(range(10)))  # of ten the first three
    small._next()
    assert images.reads == [0]
    assert list(small._ahead) == [2, 1]
    small.close()
    small._next()
    assert images.reads == [0]


def test_scenes_without_files_have_thumbnails(tmp_path):
    scenes = Scenes(images=2)
    assert opened(Thumbnails(scenes, Images(2, paths=scenes.paths), tmp_path, side=64).get(1)).size == (64, 64)


def test_a_jpeg_holds_no_comment_of_the_file():
    picture = Image.new("RGB", (8, 8))
    picture.info["comment"] = b"where it was taken"
    assert b"taken" not in jpeg(picture, 8)


def test_what_cannot_be_decoded_is_told_by_the_collection_alone(tmp_path):
    """A JPEG cut off is no reason to show half of it."""
    photograph(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-200])
    with pytest.raises(UnreadableImageError, match="cut off"):
        Thumbnails(ImageFolder(tmp_path), contents(1), tmp_path / "kept")._read(0, 320)
