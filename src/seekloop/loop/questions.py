"""Questions of a round: chosen by a criterion, checked once, and answered."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from seekloop.contracts.errors import ConfigError
from seekloop.contracts.protocols import Criterion
from seekloop.contracts.records import CandidateView, Feedback

ROUNDING = 1e-6  # edges nearer to each other than this are one


@dataclass(frozen=True)
class Question:
    """Images to ask about.

    Attributes:
        image: positions in the collection.
        region: of each the region that scores highest; -1: the whole image.
        score: of each.
        box_wanted: whether a box is asked for, should the image be relevant (`box_wanted`).
    """

    image: Int[Tensor, "q b"]
    region: Int[Tensor, "q b"]
    score: Float[Tensor, "q b"]
    box_wanted: Bool[Tensor, "q b"]

    @staticmethod
    def none(searches: int) -> "Question":
        """No image for any search."""
        nothing = torch.empty(searches, 0, dtype=torch.long)
        return Question(nothing, nothing, nothing.float(), nothing.bool())

    def with_regions(self, feedback: Sequence[Sequence[Feedback]]) -> tuple[tuple[Feedback, ...], ...]:
        """The answers, each with the region that scored highest when its image was asked about.

        That region stands in for a box that was not drawn. Answers may be fewer than the images, and in any order.
        """
        rows = zip(self.image.tolist(), self.region.tolist(), feedback, strict=True)
        best = [(dict(zip(images, regions, strict=True)), answers) for images, regions, answers in rows]
        return tuple(tuple(replace(one, region=known.get(one.image)) for one in answers) for known, answers in best)


def box_wanted(scores: Float[Tensor, " m"], boxes: Float[Tensor, "m 4"]) -> bool:
    """Decide whether a box of the object would tell the classifier more than a click.

    A click on a relevant image makes a relevant row of the region that scores highest. That is in doubt where the
    classifier sees the object in several places: where the regions above the boundary lie in two or more parts that do
    not touch.
    No annotation is looked at, and nothing depends on the scale of the scores.

    Args:
        scores: decision values of an image's regions.
        boxes: of the same regions.
    """
    above = boxes[scores > 0]
    if len(above) < 2:
        return False
    from scipy.sparse.csgraph import connected_components

    low, high = above[:, :2], above[:, 2:]
    touching = (low[:, None] <= high[None] + ROUNDING).all(dim=2)
    parts, _ = connected_components((touching & touching.T).numpy(), directed=False)
    return int(parts) > 1


def choose(
    criterion: Criterion,
    view: CandidateView,
    budget: int,
    rngs: Sequence[Generator],
    names: Sequence[str] | None = None,
) -> Int[Tensor, "q b"]:
    """Let a criterion choose, and check its choice.

    Args:
        criterion: chooses.
        view: of the candidates, at least `budget` for each query.
        budget: how many images for each query.
        rngs: one per query.
        names: of the queries, for errors.

    Raises:
        ConfigError: if it does not return `budget` distinct candidates for each query; names the criterion, the round,
            the query and what came back.
    """
    chosen = criterion(view, budget, rngs)
    if (wrong := _wrong(chosen, view.candidate.cpu(), budget)) is not None:
        query, returned, why = wrong
        whose = "" if query is None else f" for query {query if names is None else names[query]}"
        raise ConfigError(
            "criterion",
            type(criterion).__name__,
            f"in round {view.round} it returned {returned}{whose}: {why}",
            f"A criterion returns {budget} distinct candidates for each of {len(view.candidate)} queries, as positions "
            "in the collection. seekloop.testing.check_criterion finds such faults.",
        )
    return chosen


def _wrong(chosen: object, candidate: Bool[Tensor, "q n"], budget: int) -> tuple[int | None, str, str] | None:
    """The first query whose choice breaks the rules, the choice, and the rule; None where all is well."""
    shape = (len(candidate), budget)
    if (
        not isinstance(chosen, Tensor)
        or chosen.is_floating_point()
        or chosen.is_complex()
        or chosen.dtype == torch.bool
    ):
        kind = f"a tensor of {chosen.dtype}" if isinstance(chosen, Tensor) else type(chosen).__name__
        return None, kind, "positions are a tensor of whole numbers"
    if tuple(chosen.shape) != shape:
        return None, f"a tensor of shape {tuple(chosen.shape)}", f"the shape must be {shape}"
    picks, images = chosen.cpu(), candidate.shape[1]
    inside = (picks >= 0) & (picks < images)
    free = inside & candidate.gather(1, picks.clamp(0, max(images - 1, 0)))
    distinct = picks.sort(dim=1).values.diff(dim=1) != 0
    faults = {
        f"the collection has images 0 to {images - 1}": ~inside.all(dim=1),
        "an image is there twice": ~distinct.all(dim=1),
        "an image is no candidate (answered already, or unreadable)": ~free.all(dim=1),
    }
    for why, rows in faults.items():
        if rows.any():
            query = int(rows.nonzero()[0, 0])
            return query, str(picks[query].tolist()), why
    return None
