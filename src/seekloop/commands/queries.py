"""Words that simulated searches begin with: chosen by a config, checked before long work, encoded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from seekloop.backbones.vocabulary import Vocabulary
from seekloop.commands.parts import build
from seekloop.commands.texts import encoder_of
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import TextEncoder
from seekloop.contracts.recipe import Json, Recipe, settings
from seekloop.contracts.records import Query, Text
from seekloop.extraction.texts import recipe_of_texts, text_vectors
from seekloop.loop.prior import Prior
from seekloop.protocol.queries import FromWords, Words


@dataclass(frozen=True)
class Asked:
    """Words that searches begin with, not yet encoded.

    Attributes:
        start: chosen by the config.
        encoder: of the words.
        words: of each class that is searched for.
    """

    start: FromWords
    encoder: TextEncoder
    words: dict[str, str]

    @property
    def texts(self) -> list[str]:
        """The words without their classes."""
        return list(self.words.values())

    @property
    def recipe(self) -> tuple[Json, Recipe]:
        """The part of a run's recipe that words add: how searches begin, and the vectors of the words."""
        return settings(self.start), recipe_of_texts(self.encoder, self.texts)

    def encoded(self, store_dir: Path | str | None, say: Callable[[str], None]) -> Words:
        """The words with their vectors, kept below `store_dir` if there is one.

        Raises:
            ConfigError: if the encoder does not know a word.
        """
        encoder, texts = self.encoder, self.texts
        vectors = encoder(texts) if store_dir is None else text_vectors(encoder, texts, store_dir, say)
        if isinstance(encoder, Vocabulary):
            for text in texts:
                if encoder.nearest(text).similarity < 1:
                    say(encoder.note(text))
        pairs = zip(self.words.items(), vectors, strict=True)
        return Words({name: Text(words, vector) for (name, words), vector in pairs}, self.start.box)


def asked_by_words(
    config: DictConfig, prior: Prior | None, queries: Sequence[Query], collection: str, classes: Sequence[str]
) -> Asked | None:
    """Words that the searches of a `retrieve` config begin with; None where they begin with a box alone.

    Args:
        config: of the command.
        prior: of the loop, by which words rank.
        queries: the searches as they were drawn.
        collection: name of the images.
        classes: of the images.

    Raises:
        ConfigError: if there is no encoder or no prior that reads the words, or if words are given to an unknown class.
    """
    start: FromWords | None = build(config, "query")
    if start is None:
        if prior is not None and prior.source == "text":
            why, fix = "searches begin with a box, without words", "Choose query=text or query=both, or source=both."
            raise ConfigError("source", prior.source, why, fix, prior)
        return None
    if prior is None:
        why = "words rank by a prior, and there is none" if start.box else "before there are answers a prior ranks"
        raise ConfigError("prior", "none", f"searches begin with words: {why}", "Choose prior=similarity.")
    if prior.source == "example":
        why, fix = "searches begin with words, which it would not read", "Choose source=both or text, or query=box."
        raise ConfigError("source", prior.source, why, fix, prior)
    return Asked(start, encoder_of(config), start.texts(queries, collection, classes))
