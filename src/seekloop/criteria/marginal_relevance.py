"""Batches of images that are likely to show the object, and unlike everything that was answered: PF-MMR."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import torch
from annotated_types import Interval
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.declared import Count, component
from seekloop.contracts.records import CandidateView, VectorKind
from seekloop.criteria.scores import PfMa, Top, Uncertainty
from seekloop.criteria.selection import require_candidates

ORDERS: Mapping[str, PfMa | Top | Uncertainty] = {"pf_ma": PfMa(), "top": Top(), "uncertainty": Uncertainty()}


@component
class PfMmr:
    r"""Positive-first maximal marginal relevance.

    The first :math:`K` candidates in the order of PF-MA are the shortlist. From it images are taken one by one, each
    time the one with the highest

    .. math:: \frac{K - k_i}{K - 1} - \lambda \, \tilde c_i, \qquad
              c_i = \max_{j \in A \cup B} \cos(x_i, x_j), \qquad
              \tilde c_i = \frac{c_i - \min_l c_l}{\max_l c_l - \min_l c_l}

    where :math:`k_i = 1, \dots, K` is the place on the shortlist, :math:`A` the images answered so far, relevant or
    not, :math:`B` the images already taken for this batch, and minimum and maximum are over what is left of the
    shortlist. Both terms lie in [0, 1] whatever the classifier and the descriptors, so that :math:`\lambda` keeps its
    meaning. With a batch of b images and n candidates :math:`K = \max(b, \min(\text{shortlist} \cdot b,
    \lfloor \text{share} \cdot n \rfloor))`. Equal values go to the place nearer to the front. With
    :math:`\lambda = 0`, or :math:`K = b`, the images are PF-MA's.

    Args:
        shortlist: candidates kept per image asked for.
        share: of all candidates that may be kept. A long shortlist of a small collection leaves little of the order.
        diversity: :math:`\lambda`.
        order: of the shortlist, by this criterion.
        known: what a candidate should be unlike: all answered images, or only the relevant ones.
        vectors: compared vectors. `global`: global descriptors. `classified`: of each image the vector that gave it its
            score, which is of the region that scores highest.

    Reference:
        Carbonell & Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering Documents and Producing
        Summaries", SIGIR 1998, for the greedy rule; Zaher, Buisson & Joly, arXiv 2603.24480, for PF-MA.
    """

    shortlist: Count = 6
    share: Annotated[float, Interval(gt=0, le=1)] = 0.1
    diversity: Annotated[float, Interval(ge=0, lt=float("inf"))] = 1.0
    order: Literal["pf_ma", "top", "uncertainty"] = "pf_ma"
    known: Literal["answered", "relevant"] = "answered"
    vectors: VectorKind = "global"

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        known = view.answers == 1 if self.known == "relevant" else view.answers != 0
        picks = []
        for query, size in enumerate(self._sizes(view, budget)):
            shortlist = ORDERS[self.order](_alone(view, query), size, rngs[query : query + 1])[0]
            images = torch.cat([shortlist, known[query].nonzero()[:, 0].to(shortlist.device)])
            vectors = F.normalize(view.vectors(query, images, self.vectors), dim=1)
            chosen = marginal_relevance(vectors[:size], vectors[size:], budget, self.diversity)
            picks.append(shortlist[chosen.to(shortlist.device)])  # with an index, scores are on the CPU
        return torch.stack(picks)

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """Floor of the order for its first K; minus infinity while more candidates could make K larger."""
        final = self.shortlist * budget / self.share
        floors = torch.full_like(view.scores[:, 0], -torch.inf)
        for query in (view.candidate.sum(dim=1) >= final).nonzero()[:, 0].tolist():
            floors[query] = ORDERS[self.order].floor(_alone(view, query), self.shortlist * budget)[0]
        return floors

    def _sizes(self, view: CandidateView, budget: int) -> list[int]:
        """Length of each query's shortlist."""
        counts = view.candidate.sum(dim=1).tolist()
        return [max(budget, min(self.shortlist * budget, int(self.share * count))) for count in counts]


def _alone(view: CandidateView, query: int) -> CandidateView:
    """One query's scores, candidates and answers: enough for an order by scores."""
    row = slice(query, query + 1)
    scores, candidate, answers = view.scores[row], view.candidate[row], view.answers[row]
    return replace(view, scores=scores, candidate=candidate, answers=answers, probabilities=None)


def marginal_relevance(
    shortlist: Float[Tensor, "k d"], known: Float[Tensor, "a d"], budget: int, diversity: int | float
) -> Int[Tensor, " {budget}"]:
    """Take vectors one by one, each near the front of the shortlist and unlike all that are known or taken.

    Args:
        shortlist: vectors of unit length, best first, at least `budget`.
        known: vectors of unit length that a choice should be unlike; may be none.
        budget: how many to take.
        diversity: weight of being unlike.

    Returns:
        Places on the shortlist, in the order taken.
    """
    relevance = torch.linspace(1.0, 0.0, len(shortlist), dtype=shortlist.dtype, device=shortlist.device)
    among = shortlist @ shortlist.T
    nearest = (shortlist @ known.T).amax(dim=1) if len(known) else torch.full_like(relevance, -1.0)
    taken: list[int] = []
    for _ in range(budget):
        free = torch.ones_like(relevance, dtype=torch.bool)
        free[taken] = False
        low, high = nearest[free].aminmax()
        redundant = (nearest - low) / (high - low) if high > low else torch.zeros_like(nearest)
        value = (relevance - diversity * redundant).masked_fill(~free, -torch.inf)
        taken.append(int(value.argmax()))
        nearest = nearest.maximum(among[taken[-1]])
    return torch.tensor(taken, dtype=torch.long, device=shortlist.device)
