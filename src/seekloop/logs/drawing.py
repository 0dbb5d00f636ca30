"""Drawing: colours, labels, names of files, and figures written whole or not at all."""

import hashlib
import io
import itertools
import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from seekloop.artifacts.files import make_folder, write_bytes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Draw = Callable[[], "Figure"]
Say = Callable[[str], None]

DASHES: tuple[Any, ...] = ("", (4, 1.5), (1, 1), (3, 1, 1, 1))  # as seaborn writes them, solid first
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5539", "#444444")
"""Told apart by colour-blind readers too (after Okabe and Ito)."""
RIGHT, WRONG, UNSURE, QUERY = "#1a9850", "#d73027", "#8c8c8c", "#e69f00"
DPI = 110
LONGEST = 44  # characters of a label
NAME_BYTES = 200  # of a file's name: most file systems take 255, and W&B adds a step and a hash


def short(label: object) -> str:
    """A label that leaves room for the curves: the middle of a long one is left out; every character can be drawn."""
    text, half = str(label), LONGEST // 2
    cut = text if len(text) <= LONGEST else f"{text[:half]}…{text[-half:]}"
    return escaped("".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in cut))


def escaped(text: str) -> str:
    """Text that matplotlib does not take for mathematics."""
    return text.replace("$", r"\$")


def draw_all(folder: Path, drawn: Mapping[str, Draw], say: Say) -> list[Path]:
    """Draw figures and write each as PNG; one that cannot be drawn or written is told, as the numbers are whole.

    Args:
        folder: of the figures.
        drawn: what draws each figure, by the name of its file without `.png`.
        say: is told which figures are missing, and why.

    Returns:
        The files that were written.
    """
    written = []
    for name, draw in drawn.items():
        path = folder / f"{name}.png"
        try:
            make_folder(folder, "runs_dir")
            written.append(save(draw(), path))
        except Exception as error:  # whatever it is: the run's numbers are worth more than a picture of them
            say(f"figure {path} is missing: {reason(error)}. The numbers are whole without it")
    return written


def save(figure: "Figure", path: Path, key: str = "runs_dir") -> Path:
    """Write a figure as PNG or PDF, whole or not at all, below the folder that `key` of the config names."""
    import matplotlib

    buffer, pdf = io.BytesIO(), path.suffix == ".pdf"
    settings = {"metadata": {"CreationDate": None}} if pdf else {"pil_kwargs": {"compress_level": 3}}
    with warnings.catch_warnings(), matplotlib.rc_context({"pdf.fonttype": 42}):  # fonts that publishers take
        warnings.filterwarnings("ignore", "Glyph .* missing from")  # letters of other alphabets are drawn as boxes
        figure.savefig(buffer, format="pdf" if pdf else "png", dpi=DPI, **settings)
    write_bytes(path, buffer.getvalue(), key)
    return path


def reason(error: Exception) -> str:
    """Why something could not be drawn or written, in a line."""
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return os.strerror(error.errno)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def file_names(before: str, names: Iterable[object], after: str) -> list[str]:
    """Names of files for things with any names, between `before` and `after`, without the latter.

    Different names give different files, also where upper and lower case are the same. What no file name can have is
    quoted (`%2F`); one of more than `NAME_BYTES` bytes with all it takes is cut between two characters, and ends in a
    plus, which is quoted otherwise, and a hash.

    Example:
        >>> file_names("asked_", ["a/b", "cup"], ".png")
        ['asked_a%2Fb', 'asked_cup']
    """
    room, taken, files = NAME_BYTES - len(before) - len(after), set[str](), []
    for name in map(str, names):
        parts = [quote(letter, safe=" ", errors="surrogatepass") for letter in name]
        whole = "".join(parts)
        if len(whole) > room or whole.lower() in taken:
            ending = "+" + hashlib.blake2b(name.encode(errors="surrogatepass"), digest_size=8).hexdigest()
            ends = itertools.accumulate(map(len, parts))
            whole = "".join(parts[: sum(end <= room - len(ending) for end in ends)]) + ending
        taken.add(whole.lower())
        files.append(before + whole)
    return files
