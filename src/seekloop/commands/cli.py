"""The command line: which command, its arguments, and errors that a person can read."""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from seekloop.artifacts.folder import BusyError
from seekloop.commands import sweeps
from seekloop.commands.configs import conf_dir
from seekloop.commands.hints import known_keys
from seekloop.commands.quoting import MULTIRUN, check_text, quoting_hints
from seekloop.contracts.errors import MissingExtraError, StoreError

# Where each command is; imported when it is called, so that the others are quick to start.
COMPOSED = {name: f"seekloop.commands.{name}" for name in ("check", "extract", "retrieve", "learn", "search", "detect")}
PLAIN = {name: "seekloop.commands.reports" for name in ("status", "report")}
PLAIN |= {"agreement": "seekloop.commands.agreement"}
EXPLAINED = (MissingExtraError, StoreError, BusyError, OSError, ValueError)

USAGE = """seekloop finds every image that shows an object, with a person in the loop.

  seekloop check    [key=value ...]            validate a collection: files, sizes, boxes, copies; what a run would cost
  seekloop extract  [key=value ...]            describe a collection's images once, into a store
  seekloop retrieve [key=value ...] [-m]       simulated searches; extracts what is missing; -m sweeps
  seekloop learn    [key=value ...] [-m]       deep active learning on a pool of small images; -m sweeps
  seekloop search   [key=value ...] [-m]       instance search: query boxes against the regions of a collection
  seekloop detect   [key=value ...] [-m]       class-agnostic regions, drawn and held against annotated boxes
  seekloop status   <folder>                   runs below a folder: done, running, failed, interrupted, missing
  seekloop report   <folder> [by=key,key] [compare=key:value,value] [wandb=mode]
                                               tables and plots of the finished runs below a folder
  seekloop agreement <run> <run> ... [cycle=1] [ranks=100]
                                               learning runs against the first one: pseudo-labels, ranks of criteria

  seekloop retrieve --help                     every key, with its choices; and so for extract, learn, search, detect
"""


def run(arguments: Sequence[str]) -> None:
    """Run one command line; exits with 0, 1 on an error, 2 on a command that does not exist, 130 at Ctrl-C."""
    try:
        _run(arguments)
    except KeyboardInterrupt as stop:
        told = f"interrupted: {stop}; the same command goes on from there" if str(stop) else "interrupted"
        print(told, file=sys.stderr)
        sys.exit(130)


def _run(arguments: Sequence[str]) -> None:
    if not arguments or arguments[0] in {"-h", "--help"}:
        print(USAGE)
        return
    name, *rest = arguments
    if name in PLAIN:
        _explaining(lambda: _command(PLAIN, name)(rest))
    elif name in COMPOSED:
        _hydra(name, rest)
    else:
        print(f"seekloop has no command {name!r}.\n\n{USAGE}", file=sys.stderr)
        sys.exit(2)


def _command(homes: Mapping[str, str], name: str) -> Callable[..., float | None]:
    return getattr(importlib.import_module(homes[name]), name)


def _hydra(name: str, overrides: Sequence[str]) -> None:
    """Let Hydra compose the command's config from `overrides`, once or as a multirun."""
    sys.argv = [f"seekloop {name}", *in_order(overrides)]
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # Ray would fold lines of different runs into one

    def task(config: DictConfig) -> float | None:
        return composed(name, config)

    try:
        hydra.main(config_path=str(conf_dir()), config_name=name, version_base="1.3")(task)()
    except SystemExit as ending:
        hint = known_keys(name, overrides, ending.__context__)
        for line in [hint] if hint else quoting_hints(overrides):
            print(line, file=sys.stderr)
        raise


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

    def command() -> float | None:
        check_text(config, overrides)
        return _command(COMPOSED, name)(config)

    if HydraConfig.get().mode is not RunMode.MULTIRUN:
        return _explaining(command)
    try:
        with sweeps.limited(sweeps.share()):
            return command()
    except Exception as error:
        told = explained(error)
        sweeps.failed(config, told or error)
        if told is None:
            raise
        print(f"error: {' '.join(overrides)}: {told}", file=sys.stderr)
        raise SweepRunError(f"error: {told}") from error


class SweepRunError(CompactHydraException):
    """A run of a sweep that could not work; Hydra shows the message without a traceback."""


def explained(error: Exception) -> Exception | None:
    """The error whose message says it all, if this is one: itself, or what a part raised while it was built."""
    if isinstance(error, InstantiationException) and isinstance(error.__cause__, (*EXPLAINED, TypeError)):
        return error.__cause__
    return error if isinstance(error, EXPLAINED) else None


def _explaining(command: Callable[[], float | None]) -> float | None:
    try:
        return command()
    except Exception as error:
        told = explained(error)
        if told is None or os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {told}", file=sys.stderr)
        sys.exit(1)
