"""Checks of parts and configs before any long work."""

import torch
from omegaconf import DictConfig, OmegaConf

from seekloop.commands.compose import LoopParts
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.records import CandidateView
from seekloop.loop.engine import check_transductive
from seekloop.loop.questions import choose
from seekloop.loop.shortlist import BLENDED, require_by_score, require_linear
from seekloop.representations.local import Box
from seekloop.store.index import load_faiss

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


def check(parts: LoopParts, *, truth: bool) -> None:
    """Refuse parts that do not fit together, before any long work.

    Args:
        parts: of the loop.
        truth: whether regions are the annotated boxes.

    Raises:
        ConfigError: if they do not.
        MissingExtraError: if a part needs a package that is not installed.
    """
    local = parts.representation.local
    check_upper_bound(isinstance(local, Box), local.uses_regions, truth)
    check_transductive(parts.classifier, parts.representation)
    check_chooses(parts.criterion)
    if parts.prior is not None:
        require_linear(parts.classifier, BLENDED)
    if parts.index is not None:
        load_faiss()
        require_by_score(parts.criterion)
        require_linear(parts.classifier)


def check_chooses(criterion: Criterion) -> None:
    """Let a criterion of a search choose once in the small, where a fault costs nothing yet.

    Raises:
        ConfigError: as of the criterion.
    """
    answers = torch.tensor([[1, -1, 0, 0, 0, 0, 0, 0]])
    rows, normal = torch.eye(8), torch.linspace(1, -1, 8)
    scores = normal[None]
    view = CandidateView(scores, answers == 0, answers, lambda: rows, 0, rescore=lambda _, vectors: vectors @ normal)
    try:
        choose(criterion, view, 3, [torch.Generator()])
    except ConfigError as error:
        if error.key != "criterion":
            raise
        raise ConfigError("_target_", error.got, error.why, error.fix, owner=criterion) from error


def check_upper_bound(is_box: bool, uses_regions: bool, truth: bool) -> None:
    """Annotated boxes may serve as regions of the upper bound only, and the upper bound needs them.

    Raises:
        ConfigError: otherwise.
    """
    if is_box and not truth:
        why = "the upper bound takes the annotated boxes as regions, and these are others"
        raise ConfigError("representation/local", "box", why, "Use representation=box, which sets regions=boxes too.")
    if uses_regions and not is_box and truth:
        why = "annotated boxes tell where objects are, which no method may know"
        raise ConfigError("regions", "boxes", why, "Use representation=box, the upper bound, or regions=grid or claid.")
