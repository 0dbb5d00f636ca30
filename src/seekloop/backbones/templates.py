"""Prompt templates: sentences that a class name is put into before a text tower reads it."""

from pathlib import Path

from seekloop.contracts.errors import ConfigError

ONE = ("a photo of a {}.",)
SEVEN = (
    "itap of a {}.",
    "a bad photo of the {}.",
    "a origami {}.",
    "a photo of the large {}.",
    "a {} in a video game.",
    "art of the {}.",
    "a photo of the small {}.",
)
"""The seven that CLIP's notebook on ImageNet finds to be nearly as good as all eighty."""
EIGHTY = """
a bad photo of a {}.
a photo of many {}.
a sculpture of a {}.
a photo of the hard to see {}.
a low resolution photo of the {}.
a rendering of a {}.
graffiti of a {}.
a bad photo of the {}.
a cropped photo of the {}.
a tattoo of a {}.
the embroidered {}.
a photo of a hard to see {}.
a bright photo of a {}.
a photo of a clean {}.
a photo of a dirty {}.
a dark photo of the {}.
a drawing of a {}.
a photo of my {}.
the plastic {}.
a photo of the cool {}.
a close-up photo of a {}.
a black and white photo of the {}.
a painting of the {}.
a painting of a {}.
a pixelated photo of the {}.
a sculpture of the {}.
a bright photo of the {}.
a cropped photo of a {}.
a plastic {}.
a photo of the dirty {}.
a jpeg corrupted photo of a {}.
a blurry photo of the {}.
a photo of the {}.
a good photo of the {}.
a rendering of the {}.
a {} in a video game.
a photo of one {}.
a doodle of a {}.
a close-up photo of the {}.
a photo of a {}.
the origami {}.
the {} in a video game.
a sketch of a {}.
a doodle of the {}.
a origami {}.
a low resolution photo of a {}.
the toy {}.
a rendition of the {}.
a photo of the clean {}.
a photo of a large {}.
a rendition of a {}.
a photo of a nice {}.
a photo of a weird {}.
a blurry photo of a {}.
a cartoon {}.
art of a {}.
a sketch of the {}.
a embroidered {}.
a pixelated photo of a {}.
itap of the {}.
a jpeg corrupted photo of the {}.
a good photo of a {}.
a plushie {}.
a photo of the nice {}.
a photo of the small {}.
a photo of the weird {}.
the cartoon {}.
art of the {}.
a drawing of the {}.
a photo of the large {}.
a black and white photo of a {}.
the plushie {}.
a dark photo of a {}.
itap of a {}.
graffiti of the {}.
a toy {}.
itap of my {}.
a photo of a cool {}.
a photo of a small {}.
a tattoo of the {}.
""".strip().splitlines()
"""All of that notebook."""
NAMED = {"none": ("{}",), "one": ONE, "seven": SEVEN, "eighty": tuple(EIGHTY)}
LONGEST = 2**20  # bytes of a file


def read_templates(templates: str) -> tuple[str, ...]:
    """Templates by name, or those of a file, one a line.

    Raises:
        ConfigError: if there is neither, or a line has no place for the text.

    Example:
        >>> read_templates("one"), len(read_templates("eighty"))
        (('a photo of a {}.',), 80)
    """
    if templates in NAMED:
        return NAMED[templates]
    file = Path(templates).expanduser()
    known = f"Valid: {', '.join(NAMED)}, or a text file with one template a line, {{}} where the words go."
    if not file.is_file():
        raise ConfigError("templates", templates, "there are no templates of this name, and no such file", known)
    try:
        with file.open(encoding="utf-8") as lines:
            found = [line.strip() for line in lines.read(LONGEST).splitlines() if line.strip()]
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError("templates", templates, "the file is no text in UTF-8", known) from error
    if lacking := next((line for line in found if "{}" not in line), None):
        raise ConfigError("templates", templates, f"a line has no {{}}: {lacking[:80]!r}", known)
    if not found:
        raise ConfigError("templates", templates, "the file is empty", known)
    return tuple(found)
