"""The choice `whitening=`: what maps the descriptors of `search` and `retrieve` before they are compared."""

from omegaconf import DictConfig, OmegaConf

from seekloop.commands.compose import choices
from seekloop.commands.parts import build
from seekloop.contracts.errors import ConfigError
from seekloop.extraction.plan import Extraction
from seekloop.extraction.whitening import Learner, WhiteningStage


def whitening_of(config: DictConfig, extraction: Extraction, by_region: bool) -> WhiteningStage | None:
    """The stage that learns the whitening of a config, whose teacher is looked at now; None for `whitening=none`.

    Args:
        config: of a search.
        extraction: how the searched images are described.
        by_region: whether their regions are searched.

    Raises:
        ConfigError: if nothing teaches it, or descriptors of another network do.
    """
    learner: Learner | None = build(config, "whitening")
    if learner is None:
        return None
    stage = WhiteningStage(learner, extraction, by_region)
    _ = stage.recipe  # refused before any long work
    return stage


def refuse_whitening(config: DictConfig, why: str) -> None:
    """Refuse a whitening where descriptors have to stay as they are.

    Raises:
        ConfigError: unless `whitening=none`.
    """
    if OmegaConf.select(config, "whitening._target_") is not None:
        raise ConfigError("whitening", choices().get("whitening"), why, "Use whitening=none.")
