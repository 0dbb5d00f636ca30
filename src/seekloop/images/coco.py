"""COCO 2017, and the JSON format that it made common."""

import io
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from pycocotools.coco import COCO

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, present
from seekloop.images.objects import RawObject, annotate, fractions

SPLITS = ("train", "val")
HOST = "http://images.cocodataset.org"


class Coco2017(FileCollection):
    """COCO 2017, or any collection of its layout: annotations/instances_train2017.json, images in train2017.

    Args:
        root: the folder that holds `annotations` and the images' folder.
        split: "train" or "val".
        crowd: whether boxes around crowds count as objects of their class.
        download: whether to fetch the split (train 18 GB, val 1 GB) where it is missing.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if something is missing, or the download fails.

    Reference:
        Lin et al., Microsoft COCO: Common Objects in Context, 2014.
    """

    def __init__(self, root: str | None, split: str, crowd: bool, download: bool, cache: str | None) -> None:
        if split not in SPLITS:
            raise ConfigError("collection.split", split, "there is no such split", f"One of: {', '.join(SPLITS)}.")
        folder = coco_folder(root, split, download)
        relative = f"annotations/instances_{split}2017.json"
        coco = load_coco(folder / relative)
        listed = [f"{split}2017/{coco.imgs[i]['file_name']}" for i in sorted(coco.imgs)]
        paths, problems = present(folder, listed, relative)
        positions = {path.partition("/")[2]: position for position, path in enumerate(paths)}
        objects, wrong = coco_objects(coco, relative, lambda image: positions.get(image["file_name"]), crowd)
        annotations, dropped = annotate(objects, category_order(coco))
        super().__init__("coco2017", folder, paths, annotations, problems + wrong + dropped, cache)


def coco_folder(root: str | None, split: str, download: bool) -> Path:
    """The folder that holds the split, fetched if asked for."""
    if download and root is not None:
        base = Path(root).expanduser().absolute()
        fetch(Archive(f"{HOST}/annotations/annotations_trainval2017.zip", None, "annotations", "annotations"), base)
        fetch(Archive(f"{HOST}/zips/{split}2017.zip", None, f"{split}2017", f"{split}2017"), base)
    folder = existing_folder(root, "COCO, or say collection.download=true")
    for part in (f"annotations/instances_{split}2017.json", f"{split}2017"):
        if not (folder / part).exists():
            fix = "Unpack COCO's archives there, or say collection.download=true."
            raise ConfigError("collection.root", root, f"it holds no {part}", fix)
    return folder


def load_coco(path: Path) -> COCO:
    """Open a COCO file without pycocotools' remarks.

    Raises:
        ValueError: if it is no COCO file.
    """
    try:
        with redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
    except (AssertionError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a COCO file of instances: {error!r}") from error
    missing = [key for key in ("images", "annotations", "categories") if key not in coco.dataset]
    if missing:
        raise ValueError(f"{path} is not a COCO file of instances: it has no {', '.join(missing)}")
    return coco


def category_order(coco: COCO) -> list[str]:
    """The names of the categories by their number."""
    return [str(coco.cats[number]["name"]) for number in sorted(coco.cats)]


def coco_objects(
    coco: COCO, where: str, find: Callable[[Mapping[str, Any]], int | None], crowd: bool
) -> tuple[list[RawObject], list[Problem]]:
    """The objects of an opened COCO file.

    Args:
        coco: the file.
        where: its name, for people.
        find: the position of one of the file's images in the collection; None to leave its objects out in silence.
        crowd: whether boxes around crowds count.
    """
    objects: list[RawObject] = []
    problems: list[Problem] = []
    positions = {number: find(image) for number, image in coco.imgs.items()}
    for number, one in coco.anns.items():
        spot = f"{where}, annotation {number}"
        is_crowd = bool(one.get("iscrowd", 0))
        if one.get("image_id") not in positions:
            problems.append(Problem(spot, f"there is no image with id {one.get('image_id')!r} in the file"))
        elif (position := positions[one["image_id"]]) is not None and (crowd or not is_crowd):
            try:
                objects.append(coco_object(coco, one, spot, position, is_crowd))
            except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                problems.append(Problem(spot, f"not understood: {error!r}"))
    return objects, problems


def coco_object(coco: COCO, one: Mapping[str, Any], where: str, image: int, crowd: bool) -> RawObject:
    """One object; its box is left edge, top edge, width and height in pixels."""
    left, top, width, height = (float(v) for v in one["bbox"])
    name = str(coco.cats[one["category_id"]]["name"])
    size = (int(coco.imgs[one["image_id"]]["width"]), int(coco.imgs[one["image_id"]]["height"]))
    return RawObject(where, image, name, fractions((left, top, left + width, top + height), size), crowd=crowd)
