"""Fashion200k: photographs of clothes with short descriptions."""

import re
from pathlib import Path
from typing import Literal

from seekloop.contracts.boxes import WHOLE_IMAGE
from seekloop.contracts.declared import declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.problems import Problem, ProblemKind
from seekloop.images.files import FileCollection, existing_folder
from seekloop.images.objects import RawObject, annotate
from seekloop.images.walk import find_images

FILES = "{kind}_{split}_detect_all.txt"
WORD = re.compile(r"[^\W_][\w'-]*")
FIX = "Put the label files at labels/<kind>_<split>_detect_all.txt, beside the folder women/."


class Fashion200k(FileCollection):
    """Fashion200k: labels/<kind>_<split>_detect_all.txt, a line each of path, detection score and description, by tabs.

    The kind is the object (dress, jacket, pants, skirt, top); each other word of the description is a property, so
    that "black knee-length dress" gives the classes "black dress" and "knee-length dress". A box is the whole image.

    Args:
        root: the folder that holds `labels` and `women`.
        split: "train", "test" or "all".
        cache: folder where content hashes are remembered; None to hash anew every time.

    Raises:
        ConfigError: if the label files are missing or none of their images is there.

    Reference:
        Han et al., Automatic spatially-aware fashion concept discovery, ICCV 2017.
    """

    @declared
    def __init__(
        self,
        root: Path | str | None = None,
        split: Literal["train", "test", "all"] = "test",
        cache: Path | str | None = None,
    ) -> None:
        base = existing_folder(root, "Fashion200k, the one that holds labels/ and women/")
        files = sorted((base / "labels").glob(FILES.format(kind="*", split="*" if split == "all" else split)))
        files = [file for file in files if not file.name.startswith(".")]
        if not files:
            raise ConfigError("root", root, f"it holds no labels/{FILES.format(kind='*', split=split)}", FIX)
        found = find_images(base, [base / "labels"])
        there, problems = set(found.paths), list(found.problems)
        positions: dict[str, int] = {}
        objects: list[RawObject] = []
        for file in files:
            kind = file.name.partition("_")[0].lower()
            for number, line in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), 1):
                where, fields = f"labels/{file.name}, line {number}", line.split("\t")
                if not line.strip():
                    continue
                if len(fields) != 3:
                    why = f"it has {len(fields)} fields between tabs, and not path, score and description"
                    problems.append(Problem(where, why))
                elif fields[0].strip() not in there:
                    problems.append(Problem(where, "there is no such file", ProblemKind.FILE))
                else:
                    image = positions.setdefault(fields[0].strip(), len(positions))
                    objects += [RawObject(where, image, name, WHOLE_IMAGE) for name in classes_of(kind, fields[2])]
        annotations, dropped = annotate(objects, ())
        twice = [one for one in dropped if one.kind is not ProblemKind.BY_RULE]  # an image may be listed twice
        renamed = {shown: real for shown, real in found.renamed.items() if shown in positions}
        super().__init__("fashion200k", base, list(positions), annotations, [*problems, *twice], cache, renamed)


def classes_of(kind: str, description: str) -> list[str]:
    """Classes of a garment: one for each word of its description, before its kind; the kind alone without any.

    Example:
        >>> classes_of("dress", "Black knee-length & black dress"), classes_of("top", "top")
        (['black dress', 'knee-length dress'], ['top'])
    """
    words = dict.fromkeys(WORD.findall(description.lower()))
    properties = [word for word in words if word not in (kind, f"{kind}s", f"{kind}es")]
    return [f"{word} {kind}" for word in properties] or [kind]
