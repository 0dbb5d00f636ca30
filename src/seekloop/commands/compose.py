"""From overrides to a resolved config, and from a config to parts."""

from collections.abc import Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from seekloop.commands.configs import conf_dir
from seekloop.commands.indexing import build_shortlist
from seekloop.contracts.protocols import Descriptors
from seekloop.logs.console import Console
from seekloop.loop.engine import Loop
from seekloop.representations.representation import Representation


def resolve(command: str, overrides: Sequence[str]) -> DictConfig:
    """The config of a command with these overrides, as its command line would compose it."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return compose(command, overrides=list(overrides))


def choices() -> dict[str, str]:
    """Which entry of each group was chosen, such as {"local": "all", "criterion": "uncertainty"}."""
    chosen: Mapping[str, Any] = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {group: str(name) for group, name in chosen.items() if "hydra/" not in group and name is not None}


def plain(config: DictConfig) -> dict[str, Any]:
    """The config with everything resolved, as ordinary dictionaries and lists, without Hydra's own part."""
    resolved = OmegaConf.to_container(config, resolve=True)
    if not isinstance(resolved, dict):
        raise TypeError(f"a config is a mapping, not {type(resolved).__name__}")
    return {str(key): value for key, value in resolved.items()}


def build_loop(config: DictConfig, descriptors: Descriptors) -> Loop:
    """The loop that a `retrieve` config describes, over these descriptors."""
    representation = Representation(instantiate(config.local), instantiate(config.fusion))
    criterion = instantiate(config.criterion)
    return Loop(
        descriptors,
        representation,
        instantiate(config.classifier),
        criterion,
        seed=config.seed,
        engine=instantiate(config.engine),
        shortlist=build_shortlist(config, descriptors, representation, criterion, Console().say),
    )
