"""TypiClust: typical images of the parts of the uncertain region that have no label yet."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.records import CandidateView
from seekloop.criteria.shortlist import require_factor, uncertain
from seekloop.metrics.kmeans import kmeans_labels


@dataclass(frozen=True)
class Typiclust:
    """Cluster the most uncertain candidates with the labelled images; ask about the most typical of each cluster.

    There are as many clusters as labelled images and images asked for together.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 asks about the most uncertain ones.
        neighbours: how many nearest neighbours in the cluster tell how typical an image is.

    Reference:
        Hacohen, Dekel & Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets",
        ICML 2022. There the whole pool is clustered; here a shortlist, so that every query can do so in every round.
    """

    shortlist: int
    neighbours: int

    def __post_init__(self) -> None:
        require_factor(self.shortlist)
        if self.neighbours < 1:
            raise ConfigError("criterion.neighbours", self.neighbours, "no neighbour, no density", "Choose 1 or more.")

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        shortlists = uncertain(view, budget, self.shortlist)
        rows = zip(shortlists, view.answers != 0, rngs, strict=True)
        return torch.stack([self._ask(view.descriptors, kept, answered, budget, rng) for kept, answered, rng in rows])

    def _ask(
        self,
        whole: Float[Tensor, "n d"],
        kept: Int[Tensor, " k"],
        answered: Bool[Tensor, " n"],
        budget: int,
        rng: Generator,
    ) -> Int[Tensor, " {budget}"]:
        labelled = answered.nonzero()[:, 0]
        points = whole[torch.cat([kept, labelled])].cpu()
        seed = int(torch.randint(2**31, (1,), generator=rng))
        cluster = kmeans_labels(points, budget + len(labelled), [seed])[0]
        spread = mean_neighbour_distance(points, cluster, self.neighbours)
        return kept[by_turns(cluster, spread, len(kept), budget).to(kept.device)]


def mean_neighbour_distance(
    points: Float[Tensor, "p d"], cluster: Int[Tensor, " p"], neighbours: int
) -> Float[Tensor, " p"]:
    """Mean distance to the nearest points of one's own cluster, the inverse of typicality; 0 for a point alone."""
    # Written-out differences: through products, the distances of duplicates would be rounding errors.
    distance = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    distance[cluster[:, None] != cluster[None]] = torch.inf
    nearest = distance.fill_diagonal_(torch.inf).sort(dim=1).values[:, :neighbours]
    inside = nearest.isfinite()
    return nearest.where(inside, 0.0).sum(dim=1) / inside.sum(dim=1).clamp(min=1)


def by_turns(
    cluster: Int[Tensor, " p"], spread: Float[Tensor, " p"], candidates: int, budget: int
) -> Int[Tensor, " {budget}"]:
    """Choose the most typical candidate of each cluster in turn, until `budget` are chosen.

    Clusters with fewer labelled points come first, then larger ones, then the one with the first candidate. When every
    cluster has had its turn, the second most typical follow, and so on.

    Args:
        cluster: of each point; the candidates come first, the labelled points after them.
        spread: of each point, low is typical.
        candidates: how many of the points are candidates, at least `budget`.
        budget: how many to choose.

    Returns:
        Positions into the points, all below `candidates`.
    """
    queues: dict[int, list[int]] = {}
    for point in spread[:candidates].sort(stable=True).indices.tolist():
        queues.setdefault(int(cluster[point]), []).append(point)
    labelled = torch.bincount(cluster[candidates:], minlength=int(cluster.max()) + 1).tolist()
    order = sorted(queues, key=lambda each: (labelled[each], -len(queues[each]), min(queues[each])))
    turns = sorted((turn, place) for place, each in enumerate(order) for turn in range(len(queues[each])))
    return torch.tensor([queues[order[place]][turn] for turn, place in turns[:budget]], dtype=torch.long)
