"""Holidays, Oxford5k and Paris6k: image retrieval by the protocols of the benchmarks' own evaluation programs."""

from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Int
from torch import Tensor

from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch, Relevance
from seekloop.images.files import existing_folder
from seekloop.images.frames import Corners
from seekloop.images.instance_files import collection_of_files, numbers, own_images, read_lines, without_junk
from seekloop.images.walk import find_images

QUERY = "_query.txt"
PREFIX = "oxc1_"  # of Oxford's query images in its files, though not of the images themselves


@declared
def holidays(root: Path | str | None = None, cache: Path | str | None = None) -> InstanceSearch:
    """INRIA Holidays: 1,491 photographs of 500 scenes.

    The layout: anywhere in `root` photographs named by six digits, such as jpg/100000.jpg. The first four are the
    scene; the photograph ending in 00 is its query, as a whole, and right are the others of the scene. A query is
    taken out of its own ranking.

    Args:
        root: where they are.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the folder is missing, an image is named otherwise, or a scene has no query or nothing to find.

    Reference:
        Jégou, Douze & Schmid, Hamming embedding and weak geometric consistency, ECCV 2008.
    """
    base = existing_folder(root, "the folder with the photographs, such as jpg/100000.jpg")
    paths, scenes = find_images(base).paths, dict[str, list[int]]()
    for image, path in enumerate(paths):
        stem = PurePosixPath(path).stem
        if len(stem) != 6 or not stem.isdecimal():
            raise ConfigError(
                "root", str(base), f"{path} is not named by six digits", "Leave only Holidays' images there."
            )
        scenes.setdefault(stem[:4], []).append(image)
    asked: list[int] = []
    for scene, images in sorted(scenes.items()):
        queries = [image for image in images if PurePosixPath(paths[image]).stem.endswith("00")]
        if len(queries) != 1 or len(images) < 2:
            why = f"scene {scene} has {len(images)} photographs, of which {len(queries)} end in 00"
            raise ConfigError("root", str(base), why, "Unpack all of jpg1.tar.gz and jpg2.tar.gz.")
        asked += queries
    if not asked:
        raise ConfigError("root", str(base), "there are no images", "Unpack jpg1.tar.gz and jpg2.tar.gz there.")
    names = tuple(PurePosixPath(paths[image]).stem[:4] for image in asked)
    right = [
        torch.tensor([image for image in scenes[name] if image != own], dtype=torch.int64)
        for name, own in zip(names, asked, strict=True)
    ]
    queries_of = [paths[image] for image in asked]
    return InstanceSearch(
        collection_of_files("holidays", base, paths, {}, cache),
        collection_of_files("holidays queries", base, queries_of, {}, cache),
        names,
        own_images(paths, queries_of),
        without_junk(right),
        tuple({} for _ in names),
    )


@declared
def landmarks(
    name: str = "oxford5k", root: Path | str | None = None, cache: Path | str | None = None
) -> InstanceSearch:
    """Oxford5k or Paris6k, as first published: 55 query boxes, 5 of each of 11 landmarks.

    The layout, as unpacked: anywhere in `root` the images; in one folder the ground truth, for each query the files
    all_souls_1_query.txt, one line of an image's name (Oxford's with "oxc1_" before it) and the corners of the box in
    pixels, and all_souls_1_good.txt, _ok.txt and _junk.txt, names of images. Right are good and ok images, the query's
    own among them; junk is taken out of the ranking.

    Args:
        name: oxford5k or paris6k, for people.
        root: where it is.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if a file or an image is missing or is of another form.

    Reference:
        Philbin et al., Object retrieval with large vocabularies and fast spatial matching, CVPR 2007; Lost in
        quantization, CVPR 2008.
    """
    base = existing_folder(root, "the folder with the images and the ground truth")
    paths = find_images(base).paths
    position = {PurePosixPath(path).stem: image for image, path in enumerate(paths)}
    files = sorted(base.rglob(f"*{QUERY}"))
    if not files or len({file.parent for file in files}) > 1:
        why = f"the files *{QUERY} of the ground truth are in {len({file.parent for file in files})} folders"
        raise ConfigError("root", str(base), why, "Unpack the ground truth there, once.")

    def listed(file: Path) -> list[int]:
        return [image_of(position, file, words[0]) for words in read_lines(file)]

    asked, corners, positive, junk = list[int](), list[Corners](), list[Int[Tensor, " _"]](), list[Int[Tensor, " _"]]()
    for file in files:
        lines = read_lines(file)
        if len(lines) != 1:
            raise ConfigError("root", str(file), f"it has {len(lines)} lines, and not one", "Unpack it again.")
        asked.append(image_of(position, file, lines[0][0].removeprefix(PREFIX)))
        corners.append(numbers(file, lines[0][1:]))
        good, ok, out = (
            listed(Path(str(file).removesuffix(QUERY) + f"_{kind}.txt")) for kind in ("good", "ok", "junk")
        )
        positive.append(torch.tensor([*good, *ok], dtype=torch.int64))
        junk.append(torch.tensor(out, dtype=torch.int64))
    names = tuple(file.name.removesuffix(QUERY).rpartition("_")[0] for file in files)
    boxes = {query: [(names[query], box)] for query, box in enumerate(corners)}
    return InstanceSearch(
        collection_of_files(name, base, paths, {}, cache),
        collection_of_files(f"{name} queries", base, [paths[image] for image in asked], boxes, cache),
        names,
        torch.full((len(names),), -1),  # the query's own image counts
        {"all": Relevance(tuple(positive), tuple(junk))},
        tuple({} for _ in names),
    )


def image_of(position: dict[str, int], file: Path, name: str) -> int:
    """Position of the image that a file of the ground truth names.

    Raises:
        ConfigError: if it is not there.
    """
    if name not in position:
        raise ConfigError(
            "root", str(file), f"it names {name}, and there is no such image", "Unpack all of the images."
        )
    return position[name]
