"""Find the pictures below a folder, and count the files that are not taken."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
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


FOLDER, LINK, FILE = "a folder", "a link to a folder", "a file"  # kinds of entries
HIDDEN = "hidden picture or folder was | hidden pictures or folders were"
SYSTEM = (
    "folder of file servers or operating systems (@eaDir, $RECYCLE.BIN, ...) was | "
    "folders of file servers or operating systems (@eaDir, $RECYCLE.BIN, ...) were"
)


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

    @property
    def real(self) -> list[str]:
        """The real relative paths, in the order of `paths`."""
        return [self.renamed.get(path, path) for path in self.paths]


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
    files, problems = _walk(root, {path.absolute() for path in besides})
    pictures = [file for file in files if file.suffix.lower() in suffixes()]
    own = {path.resolve() for path in pictures if not path.is_symlink()}
    names: dict[str, str] = {}  # as they are shown, the real ones
    second: list[Path] = []  # links to pictures that are there themselves, or by another link
    for path in sorted(pictures):
        target = path.resolve() if path.is_symlink() else None
        if target in own:
            second.append(path)
            continue
        own |= {target} if target else set()
        shown = _shown(root, path)
        if shown in names:
            why = "another picture has the name that this one's bytes are written as, and is not taken"
            problems.append(Problem(shown, why, ProblemKind.FILE))
        names[shown] = path.relative_to(root).as_posix()
    if second:
        links = many(len(second), "link leads", "links lead")
        why = f"{links} to pictures that are in the collection already: passed over"
        problems.append(Problem(_shown(root, second[0]), why, ProblemKind.NOTE, len(second)))
    renamed = {shown: real for shown, real in names.items() if shown != real}
    if renamed:
        first, why = min(renamed), r"not UTF-8; what cannot be written is shown as \x.."
        count = many(len(renamed), "file name is", "file names are")
        problems.append(Problem(first, f"{count} {why}", ProblemKind.NOTE, len(renamed)))
    problems += _not_taken(root, sorted(set(files).difference(pictures)))
    return ImageFiles(root, tuple(sorted(names)), renamed, tuple(problems))


def find_files(root: Path, ending: str) -> tuple[list[Path], list[Problem]]:
    """Files of one ending at or below a folder, sorted, and folders that could not be read; found as pictures are."""
    files, problems = _walk(root, set())
    not_read = [problem for problem in problems if problem.kind is ProblemKind.FILE]
    return sorted(file for file in files if file.suffix.lower() == ending), not_read


def stamp(root: Path) -> str:
    """Hash of the paths, sizes and times of all pictures below a folder: another one where any has changed.

    No file is read. Empty where there is no folder.
    """
    if not root.is_dir():
        return ""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(path for path in _walk(root, set())[0] if path.suffix.lower() in suffixes()):
        try:
            stat = path.stat()
        except OSError:  # gone meanwhile
            continue
        digest.update(os.fsencode(path) + f"\0{stat.st_size} {stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def printable(path: str) -> str:
    r"""A path that can be printed and stored: bytes that are not UTF-8 become `\xe9`.

    Example:
        >>> printable("caf\udce9.jpg")
        'caf\\xe9.jpg'
    """
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _walk(root: Path, besides: set[Path]) -> tuple[list[Path], list[Problem]]:
    """Visit folders, those behind links last, each once: their files, and what was passed over."""
    entries: dict[str, list[Path]] = {kind: [] for kind in (HIDDEN, SYSTEM, FOLDER, LINK, FILE)}
    problems: list[Problem] = []
    seen = {_identity(parent) for parent in root.resolve().parents}
    entries[FOLDER] = [root]
    while entries[FOLDER] or entries[LINK]:
        folder = entries[FOLDER].pop() if entries[FOLDER] else entries[LINK].pop(0)
        inside = _inside(folder, root, seen)
        if isinstance(inside, Problem):
            problems.append(inside)
            continue
        for entry in inside:
            path, kind = Path(entry.path), _kind(entry, besides)
            if kind in entries:
                entries[kind].append(path)
            elif kind:
                problems.append(Problem(_shown(root, path), kind, ProblemKind.FILE))
    for kind in (HIDDEN, SYSTEM):
        if count := len(entries[kind]):
            why = f"{many(count, *kind.split(' | '))} passed over"
            problems.append(Problem(printable(str(root)), why, ProblemKind.NOTE, count))
    return entries[FILE], problems


def _inside(folder: Path, root: Path, seen: set[tuple[int, int]]) -> list[os.DirEntry[str]] | Problem:
    """Entries of a folder that was not seen yet, by name; the problem of one that was, or cannot be read."""
    try:
        identity = _identity(folder)
        if identity in seen:
            why = "leads to a folder that is read elsewhere, or to one around this collection"
            return Problem(_shown(root, folder), why, ProblemKind.NOTE)
        seen.add(identity)
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        return Problem(_shown(root, folder), f"not read: {error.strerror}", ProblemKind.FILE)


def _kind(entry: os.DirEntry[str], besides: set[Path]) -> str:
    """Kind of an entry of a folder; the reason where it is none that can be read; nothing where none is needed."""
    path, is_folder = Path(entry.path).absolute(), _is(entry.is_dir)
    ending = path.suffix.lower()
    if entry.name.startswith("."):
        return HIDDEN if is_folder or ending in suffixes() else ""
    if is_folder and entry.name.lower() in SYSTEM_FOLDERS:
        return SYSTEM
    if is_folder:
        return LINK if entry.is_symlink() else FOLDER
    if path in besides or (ending in BESIDE_PICTURES and besides.intersection(path.parents)):
        return ""
    if _is(entry.is_file):
        return FILE
    return "a link to nothing" if entry.is_symlink() else "neither a file nor a folder"


def _is(asked: Callable[[], bool]) -> bool:
    try:
        return asked()
    except OSError:  # a circle of links
        return False


def _shown(root: Path, path: Path) -> str:
    return printable(path.relative_to(root).as_posix())


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _not_taken(root: Path, files: Sequence[Path]) -> list[Problem]:
    """Files that are not read as pictures: camera raw and other formats of pictures, then everything else."""
    known = {
        "camera raw files; convert them to JPEG or TIFF first (darktable-cli, RawTherapee, ...)": RAW_SUFFIXES,
        "HEIC files need pillow-heif: pip install 'seekloop[heif]'": HEIF_SUFFIXES - suffixes(),
        "pictures or videos of a format that is not read; convert them first": OTHER_PICTURES,
    }
    misnamed = "pictures, but not by their endings; rename them to .jpg, .png, ..."
    others = "no pictures, so not taken"
    groups: dict[str, list[Path]] = {why: [] for why in (*known, misnamed, others)}
    for file in files:
        ending = file.suffix.lower()
        picture = next((why for why, endings in known.items() if ending in endings), None)
        if picture is None and ending not in BESIDE_PICTURES and is_picture(file):
            picture = misnamed
        groups[picture or others].append(file)
    problems = []
    for why, some in groups.items():
        if some:
            counts = Counter(sorted(file.suffix.lower() for file in some))
            kind = ProblemKind.NOTE if why == others else ProblemKind.FILE
            problems.append(Problem(_shown(root, some[0]), f"{_listed(counts)}: {why}", kind, len(some)))
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
