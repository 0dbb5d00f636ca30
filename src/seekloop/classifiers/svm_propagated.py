"""Linear SVM that learns from images without an answer, too: those whose label is surest along the k-NN graph."""

from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seekloop.classifiers.diffusion import spread
from seekloop.classifiers.objective import real_counts
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.graphs.propagation import Spreading, certainty, relative


@component
class SvmPropagated(Spreading, SvmNumba):
    r"""`SvmNumba` with pseudo-labelled images among its rows; global descriptors only.

    The answers are propagated over the graph of the collection (settings as in `Graph` and `Solver`). Of the images
    that get the label relevant, and of those that get the other, the surest join the training rows, each weighted by
    its certainty in [0, 1] times `strength`. They are chosen anew in every round.

    Args:
        pseudo: most pseudo-labelled images of either label.
        strength: weight of a certain one, where an answered image has 1.

    Source:
        The pseudo-labels and their weights: Iscen, Tolias, Avrithis, Chum, Label propagation for deep semi-supervised
        learning, CVPR 2019.
    """

    pseudo: Count = 50
    strength: Positive = 0.1
    transductive: ClassVar[Literal[True]] = True

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query on its own rows and on pseudo-labelled ones; no warm start, since those rows change.

        Raises:
            ValueError: if a query lacks a class, has values that are not finite, or rows do not name their images.
            ConfigError: if a fit needs more than `max_iter` passes.
        """
        del previous
        real_counts(rows)
        descriptors = rows.global_descriptors
        labels, weights = certainty(spread(self.of(descriptors, rows.cache), rows, self))
        weights = relative(weights)
        if rows.image is not None:
            counts = torch.zeros(weights.shape, dtype=torch.long, device=weights.device)
            counts.scatter_add_(1, rows.image.to(weights.device) * rows.mask, rows.mask.long())
            weights = weights.masked_fill(counts > 0, 0.0)  # answered images have rows of their own
        picks = [surest(label, weight, self.pseudo) for label, weight in zip(labels, weights, strict=True)]
        return super().fit(with_pseudo_rows(rows, descriptors, picks, labels, weights * self.strength), None)


def surest(labels: Int[Tensor, " n"], weights: Float[Tensor, " n"], most: int) -> Int[Tensor, " p"]:
    """Choose the images of either label with the largest weights, `most` of each; among equals the lower position."""
    picks = []
    for label in (0, 1):
        weight = weights * (labels == label)
        order = weight.sort(descending=True, stable=True).indices[:most]
        picks.append(order[weight[order] > 0])
    return torch.cat(picks)


def with_pseudo_rows(
    rows: TrainingRows,
    descriptors: Float[Tensor, "n d"],
    picks: list[Tensor],
    labels: Int[Tensor, "q n"],
    weights: Float[Tensor, "q n"],
) -> TrainingRows:
    """Append, behind the rows of each query, the global descriptors of the images picked for it.

    Args:
        rows: answered.
        descriptors: global, of all images.
        picks: positions of the images, for each query.
        labels: 0 irrelevant, 1 relevant, of every image.
        weights: of every image.
    """
    images, position = torch.unique(torch.cat(picks), return_inverse=True)
    positions = torch.split(position + len(rows.table), [len(pick) for pick in picks])
    counts = rows.mask.sum(dim=1).tolist()

    def behind(own: Tensor, others: list[Tensor]) -> Tensor:
        parts = [torch.cat([own[q, :n], others[q].to(own)]) for q, n in enumerate(counts)]
        return pad_sequence(parts, batch_first=True)

    return TrainingRows(
        torch.cat([rows.table, descriptors[images].to(rows.table)]),
        behind(rows.index, list(positions)),
        behind(rows.labels, [labels[q, pick] * 2 - 1 for q, pick in enumerate(picks)]),
        behind(rows.weights, [weights[q, pick] for q, pick in enumerate(picks)]),
        behind(rows.mask, [torch.ones_like(pick, dtype=torch.bool) for pick in picks]),
        rows.query,
    )
