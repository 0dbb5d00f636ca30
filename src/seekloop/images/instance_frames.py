"""Instance-160 and Instance-335: frames of videos, each of which follows one object."""

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.instances import InstanceSearch
from seekloop.images.files import existing_folder
from seekloop.images.frames import Corners
from seekloop.images.instance_files import extents, first_there, numbers, read_lines, search_by_object
from seekloop.images.walk import find_images

BOX_FOLDERS = ("bbox", "merge_bbox")


@declared
def instance_frames(
    name: str = "instance-160",
    root: Path | str | None = None,
    queries: Path | str | None = None,
    cache: Path | str | None = None,
) -> InstanceSearch:
    """Instance-160 or Instance-335.

    No description of the layout is published with the data. What is assumed here is what evaluation code reads: in
    `root` a folder Images with one folder per object that holds its frames, such as
    Images/09ConfusionVideo00004/09ConfusionVideo00004_00000091.jpg; and a folder bbox (or merge_bbox) of text files
    whose lines are "name left top width height", the name a frame's without folder and suffix, in pixels. A query is
    a line "path left top right bottom" of the file `queries`, whose path may have a ">0000" behind it, and of which
    only the file's name counts. Without that file, the first frame of every folder is its query: that is a guess.

    The images of all queries are taken out of the database, as that code does. Right are the other frames of the
    query's folder.

    Args:
        name: for people.
        root: where it is.
        queries: path of the file from `root`; None: the first frame of each folder.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if a file or folder is missing or is of another form, or a query's frame or box is not there.

    Reference:
        Xiao et al., Deeply activated salient region for instance search, ACM TOMM 2022.
    """
    base = existing_folder(root, "the folder with Images and bbox")
    frames = [f"Images/{path}" for path in find_images(first_there(base, ("Images",), "the folder of frames")).paths]
    if not frames:
        raise ConfigError("root", str(base), "there are no images in Images", "Unpack the frames there.")
    lines = [
        (file, words)
        for file in sorted(first_there(base, BOX_FOLDERS, "the folder of box files").rglob("*.txt"))
        for words in read_lines(file)
    ]
    known = {words[0]: extents(file, words[1:]) for file, words in lines}
    asked = first_frames(base, frames, known) if queries is None else read_queries(base / queries, frames)
    taken = {path for path, _ in asked}
    database = [path for path in frames if path not in taken]
    boxes = {image: [known[stem]] for image, path in enumerate(database) if (stem := PurePosixPath(path).stem) in known}
    return search_by_object(name, base, database, boxes, asked, lambda path: PurePosixPath(path).parent.name, cache)


def first_frames(base: Path, frames: Sequence[str], known: Mapping[str, Corners]) -> list[tuple[str, Corners]]:
    """The first frame of every folder, which shows one object, with its box."""
    first = {PurePosixPath(path).parent.name: path for path in sorted(frames, reverse=True)}
    for path in first.values():
        if PurePosixPath(path).stem not in known:
            why = f"no box file has a line for {PurePosixPath(path).stem}, the first frame of its folder"
            raise ConfigError("root", str(base), why, "Give queries, or complete the box files.")
    return [(path, known[PurePosixPath(path).stem]) for _, path in sorted(first.items())]


def read_queries(file: Path, frames: Sequence[str]) -> list[tuple[str, Corners]]:
    """Read a list of queries: frames, with their boxes."""
    if not file.is_file():
        raise ConfigError("queries", str(file), "there is no such file", "Give its path from root.")
    by_name = {PurePosixPath(path).name: path for path in frames}
    asked = []
    for words in read_lines(file):
        name = PurePosixPath(words[0].split(">")[0]).name
        if name not in by_name:
            raise ConfigError("queries", str(file), f"there is no frame {name}", "Unpack all of Images.")
        asked.append((by_name[name], numbers(file, words[1:5])))
    if not asked:
        raise ConfigError("queries", str(file), "it is empty", "Write one query a line.")
    return asked
