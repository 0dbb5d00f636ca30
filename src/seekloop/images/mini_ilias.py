"""ILIAS and mini-ILIAS: a thousand objects in the wild among millions of photographs."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Literal

import torch

from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.contracts.protocols import Collection
from seekloop.images.annotated import Chosen
from seekloop.images.files import existing_folder
from seekloop.images.frames import Corners
from seekloop.images.instance_files import (
    around_all,
    collection_of_things,
    extents,
    first_there,
    read_lines,
    search_by_object,
    search_for_things,
)
from seekloop.images.walk import find_images

CORE = "ilias_core/"
LISTS = ("image_ids/mini_ilias_yfcc100m_ids.txt", "mini_ilias_yfcc100m_ids.txt")


@declared
def mini_ilias(
    root: Path | str | None = None,
    distractors: str | None = "yfcc100m",
    cache: Path | str | None = None,
    queries: Literal["images", "texts"] = "images",
) -> InstanceSearch:
    """ILIAS's objects, with as many of its distractors as are there.

    The layout of the objects, as published: ilias_core/<object>/query/Q000_00.jpg with Q000_00_bbox.txt beside it, and
    the same in pos/ with P for Q; each line of a box file is "left top width height" in pixels. Where a query has
    several boxes they are parts of one object, and the box around all of them is searched for. The text query of an
    object is its description, ilias_core/<object>/query/T000.txt.

    Distractors are published as tar files; here they must be unpacked. Where mini-ILIAS's list is there
    (image_ids/mini_ilias_yfcc100m_ids.txt), only those on it count: an image counts where a line is its path below
    `distractors` without the suffix, or its bare name without it. That form of the list is assumed: it is what the
    published code compares with the names inside the tar files.

    Args:
        root: where ilias_core is.
        distractors: folder of images, from `root`; None: the positives alone are the database.
        cache: folder where content hashes are remembered; None to hash anew every time.
        queries: "images" (1,232 boxes) or "texts" (1,000 descriptions, one of each object).

    Raises:
        ConfigError: if a folder or the description of an object is missing, or distractors are not unpacked.

    Reference:
        Kordopatis-Zilos et al., ILIAS: Instance-level image retrieval at scale, CVPR 2025.
    """
    base = existing_folder(root, "the folder with ilias_core")
    core = first_there(base, ("ilias_core",), "the folder of objects, unpacked from ilias_core.tar")
    paths = [f"{CORE}{path}" for path in find_images(core).paths]
    asked, shown = ([path for path in paths if PurePosixPath(path).parent.name == part] for part in ("query", "pos"))
    if not asked or not shown:
        why = f"ilias_core holds {len(asked)} queries and {len(shown)} positives"
        raise ConfigError("root", str(base), why, "Unpack ilias_core.tar there.")
    database = shown + ([] if distractors is None else distractor_paths(base, distractors))
    boxes = {image: read_boxes(base, path) for image, path in enumerate(shown)}

    def thing(path: str) -> str:
        return path.split("/")[1] if path.startswith(CORE) else ""

    if queries == "texts":
        images = collection_of_things("mini-ilias", base, database, boxes, thing, cache)
        return search_by_description(images, descriptions(core, sorted({thing(path) for path in asked})), thing)
    boxes_asked = [(path, around_all(read_boxes(base, path))) for path in asked]  # boxes of one object's parts
    return search_by_object("mini-ilias", base, database, boxes, boxes_asked, thing, cache)


def search_by_description(
    images: Collection, texts: Sequence[tuple[str, str]], thing: Callable[[str], str]
) -> InstanceSearch:
    """Search for objects by their descriptions, given as pairs of an object and a text."""
    nothing = images.annotations.keep(torch.zeros(len(images.annotations.image), dtype=torch.bool))
    search = search_for_things(
        images, Chosen(f"{images.name} texts", images, [], nothing, []), [a for a, _ in texts], thing
    )
    return replace(search, texts=tuple(words for _, words in texts))


def descriptions(core: Path, objects: Sequence[str]) -> list[tuple[str, str]]:
    """Read the descriptions of the objects, each in one line; of several of one object, each is a query.

    Raises:
        ConfigError: if an object has none, or one is empty.
    """
    texts: list[tuple[str, str]] = []
    for one in objects:
        files = sorted((core / one / "query").glob("T*.txt"))
        if not files:
            why = "it has no description T*.txt"
            raise ConfigError(
                "root", str(core / one / "query"), why, "Unpack ilias_core.tar again, or say queries=images."
            )
        for file in files:
            words = " ".join(word for line in read_lines(file) for word in line)
            if not words:
                raise ConfigError("root", str(file), "it is empty", "Unpack ilias_core.tar again.")
            texts.append((one, words))
    return texts


def read_boxes(base: Path, path: str) -> list[Corners]:
    """Read the boxes beside an image."""
    file = base / PurePosixPath(path).with_name(PurePosixPath(path).stem + "_bbox.txt")
    boxes = [extents(file, words) for words in read_lines(file)]
    if not boxes:
        raise ConfigError("root", str(file), "it is empty", "Unpack ilias_core.tar again.")
    return boxes


def distractor_paths(base: Path, distractors: str) -> list[str]:
    """The images below the folder of distractors, those that mini-ILIAS's list names where it is there."""
    folder = base / distractors
    if not folder.is_dir():
        raise ConfigError(
            "distractors", distractors, f"there is no folder {folder}", "Give its path from root, or null."
        )
    paths: Sequence[str] = find_images(folder).paths
    if lists := [base / name for name in LISTS if (base / name).is_file()]:
        wanted = {words[0] for words in read_lines(lists[0])}
        plain = [PurePosixPath(path).with_suffix("") for path in paths]
        paths = [p for p, one in zip(paths, plain, strict=True) if one.as_posix() in wanted or one.name in wanted]
    if not paths:
        packed = len(list(folder.rglob("*.tar")))
        why = f"{folder} holds no image of the distractors and {packed} tar files"
        raise ConfigError("distractors", distractors, why, "Unpack them, or say null.")
    return [f"{distractors}/{path}" for path in paths]
