"""Pictures from outside: what is refused, and what is kept."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, features

from seekloop.app.uploads import UploadError, Uploads, read_upload
from seekloop.contracts.errors import UnreadableImageError
from seekloop.contracts.protocols import Collection, KnowsContents
from seekloop.images.folder import ImageFolder


def content(kind="JPEG", size=(60, 40), orientation=1):
    """Left half red, right half blue as it lies in the file; with a place in its EXIF data."""
    picture = Image.new("RGB", size, (220, 20, 20))
    picture.paste((20, 20, 220), (size[0] // 2, 0, *size))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a secret place"
    exif.get_ifd(0x8825)[1] = "N"
    buffer = io.BytesIO()
    picture.save(buffer, kind, exif=exif.tobytes())
    return buffer.getvalue()


def bomb(width, height):
    """A PNG of a few bytes that claims so many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def refused(data, **limits):
    with pytest.raises(UploadError) as error:
        read_upload(data, **limits)
    assert error.value.sentence == str(error.value)
    return error.value.status, error.value.sentence


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_an_upload_is_upright_and_holds_pixels_only(kind):
    """Orientation 6: the left of the file, which is red, is up."""
    if kind == "WEBP" and not features.check("webp"):
        pytest.skip("this Pillow reads no WebP")
    picture = read_upload(content(kind, orientation=6))
    assert (picture.mode, picture.size, picture.info) == ("RGB", (40, 60), {})
    assert picture.getpixel((20, 10))[0] > 190
    assert picture.getpixel((20, 50))[2] > 190


def test_a_file_is_known_by_its_content_alone():
    for data in (
        b"",
        b"no picture",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"GIF89a",
    ):
        status, sentence = refused(data)
        assert status in (415, 422)
        assert "save it" in sentence or "JPEG" in sentence
    assert refused(b"%PDF-1.4\n")[0] == 415


def test_bytes_are_limited_before_anything_is_read():
    data = content()
    assert read_upload(data, limit_bytes=len(data)).size == (60, 40)
    status, sentence = refused(data, limit_bytes=len(data) - 1)
    assert status == 413
    assert "MiB are allowed" in sentence


def test_pixels_are_counted_and_never_decoded(monkeypatch):
    """2400 pixels are allowed or not; bombs of 10^8 and 2.5 * 10^9 pixels, for which Pillow has an error of its own."""
    assert read_upload(content(), limit_pixels=2400).size == (60, 40)
    monkeypatch.setattr("seekloop.app.uploads.upright", lambda _: pytest.fail("it was decoded"))
    assert refused(content(), limit_pixels=2399)[0] == 413
    for side in (10_000, 30_000, 50_000):
        status, sentence = refused(bomb(side, side), limit_pixels=1_000_000)
        assert status == 413
        assert "1,000,000 pixels" in sentence


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_a_file_that_is_cut_off_is_refused(kind):
    data = content(kind, size=(600, 400))
    assert refused(data[: len(data) * 2 // 3])[0] == 422


def test_an_upload_is_kept_losslessly_without_its_place(tmp_path):
    uploads = Uploads(tmp_path / "uploads")
    data = content(size=(61, 43), orientation=6)
    upload = uploads.add(data, "holiday.jpg")
    assert (upload.width, upload.height, upload.path) == (43, 61, "holiday.jpg")
    kept = Image.open(uploads.file(upload.name))
    assert np.array_equal(np.asarray(kept), np.asarray(read_upload(data)))
    assert dict(kept.getexif()) == {}
    for file in (tmp_path / "uploads").iterdir():
        assert b"secret" not in file.read_bytes()


def test_an_upload_has_the_name_that_its_file_would_have_in_a_collection(tmp_path):
    """So a photograph of the collection that is uploaded is known to be one of it."""
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(content())
    upload = Uploads(tmp_path / "uploads").add(content(), "b.jpg")
    assert [upload.name] == ImageFolder(tmp_path / "photos").contents()


def test_the_same_file_is_one_upload_which_another_server_finds(tmp_path):
    first = Uploads(tmp_path).add(content(), "a.jpg")
    again = Uploads(tmp_path).add(content(), "b.jpg")
    assert first == again == Uploads(tmp_path).find(first.name)
    assert len(list(tmp_path.glob("*.png"))) == 1


@pytest.mark.parametrize("name", ["../secret", "a" * 31, "A" * 32, "a" * 32 + "\n", "", "a" * 32])
def test_names_that_are_none_find_nothing(tmp_path, name):
    (tmp_path / "secret.json").write_text(json.dumps({"width": 1, "height": 1, "path": "x"}))
    uploads = Uploads(tmp_path / "uploads")
    assert uploads.find(name) is None
    with pytest.raises(LookupError, match="there is no uploaded picture"):
        uploads.collection([name])


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("C:\\photos\\a.jpg", "a.jpg"),
        ("../../etc/passwd", "passwd"),
        ("a\x1b[31m\u202e.jpg", "a[31m.jpg"),
        ("", "picture"),
        ("\n", "picture"),
        ("ä" * 300, "ä" * 120),
    ],
)
def test_names_of_files_are_shown_without_folders_and_control_characters(tmp_path, given, shown):
    assert Uploads(tmp_path).add(content(), given).path == shown


def test_a_refused_file_leaves_nothing(tmp_path):
    with pytest.raises(UploadError):
        Uploads(tmp_path / "uploads", limit_pixels=10).add(content(), "a.jpg")
    assert not (tmp_path / "uploads").exists()


def test_some_uploads_are_a_collection_in_the_order_asked_for(tmp_path):
    uploads = Uploads(tmp_path)
    one, two = uploads.add(content(size=(60, 40)), "a.jpg"), uploads.add(content(size=(30, 50)), "b.jpg")
    some = uploads.collection([two.name, one.name])
    assert isinstance(some, Collection)
    assert isinstance(some, KnowsContents)
    assert some.paths == ("b.jpg", "a.jpg")
    assert some.contents() == [two.name, one.name]
    assert [some.read(image).size for image in (0, 1)] == [(30, 50), (60, 40)]
    assert some.fingerprint() != uploads.collection([one.name, two.name]).fingerprint()
    uploads.file(one.name).unlink()
    with pytest.raises(UnreadableImageError, match=r"a\.jpg: there is no such file"):
        some.read(1)
