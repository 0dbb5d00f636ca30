"""INSTRE: objects from many domains, photographed alone (S1, S2) and two at a time (M)."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from scipy import io
from torch import Tensor

from seekloop.contracts.declared import Count, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.images.annotated import annotated
from seekloop.images.files import existing_folder
from seekloop.images.instance_files import (
    Objects,
    around_all,
    boxes_of,
    collection_of_files,
    extents,
    first_there,
    own_images,
    read_lines,
    refuse_missing,
    without_junk,
)
from seekloop.images.walk import find_images

PARTS = ("INSTRE-S1", "INSTRE-S2", "INSTRE-M")


@declared
def instre(
    root: Path | str | None = None,
    ground_truth: str | None = "gnd_instre.mat",
    queries: Count = 5,
    seed: int = 0,
    cache: Path | str | None = None,
    multiple: bool = False,
) -> InstanceSearch:
    """INSTRE with the queries of Iscen et al., or with queries drawn from its own boxes.

    The layout, as published: in `root` the folders INSTRE-S1, INSTRE-S2 and INSTRE-M; in each a folder per class, such
    as 01a_canada_book, and in M 01; beside every image 001.jpg its boxes 001.txt, one "left top width height" in pixels
    a line. On an image of M's class 01 the first line is the object of S1's class that begins with 01a, the second that
    of 01b. A query on an image of M is the box around both, and so are the boxes that it is to find: the paper on CLAID
    has one vector for a query, also where it shows several objects.

    The ground truth is a MATLAB file: `imlist` and `qimlist` are paths from `root`; `gnd` has for every query first the
    positions of the right images in `imlist`, counted from 1, and then a box, which is not read: readers of this file
    disagree on whether it is two corners or a corner and the extents, and the text files say the same. No query is in
    the database there (27,293 images, 1,250 queries).

    Args:
        root: where it is.
        ground_truth: the file's path from `root`; None: all images are the database, and queries are drawn.
        queries: how many are drawn of each object; not read where there is a ground truth.
        seed: of the draw.
        cache: folder where content hashes are remembered; None to hash anew every time.
        multiple: whether only the queries that show two objects are asked (INSTRE-M: 250), in the same database.

    Raises:
        ConfigError: if a file or an image is missing, or a file is of another form; if `multiple` is to choose among
            queries that are drawn, each of one object.

    Reference:
        Wang & Jiang, INSTRE, ACM TOMM 2015; Iscen et al., Efficient diffusion on region manifolds, CVPR 2017.
    """
    base = existing_folder(root, f"the folder with {', '.join(PARTS)}")
    for part in PARTS:
        first_there(base, (part,), "one of the three folders of INSTRE")
    pairs = instances_of_pairs(base)
    if ground_truth is None:
        if multiple:
            why = "queries that are drawn show one object each"
            raise ConfigError("multiple", True, why, "Use multiple=false, or the ground truth.")
        paths = [path for path in find_images(base).paths if path.split("/")[0] in PARTS]
        return annotated(collection_of_files("instre", base, paths, objects(base, paths, pairs), cache), queries, seed)
    truth = first_there(base, (ground_truth, ground_truth.lower()), "the file of Iscen et al.")
    database, asked, positives = read_truth(truth)
    if multiple:
        chosen = [query for query, path in enumerate(asked) if path.split("/")[0] == PARTS[2]]
        asked, positives = [asked[query] for query in chosen], tuple(positives[query] for query in chosen)
    refuse_missing(base, [*database, *asked])
    known = collection_of_files("instre", base, database, objects(base, database, pairs), cache)
    boxes = objects(base, asked, pairs)
    names = [tuple(name for name, _ in boxes.get(query, ())) for query in range(len(asked))]
    joined = tuple(" + ".join(some) for some in names)
    around = {query: [(joined[query], around_all([box for _, box in some]))] for query, some in boxes.items()}
    shown = boxes_of(known.annotations, zip(names, (right.tolist() for right in positives), strict=True))
    return InstanceSearch(
        known,
        collection_of_files("instre queries", base, asked, around, cache),
        joined,
        own_images(database, asked),
        without_junk(positives),
        tuple(
            {image: torch.cat([box[:, :2].amin(dim=0), box[:, 2:].amax(dim=0)])[None] for image, box in one.items()}
            if len(some) > 1
            else one
            for one, some in zip(shown, names, strict=True)
        ),
    )


def instances_of_pairs(base: Path) -> dict[str, list[str]]:
    """For every class of INSTRE-M, the two classes of INSTRE-S1 that its images show, in the order of their boxes."""
    single = sorted(folder.name for folder in (base / PARTS[0]).iterdir() if folder.is_dir())
    pairs = {}
    for folder in sorted(folder.name for folder in (base / PARTS[2]).iterdir() if folder.is_dir()):
        both = [[name for name in single if name.startswith(folder + letter)] for letter in "ab"]
        if [len(names) for names in both] != [1, 1]:
            why = f"{PARTS[0]} has not one folder {folder}a... and one {folder}b... for {PARTS[2]}/{folder}"
            raise ConfigError("root", str(base), why, "Take INSTRE as it is published.")
        pairs[folder] = [f"{PARTS[0]}/{names[0]}" for names in both]
    return pairs


def objects(base: Path, paths: Sequence[str], pairs: Mapping[str, Sequence[str]]) -> dict[int, Objects]:
    """By position, the objects and boxes of every image; images without a text file are left out."""
    known: dict[int, Objects] = {}
    for image, path in enumerate(paths):
        file = base / PurePosixPath(path).with_suffix(".txt")
        if file.is_file():
            part, folder = path.split("/")[:2]
            names = pairs[folder] if part == PARTS[2] else [f"{part}/{folder}"]
            boxes = [extents(file, words) for words in read_lines(file)]
            if len(boxes) != len(names):
                why = f"it has {len(boxes)} boxes, and its image shows {len(names)} objects"
                raise ConfigError("root", str(file), why, "Take INSTRE as it is published.")
            known[image] = list(zip(names, boxes, strict=True))
    return known


def read_truth(file: Path) -> tuple[list[str], list[str], tuple[Int[Tensor, " _"], ...]]:
    """Read the paths of the database and of the queries, and the positions of each query's right images."""
    try:
        content: dict[str, Any] = io.loadmat(file)  # type: ignore[attr-defined, no-untyped-call]
        database, asked = (
            [str(np.asarray(one).reshape(-1)[0]) for one in content[key].reshape(-1)] for key in ("imlist", "qimlist")
        )
        rows = [np.asarray(query[0]).reshape(-1).astype(np.int64) - 1 for query in content["gnd"].reshape(-1)]
    except Exception as error:  # a damaged or other file raises nearly anything
        why = f"it is not of the form expected ({type(error).__name__}: {error})"
        raise ConfigError("ground_truth", str(file), why, "Take that of Iscen et al.") from error
    positions = np.concatenate([*rows, np.zeros(1, dtype=np.int64)])
    if len(rows) != len(asked) or positions.min() < 0 or positions.max() >= len(database):
        last = positions.max() + 1
        why = f"it has {len(rows)} answers to {len(asked)} queries, up to position {last} of {len(database)}"
        raise ConfigError("ground_truth", str(file), why, "Take that of Iscen et al.")
    return database, asked, tuple(torch.from_numpy(row.copy()) for row in rows)
