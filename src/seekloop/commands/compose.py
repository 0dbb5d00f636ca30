"""From overrides to a resolved config, and from a config to parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from seekloop.commands.configs import conf_dir
from seekloop.commands.parts import build
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Classifier, Criterion, Descriptors
from seekloop.contracts.ranking import Reranker
from seekloop.contracts.recipe import Recipe
from seekloop.descriptors.whitening import Whitened
from seekloop.logs.console import Console
from seekloop.logs.names import representation_name
from seekloop.loop.engine import Loop
from seekloop.loop.placement import Engine
from seekloop.loop.prior import Prior
from seekloop.loop.shortlist import Shortlist, ShortlistSizes, require_by_score
from seekloop.loop.vectors import ClassifiedVectors, recipe_of
from seekloop.representations.representation import Representation
from seekloop.store.index import open_index
from seekloop.store.index_settings import BUILT_BY, IndexSettings
from seekloop.store.reader import Store


def resolve(command: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command with these overrides, as its command line would compose it."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(command, overrides=list(overrides))


def choices() -> dict[str, str]:
    """The entry chosen of each group, such as {"criterion": "uncertainty"}; local strategy and fusion by short names.

    A representation is named after the pair that it was built of, whichever preset the pair began as.
    """
    chosen: Mapping[str, Any] = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    named = {group: str(name) for group, name in chosen.items() if "hydra/" not in group and name is not None}
    if "representation" in named:
        local, fusion = (named.pop(f"representation/{part}") for part in ("local", "fusion"))
        named |= {"local": local, "fusion": fusion, "representation": representation_name(local, fusion)}
    return named


OmegaConf.register_new_resolver("choice", lambda group: choices().get(group, ""), replace=True)


def plain(config: DictConfig) -> dict[str, Any]:
    """The config with everything resolved, as ordinary dictionaries and lists, without Hydra's own part."""
    resolved = OmegaConf.to_container(config, resolve=True)
    if not isinstance(resolved, dict):
        raise TypeError(f"a config is a mapping, not {type(resolved).__name__}")
    return {str(key): value for key, value in resolved.items()}


@dataclass(frozen=True)
class LoopParts:
    """The parts of a loop, built from a config; descriptors are not among them."""

    representation: Representation
    classifier: Classifier
    criterion: Criterion
    engine: Engine
    prior: Prior | None
    index: IndexSettings | None
    shortlist: ShortlistSizes

    def loop(
        self, descriptors: Descriptors, seed: int, say: Callable[[str], None], reranker: Reranker | None = None
    ) -> Loop:
        """The loop over these descriptors; its index, if any, is loaded or built."""
        shortlist = None
        if self.index is not None:
            require_by_score(self.criterion)
            stored = descriptors.descriptors if isinstance(descriptors, Whitened) else descriptors
            folder = stored.folder if isinstance(stored, Store) else None
            recipe = recipe_of(descriptors, Recipe("arrays", {}))
            vectors = ClassifiedVectors(descriptors, self.representation, recipe)
            shortlist = Shortlist(open_index(vectors, self.index, folder, say), self.criterion, self.shortlist)
        parts = (self.representation, self.classifier, self.criterion)
        return Loop(
            descriptors,
            *parts,
            seed=seed,
            engine=self.engine,
            shortlist=shortlist,
            prior=self.prior,
            reranker=reranker,
        )


def loop_parts(config: DictConfig) -> LoopParts:
    """The parts of the loop that a `retrieve` config describes.

    Raises:
        ConfigError: if a setting cannot work.
    """
    given = dict(plain(config)["store"]["faiss"])
    sizes = ShortlistSizes(**{one.name: given.pop(one.name) for one in fields(ShortlistSizes)})
    if config.store.index not in (None, *BUILT_BY):
        raise ConfigError("store.index", config.store.index, "it is unknown", f"Valid: null, {', '.join(BUILT_BY)}.")
    index = None if config.store.index is None else IndexSettings(config.store.index, **given)
    parts = {name: build(config, name) for name in ("representation", "classifier", "criterion", "engine", "prior")}
    return LoopParts(**parts, index=index, shortlist=sizes)


def build_loop(config: DictConfig, descriptors: Descriptors) -> Loop:
    """Build the loop that a `retrieve` config describes, over these descriptors."""
    return loop_parts(config).loop(descriptors, config.seed, Console().say)
