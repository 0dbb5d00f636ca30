"""Linear SVM that learns from images without an answer, too: those whose label is surest along the graph."""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from seekloop.classifiers.diffusion import spread
from seekloop.classifiers.objective import ClassWeight, check_positive, real_counts
from seekloop.classifiers.svm_numba import SvmNumba
from seekloop.contracts.protocols import Scorer
from seekloop.contracts.recipe import NOT_IN_RECIPE
from seekloop.contracts.records import TrainingRows
from seekloop.contracts.scorers import LinearScorer
from seekloop.graphs.propagation import Spreading, certainty


@dataclass(frozen=True)
class SvmPropagated(Spreading):
    r"""`svm_numba`, with pseudo-labelled images among its rows; global descriptors only.

    The answers are propagated over the graph of the collection. Of the images that get the label relevant, and of those
    that get the other, the surest ones join the training rows, each weighted by its certainty in [0, 1] times
    `strength`. They are found anew in every round.

    Args:
        neighbours: as in `Spreading`, and so on to tolerance.
        kind: see there.
        power: see there.
        clamp: see there.
        alpha: see there.
        iterations: see there.
        tolerance: see there.
        cost: C of the objective.
        class_weight: none, balanced, or the weight of positives where negatives have 1.
        tol: largest projected gradient at which a solution is accepted.
        max_iter: passes over the rows after which a fit is given up with an error.
        threads: most problems solved at a time, or auto.
        pseudo: most pseudo-labelled images of either label.
        strength: weight of a certain one, where an answered image has 1.

    Raises:
        ConfigError: if a setting cannot work.

    Source:
        The pseudo-labels and their weights: Iscen, Tolias, Avrithis, Chum, Label propagation for deep semi-supervised
        learning, CVPR 2019.
    """

    group = "classifier"
    cost: int | float
    class_weight: ClassWeight
    tol: int | float
    max_iter: int
    threads: int | str = field(metadata=NOT_IN_RECIPE)
    pseudo: int
    strength: int | float
    transductive: ClassVar[Literal[True]] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("classifier.pseudo", self.pseudo)
        check_positive("classifier.strength", self.strength)
        self.machine  # noqa: B018  its settings are checked too

    @property
    def machine(self) -> SvmNumba:
        """What learns from the rows."""
        return SvmNumba(self.cost, self.class_weight, self.tol, self.max_iter, self.threads)

    def fit(self, rows: TrainingRows, previous: Scorer | None) -> LinearScorer:
        """Fit every query on its own rows and on what they make certain of others; no warm start: those rows change.

        Raises:
            ValueError: if a query lacks a class, has values that are not finite, or rows do not name their images.
            ConfigError: if a fit needs more than `max_iter` passes.
        """
        del previous
        real_counts(rows)
        whole = rows.global_descriptors
        labels, weights = certainty(spread(self.graph.of(whole), rows, self.solver))
        if rows.image is not None:
            answered = answered_images(rows.image.to(weights.device), rows.mask, weights.shape[1])
            weights = weights.masked_fill(answered, 0.0)
        picks = [surest(mine, weight, self.pseudo) for mine, weight in zip(labels, weights, strict=True)]
        extended = with_pseudo_rows(rows, whole, picks, labels, weights * self.strength)
        return self.machine.fit(extended, None)


def answered_images(image: Int[Tensor, "q r"], mask: Bool[Tensor, "q r"], images: int) -> Bool[Tensor, "q n"]:
    """Which images have rows of their own."""
    counts = torch.zeros(len(image), images, dtype=torch.long, device=image.device)
    return counts.scatter_add_(1, image * mask, mask.long()) > 0


def surest(labels: Int[Tensor, " n"], weights: Float[Tensor, " n"], most: int) -> Int[Tensor, " p"]:
    """The images of either label with the largest weights, `most` of each; among equals the lower position."""
    picks = []
    for label in (0, 1):
        mine = weights * (labels == label)
        order = mine.sort(descending=True, stable=True).indices[:most]
        picks.append(order[mine[order] > 0])
    return torch.cat(picks)


def with_pseudo_rows(
    rows: TrainingRows,
    whole: Float[Tensor, "n d"],
    picks: list[Tensor],
    labels: Int[Tensor, "q n"],
    weights: Float[Tensor, "q n"],
) -> TrainingRows:
    """The rows and, behind those of each query, the whole images picked for it.

    Args:
        rows: answered.
        whole: global descriptors.
        picks: positions of the images, for each query.
        labels: 0 irrelevant, 1 relevant, of every image.
        weights: of every image.
    """
    images, place = torch.unique(torch.cat(picks), return_inverse=True)
    places = torch.split(place + len(rows.table), [len(mine) for mine in picks])
    counts = rows.mask.sum(dim=1).tolist()

    def behind(own: Tensor, others: list[Tensor]) -> Tensor:
        parts = [torch.cat([own[q, :n], others[q].to(own)]) for q, n in enumerate(counts)]
        return pad_sequence(parts, batch_first=True)

    return TrainingRows(
        torch.cat([rows.table, whole[images].to(rows.table)]),
        behind(rows.index, list(places)),
        behind(rows.labels, [labels[q, mine] * 2 - 1 for q, mine in enumerate(picks)]),
        behind(rows.weights, [weights[q, mine] for q, mine in enumerate(picks)]),
        behind(rows.mask, [torch.ones_like(mine, dtype=torch.bool) for mine in picks]),
        rows.query,
    )
