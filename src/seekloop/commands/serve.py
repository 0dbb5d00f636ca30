"""`seekloop serve`: the page where a person finds every photograph that shows something."""

import contextlib
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import hydra
import psutil
from annotated_types import Ge, Interval
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from seekloop.backbones.weights import hub
from seekloop.commands import compose
from seekloop.commands.checks import check_chooses
from seekloop.commands.compose import choices
from seekloop.commands.extract import prepare, report_problems
from seekloop.commands.parts import build
from seekloop.commands.task import section
from seekloop.commands.texts import check_space, encoder_of
from seekloop.contracts.declared import Count, component
from seekloop.contracts.errors import ConfigError, require
from seekloop.contracts.protocols import Collection, Criterion, Descriptors
from seekloop.contracts.records import Text
from seekloop.extraction.describe import ensure
from seekloop.extraction.plan import Extraction
from seekloop.images.files import FileCollection
from seekloop.images.part import part
from seekloop.logs.console import Console
from seekloop.loop.engine import Loop
from seekloop.loop.items import Images
from seekloop.loop.session import Session
from seekloop.matching.expression import joined, parse
from seekloop.store.manifest import read_manifest
from seekloop.store.reader import Store, open_store

if TYPE_CHECKING:
    from seekloop.app.indexing import IndexedStore
    from seekloop.app.library import Parts
    from seekloop.app.models import Status
    from seekloop.app.served import Served

OTHERS = ("top", "uncertainty", "random")  # criteria that a search may change to, beside the config's own
LABELS = {
    "pf_mmr": "teach me",
    "top": "show me more",
    "uncertainty": "what it is least sure of",
    "random": "check the rest at random",
}
ANY = ("0.0.0.0", "::")  # addresses that stand for all of a machine's


@component
class Settings:
    """Numbers of the server.

    Args:
        host: address to listen on; others than the machine's own need the token.
        port: port to listen on; 0: a free one.
        token: word that every request needs; None: none on the machine's own address, else a random one.
        open: whether the page is opened in the browser.
        links: whether photographs outside the collection's folder, to which links in it lead, are searched and shown.
        upload_megabytes: largest file that is taken as an example.
        upload_megapixels: largest picture that is taken.

    Raises:
        ConfigError: if an argument is out of its range.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Interval(ge=0, le=65535)] = 7332
    token: str | None = None
    open: bool = True
    links: bool = False
    upload_megabytes: Count = 64
    upload_megapixels: Count = 128


@component
class Asking:
    """Numbers of every search.

    Args:
        negatives: random images that a search presumes not to show the object, and never asks about.
        budget: images of a question.

    Raises:
        ConfigError: if an argument is out of its range.
    """

    negatives: Annotated[int, Ge(0)] = 0
    budget: Count = 10


def serve(config: DictConfig) -> None:
    """Serve the page until a person stops it.

    Raises:
        ConfigError: if the choices do not fit together.
        MissingExtraError: if the extra `app` is not installed.
    """
    for module in ("fastapi", "uvicorn"):
        require(module, "app")
    from seekloop.app.safety import is_loopback

    chosen, asking, console = section(config, "serve", Settings), section(config, "loop", Asking), Console()
    token = chosen.token or ("" if is_loopback(chosen.host) else secrets.token_urlsafe(18))
    weights = hub.fetching(choices().get("backbone", ""))
    with hub.offline(weights), listening(chosen.host, chosen.port) as listener:
        page = Page(config, chosen, asking, weights, console.say)
        page.indexing.start()
        address = (
            f"http://{shown_host(chosen.host)}:{listener.getsockname()[1]}/{f'?token={quote(token)}' if token else ''}"
        )
        console.say(f"open {address} (Ctrl-C ends it; every answer is kept)")
        if chosen.open:
            threading.Timer(1.0, webbrowser.open, [address]).start()
        try:
            run(page.served, listener, hosts_of(chosen.host), token)
        finally:
            page.indexing.stop()
            page.served.searches.close()


class Page:
    """Everything behind the page, built from a config.

    Args:
        config: of `seekloop serve`.
        chosen: numbers of the server.
        asking: numbers of every search.
        weights: the command that fetches the backbone's weights, which the page never does.
        say: where messages for people go.
    """

    def __init__(
        self, config: DictConfig, chosen: Settings, asking: Asking, weights: str, say: Callable[[str], None]
    ) -> None:
        from seekloop.app.events import News
        from seekloop.app.indexing import Indexing
        from seekloop.app.library import Library
        from seekloop.app.pictures import Pictures
        from seekloop.app.searches import Searches
        from seekloop.app.served import Served
        from seekloop.app.uploads import Uploads
        from seekloop.commands.indexing import collection_of, program
        from seekloop.loop.sessions import Sessions

        self.config, self.say = config, say
        self.extraction = prepare(config, collection_of(config))
        report_problems(self.extraction.collection.problems, Console())
        self.library, news = Library(parts_of(config, asking, self.extraction, say)), News()
        folder = Path(config.store_dir) / "page"
        limits = chosen.upload_megabytes * 1_000_000, chosen.upload_megapixels * 1_000_000
        uploads = Uploads(folder / "uploads", *limits)

        def changed(id: str, version: int) -> None:
            news.tell({"kind": "search", "id": id, "version": version})

        def progressed(_: object) -> None:
            news.tell({"kind": "indexing", **self.status().collection.model_dump()})

        pictures = Pictures(self.library, uploads, folder)
        searches = Searches(
            Sessions(config.sessions), self.library, uploads, changed, lambda names: pictures.warm(names)
        )
        self.served = Served(self.library, searches, pictures, news, self.status, Path(config.exports_dir))
        self.indexing = Indexing(program(config, weights), self.described, progressed, say)

    def described(self, store: "IndexedStore") -> None:
        """Let searches go on over the images of a store."""
        from seekloop.app.library import Indexed

        collection = self.collection(store)
        descriptors = opened(store.folder, self.config.grid)
        self.library.grow(Indexed(collection, descriptors, Images.of(collection)))

    def collection(self, store: "IndexedStore") -> Collection:
        """The images of a store: all of the collection as it is now, or a part of it."""
        from seekloop.commands.indexing import collection_of

        known = self.extraction.collection
        if tuple(known.paths) == store.paths:
            return known
        fresh = collection_of(self.config)
        if tuple(fresh.paths) == store.paths:
            return fresh
        position = {path: image for image, path in enumerate(fresh.paths)}
        if not isinstance(fresh, FileCollection) or not set(store.paths) <= set(position):
            raise ConfigError("collection", fresh.name, "its files changed while they were described", "Wait a moment.")
        return part(fresh, [position[path] for path in store.paths])

    def status(self) -> "Status":
        """State of the server, for its page."""
        from seekloop.app import models

        state, collection = self.indexing.state, self.extraction.collection
        ready = self.library.indexed if self.library.ready else None
        backbone = choices().get("backbone", self.extraction.backbone.name)
        text = choices().get("text", "none")
        return models.Status(
            collection=models.CollectionOut(
                name=collection.root.name if isinstance(collection, FileCollection) else collection.name,
                root=str(collection.root) if isinstance(collection, FileCollection) else "",
                images=max(state.total, len(collection.paths)),
                indexed=0 if ready is None else ready.images.count,
                unreadable=0 if ready is None else int((~ready.descriptors.readable).sum()),
                indexing=models.Indexing.model_validate(state),
            ),
            backbone=models.BackboneOut(
                name=backbone, first_steps=backbone in hub.FIRST_STEPS, advice=hub.advice(backbone)
            ),
            words=self.library.parts.encode is not None,
            words_about="It knows words about digits, one or two of them." if text == "tiny_clip" else "",
            criteria=[
                models.CriterionOut(name=name, label=LABELS.get(name, name)) for name in self.library.parts.criteria
            ],
            version=version("seekloop"),
        )


def parts_of(config: DictConfig, asking: Asking, extraction: Extraction, say: Callable[[str], None]) -> "Parts":
    """The parts of every search of a page."""
    from seekloop.app.library import Parts
    from seekloop.app.models import Finished
    from seekloop.commands.replay import leave_run

    chosen = compose.loop_parts(config)
    check_chooses(chosen.criterion)
    own = choices().get("criterion", "own")
    criteria: dict[str, Criterion] = {own: chosen.criterion}
    criteria |= {name: criterion(name) for name in OTHERS if name != own}

    def loop(descriptors: Descriptors) -> Loop:
        return chosen.loop(descriptors, config.seed, say)

    def describe(collection: Collection) -> Descriptors:
        return opened(ensure(replace(extraction, collection=collection), say), config.grid)

    def leave(session: Session, id: str, title: str, collection: Collection) -> Finished:
        left = leave_run(config, session, id=id, title=title, collection=collection)
        return Finished(run=str(left.folder), files=list(left.files), said=left.replay.said)

    return Parts(
        loop,
        criteria,
        lambda: extraction.backbone,
        describe,
        encode=encoding(config, extraction),
        negatives=asking.negatives,
        budget=asking.budget,
        about={"overrides": [str(word) for word in HydraConfig.get().overrides.task]},
        leave_run=leave,
    )


def criterion(name: str) -> Criterion:
    """A criterion with its defaults, while Hydra is running or not."""
    overrides = [f"criterion={name}"]
    running = GlobalHydra.instance().is_initialized()
    config = hydra.compose("serve", overrides) if running else compose.resolve("serve", overrides)
    built: Criterion = build(config, "criterion")
    return built


def encoding(config: DictConfig, extraction: Extraction) -> Callable[[str], Text] | None:
    """Encoder of words; None where none is chosen.

    Raises:
        ConfigError: if it does not go with the backbone.
    """
    if OmegaConf.select(config, "text._target_") is None:
        return None
    encoder = encoder_of(config)
    check_space(encoder, extraction.plan.manifest)

    def encode(words: str) -> Text:
        terms = parse(words, lambda _: False)
        return Text(words, joined(terms, encoder([term.content for term in terms])))

    return encode


def opened(folder: Path, grid: str) -> Store:
    """A finished store, with the cells of a grid where its regions are cells."""
    ragged = read_manifest(folder).grids is None
    return open_store(folder, None if ragged else grid)


def shown_host(host: str) -> str:
    """The address to open, for an address to listen on: for all of a machine's, the first that others reach."""
    if host in ANY:
        found = [one for addresses in psutil.net_if_addrs().values() for one in addresses]
        reached = [one.address for one in found if one.family == socket.AF_INET and not one.address.startswith("127.")]
        return reached[0] if reached else "localhost"
    return f"[{host}]" if ":" in host else host


def hosts_of(host: str) -> frozenset[str]:
    """Names that the server goes by; empty: any, which the token then protects."""
    from seekloop.app.safety import LOOPBACK_NAMES, is_loopback

    return LOOPBACK_NAMES | {host} if is_loopback(host) else frozenset()


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens.

    Raises:
        ConfigError: if the address cannot be listened on.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # now: whoever comes next is told that the port is taken
        except OSError as error:
            fix = "Choose another with serve.port=..., 0 for a free one; or end the program that has it."
            raise ConfigError("serve.port", f"{host}:{port}", error.strerror or str(error), fix) from error
        yield listener


def run(served: "Served", listener: socket.socket, hosts: frozenset[str], token: str) -> None:
    """Answer requests until a person stops it."""
    from seekloop.app.api import Server

    Server(served, hosts=hosts, token=token).run(sockets=[listener])
