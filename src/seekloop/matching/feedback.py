"""Relevance feedback: judged images of one collection, kept with their descriptors, rank this or another one again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seekloop.artifacts.files import read_tensors, write_tensors
from seekloop.classifiers.nearest_filter import FilterScorer
from seekloop.contracts.errors import StoreError
from seekloop.contracts.protocols import Classifier, Descriptors, Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.matching.instance_search import BLOCK_ROWS

VERSION = 1
FILE = "feedback.pt"


@dataclass(frozen=True)
class JudgedImages:
    """Answers of a user about images: the database of feedback, apart from the collection that it is used on.

    Attributes:
        queries: of each query, the path of its image, and the words for what its user wants.
        collection: fingerprint of the collection that the judged images are from.
        space: of the descriptors; feedback is used where it is the same.
        paths: of the judged images, each once.
        vectors: their global descriptors, of unit length.
        index: which of them each query's user has judged, in that order; -1 where there are fewer.
        liked: what the answer was.
    """

    queries: tuple[tuple[str, str], ...]
    collection: str
    space: str
    paths: tuple[str, ...]
    vectors: Float[Tensor, "t d"]
    index: Int[Tensor, "q j"]
    liked: Bool[Tensor, "q j"]

    @staticmethod
    def of_ranking(
        queries: Sequence[tuple[str, str]],
        ranking: Int[Tensor, "q j"],
        relevant: Bool[Tensor, "q n"],
        collection: str,
        space: str,
        paths: Sequence[str],
        descriptors: Descriptors,
    ) -> "JudgedImages":
        """Let a simulated user judge the first images of every query: what is relevant is liked.

        Args:
            queries: path of the image, and words, of each.
            ranking: positions of the images, best first; -1 where there are fewer.
            relevant: truth about all images.
            collection: fingerprint of the collection.
            space: of the descriptors.
            paths: of the collection.
            descriptors: of the collection.
        """
        images = torch.unique(ranking[ranking >= 0])
        row = torch.full((len(paths),), -1, dtype=torch.int64)
        row[images] = torch.arange(len(images))
        real = ranking >= 0
        first = ranking.clamp(min=0)
        return JudgedImages(
            tuple(queries),
            collection,
            space,
            tuple(paths[image] for image in images.tolist()),
            descriptors.read(images, local=False).global_.float().clone(),
            torch.where(real, row[first], -1),
            relevant.gather(1, first) & real,
        )

    def first(self, most: int) -> "JudgedImages":
        """The answers about the first images of each query."""
        return replace(self, index=self.index[:, :most], liked=self.liked[:, :most])

    def select(self, queries: Int[Tensor, " k"]) -> "JudgedImages":
        """The answers of these queries."""
        chosen = tuple(self.queries[query] for query in queries.tolist())
        return replace(self, queries=chosen, index=self.index[queries], liked=self.liked[queries])

    def counts(self) -> tuple[Int[Tensor, " q"], Int[Tensor, " q"]]:
        """How many images each query's user likes, and dislikes."""
        return self.liked.sum(dim=1), ((self.index >= 0) & ~self.liked).sum(dim=1)

    def among(self, paths: Sequence[str]) -> Bool[Tensor, "q n"]:
        """Which of the images with these paths each query's user has judged."""
        position = {path: image for image, path in enumerate(paths)}
        judged = torch.zeros(len(self.queries), len(paths), dtype=torch.bool)
        for query, row in enumerate(self.index.tolist()):
            judged[query, [position[self.paths[one]] for one in row if one >= 0]] = True
        return judged

    def rows(self, queries: Float[Tensor, "q d"], images: Float[Tensor, "q d"] | None) -> TrainingRows:
        """Rows for a classifier.

        Args:
            queries: vector of each query.
            images: descriptors of the queries' own images, liked and put in front; None: they are no feedback.
        """
        table, index, liked = self.vectors, self.index, self.liked
        if images is not None:
            own = len(table) + torch.arange(len(images))[:, None]
            table, index = torch.cat([table, images]), torch.cat([own, index], dim=1)
            liked = torch.cat([torch.ones_like(own, dtype=torch.bool), liked], dim=1)
        mask = index >= 0
        labels = torch.where(liked, 1.0, -1.0) * mask
        return TrainingRows(table, index.clamp(min=0), labels, mask.float(), mask, queries)

    def keep(self, folder: Path, key: str) -> None:
        """Write the file `feedback.pt` into a folder, which lies below that of a key of the config."""
        content = {
            "version": VERSION,
            "queries": [list(query) for query in self.queries],
            "collection": self.collection,
            "space": self.space,
            "paths": list(self.paths),
            "vectors": self.vectors.contiguous(),
            "index": self.index.contiguous(),
            "liked": self.liked.contiguous(),
        }
        write_tensors(folder / FILE, content, key)


def open_feedback(folder: Path) -> JudgedImages:
    """Read the feedback that `JudgedImages.save` wrote.

    Raises:
        StoreError: if there is none, or it is damaged.
    """
    path = folder / FILE
    try:
        content = read_tensors(path, "Run it again with force=true.")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"there is no {path}") from error
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise StoreError(f"{path} is no feedback, or of another version of the program")
    return JudgedImages(
        tuple((str(path), str(words)) for path, words in content["queries"]),
        content["collection"],
        content["space"],
        tuple(content["paths"]),
        content["vectors"],
        content["index"],
        content["liked"],
    )


def reranked(first: Int[Tensor, "q n"], keys: Float[Tensor, "q n"]) -> Int[Tensor, "q n"]:
    """Sort rankings by keys, the highest first; images with equal keys keep their order.

    Keys that are labels give the stable partition: what is predicted liked in the order of the first ranking, then
    the rest in that order.

    Example:
        >>> reranked(torch.tensor([[2, 0, 1]]), torch.tensor([[0.0, 1.0, 1.0]]))
        tensor([[2, 1, 0]])
    """
    return first.gather(1, keys.gather(1, first).argsort(dim=1, descending=True, stable=True))


def refined(
    classifier: Classifier,
    judged: JudgedImages,
    queries: Float[Tensor, "q d"],
    scores: Float[Tensor, "q n"],
    descriptors: Descriptors,
    images: Float[Tensor, "q d"] | None = None,
) -> Int[Tensor, "q n"]:
    """Rank images again by what a classifier learns from feedback.

    `nearest_filter` moves what it predicts disliked to the end, and changes no other order; any other classifier ranks
    by its scores, equal ones in the first order. Where a query's feedback has no likes, or no dislikes, its ranking
    stays as it is: all images are predicted alike.

    Args:
        classifier: fitted on each query's judged images.
        judged: by each query's user, images of this or another collection.
        queries: vector of each query: what `nearest_filter` ranks by, `rocchio` moves and `svm_anchored` is pulled to.
        scores: of the first ranking.
        descriptors: of the images that are ranked.
        images: as in `JudgedImages.rows`.

    Returns:
        Positions of all images, best first; unreadable ones anywhere.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    rows = judged.rows(queries, images)
    both = ((rows.labels > 0).any(dim=1) & (rows.labels < 0).any(dim=1)).nonzero()[:, 0]
    if not len(both):
        return order
    chosen = replace(
        rows,
        index=rows.index[both],
        labels=rows.labels[both],
        weights=rows.weights[both],
        mask=rows.mask[both],
        query=rows.query[both],
    )
    scorer = classifier.fit(chosen, None)
    if isinstance(scorer, LinearScorer) and scorer.anchor is not None:
        scorer = classifier.fit(chosen, scorer)  # the first fit says how long the anchor is
    order[both] = reranked(order[both], keys_of(scorer, descriptors))
    return order


def keys_of(scorer: Scorer, descriptors: Descriptors) -> Float[Tensor, "q n"]:
    """Numbers that a ranking is sorted by: predicted labels of the filter, scores of other scorers."""
    keys: Callable[[Tensor], Tensor] = scorer.liked if isinstance(scorer, FilterScorer) else scorer.scores
    images = torch.arange(descriptors.images)
    blocks = [images[start : start + BLOCK_ROWS] for start in range(0, len(images), BLOCK_ROWS)]
    return torch.cat([keys(descriptors.read(some, local=False).global_).float() for some in blocks], dim=1)
