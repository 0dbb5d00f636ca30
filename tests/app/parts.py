"""A small page: drawn pictures whose colours are their descriptors, so that what a search finds can be foreseen."""

from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from starlette.testclient import TestClient

from seekloop.app import models
from seekloop.app.api import make_app
from seekloop.app.events import News
from seekloop.app.library import Indexed, Library, Parts
from seekloop.app.pictures import Pictures
from seekloop.app.searches import Searches
from seekloop.app.served import Served
from seekloop.app.uploads import Uploads
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.records import Regions, Text, Tokens
from seekloop.criteria.scores import Top, Uncertainty
from seekloop.images.folder import ImageFolder
from seekloop.loop.items import Images
from seekloop.loop.prior import Prior
from seekloop.loop.sessions import Sessions
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import All
from seekloop.representations.representation import Representation
from seekloop.store.arrays import ArrayDescriptors
from tests.loop.parts import loop
from tests.worlds import grid_boxes

SIDE = 64  # pixels of a picture
EVERY = 3  # images 0, 3, 6, ... hold a red square
CONSTANT = 0.3  # last number of a descriptor, so that none is zero
CRITERIA = {"uncertainty": Uncertainty(), "top": Top()}
SVM = SvmNumba(cost=1.0, class_weight="none", tol=1e-4, max_iter=10_000, threads=1)
HOST = "http://localhost:7332"
PAGE = {"X-Seekloop": "1"}  # what the page sends
UPLOAD_BYTES, UPLOAD_PIXELS = 200_000, 1_000_000


def path_of(image: int) -> str:
    """Two folders by turns."""
    return f"{'even' if image % 2 == 0 else 'odd'}/{image:03d}.png"


def drawn(image: int, red: bool | None = None) -> Image.Image:
    """Four grey squares, each a little different; one of them red where the image shows the object."""
    rng = np.random.default_rng(image)
    cells = 128 + rng.integers(-40, 40, (4, 1)) + rng.integers(-8, 8, (4, 3))
    if image % EVERY == 0 if red is None else red:
        cells[image // EVERY % 4] = [220, 40 + image % 17, 40]
    squares = Image.fromarray(cells.reshape(2, 2, 3).astype(np.uint8))
    return squares.resize((SIDE, SIDE), Image.Resampling.NEAREST)


def draw_album(folder: Path, images) -> None:
    for image in images:
        path = folder / path_of(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn(image).save(path)


def vectors(colours) -> np.ndarray:
    """Colours from 0 to 1 as descriptors."""
    return np.concatenate([colours - 0.5, np.full((*colours.shape[:-1], 1), CONSTANT)], axis=-1).astype(np.float32)


def describe(collection) -> ArrayDescriptors:
    """Mean colours of an image's quarters, and of the whole."""
    squares = [collection.read(image).resize((2, 2), Image.Resampling.BOX) for image in range(len(collection.paths))]
    colours = np.stack([np.asarray(one) for one in squares]).reshape(-1, 4, 3) / 255
    whole, local = torch.tensor(vectors(colours.mean(1))), torch.tensor(vectors(colours)).flatten(0, 1)
    return ArrayDescriptors(whole, local, Regions(grid_boxes(2, 2), None))


class Colours:
    """A network whose tokens are colours."""

    name, dim, image_size, weights_hash = "colours", 4, (16, 16), "none"
    mean, std, interpolation = (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), "bilinear"

    def __call__(self, pixels):
        patches = torch.nn.functional.avg_pool2d(pixels, 4).permute(0, 2, 3, 1)
        patches = torch.cat([patches, torch.full_like(patches[..., :1], CONSTANT)], dim=-1)
        return Tokens(None, torch.empty(len(pixels), 0, 4), patches)


def encode(words: str) -> Text:
    """Words for red, and others, which are grey."""
    colour = np.array([0.9, 0.2, 0.2] if "red" in words else [0.5, 0.5, 0.5])
    return Text(words, torch.tensor(vectors(colour)))


def indexed(album: Path) -> Indexed:
    """All that is in a folder now."""
    collection = ImageFolder(album)
    return Indexed(collection, describe(collection), Images.of(collection))


def make_served(folder: Path, budget: int = 5, criteria=None) -> Served:
    """What a server over `folder/album` serves; the same again after a restart."""
    criteria = criteria or CRITERIA

    def make_loop(descriptors):
        own = next(iter(criteria.values()))
        return loop(descriptors, Representation(All(), NoFusion()), own, SVM, prior=Prior())

    parts = Parts(make_loop, criteria, Colours, describe, encode, negatives=4, budget=budget)
    library, news = Library(parts), News()
    library.grow(indexed(folder / "album"))
    uploads = Uploads(folder / "uploads", UPLOAD_BYTES, UPLOAD_PIXELS)

    def tell(id, version):
        news.tell({"kind": "search", "id": id, "version": version})

    pictures = Pictures(library, uploads, folder / "page")
    searches = Searches(
        Sessions(folder / "sessions.sqlite"), library, uploads, tell, lambda names: pictures.warm(names)
    )
    return Served(library, searches, pictures, news, lambda: status(library), folder / "exports")


def status(library: Library) -> models.Status:
    count = library.indexed.images.count
    state = models.Indexing(done=count, total=count, seconds_left=0.0, state="finished", message="")
    return models.Status(
        collection=models.CollectionOut(
            name="album", root="album", images=count, indexed=count, unreadable=0, indexing=state
        ),
        backbone=models.BackboneOut(name="colours", first_steps=False, advice=""),
        words=True,
        words_about="",
        criteria=[models.CriterionOut(name=name, label=name) for name in library.parts.criteria],
        version="0",
    )


class Page:
    """A page of the server, as its JavaScript would talk to it.

    Args:
        served: what the server serves.
        token: that it asks for.
    """

    def __init__(self, served: Served, token: str = "", client: TestClient | None = None) -> None:
        self.served = served
        self.client = client or TestClient(
            make_app(served, hosts=frozenset({"localhost"}), token=token), base_url=HOST, headers=PAGE
        )
        images = served.library.indexed.images
        self.names = {path: images.name(image) for image, path in enumerate(images.paths)}

    def name(self, image: int) -> str:
        """Name of the picture that was drawn with this number."""
        return self.names[path_of(image)]

    def get(self, path: str, status: int = 200, **query):
        reply = self.client.get(f"/api/{path}", params=query or None)
        assert reply.status_code == status, reply.text
        return reply.json()

    def post(self, path: str, body: Mapping, status: int = 200):
        reply = self.client.post(f"/api/{path}", json=body)
        assert reply.status_code == status, reply.text
        return reply.json()

    def upload(self, content: bytes, name: str = "mine.png", status: int = 201):
        reply = self.client.post("/api/uploads", content=content, headers={"X-Filename": name})
        assert reply.status_code == status, reply.text
        return reply.json()

    def begin(self, image: int = 0, **wanted):
        example = {"name": self.name(image), "box": square(image)}
        return self.post("searches", {"examples": [example], **wanted}, 201)

    def answer(self, search, answers: Mapping[str, object], status: int = 200):
        """Answers by name: yes, no, unsure, None, or a box."""
        said = [
            {
                "name": name,
                "answer": "yes" if isinstance(one, list) else one,
                "box": one if isinstance(one, list) else None,
            }
            for name, one in answers.items()
        ]
        body = {"version": search["version"], "answers": said}
        return self.post(f"searches/{search['id']}/answers", body, status)

    def next(self, search, status: int = 200):
        return self.post(f"searches/{search['id']}/next", {"version": search["version"]}, status)

    def round(self, search):
        """Answer the question truly, and go on."""
        return self.next(self.answer(search, {one["name"]: truth(one["path"]) for one in search["question"]}))


def truth(path: str) -> list[float] | str:
    """The red square of an image, or no."""
    return square(int(Path(path).stem)) or "no"


def square(image: int) -> list[float] | None:
    """Where the red square of the picture of this number is; None where there is none."""
    return grid_boxes(2, 2)[image // EVERY % 4].tolist() if image % EVERY == 0 else None


@contextmanager
def opened(folder: Path, images=range(36), token: str = "", **settings):
    """A page over pictures of these numbers, drawn where they are not there yet; its server ends with it."""
    draw_album(folder / "album", images)
    served = make_served(folder, **settings)
    page = Page(served, token)
    try:
        with page.client:
            yield page
    finally:
        served.searches.close()
