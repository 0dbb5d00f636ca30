"""What can be refused before any long work is."""

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from seekloop.commands.indexing import check_index
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Collection, Criterion
from seekloop.contracts.records import PoolView
from seekloop.logs.wandb_log import resolve_mode
from seekloop.loop.engine import check_pool, check_transductive
from seekloop.protocol.queries import draw_queries
from seekloop.representations.local import Box
from seekloop.representations.representation import Representation

WHOLE_NUMBERS = tuple(f"loop.{name}" for name in ("queries", "negatives", "rounds", "budget"))
WHOLE_NUMBERS += ("metrics.clusters", "metrics.clusterings", "seed")


def check_numbers(config: DictConfig) -> None:
    """Refuse words where numbers are needed, and numbers without meaning.

    Raises:
        ConfigError: naming the key.
    """
    for key in WHOLE_NUMBERS:
        value = OmegaConf.select(config, key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(key, value, "it is no whole number", "Write it in digits, such as 10.")
    instantiate(config.engine)
    for key in ("metrics.clusters", "metrics.clusterings"):
        if OmegaConf.select(config, key) < 1:
            raise ConfigError(key, OmegaConf.select(config, key), "there would be nothing to count", "Use 1 or more.")


LEARNING_NUMBERS = ("learning.cycles", "learning.budget", "learning.initial", "seed", "split")
ACCELERATORS = ("auto", "cpu", "gpu")


def check_learning(config: DictConfig) -> None:
    """Refuse, in a config of `learn`, words where numbers are needed, and what is unknown.

    Raises:
        ConfigError: naming the key.
    """
    for key in LEARNING_NUMBERS:
        value = OmegaConf.select(config, key)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ConfigError(key, value, "it is no whole number", "Write it in digits, such as 10.")
    if config.accelerator not in ACCELERATORS:
        raise ConfigError("accelerator", config.accelerator, "it is unknown", f"Choose from {', '.join(ACCELERATORS)}.")
    resolve_mode(config.wandb.mode, {})


def check(config: DictConfig, collection: Collection, *, truth: bool) -> None:
    """Build every part once and draw the queries, as if all images were readable, so that mistakes show at once.

    Args:
        config: of `retrieve`.
        collection: the images.
        truth: whether regions are the annotated boxes.

    Raises:
        ConfigError: if a choice cannot work, or choices do not fit together.
        MissingExtraError: if a part needs a package that is not installed.
    """
    local = instantiate(config.local)
    representation = Representation(local, instantiate(config.fusion))
    check_upper_bound(isinstance(local, Box), local.uses_regions, truth)
    classifier, criterion = instantiate(config.classifier), instantiate(config.criterion)
    check_transductive(classifier, representation)
    check_criterion(criterion)
    check_index(config, classifier, criterion)
    instantiate(config.user, _partial_=True)(collection.annotations, config.seed, local.uses_boxes)
    resolve_mode(config.wandb.mode, {})
    images, loop = len(collection.paths), config.loop
    everything = torch.ones(images, dtype=torch.bool)
    asked = {"queries": loop.queries, "negatives": loop.negatives, "classes": loop.classes, "seed": config.seed}
    draw_queries(collection.annotations, everything, **asked, problems=collection.problems)
    check_pool(images - 1 - loop.negatives, loop.rounds, loop.budget)


def check_criterion(criterion: Criterion) -> None:
    """Let it choose once, to see whether what a search can show is enough for it.

    Raises:
        ConfigError: if it looks at what only classification has.
    """
    answers = torch.tensor([[1, -1, 0, 0]])
    criterion(PoolView(torch.zeros(1, 4), answers == 0, answers, lambda: torch.eye(4), 0), 1, [torch.Generator()])


def check_upper_bound(is_box: bool, uses_regions: bool, truth: bool) -> None:
    """Annotated boxes may serve as regions of the upper bound only, and the upper bound needs them.

    Raises:
        ConfigError: otherwise.
    """
    if is_box and not truth:
        why = "the upper bound takes the annotated boxes as regions, and these are others"
        raise ConfigError("local", "box", why, "Use representation=box, which sets regions=boxes too.")
    if uses_regions and not is_box and truth:
        why = "annotated boxes tell where objects are, which no method may know"
        raise ConfigError("regions", "boxes", why, "Use representation=box, the upper bound, or regions=grid or claid.")
