"""Names and tags as W&B takes them: whatever it would refuse is cut, replaced or dropped, and messages."""

import hashlib
import re
from collections.abc import Iterable, Mapping

LONGEST_NAME, LONGEST_TAG, LONGEST_KEY = 128, 64, 200
"""Characters of a project, an id, a group or a name; of a tag; of a key of ours that is made of config values."""
IN_PROJECT, IN_ID = r"[/\\#?%:]", r"[:;,#?/'\\]"
"""Characters that W&B refuses in project names and ids."""


def tags_of(given: object) -> tuple[list[str], list[str]]:
    """Tags that W&B takes, and what was done to those that it would refuse; nothing is said of empty ones.

    Args:
        given: a list of words; a single word; None.

    Example:
        >>> tags_of(["", "voc", None, " voc ", 7])
        (['voc', '7'], [])
    """
    several = isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping))
    words = [word for word in (given if several else [given]) if word is not None]  # type: ignore[attr-defined]
    tags: dict[str, None] = {}
    messages = []
    for word in words:
        tag = " ".join(_writable(str(word)).split())
        if len(tag) > LONGEST_TAG:
            cut = shortened(tag, LONGEST_TAG)
            messages.append(f"wandb.tags: W&B takes {LONGEST_TAG} characters, so {tag!r} becomes {cut!r}")
            tag = cut
        if tag:
            tags[tag] = None
    return list(tags), messages


def name_of(what: str, given: object, refused: str = "") -> tuple[str | None, list[str]]:
    """A project, an id, a group or a name that W&B takes, and what was done to it; None for an empty one.

    Args:
        what: it is, in messages.
        given: the name.
        refused: a pattern of what W&B refuses in it, which becomes an underscore.
    """
    before = "" if given is None else _writable(str(given)).strip()
    name = re.sub(refused, "_", before) if refused else before
    name = shortened(name, LONGEST_NAME)
    messages = [f"{what}={before!r} is no name that W&B takes: it becomes {name!r}"] if name != before else []
    return name or None, messages


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; a longer one ends in a hash, so that distinct ones stay distinct.

    Example:
        >>> shortened("short", 12), len(shortened("a" * 99, 12))
        ('short', 12)
    """
    if len(text) <= most:
        return text
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=4).hexdigest()
    return f"{text[: most - len(digest) - 1].rstrip()}-{digest}"


def _writable(text: str) -> str:
    """Bytes of a name in another encoding, as Python keeps them, cannot be sent."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "")
