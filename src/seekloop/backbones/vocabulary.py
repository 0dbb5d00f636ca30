"""Texts whose vectors are in a file: a vocabulary of names."""

import difflib
import hashlib
import unicodedata
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.recipe import content_hash

SHOWN = 5  # nearest names of an unknown word
LONGEST = 80  # letters that are compared and shown


class Nearest(NamedTuple):
    """The entry of a vocabulary nearest to a text: its position, its names, and the similarity of letters, 0 to 1."""

    entry: int
    names: tuple[str, ...]
    similarity: float


class Vocabulary:
    r"""Vectors of names, read from an npz file; a text is given the vector of the name nearest to it.

    Names are compared without regard to case and spaces. Similarity is the share of letters in common:
    :math:`2 M / T`, with M letters of matching runs and T letters of both (Ratcliff and Obershelp).

    Args:
        file: npz with an array of names, (t,), and one of vectors, (t, d); nothing in it is run.
        names: the array of names.
        vectors: the array of vectors; they are brought to unit length.
        separator: stands between the synonyms of a name.
        nearest: least similarity at which a text is taken for a name; 1: only if they are equal.
        space: name of the space of the vectors, the same as the `text_space` of the backbone.

    Raises:
        ConfigError: if the file is no such vocabulary.
    """

    @declared
    def __init__(
        self,
        file: str | None = None,
        names: str = "names",
        vectors: str = "vectors",
        separator: str = ",",
        nearest: Share = 0.8,
        space: str = "vocabulary",
    ) -> None:
        entries, rows = read(file, names, vectors, self)
        split = [one.split(separator) if separator else [one] for one in entries]
        self.synonyms = [tuple(name.strip() for name in one if name.strip()) for one in split]
        self.entry_of: dict[str, int] = {}
        for entry, several in enumerate(self.synonyms):
            for one in several:
                self.entry_of.setdefault(_plain(one), entry)
        self.vectors: Float[Tensor, "t d"] = F.normalize(torch.from_numpy(rows.astype(np.float32)), dim=1)
        self.name, self.dim, self.space, self.least = Path(str(file)).stem, rows.shape[1], space, nearest
        digest = hashlib.blake2b("\0".join([*entries, separator, str(nearest)]).encode(), digest_size=16)
        digest.update(content_hash(self.vectors).encode())
        self.weights_hash = digest.hexdigest()

    def nearest(self, text: str) -> Nearest:
        """The entry nearest to a text.

        Raises:
            ConfigError: about `words`, if the text is empty, or no name is near enough; the message lists the nearest.
        """
        plain = _plain(text)
        if not plain:
            raise ConfigError("words", text, "it is empty", "Say what to search for.")
        if plain in self.entry_of:
            entry = self.entry_of[plain]
            return Nearest(entry, self.synonyms[entry], 1.0)
        near = self._near(plain[:LONGEST])
        if near and near[0].similarity >= self.least and len(plain) <= LONGEST:
            return near[0]
        shown = text if len(text) <= LONGEST else f"{text[:LONGEST]}..."
        why = f"it is none of the {len(self.synonyms):,} names of {self.name}, nor near one"
        known = ", ".join(f"{', '.join(one.names)} ({one.similarity:.2f})" for one in near) or "none"
        raise ConfigError("words", shown, why, f"Nearest: {known}.")

    def note(self, text: str) -> str:
        """How a text is read: the name that it is taken for, its synonyms, and the similarity."""
        found = self.nearest(text)
        return f"{text!r} is taken for {', '.join(found.names)} (similarity {found.similarity:.2f})"

    def __call__(self, texts: Sequence[str]) -> Float[Tensor, "t d"]:
        """One vector of unit length for each text."""
        return self.vectors[[self.nearest(text).entry for text in texts]]

    def _near(self, plain: str) -> list[Nearest]:
        """The nearest entries, best first; a name that is one of the text's words counts before likeness of letters."""
        words = set(plain.split())
        best: dict[int, tuple[bool, float]] = {}
        matcher = difflib.SequenceMatcher(None, "", plain, autojunk=False)
        for name, entry in self.entry_of.items():
            matcher.set_seq1(name)
            near = (name in words, matcher.ratio())
            best[entry] = max(best.get(entry, near), near)
        order = sorted(best, key=lambda entry: (*(-value for value in best[entry]), entry))[:SHOWN]
        found = [Nearest(entry, self.synonyms[entry], best[entry][1]) for entry in order]
        return [one for one in found if one.similarity > 0]


def _plain(text: str) -> str:
    """A text for comparisons: one form of each letter, no case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())


LAYOUT = "Give an npz with names, (t,), and vectors, (t, d): np.savez(file, names=..., vectors=...)."


def read(file: str | None, names: str, vectors: str, owner: object) -> tuple[list[str], Float[np.ndarray, "t d"]]:
    """Names and vectors of a file.

    Raises:
        ConfigError: if it is no such vocabulary.
    """
    entries, rows = _arrays(file, names, vectors, owner)
    if entries.ndim != 1 or entries.dtype.kind != "U" or not len(entries):
        why = f"{names} in {file} is {entries.dtype} of shape {entries.shape}, not a list of texts"
        raise ConfigError("names", names, why, LAYOUT, owner)
    if rows.ndim != 2 or len(rows) != len(entries) or rows.dtype.kind != "f":
        why = f"{vectors} in {file} is {rows.dtype} of shape {rows.shape}, for {len(entries)} names"
        raise ConfigError("vectors", vectors, why, LAYOUT, owner)
    right = np.isfinite(rows).all(axis=1) & (rows != 0).any(axis=1)
    if not right.all():
        why = f"that of {str(entries[int(right.argmin())])!r} in {file} is zero or not finite"
        raise ConfigError("vectors", vectors, why, "Repair the file.", owner)
    return [str(one) for one in entries], rows


def _arrays(file: str | None, names: str, vectors: str, owner: object) -> tuple[np.ndarray, np.ndarray]:
    """The two arrays of a file, whatever they hold."""
    path = Path(file or "").expanduser()
    if not path.is_file():
        why = "there is no such file" if file else "it has no default"
        raise ConfigError("file", file, why, LAYOUT, owner)
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as held:
            for key, name in (("names", names), ("vectors", vectors)):
                if name not in held.files:
                    why = f"{file} has no such array"
                    raise ConfigError(key, name, why, f"It has: {', '.join(held.files) or 'none'}.", owner)
            return held[names], held[vectors]
    except ConfigError:
        raise
    except (ValueError, OSError, EOFError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        cause = str(error).strip().partition("\n")[0][:120]
        raise ConfigError("file", file, f"it is no vocabulary ({cause})", LAYOUT, owner) from error
