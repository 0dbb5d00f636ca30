"""A classifier and a criterion simple enough to foresee, and a loop made of them."""

from dataclasses import dataclass

import torch

from seekloop.contracts.scorers import LinearScorer
from seekloop.loop.engine import Loop
from seekloop.loop.placement import Engine
from seekloop.protocol.simulated_user import SimulatedUser
from seekloop.representations.fusion import NoFusion
from seekloop.representations.local import GlobalOnly
from seekloop.representations.representation import Representation

GO = Representation(GlobalOnly(), NoFusion())


@dataclass(frozen=True)
class MeanDifference:
    """w = mean positive - mean negative; the boundary half-way between."""

    def fit(self, rows, previous):
        positive = (rows.labels > 0).to(rows.rows.dtype)
        negative = (rows.labels < 0).to(rows.rows.dtype)
        means = [
            (rows.rows * side[..., None]).sum(1) / side.sum(1, keepdim=True).clamp(min=1)
            for side in (positive, negative)
        ]
        weights = means[0] - means[1]
        return LinearScorer(weights, -(weights * (means[0] + means[1]) / 2).sum(1))


@dataclass(frozen=True)
class Nearest:
    """Smallest |score| first."""

    def __call__(self, view, budget, rngs):
        closeness = view.scores.abs().masked_fill(~view.candidate, torch.inf)
        return closeness.argsort(dim=1, stable=True)[:, :budget]


def loop(descriptors, representation=GO, criterion=None, classifier=None, seed=0, prior=None, reranker=None, **engine):
    settings = {"memory": 1.0, "device": "cpu", "precision": "float32", "together": True} | engine
    parts = (classifier or MeanDifference(), criterion or Nearest())
    return Loop(
        descriptors, representation, *parts, seed=seed, engine=Engine(**settings), prior=prior, reranker=reranker
    )


def perfect_user(annotations, **faults):
    settings = dict.fromkeys(["label_noise", "missed", "unsure", "box_jitter"], 0.0) | faults
    return SimulatedUser(annotations, 0, True, **settings, click_seconds=1.0, box_seconds=2.0)
