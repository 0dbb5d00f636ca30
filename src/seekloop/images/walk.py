"""Find the pictures below a folder, and count the files that are not taken."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from seekloop.contracts.problems import Problem, ProblemKind, many
from seekloop.images.decoding import HEIF_SUFFIXES, formats, suffixes

# Folders that file servers, synchronisation and operating systems keep beside photographs, in lower case.
SYSTEM_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "@sharebin", "@recycle", "@recently-snapshot", "@__thumb", "@s2s", "@appstore", "@database",
        "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled", "trashbox", "system volume information",
        "found.000", "lost+found", "__macosx", "network trash folder", "temporary items", "~snapshot",
    }
)  # fmt: skip
RAW_SUFFIXES = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos",
        ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
    }
)  # fmt: skip
OTHER_PICTURES = frozenset(
    {
        ".eps", ".exr", ".fits", ".hdr", ".ico", ".jxl", ".jxr", ".pdf", ".psb", ".psd", ".svg", ".svgz", ".tga",
        ".xcf",
        ".3gp", ".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".webm", ".wmv",
    }
)  # fmt: skip


# Endings of files that lie beside photographs and hold none, so that they are not opened to see.
BESIDE_PICTURES = frozenset(
    {
        ".aae", ".csv", ".db", ".html", ".ini", ".json", ".log", ".md", ".parquet", ".py", ".pth", ".thm", ".tsv",
        ".txt", ".xlsx", ".xml", ".xmp", ".yaml", ".yml", ".zip",
    }
)  # fmt: skip


@dataclass(frozen=True)
class ImageFiles:
    r"""The pictures below a folder.

    Attributes:
        root: the folder.
        paths: of the pictures from the root, with forward slashes, sorted. Bytes that are not UTF-8 are written as
            `\xe9`, so that a path can be printed and stored.
        renamed: the real relative path where `paths` had to write bytes so.
        problems: what was not taken.
    """

    root: Path
    paths: tuple[str, ...]
    renamed: Mapping[str, str]
    problems: tuple[Problem, ...]

    def file(self, path: str) -> Path:
        """Where the file of one of `paths` is."""
        return self.root / self.renamed.get(path, path)


def find_images(root: Path, besides: Iterable[Path] = ()) -> ImageFiles:
    """Find every picture at or below a folder.

    Links to folders are followed; a folder is read once, however many links lead to it. Hidden files and folders, and
    those that file servers and operating systems keep for themselves (`@eaDir`, `#recycle`, ...), are passed over.
    Everything that is not taken is counted.

    Args:
        root: the folder.
        besides: files that hold something else, such as annotations, and need not be mentioned; of folders, the
            files in them that cannot be pictures.
    """
    walk = _Walk(root, {path.absolute() for path in besides})
    walk.run()
    pictures = [file for file in walk.files if file.suffix.lower() in suffixes()]
    kept, twice = _without_second_ways(root, pictures)
    names = {_shown(root, file): file.relative_to(root).as_posix() for file in kept}
    clash = len(kept) - len(names)
    problems = [*walk.problems, *twice, *_not_taken(root, set(walk.files).difference(pictures))]
    if clash:
        why = f"{many(clash, 'picture has', 'pictures have')} the name that another one's bytes are written as"
        problems.append(Problem(printable(str(root)), why, ProblemKind.FILE, clash))
    renamed = {shown: real for shown, real in names.items() if shown != real}
    if renamed:
        first, why = next(iter(sorted(renamed))), r"not UTF-8; what cannot be written is shown as \x.."
        count = many(len(renamed), "file name is", "file names are")
        problems.append(Problem(first, f"{count} {why}", ProblemKind.NOTE, len(renamed)))
    return ImageFiles(root, tuple(sorted(names)), renamed, tuple(problems))


def find_files(root: Path, ending: str) -> tuple[list[Path], list[Problem]]:
    """Files of one ending at or below a folder, sorted, and folders that could not be read; found as pictures are."""
    walk = _Walk(root, set())
    walk.run()
    not_read = [problem for problem in walk.problems if problem.kind is ProblemKind.FILE]
    return sorted(file for file in walk.files if file.suffix.lower() == ending), not_read


def printable(path: str) -> str:
    r"""A path that can be printed and stored: bytes that are not UTF-8 become `\xe9`.

    Example:
        >>> printable("caf\udce9.jpg")
        'caf\\xe9.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class _Walk:
    """Visits folders, those behind links last, each once."""

    def __init__(self, root: Path, besides: set[Path]) -> None:
        self.root, self.besides = root, besides
        self.files: list[Path] = []
        self.problems: list[Problem] = []
        self.seen: set[tuple[int, int]] = set()
        self.above = {_identity(parent) for parent in root.resolve().parents}
        self.hidden = self.kept_by_systems = 0

    def run(self) -> None:
        waiting, links = [self.root], list[Path]()
        while waiting or links:
            folder = waiting.pop() if waiting else links.pop(0)
            inside, behind_links = self._visit(folder)
            waiting += inside
            links += behind_links
        if self.hidden:
            why = f"{many(self.hidden, 'hidden picture or folder was', 'hidden pictures or folders were')} passed over"
            self._note(self.root, why, self.hidden)
        if self.kept_by_systems:
            folders = many(self.kept_by_systems, "folder", "folders")
            why = f"{folders} of file servers or operating systems passed over (@eaDir, $RECYCLE.BIN, ...)"
            self._note(self.root, why, self.kept_by_systems)

    def _visit(self, folder: Path) -> tuple[list[Path], list[Path]]:
        """Folders inside this one, and folders behind links in it."""
        try:
            identity = _identity(folder)
            if identity in self.seen or (identity in self.above and folder != self.root):
                self._note(folder, "leads to a folder that is read elsewhere, or to one around this collection")
                return [], []
            self.seen.add(identity)
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            self.problems.append(Problem(self._shown(folder), f"not read: {error.strerror}", ProblemKind.FILE))
            return [], []
        folders = [entry for entry in found if self._is_open_folder(entry)]
        inside = [Path(entry.path) for entry in folders if not entry.is_symlink()]
        return inside, [Path(entry.path) for entry in folders if entry.is_symlink()]

    def _is_open_folder(self, entry: os.DirEntry[str]) -> bool:
        """Whether an entry is a folder to be read; files are noted here."""
        path, is_folder = Path(entry.path), _is_folder(entry)
        if path.absolute() in self.besides and not is_folder:
            return False
        if entry.name.startswith("."):
            self.hidden += is_folder or path.suffix.lower() in suffixes()
        elif is_folder and entry.name.lower() in SYSTEM_FOLDERS:
            self.kept_by_systems += 1
        elif is_folder:
            return True
        elif _is_file(entry):
            annotates = path.suffix.lower() in BESIDE_PICTURES and self.besides.intersection(path.absolute().parents)
            self.files += [] if annotates else [path]
        else:
            why = "a link to nothing" if entry.is_symlink() else "neither a file nor a folder"
            self.problems.append(Problem(self._shown(path), why, ProblemKind.FILE))
        return False

    def _shown(self, path: Path) -> str:
        return _shown(self.root, path)

    def _note(self, path: Path, why: str, count: int = 1) -> None:
        where = printable(str(path)) if path == self.root else self._shown(path)
        self.problems.append(Problem(where, why, ProblemKind.NOTE, count))


def _shown(root: Path, path: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a circle of links
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a circle of links
        return False


def _without_second_ways(root: Path, pictures: list[Path]) -> tuple[list[Path], list[Problem]]:
    """Pass over links to pictures that are there themselves."""
    own = {path.resolve() for path in pictures if not path.is_symlink()}
    seen: set[Path] = set()
    kept: list[Path] = []
    second: list[Path] = []
    for path in sorted(pictures):
        target = path.resolve() if path.is_symlink() else None
        if target is None or target not in own | seen:
            kept.append(path)
            seen |= {target} if target else set()
        else:
            second.append(path)
    if not second:
        return kept, []
    why = f"{many(len(second), 'link leads', 'links lead')} to pictures that are in the collection already: passed over"
    return kept, [Problem(_shown(root, second[0]), why, ProblemKind.NOTE, len(second))]


def _not_taken(root: Path, unread: Iterable[Path]) -> list[Problem]:
    """Files that are not read as pictures: camera raw and other formats of pictures, then everything else."""
    files = sorted(unread)
    problems = []
    by_suffix = Counter(file.suffix.lower() for file in files)
    groups = {
        "camera raw files; convert them to JPEG or TIFF first (darktable-cli, RawTherapee, ...)": RAW_SUFFIXES,
        "HEIC files need pillow-heif: pip install 'seekloop[heif]'": HEIF_SUFFIXES - suffixes(),
        "pictures or videos of a format that is not read; convert them first": OTHER_PICTURES,
    }
    for why, members in groups.items():
        counts = {suffix: by_suffix.pop(suffix) for suffix in sorted(members & by_suffix.keys())}
        if counts:
            first = next(file for file in files if file.suffix.lower() in counts)
            total = sum(counts.values())
            problems.append(Problem(_shown(root, first), f"{_listed(counts)}: {why}", ProblemKind.FILE, total))
    known = BESIDE_PICTURES.union(*groups.values())
    misnamed = [file for file in files if file.suffix.lower() not in known and is_picture(file)]
    if misnamed:
        counts = Counter(file.suffix.lower() for file in misnamed)
        why = f"{_listed(counts)}: pictures, but not by their endings; rename them to .jpg, .png, ..."
        problems.append(Problem(_shown(root, misnamed[0]), why, ProblemKind.FILE, len(misnamed)))
        by_suffix.subtract(counts)
    others = {suffix: count for suffix, count in sorted(by_suffix.items()) if count > 0}
    if others:
        first = next(file for file in files if file.suffix.lower() in others)
        total = sum(others.values())
        why = f"{_listed(others)}: no pictures, so not taken"
        problems.append(Problem(_shown(root, first), why, ProblemKind.NOTE, total))
    return problems


def _listed(counts: Mapping[str, int]) -> str:
    """Such as "6 .cr2, 1 .dng, 2 without an ending"."""
    parts = [f"{count:,} {printable(suffix) if suffix else 'without an ending'}" for suffix, count in counts.items()]
    return ", ".join(parts[:8]) + (f" and {len(parts) - 8} more endings" if len(parts) > 8 else "")


def is_picture(file: Path) -> bool:
    """Whether a file's first bytes are those of a picture that can be read."""
    try:
        with Image.open(file, formats=formats()):
            return True
    except Exception:  # not a picture, or not readable: either way it is not taken
        return False


def stem(path: str) -> str:
    """A path without its ending."""
    return str(PurePosixPath(path).with_suffix(""))
