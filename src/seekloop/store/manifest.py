"""Description of a store: everything that determines its content, and how it is cut into files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from seekloop.artifacts import files
from seekloop.artifacts.folder import Folder
from seekloop.contracts.errors import StoreError
from seekloop.contracts.grids import Grid, grid_boxes
from seekloop.contracts.recipe import Recipe

FORMAT = 2
KEY = "store_dir"  # of the config: where all of this lies
MANIFEST, READABLE, FAILURES, OFFSETS, BOXES, LEVELS, KINDS = (
    "manifest.json",
    "readable.npy",
    "failures.json",
    "offsets.npy",
    "boxes.npy",
    "levels.npy",
    "kinds.npy",
)


@dataclass(frozen=True)
class StoreManifest:
    """The description of a store, written first; equal recipes have an equal `key`.

    Attributes:
        recipe: what determines the content: images, weights, transform, regions, encoding, pooling, precision, ...
        images: n.
        dim: d.
        dtype: of the files, "float16" or "float32".
        shard: images per file.
        grids: fixed regions: the grids whose cells are stored; None for ragged regions.
        poolable: whether cells are means of tokens, so that coarser cells are averages of them.
        tokens: rows and columns of the backbone's map, where cells come from it.
        versions: of the packages that wrote it. They do not change the key.
        failures: number of unreadable images; None until finished.
        text_space: the space of texts that the descriptors live in; None where they can be compared with no text.
    """

    recipe: Recipe
    images: int
    dim: int
    dtype: str
    shard: int
    grids: tuple[Grid, ...] | None
    poolable: bool
    tokens: Grid | None
    versions: Mapping[str, str]
    failures: int | None
    text_space: str | None = None

    @property
    def key(self) -> str:
        """Hash of the recipe."""
        return self.recipe.key

    @property
    def precision(self) -> str:
        """Precision of the network's computation, by Lightning's name."""
        return str(self.recipe.settings["precision"])

    @property
    def shards(self) -> int:
        """Number of files of each kind."""
        return -(-self.images // self.shard)

    @property
    def cells(self) -> int | None:
        """Number of fixed regions of an image; None where they are ragged."""
        return None if self.grids is None else len(grid_boxes(self.grids))

    def span(self, shard: int) -> tuple[int, int]:
        """First image of a shard, and the one after its last."""
        return shard * self.shard, min((shard + 1) * self.shard, self.images)

    def write(self, folder: Path) -> None:
        """Write it into the store's folder."""
        values = {**asdict(self), "recipe": self.recipe.plain()}
        files.write_json(folder / MANIFEST, {"format": FORMAT, "key": self.key, **values}, KEY)


def read_manifest(folder: Path) -> StoreManifest:
    """The manifest of a store.

    Raises:
        StoreError: if there is none, or it belongs to another version of the format.
    """
    try:
        raw = files.read_json(folder / MANIFEST)
    except FileNotFoundError as error:
        raise StoreError(f"{folder} holds no descriptors. Make them with: seekloop extract") from error
    except ValueError as error:
        raise StoreError(f"{folder / MANIFEST} is damaged. Delete the folder and extract again.") from error
    written = raw.pop("format")
    if written not in (1, FORMAT):
        raise StoreError(f"{folder} was written by another version of seekloop. Delete it and extract again.")
    raw.pop("key")
    recipe = Recipe("descriptors", raw.pop("content")) if written == 1 else Recipe.from_plain(raw["recipe"])
    grids = None if raw["grids"] is None else tuple((rows, columns) for rows, columns in raw["grids"])
    tokens = None if raw["tokens"] is None else (raw["tokens"][0], raw["tokens"][1])
    return StoreManifest(**{**raw, "recipe": recipe, "grids": grids, "tokens": tokens})


def store_folder(path: Path) -> Folder:
    """The folder of a store, of found regions or of maps, to be claimed."""
    return Folder(path, KEY)


def folder_name(collection: str, backbone: str, key: str) -> str:
    """A name that people can read and that is unique."""
    readable = "-".join(
        "".join(letter if letter.isalnum() or letter in "._" else "_" for letter in part)
        for part in (collection, backbone)
    )
    return f"{readable}-{key[:12]}"
