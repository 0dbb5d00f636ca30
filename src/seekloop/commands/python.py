"""The same composition from Python: the overrides of the command line, as strings."""

from collections.abc import Sequence

from seekloop.commands.compose import build_loop, resolve
from seekloop.commands.quoting import check_text
from seekloop.contracts.protocols import Descriptors
from seekloop.logs.console import Console
from seekloop.loop.engine import Loop
from seekloop.loop.session import Session
from seekloop.store.reader import Store, open_store


def extract(*overrides: str) -> Store:
    """Describe a collection, or find it described, and open the store.

    Args:
        overrides: as on the command line, such as "collection=folder", "collection.root=photographs", "grid=4x4".

    Raises:
        ConfigError: if the choices do not fit together.
    """
    from seekloop.commands.extract import prepare
    from seekloop.extraction.describe import ensure

    config = resolve("extract", overrides)
    check_text(config, overrides)
    extraction = prepare(config)
    folder = ensure(extraction, Console().say)
    return open_store(folder, config.grid if extraction.plan.manifest.grids is not None else None)


def build(descriptors: Descriptors, *overrides: str) -> Loop:
    """The loop that `seekloop retrieve` with these overrides would run, over these descriptors."""
    return build_loop(resolve("retrieve", overrides), descriptors)


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
    config = resolve("retrieve", overrides)
    loop = build_loop(config, descriptors)
    return Session.start(loop, image, box, negatives=config.loop.negatives, budget=config.loop.budget)
