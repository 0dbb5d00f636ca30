"""Revisited Oxford and Paris: 70 query boxes each, and three settings of what counts."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.images.files import existing_folder
from seekloop.images.frames import Corners
from seekloop.images.instance_files import collection_of_files, first_there, own_images, refuse_missing
from seekloop.images.plain_pickle import read_plain
from seekloop.images.walk import find_images

# What is right, and what is taken out of the ranking beside the junk.
SETUPS = {
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}


@declared
def revisited(
    name: str = "roxford5k",
    root: Path | str | None = None,
    cache: Path | str | None = None,
    distractors: Path | str | None = None,
) -> InstanceSearch:
    """Revisited Oxford (roxford5k) or Paris (rparis6k).

    The layout: `gnd_<name>.pkl` and the folder `jpg` with all images, in `root` or in `root/<name>`. The pickle is a
    dictionary: `imlist` and `qimlist` are file names without ".jpg"; `gnd` has for every query `easy`, `hard` and
    `junk`, positions in `imlist` counted from 0, and `bbx`, the corners of the query's box in pixels. Of the pickle,
    only plain data is read.

    Args:
        name: roxford5k or rparis6k.
        root: where it is.
        cache: folder where content hashes are remembered; None to hash anew every time.
        distractors: folder of images that show none of the buildings, from `root`, or absolute: those of R1M, unpacked.
            They come after the images of the benchmark. None: these alone are searched.

    Raises:
        ConfigError: if a file or an image is missing, or the pickle is of another form.

    Reference:
        Radenovic et al., Revisiting Oxford and Paris, CVPR 2018.
    """
    base = existing_folder(root, f"the folder with gnd_{name}.pkl and jpg")
    truth = first_there(base, (f"gnd_{name}.pkl", f"{name}/gnd_{name}.pkl"), "published with the benchmark")
    folder = truth.parent
    first_there(folder, ("jpg",), "the folder of all images")
    content = read_truth(truth)
    database, queries = ([f"jpg/{one}.jpg" for one in content[key]] for key in ("imlist", "qimlist"))
    refuse_missing(folder, [*database, *queries])
    if distractors is not None:
        database = [*database, *distractor_paths(base / distractors, folder)]
    names = tuple(str(one).rpartition("_")[0] or str(one) for one in content["qimlist"])
    boxes = {
        number: [(name, corners(truth, query))]
        for number, (name, query) in enumerate(zip(names, content["gnd"], strict=True))
    }

    def lists(keys: Sequence[str]) -> tuple[Int[Tensor, " _"], ...]:
        return tuple(positions(truth, query, keys, len(content["imlist"])) for query in content["gnd"])

    return InstanceSearch(
        collection_of_files(name, folder, database, {}, cache),
        collection_of_files(f"{name} queries", folder, queries, boxes, cache),
        names,
        own_images(database, queries),
        {setup: Relevance(lists(right), lists(out)) for setup, (right, out) in SETUPS.items()},
        tuple({} for _ in names),
    )


def distractor_paths(distractors: Path, folder: Path) -> list[str]:
    """Images below the folder of distractors, as paths from the benchmark's folder.

    Raises:
        ConfigError: if there are none.
    """
    paths = find_images(distractors).paths if distractors.is_dir() else ()
    if not paths:
        why = "it holds no image" if distractors.is_dir() else "there is no such folder"
        raise ConfigError("distractors", str(distractors), why, "Unpack the distractors, or say distractors=null.")
    return [Path(os.path.relpath(distractors / path, folder)).as_posix() for path in paths]


def read_truth(file: Path) -> Mapping[str, Any]:
    """Read the pickle's dictionary."""
    try:
        content = read_plain(file)
    except ValueError as error:
        fix = "Fetch it again from where it is published."
        raise ConfigError("root", str(file), str(error), fix) from error
    wanted = ("imlist", "qimlist", "gnd")
    if not isinstance(content, dict) or not all(key in content for key in wanted):
        raise ConfigError("root", str(file), f"it has no {', '.join(wanted)}", "Take the published one.")
    if len(content["qimlist"]) != len(content["gnd"]):
        why = f"it has {len(content['qimlist'])} queries and the truth about {len(content['gnd'])}"
        raise ConfigError("root", str(file), why, "Take the published one.")
    return content


def corners(file: Path, query: Mapping[str, Any]) -> Corners:
    """The query's box in pixels."""
    box = [float(v) for v in query.get("bbx", ())]
    if len(box) != 4:
        raise ConfigError("root", str(file), "a query has no bbx of four numbers", "Take the published one.")
    return box[0], box[1], box[2], box[3]


def positions(file: Path, query: Mapping[str, Any], keys: Sequence[str], images: int) -> Int[Tensor, " _"]:
    """Positions of all images in some of a query's lists."""
    if missing := [key for key in keys if key not in query]:
        fix = "Take the one of the revisited benchmark, not of the original one."
        raise ConfigError("root", str(file), f"a query has no list of {' or '.join(missing)} images", fix)
    known = [int(position) for key in keys for position in query[key]]
    if any(not 0 <= position < images for position in known):
        raise ConfigError("root", str(file), f"positions exceed its {images} images", "Take the published one.")
    return torch.tensor(known, dtype=torch.int64)
