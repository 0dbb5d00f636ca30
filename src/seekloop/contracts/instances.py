"""Instance search: query boxes against a database of images; and which images are right."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.contracts.protocols import Collection


@dataclass(frozen=True)
class Relevance:
    """Per query, what the ranking of the database is measured by.

    Attributes:
        positive: positions in the database of the images that show what is searched for.
        junk: positions of images that count neither as right nor as wrong: they are taken out of the ranking.
    """

    positive: tuple[Int[Tensor, " _"], ...]
    junk: tuple[Int[Tensor, " _"], ...]


@dataclass(frozen=True)
class InstanceSearch:
    """A benchmark of instance search. What `conf/instances` builds.

    Axis q is the queries: entry i of `queries`, `names`, `own`, `boxes`, and of every setup belong together.

    Attributes:
        database: the images being searched.
        queries: one entry per query, so that an image with several queries is there several times. Its annotations are
            the query's box: of several objects the box around them, none is the whole image. Class names are instance
            names.
        names: of the instance that each query searches for; all of them, joined by " + ", where there are several.
        own: position in the database of the query's own image, which its ranking leaves out; -1 where it is not there.
        setups: by name, such as "easy", "medium" and "hard"; just "all" where there is one.
        boxes: per query, where the object is on those positive images of which that is known.
        texts: the words of each query, whose queries then have no images; None where they are images.
        shows_wanted: whether a query's own image shows what it searches for; False where a change of it is wanted.
    """

    database: Collection
    queries: Collection
    names: tuple[str, ...]
    own: Int[Tensor, " q"]
    setups: Mapping[str, Relevance]
    boxes: tuple[Mapping[int, Float[Tensor, "_ 4"]], ...]
    texts: tuple[str, ...] | None = None
    shows_wanted: bool = True

    def __post_init__(self) -> None:
        """Refuse several boxes of one query, for it is described by one vector.

        Raises:
            ValueError: if there are.
        """
        boxes = self.queries.annotations.image.bincount()
        if len(boxes) and boxes.max() > 1:
            several, number = int(boxes.argmax()), int(boxes.max())
            raise ValueError(f"query {several} has {number} boxes: give one, such as the box around all its objects")

    def query_boxes(self, query: int) -> Float[Tensor, "_ 4"]:
        """Box of what one query searches for; none where it is the whole image."""
        return self.queries.annotations.box[self.queries.annotations.image == query]

    def relevant(self, setup: str) -> Bool[Tensor, "q n"]:
        """Which images of the database are right for which query. A query's own image is never among them."""
        return self._table(self.setups[setup].positive) & ~self._own_table()

    def ignored(self, setup: str) -> Bool[Tensor, "q n"]:
        """Which images of the database are taken out of which query's ranking: junk, and the query's own image."""
        return self._table(self.setups[setup].junk) | self._own_table()

    def _table(self, positions: Sequence[Int[Tensor, " _"]]) -> Bool[Tensor, "q n"]:
        table = torch.zeros(len(self.names), len(self.database.paths), dtype=torch.bool)
        counts = torch.tensor([len(row) for row in positions])
        table[torch.repeat_interleave(torch.arange(len(counts)), counts), torch.cat(list(positions)).long()] = True
        return table

    def _own_table(self) -> Bool[Tensor, "q n"]:
        return self.own[:, None] == torch.arange(len(self.database.paths))
