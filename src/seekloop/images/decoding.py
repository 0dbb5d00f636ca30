"""From an image file of any common kind to an upright 8-bit RGB picture."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from seekloop.contracts.errors import UnreadableImageError

# Pillow warns from 89 million pixels on and refuses twice as many, against files made to fill the memory. A photograph
# from a current camera or scanner may pass that, so the limit is raised: 2**29 pixels are 1.5 GiB once decoded.
PIXEL_LIMIT = 2**29
Image.MAX_IMAGE_PIXELS = PIXEL_LIMIT

# Only formats whose decoder is part of Pillow: its others may start outside programs (EPS) or are no photographs.
Image.init()
FORMATS = tuple(
    name
    for name in ("JPEG", "MPO", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
    if name in Image.OPEN  # a Pillow may be built without some of them
)
SUFFIXES = frozenset(suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS)

BACKDROP = "white"  # what shows through transparent pixels


def read_rgb(path: Path) -> Image.Image:
    """Decode one file: turned as its EXIF orientation says, transparency laid on white, 16 bits scaled to 8.

    Of an animation or a stack of pages the first one is read. Colour profiles are not applied.

    Raises:
        UnreadableImageError: if there is no such file, it is empty, cut off, damaged, no image, or larger than 2**29
            pixels. The message says which.
    """
    try:
        if path.stat().st_size == 0:
            raise UnreadableImageError(path, "the file is empty")
        with Image.open(path, formats=FORMATS) as image:
            refuse_if_huge(path, image.size)
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            return to_rgb(image)
    except UnreadableImageError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files, and none of it may end a long run
        raise UnreadableImageError(path, reason(error)) from error


def read_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from the file's header alone.

    Raises:
        UnreadableImageError: if the header cannot be read.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            turned = image.getexif().get(0x0112, 1) >= 5  # orientations 5 to 8 swap the sides
            return (image.height, image.width) if turned else image.size
    except Exception as error:  # as in `read_rgb`
        raise UnreadableImageError(path, reason(error)) from error


def refuse_if_huge(path: Path, size: tuple[int, int]) -> None:
    """Raise if decoding would need unreasonable memory."""
    if size[0] * size[1] > PIXEL_LIMIT:
        raise UnreadableImageError(path, f"{size[0]} x {size[1]} pixels are more than the {PIXEL_LIMIT} allowed")


def reason(error: Exception) -> str:
    """What Pillow's error means for the file."""
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case PermissionError():
            return "the file may not be read by this user"
        case UnidentifiedImageError():
            return "not an image in a known format"
        case Image.DecompressionBombError() | Image.DecompressionBombWarning():
            return f"more than the {PIXEL_LIMIT} pixels allowed"
        case MemoryError():
            return "not enough memory to decode it"
    return f"damaged or cut off ({type(error).__name__}: {error})"


def to_rgb(image: Image.Image) -> Image.Image:
    """Any mode of Pillow to RGB."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image.copy()
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(eight_bits(np.asarray(image))).convert("RGB")
    if image.has_transparency_data:
        picture = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, BACKDROP), picture).convert("RGB")
    return image.convert("RGB")


def eight_bits(values: np.ndarray) -> np.ndarray:
    """Grey values of more than 8 bits, scaled instead of clipped.

    Integers within 16 bits are divided by 257, fractions within [0, 1] multiplied by 255; anything else has no known
    range and is stretched from its least to its greatest value.
    """
    wide = np.nan_to_num(values.astype(np.float64), posinf=0, neginf=0)
    low, high = wide.min(), wide.max()
    limit = 65535 if np.issubdtype(values.dtype, np.integer) else 1
    if low >= 0 and high <= limit:
        low, high = 0, limit
    return np.rint((wide - low) * (255 / (high - low))).astype(np.uint8)
