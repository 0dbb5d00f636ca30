"""COCO 2017, and the JSON format that it made common."""

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.download import Archive, fetch
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Corners, Frames, Size, known_size
from seekloop.images.names import ImageNames
from seekloop.images.objects import AnnotatedObjects, RawObject, annotations_of, as_number, class_name, flag
from seekloop.images.walk import ImageFiles, find_images

GZIP = b"\x1f\x8b"
HOST = "http://images.cocodataset.org"
PARTS = ("images", "annotations", "categories")


class Coco2017(FileCollection):
    """COCO 2017, or any collection of its layout: annotations/instances_train2017.json, images in train2017.

    Args:
        root: the folder that holds `annotations` and the images' folder.
        split: "train" or "val".
        crowd: whether boxes around crowds count as objects of their class.
        max_loss: largest share of the annotated objects that may be left out.
        download: whether to fetch the split (train 18 GB, val 1 GB) where it is missing.
        cache: folder where content hashes are remembered; None to hash anew every time.
        stuff: whether the regions of COCO-Stuff (grass, sky, ...; annotations/stuff_train2017.json, which is not
            fetched) are objects, too, each by the box around it; "other", which stands for all things, is left out.

    Raises:
        ConfigError: if something is missing, the download fails, or more objects are lost than allowed.

    Reference:
        Lin et al., Microsoft COCO: Common Objects in Context, 2014.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        split: Literal["train", "val"] = "train",
        crowd: bool = False,
        max_loss: Share = 0.1,
        download: bool = False,
        cache: Path | str | None = None,
        stuff: bool = False,
    ) -> None:
        folder = coco_folder(root, split, download)
        where = f"annotations/instances_{split}2017.json"
        coco = annotated_by(folder, where)
        named, problems = find_listed(coco, find_images(folder / f"{split}2017"), where)
        paths = [f"{split}2017/{path}" for path in dict.fromkeys(named.values())]
        positions = {path: position for position, path in enumerate(dict.fromkeys(named.values()))}
        found = {name: positions[path] for name, path in named.items()}
        source = coco_objects(coco, where, found, problems)
        if stuff:
            where = f"annotations/stuff_{split}2017.json"
            more = coco_objects(stuff_alone(annotated_by(folder, where)), where, found, ())
            source = AnnotatedObjects(
                [*source.objects, *more.objects],
                [*source.problems, *more.problems],
                [*source.order, *more.order],
                source.hint or more.hint,
            )
        frames = Frames(image_headers(folder, paths, cache))
        annotations, problems = annotations_of(source, frames, crowd=crowd)
        refuse_losses(len(annotations.image), problems, max_loss)
        super().__init__("coco2017", folder, paths, annotations, problems, cache)


def coco_folder(root: Path | str | None, split: str, download: bool) -> Path:
    """The folder that holds the split, fetched if asked for."""
    if download and root is not None:
        base = Path(root).expanduser().absolute()
        fetch(Archive(f"{HOST}/annotations/annotations_trainval2017.zip", None, "annotations", "annotations"), base)
        fetch(Archive(f"{HOST}/zips/{split}2017.zip", None, f"{split}2017", f"{split}2017"), base)
    folder = existing_folder(root, "COCO, or say download=true")
    for part in (f"annotations/instances_{split}2017.json", f"{split}2017"):
        if not (folder / part).exists():
            fix = "Unpack COCO's archives there, or say download=true."
            raise ConfigError("root", root, f"it holds no {part}", fix)
    return folder


def annotated_by(folder: Path, where: str) -> "Coco":
    """Read one of COCO's own files.

    Raises:
        ConfigError: if it is missing or of another form.
    """
    try:
        return read_coco(folder / where)
    except ValueError as error:
        raise ConfigError("root", str(folder), f"{where}: {error}", "Unpack COCO's annotations there again.") from error


def stuff_alone(coco: "Coco") -> "Coco":
    """COCO-Stuff without its category "other", the pixels of all things, which are annotated themselves."""
    other = {key for key, name in coco.categories.items() if name == "other"}
    kept = [
        entry
        for entry in coco.annotations
        if not (isinstance(entry, Mapping) and key_of(entry.get("category_id")) in other)
    ]
    categories = {key: name for key, name in coco.categories.items() if key not in other}
    return replace(coco, categories=categories, annotations=kept)


@dataclass(frozen=True)
class CocoImage:
    """One entry of a COCO file's `images`: its id as text, its name, and the size it states (None without one)."""

    id: str
    name: str
    size: Size | None


@dataclass(frozen=True)
class Coco:
    """A COCO file of instances, its ids as text, so that 7 and "7" are the same.

    Attributes:
        images: with a name, ordered by id.
        categories: class names by id, ordered by id.
        annotations: as they are in the file.
        problems: entries that are not understood, or of which two have one id.
    """

    images: tuple[CocoImage, ...]
    categories: Mapping[str, str]
    annotations: Sequence[Any]
    problems: tuple[Problem, ...]


def read_coco(path: Path) -> Coco:
    """Read a COCO file of instances. Objects need no ids; one bad entry is one problem.

    Raises:
        ValueError: if it is no COCO file of instances; the message says what it looks like instead.
    """
    return parse_coco(load_coco(path), path.name)


def load_coco(path: Path) -> dict[str, Any]:
    """The content of a COCO file of instances, which has images, annotations and categories.

    Raises:
        ValueError: as `read_coco`.
    """
    try:
        stored = path.read_bytes()
        if not stored.strip():
            raise ValueError("it is empty")
        if stored.startswith(GZIP):
            raise ValueError("it is compressed (gzip); unpack it")
        content = json.loads(stored)  # UTF-8, -16 or -32, with a byte order mark or without
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"{path.name} is not a COCO file of instances: {error}") from error
    if looks := another_format(content):
        raise ValueError(f"{path.name} is not a COCO file of instances: {looks}")
    return cast(dict[str, Any], content)


def parse_coco(content: Mapping[str, Any], name: str) -> Coco:
    """Images, categories and annotations of a COCO file's content; `name` is the file's, for people."""
    problems: list[Problem] = []
    return Coco(
        tuple(read_images(content["images"], name, problems)),
        read_categories(content["categories"], name, problems),
        content["annotations"],
        tuple(problems),
    )


def find_listed(coco: Coco, images: ImageFiles, where: str) -> tuple[dict[str, str], list[Problem]]:
    """Find the images of a COCO file among those of a folder, by `ImageNames`.

    Returns:
        The path of each listed image by its name; and the problems: images that are missing, or whose match is inexact.
    """
    matched, inexact = ImageNames(images.paths).match((image.name for image in coco.images), where)
    absent = [
        Problem(f"{where}, image {name!r}", why, ProblemKind.FILE)
        for name, why in matched.items()
        if isinstance(why, str)
    ]
    paths = {name: images.paths[image] for name, image in matched.items() if isinstance(image, int)}
    not_taken = [problem for problem in images.problems if problem.kind is ProblemKind.FILE]
    return paths, [*absent, *inexact, *not_taken]


def another_format(content: object) -> str:
    """Description of a JSON file that is no COCO file of instances; empty where it is one."""
    if isinstance(content, list):
        if content and isinstance(content[0], dict) and "score" in content[0]:
            return "it looks like a file of detections (a list with scores); images and categories are needed, too"
        return "it holds a list"
    if not isinstance(content, dict):
        return f"it holds a {type(content).__name__}"
    if content.get("type") == "FeatureCollection":
        return "it looks like GeoJSON"
    missing = [part for part in PARTS if part not in content]
    if missing:
        return f"it has no {', '.join(missing)}"
    wrong = [part for part in PARTS if not isinstance(content[part], list)]
    return f"{', '.join(wrong)} should be a list" if wrong else ""


def key_of(number: object) -> str | None:
    """An id as text: 7, 7.0, "7" and "7.0" are the same; None where there is none."""
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    text = str(number).strip() if isinstance(number, (int, float, str)) else ""
    return (text[:-2] if text.endswith(".0") and text[:-2].isdecimal() else text) or None


def in_order(keys: Iterable[str]) -> list[str]:
    """Ids in ascending order, numbers first."""
    return sorted(keys, key=lambda key: (not key.isdecimal(), int(key) if key.isdecimal() else 0, key))


def read_images(entries: Sequence[Any], where: str, problems: list[Problem]) -> list[CocoImage]:
    """The images that have a name and an id, ordered by id; the others become problems.

    Two images of one id are left out, as annotations of that id may mean either of them, unless both are one file.
    """
    images: list[CocoImage] = []
    for number, entry in enumerate(entries):
        spot = f"{where}, images[{number}]"
        name = entry.get("file_name") if isinstance(entry, Mapping) else None
        key = key_of(entry.get("id")) if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not name.strip():
            problems.append(Problem(spot, "it has no file_name", ProblemKind.FILE))
        elif key is None:
            problems.append(Problem(spot, f"{name!r} has no id, so no annotation can mean it", ProblemKind.NOTE))
            images.append(CocoImage(f"\0{number}", name, None))
        else:
            images.append(CocoImage(key, name, known_size(entry.get("width"), entry.get("height"))))
    for key, names in names_by_id((image.id, image.name) for image in images).items():
        if len(names) > 1:
            shown = ", ".join(names[:2])
            why = f"{len(names)} images have the id {key}, such as {shown}: their annotations may mean any of them"
            problems.append(Problem(where, why, ProblemKind.NOTE, len(names)))
    if twice := [name for name, count in Counter(image.name for image in images).items() if count > 1]:
        listed = many(len(twice), "image is", "images are")
        why = f"{listed} listed more than once, such as {twice[0]}; each is one image"
        problems.append(Problem(where, why, ProblemKind.NOTE, len(twice)))
    first = {image.id: image for image in reversed(images)}
    rest = [image for image in dict.fromkeys(images) if first[image.id] != image]
    return [first[key] for key in in_order(first)] + rest


def read_categories(entries: Sequence[Any], where: str, problems: list[Problem]) -> dict[str, str]:
    """Class names by id, ordered by id. Ids that are given twice with different names are left out."""
    pairs: list[tuple[str, str]] = []
    for number, entry in enumerate(entries):
        key = key_of(entry.get("id")) if isinstance(entry, Mapping) else None
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if key is None or name is None or not class_name(name):
            why = f"a category needs an id and a name, and this is {entry!r}"
            problems.append(Problem(f"{where}, categories[{number}]", why, ProblemKind.NOTE))
        else:
            pairs.append((key, class_name(name)))
    by_id = names_by_id(pairs)
    for key, names in by_id.items():
        if len(names) > 1:
            why = f"the categories {', '.join(names)} have one id, {key}: their annotations may mean either"
            problems.append(Problem(where, why, ProblemKind.NOTE, len(names)))
    known = {key: by_id[key][0] for key in in_order(by_id) if len(by_id[key]) == 1}
    for name, count in Counter(known.values()).items():
        if count > 1:
            why = f"several categories are called {name!r}; they are one class"
            problems.append(Problem(where, why, ProblemKind.NOTE))
    return known


def names_by_id(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """The different names that each id has, sorted."""
    names: dict[str, set[str]] = {}
    for key, name in pairs:
        names.setdefault(key, set()).add(name)
    return {key: sorted(several) for key, several in names.items()}


def coco_objects(coco: Coco, where: str, positions: Mapping[str, int], problems: Iterable[Problem]) -> AnnotatedObjects:
    """The objects of a COCO file, in pixels; each that is not understood, or whose image is not there, is a problem.

    Args:
        coco: the file.
        where: its name, for people.
        positions: in the collection, by the images' names in the file.
        problems: known already.
    """
    images: dict[str, list[CocoImage]] = {}
    for image in coco.images:
        images.setdefault(image.id, []).append(image)
    known = {key: one_image(key, several, positions) for key, several in images.items()}
    objects: list[RawObject] = []
    problems = [*problems, *coco.problems]
    for number, entry in enumerate(coco.annotations):
        key = key_of(entry.get("id")) if isinstance(entry, Mapping) else None
        spot = f"{where}, annotations[{number}]" + (f" (id {key})" if key else "")
        try:
            objects.append(coco_object(entry, spot, known, coco.categories))
        except ValueError as error:
            problems.append(Problem(spot, str(error)))
    return AnnotatedObjects(objects, problems, list(dict.fromkeys(coco.categories.values())), corner_hint(coco))


def one_image(key: str, images: Sequence[CocoImage], positions: Mapping[str, int]) -> tuple[int, Size | None] | str:
    """Position and stated size of the image that an id means, or why it means none."""
    names, sizes = sorted({image.name for image in images}), {image.size for image in images} - {None}
    if len(names) > 1:
        return f"{len(names)} images have the id {key}, such as {', '.join(names[:2])}"
    if len(sizes) > 1:
        return f"its image {names[0]!r} is listed with {len(sizes)} sizes, and the box may be of any"
    if names[0] not in positions:
        return f"its image {names[0]!r} is not in the collection"
    return positions[names[0]], next(iter(sizes), None)


def coco_object(
    entry: Any,  # noqa: ANN401 - whatever the file has there
    where: str,
    images: Mapping[str, tuple[int, Size | None] | str],
    categories: Mapping[str, str],
) -> RawObject:
    """One object; its box is left edge, top edge, width and height in pixels.

    Raises:
        ValueError: with the reason, if it is not understood or its image is not there.
    """
    if not isinstance(entry, Mapping):
        raise ValueError(f"an annotation is a dictionary, and this is a {type(entry).__name__}")
    missing = [part for part in ("image_id", "category_id", "bbox") if entry.get(part) is None]
    if missing:
        polygons = "; its segmentation is not read" if "bbox" in missing and entry.get("segmentation") else ""
        raise ValueError(f"it has no {', '.join(missing)}{polygons}")
    image = images.get(key_of(entry["image_id"]) or "", f"there is no image with id {entry['image_id']!r} in the file")
    if isinstance(image, str):
        raise ValueError(image)
    name = categories.get(key_of(entry["category_id"]) or "")
    if name is None:
        raise ValueError(f"there is no category with id {entry['category_id']!r} in the file")
    crowd = flag(entry.get("iscrowd", 0), "iscrowd")
    return RawObject(where, image[0], name, corners_of(entry["bbox"]), crowd, pixels=True, size=image[1])


def corners_of(bbox: object) -> Corners:
    """Corners of a box that is given by left edge, top edge, width and height.

    Raises:
        ValueError: if these are not four numbers.
    """
    try:
        if isinstance(bbox, str):
            raise TypeError(bbox)
        left, top, width, height = (as_number(v) for v in bbox)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as error:
        shown = reprlib.repr(bbox)
        raise ValueError(f"bbox should be four numbers (left, top, width, height), and is {shown}") from error
    return left, top, left + width, top + height


def corner_hint(coco: Coco) -> str:
    """Hint that the file's boxes look like corners (x0, y0, x1, y1) in place of left, top, width, height; else empty.

    That is where most boxes reach out of their images as COCO defines them, and none does as corners.
    """
    sizes = {image.id: image.size for image in coco.images}
    out = looked_at = 0
    for entry in coco.annotations:
        size = sizes.get(key_of(entry.get("image_id")) or "") if isinstance(entry, Mapping) else None
        try:
            x0, y0, x1, y1 = (as_number(v) for v in entry["bbox"]) if size else (0.0,) * 4
        except (KeyError, TypeError, ValueError):
            continue
        if size is None:
            continue
        if not (0 <= x0 < x1 <= size[0] + 1 and 0 <= y0 < y1 <= size[1] + 1):
            return ""
        looked_at += 1
        out += x0 + x1 > size[0] + 1 or y0 + y1 > size[1] + 1
    return "" if out * 2 <= looked_at else CORNERS_HINT


CORNERS_HINT = "; the boxes look like corners (x0, y0, x1, y1), and COCO's are left, top, width, height"
