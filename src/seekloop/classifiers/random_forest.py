"""Random forest: trees on resampled rows vote, and an image's score is the share of votes for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Ge
from jaxtyping import Float, Int
from sklearn.ensemble import RandomForestClassifier
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from seekloop.classifiers.objective import check_finite, real_counts, row_factors
from seekloop.contracts.declared import Count, component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows


@dataclass(frozen=True)
class ForestScorer(Scorer):
    r"""Trees as tables of nodes; :math:`f = 2p - 1` with p the mean share of positives in the leaves reached.

    Attributes:
        feature: which number of a descriptor an inner node looks at.
        threshold: up to which it goes left.
        left: node to the left; a leaf's is the leaf.
        right: node to the right; likewise.
        share: of positives among the rows of a node.
    """

    feature: Int[Tensor, "q t m"]
    threshold: Float[Tensor, "q t m"]
    left: Int[Tensor, "q t m"]
    right: Int[Tensor, "q t m"]
    share: Float[Tensor, "q t m"]

    def scores(self, descriptors: Float[Tensor, "r d"], image: Int[Tensor, " r"] | None = None) -> Float[Tensor, "q r"]:
        """Decision values, query by query: all descriptors go down all trees together."""
        x, image_of = descriptors.float().T.contiguous(), torch.arange(len(descriptors), device=descriptors.device)
        values = []
        for feature, threshold, left, right, share in zip(
            self.feature, self.threshold, self.left, self.right, self.share, strict=True
        ):
            node = torch.zeros(len(feature), len(descriptors), dtype=torch.long, device=descriptors.device)
            while True:
                goes_left = x[feature.gather(1, node), image_of].double() <= threshold.gather(1, node)
                below = torch.where(goes_left, left.gather(1, node), right.gather(1, node))
                if below.equal(node):
                    break
                node = below
            values.append(2 * share.gather(1, node).mean(dim=0) - 1)
        return torch.stack(values).to(descriptors)

    def select(self, queries: Int[Tensor, " k"]) -> "ForestScorer":
        """The trees of these queries."""
        return ForestScorer(*(part[queries] for part in self._parts()))

    def join(self, others: Sequence[Scorer]) -> "ForestScorer":
        """All queries in one, trees padded to the largest."""
        forests = [self, *[other for other in others if isinstance(other, ForestScorer)]]
        size = max(forest.feature.shape[2] for forest in forests)
        return ForestScorer(
            *(
                torch.cat([F.pad(part, (0, size - part.shape[2])) for part in parts])
                for parts in zip(*(forest._parts() for forest in forests), strict=True)
            )
        )

    def _parts(self) -> tuple[Tensor, ...]:
        return self.feature, self.threshold, self.left, self.right, self.share


@component
class RandomForest:
    r"""scikit-learn's random forest with balanced classes: full-grown trees, each split among :math:`\sqrt d` numbers.

    A class weighs what `class_weight=balanced` gives it, before rows are drawn. (A *balanced random forest* as in
    Chen, Liaw and Breiman, 2004, draws as many rows of either class for each tree; the source does not.) Trees
    draw rows by their position, so that another order of the rows is another draw. Scores are multiples of 1 / trees,
    and ties are common.

    Source: LightlyStudio (github.com/lightly-ai/lightly-studio), `few_shot_classifier.random_forest_classifier`:
    `RandomForestClassifier(class_weight="balanced", random_state=42)`.

    Args:
        trees: how many.
        seed: of the draws, the same for every query and every round.
    """

    trees: Count = 100
    seed: Annotated[int, Ge(0)] = 42

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> ForestScorer:
        """Grow every query's trees on its own rows.

        Raises:
            ValueError: if a query lacks a class or has values that are not finite.
        """
        del previous
        counts, factors = real_counts(rows).tolist(), row_factors(rows, "balanced")
        check_finite(rows)
        grown = []
        for query, count in enumerate(counts):
            forest = RandomForestClassifier(self.trees, random_state=self.seed)  # type: ignore[no-untyped-call]
            used = factors[query, :count].cpu() > 0
            x, y = rows.of(query).float().cpu()[used], rows.labels[query, :count].cpu()[used]
            forest.fit(x.numpy(), y.numpy(), sample_weight=factors[query, :count].cpu()[used].numpy())
            grown.append(tables(forest))
        device = rows.table.device
        return ForestScorer(*(_stacked(parts).to(device) for parts in zip(*grown, strict=True)))


def tables(forest: Any) -> tuple[Tensor, ...]:  # noqa: ANN401 - an estimator of scikit-learn
    """Nodes of a fitted forest of two classes, as `ForestScorer` keeps them: (trees, nodes) each."""
    parts = []
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        own = torch.arange(tree.node_count)
        left, right = torch.from_numpy(tree.children_left.copy()), torch.from_numpy(tree.children_right.copy())
        leaf = left < 0
        value = torch.from_numpy(tree.value[:, 0, :].copy())
        parts.append(
            (
                torch.from_numpy(tree.feature.copy()).clamp(min=0),
                torch.from_numpy(tree.threshold.copy()),
                torch.where(leaf, own, left),
                torch.where(leaf, own, right),
                value[:, 1] / value.sum(dim=1),
            )
        )
    return tuple(pad_sequence(list(column), batch_first=True) for column in zip(*parts, strict=True))


def _stacked(trees: Sequence[Tensor]) -> Tensor:
    """Tables of several queries, padded to the largest tree."""
    size = max(one.shape[1] for one in trees)
    return torch.stack([F.pad(one, (0, size - one.shape[1])) for one in trees])
