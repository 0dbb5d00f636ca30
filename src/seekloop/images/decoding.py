"""Decode an image file of any common kind to an upright 8-bit RGB picture."""

import warnings
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from seekloop.contracts.errors import UnreadableImageError

# Pillow warns from 89 million pixels on and refuses twice as many, against files made to fill the memory. A photograph
# from a current camera or scanner may pass that, so the limit is raised: 2**29 pixels are 1.5 GiB once decoded.
PIXEL_LIMIT = 2**29
Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT

# Damaged EXIF data leave the picture whole; Pillow would remark on it for every such photograph.
warnings.filterwarnings("ignore", message="Corrupt EXIF data", category=UserWarning)

# Only formats whose decoder is part of Pillow: its others may start outside programs (EPS) or are no photographs.
Image.init()
FORMATS = tuple(
    name
    for name in ("JPEG", "MPO", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN  # a Pillow may be built without some of them
)
HEIF_SUFFIXES = frozenset({".heic", ".heif", ".hif"})  # read where pillow-heif is installed (extra `heif`)
SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS) | {".jfif"}

BACKDROP = "white"  # behind transparent pixels

# Tags of TIFF and EXIF.
ORIENTATION, BITS_PER_SAMPLE, MAX_SAMPLE, S_MAX_SAMPLE = 0x0112, 258, 281, 341
WIDTH_TAG, HEIGHT_TAG = 256, 257
WIDE = 65535  # white of 16-bit pictures that state nothing else

# How stored pixels become upright ones, by EXIF orientation; 1 is upright, and no other number has a meaning.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Header:
    """Size and orientation of a picture, as its file's header states them.

    Attributes:
        stored: width and height of the pixels as they lie in the file.
        orientation: EXIF orientation, 1 to 8; 1 where there is none, or one without a meaning.
    """

    stored: tuple[int, int]
    orientation: int

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright picture: orientations 5 to 8 swap the sides."""
        return (self.stored[1], self.stored[0]) if self.orientation >= 5 else self.stored


@cache
def formats() -> tuple[str, ...]:
    """Formats that can be read: those of Pillow, and HEIF where pillow-heif is installed."""
    if find_spec("pillow_heif") is None:
        return FORMATS
    from pillow_heif import register_heif_opener

    register_heif_opener()
    return (*FORMATS, "HEIF")


def suffixes() -> frozenset[str]:
    """Endings, in lower case, of the files that are taken as pictures."""
    return SUFFIXES | HEIF_SUFFIXES if "HEIF" in formats() else SUFFIXES


def read_rgb(path: Path, white: int | None = None) -> Image.Image:
    """Decode one file: turned as its EXIF orientation says, transparency laid on white, 16 bits scaled to 8.

    Of an animation or a stack of pages the first one is read. Colour profiles are not applied.

    Args:
        path: of the file.
        white: value of white in grey pictures of 16 bits; None: that of the file (`white_of`).

    Raises:
        UnreadableImageError: if there is no such file, it is empty, cut off, damaged, no image, or larger than 2**29
            pixels. The message says which.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError(path, "the file is empty")
        with Image.open(path, formats=formats()) as image:
            if image.width * image.height > PIXEL_LIMIT:
                why = f"{image.width} x {image.height} pixels are more than the {PIXEL_LIMIT} allowed"
                raise UnreadableImageError(path, why)
            return upright(image, white)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files, and none of it may end a long run
        raise UnreadableImageError(path, reason(error)) from error


def upright(image: Image.Image, white: int | None = None) -> Image.Image:
    """An opened picture, decoded as `read_rgb` does; decoders raise nearly anything on damaged ones."""
    stated = white_of(image) if white is None else white
    image.load()
    turn = TURNS.get(orientation_of(image))  # Pillow may have turned a TIFF by now; its tag is then gone
    return to_rgb(image if turn is None else image.transpose(turn), stated)


def read_header(path: Path) -> Header:
    """Size and orientation of a picture, those of `read_rgb`, from the header alone (of a PNG, from the whole file).

    Raises:
        UnreadableImageError: if the header cannot be read.
    """
    try:
        with Image.open(path, formats=formats()) as image:
            orientation = orientation_of(image)
            if isinstance(image, TiffImageFile):  # whose `size` is upright in some versions of Pillow
                return Header((int(image.tag_v2[WIDTH_TAG]), int(image.tag_v2[HEIGHT_TAG])), orientation)
            return Header(image.size, orientation)
    except Exception as error:  # as in `read_rgb`
        raise UnreadableImageError(path, reason(error)) from error


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation of an opened picture, 1 to 8; 1 where there is none, it is damaged, or it has no meaning."""
    stated: object = 1
    with suppress(Exception):  # damaged EXIF data raise nearly anything, and the picture itself may be whole
        stated = image.getexif().get(ORIENTATION, 1)
    return int(stated) if isinstance(stated, (int, float)) and stated in TURNS else 1


def white_of(image: Image.Image) -> int:
    """Value of white in a grey picture of 10 to 16 bits: 2**bits - 1 for as many bits as its TIFF tags state.

    `SMaxSampleValue` and `MaxSampleValue` may give the largest value of this picture, so they are rounded up to bits.
    """
    if not isinstance(image, TiffImageFile):
        return WIDE
    limits = [_first(image.tag_v2.get(tag)) for tag in (S_MAX_SAMPLE, MAX_SAMPLE)]
    bits = [limit.bit_length() for limit in limits if limit] + [_first(image.tag_v2.get(BITS_PER_SAMPLE)) or 16]
    return 2 ** bits[0] - 1 if 8 < bits[0] < 16 else WIDE


def _first(value: object) -> int | None:
    """The first number of a tag, which may hold one per channel."""
    first = value[0] if isinstance(value, tuple) and value else value
    return int(first) if isinstance(first, (int, float)) else None


def nearly_black(path: Path) -> bool:
    """Whether a picture of 16 bits per value stays below an eighth of its range: 12 or fewer bits in a wider file.

    False for pictures of 8 bits and for unreadable ones.
    """
    try:
        with Image.open(path, formats=formats()) as image:
            if not sixteen_bits(image):
                return False
            limit = white_of(image) if image.mode.startswith("I") else 255  # Pillow keeps the high byte of colours
            image.load()
            return int(np.asarray(image).max(initial=0)) * 8 < limit
    except Exception:  # reported where it is decoded
        return False


def sixteen_bits(image: Image.Image) -> bool:
    """Whether an opened picture, not loaded yet, has values of 9 to 16 bits."""
    if isinstance(image, TiffImageFile):
        return 8 < (_first(image.tag_v2.get(BITS_PER_SAMPLE)) or 8) <= 16
    return image.mode.startswith("I;16") or any("16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def reason(error: Exception) -> str:
    """Cause of Pillow's error, in words for people."""
    known = {
        FileNotFoundError: "there is no such file",
        PermissionError: "the file may not be read by this user",
        UnidentifiedImageError: "not an image in a known format",
        Image.DecompressionBombError: f"more than the {PIXEL_LIMIT} pixels allowed",
        Image.DecompressionBombWarning: f"more than the {PIXEL_LIMIT} pixels allowed",
        MemoryError: "not enough memory to decode it",
    }
    return known.get(type(error), f"damaged or cut off ({type(error).__name__}: {error})")


def to_rgb(image: Image.Image, white: int = WIDE) -> Image.Image:
    """Any mode of Pillow to RGB; `white` is that of grey values of more than 8 bits."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.copy()
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(eight_bits(np.asarray(image), white)).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, BACKDROP), picture).convert("RGB")
    return image.convert("RGB")


def eight_bits(values: np.ndarray, white: int = WIDE) -> np.ndarray:
    """Grey values of more than 8 bits, scaled instead of clipped.

    Integers from 0 to `white` are multiplied by 255 / `white`; where some lie above, up to 65535, by 255 / 65535.
    Fractions within [0, 1] are multiplied by 255. Anything else has no known range and is stretched from its least to
    its greatest value.
    """
    wide = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = wide.min(), wide.max()
    limits = (white, WIDE) if np.issubdtype(values.dtype, np.integer) else (1,)
    low, high = next(((0, limit) for limit in limits if low >= 0 and high <= limit), (low, high))
    return np.rint((wide - low) * (255 / (high - low))).astype(np.uint8)
