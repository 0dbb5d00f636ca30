"""LVIS: COCO's photographs with more than a thousand classes, each verified on some of the images only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from seekloop.contracts.declared import Share, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.coco import Coco, coco_objects, key_of, load_coco, parse_coco
from seekloop.images.files import FileCollection, existing_folder, image_headers, refuse_losses
from seekloop.images.frames import Frames
from seekloop.images.instance_files import first_there
from seekloop.images.names import without_address
from seekloop.images.objects import annotations_of

Frequency = Literal["rare", "common", "frequent"]
FREQUENCIES: dict[str, Frequency] = {"r": "rare", "c": "common", "f": "frequent"}


class Lvis(FileCollection):
    """LVIS v1, or any collection of its layout: lvis_v1_val.json beside COCO's folders train2017 and val2017.

    The file is looked for in `annotations`, in `lvis`, and in `root` itself. An image's path is the end of its
    `coco_url`, as in train2017/000000391895.jpg: LVIS's validation images are from both of COCO's folders. A class is
    called by its name with blanks for underscores, as in published vocabularies: "aerosol_can" is "aerosol can".

    LVIS is federated: a class is annotated on some images, is known to be absent from those that list it in
    `neg_category_ids` (see `absent`), and on all others nothing is known about it. It is rare, common or frequent (see
    `frequency`): on 1 to 10, 11 to 100, or more than 100 training images, as the file says.

    Args:
        root: the folder that holds `annotations` and the images' folders.
        split: "train" or "val".
        max_loss: largest share of the annotated objects that may be left out.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if something is missing or more objects are lost than allowed.

    Reference:
        Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        split: Literal["train", "val"] = "val",
        max_loss: Share = 0.1,
        cache: Path | str | None = None,
    ) -> None:
        folder = existing_folder(root, "COCO's images and LVIS's annotations")
        name = f"lvis_v1_{split}.json"
        places = (f"annotations/{name}", f"lvis/{name}", name)
        file = first_there(folder, places, f"LVIS's annotations, unpacked from {name}.zip")
        where = file.relative_to(folder).as_posix()
        try:
            content = with_words(load_coco(file))
        except ValueError as error:
            raise ConfigError("root", str(folder), f"{where}: {error}", "Unpack LVIS's annotations again.") from error
        coco = parse_coco(content, name)
        paths = [one for one in dict.fromkeys(image.name for image in coco.images) if (folder / one).is_file()]
        positions = {path: position for position, path in enumerate(paths)}
        missing = [
            Problem(f"{where}, image {image.name!r}", f"there is no file {folder / image.name}", ProblemKind.FILE)
            for image in coco.images
            if image.name not in positions
        ]
        source = coco_objects(coco, where, positions, missing)
        annotations, problems = annotations_of(source, Frames(image_headers(folder, paths, cache)))
        refuse_losses(len(annotations.image), problems, max_loss)
        self.known_absent = absent_from(content["images"], coco, positions)
        self.known_frequency = frequencies(content["categories"], coco)
        super().__init__("lvis", folder, paths, annotations, problems, cache)

    def absent(self) -> Mapping[str, Sequence[int]]:
        """By class, positions of the images that were verified not to show it."""
        return self.known_absent

    def frequency(self) -> Mapping[str, Frequency]:
        """By class, whether it is rare, common or frequent; classes of which the file does not say it are left out."""
        return self.known_frequency


def with_words(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an LVIS file as COCO's: images by the end of their address, classes by words.

    Raises:
        ValueError: if its images say nothing about the classes that they do not show.
    """
    entries = [entry for entry in content["images"] if isinstance(entry, Mapping)]
    if not any("neg_category_ids" in entry for entry in entries):
        raise ValueError("no image has neg_category_ids, so it is no file of LVIS; collection=coco2017 reads COCO's")
    return {
        "images": [{**entry, "file_name": path_of(entry)} for entry in entries],
        "categories": [
            {**entry, "name": entry["name"].replace("_", " ")}
            if isinstance(entry, Mapping) and isinstance(entry.get("name"), str)
            else entry
            for entry in content["categories"]
        ],
        "annotations": content["annotations"],
    }


def path_of(entry: Mapping[str, Any]) -> str | None:
    """The path of an image's file: the end of its address, or its name where it has no address.

    Example:
        >>> path_of({"coco_url": "http://images.cocodataset.org/train2017/000000391895.jpg"})
        'train2017/000000391895.jpg'
    """
    address = entry.get("coco_url")
    if isinstance(address, str) and address.strip():
        return "/".join(without_address(address.strip()).split("/")[-2:])
    return entry.get("file_name")


def absent_from(
    entries: Sequence[Mapping[str, Any]], coco: Coco, positions: Mapping[str, int]
) -> dict[str, tuple[int, ...]]:
    """By class, the positions of the images that list it in `neg_category_ids`, ascending."""
    images: dict[str, set[int]] = {}
    for entry in entries:
        if (position := positions.get(entry["file_name"])) is None:
            continue
        for number in entry.get("neg_category_ids") or ():
            if (name := coco.categories.get(key_of(number) or "")) is not None:
                images.setdefault(name, set()).add(position)
    return {name: tuple(sorted(several)) for name, several in sorted(images.items())}


def frequencies(entries: Sequence[Any], coco: Coco) -> dict[str, Frequency]:
    """By class, what its letter in `frequency` stands for; other letters say nothing."""
    letters = {
        coco.categories.get(key_of(entry.get("id")) or ""): str(entry.get("frequency"))
        for entry in entries
        if isinstance(entry, Mapping)
    }
    return {name: FREQUENCIES[one] for name, one in letters.items() if name is not None and one in FREQUENCIES}
