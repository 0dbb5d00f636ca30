"""Rankings on their way through re-rankers, and what a re-ranker is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seekloop.contracts.records import Example


@dataclass(frozen=True)
class Ranking:
    """Scores of all images of a collection for several queries, and what the queries are.

    Attributes:
        scores: higher ranks earlier, equals by position; -inf for an image that is not ranked.
        vectors: descriptors of each query, of unit length: of its box, its text, or of several images that show it.
        examples: images that show what each query searches for, with the object's box where it is known; none for a
            text. Of a search in a benchmark they are positions among its queries, else in the collection.
        inliers: of the images that were verified, the number of matches that agree on one map from an example; 0 where
            none does or the image was not verified; None before anything was verified.
    """

    scores: Float[Tensor, "q n"]
    vectors: tuple[Float[Tensor, "_ d"], ...]
    examples: tuple[tuple[Example, ...], ...]
    inliers: Float[Tensor, "q n"] | None = None

    def first(self, top: int) -> Int[Tensor, "q k"]:
        """The first images of each query, best first; at most `top`, -1 where fewer are ranked.

        Example:
            >>> Ranking(torch.tensor([[1.0, 3.0, 3.0, -torch.inf]]), (), ()).first(4)
            tensor([[ 1,  2,  0, -1]])
        """
        order = self.scores.argsort(dim=1, descending=True, stable=True)[:, :top]
        return order.masked_fill(self.scores.gather(1, order) == -torch.inf, -1)

    def reordered(self, images: Sequence[Int[Tensor, " _"]]) -> "Ranking":
        """The same with the scores of some of each query's images dealt out among them anew, the highest one first.

        So scores keep their range, and no other image moves.

        Example:
            >>> Ranking(torch.tensor([[5.0, 4.0, 3.0]]), (), ()).reordered([torch.tensor([2, 0, 1])]).scores
            tensor([[4., 3., 5.]])
        """
        scores = self.scores.clone()
        for query, order in enumerate(images):
            scores[query, order] = self.scores[query, order].sort(descending=True).values
        return replace(self, scores=scores)


@runtime_checkable
class Reranker(Protocol):
    """Ranks a collection again: the last step of a search, or of the ranking that a person sees."""

    def __call__(self, ranking: Ranking) -> Ranking:
        """The new ranking, of the same queries and images. What was not ranked stays so."""
        ...
