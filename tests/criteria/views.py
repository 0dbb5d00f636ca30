"""What criteria are shown in tests."""

import torch
from torch.nn import functional as F

from seekloop.contracts.records import CandidateView


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


def crowd(queries, images, seed, dtype=torch.float64):
    """A realistic view: clustered descriptors, scores with ties, some images answered, some unreadable."""
    rng = torch.Generator().manual_seed(seed)
    centres = torch.randn(5, 6, generator=rng, dtype=dtype)
    whole = centres[torch.randint(5, (images,), generator=rng)]
    whole = F.normalize(whole + 0.3 * torch.randn(whole.shape, generator=rng, dtype=dtype), dim=1)
    scores = torch.randint(-9, 9, (queries, images), generator=rng).to(dtype) / 4
    answers = torch.zeros(queries, images, dtype=torch.long)
    for row in answers:
        asked = torch.randperm(images - 3, generator=rng)[:6] + 3
        row[asked] = torch.tensor([1, -1, -1, -1, -1, 1])
    whole[1] = 0
    scores[:, 1] = -torch.inf
    candidate = answers == 0
    candidate[:, 1] = False
    candidate[0, 0] = False  # answered "unsure" by the first query
    logits = torch.randint(-3, 3, (queries, images, 4), generator=rng).to(dtype)
    return CandidateView(scores, candidate, answers, lambda: whole, 3, logits.softmax(dim=2))
