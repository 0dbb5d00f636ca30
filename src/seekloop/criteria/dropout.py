"""Choosing by decisions that change when entries of a descriptor are dropped."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, TypeAlias

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, component, declared
from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.descriptors import by_turns
from seekloop.criteria.selection import uncertain
from seekloop.metrics.kmeans import kmeans_labels


@component
class DropQuery:
    """Ask about candidates near the boundary whose decision changes when entries of their vectors are dropped.

    The vectors are those that gave the images their scores: with several regions, of the region that scores highest.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 asks about the most uncertain ones. The
            paper looks at all candidates.
        repeats: how often entries are dropped.
        rate: chance of each entry to be dropped.

    Reference:
        Gupte, Aklilu, Nirschl & Yeung-Levy, "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR
        2024, arXiv 2401.14555.
    """

    shortlist: Count = 20
    repeats: Count = 3
    rate: Annotated[float, Interval(gt=0, lt=1)] = 0.75

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        picks = []
        for query, (kept, rng) in enumerate(zip(uncertain(view, budget, self.shortlist), rngs, strict=True)):
            vectors = view.vectors(query, kept, "classified")
            score = partial(require_rescore(view, self), query)
            picks.append(kept[drop_query(vectors, score, budget, rng, self.repeats, self.rate)])
        return torch.stack(picks)


def require_rescore(view: CandidateView, criterion: object) -> Callable[[int, Tensor], Tensor]:
    """The way to ask the classifier for further decision values.

    Raises:
        ConfigError: where there is no classifier to ask.
    """
    if view.rescore is None:
        name = type(criterion).__name__
        why = "it asks the classifier of a search for further scores, and there is none here"
        raise ConfigError("criterion", name, why, "Choose another criterion, or search (seekloop retrieve).")
    return view.rescore


Score: TypeAlias = Callable[[Float[Tensor, "k d"]], Float[Tensor, " k"]]
"""Decision values of descriptors, 0 or more for relevant."""


@declared
def drop_query(
    rows: Float[Tensor, "k d"],
    score: Score,
    budget: int,
    rng: Generator,
    repeats: Count = 3,
    rate: Annotated[float, Interval(gt=0, lt=1)] = 0.75,
) -> Int[Tensor, " {budget}"]:
    """Cluster the rows whose decision changes under dropout in more than half of the repeats; choose each one's middle.

    The paper's, by its authors' code: dropout of the descriptor as in training, so that its expectation is the
    descriptor; three repeats at .75; k-means with as many clusters as rows asked for; of each cluster the row nearest
    to its centre. Ours: where fewer than `budget` rows change, those that changed most often follow, the nearest to the
    boundary first; larger clusters are asked about first; where distinct rows are fewer than clusters, the second
    nearest to a centre follow.

    Args:
        rows: descriptors of candidates, as the classifier sees them.
        score: the fitted classifier's.
        budget: how many, at most k.
        rng: draws what is dropped, and the seed of k-means.
        repeats: how often entries are dropped.
        rate: chance of each entry to be dropped.

    Returns:
        Positions into `rows`, in the order to ask.

    Raises:
        ConfigError: for `repeats` or `rate` out of range.

    Reference:
        Gupte, Aklilu, Nirschl & Yeung-Levy, "Revisiting Active Learning in the Era of Vision Foundation Models", TMLR
        2024, arXiv 2401.14555.
    """
    scores = score(rows)
    changed = changes(rows, scores, score, rng, repeats, rate)
    count = max(int((2 * changed > repeats).sum()), budget)
    nearest = scores.abs().sort(stable=True).indices
    kept = nearest[changed[nearest].sort(stable=True, descending=True).indices][:count].sort().values
    points = rows[kept].cpu()
    cluster = kmeans_labels(points, budget, [int(torch.randint(2**31, (1,), generator=rng))])[0]
    return kept[by_turns(cluster, centre_distance(points, cluster), count, budget).to(kept.device)]


def changes(
    rows: Float[Tensor, "k d"],
    scores: Float[Tensor, " k"],
    score: Score,
    rng: Generator,
    repeats: int,
    rate: int | float,
) -> Int[Tensor, " k"]:
    """Count in how many repeats each row's decision changes when entries are dropped and the others scaled up.

    Args:
        rows: descriptors.
        scores: of the whole rows.
        score: decision values of rows.
        rng: draws what is dropped.
        repeats: how often.
        rate: chance of each entry to be dropped; the others are divided by 1 - `rate`.
    """
    count = torch.zeros(len(rows), dtype=torch.long, device=scores.device)
    for _ in range(repeats):
        left = (torch.rand(rows.shape, generator=rng) >= rate).to(rows.device)
        count += (score(rows * left / (1 - rate)) >= 0) != (scores >= 0)
    return count


def centre_distance(points: Float[Tensor, "p d"], cluster: Int[Tensor, " p"]) -> Float[Tensor, " p"]:
    """Euclidean distance of each point to the mean of its cluster."""
    sums = points.new_zeros(int(cluster.max()) + 1, points.shape[1]).index_add_(0, cluster, points)
    return (points - (sums / torch.bincount(cluster)[:, None])[cluster]).norm(dim=1)
