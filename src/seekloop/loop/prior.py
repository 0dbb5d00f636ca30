"""Rankings before there are answers, from the query itself: its words, or the object it shows."""

from collections.abc import Sequence
from typing import Annotated, Literal

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
              s = m \, p + (1 - m) \, f, \qquad m = \frac{\tau}{\tau + a}

    where f is the classifier and a counts the labelled images of the search. Without labels of both kinds m = 1.

    Args:
        source: of v: the text's vector, the mean descriptor of the examples, or the mean of both (unit length each);
            both takes what the query has.
        trust: :math:`\tau`, the number of labels at which classifier and prior count the same.
        deviations: :math:`\delta`, how far above the mean the boundary lies.

    Raises:
        ConfigError: if an argument has no meaning.
    """

    source: Literal["text", "example", "both"] = "both"
    trust: Positive = 10.0
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
        self, own: LinearScorer | None, fitted: Sequence[int], prior: LinearScorer, labels: Int[Tensor, " q"]
    ) -> LinearScorer:
        """Hyperplanes of classifier and prior together; of the prior alone where nothing could be fitted.

        Args:
            own: of the classifier.
            fitted: the queries that these belong to.
            prior: of all queries.
            labels: how many labelled images each query has.
        """
        share = torch.ones_like(prior.intercept)
        rows = torch.tensor(fitted, dtype=torch.long, device=share.device)
        share[rows] = (self.trust / (self.trust + labels.to(share))).to(share)[rows]
        weights, intercept = prior.weights * share[:, None], prior.intercept * share
        if own is not None:
            weights[rows] += own.weights * (1 - share[rows])[:, None]
            intercept[rows] += own.intercept * (1 - share[rows])
        return LinearScorer(weights, intercept)
