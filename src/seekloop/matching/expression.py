"""Queries as people type them: words and pictures with weights, such as 2*"golden retriever" + pool.jpg - "indoors"."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.errors import ConfigError

FORM = 'Write it like 2*"golden retriever" + pool.jpg - "indoors", with spaces around + and -.'
NUMBER = re.compile(r"\s*([0-9]+\.?[0-9]*|\.[0-9]+)\s*\*\s*")
SIGN = re.compile(r"\s+([+-])(?:\s+|$|(?=\"|[0-9.]+\s*\*))")
AFTER_QUOTES = re.compile(r"\s*([+-])\s*")
QUOTED = re.compile(r"\s*\"([^\"]*)\"")
FIRST = re.compile(r"\s*([+-])\s*(?=[\"0-9\s])")
SHOWN = 80  # letters of a query in a message


@dataclass(frozen=True)
class Term:
    """A part of a query.

    Attributes:
        weight: of its vector; negative for what is not wanted.
        content: words, or the path of an image.
        image: whether it is one.
    """

    weight: float
    content: str
    image: bool = False


def parse(query: str, is_image: Callable[[str], bool]) -> tuple[Term, ...]:
    r"""Take a query apart.

    `+` and `-` with spaces around them join terms. A term is words, in quotes where they hold such signs, or the path
    of an image, with a number and `*` before it, or without. What is quoted is always words.

    Args:
        query: as it was typed.
        is_image: whether an unquoted term is the path of an image.

    Raises:
        ConfigError: about `words`, if it is empty, or not of this form.

    Example:
        >>> for term in parse('2*"golden retriever" + pool.jpg - indoors', lambda term: term.endswith(".jpg")):
        ...     print(term)
        Term(weight=2.0, content='golden retriever', image=False)
        Term(weight=1.0, content='pool.jpg', image=True)
        Term(weight=-1.0, content='indoors', image=False)
    """
    _check(query)
    first = FIRST.match(query)
    at, sign = (first.end(), first[1]) if first else (0, "+")
    terms = []
    while True:
        found = NUMBER.match(query, at)
        weight, at = (float(found[1]), found.end()) if found else (1.0, at)
        quoted = QUOTED.match(query, at)
        following = AFTER_QUOTES.match(query, quoted.end()) if quoted else SIGN.search(query, at)
        end = following.start() if following else len(query)
        content = (quoted[1] if quoted else query[at:end]).strip()
        _check_term(query, content, query[quoted.end() : end].strip() if quoted else "", bool(quoted))
        terms.append(Term(-weight if sign == "-" else weight, content, not quoted and is_image(content)))
        if not following:
            return tuple(terms)
        at, sign = following.end(), following[0].strip()


def _check(query: str) -> None:
    """Refuse a query without letters, and one that is no text."""
    if not query.strip():
        raise ConfigError("words", query, "it is empty", 'Say what to search for: seekloop search "a red bus".')
    try:
        query.encode()
    except UnicodeEncodeError as error:
        raise ConfigError("words", ascii(query)[:SHOWN], "it is no text in UTF-8", FORM) from error


def _check_term(query: str, content: str, after: str, quoted: bool) -> None:
    """Refuse a term that is not whole."""
    why = ""
    if after:
        why = f"{after[:SHOWN]!r} follows a quoted text without + or -"
    elif not quoted and '"' in content:
        why = "a quotation mark is not closed, or stands inside a term"
    elif not content or (not quoted and re.match(r"[+-](\s|$)", content)):
        why = "a term is empty"
    if why:
        raise ConfigError("words", query if len(query) <= SHOWN else f"{query[:SHOWN]}...", why, FORM)


def joined(terms: Sequence[Term], vectors: Float[Tensor, "t d"]) -> Float[Tensor, " d"]:
    r"""One vector of unit length for all terms of a query.

    .. math:: v = \sum_i w_i v_i \,\big/\, \big\lVert \sum_i w_i v_i \big\rVert

    Args:
        terms: with their weights.
        vectors: of unit length, one for each.

    Raises:
        ConfigError: about `words`, if they cancel each other out.
    """
    weights = torch.tensor([term.weight for term in terms], dtype=vectors.dtype)
    total = weights @ vectors
    if float(total.norm()) <= 1e-6 * float(weights.abs().sum()):
        shown = " ".join(f"{term.weight:+g}*{term.content[:SHOWN]}" for term in terms)
        raise ConfigError("words", shown, "its terms cancel each other out, and nothing is left", "Change a weight.")
    return F.normalize(total, dim=0)
