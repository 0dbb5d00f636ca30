"""BADGE: images whose gradients would be long, and different from each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from seekloop.contracts.records import CandidateView
from seekloop.criteria.probabilities import require_probabilities
from seekloop.criteria.seeding import drawn_by_distance
from seekloop.criteria.selection import require_candidates


@dataclass(frozen=True)
class Badge:
    r"""k-means++ seeding on the gradients of the last layer, as if each image had its likeliest class.

    .. math:: g_i = (p_i - e_{\hat y_i}) \otimes h_i, \qquad g_i \cdot g_j = (p_i - e_{\hat y_i}) \cdot
              (p_j - e_{\hat y_j}) \; h_i \cdot h_j

    so that gradients of c times d numbers are never written out. h is the global descriptor.

    Args:
        parity: start from the longest gradient, as the authors' code does, not from a draw with equal chances.

    Reference:
        Ash, Zhang, Krishnamurthy, Langford & Agarwal, "Deep Batch Active Learning by Diverse, Uncertain Gradient Lower
        Bounds", ICLR 2020, Alg. 1.
    """

    parity: bool

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        """The next images to ask about."""
        require_candidates(view.candidate, budget)
        rows = zip(require_probabilities(view, "badge"), view.candidate, rngs, strict=True)
        return torch.stack([self._ask(view.descriptors, p, candidate, budget, rng) for p, candidate, rng in rows])

    def _ask(
        self,
        whole: Float[Tensor, "n d"],
        probabilities: Float[Tensor, "n c"],
        candidate: Bool[Tensor, " n"],
        budget: int,
        rng: Generator,
    ) -> Int[Tensor, " {budget}"]:
        error = last_layer_error(probabilities).to(whole)
        length = error.square().sum(dim=1) * whole.square().sum(dim=1)

        def squares_to(point: int) -> Float[Tensor, " n"]:
            return length + length[point] - 2 * (error @ error[point]) * (whole @ whole[point])

        nothing = torch.full_like(length, torch.inf)
        if not self.parity:
            return drawn_by_distance(nothing, candidate, budget, rng, squares_to)
        first = length.masked_fill(~candidate.to(length.device), -torch.inf).argmax()
        others = candidate.clone()
        others[first] = False
        rest = drawn_by_distance(squares_to(int(first)), others, budget - 1, rng, squares_to)
        return torch.cat([first[None].to(rest.device), rest])


def last_layer_error(probabilities: Float[Tensor, "n c"]) -> Float[Tensor, "n c"]:
    """Gradient of the cross-entropy with respect to the logits, with the likeliest class for the true one."""
    return probabilities - F.one_hot(probabilities.argmax(dim=1), probabilities.shape[1])
