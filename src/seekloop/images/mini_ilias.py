"""ILIAS and mini-ILIAS: a thousand objects in the wild among millions of photographs."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import torch

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.images.instance_files import (
    Corners,
    boxes_of,
    collection_of_files,
    extents,
    first_there,
    instance_root,
    read_lines,
)
from seekloop.images.walk import find_images

LISTS = ("image_ids/mini_ilias_yfcc100m_ids.txt", "mini_ilias_yfcc100m_ids.txt")


def mini_ilias(root: str | None, distractors: str | None, cache: str | None) -> InstanceSearch:
    """ILIAS's objects, with as many of its distractors as are there.

    The layout of the objects, as published: ilias_core/<object>/query/Q000_00.jpg with Q000_00_bbox.txt beside it, and
    the same in pos/ with P for Q; each line of a box file is "left top width height" in pixels. Where a query has
    several boxes they are parts of one object, and the box around all of them is searched for.

    Distractors are published as tar files; here they must be unpacked. Where mini-ILIAS's list is there
    (image_ids/mini_ilias_yfcc100m_ids.txt), only those on it count: an image counts where a line is its path below
    `distractors` without the suffix, or its bare name without it. That form of the list is assumed: it is what the
    published code compares with the names inside the tar files.

    Args:
        root: where ilias_core is.
        distractors: folder of images, from `root`; None: the positives alone are the database.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if a folder is missing, or distractors are not unpacked.

    Reference:
        Kordopatis-Zilos et al., ILIAS: Instance-level image retrieval at scale, CVPR 2025.
    """
    base = instance_root(root, "the folder with ilias_core")
    core = first_there(base, ("ilias_core",), "the folder of objects, unpacked from ilias_core.tar")
    paths = [f"ilias_core/{path}" for path in find_images(core).paths]
    asked, shown = ([path for path in paths if PurePosixPath(path).parent.name == part] for part in ("query", "pos"))
    if not asked or not shown:
        why = f"ilias_core holds {len(asked)} queries and {len(shown)} positives"
        raise ConfigError("instances.root", str(base), why, "Unpack ilias_core.tar there.")
    database = shown + ([] if distractors is None else distractor_paths(base, distractors))
    objects = {image: [(thing(path), box) for box in read_boxes(base, path)] for image, path in enumerate(shown)}
    images = collection_of_files("mini-ilias", base, database, objects, cache)
    queries = {query: [(thing(path), around(base, path))] for query, path in enumerate(asked)}
    names = tuple(thing(path) for path in asked)
    places: dict[str, list[int]] = {}
    for image, path in enumerate(shown):
        places.setdefault(thing(path), []).append(image)
    positives = tuple(torch.tensor(places.get(name, []), dtype=torch.int64) for name in names)
    return InstanceSearch(
        images,
        collection_of_files("mini-ilias queries", base, asked, queries, cache),
        names,
        torch.full((len(names),), -1),
        {"all": Relevance(positives, tuple(right[:0] for right in positives))},
        boxes_of(images.annotations, (((name,), right.tolist()) for name, right in zip(names, positives, strict=True))),
    )


def thing(path: str) -> str:
    """The object that an image of ilias_core is of."""
    return path.split("/")[1]


def read_boxes(base: Path, path: str) -> list[Corners]:
    """The boxes beside an image.

    Raises:
        ConfigError: if the file is missing or empty.
    """
    file = base / PurePosixPath(path).with_name(PurePosixPath(path).stem + "_bbox.txt")
    boxes = [extents(file, words) for words in read_lines(file)]
    if not boxes:
        raise ConfigError("instances.root", str(file), "it is empty", "Unpack ilias_core.tar again.")
    return boxes


def around(base: Path, path: str) -> Corners:
    """The box around all boxes of an image."""
    left, top, right, bottom = zip(*read_boxes(base, path), strict=True)
    return min(left), min(top), max(right), max(bottom)


def distractor_paths(base: Path, distractors: str) -> list[str]:
    """The images below the folder of distractors, those on the list where there is one.

    Raises:
        ConfigError: if there is no such folder, or no image of them in it.
    """
    folder = base / distractors
    if not folder.is_dir():
        why = f"there is no folder {folder}"
        raise ConfigError("instances.distractors", distractors, why, "Give its path from instances.root, or null.")
    paths = on_the_list(base, find_images(folder).paths)
    if not paths:
        packed = len(list(folder.rglob("*.tar")))
        why = f"{folder} holds no image of the distractors and {packed} tar files"
        raise ConfigError("instances.distractors", distractors, why, "Unpack them, or say null.")
    return [f"{distractors}/{path}" for path in paths]


def on_the_list(base: Path, paths: Sequence[str]) -> list[str]:
    """The paths that mini-ILIAS's list names; all where it is not there."""
    lists = [base / name for name in LISTS if (base / name).is_file()]
    if not lists:
        return list(paths)
    wanted = {words[0] for words in read_lines(lists[0])}
    plain = [PurePosixPath(path).with_suffix("") for path in paths]
    return [path for path, one in zip(paths, plain, strict=True) if one.as_posix() in wanted or one.name in wanted]
