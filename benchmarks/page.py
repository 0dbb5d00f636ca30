"""How long a person waits on the page: from the last answer of a round to the next ten photographs.

    python -m benchmarks.page [--images 118000] [--grid 4x4] [--dim 384] [--rounds 25] [--pause 0.5]

The page's own server answers on loopback over a synthetic store (float16, read once before, so in the page cache) and
generated JPEG files, 640 x 480, whose thumbnails are made when they are first needed; dates are known before. A round:
ten answers, each followed by a pause, in which the server fits what it was told; after the last one no pause, but the
request for the next question, then its ten thumbnails, six at a time as a browser does. The obvious alternative in the
same run: answers are kept in a list, and after the last one scikit-learn's LinearSVC is fitted from scratch, its
decision values are taken over the memory-mapped files, the scores sorted, and ten photographs decoded for their
thumbnails.
"""

import argparse
import io
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

from benchmarks import facts
from benchmarks.obvious import Mapped, fitted
from benchmarks.round import spans, warm
from benchmarks.searches import table_of
from benchmarks.synthetic import World, annotations, make_store
from seekloop.app.api import Server
from seekloop.app.events import News
from seekloop.app.library import Indexed, Library, Parts
from seekloop.app.models import Status
from seekloop.app.searches import Searches
from seekloop.app.served import Served
from seekloop.app.uploads import Uploads
from seekloop.backbones.tiny import Tiny
from seekloop.commands.compose import build_loop, resolve
from seekloop.contracts.protocols import Descriptors
from seekloop.contracts.records import Annotations
from seekloop.images.files import FileCollection
from seekloop.loop.engine import Loop
from seekloop.loop.items import Images
from seekloop.loop.sessions import Sessions
from seekloop.store.reader import Store, open_store

CLASSES = 20
BUDGET = 10
AT_ONCE = 6  # requests that a browser makes of one server at a time
CACHE = 320  # pixels of a thumbnail
SIZE = (640, 480)
FILES = 64
AIMS = {"next": 0.3, "with_thumbnails_p95": 0.5}  # seconds


class Painted(FileCollection):
    """Photographs of a collection, 64 files that its paths stand for by turns; each has a name of its own.

    Args:
        world: of as many images, with their annotations.
        root: folder of the files.
    """

    def __init__(self, world: World, root: Path) -> None:
        root.mkdir(parents=True, exist_ok=True)
        for number in range(FILES):
            rng = np.random.default_rng(number)
            small = Image.fromarray(rng.integers(0, 255, (12, 16, 3), dtype=np.uint8))
            small.resize(SIZE, Image.Resampling.BICUBIC).save(root / f"{number}.jpg", quality=90)
        self._key = repr(world)
        paths = [f"{image // 1000:03d}/{image:06d}.jpg" for image in range(world.images)]
        real = {path: f"{image % FILES}.jpg" for image, path in enumerate(paths)}
        super().__init__("painted", root, paths, annotations(world), (), None, real)

    def contents(self) -> list[str]:
        """A name for each image."""
        return [blake2b(f"{self._key} {path}".encode(), digest_size=16).hexdigest() for path in self.paths]


def parser() -> argparse.ArgumentParser:
    found = facts.options(__doc__)
    found.add_argument("--images", type=int, default=118_000)
    found.add_argument("--grid", default="4x4")
    found.add_argument("--dim", type=int, default=384)
    found.add_argument("--rounds", type=int, default=25)
    found.add_argument("--reference-rounds", type=int, default=5, help="of the obvious alternative; 0: none")
    found.add_argument("--pause", type=float, default=0.5, help="seconds that a person looks at a photograph")
    found.add_argument("--overrides", nargs="*", default=[], help="of seekloop serve")
    return found


@contextmanager
def page(asked: argparse.Namespace, store: Store, painted: Painted) -> Iterator[tuple[str, Images]]:
    """The page's server in this process; its address, and the names of its images."""
    config = resolve("serve", asked.overrides)

    def loop(descriptors: Descriptors) -> Loop:
        return build_loop(config, descriptors)

    def nothing(*_: object) -> Any:  # noqa: ANN401 - whatever
        raise NotImplementedError("the benchmark uploads nothing and asks for no status")

    criteria = {"pf_mmr": loop(store).criterion}
    library, news = Library(Parts(loop, criteria, Tiny, nothing, budget=BUDGET)), News()
    images = Images.of(painted)
    library.grow(Indexed(painted, store, images))
    folder = Path(tempfile.mkdtemp(dir=asked.stores))
    searches = Searches(
        Sessions(folder / "sessions.sqlite"),
        library,
        Uploads(folder / "uploads"),
        lambda id, version: news.tell({"kind": "search", "id": id, "version": version}),
    )
    status: Callable[[], Status] = nothing
    served = Served(library, searches, searches.uploads, news, status, folder / "page", folder / "exports")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        server = Server(served)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/api", images
        finally:
            server.should_exit = True
            thread.join()
            searches.close()
            shutil.rmtree(folder)


def box_of(known: Annotations, image: int, label: int) -> list[float] | None:
    """The box of the largest object of a class; None where an image has none."""
    found = known.largest_box(image, label)
    return None if found is None else found.tolist()


def seekloop_side(asked: argparse.Namespace, world: World, store: Store, painted: Painted) -> dict[str, Any]:
    """Seconds from the last answer to the next question, and to its thumbnails."""
    laps: dict[str, list[float]] = {"answer": [], "next": [], "with_thumbnails": [], "ranking": []}
    known = painted.annotations
    first = int(known.relevance(world.images)[0].nonzero()[0])
    with page(asked, store, painted) as (address, images), ThreadPoolExecutor(AT_ONCE) as browser:
        client = httpx.Client(base_url=address, headers={"X-Seekloop": "1"}, timeout=60)

        def post(path: str, body: dict[str, Any]) -> dict[str, Any]:
            reply: dict[str, Any] = client.post(path, json=body).raise_for_status().json()
            return reply

        def answer(search: dict[str, Any], name: str) -> dict[str, Any]:
            box = box_of(known, images.position(name) or 0, 0)
            said = {"name": name, "answer": "no" if box is None else "yes", "box": box}
            return post(f"/searches/{search['id']}/answers", {"version": search["version"], "answers": [said]})

        while not client.get("/browse", params={"by": "date", "count": 1}).json()["months"]:
            time.sleep(0.5)  # until all dates are read
        search = post("/searches", {"examples": [{"name": images.name(first), "box": box_of(known, first, 0)}]})
        for _ in range(asked.rounds):
            names = [one["name"] for one in search["question"]]
            for name in names[:-1]:
                started = time.perf_counter()
                search = answer(search, name)
                laps["answer"].append(time.perf_counter() - started)
                time.sleep(asked.pause)
            started = time.perf_counter()
            search = answer(search, names[-1])
            search = post(f"/searches/{search['id']}/next", {"version": search["version"]})
            laps["next"].append(time.perf_counter() - started)
            shown = [f"/images/{one['name']}/thumbnail" for one in search["question"]]
            list(browser.map(lambda path: client.get(path).raise_for_status(), shown))
            laps["with_thumbnails"].append(time.perf_counter() - started)
            started = time.perf_counter()
            client.get(f"/searches/{search['id']}/ranking").raise_for_status()
            laps["ranking"].append(time.perf_counter() - started)
    return {name: spans(some) for name, some in laps.items()} | {"found": search["progress"]["found"]}


def obvious_side(asked: argparse.Namespace, world: World, store: Store, painted: Painted) -> dict[str, Any]:
    """The same rounds: everything after the last answer, on one thread but for the product."""
    table = Mapped(store.folder, world.images, store.manifest.shards, store.manifest.shard)
    known = painted.annotations
    relevant = known.relevance(world.images)[0].numpy()
    first, others = int(relevant.nonzero()[0][0]), np.random.default_rng(0).permutation((~relevant).nonzero()[0])[:5]
    everything = np.arange(world.regions)
    rows = [table.rows(image, everything) for image in (first, *others)]
    labels = [np.full(world.regions, 1.0), *(np.full(world.regions, -1.0) for _ in others)]
    done, laps = {first, *others.tolist()}, []
    for _ in range(asked.reference_rounds):
        started = time.perf_counter()
        svm = fitted(np.concatenate(rows), np.concatenate(labels))
        scores = np.concatenate(
            [
                svm.decision_function((file / norms[..., None]).reshape(-1, world.dim)).reshape(norms.shape).max(axis=1)
                for file, norms in zip(table.files, table.norms, strict=True)
            ]
        )
        order = [image for image in np.argsort(np.abs(scores), kind="stable") if image not in done][:BUDGET]
        for image in order:
            small = painted.read(int(image))
            small.thumbnail((CACHE, CACHE))
            small.save(io.BytesIO(), "JPEG")
        laps.append(time.perf_counter() - started)
        for image in order:
            done.add(int(image))
            rows.append(table.rows(int(image), everything))
            labels.append(np.full(world.regions, 1.0 if relevant[image] else -1.0))
    return {"with_thumbnails": spans(laps)}


def main() -> None:
    asked = parser().parse_args()
    world = World(asked.images, asked.grid, asked.dim, CLASSES)
    store = open_store(make_store(world, asked.stores), None)
    warm(store.folder)
    painted = Painted(world, asked.stores / "photographs")
    figures = seekloop_side(asked, world, store, painted)
    if asked.reference_rounds:
        figures["obvious"] = obvious_side(asked, world, store, painted)
        medians = (figures["obvious"]["with_thumbnails"]["median"], figures["with_thumbnails"]["median"])
        figures["ratio"] = medians[0] / medians[1]
    settings = {**vars(world), "m": world.regions, "rounds": asked.rounds, "pause": asked.pause, "aims": AIMS}
    facts.write(asked.results, "page", settings, {**figures, "peak_gib": facts.peak_gib()})
    names = ("answer", "next", "with_thumbnails", "ranking")
    lines = [(name, *(f"{1e3 * figures[name][word]:.0f}" for word in ("median", "p95"))) for name in names]
    print(table_of(lines, ["ms", "median", "p95"]))


if __name__ == "__main__":
    main()
