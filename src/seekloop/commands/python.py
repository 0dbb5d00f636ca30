"""The same composition from Python: the overrides of the command line, as strings."""

from collections.abc import Sequence
from typing import Any

from omegaconf import DictConfig

from seekloop.commands import compose, parts
from seekloop.commands.groups import check_groups, check_keys, groups_of
from seekloop.commands.quoting import check_text
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Descriptors
from seekloop.logs.console import Console
from seekloop.loop.engine import Loop
from seekloop.loop.session import Session
from seekloop.store.reader import Store, open_store

COMMANDS = ("retrieve", "learn", "search", "detect")


def extract(*overrides: str) -> Store:
    """Describe a collection, or find it described, and open the store.

    Args:
        overrides: as on the command line, such as "collection=folder", "collection.root=photographs", "grid=4x4".

    Raises:
        ConfigError: if the choices do not fit together.
    """
    from seekloop.commands.extract import prepare
    from seekloop.extraction.describe import ensure

    config = _config("extract", overrides)
    extraction = prepare(config)
    folder = ensure(extraction, Console().say)
    return open_store(folder, config.grid if extraction.plan.manifest.grids is not None else None)


def build(*overrides: str) -> Any:  # noqa: ANN401 - whatever the first override names
    """Build one part, with its defaults where nothing else is said: `build("criterion=typiclust")`.

    Args:
        overrides: the choice of a group, then keys, such as "criterion=typiclust", "criterion.neighbours=5".

    Raises:
        ConfigError: if no group is chosen, or the part cannot be built.
    """
    group = overrides[0].partition("=")[0] if overrides else ""
    command = next((name for name in COMMANDS if group in groups_of(name)), None)
    if command is None:
        known = ", ".join(dict.fromkeys(name for command in COMMANDS for name in groups_of(command)))
        raise ConfigError("build", group, "it is no group of parts", f"Begin with group=entry. Groups: {known}.")
    return parts.build(_config(command, overrides), group.replace("/", "."))


def build_loop(descriptors: Descriptors, *overrides: str) -> Loop:
    """Build the loop that `seekloop retrieve` with these overrides would run, over these descriptors."""
    return compose.build_loop(_config("retrieve", overrides), descriptors)


def session(
    descriptors: Descriptors, image: int, box: Sequence[float] | None, overrides: Sequence[str] = ()
) -> Session:
    """Start a person's search from one image, with the representation, classifier and criterion of a config.

    Args:
        descriptors: an open store.
        image: position of the first image.
        box: where the object is, (x0, y0, x1, y1) in [0, 1]; None: the whole image.
        overrides: as on the command line, such as "representation=gl_concat_all", "loop.budget=6".
    """
    config = _config("retrieve", overrides)
    loop = compose.build_loop(config, descriptors)
    return Session.start(loop, image, box, negatives=config.loop.negatives, budget=config.loop.budget)


def _config(command: str, overrides: Sequence[str]) -> DictConfig:
    """Compose a command's config, and refuse what its command line would refuse."""
    check_groups(command, overrides)
    config = compose.resolve(command, overrides)
    check_text(config, overrides)
    check_keys(command, config)
    return config
