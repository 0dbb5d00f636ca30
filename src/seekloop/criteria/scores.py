"""Criteria that look at scores alone, whose boundary is 0, or at nothing."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from seekloop.contracts.declared import Count, Share, component
from seekloop.contracts.records import CandidateView
from seekloop.criteria.selection import lowest, lowest_first, picked_scores, require_candidates


@component
class Uncertainty:
    r"""The images nearest to the decision boundary, smallest :math:`|f|` first.

    The same order as by :math:`1 - |0.5 - \sigma(f)|`, highest first, without the ties that a saturated sigmoid makes.

    Reference:
        Lewis & Gale, "A Sequential Algorithm for Training Text Classifiers", SIGIR 1994.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        return lowest(view.scores.abs(), view.candidate, budget)

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """The mirror image of the last pick: below it, an image lies farther from the boundary than any pick."""
        return -picked_scores(self, view, budget).abs().amax(dim=1)


@component
class Top:
    """The images with the highest scores, highest first: what relevance feedback has always shown its user."""

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        return lowest(-view.scores, view.candidate, budget)

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """The lowest pick: what scores below it is not asked about."""
        return picked_scores(self, view, budget).amin(dim=1)


@component
class PfMa:
    r"""Images on the positive side (:math:`f \ge 0`), nearest to the boundary first; then the rest, nearest first.

    Our reading of the abstract: among the images near the boundary, those that are likely to be positive.

    Reference:
        Zaher, Buisson & Joly, arXiv 2603.24480.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        likely = view.candidate & (view.scores >= 0)
        count = likely.sum(dim=1, keepdim=True).clamp(max=budget)
        first = lowest_first(view.scores, likely, budget)
        then = lowest_first(-view.scores, view.candidate & ~likely, budget)
        order = torch.arange(budget, device=view.scores.device).expand_as(first)
        return torch.where(order < count, first, then.gather(1, (order - count).clamp(min=0)))

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """The boundary, or the lowest pick where picks lie below it: any likely image could come before these."""
        return picked_scores(self, view, budget).amin(dim=1).clamp(max=0.0)


@component
class Mixed:
    """The highest scores first, then the most uncertain of the others.

    Args:
        exploit_start: share of the first batch given to the highest scores, from 0 (all uncertain) to 1 (all top).
        exploit_end: the same from round `rounds` on.
        rounds: over how many rounds the share moves from one to the other, in equal steps.
    """

    exploit_start: Share = 0.0
    exploit_end: Share = 0.5
    rounds: Count = 25

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        exploited = self.exploited(view.round, budget)
        top = lowest(-view.scores, view.candidate, exploited)
        others = view.candidate.scatter(1, top, False)
        return torch.cat([top, lowest(view.scores.abs(), others, budget - exploited)], dim=1)

    def floor(self, view: CandidateView, budget: int) -> Float[Tensor, " q"]:
        """The smaller of two: the lowest pick by score, and minus the largest absolute score of an uncertain pick."""
        picked, exploited = picked_scores(self, view, budget), self.exploited(view.round, budget)
        return torch.cat([picked[:, :exploited], -picked[:, exploited:].abs()], dim=1).amin(dim=1)

    def exploited(self, number: int, budget: int) -> int:
        """Number of highest scores in the batch that follows round `number`; halves are rounded up."""
        moved = min(number / self.rounds, 1.0)
        share = self.exploit_start + moved * (self.exploit_end - self.exploit_start)
        return int(share * budget + 0.5)


@component
class Random:
    """Candidates drawn with equal chances, none twice: the baseline that every criterion must beat."""

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        rows = [candidate.nonzero()[:, 0] for candidate in view.candidate]
        orders = [torch.randperm(len(row), generator=rng)[:budget] for row, rng in zip(rows, rngs, strict=True)]
        return torch.stack([row[order.to(row.device)] for row, order in zip(rows, orders, strict=True)])


@component
class Sides:
    r"""Half of the batch drawn at random among :math:`f > 0`, half among the others; the odd one above.

    Where one side has too few candidates, the other gives the rest, so that a batch is always full. The source asks
    about fewer then.

    Source: LightlyStudio (github.com/lightly-ai/lightly-studio), `ClassifierManager.get_samples_for_fine_tuning`: up to
    10 random images above a probability of 0.5, and up to 10 others.
    """

    def __call__(self, view: CandidateView, budget: int, rngs: Sequence[Generator]) -> Int[Tensor, "q {budget}"]:
        require_candidates(view.candidate, budget)
        picks = []
        for scores, candidate, rng in zip(view.scores, view.candidate, rngs, strict=True):
            positions = candidate.nonzero()[:, 0]
            positions = positions[torch.randperm(len(positions), generator=rng).to(positions.device)]
            likely = scores[positions] > 0
            above, below = positions[likely], positions[~likely]
            count = max(min((budget + 1) // 2, len(above)), budget - len(below))
            picks.append(torch.cat([above[:count], below[: budget - count]]))
        return torch.stack(picks)
