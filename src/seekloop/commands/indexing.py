"""From a config to the index that its rounds go through, if any."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seekloop.contracts.protocols import Classifier, Criterion, Descriptors
from seekloop.contracts.recipe import Recipe
from seekloop.loop.shortlist import Shortlist, ShortlistSizes, require_by_score, require_linear
from seekloop.loop.vectors import ClassifiedVectors
from seekloop.representations.representation import Representation
from seekloop.store.index import load_faiss, open_index
from seekloop.store.index_settings import IndexSettings
from seekloop.store.reader import Store


def index_settings(config: DictConfig) -> tuple[IndexSettings, ShortlistSizes] | tuple[None, None]:
    """Settings of the index and of its shortlists; none where no index is used.

    Raises:
        ConfigError: if it, or one of its numbers, has no meaning.
    """
    if config.store.index is None:
        return None, None
    given: Any = OmegaConf.to_container(config.store.faiss, resolve=True)
    sizes = ShortlistSizes(**{one.name: given.pop(one.name) for one in fields(ShortlistSizes)})
    return IndexSettings(config.store.index, **given), sizes


def check_index(index: IndexSettings | None, classifier: Classifier, criterion: Criterion) -> None:
    """Refuse what no index can serve, before any long work.

    Raises:
        ConfigError: if the classifier has no hyperplane, or the criterion looks at more than scores.
        MissingExtraError: if faiss is not installed.
    """
    if index is None:
        return
    load_faiss()
    require_by_score(criterion)
    require_linear(classifier)


def build_shortlist(
    settings: IndexSettings | None,
    sizes: ShortlistSizes | None,
    descriptors: Descriptors,
    representation: Representation,
    criterion: Criterion,
    say: Callable[[str], None],
) -> Shortlist | None:
    """The shortlist of a config, its index loaded or built; None where every round scores all images."""
    if settings is None or sizes is None:
        return None
    require_by_score(criterion)
    folder = descriptors.folder if isinstance(descriptors, Store) else None
    recipe = descriptors.recipe if isinstance(descriptors, Store) else Recipe("arrays", {})
    index = open_index(ClassifiedVectors(descriptors, representation, recipe), settings, folder, say)
    return Shortlist(index, criterion, candidates=sizes.candidates, limit=float(sizes.limit))
