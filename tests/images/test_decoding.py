import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from seekloop.contracts.errors import UnreadableImageError
from seekloop.images import decoding
from seekloop.images.decoding import eight_bits, nearly_black, read_header, read_rgb

RED, BLUE = (255, 0, 0), (0, 0, 255)


def two_colours(mode):
    """Left red, right blue, 4 x 2 pixels."""
    image = Image.new("RGB", (4, 2), RED)
    image.paste(BLUE, (2, 0, 4, 2))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "name"),
    [("RGB", "a.png"), ("RGBA", "a.png"), ("P", "a.png"), ("P", "a.gif"), ("CMYK", "a.tif"), ("RGB", "a.bmp"),
     ("RGB", "a.webp"), ("RGB", "a.ppm")],
)  # fmt: skip
def test_colours_survive_every_mode_and_format(tmp_path, mode, name):
    two_colours(mode).save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    image = read_rgb(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (4, 2))
    assert np.abs(np.asarray(image, dtype=int)[0, [0, 3]] - [RED, BLUE]).max() <= 1


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_jpegs_of_every_mode(tmp_path, mode):
    Image.new("RGB", (16, 16), (200, 200, 200)).convert(mode).save(tmp_path / "a.jpg")
    assert np.abs(np.asarray(read_rgb(tmp_path / "a.jpg"), dtype=int) - 200).max() <= 2


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_grey_is_grey(tmp_path, mode):
    Image.new("L", (3, 2), 255).convert(mode).save(tmp_path / "a.png")
    assert np.asarray(read_rgb(tmp_path / "a.png")).tolist() == np.full((2, 3, 3), 255).tolist()


@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, "red blue"), (2, "blue red"), (3, "blue red"), (4, "red blue"), (5, "red red"), (6, "red red"),
     (7, "blue blue"), (8, "blue blue")],
)  # fmt: skip
def test_exif_orientation_by_hand(tmp_path, orientation, corner):
    """Left red, right blue. 6 = turn clockwise: the left side comes to the top, so the top row is red; 8: blue."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    two_colours("RGB").save(tmp_path / "a.png", exif=exif)
    image = read_rgb(tmp_path / "a.png")
    names = {RED: "red", BLUE: "blue"}
    assert f"{names[image.getpixel((0, 0))]} {names[image.getpixel((image.width - 1, 0))]}" == corner
    assert image.size == read_header(tmp_path / "a.png").size == ((4, 2) if orientation < 5 else (2, 4))


FORMATS = ("jpg", "png", "tif", "webp", "avif", "heic", "jp2", "mpo", "gif", "bmp")


@pytest.mark.parametrize("way", ["exif", "xmp"])
@pytest.mark.parametrize("orientation", range(10))
@pytest.mark.parametrize("ending", FORMATS)
def test_header_and_picture_agree_for_every_format_and_orientation(tmp_path, ending, orientation, way):
    """And both are turned where the format keeps the orientation; 0 and 9 have no meaning and turn nothing."""
    path = tmp_path / f"a.{ending}"
    if f".{ending}" not in decoding.suffixes():
        pytest.skip(f"no decoder for {ending} here")
    exif = Image.Exif()
    exif[0x0112] = orientation
    tag = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><r tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    two_colours("RGB").resize((12, 6)).save(path, **({"exif": exif} if way == "exif" else {"xmp": tag}))
    size = read_rgb(path).size
    assert read_header(path).size == size
    if way == "exif" and ending in ("jpg", "png", "tif", "webp", "avif", "mpo"):
        assert size == ((6, 12) if 5 <= orientation <= 8 else (12, 6))


def test_the_header_tells_the_stored_size_from_the_upright_one(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.jpg", "a.tif"):
        two_colours("RGB").save(tmp_path / name, exif=exif)
        header = read_header(tmp_path / name)
        assert (header.stored, header.size, header.orientation) == ((4, 2), (2, 4), 6)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_data_leave_a_whole_picture_readable(tmp_path):
    two_colours("RGB").save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")
    assert read_rgb(tmp_path / "a.jpg").size == read_header(tmp_path / "a.jpg").size == (4, 2)


GREY = np.array([[0, 1024, 2048, 4095]], dtype=np.uint16)


@pytest.mark.parametrize("tag", [281, 341])
def test_a_tiff_that_states_its_largest_value_is_scaled_by_its_bits(tmp_path, tag):
    """4,000 needs 12 bits, so white is 4,095: 1024 * 255 / 4095 = 63.8, 2048 gives 127.5."""
    tags = ImageFileDirectory_v2()
    tags.tagtype[tag] = 3
    tags[tag] = 4000
    Image.fromarray(GREY).save(tmp_path / "a.tif", tiffinfo=tags)
    assert np.asarray(read_rgb(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 64, 128, 255]
    assert not nearly_black(tmp_path / "a.tif")


def test_white_can_be_given_and_values_above_it_are_not_clipped(tmp_path):
    Image.fromarray(GREY).save(tmp_path / "a.png")
    assert np.asarray(read_rgb(tmp_path / "a.png", 4095))[0, :, 0].tolist() == [0, 64, 128, 255]
    assert np.asarray(read_rgb(tmp_path / "a.png", 1023))[0, :, 0].tolist() == [0, 4, 8, 16]  # as 16 bits


@pytest.mark.parametrize(("name", "factor", "black"), [("a.png", 1, True), ("a.tif", 1, True), ("a.tif", 16, False)])
def test_pictures_of_12_bits_in_16_are_recognised(tmp_path, name, factor, black):
    Image.fromarray(GREY * np.uint16(factor)).save(tmp_path / name)
    assert nearly_black(tmp_path / name) is black


def test_dark_pictures_of_8_bits_and_no_pictures_are_not_called_so(tmp_path):
    Image.new("L", (4, 4), 3).save(tmp_path / "a.png")
    (tmp_path / "b.tif").write_text("none")
    assert not nearly_black(tmp_path / "a.png")
    assert not nearly_black(tmp_path / "b.tif")


def test_heic_is_read_like_any_other_picture(tmp_path):
    heif = pytest.importorskip("pillow_heif", reason="the extra heif is not installed")
    heif.register_heif_opener()
    two_colours("RGB").resize((64, 32), Image.Resampling.NEAREST).save(tmp_path / "a.heic", quality=95)
    image = read_rgb(tmp_path / "a.heic")
    assert image.size == read_header(tmp_path / "a.heic").size == (64, 32)
    assert np.abs(np.asarray(image, dtype=int)[16, [8, 56]] - [RED, BLUE]).max() <= 12
    (tmp_path / "a.heic").rename(tmp_path / "a.jpg")  # telephones and mail programs do this
    assert read_rgb(tmp_path / "a.jpg").size == (64, 32)


def test_transparent_pixels_become_white_not_their_hidden_colour(tmp_path):
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 128))
    image.save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)
    assert read_rgb(tmp_path / "a.png").getpixel((1, 0))[0] in range(126, 129)


def test_a_palettes_transparent_entry_becomes_white(tmp_path):
    image = Image.new("P", (2, 1))
    image.putpalette([9, 9, 9, 0, 0, 255])
    image.putpixel((1, 0), 1)
    image.save(tmp_path / "a.png", transparency=0)
    assert [read_rgb(tmp_path / "a.png").getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255), BLUE]


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path, name):
    """0, 257, 32896 = 128 * 257 and 65535 become 0, 1, 128 and 255; clipping would give 0, 255, 255, 255."""
    Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16)).save(tmp_path / name)
    assert np.asarray(read_rgb(tmp_path / name))[0, :, 0].tolist() == [0, 1, 128, 255]


def test_floats_and_wide_integers_by_hand(tmp_path):
    """Fractions times 255; 0 ... 10 has no known range, so 5 is the middle, 127.5, rounded to even: 128."""
    Image.fromarray(np.array([[0.0, 0.2, 1.0]], dtype=np.float32)).save(tmp_path / "a.tif")
    assert np.asarray(read_rgb(tmp_path / "a.tif"))[0, :, 0].tolist() == [0, 51, 255]
    assert eight_bits(np.array([[0.0, 5.0, 10.0]])).tolist() == [[0, 128, 255]]
    assert eight_bits(np.array([[-100_000, 0, 100_000]])).tolist() == [[0, 128, 255]]


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), BLUE).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").getpixel((0, 0)) == BLUE


def test_a_hundred_million_pixels(tmp_path):
    """Above Pillow's own limit of 89 million; one bit a pixel keeps the file small."""
    Image.new("1", (12_000, 9_000), 1).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").size == (12_000, 9_000)


def test_more_pixels_than_allowed_are_refused(tmp_path, monkeypatch):
    Image.new("1", (40, 30)).save(tmp_path / "a.png")
    monkeypatch.setattr(decoding, "PIXEL_LIMIT", 1000)
    with pytest.raises(UnreadableImageError, match="40 x 30 pixels are more than the 1000 allowed"):
        read_rgb(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UnreadableImageError, match="more than the 1000 pixels allowed"):
        read_rgb(tmp_path / "a.png")


def test_what_cannot_be_read_says_why(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a picture")
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    for name, why in (
        ("empty.jpg", "the file is empty"),
        ("text.jpg", "not an image in a known format"),
        ("cut.jpg", "damaged or cut off"),
        ("none.jpg", "there is no such file"),
    ):
        with pytest.raises(UnreadableImageError, match=why) as caught:
            read_rgb(tmp_path / name)
        assert caught.value.path == str(tmp_path / name)
    with pytest.raises(UnreadableImageError, match="not an image"):
        read_header(tmp_path / "text.jpg")


@given(st.sampled_from(["PNG", "JPEG", "GIF", "TIFF", "BMP", "WEBP"]), st.data())
def test_damage_gives_a_picture_or_the_one_error(tmp_path_factory, kind, data):
    buffer = io.BytesIO()
    two_colours("RGB").resize((24, 16)).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.image"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        mode = read_rgb(path).mode
    except UnreadableImageError:
        mode = "RGB"
    assert mode == "RGB"


def test_an_orientation_that_is_written_as_a_fraction_counts(tmp_path):
    tags = ImageFileDirectory_v2()
    tags.tagtype[0x0112] = 12
    tags[0x0112] = 6.0
    Image.new("RGB", (4, 2)).save(tmp_path / "a.tif", tiffinfo=tags)
    assert read_header(tmp_path / "a.tif").size == read_rgb(tmp_path / "a.tif").size == (2, 4)
