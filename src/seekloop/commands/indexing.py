"""From a config to the index that its rounds go through, if any."""

from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf

from seekloop.contracts.grids import write_grid
from seekloop.contracts.protocols import Classifier, Criterion, Descriptors, Transductive
from seekloop.loop.shortlist import Shortlist, check_sizes, require_by_score, require_linear
from seekloop.loop.vectors import ClassifiedVectors
from seekloop.representations.representation import Representation
from seekloop.store.index import load_faiss, open_index
from seekloop.store.index_settings import IndexSettings
from seekloop.store.reader import Store

SHORTLIST = ("candidates", "limit")  # of store.faiss; the rest is the index's


def index_settings(config: DictConfig) -> IndexSettings | None:
    """Which index, or None.

    Raises:
        ConfigError: if it, or one of its numbers, has no meaning.
    """
    if config.store.index is None:
        return None
    given: Any = OmegaConf.to_container(config.store.faiss, resolve=True)
    check_sizes(*(given.pop(name) for name in SHORTLIST))
    return IndexSettings(config.store.index, **given)


def index_identity(config: DictConfig) -> dict[str, Any]:
    """What of an index a run's result depends on: nothing where there is none."""
    settings = index_settings(config)
    if settings is None:
        return {}
    return {"index": {**settings.identity(), **{name: config.store.faiss[name] for name in SHORTLIST}}}


def check_index(config: DictConfig, classifier: Classifier | Transductive, criterion: Criterion) -> None:
    """Refuse what no index can serve, before any long work.

    Raises:
        ConfigError: if the classifier has no hyperplane, or the criterion looks at more than scores.
        MissingExtraError: if faiss is not installed.
    """
    if index_settings(config) is None:
        return
    load_faiss()
    require_by_score(criterion)
    require_linear(classifier)


def build_shortlist(
    config: DictConfig,
    descriptors: Descriptors,
    representation: Representation,
    criterion: Criterion,
    say: Callable[[str], None],
) -> Shortlist | None:
    """The shortlist of a config, its index loaded or built; None where every round scores all images."""
    settings = index_settings(config)
    if settings is None:
        return None
    require_by_score(criterion)
    folder, identity = (descriptors.folder, _identity(descriptors)) if isinstance(descriptors, Store) else (None, {})
    index = open_index(ClassifiedVectors(descriptors, representation, identity), settings, folder, say)
    sizes = config.store.faiss
    return Shortlist(index, criterion, candidates=sizes.candidates, limit=float(sizes.limit))


def _identity(store: Store) -> dict[str, Any]:
    return {"store": store.manifest.key, "grid": None if store.grids is None else write_grid(store.grids)}
