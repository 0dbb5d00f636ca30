"""From overrides to a resolved config, and from a config to parts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from seekloop.commands.configs import conf_dir
from seekloop.commands.indexing import build_shortlist, index_settings
from seekloop.commands.parts import build
from seekloop.contracts.protocols import Classifier, Criterion, Descriptors
from seekloop.logs.console import Console
from seekloop.logs.names import representation_name
from seekloop.loop.engine import Loop
from seekloop.loop.placement import Engine
from seekloop.loop.shortlist import ShortlistSizes
from seekloop.representations.representation import Representation
from seekloop.store.index_settings import IndexSettings


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
    index: IndexSettings | None
    shortlist: ShortlistSizes | None

    def loop(self, descriptors: Descriptors, seed: int, say: Callable[[str], None]) -> Loop:
        """The loop over these descriptors; its index, if any, is loaded or built."""
        return Loop(
            descriptors,
            self.representation,
            self.classifier,
            self.criterion,
            seed=seed,
            engine=self.engine,
            shortlist=build_shortlist(
                self.index, self.shortlist, descriptors, self.representation, self.criterion, say
            ),
        )


def loop_parts(config: DictConfig) -> LoopParts:
    """The parts of the loop that a `retrieve` config describes.

    Raises:
        ConfigError: if a setting cannot work.
    """
    return LoopParts(
        *(build(config, path) for path in ("representation", "classifier", "criterion", "engine")),
        *index_settings(config),
    )


def build_loop(config: DictConfig, descriptors: Descriptors) -> Loop:
    """The loop that a `retrieve` config describes, over these descriptors."""
    return loop_parts(config).loop(descriptors, config.seed, Console().say)
