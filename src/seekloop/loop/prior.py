"""Rankings before there are answers, from the query itself: its words, or the object it shows."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Positive, component
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import Query
from seekloop.contracts.scorers import LinearScorer

Finite = Annotated[float, Interval(gt=-float("inf"), lt=float("inf"))]


@component
class Prior:
    r"""Similarity to the query, standardised, which ranks alone at first and gives way to the classifier.

    With the similarity :math:`c = v \cdot x` to the query's vector v, and mean :math:`\mu` and standard deviation
    :math:`\sigma` of the image scores over the collection,

    .. math:: p = \frac{c - \mu}{\sigma} - \delta, \qquad
              s = m \, p + (1 - m) \, f, \qquad m = \frac{\tau}{\tau + n_+}

    where f is the classifier and :math:`n_+` counts the images known to be relevant, the examples among them. Without
    labels of both kinds m = 1. The query counts as :math:`\tau` relevant images would, which is its part in Rocchio's
    rule with sums in place of means. Both have their boundary at 0. p is spread more widely than f, which is 1 in size
    at a margin, so :math:`\tau` is small.

    Args:
        source: of v: the text's vector, the mean descriptor of the examples, or the mean of both (unit length each);
            both takes what the query has.
        trust: :math:`\tau`, the number of relevant images at which classifier and prior count the same.
        deviations: :math:`\delta`, how far above the mean the boundary lies.

    Raises:
        ConfigError: if an argument has no meaning.

    Source: Rocchio, Relevance feedback in information retrieval, in Salton (ed.), The SMART retrieval system, 1971.
    """

    revision: ClassVar[int] = 2

    source: Literal["text", "example", "both"] = "both"
    trust: Positive = 0.3
    deviations: Finite = 2.0

    def vectors(
        self, queries: Sequence[Query], text: Float[Tensor, "q e"], example: Float[Tensor, "q e"]
    ) -> Float[Tensor, "q e"]:
        """The vector of each query, of unit length.

        Args:
            queries: the searches.
            text: classified vectors of their texts, zero where a query has none.
            example: mean classified vectors of their examples, likewise.

        Raises:
            ConfigError: if a query lacks the source.
        """
        parts = {"text": [text], "example": [example], "both": [text, example]}[self.source]
        vectors = F.normalize(torch.stack([F.normalize(part, dim=1) for part in parts]).sum(dim=0), dim=1)
        for query, vector in zip(queries, vectors, strict=True):
            if not vector.any():
                why = f"query {query.name} has nothing to be similar to"
                raise ConfigError("source", self.source, why, "Give it a text with a vector, or an example.", self)
        return vectors

    def standardised(self, vectors: Float[Tensor, "q e"], scores: Float[Tensor, "q n"]) -> LinearScorer:
        """The prior as hyperplanes, from the similarities of all images (-inf where one has none)."""
        known = scores.isfinite()
        count = known.sum(dim=1).clamp(min=1)
        mean = scores.masked_fill(~known, 0.0).sum(dim=1) / count
        spread = ((scores - mean[:, None]).masked_fill(~known, 0.0).square().sum(dim=1) / count).sqrt()
        scale = 1 / spread.where(spread > 0, 1.0)
        return LinearScorer(vectors * scale[:, None], -mean * scale - self.deviations)

    def blended(
        self, own: LinearScorer | None, fitted: Sequence[int], prior: LinearScorer, positives: Int[Tensor, " q"]
    ) -> LinearScorer:
        """Hyperplanes of classifier and prior together; of the prior alone where nothing could be fitted.

        Args:
            own: of the classifier.
            fitted: the queries that these belong to.
            prior: of all queries.
            positives: how many images each query knows to be relevant.
        """
        share = torch.ones_like(prior.intercept)
        rows = torch.tensor(fitted, dtype=torch.long, device=share.device)
        share[rows] = (self.trust / (self.trust + positives.to(share))).to(share)[rows]
        weights, intercept = prior.weights * share[:, None], prior.intercept * share
        if own is not None:
            weights[rows] += own.weights * (1 - share[rows])[:, None]
            intercept[rows] += own.intercept * (1 - share[rows])
        return LinearScorer(weights, intercept)
