"""Commands whose config Hydra composes: once or as a sweep, and which of their errors a person can read."""

import os
import re
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from seekloop.artifacts.folder import BusyError
from seekloop.commands import sweeps
from seekloop.commands.cli import COMPOSED, command, explaining
from seekloop.commands.configs import conf_dir
from seekloop.commands.groups import check_keys
from seekloop.commands.parts import located
from seekloop.commands.quoting import MULTIRUN, check_text, quoted, quoting_hints
from seekloop.contracts.errors import ConfigError, MissingExtraError, StoreError

PRINTING = frozenset({"-c", "--cfg", "-i", "--info"})  # Hydra's
HELP = frozenset({"-h", "--help"})
PAIR = ("backbone=tiny_clip", "text=tiny_clip")  # for words, where none is chosen
EXPLAINED = (MissingExtraError, StoreError, BusyError, OSError, ValueError)


def run_composed(name: str, overrides: Sequence[str]) -> None:
    """Let Hydra compose the command's config from `overrides`, once or as a multirun."""
    from seekloop.commands import groups

    overrides = groups.by_groups(overrides)
    overrides = with_words(overrides) if name == "search" else overrides
    overrides = with_pair(overrides) if name in ("search", "retrieve") else overrides
    try:
        overrides = begun(overrides) if name == "replay" else overrides
        groups.check_groups(name, overrides)
    except (ConfigError, StoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)
    printing = next((word for word in overrides if word.partition("=")[0] in PRINTING), None)
    if printing and MULTIRUN & set(overrides):
        fix = "leave out -m, and give one value to each key"
        print(f"error: {printing} prints the config of one run: {fix}.", file=sys.stderr)
        sys.exit(1)
    helping = bool(HELP & set(overrides))
    sys.argv = [f"seekloop {name}", *in_order([word for word in overrides if word not in HELP])]
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # Ray would fold lines of different runs into one

    def task(config: DictConfig) -> float | None:
        if helping:
            return print(groups.help_of(name, config))
        return composed(name, config)

    try:
        hydra.main(config_path=str(conf_dir()), config_name=name, version_base="1.3")(task)()
    except SystemExit as ending:
        if not ending.code:
            raise
        hint = groups.known_keys(name, overrides, ending.__context__)
        for line in [hint] if hint else quoting_hints(overrides):
            print(line, file=sys.stderr)
        raise


def begun(overrides: Sequence[str]) -> list[str]:
    """The arguments of a replay, with those that its session began with."""
    from seekloop.commands.replay import with_session

    return with_session(overrides)


def with_words(overrides: Sequence[str]) -> list[str]:
    """The arguments of a search whose first one may be the words to search for: what holds no `=` and is no option.

    Example:
        >>> with_words(["a red bus", "text=openclip"])
        ['search.words="a red bus"', 'text=openclip']
    """
    first, *rest = [*overrides, *([] if overrides else ["-"])]
    plain = "=" not in first and not re.match(r"--?[a-z-]+$|-$|~", first)
    return [f"search.words={quoted(first)}", *rest] if plain else list(overrides)


def with_pair(overrides: Sequence[str]) -> list[str]:
    """The arguments of searches; where they begin with words and no networks are chosen, the built-in pair, and a line.

    Of the pair one is enough: it chooses the other.

    Example:
        >>> with_pair(["search.words=seven", "text=openclip"])
        ['search.words=seven', 'text=openclip']
    """
    chosen = {key: value for key, _, value in (word.lstrip("+").partition("=") for word in overrides)}
    by_words = "search.words" in chosen or {"text", "both"} & set(chosen.get("query", "").split(","))
    added = [one for one in PAIR if one.partition("=")[0] not in chosen]
    others = [one for one in PAIR if one.partition("=")[0] in chosen and one not in overrides]
    if not by_words or not added or others or "experiment" in chosen or HELP & set(overrides):
        return list(overrides)
    print(f"chosen for the words: {' '.join(added)}; the pair knows words about digits only")
    behind = 1 + max(place for place, word in enumerate(overrides) if "=" in word and not word.startswith("-"))
    return [*overrides[:behind], *added, *overrides[behind:]]  # Hydra refuses overrides behind its options


def in_order(overrides: Sequence[str]) -> list[str]:
    """The arguments with -m first: Hydra refuses it between two overrides.

    Example:
        >>> in_order(["seed=0", "-m", "loop.budget=1,2"])
        ['-m', 'seed=0', 'loop.budget=1,2']
    """
    flags = [word for word in overrides if word in MULTIRUN]
    return [*flags[:1], *(word for word in overrides if word not in MULTIRUN)]


def composed(name: str, config: DictConfig) -> float | None:
    """Run a composed command. In a sweep, a run that cannot work is reported and the sweep goes on to its end.

    Raises:
        SweepRunError: in a sweep, for what a person can put right. Every launcher lets the other runs finish; the
            command ends with exit code 1.
    """
    overrides = [str(word) for word in OmegaConf.to_container(HydraConfig.get().overrides.task, resolve=False) or ()]

    def checked() -> float | None:
        check_text(config, overrides)
        check_keys(name, config)
        try:
            return command(COMPOSED, name)(config)
        except ConfigError as error:
            raise located(error, config) from error

    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return explaining(checked)
    try:
        with sweeps.limited(sweeps.share()):
            return checked()
    except Exception as error:
        shown = explained(error)
        sweeps.failed(config, shown or error)
        if shown is None:
            raise
        print(f"error: {' '.join(overrides)}: {shown}", file=sys.stderr)
        raise SweepRunError(f"error: {shown}") from error


class SweepRunError(CompactHydraException):
    """A run of a sweep that could not work; Hydra shows the message without a traceback."""


def explained(error: Exception) -> Exception | None:
    """The error, if its message says it all."""
    return error if isinstance(error, EXPLAINED) else None
