"""Kinds of runs: the tables that a run leaves, and how their columns are averaged, drawn, logged and compared.

Whoever measures declares a kind (`protocol.kinds`, `learning.kind`); nothing in `logs` knows a command.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

Columns = Mapping[str, str]
"""Names of a table's columns with their Arrow types."""


@dataclass(frozen=True)
class Curve:
    """Columns of a table that are followed along an axis.

    Attributes:
        table: name of the table.
        axis: column that the values are drawn against.
        values: columns that are followed.
        over: columns that are averaged over, one after the other: ("query", "class_name").
        against: further columns that the values are drawn against, averaged as they are.
        apart: column whose entries are curves of their own, and stand before the keys of W&B (`easy/ap`).
        counted: further columns that W&B is told as they are.
        prefix: stands before the keys of W&B.
    """

    table: str
    axis: str
    values: tuple[str, ...]
    over: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    apart: str | None = None
    counted: tuple[str, ...] = ()
    prefix: str = ""


@dataclass(frozen=True)
class Lines:
    """A figure of lines.

    Attributes:
        curve: what is drawn.
        panels: columns of each panel, by the name of its vertical axis.
        axes: columns that they are drawn against, each in a panel of its own.
        labels: columns in words, where a panel has several.
        band: whether a band shows the deviation over what is averaged over last.
        counted: key of the summary that says of how many images each column is, and its chance level; None: of none.
    """

    curve: Curve
    panels: Mapping[str, tuple[str, ...]]
    axes: tuple[str, ...]
    labels: Mapping[str, str] = field(default_factory=dict)
    band: bool = False
    counted: str | None = None


@dataclass(frozen=True)
class Matrix:
    """A figure of counts as shares of a row, at the last step: columns with the rows, the columns and the counts."""

    table: str
    rows: str
    columns: str
    counts: str


@dataclass(frozen=True)
class Asked:
    """Pictures of the images asked about in each step.

    Attributes:
        right: whether an answer was as wished; None where the user was unsure.
        caption: words under a picture of a figure.
        description: words under a picture in W&B.
        query: columns that tell searches apart, whose own images are in the table of queries; none where there is one.
        most: pictures of one step.
    """

    right: "Callable[[pd.Series], bool | None]"
    caption: "Callable[[pd.Series], str]"
    description: "Callable[[pd.Series], str]"
    query: tuple[str, ...] = ()
    most: int = 20


@dataclass(frozen=True)
class RunKind:
    """Tables, numbers, curves and figures that the runs of a command leave.

    Attributes:
        command: its name, a field of each run's config.
        step: what such a run is counted in; a column of its first table.
        tables: columns of each table by the name of its file.
        numbers: numbers of its summary that runs are compared by, the main one first.
        amounts: numbers of its summary that are no shares of 1, such as times and counts.
        labels: columns and numbers in words and units, for figures.
        printed: numbers in the words of a run's last line, where these are others than their names.
        curve: followed from step to step in W&B.
        inner: followed within a step.
        steps: key of the config that says how many steps there are, None for a run that is measured once.
        reached: the number that tells how far a run is: its name and its column.
        compared: columns of `curve` that reports draw, of several runs side by side.
        paired: numbers that are compared query by query, with the column whose area each is.
        subject: choices that say which images and which network a run is about.
        named: choices and keys of the config that name and tag a run in W&B, those of `subject` before them.
        classes: followed for each class in W&B; where queries are averaged, their spread too.
        lines: figures by their names.
        bars: columns of the table of classes that are drawn as bars, the one that classes are ordered by first.
        bar_count: column of that table that stands behind a class's name.
        matrix: figures by their names.
        asked: how the images asked about are shown.
        queries: whether `queries.parquet` belongs to a run.
    """

    command: str
    step: str = "step"
    tables: Mapping[str, Columns] = field(default_factory=dict)
    numbers: tuple[str, ...] = ()
    amounts: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    printed: Mapping[str, str] = field(default_factory=dict)
    curve: Curve | None = None
    inner: Curve | None = None
    steps: str | None = None
    reached: tuple[str, str] | None = None
    compared: tuple[str, ...] = ()
    paired: Mapping[str, str] = field(default_factory=dict)
    subject: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    classes: Curve | None = None
    lines: Mapping[str, Lines] = field(default_factory=dict)
    bars: tuple[str, ...] = ()
    bar_count: str | None = None
    matrix: Mapping[str, Matrix] = field(default_factory=dict)
    asked: Asked | None = None
    queries: bool = False

    def label(self, name: str) -> str:
        """A column or a number in words."""
        return self.labels.get(name, name)


Kinds = Mapping[str, RunKind]
"""Kinds by the commands that leave such runs."""

FIRST = "retrieve"  # the only command whose early runs did not name it


def kind_of(config: Mapping[str, object], kinds: Kinds) -> RunKind:
    """Kind of the run that has this config; one of which nothing is known but its state, if the command is unknown."""
    command = str(config.get("command", FIRST))
    return kinds.get(command, RunKind(command))


def columns(kind: str, names: Sequence[str]) -> dict[str, str]:
    """Several columns of one type.

    Example:
        >>> columns("double", ["x0", "y0"])
        {'x0': 'double', 'y0': 'double'}
    """
    return dict.fromkeys(names, kind)
