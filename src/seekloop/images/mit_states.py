"""MIT-States: photographs of objects in a state."""

from pathlib import Path

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.files import FileCollection, existing_folder
from seekloop.images.objects import RawObject, annotate, class_name
from seekloop.images.walk import find_images

NO_STATE = "adj"  # stands for the state in the names of folders of objects without one


class MitStates(FileCollection):
    """MIT-States, or any folder with images/<state> <object>/, such as "images/clean shirt/1.jpg".

    The class of a photograph is the name of its folder, "clean shirt", and its box the whole image. Photographs of
    objects without a state ("adj shirt") are left out: which states they show is not known.

    Args:
        root: the folder that holds `images`.
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if there is no such folder, or nothing in it has a state.

    Reference:
        Isola, Lim & Adelson, Discovering states and transformations in image collections, CVPR 2015.
    """

    @declared
    def __init__(self, root: Path | str | None = None, cache: Path | str | None = None) -> None:
        base = existing_folder(root, "MIT-States, the one that holds images/")
        if not (base / "images").is_dir():
            raise ConfigError("root", root, "it holds no folder images", "Unpack release_dataset.zip there.")
        found = find_images(base / "images")
        paths: list[str] = []
        objects: list[RawObject] = []
        others: list[str] = []
        for path in found.paths:
            folder, _, file = path.partition("/")
            state, _, thing = class_name(folder).lower().partition(" ")
            if not file or not thing or state == NO_STATE:
                others.append(f"images/{path}")
                continue
            objects.append(RawObject(f"images/{path}", len(paths), f"{state} {thing}", WHOLE_IMAGE))
            paths.append(f"images/{path}")
        problems = list(found.problems)
        if others:
            why = f"{many(len(others), 'picture is', 'pictures are')} in no folder of a state and an object: left out"
            problems.append(Problem(others[0], why, ProblemKind.BY_RULE, len(others)))
        annotations, dropped = annotate(objects, ())
        renamed = {f"images/{shown}": f"images/{real}" for shown, real in found.renamed.items()}
        super().__init__("mit_states", base, paths, annotations, [*problems, *dropped], cache, renamed)
