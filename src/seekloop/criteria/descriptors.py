"""Criteria that look at global descriptors, so that the images asked about differ."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, Positive, component
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import drawn_by_distance, require_candidates, uncertain
from seekloop.metrics.kmeans import kmeans_labels

_BLOCK = 2**13  # images compared at once: bounds memory, and changes no result


@component
class CoreSet:
    """Greedy k-center on the global descriptors; the labelled images are the first centres. Scores play no part.

    Reference:
        Sener & Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018, Alg. 1.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        rows = zip(view.candidate, view.answers != 0, strict=True)
        return torch.stack([farthest_first(view.descriptors, candidate, centre, budget) for candidate, centre in rows])


def farthest_first(
    descriptors: Float[Tensor, "n d"], candidate: Bool[Tensor, " n"], centre: Bool[Tensor, " n"], budget: int
) -> Int[Tensor, " {budget}"]:
    r"""Greedily choose the candidates farthest from all centres and from everything chosen so far.

    .. math:: i_b = \arg\max_i \min_{j \in L \cup \{i_1, \dots, i_{b-1}\}} \lVert g_i - g_j \rVert_2

    Between vectors of unit length that is the smallest of the largest cosines. Ties go to the lowest position.

    Args:
        descriptors: global descriptors, unit length.
        candidate: what may be chosen, at least `budget` images.
        centre: the images :math:`L`, at least one.
        budget: how many to choose.

    Returns:
        Positions into `descriptors`, in the order chosen.

    Raises:
        ValueError: if there is no centre.
    """
    if not centre.any():
        raise ValueError("farthest first needs an answered image to be far from, and there is none yet")
    cosine = nearest_cosine(descriptors, centre)
    cosine[~candidate] = torch.inf
    chosen: list[Tensor] = []
    for _ in range(budget):
        chosen.append(cosine.argmin())
        cosine = torch.maximum(cosine, descriptors @ descriptors[chosen[-1]])
        cosine[chosen[-1]] = torch.inf  # even among exact duplicates, nobody is chosen twice
    return torch.stack(chosen)


@component
class KmeansPp:
    """k-means++ seeding on the global descriptors; the labelled images are the first centres. Scores play no part.

    A core set (`core_set`) takes the farthest image, which is often an outlier; here it is only likelier than others.

    Reference:
        Arthur & Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        rows = zip(view.candidate, view.answers != 0, rngs, strict=True)
        return torch.stack([seeds(view.descriptors, candidate, centre, budget, rng) for candidate, centre, rng in rows])


def seeds(
    descriptors: Float[Tensor, "n d"],
    candidate: Bool[Tensor, " n"],
    centre: Bool[Tensor, " n"],
    budget: int,
    rng: Generator,
) -> Int[Tensor, " {budget}"]:
    """Draw candidates in proportion to their squared distance to the nearest centre or earlier draw.

    Args:
        descriptors: unit length.
        candidate: what may be drawn.
        centre: the labelled images; without any the first draw has equal chances.
        budget: how many.
        rng: draws.
    """
    squares = descriptors.new_full((len(descriptors),), torch.inf)
    if centre.any():
        squares = (2 - 2 * nearest_cosine(descriptors, centre)).clamp(min=0.0)
    return drawn_by_distance(squares, candidate, budget, rng, lambda point: 2 - 2 * (descriptors @ descriptors[point]))


def nearest_cosine(descriptors: Float[Tensor, "n d"], centre: Bool[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Largest cosine of each image with one of the centres."""
    centres = descriptors[centre.to(descriptors.device)]
    return torch.cat([(block @ centres.T).amax(dim=1) for block in torch.split(descriptors, _BLOCK)])


@component
class Badge:
    r"""k-means++ seeding on the gradients of the last layer, as if each image had its likeliest class.

    .. math:: g_i = (p_i - e_{\hat y_i}) \otimes h_i, \qquad g_i \cdot g_j = (p_i - e_{\hat y_i}) \cdot
              (p_j - e_{\hat y_j}) \; h_i \cdot h_j

    so that gradients of c times d numbers are never written out. h is the global descriptor. A search has two classes,
    whose probabilities are :math:`\sigma(f)` and :math:`\sigma(-f)`.

    Args:
        parity: start from the longest gradient, as the authors' code does, not from a draw with equal chances.

    Reference:
        Ash, Zhang, Krishnamurthy, Langford & Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
        Bounds", ICLR 2020, Alg. 1.
    """

    parity: bool = False

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        rows = zip(
            two_classes(view) if view.probabilities is None else view.probabilities, view.candidate, rngs, strict=True
        )
        return torch.stack([self._ask(view.descriptors, p, candidate, budget, rng) for p, candidate, rng in rows])

    def _ask(
        self,
        descriptors: Float[Tensor, "n d"],
        probabilities: Float[Tensor, "n c"],
        candidate: Bool[Tensor, " n"],
        budget: int,
        rng: Generator,
    ) -> Int[Tensor, " {budget}"]:
        error = last_layer_error(probabilities).to(descriptors)
        length = error.square().sum(dim=1) * descriptors.square().sum(dim=1)

        def squares_to(point: int) -> Float[Tensor, " n"]:
            return length + length[point] - 2 * (error @ error[point]) * (descriptors @ descriptors[point])

        nothing = torch.full_like(length, torch.inf)
        if not self.parity:
            return drawn_by_distance(nothing, candidate, budget, rng, squares_to)
        first = length.masked_fill(~candidate.to(length.device), -torch.inf).argmax()
        others = candidate.clone()
        others[first] = False
        rest = drawn_by_distance(squares_to(int(first)), others, budget - 1, rng, squares_to)
        return torch.cat([first[None].to(rest.device), rest])


def two_classes(view: CandidateView) -> Float[Tensor, "q n 2"]:
    """Probabilities of relevant and irrelevant by the sigmoid of the scores: 0 and 1 for an unreadable image."""
    return torch.stack([view.scores.sigmoid(), (-view.scores).sigmoid()], dim=2)


def last_layer_error(probabilities: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Gradient of the cross-entropy with respect to the logits, with the likeliest class for the true one."""
    return probabilities - F.one_hot(probabilities.argmax(dim=1), probabilities.shape[1])


@component
class Herding:
    """Kernel herding among the most uncertain candidates, on their global descriptors.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 is the uncertainty criterion.
        bandwidth: deviation of the Gaussian kernel, as a distance between descriptors of unit length.
    """

    shortlist: Count = 20
    bandwidth: Positive = 0.5

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        shortlists = uncertain(view, budget, self.shortlist)
        return torch.stack([kept[herd(view.descriptors[kept], budget, self.bandwidth)] for kept in shortlists])


def herd(rows: Float[Tensor, "k d"], budget: int, bandwidth: int | float) -> Int[Tensor, " {budget}"]:
    r"""Greedily choose rows whose mean in the kernel's feature space follows the mean of all rows.

    .. math:: i_{t+1} = \arg\max_i \frac{1}{k} \sum_j K(x_i, x_j) - \frac{1}{t+1} \sum_{s=1}^{t} K(x_i, x_{i_s}),
              \qquad K(x, y) = \exp\Bigl(-\frac{\lVert x - y \rVert^2}{2 \sigma^2}\Bigr)

    No row is chosen twice; of equals the first is chosen.

    Args:
        rows: unit length.
        budget: how many, at most k.
        bandwidth: :math:`\sigma`.

    Returns:
        Positions into `rows`, in the order chosen.

    Reference:
        Chen, Welling & Smola, "Super-Samples from Kernel Herding", UAI 2010.
    """
    kernel = ((rows @ rows.T - 1) / bandwidth**2).exp()
    mean = kernel.mean(dim=1)
    spent = torch.zeros_like(mean)
    chosen: list[Tensor] = []
    for step in range(budget):
        value = mean - spent / (step + 1)
        if chosen:
            value[torch.stack(chosen)] = -torch.inf
        chosen.append(value.argmax())
        spent = spent + kernel[chosen[-1]]
    return torch.stack(chosen)


@component
class Typiclust:
    """Cluster the most uncertain candidates with the labelled images; ask about the most typical of each cluster.

    There are as many clusters as labelled images and images asked for together.

    Args:
        shortlist: candidates kept per image asked for, most uncertain first; 1 asks about the most uncertain ones.
        neighbours: how many nearest neighbours in the cluster tell how typical an image is.

    Reference:
        Hacohen, Dekel & Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets",
        ICML 2022. There all candidates are clustered; here a shortlist, so that every query can do so in every round.
    """

    shortlist: Count = 20
    neighbours: Count = 20

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        picks = []
        shortlists = uncertain(view, budget, self.shortlist)
        for kept, answered, rng in zip(shortlists, view.answers != 0, rngs, strict=True):
            labelled = answered.nonzero()[:, 0]
            points = view.descriptors[torch.cat([kept, labelled])].cpu()
            seed = int(torch.randint(2**31, (1,), generator=rng))
            cluster = kmeans_labels(points, budget + len(labelled), [seed])[0]
            spread = mean_neighbour_distance(points, cluster, self.neighbours)
            picks.append(kept[by_turns(cluster, spread, len(kept), budget).to(kept.device)])
        return torch.stack(picks)


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
    turns = sorted((turn, rank) for rank, each in enumerate(order) for turn in range(len(queues[each])))
    return torch.tensor([queues[order[rank]][turn] for turn, rank in turns[:budget]], dtype=torch.long)
