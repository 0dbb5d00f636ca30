"""Objects and files that a reader left out, with counts and reasons."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

SHOWN = 5  # reasons given before "and n more"


class ProblemKind(StrEnum):
    """Kinds of problems, by their effect on the data.

    `OBJECT`: an annotated object was lost. `FILE`: a file, or a listed image, was not taken. `BY_RULE`: an object was
    left out on purpose (a crowd, a difficult object, a class that was not asked for, a repeated entry), which is no
    loss. `NOTE`: everything was taken, and something about it should be known.
    """

    OBJECT = "object"
    FILE = "file"
    BY_RULE = "by_rule"
    NOTE = "note"


@dataclass(frozen=True)
class Problem:
    """Something in the input that was left out, or taken with a doubt; always reported.

    Attributes:
        where: the file, and the line or entry in it.
        what: the reason, and what to do where that is known.
        kind: whether objects or files were left out.
        count: how many of them.
    """

    where: str
    what: str
    kind: ProblemKind = ProblemKind.OBJECT
    count: int = 1


def many(count: int, one: str, several: str) -> str:
    """A count with its words.

    Example:
        >>> many(1, "picture is", "pictures are"), many(2000, "picture is", "pictures are")
        ('1 picture is', '2,000 pictures are')
    """
    return f"{count:,} {one if count == 1 else several}"


def counted(problems: Iterable[Problem]) -> dict[str, int]:
    """How many objects and files were left out: `objects_lost`, `objects_by_rule`, `files_not_taken`, `notes`.

    Example:
        >>> counted([Problem("a.xml", "no class"), Problem("b.csv", "2 crowds", ProblemKind.BY_RULE, 2)])
        {'objects_lost': 1, 'objects_by_rule': 2, 'files_not_taken': 0, 'notes': 0}
    """
    names = {
        ProblemKind.OBJECT: "objects_lost",
        ProblemKind.BY_RULE: "objects_by_rule",
        ProblemKind.FILE: "files_not_taken",
        ProblemKind.NOTE: "notes",
    }
    counts = dict.fromkeys(names.values(), 0)
    for problem in problems:
        counts[names[problem.kind]] += problem.count
    return counts


def summarised(problems: Sequence[Problem]) -> str:
    """One line with the counts; empty where there are no problems.

    Example:
        >>> summarised([Problem("a.xml", "no class"), Problem("b.csv", "2 crowds", ProblemKind.BY_RULE, 2)])
        '1 object lost, 2 objects left out by rule'
    """
    counts = counted(problems)
    phrases = {
        "objects_lost": ("object lost", "objects lost"),
        "objects_by_rule": ("object left out by rule", "objects left out by rule"),
        "files_not_taken": ("file not taken", "files not taken"),
        "notes": ("note", "notes"),
    }
    return ", ".join(many(counts[key], *words) for key, words in phrases.items() if counts[key])


def first_reasons(problems: Sequence[Problem], shown: int = SHOWN) -> list[str]:
    """The first reasons, a line each: lost objects first, then files, then the rest; and how many more there are.

    Problems with the same reason share a line, which names the first place.

    Example:
        >>> first_reasons([Problem("line 2", "no class"), Problem("line 3", "no class"), Problem("line 5", "no box")])
        ['line 2 and 1 more: no class', 'line 5: no box']
    """
    order = list(ProblemKind)
    groups: dict[tuple[ProblemKind, str], list[Problem]] = {}
    for problem in sorted(problems, key=lambda one: order.index(one.kind)):
        groups.setdefault((problem.kind, problem.what), []).append(problem)
    lines = [
        f"{group[0].where}{f' and {len(group) - 1:,} more' if len(group) > 1 else ''}: {what}"
        for (_, what), group in groups.items()
    ]
    return lines[:shown] + (
        [f"... and {many(len(lines) - shown, 'more reason', 'more reasons')}"] if len(lines) > shown else []
    )
