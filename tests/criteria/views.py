"""What criteria are shown in tests."""

import torch

from seekloop.contracts.records import CandidateView
from seekloop.testing import crowd

__all__ = ["crowd", "on_circle", "rngs", "view"]


def view(scores, *, candidate=None, answers=None, whole=None, number=0, probabilities=None):
    """One row of scores per query; everything is a candidate that is not said otherwise or answered.

    Without probabilities there are two classes, which scores of 0 make equally likely.
    """
    scores = torch.as_tensor(scores, dtype=torch.float64)
    answers = torch.zeros(scores.shape, dtype=torch.long) if answers is None else torch.as_tensor(answers)
    candidate = answers == 0 if candidate is None else torch.as_tensor(candidate)
    whole = torch.eye(scores.shape[1], 2, dtype=torch.float64) if whole is None else whole
    if probabilities is None:
        probabilities = torch.stack([scores.sigmoid(), (-scores).sigmoid()], dim=2)
    return CandidateView(scores, candidate, answers, lambda: whole, number, torch.as_tensor(probabilities))


def rngs(queries, seed=0):
    return [torch.Generator().manual_seed(seed + query) for query in range(queries)]


def on_circle(degrees):
    """Descriptors of unit length at these angles: nearer on the circle is nearer in every sense."""
    angle = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64))
    return torch.stack([angle.cos(), angle.sin()], dim=1)
